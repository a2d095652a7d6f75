//! The calls of the DMA API that drivers make for each transfer, compiled for speed.
//!
//! ```text
//! map_single, unmap_single     no lock: the linear map, the caches, the table of mappings that the caller has
//! alloc_pooled, free_pooled    under the memory manager's: a device's own pool
//! alloc_idle, free_idle        under the memory manager's: CMA pages that lie idle; the rest is the caller's to ask for
//! ```

use crate::Pages;
use arch_armv7::cache::Caches;
use arch_armv7::linear::Linear;
use arch_armv7::pgtable::KernelTable;
use arch_armv7::tlb::Tlb;
use core::ptr::NonNull;
use dma::{Areas, Coherent, CpuView, Device, DmaAddr, DmaDirection, DmaError, Idle, Mapper, Streaming};
use hal::LinearMap;
use mm::Gfp;
use mm::cma::{Cma, CmaId, CmaPages};
use types::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

/// The DMA API's state: tokens of contiguous pages are CMA's.
pub type Dma = dma::Dma<'static, CmaPages>;

/// A coherent buffer.
pub type Buffer = Coherent<CmaPages>;

/// A coherent buffer that is not ready yet.
pub type Fresh = dma::Fresh<CmaPages>;

/// To whom CMA's records say that pages were given.
pub const OWNER: &str = "dma";

/// Has `work` done with a pointer to a page of highmem.
pub type WithHighmem = fn(Pfn, &mut dyn FnMut(*mut u8));

/// What streaming mappings need: nothing of the memory manager, and so not its lock.
#[derive(Clone, Copy)]
pub struct View {
    linear: Linear,
    with_highmem: WithHighmem,
}

impl View {
    /// Of the memory that the linear map reaches, and of the rest.
    #[must_use]
    pub const fn new(linear: Linear, with_highmem: WithHighmem) -> Self {
        Self { linear, with_highmem }
    }
}

impl CpuView for View {
    type Linear = Linear;
    type Cache = Caches;

    #[inline]
    fn linear(&self) -> &Linear {
        &self.linear
    }

    #[inline]
    fn cache(&self) -> &Caches {
        &Caches
    }

    #[inline]
    fn linear_virt(&self, phys: PhysAddr) -> Option<VirtAddr> {
        let virt = self.linear.virt(phys);
        self.linear.phys_of(virt).map(|_| virt)
    }

    #[inline]
    fn linear_ptr(&self, phys: PhysAddr, len: u32) -> Option<*mut u8> {
        self.linear.holds(phys, len).then(|| self.linear.ptr(phys))
    }

    fn with_highmem(&self, pfn: Pfn, work: &mut dyn FnMut(*mut u8)) {
        (self.with_highmem)(pfn, work);
    }
}

impl Mapper<CmaId> for View {
    #[track_caller]
    #[inline(always)]
    fn map_single(
        streaming: &mut Streaming<'_>,
        cpu: &Self,
        device: &Device<'static, CmaId>,
        start: NonNull<u8>,
        len: u32,
        direction: DmaDirection,
    ) -> Result<DmaAddr, DmaError> {
        map_single(streaming, cpu, device, start, len, direction)
    }

    #[inline(always)]
    fn unmap_single(
        streaming: &mut Streaming<'_>,
        cpu: &Self,
        device: &Device<'static, CmaId>,
        addr: DmaAddr,
        len: u32,
        direction: DmaDirection,
    ) {
        unmap_single(streaming, cpu, device, addr, len, direction);
    }
}

/// What coherent memory takes of the memory manager.
pub struct Memory<'m> {
    /// The CMA areas.
    pub areas: IdleAreas<'m>,
    /// The kernel's page table.
    pub table: &'m mut KernelTable<Linear, Tlb>,
    /// The CPU's side of memory.
    pub view: View,
}

/// The CMA areas, as far as they lie idle.
pub struct IdleAreas<'m> {
    /// The areas.
    pub cma: &'m mut Cma<'static>,
    /// Pages.
    pub pages: &'m mut Pages,
    /// The area of devices without one of their own.
    pub default: Option<CmaId>,
}

