//! The DMA API over the memory manager.
//!
//! A call of the API happens under the memory manager's lock, with all that has to be moved for it ([`Mm::dma`]).
//! [`alloc_coherent`] lets interrupts in between the moves: it takes the contiguous pages first, step by step, and makes
//! the call with them.

use crate::memory::contiguous::{self, Parts};
use crate::memory::hooks::with_highmem;
use crate::memory::{self, MM, Mm};
use crate::paging::Table;
use ::user::Request;
use alloc::vec;
use arch_armv7::cache::Caches;
use arch_armv7::linear::Linear;
use arch_armv7::tlb::Tlb;
use core::ptr::NonNull;
use dma::{Areas, Contiguous, ContiguousError, CpuView, Device, DmaError, Platform};
use hal::{MemAttr, Prot};
use mm::cma::{CmaError, CmaId, CmaPages};
use mm::pages::PageAllocator;
use mm::vmalloc::{Backing, Context, VfreeError, Vmalloc, VmallocError};
use mm::{Gfp, MigrateError};
use types::{PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr};

pub use hot::dma::{Buffer, Dma, View, map_single, unmap_single};
use hot::dma::{Fresh, IdleAreas, Memory, OWNER};

/// The memory manager as the DMA API sees it.
pub struct Kernel<'m> {
    parts: Parts<'m>,
    default: Option<CmaId>,
    table: &'m mut Table,
    view: View,
    vmalloc: &'m mut Vmalloc<Linear>,
    ready: Option<&'m mut Ready>,
}

/// Who maps buffers in highmem: requests that may block, whose caller the area doesn't know.
const MAPS: Context = Context { caller: 0, atomic: false };

/// Bytes of the largest buffer that is made under one lock.
const AT_ONCE: u32 = 64 << 10;

/// Bytes that are remapped under one lock.
const PIECE: u32 = 1 << 20;

/// What areas have answered before the call.
type Ready = [Option<(CmaId, Result<CmaPages, ContiguousError>)>; dma::MAX_AREAS];

impl Mm {
    /// The DMA API, and what it works with as long as memory lies idle.
    fn idle(&mut self) -> (&mut Dma, Memory<'_>) {
        let Self { pages, cma, default_cma, table, linear, dma, .. } = self;
        let areas = IdleAreas { cma, pages, default: *default_cma };
        (dma, Memory { areas, table, view: View::new(*linear, with_highmem) })
    }

    /// The DMA API, and what it works with.
    pub fn dma(&mut self) -> (&mut Dma, Kernel<'_>) {
        let Self { pages, cma, default_cma, table, linear, dma, spaces, buffers, vmalloc, .. } = self;
        let parts = Parts { pages, cma, spaces: spaces.as_deref_mut(), buffers };
        (
            dma,
            Kernel {
                parts,
                default: *default_cma,
                table,
                view: View::new(*linear, with_highmem),
                vmalloc,
                ready: None,
            },
        )
    }
}

/// A coherent buffer for a device (`dma_alloc_coherent`). Interrupts run while pages are moved out of its way.
///
/// # Errors
/// [`DmaError`].
pub fn alloc_coherent(device: &Device<'static, CmaId>, size: u32, gfp: Gfp) -> Result<Buffer, DmaError> {
    match device.pool {
        _ if size > AT_ONCE => alloc_slowly(device, size, gfp, None),
        Some(_) => alloc_pooled(device, size, gfp),
        None => hot::dma::alloc_either((alloc_idle, alloc_slowly), device, size, gfp),
    }
}

fn alloc_pooled(device: &Device<'static, CmaId>, size: u32, gfp: Gfp) -> Result<Buffer, DmaError> {
    let (Some(number), Some(mut dma)) = (device.pool, MM.lock_dma()) else { return Err(DmaError::MaskUnset) };
    hot::dma::alloc_pooled(&mut dma, number, device, size, gfp)
}

fn alloc_idle(device: &Device<'static, CmaId>, size: u32, gfp: Gfp) -> Result<Buffer, Option<Fresh>> {
    let mut mm = MM.lock().ok_or(None)?;
    let (dma, mut memory) = mm.idle();
    hot::dma::alloc_idle(dma, &mut memory, device, size, gfp)
}

