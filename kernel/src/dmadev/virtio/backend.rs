//! What `virtio-drivers` calls for, from the DMA API.
//!
//! Unsafe code: [`Backend`]'s contract, which `VirtioDma` keeps (invariants 2 and 6).
#![allow(unsafe_code)]

use crate::dmadev::{STREAMING, slots};
use crate::memory;
use arch_armv7::cpu::IrqLock;
use core::ptr::NonNull;
use dma::virtio::VirtioDma;
use dma::{Device, DmaAddr, DmaDirection};
use drivers::virtio::hal::{Backend, register};
use mm::cma::{CmaId, CmaPages};

/// Buffers of queues, and buffers that are replaced while shared, at a time.
const QUEUES: usize = 16;
const BOUNCES: usize = 64;

type Virtio = VirtioDma<'static, CmaId, CmaPages>;

static VIRTIO: IrqLock<Option<Virtio>> = IrqLock::new(None);

struct Kernel;

/// The memory manager's lock comes first: then its context is the caller's.
fn with<R>(
    work: impl FnOnce(&mut crate::dma::Dma, &mut crate::dma::Kernel<'_>, &mut Virtio) -> R,
) -> Option<R> {
    memory::with(|mm| {
        let (dma, mut kernel) = mm.dma();
        VIRTIO.lock().as_mut().map(|virtio| work(dma, &mut kernel, virtio))
    })?
}

// SAFETY: `VirtioDma` gives zeroed pages out of the DMA API, which nobody else has until they are given back.
unsafe impl Backend for Kernel {
    fn alloc(&self, pages: usize) -> Option<(DmaAddr, NonNull<u8>)> {
        with(|dma, kernel, virtio| virtio.alloc(dma, kernel, pages).ok())?
    }

    fn dealloc(&self, cpu: NonNull<u8>, pages: usize) -> bool {
        with(|dma, kernel, virtio| virtio.dealloc(dma, kernel, cpu, pages)).unwrap_or(false)
    }

    unsafe fn share(&self, buffer: NonNull<[u8]>, direction: DmaDirection) -> Option<DmaAddr> {
        with(|_, kernel, virtio| {
            let mut streaming = STREAMING.lock();
            // SAFETY: the caller's contract is the same.
            let shared = unsafe { virtio.share(streaming.as_mut()?, kernel, buffer, direction) };
            shared.map_err(|error| log::error!("virtio: {error}")).ok()
        })?
    }

    unsafe fn unshare(&self, addr: DmaAddr, buffer: NonNull<[u8]>, direction: DmaDirection) {
        with(|_, kernel, virtio| {
            if let Some(streaming) = &mut *STREAMING.lock() {
                // SAFETY: the caller's contract is the same.
                unsafe { virtio.unshare(streaming, kernel, addr, buffer, direction) }
            }
        });
    }

    /// There is no PCI.
    fn mmio(&self, _phys: u64, _size: usize) -> Option<NonNull<u8>> {
        None
    }
}

/// From here on, drivers can start.
pub fn start(device: Device<'static, CmaId>) {
    *VIRTIO.lock() = Some(VirtioDma::new(device, slots(QUEUES), slots(BOUNCES)));
    register(&Kernel);
}
