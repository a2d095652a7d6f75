//! Tests of the page allocator against an independent model.

mod boot;
mod random;
pub(crate) mod world;