#[inline(never)]
fn alloc_slowly(
    device: &Device<'static, CmaId>,
    size: u32,
    gfp: Gfp,
    begun: Option<Fresh>,
) -> Result<Buffer, DmaError> {
    if let Some(zeroed) = begun {
        return remap(zeroed).or_else(|failed| recover(device, failed, gfp));
    }
    let mut ready = Ready::default();
    if device.pool.is_none() {
        take_contiguous(device, size, gfp, &mut ready)?;
    }
    let begun = memory::with(|mm| {
        let (dma, mut kernel) = mm.dma();
        kernel.ready = Some(&mut ready);
        if size <= AT_ONCE {
            dma.alloc_coherent(&mut kernel, device, size, gfp).map(Begun::Done)
        } else {
            dma.begin(&mut kernel, device, size, gfp).map(Begun::Fresh)
        }
    });
    if ready.iter().any(Option::is_some) {
        release_unused(ready);
    }
    match begun.unwrap_or(Err(DmaError::MaskUnset))? {
        Begun::Done(buffer) => Ok(buffer),
        Begun::Fresh(fresh) => complete(fresh).or_else(|failed| recover(device, failed, gfp)),
    }
}

enum Begun {
    Done(Buffer),
    Fresh(Fresh),
}

/// The pages, with interrupts between the moves that they take.
fn take_contiguous(
    device: &Device<'static, CmaId>,
    size: u32,
    gfp: Gfp,
    ready: &mut Ready,
) -> Result<(), DmaError> {
    let wanted = memory::with(|mm| {
        let (dma, mut kernel) = mm.dma();
        dma.areas_wanted(&mut kernel, device, size, gfp)
    });
    let wanted = wanted.ok_or(DmaError::MaskUnset)?;
    for (area, slot) in wanted.areas.into_iter().flatten().zip(ready) {
        let taken = contiguous::cma_alloc(&request(area, wanted.count, wanted.align, wanted.no_warn));
        let found = taken.is_ok();
        *slot = Some((area, taken.map_err(reason)));
        if found {
            break;
        }
    }
    Ok(())
}

/// Gives back what was taken before the call and not needed in it.
#[cold]
fn release_unused(ready: Ready) {
    for taken in ready.into_iter().flatten().filter_map(|(_, taken)| taken.ok()) {
        memory::with(|mm| mm.cma.release(mm.pages, taken));
    }
}

type Failed = (Fresh, DmaError);

/// Zeroes, remaps and flushes a buffer: interrupts run all the time but for the single pieces of the remapping.
fn complete(mut fresh: Fresh) -> Result<Buffer, Failed> {
    fresh.zero(&Caches);
    remap(fresh)
}

fn remap(mut fresh: Fresh) -> Result<Buffer, Failed> {
    loop {
        match memory::with(|mm| fresh.remap(&mut mm.dma().1, PIECE)) {
            Some(Ok(true)) => {}
            Some(Err(error)) => return Err((fresh, error)),
            Some(Ok(false)) | None => return Ok(fresh.finish(&Caches)),
        }
    }
}

#[cold]
fn recover(device: &Device<'static, CmaId>, (fresh, error): Failed, gfp: Gfp) -> Result<Buffer, DmaError> {
    let recovered = memory::with(|mm| {
        let (dma, mut kernel) = mm.dma();
        dma.recover(&mut kernel, device, fresh, (error, gfp))
    });
    complete(recovered.unwrap_or(Err(error))?).map_err(|(_, error)| error)
}

/// Takes a buffer back (`dma_free_coherent`). Interrupts run between the pieces of a large one.
pub fn free(buffer: Buffer) {
    if buffer.size() > AT_ONCE {
        return free_slowly(buffer);
    }
    let left = if buffer.is_pooled() { free_pooled(buffer) } else { free_idle(buffer) };
    if let Err(buffer) = left {
        free_slowly(buffer);
    }
}

fn free_pooled(buffer: Buffer) -> Result<(), Buffer> {
    let Some(mut dma) = MM.lock_dma() else { return Err(buffer) };
    hot::dma::free_pooled(&mut dma, buffer)
}

fn free_idle(buffer: Buffer) -> Result<(), Buffer> {
    let Some(mut mm) = MM.lock() else { return Err(buffer) };
    let (dma, mut memory) = mm.idle();
    hot::dma::free_idle(dma, &mut memory, buffer)
}

#[inline(never)]
fn free_slowly(buffer: Buffer) {
    let mut retired = buffer.retire();
    while memory::with(|mm| retired.restore(&mut mm.dma().1, PIECE)) == Some(true) {}
    memory::with(|mm| {
        let (dma, mut kernel) = mm.dma();
        dma.end(&mut kernel, retired);
    });
}

fn request(area: CmaId, count: u32, align: u8, no_warn: bool) -> Request {
    let gfp = if no_warn { Gfp::KERNEL | Gfp::__NOWARN } else { Gfp::KERNEL };
    Request { area, count, align, gfp, owner: OWNER }
}

