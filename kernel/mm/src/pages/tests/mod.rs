//! Tests of the page allocator against an independent model.

mod boot;
mod frees;
mod guards;
mod hot;
mod random;
mod rules;
pub(crate) mod world;
