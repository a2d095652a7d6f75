//! The image: init order, wiring, panic.
//!
//! ```text
//! start.S ─▶ start::kernel_entry: vectors, fixmap, early console, log
//! ```
#![no_std]
#![cfg(all(target_arch = "arm", target_os = "none"))]

pub mod earlycon;
pub mod heap;
pub mod ktest;
pub mod log;
pub mod machine;
mod panic;
mod start;
