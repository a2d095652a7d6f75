//! UARTs, interrupt controllers, timers, displays, DMA engines, virtio, and ways to switch the machine off: found by `compatible`, never by `cfg`.
//!
//! ```text
//!  Tree ──► probe::probe(DRIVERS) ──► Devices { irqs, timer, serial, dma, … }
//!                  │ Platform: ioremap, CNTFRQ, firmware call                │ moved into the kernel's locks
//!                  ▼                                                         ▼
//!            mmio::Mmio : Registers                        irqs.request(irq, name, handler)
//! ```
//!
//! Drivers are values over [`mmio::Registers`]; nothing here is global or takes a lock, but for the backend that
//! [`virtio::hal`] has to keep. `unsafe` appears in [`mmio`], in [`virtio::hal`], in the frame of a [`display`], and where `uart` and `virtio` hand
//! their blocks to the crates they use (invariant 9).
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

pub mod cma_test;
pub mod display;
pub mod dma;
pub mod irq;
#[allow(unsafe_code)]
pub mod mmio;
pub mod power;
pub mod probe;
pub mod timer;
pub mod uart;
pub mod virtio;