/// Why an area gave nothing, in the DMA API's terms.
fn reason(error: CmaError) -> ContiguousError {
    match error {
        CmaError::Blocked { pfn, owner } => ContiguousError::Blocked { pfn, owner },
        CmaError::NoRoomElsewhere { .. } | CmaError::Migration { why: MigrateError::NoMemory, .. } => {
            ContiguousError::NoMemory
        }
        CmaError::Migration { pfn, owner, .. } => ContiguousError::Blocked { pfn, owner },
        CmaError::NoSpace { count, .. } | CmaError::BadRequest { count, .. } => {
            ContiguousError::NoRoom { count }
        }
        _ => ContiguousError::NoRoom { count: 0 },
    }
}

/// The CPU's view of memory, for streaming mappings; `None` before the memory manager runs.
#[must_use]
pub fn view() -> Option<View> {
    memory::with(|mm| View::new(mm.linear, with_highmem))
}

impl CpuView for Kernel<'_> {
    type Linear = Linear;
    type Cache = Caches;

    fn linear(&self) -> &Linear {
        self.view.linear()
    }

    fn cache(&self) -> &Caches {
        &Caches
    }

    fn linear_virt(&self, phys: PhysAddr) -> Option<VirtAddr> {
        self.view.linear_virt(phys)
    }

    fn with_highmem(&self, pfn: Pfn, work: &mut dyn FnMut(*mut u8)) {
        self.view.with_highmem(pfn, work);
    }
}

impl Platform for Kernel<'_> {
    type Pages = PageAllocator<'static>;
    type Contiguous = Self;
    type Table = Table;

    fn pages(&mut self) -> &mut Self::Pages {
        self.parts.pages
    }

    fn contiguous(&mut self) -> &mut Self {
        self
    }

    fn table(&mut self) -> &mut Table {
        self.table
    }

    fn map(&mut self, phys: PhysAddr, size: u32, attr: MemAttr) -> Result<NonNull<u8>, VmallocError> {
        let range = PhysRange::new(phys, size);
        let Self { parts, table, vmalloc, .. } = self;
        let mut backing = Backing { pages: &mut *parts.pages, table: &mut **table, tlb: &Tlb };
        let start = vmalloc.vmap_range(&mut backing, MAPS, range, attr, Prot::WRITE)?;
        NonNull::new(start.get() as *mut u8).ok_or(VmallocError::TableFull)
    }

    fn unmap(&mut self, start: NonNull<u8>) -> Result<(), VfreeError> {
        let Self { parts, table, vmalloc, .. } = self;
        let mut backing = Backing { pages: &mut *parts.pages, table: &mut **table, tlb: &Tlb };
        vmalloc.vunmap(&mut backing, MAPS, VirtAddr::new(start.addr().get() as u32))
    }
}

impl Areas for Kernel<'_> {
    type Area = CmaId;
    type Block = CmaPages;

    fn default_area(&self) -> Option<CmaId> {
        self.default
    }

    fn span(&self, area: CmaId) -> (PhysAddr, PhysAddr) {
        hot::dma::span(self.parts.cma, area)
    }

    fn alloc_idle(&mut self, area: CmaId, count: u32, align: u8) -> Option<CmaPages> {
        hot::cma_take(self.parts.cma, self.parts.pages, area, (count, align), OWNER)
    }

    fn pfn(block: &CmaPages) -> Pfn {
        block.pfn()
    }

    fn release(&mut self, block: CmaPages) {
        hot::cma_release(self.parts.cma, self.parts.pages, block);
    }
}

impl Contiguous for Kernel<'_> {
    fn alloc(
        &mut self,
        area: CmaId,
        count: u32,
        align: u8,
        no_warn: bool,
    ) -> Result<CmaPages, ContiguousError> {
        let mut ready = self.ready.iter_mut().flat_map(|ready| ready.iter_mut());
        let ready = ready.find(|slot| slot.as_ref().is_some_and(|ready| ready.0 == area));
        if let Some((_, answer)) = ready.and_then(Option::take) {
            return answer;
        }
        if let Some(block) = self.alloc_idle(area, count, align) {
            return Ok(block);
        }
        let request = request(area, count, align, no_warn);
        self.parts
            .with_movers(|cma, pages, movers| ::user::cma_alloc(cma, pages, movers, &request))
            .map_err(reason)
    }
}

/// Sets the pool for atomic allocations up; without memory for it there is a line in the log, and no pool.
pub fn init_atomic_pool(bytes: u32) {
    let words = vec![0u32; bytes.div_ceil(PAGE_SIZE).div_ceil(32) as usize].leak();
    let made = memory::with(|mm| {
        let (dma, mut kernel) = mm.dma();
        dma.init_atomic_pool(&mut kernel, words)
    });
    if let Some(Err(error)) = made {
        log::warn!("DMA: {error}");
    }
}
