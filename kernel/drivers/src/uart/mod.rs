//! Serial ports.

mod pl011;
mod ring;

pub use pl011::Pl011;
pub use ring::{Received, RxRing};
