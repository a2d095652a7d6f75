//! Physical memory as a picture: a square for a page or a group of pages, a colour for what they are used for.
//!
//! ```text
//!  mm's records ── walk ──┐                         ┌── Screen: any embedded-graphics DrawTarget
//!                         ├─► Picture ─► Canvas ────┤
//!  page_map text ─ parse ─┘    │                    └── the host's SVG
//!   (page_map)                 └ Layout: which square stands for which pages, and where it is
//! ```
//!
//! The kernel draws on its display with this crate, and the host draws the same picture from the text that the kernel
//! gives of its memory map. A [`Picture`] is drawn in small steps, so that an interrupt handler can do one of them and
//! the memory map is never read for long; only what has changed is drawn again.
//!
//! Nothing here changes memory or its records: [`walk`](fn@walk) reads them through a shared reference.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod canvas;
mod furniture;
mod kind;
mod layout;
pub mod page_map;
mod picture;
mod region;
mod walk;

pub use embedded_graphics::geometry::{Point, Size};
pub use embedded_graphics::pixelcolor::{Rgb888 as Color, RgbColor};
pub use embedded_graphics::primitives::Rectangle;

pub use canvas::{BACKGROUND, Canvas, Font, Screen, color};
pub use kind::{Kind, Totals};
pub use layout::Layout;
pub use picture::{PageKinds, Picture};
pub use region::{Owner, Region, Regions};
pub use walk::{Block, walk};
