//! The image: init order, wiring, panic.
//!
//! ```text
//! start.S ─▶ start::kernel_entry: vectors, fixmap, early console, log
//!         ─▶ start_kernel: memory ─▶ devices ─▶ files ─▶ console
//! ```
#![no_std]
#![cfg(all(target_arch = "arm", target_os = "none"))]

extern crate alloc;

mod archtest;
#[cfg(feature = "bench")]
mod areatest;
#[cfg(feature = "bench")]
mod bench;
pub mod bootdata;
mod cma_test;
mod console;
pub mod crash;
pub mod devices;
pub mod dma;
pub mod dmadev;
pub mod earlycon;
mod fb;
mod files;
#[cfg(feature = "bench")]
mod guardtest;
pub mod heap;
pub mod highmem;
mod iomem;
pub mod ktest;
pub mod log;
pub mod machine;
mod memhog;
pub mod memory;
mod memtest;
mod misuse;
mod page_map;
pub mod paging;
pub mod panic;
mod ram_disk;
mod release;
#[cfg(feature = "bench")]
mod soak;
mod start;
pub mod symbols;
pub mod trace;
mod tracing;
pub mod user;
mod usertest;
#[cfg(feature = "bench")]
mod zonetest;
