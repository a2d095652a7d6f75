//! From the boot loader's jump to the kernel's first Rust function with MMU and caches on.
//!
//! The boot protocol is Linux's for ARM (`Documentation/arm/booting.rst`), so that every boot loader of a 32-bit ARM
//! board can start the image. What can be computed on the host is here and tested there: table entries
//! ([`section`]), the choice of a place ([`place`]), the layout ([`layout`]). `start.S` only expands the constants.
//!
//! ```text
//! boot loader ─▶ _start: HYP or SVC, MMU off, r1 machine, r2 tree or ATAGs
//!                  │ drop to SVC, park secondary CPUs, look at r2 and at what is appended
//!                  │ move the image to a multiple of 2 MiB + 0x8000, if it is not at one
//!                  │ swapper_pg_dir: identity, kernel, device tree, early UART
//!                  │ ACTLR.SMP, TLB/I-cache/predictor/L1 invalidated, MMU + caches + prediction on
//!                  ▼
//!                kernel_entry(&BootInfo) at its virtual address: BSS cleared, guarded stack
//! ```
//!
//! Invariants: 7 (nothing before the MMU is on is Rust, but for [`place::boot_place`]'s arithmetic).
#![no_std]

pub mod info;
pub mod layout;
pub mod place;
pub mod section;
#[cfg(all(target_arch = "arm", target_os = "none"))]
mod start;

pub use info::{BootInfo, Handover};
