//! Devices that read and write memory themselves, wired to the DMA API: the DMA engine and virtio.
//!
//! Lock order (invariant 11), outermost first: a device's, virtio's, the streaming mappings', [`crate::memory::MM`].

mod apitest;
mod engine;
mod memory_region;
mod tests;
mod virtio;

use crate::dma::Buffer;
use alloc::vec::Vec;
use arch_armv7::cpu::IrqLock;
use dma::{Device, Mappings, Streaming};
use drivers::dma::bcm2835::FoundEngine;
use drivers::virtio::Slot;
use dt::Tree;
use mm::cma::CmaId;
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

/// Fills `bytes` with random ones from a device, or as many as there are; `None` without a source.
pub fn random(bytes: &mut [u8]) -> Option<usize> {
    virtio::random(bytes)
}

pub use virtio::{DiskTransfer, capacity as disk_capacity, read as read_disk, write as write_disk};

/// Has the DMA engine, which was [requested](request_engine), copy between coherent buffers; whether it did.
pub fn copy(to: &Buffer, from: &Buffer, size: u32) -> bool {
    engine::copy(&|channel| channel.prep_memcpy(to.addr(), from.addr(), size)).is_ok()
}

/// Takes the DMA engine, for [`copy`]: the bus master to have buffers for; `None` without one.
pub fn request_engine() -> Option<Device<'static, CmaId>> {
    engine::request().ok()
}

/// Gives the DMA engine back.
pub fn release_engine() {
    engine::release();
}

/// Their commands.
#[must_use]
pub const fn commands() -> [Command; 3] {
    [virtio::BLK, virtio::TFTP, virtio::RNG]
}
