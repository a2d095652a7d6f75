//! Tests on `testkit`'s machine, whose TLB forgets nothing: everything goes through its MMU.

mod fixed;
mod model;
mod moving;
mod random;
mod ways;
pub(crate) mod world;
