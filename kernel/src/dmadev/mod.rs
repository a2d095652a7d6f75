//! Devices that read and write memory themselves, wired to the DMA API: the DMA engine and virtio.
//!
//! Lock order (invariant 11), outermost first: a device's, [`crate::memory::MM`], the streaming mappings'.

mod engine;
mod memory_region;
mod tests;
mod virtio;

use alloc::vec::Vec;
use arch_armv7::cpu::IrqLock;
use dma::{Mappings, Streaming};
use drivers::dma::bcm2835::FoundEngine;
use drivers::virtio::Slot;
use dt::Tree;
use shell::Command;

/// Streaming mappings that are remembered, with the places where they were made.
const MAPPINGS: usize = 128;

static STREAMING: IrqLock<Option<Streaming<'static>>> = IrqLock::new(None);

/// `count` empty slots, for good.
fn slots<T>(count: usize) -> &'static mut [Option<T>] {
    let mut slots = Vec::with_capacity(count);
    slots.resize_with(count, || None);
    slots.leak()
}

/// Starts what was found.
pub fn init(tree: &Tree<'static>, engines: Vec<FoundEngine>, transports: Vec<Slot>) {
    *STREAMING.lock() = Some(Streaming::new(Mappings::new(slots(MAPPINGS))));
    for engine in engines {
        engine::start(tree, engine);
    }
    virtio::start(tree, transports);
}

/// Their commands.
#[must_use]
pub const fn commands() -> [Command; 3] {
    [virtio::BLK, virtio::TFTP, virtio::RNG]
}
