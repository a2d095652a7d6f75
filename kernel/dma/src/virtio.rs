//! What `virtio_drivers::Hal` asks for, on this DMA API; the kernel's `Hal` forwards here.
//!
//! virtio drivers share whatever buffer they are given: a byte on a stack, the middle of a line. When the device
//! sees the caches that is fine. Otherwise a buffer that the device may write and that shares its lines, and any
//! buffer outside of the linear map, is replaced by pages of its own while it is shared, and copied.
//!
//! Unsafe code: `share` and `unshare` read and write a buffer that the caller vouches for.
#![allow(unsafe_code)]

use crate::access::Region;
use crate::platform::{CpuView, Pages};
use crate::remap::whole_pages;
use crate::{Coherent, Device, DmaAddr, DmaDirection, DmaError, Handles, Mapper, Streaming};
use core::ptr::NonNull;
use hal::{CacheOps, LinearMap};
use mm::pages::PageRun;
use mm::{Gfp, PageState};
use types::PAGE_SIZE;

/// Pages that stand in for a shared buffer.
#[derive(Debug)]
pub struct Bounce {
    addr: DmaAddr,
    region: Region,
    run: PageRun,
}

/// The DMA side of a virtio device.
#[derive(Debug)]
pub struct VirtioDma<'a, A, B> {
    device: Device<'static, A>,
    handles: Handles<'a, B>,
    bounces: &'a mut [Option<Bounce>],
}

impl<'a, A: Copy, B> VirtioDma<'a, A, B> {
    /// For `device`, with slots for its queues' memory and for buffers that have to be replaced.
    pub const fn new(
        device: Device<'static, A>,
        buffers: &'a mut [Option<Coherent<B>>],
        bounces: &'a mut [Option<Bounce>],
    ) -> Self {
        Self { device, handles: Handles::new(buffers), bounces }
    }

    /// Buffers that are replaced just now.
    #[must_use]
    pub fn bounced(&self) -> usize {
        self.bounces.iter().flatten().count()
    }

    /// The device, for `dma_alloc_coherent`.
    #[must_use]
    pub const fn device(&self) -> &Device<'static, A> {
        &self.device
    }

    /// `Hal::dma_alloc`: keeps a buffer of the device's until [`VirtioDma::take`]. Where the device and the driver see it.
    ///
    /// # Errors
    /// [`DmaError::TableFull`], and the buffer back; the hal then returns a physical address of 0.
    pub fn keep(&mut self, buffer: Coherent<B>) -> Result<(DmaAddr, NonNull<u8>), (DmaError, Coherent<B>)> {
        let place = (buffer.addr(), buffer.cpu());
        self.handles.insert(buffer).map(|()| place)
    }

    /// `Hal::dma_dealloc`: the buffer, if it is the device's. If not, the log names it.
    pub fn take(&mut self, cpu: NonNull<u8>, pages: usize) -> Option<Coherent<B>> {
        self.handles.take(cpu, (pages as u32).saturating_mul(PAGE_SIZE))
    }

    /// `Hal::share`: hands the buffer to the device.
    ///
    /// # Errors
    /// [`DmaError`], for want of pages or of a slot when the buffer has to be replaced.
    ///
    /// # Safety
    /// `buffer` is valid for reads and writes, and nobody touches it until [`VirtioDma::unshare`].
    #[track_caller]
    pub unsafe fn share<M: Mapper<A>>(
        &mut self,
        streaming: &mut Streaming<'_>,
        cpu: &M,
        pages: &mut impl Pages,
        buffer: NonNull<[u8]>,
        direction: DmaDirection,
    ) -> Result<DmaAddr, DmaError> {
        let start: NonNull<u8> = buffer.cast();
        if !self.must_replace(cpu, start, buffer.len(), direction) {
            return M::map_single(streaming, cpu, &self.device, start, buffer.len() as u32, direction);
        }
        let slots = self.bounces.len();
        let slot =
            self.bounces.iter_mut().find(|slot| slot.is_none()).ok_or(DmaError::TableFull { slots })?;
        let size = whole_pages(buffer.len() as u32)?;
        let run = pages.alloc(Gfp::ATOMIC, size / PAGE_SIZE, PageState::Dma)?;
        let phys = run.pfn().addr();
        let stand_in = Region::new(cpu.linear().ptr(phys), size as usize);
        let region = stand_in.ok_or(DmaError::NotLinear { phys })?;
        // SAFETY: the caller's contract; the stand-in is owned and can't overlap.
        region.write(0, unsafe { buffer.as_ref() });
        match M::map_single(streaming, cpu, &self.device, region.start(), size, direction) {
            Ok(addr) => {
                *slot = Some(Bounce { addr, region, run });
                Ok(addr)
            }
            Err(error) => {
                pages.free(run);
                Err(error)
            }
        }
    }

    fn must_replace<P: CpuView>(
        &self,
        cpu: &P,
        start: NonNull<u8>,
        len: usize,
        direction: DmaDirection,
    ) -> bool {
        let line = cpu.cache().line_size();
        let shares = (start.addr().get() | len) & (line - 1) != 0;
        let risky = shares && direction.device_writes() && !self.device.coherent;
        risky || cpu.linear().phys(start.as_ptr()).is_none()
    }

    /// `Hal::unshare`: takes the buffer back from the device.
    ///
    /// # Safety
    /// `addr` is what [`VirtioDma::share`] returned for this buffer and direction.
    pub unsafe fn unshare<M: Mapper<A>>(
        &mut self,
        streaming: &mut Streaming<'_>,
        cpu: &M,
        pages: &mut impl Pages,
        addr: DmaAddr,
        mut buffer: NonNull<[u8]>,
        direction: DmaDirection,
    ) {
        let ours = |slot: &&mut Option<Bounce>| slot.as_ref().is_some_and(|bounce| bounce.addr == addr);
        let Some(bounce) = self.bounces.iter_mut().find(ours).and_then(Option::take) else {
            return M::unmap_single(streaming, cpu, &self.device, addr, buffer.len() as u32, direction);
        };
        M::unmap_single(streaming, cpu, &self.device, addr, bounce.region.len() as u32, direction);
        if direction.device_writes() {
            // SAFETY: the caller's contract: valid, and nobody else uses it yet.
            bounce.region.read(0, unsafe { buffer.as_mut() });
        }
        pages.free(bounce.run);
    }
}
