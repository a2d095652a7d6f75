//! The BCM2835's DMA engine: requesting its channel, copying, and waiting for the interrupt.
//!
//! ```text
//!  start: found ─▶ request: descriptors, interrupt ─▶ copy, copy … ─▶ release: both given back
//! ```
//!
//! As in Linux, a channel takes memory for its descriptors only while somebody has it.

use super::STREAMING;
use super::memory_region::bus_master;
use crate::devices::{self, IRQS};
use crate::memory::{self, Mm};
use alloc::vec::Vec;
use arch_armv7::cpu::IrqLock;
use core::fmt;
use dma::{Device, DmaError, DmaPool, PoolBlock, PoolPage};
use drivers::dma::bcm2835::{Bcm2835, FoundChannel, FoundEngine};
use drivers::dma::{Channel, ChannelError, Descriptor, Hardware, Status, TransferError, descriptors};
use drivers::irq::{Irq, IrqError};
use drivers::mmio::Mmio;
use dt::Tree;
use mm::cma::{CmaId, CmaPages};
use types::PhysRange;

/// Control blocks of the channel, in one page.
const BLOCKS: usize = 64;
/// Nanoseconds that a copy may take.
const PATIENCE: u64 = 10_000_000_000;
/// What messages call it.
const NAME: &str = "bcm2835-dma";
const COMPATIBLE: [&str; 1] = ["brcm,bcm2835-dma"];

type Engine = Bcm2835<Mmio>;
type Page = Option<PoolPage<CmaPages>>;

/// The channel in use, and where its descriptors are from.
struct Running {
    channel: Channel<Engine>,
    page: Page,
}

/// The channel that the tree leaves to this kernel, and the bus master that it is.
struct Found {
    device: Device<'static, CmaId>,
    irq: Irq,
    /// What `memory-region` says.
    region: Option<PhysRange>,
    /// `None` while the channel is in use.
    registers: Option<Mmio>,
}

static FOUND: IrqLock<Option<Found>> = IrqLock::new(None);
static RUNNING: IrqLock<Option<Running>> = IrqLock::new(None);

/// Remembers the first channel of the engine.
pub fn start(tree: &Tree<'static>, engine: FoundEngine) {
    let base = engine.range.base();
    let node = tree.compatible(&COMPATIBLE).find(|node| node.mmio(0).is_ok_and(|r| r.base() == base));
    let (Some(node), Some(found)) = (node, engine.channels.into_iter().next()) else { return };
    match bus_master(node, NAME) {
        Ok(device) => {
            let FoundChannel { registers, irq, .. } = found;
            let region = node.memory_regions().flatten().find_map(|region| region.mmio(0).ok());
            *FOUND.lock() = Some(Found { device, irq, region, registers: Some(registers) });
        }
        Err(error) => log::error!("bcm2835-dma: {error}"),
    }
}

/// Why a channel can't be had, or a copy did not happen.
#[derive(Debug)]
pub enum EngineError {
    /// There is no engine, or its channel is in use, or not requested.
    NoChannel,
    /// No memory for descriptors.
    Memory(DmaError),
    /// Its interrupt can't be had.
    Irq(IrqError),
    /// The channel can't make the copy.
    Channel(ChannelError),
    /// The copy went wrong.
    Transfer(TransferError),
    /// No interrupt came.
    Timeout,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoChannel => f.write_str("there is no DMA channel"),
            Self::Memory(error) => error.fmt(f),
            Self::Irq(error) => error.fmt(f),
            Self::Channel(error) => error.fmt(f),
            Self::Transfer(error) => error.fmt(f),
            Self::Timeout => f.write_str("no interrupt came from the DMA engine"),
        }
    }
}

