//! What `virtio-drivers` calls for, from the DMA API.
//!
//! Unsafe code: [`Backend`]'s contract, which `VirtioDma` keeps (invariants 2 and 6).
#![allow(unsafe_code)]

use crate::dma::{View, alloc_coherent, free, view};
use crate::dmadev::{STREAMING, slots};
use crate::memory;
use arch_armv7::cpu::IrqLock;
use core::ptr::NonNull;
use dma::virtio::VirtioDma;
use dma::{Device, DmaAddr, DmaDirection, Pages, Streaming};
use drivers::virtio::hal::{Backend, register};
use mm::cma::{CmaId, CmaPages};
use mm::pages::PageRun;
use mm::{AllocError, Gfp, PageState};
use types::{Order, PAGE_SIZE};

/// Buffers of queues, and buffers that are replaced while shared, at a time.
const QUEUES: usize = 16;
const BOUNCES: usize = 64;

type Virtio = VirtioDma<'static, CmaId, CmaPages>;

static VIRTIO: IrqLock<Option<(Virtio, View)>> = IrqLock::new(None);

struct Kernel;

/// The page allocator, for buffers that have to be replaced: under its lock for as long as it takes.
struct LockedPages;

impl Pages for LockedPages {
    fn alloc(&mut self, gfp: Gfp, count: u32, owner: PageState) -> Result<PageRun, AllocError> {
        let run = memory::with(|mm| mm.pages.alloc_pages_exact(gfp, count, owner));
        run.unwrap_or(Err(AllocError::NoMemory { order: Order::ZERO, gfp }))
    }

    fn free(&mut self, run: PageRun) {
        memory::with(|mm| mm.pages.free_pages_exact(run));
    }
}

/// Works with what is shared.
fn with<R>(work: impl FnOnce(&mut Virtio, &mut Streaming<'static>, &View) -> R) -> Option<R> {
    let (mut virtio, mut streaming) = (VIRTIO.lock(), STREAMING.lock());
    let (virtio, view) = virtio.as_mut()?;
    Some(work(virtio, streaming.as_mut()?, view))
}

// SAFETY: `alloc_coherent` gives zeroed pages, which nobody else has until they are given back.
unsafe impl Backend for Kernel {
    fn alloc(&self, pages: usize) -> Option<(DmaAddr, NonNull<u8>)> {
        let size = u32::try_from(pages).ok()?.checked_mul(PAGE_SIZE)?;
        let device = VIRTIO.lock().as_ref()?.0.device().clone();
        let buffer = alloc_coherent(&device, size, Gfp::KERNEL).ok()?;
        let kept = VIRTIO.lock().as_mut()?.0.keep(buffer);
        let refused = |(error, buffer)| {
            log::error!("virtio: {error}");
            free(buffer);
        };
        kept.map_err(refused).ok()
    }

    fn dealloc(&self, cpu: NonNull<u8>, pages: usize) -> bool {
        let taken = VIRTIO.lock().as_mut().and_then(|(virtio, _)| virtio.take(cpu, pages));
        taken.map(free).is_some()
    }

    unsafe fn share(&self, buffer: NonNull<[u8]>, direction: DmaDirection) -> Option<DmaAddr> {
        with(|virtio, streaming, view| {
            // SAFETY: the caller's contract is the same.
            let shared = unsafe { virtio.share(streaming, view, &mut LockedPages, buffer, direction) };
            shared.map_err(|error| log::error!("virtio: {error}")).ok()
        })?
    }

    unsafe fn unshare(&self, addr: DmaAddr, buffer: NonNull<[u8]>, direction: DmaDirection) {
        with(|virtio, streaming, view| {
            // SAFETY: the caller's contract is the same.
            unsafe { virtio.unshare(streaming, view, &mut LockedPages, addr, buffer, direction) }
        });
    }

    /// There is no PCI.
    fn mmio(&self, _phys: u64, _size: usize) -> Option<NonNull<u8>> {
        None
    }
}

/// From here on, drivers can start.
pub fn start(device: Device<'static, CmaId>) {
    let Some(view) = view() else { return };
    *VIRTIO.lock() = Some((VirtioDma::new(device, slots(QUEUES), slots(BOUNCES)), view));
    register(&Kernel);
}
