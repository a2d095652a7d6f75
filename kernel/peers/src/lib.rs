//! Contig's allocators and those that one would use instead, behind two small traits, and the workloads that drive
//! all of them through the same loops.
//!
//! ```text
//! [frames]  trait Frames  <- Contig's page allocator, buddy_system_allocator, bitmap-allocator, free-list
//! [heap]    trait Heap    <- Contig's slab, buddy_system_allocator, linked_list_allocator, talc, rlsf, dlmalloc
//! [meter]   trait Meter   <- instructions on the target, time on the host
//! ```
//!
//! What runs on the target and on the host is the same code. Contig takes part as a library, as the others do: an
//! instance of its own, without the kernel's lock and without masking interrupts. Page frames are numbers, without
//! memory behind them; objects lie in an [`Arena`](heap::Arena).
//!
//! Random orders are drawn before the clock starts and are the same in every run. Nothing is measured that was not
//! checked: the tests run each workload on each allocator inside a checker that sees overlaps, misalignment and
//! damaged contents.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

pub mod frames;
pub mod heap;
mod meter;
mod rng;

pub use meter::{Cost, Meter, NoMeter, Phase};
pub use rng::Rng;
