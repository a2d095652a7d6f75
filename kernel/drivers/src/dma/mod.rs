//! DMA engines: controllers that copy memory, behind one channel interface like Linux's dmaengine.
//!
//! ```text
//!  prep_memcpy / prep_sg ──► Descriptor ──submit──► Cookie ──issue_pending──► the hardware runs it
//!      │ plan: segments within Caps                    │                          │
//!      │ blocks of a DmaPool, coherent                 └──► status(cookie) ◄── interrupt() / poll
//! ```
//!
//! [`Channel`] keeps the queue and the descriptors; a [`Hardware`] knows the format of a descriptor and the registers.
//! Descriptors are blocks of a `dma_pool` that the channel gets when it is made, so that preparing allocates no DMA
//! memory and may happen in atomic context. Buffers are the caller's: it maps them (invariant 6) and passes device
//! addresses.
//!
//! [`bcm2835`] drives the BCM2835's engine. [`dw_axi`] reads the DesignWare AXI DMAC's node and plans its transfers.
//! Source: Linux 6.1 `Documentation/driver-api/dmaengine/`.

pub mod bcm2835;
mod channel;
pub mod dw_axi;
mod of;
mod plan;

pub use channel::{Channel, ChannelError, Cookie, Descriptor, Finished, Status, descriptors};
pub use of::{DeviceError, device};
pub use plan::{Plan, PlanError, Segment, plan, plan_sg};

use crate::mmio::{Mmio, Registers};
use ::dma::{DmaAddr, PoolBlock};
use core::fmt;

/// What an engine can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Addresses and lengths are multiples of this power of two.
    pub align: u32,
    /// The longest segment of a descriptor, in bytes; a multiple of `align`.
    pub max_segment: u32,
    /// The directions it has.
    pub directions: Directions,
}

/// Directions of transfers (`enum dma_transfer_direction`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Directions {
    /// Between two places in memory.
    pub mem_to_mem: bool,
    /// To and from devices.
    pub slave: bool,
}

/// Why a transfer went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransferError {
    /// The descriptor that the engine was at.
    pub at: DmaAddr,
    /// An address was answered with an error, or the data was not read in full.
    pub read: bool,
    /// The engine's own buffer overran or ran dry.
    pub fifo: bool,
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match (self.read, self.fifo) {
            (true, false) => "read error",
            (false, true) => "FIFO error",
            (true, true) => "read and FIFO error",
            (false, false) => "error of unknown cause",
        };
        write!(f, "{reason} at descriptor {}", self.at)
    }
}

impl core::error::Error for TransferError {}

/// What an interrupt was about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Nothing of this channel.
    None,
    /// The chain is through.
    Done,
    /// It stopped halfway; the engine is ready for the next one.
    Failed(TransferError),
}

/// One channel's registers and the format of its descriptors.
pub trait Hardware {
    /// Bytes of a descriptor.
    const DESCRIPTOR_SIZE: u32;
    /// Its alignment.
    const DESCRIPTOR_ALIGN: u32;

    /// What it can do.
    fn caps(&self) -> Caps;

    /// Writes a descriptor for `segment`. Without a `next` one it is the last, and interrupts.
    fn fill(&self, block: &mut PoolBlock, segment: Segment, next: Option<DmaAddr>);

    /// Starts the chain at `first`, when the channel is idle. Everything written to coherent memory before is
    /// visible to the engine.
    fn start(&mut self, first: DmaAddr);

    /// Takes the channel's interrupt. After [`Event::Done`], what the engine wrote is visible.
    fn acknowledge(&mut self) -> Event;

    /// The descriptor it is at, and how many bytes of it are left; `None` when it is idle.
    fn position(&self) -> Option<(DmaAddr, u32)>;

    /// Stops at once. When this returns, the engine accesses no memory.
    fn abort(&mut self);
}

/// Registers of a device that also reads and writes memory.
///
/// Device accesses keep their order among each other, but not against Normal memory, such as coherent buffers
/// (ARM DDI 0406C, A3.8.3). These are the barriers between the two.
pub trait DmaRegisters: Registers {
    /// Stores to memory before it are visible to bus masters before any register access after it.
    fn wmb(&self);
    /// Loads from memory after it happen after every register access before it.
    fn rmb(&self);
}

impl DmaRegisters for Mmio {
    #[inline]
    fn wmb(&self) {
        crate::mmio::wmb();
    }

    #[inline]
    fn rmb(&self) {
        crate::mmio::rmb();
    }
}
