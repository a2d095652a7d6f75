//! Tests on `testkit`'s machine, whose TLB forgets nothing: everything goes through its MMU.

mod fixed;
mod model;
mod moving;
mod random;
pub(crate) mod world;
