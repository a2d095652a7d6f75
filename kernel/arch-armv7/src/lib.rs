//! CP15, page tables, TLB and cache operations, vectors and fixmap of ARMv7-A.
//!
//! The modules without CP15 instructions are portable and tested on the host ([`pgtable`], [`fixmap`], [`linear`]);
//! the others exist on the target only. Unsafe code is what this crate is for (invariant 9).
#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(all(target_arch = "arm", target_os = "none"))]
pub mod early;
pub mod exception;
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub mod firmware;
pub mod fixmap;
pub mod jump_label;
pub mod kmap;
pub mod linear;
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub mod patch;
pub mod pgtable;

#[cfg(all(target_arch = "arm", target_os = "none"))]
pub mod cache;
#[cfg(all(target_arch = "arm", target_os = "none"))]
mod cp15;
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub mod cpu;
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub mod pmu;
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub mod timer;
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub mod tlb;
