//! Tests of the page allocator against an independent model.

mod boot;