/// [`Areas::span`] of CMA's areas.
#[inline]
#[must_use]
pub fn span(cma: &Cma<'_>, area: CmaId) -> (PhysAddr, PhysAddr) {
    cma.area(area).map_or((PhysAddr::new(0), PhysAddr::new(0)), |area| {
        let first = area.base_pfn().addr().get();
        (PhysAddr::new(first), PhysAddr::new(first + (area.count() * PAGE_SIZE - 1)))
    })
}

impl Areas for IdleAreas<'_> {
    type Area = CmaId;
    type Block = CmaPages;

    #[inline]
    fn default_area(&self) -> Option<CmaId> {
        self.default
    }

    #[inline]
    fn span(&self, area: CmaId) -> (PhysAddr, PhysAddr) {
        span(self.cma, area)
    }

    #[inline]
    fn alloc_idle(&mut self, area: CmaId, count: u32, align: u8) -> Option<CmaPages> {
        crate::cma_take(self.cma, self.pages, area, (count, align), OWNER)
    }

    #[inline]
    fn pfn(block: &CmaPages) -> Pfn {
        block.pfn()
    }

    #[inline]
    fn release(&mut self, block: CmaPages) {
        crate::cma_release(self.cma, self.pages, block);
    }
}

/// A quick way to a coherent buffer, or to one that has to be completed.
pub type Quickly = fn(&Device<'static, CmaId>, u32, Gfp) -> Result<Buffer, Option<Fresh>>;

/// A way to a coherent buffer that always leads on: from the one that has been begun, if any.
pub type Slowly = fn(&Device<'static, CmaId>, u32, Gfp, Option<Fresh>) -> Result<Buffer, DmaError>;

/// What `quickly` gives, or else what `slowly` makes of it. Here, because code that is built for size calls `memcpy` for each of the two.
///
/// # Errors
/// Those of `slowly`.
#[inline(never)]
pub fn alloc_either(
    (quickly, slowly): (Quickly, Slowly),
    device: &Device<'static, CmaId>,
    size: u32,
    gfp: Gfp,
) -> Result<Buffer, DmaError> {
    match quickly(device, size, gfp) {
        Ok(buffer) => Ok(buffer),
        Err(begun) => slowly(device, size, gfp, begun),
    }
}

/// [`dma::Dma::alloc_idle`].
///
/// # Errors
/// As there.
#[inline(never)]
pub fn alloc_idle(
    dma: &mut Dma,
    memory: &mut Memory<'_>,
    device: &Device<'static, CmaId>,
    size: u32,
    gfp: Gfp,
) -> Result<Buffer, Option<Fresh>> {
    let Memory { areas, table, view } = memory;
    dma.alloc_idle(&mut Idle { view, areas, table: *table }, device, size, gfp)
}

/// [`dma::Dma::free_idle`].
///
/// # Errors
/// As there.
#[inline(never)]
pub fn free_idle(dma: &mut Dma, memory: &mut Memory<'_>, buffer: Buffer) -> Result<(), Buffer> {
    let Memory { areas, table, view } = memory;
    dma.free_idle(&mut Idle { view, areas, table: *table }, buffer)
}

/// [`dma::Dma::alloc_pooled`].
///
/// # Errors
/// As there.
#[inline(never)]
pub fn alloc_pooled(
    dma: &mut Dma,
    number: usize,
    device: &Device<'static, CmaId>,
    size: u32,
    gfp: Gfp,
) -> Result<Buffer, DmaError> {
    dma.alloc_pooled(device, number, size, gfp)
}

/// [`dma::Dma::free_pooled`].
///
/// # Errors
/// As there.
#[inline(never)]
pub fn free_pooled(dma: &mut Dma, buffer: Buffer) -> Result<(), Buffer> {
    dma.free_pooled(buffer)
}

/// [`Streaming::map_single`].
///
/// # Errors
/// As there.
#[track_caller]
#[inline(never)]
pub fn map_single(
    streaming: &mut Streaming<'_>,
    view: &View,
    device: &Device<'static, CmaId>,
    start: NonNull<u8>,
    len: u32,
    direction: DmaDirection,
) -> Result<DmaAddr, DmaError> {
    streaming.map_single(view, device, start, len, direction)
}

/// [`Streaming::unmap`].
#[inline(never)]
pub fn unmap_single(
    streaming: &mut Streaming<'_>,
    view: &View,
    device: &Device<'static, CmaId>,
    addr: DmaAddr,
    len: u32,
    direction: DmaDirection,
) {
    streaming.unmap(view, device, addr, len, direction);
}
