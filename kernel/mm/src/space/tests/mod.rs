//! Tests on `testkit`'s machine, whose TLB forgets nothing: everything goes through its MMU.

mod fixed;
mod moving;
pub(crate) mod world;
