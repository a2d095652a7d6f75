//! The DMA API over the memory manager.
//!
//! A call of the API happens under the memory manager's lock, with all that has to be moved for it ([`Mm::dma`]).
//! [`alloc_coherent`] lets interrupts in between the moves: it takes the contiguous pages first, step by step, and makes
//! the call with them.

use crate::memory::contiguous::{self, Parts};
use crate::memory::hooks::with_highmem;
use crate::memory::{self, Mm};
use crate::paging::Table;
use ::user::Request;
use alloc::vec;
use arch_armv7::cache::Caches;
use arch_armv7::linear::Linear;
use dma::{Coherent, Contiguous, ContiguousError, CpuView, Device, DmaError, Fresh, Platform};
use mm::cma::{CmaError, CmaId, CmaPages};
use mm::pages::PageAllocator;
use mm::{Gfp, MigrateError};
use types::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

/// The DMA API's state: tokens of contiguous pages are CMA's.
pub type Dma = dma::Dma<'static, CmaPages>;

/// The memory manager as the DMA API sees it.
pub struct Kernel<'m> {
    parts: Parts<'m>,
    default: Option<CmaId>,
    table: &'m mut Table,
    view: View,
    ready: Option<&'m mut Ready>,
}

/// Bytes of the largest buffer that is made under one lock.
const AT_ONCE: u32 = 64 << 10;

/// Bytes that are remapped under one lock.
const PIECE: u32 = 1 << 20;

/// What areas have answered before the call.
type Ready = [Option<(CmaId, Result<CmaPages, ContiguousError>)>; dma::MAX_AREAS];

/// A coherent buffer.
pub type Buffer = Coherent<CmaPages>;

impl Mm {
    /// The DMA API, and what it works with.
    pub fn dma(&mut self) -> (&mut Dma, Kernel<'_>) {
        let Self { pages, cma, default_cma, table, linear, dma, spaces, buffers, .. } = self;
        let parts = Parts { pages, cma, spaces: spaces.as_deref_mut(), buffers };
        (dma, Kernel { parts, default: *default_cma, table, view: View { linear: *linear }, ready: None })
    }
}

/// A coherent buffer for a device (`dma_alloc_coherent`). Interrupts run while pages are moved out of its way.
///
/// # Errors
/// [`DmaError`].
pub fn alloc_coherent(device: &Device<'static, CmaId>, size: u32, gfp: Gfp) -> Result<Buffer, DmaError> {
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
    Fresh(Fresh<CmaPages>),
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

type Failed = (Fresh<CmaPages>, DmaError);

/// Zeroes, remaps and flushes a large buffer: interrupts run all the time but for the single pieces of the remapping.
fn complete(mut fresh: Fresh<CmaPages>) -> Result<Buffer, Failed> {
    fresh.zero();
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
    if buffer.size() <= AT_ONCE {
        memory::with(|mm| {
            let (dma, mut kernel) = mm.dma();
            dma.free(&mut kernel, buffer);
        });
        return;
    }
    let mut retired = buffer.retire();
    while memory::with(|mm| retired.restore(&mut mm.dma().1, PIECE)) == Some(true) {}
    memory::with(|mm| {
        let (dma, mut kernel) = mm.dma();
        dma.end(&mut kernel, retired);
    });
}

fn request(area: CmaId, count: u32, align: u8, no_warn: bool) -> Request {
    let gfp = if no_warn { Gfp::KERNEL | Gfp::__NOWARN } else { Gfp::KERNEL };
    Request { area, count, align, gfp, owner: "dma" }
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

/// Enough for streaming mappings, which need nothing of the memory manager and so not its lock.
#[derive(Clone, Copy)]
pub struct View {
    linear: Linear,
}

impl View {
    /// Of the memory that the linear map reaches, and of the rest; `None` before the memory manager runs.
    #[must_use]
    pub fn new() -> Option<Self> {
        memory::with(|mm| Self { linear: mm.linear })
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

    fn with_highmem(&self, pfn: Pfn, work: &mut dyn FnMut(*mut u8)) {
        with_highmem(pfn, work);
    }
}

impl CpuView for Kernel<'_> {
    type Linear = Linear;
    type Cache = Caches;

    fn linear(&self) -> &Linear {
        &self.view.linear
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
}

impl Contiguous for Kernel<'_> {
    type Area = CmaId;
    type Block = CmaPages;

    fn default_area(&self) -> Option<CmaId> {
        self.default
    }

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
        let request = request(area, count, align, no_warn);
        self.parts
            .with_movers(|cma, pages, movers| ::user::cma_alloc(cma, pages, movers, &request))
            .map_err(reason)
    }

    fn pfn(block: &CmaPages) -> Pfn {
        block.pfn()
    }

    fn release(&mut self, block: CmaPages) {
        hot::cma_release(self.parts.cma, self.parts.pages, block);
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
