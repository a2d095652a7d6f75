//! Serial ports.

mod pl011;
mod ring;
mod sender;

pub use pl011::Pl011;
pub use ring::{Received, RxRing};
pub use sender::{PATIENCE, Pl011Sender};
