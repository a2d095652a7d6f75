//! Displays: the PL111 controller, its modes, and the frame that it shows.
//!
//! The frame's memory is the caller's: a region that is mapped with one set of attributes, uncached and with writes that
//! may be combined (invariant 5), so nothing has to be cleaned after drawing.

#[allow(unsafe_code)]
mod frame;
mod mode;
mod pl111;

pub use frame::Frame;
pub use mode::{Depth, Mode, ModeError, Resolution};
pub use pl111::{Identity, Pl111};
