//! What `virtio-drivers` calls the kernel for, forwarded to the kernel's DMA API.
//!
//! The crate asks for a type with static functions, so the kernel registers a [`Backend`], once, before the first
//! device starts. It is the only global of this package; it holds no state, and locking is the backend's.
//!
//! Unsafe code: the trait of `virtio-drivers` is unsafe to implement; its contract is passed on to [`Backend`].
#![allow(unsafe_code)]

use ::dma::{DmaAddr, DmaDirection};
use core::ptr::NonNull;
use spin::Once;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// The kernel's side: `dma::virtio::VirtioDma` behind a lock.
///
/// # Safety
/// [`Backend::alloc`] gives zeroed pages that nobody else uses, aligned to a page and mapped until they are given back.
/// [`Backend::mmio`] gives a mapping of the registers asked for, which nobody else uses.
pub unsafe trait Backend: Sync {
    /// Pages for a queue; `None` without memory.
    fn alloc(&self, pages: usize) -> Option<(DmaAddr, NonNull<u8>)>;

    /// Takes them back; whether they were given out.
    fn dealloc(&self, cpu: NonNull<u8>, pages: usize) -> bool;

    /// Hands a buffer to the device; `None` when that can't be, which the log explains.
    ///
    /// # Safety
    /// `buffer` is valid for reads and writes, and nobody touches it until [`Backend::unshare`].
    unsafe fn share(&self, buffer: NonNull<[u8]>, direction: DmaDirection) -> Option<DmaAddr>;

    /// Takes a buffer back.
    ///
    /// # Safety
    /// `addr` is what [`Backend::share`] gave for this buffer and direction.
    unsafe fn unshare(&self, addr: DmaAddr, buffer: NonNull<[u8]>, direction: DmaDirection);

    /// Maps registers of a device on PCI; `None` when that can't be.
    fn mmio(&self, phys: u64, size: usize) -> Option<NonNull<u8>>;
}

static BACKEND: Once<&'static dyn Backend> = Once::new();

/// Sets the backend; whether it was the first, which stays.
pub fn register(backend: &'static dyn Backend) -> bool {
    let mut first = false;
    BACKEND.call_once(|| {
        first = true;
        backend
    });
    first
}

fn backend() -> Option<&'static dyn Backend> {
    BACKEND.get().copied()
}

const fn direction(direction: BufferDirection) -> DmaDirection {
    match direction {
        BufferDirection::DriverToDevice => DmaDirection::ToDevice,
        BufferDirection::DeviceToDriver => DmaDirection::FromDevice,
        BufferDirection::Both => DmaDirection::Bidirectional,
    }
}

/// The bus address that no buffer has: a device that is told it fails the request and touches nothing.
const NOWHERE: PhysAddr = PhysAddr::MAX;

/// The `Hal` of all devices.
#[derive(Debug)]
pub enum KernelHal {}

// SAFETY: each function passes on to the backend, whose contract holds what `Hal`'s asks for.
unsafe impl Hal for KernelHal {
    /// A physical address of 0 is how the trait says that there is no memory; the pointer is then not looked at.
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        match backend().and_then(|backend| backend.alloc(pages)) {
            Some((addr, cpu)) => (addr.get().into(), cpu),
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        let ours = backend().is_some_and(|backend| backend.dealloc(vaddr, pages));
        if ours { 0 } else { -1 }
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        let mapped = backend().and_then(|backend| backend.mmio(paddr, size));
        mapped.unwrap_or_else(|| panic!("virtio: can't map registers {paddr:#x}+{size:#x}"))
    }

    unsafe fn share(buffer: NonNull<[u8]>, how: BufferDirection) -> PhysAddr {
        // SAFETY: the caller's contract is the same.
        let addr = backend().and_then(|backend| unsafe { backend.share(buffer, direction(how)) });
        addr.map_or(NOWHERE, |addr| addr.get().into())
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, how: BufferDirection) {
        let Ok(addr) = u32::try_from(paddr) else { return };
        if let Some(backend) = backend() {
            // SAFETY: the caller's contract is the same; `paddr` came from `share`.
            unsafe { backend.unshare(DmaAddr::new(addr), buffer, direction(how)) }
        }
    }
}
