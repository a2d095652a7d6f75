//! UARTs, interrupt controllers, timers, and ways to switch the machine off: found by `compatible`, never by `cfg`.
//!
//! ```text
//!  Tree ──► probe::probe(DRIVERS) ──► Devices { irqs, timer, serial, power }
//!                  │ Platform: ioremap, CNTFRQ, firmware call                │ moved into the kernel's locks
//!                  ▼                                                         ▼
//!            mmio::Mmio : Registers                        irqs.request(irq, name, handler)
//! ```
//!
//! Drivers are values over [`mmio::Registers`]; nothing here is global or takes a lock. `unsafe` appears in [`mmio`]
//! and where `uart` hands its block to the register crate (invariant 9).
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

pub mod cma_test;
pub mod dma;
pub mod irq;
#[allow(unsafe_code)]
pub mod mmio;
pub mod power;
pub mod probe;
pub mod timer;
pub mod uart;