/// Takes the channel (`dma_request_chan`): the bus master to map buffers for.
///
/// # Errors
/// [`EngineError`].
pub fn request() -> Result<Device<'static, CmaId>, EngineError> {
    let (device, irq, registers) = {
        let mut found = FOUND.lock();
        let found = found.as_mut().ok_or(EngineError::NoChannel)?;
        (found.device.clone(), found.irq, found.registers.take().ok_or(EngineError::NoChannel)?)
    };
    let mut blocks = Vec::with_capacity(BLOCKS);
    let mut page = None;
    let filled = with_pool(&mut page, |mut pool, mm| {
        let (dma, mut kernel) = mm.dma();
        descriptors(&mut pool, dma, &mut kernel, &device, &mut blocks)
    });
    let channel = Channel::new(Bcm2835::new(registers), blocks);
    *RUNNING.lock() = Some(Running { channel, page });
    let requested = match filled.unwrap_or(Ok(())) {
        Ok(()) => IRQS.lock().request(irq, "DMA IRQ", &interrupt).map_err(EngineError::Irq),
        Err(error) => Err(EngineError::Memory(error)),
    };
    requested.inspect_err(|_| release()).map(|()| device)
}

/// Gives the channel back (`dma_release_channel`), after whatever runs has been stopped.
pub fn release() {
    let Some(Running { channel, mut page }) = RUNNING.lock().take() else { return };
    let (engine, blocks) = channel.release();
    if let Some(streaming) = &mut *STREAMING.lock() {
        streaming.mappings_mut().device_gone(NAME);
    }
    give_back(&mut page, blocks);
    if let Some(found) = &mut *FOUND.lock() {
        // It was requested, unless that is what failed.
        let _ = IRQS.lock().free(found.irq);
        found.registers = Some(engine.into_registers());
    }
}

/// Runs `work` on the pool of descriptors, whose one page is `page`.
fn with_pool<R>(page: &mut Page, work: impl FnOnce(DmaPool<'_, CmaPages>, &mut Mm) -> R) -> Option<R> {
    let (size, align) = (Engine::DESCRIPTOR_SIZE, Engine::DESCRIPTOR_ALIGN);
    let pool = DmaPool::new("bcm2835-dma", size, align, 0, core::slice::from_mut(page)).ok()?;
    memory::with(|mm| work(pool, mm))
}

/// The list itself is freed after the memory manager's lock.
fn give_back(page: &mut Page, mut blocks: Vec<PoolBlock>) {
    with_pool(page, |mut pool, mm| {
        let (dma, mut kernel) = mm.dma();
        // What goes wrong with either is in the log, and the memory stays where it is.
        for block in blocks.drain(..) {
            let _ = pool.free(block);
        }
        let _ = pool.destroy(dma, &mut kernel);
    });
}

fn interrupt() {
    if let Some(running) = &mut *RUNNING.lock() {
        while running.channel.interrupt().is_some() {}
    }
}

/// The memory that the tree gives the engine for its buffers.
pub fn memory_region() -> Option<PhysRange> {
    FOUND.lock().as_ref()?.region
}

/// Interrupts that the channel has raised since boot.
pub fn interrupts() -> u32 {
    let irq = FOUND.lock().as_ref().map(|found| found.irq);
    irq.and_then(|irq| IRQS.lock().count(irq).ok()).unwrap_or(0)
}

/// Prepares a copy, runs it, and sleeps until the interrupt has ended it.
///
/// # Errors
/// [`EngineError`].
pub fn copy(
    prepare: &dyn Fn(&mut Channel<Engine>) -> Result<Descriptor, ChannelError>,
) -> Result<(), EngineError> {
    let cookie = {
        let mut running = RUNNING.lock();
        let channel = &mut running.as_mut().ok_or(EngineError::NoChannel)?.channel;
        let descriptor = prepare(channel).map_err(EngineError::Channel)?;
        let cookie = channel.submit(descriptor);
        channel.issue_pending();
        cookie
    };
    let ended = devices::wait(PATIENCE, || match RUNNING.lock().as_ref()?.channel.status(cookie) {
        Status::Complete => Some(Ok(())),
        Status::Error(error) => Some(Err(EngineError::Transfer(error))),
        Status::InProgress { .. } => None,
    });
    ended.unwrap_or_else(|| {
        if let Some(running) = &mut *RUNNING.lock() {
            running.channel.terminate();
        }
        Err(EngineError::Timeout)
    })
}
