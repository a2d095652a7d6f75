//! Memory management as plain values over memory that the caller hands in: no globals, no locks, no CPU.
//!
//! Every structure takes `&mut self`; the kernel puts it behind its interrupt-saving lock, a host test behind
//! nothing. Work that may take long (migrating a range) is cut into steps of bounded size, between which the
//! caller drops its lock.
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod cma;
mod fault;
mod gfp;
mod hexdump;
pub mod memblock;
pub mod memhog;
mod meminfo;
pub mod migrate;
mod page;
pub mod pages;
pub mod pin;
pub mod pkmap;
pub mod slab;
pub mod soak;
mod source;
pub mod space;
pub mod vmalloc;

pub use fault::{FaultAttr, FaultParseError};
pub use gfp::{Gfp, MigrateType};
pub use meminfo::MemInfo;
pub use page::{Page, PageFlags, PageState};
pub use pages::FreeError;
pub use source::{AllocError, Frames, MigrateError, MigrateReason, Mover, PageSource, Reclaimer};
