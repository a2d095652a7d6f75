//! The DMA API over the memory manager.
//!
//! All of a call happens under the memory manager's lock: what it costs grows with the buffer, and nothing waits.

use crate::memory::hooks::with_highmem;
use crate::memory::{self, Mm};
use crate::paging::Table;
use alloc::vec;
use arch_armv7::cache::Caches;
use arch_armv7::linear::Linear;
use dma::{Contiguous, ContiguousError, CpuView, Platform};
use hal::LinearMap;
use mm::cma::{Cma, CmaError, CmaId, CmaPages};
use mm::pages::PageAllocator;
use mm::{Gfp, MigrateError, MigrateReason, Mover};
use types::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

/// The DMA API's state: tokens of contiguous pages are CMA's.
pub type Dma = dma::Dma<'static, CmaPages>;

/// The memory manager as the DMA API sees it.
pub struct Kernel<'m> {
    pages: &'m mut PageAllocator<'static, Linear>,
    cma: &'m mut Cma<'static>,
    default: Option<CmaId>,
    table: &'m mut Table,
    linear: Linear,
}

impl Mm {
    /// The DMA API, and what it works with.
    pub fn dma(&mut self) -> (&mut Dma, Kernel<'_>) {
        let Self { pages, cma, default_cma, table, linear, dma, .. } = self;
        (dma, Kernel { pages, cma, default: *default_cma, table, linear: *linear })
    }
}

/// Moves nothing: the DMA API's calls hold the memory manager's lock, and address spaces, whose lock comes before it, can't
/// be asked. A page of theirs in the way makes the request fail; `user::cma_alloc` moves them.
struct Nobody;

impl Mover<PageAllocator<'static, Linear>> for Nobody {
    fn migrate(
        &mut self,
        _pages: &mut PageAllocator<'static, Linear>,
        _pfn: Pfn,
        _reason: MigrateReason,
    ) -> Result<(), MigrateError> {
        Err(MigrateError::NotMovable)
    }
}

impl CpuView for Kernel<'_> {
    type Linear = Linear;
    type Cache = Caches;

    fn linear(&self) -> &Linear {
        &self.linear
    }

    fn cache(&self) -> &Caches {
        &Caches
    }

    fn linear_virt(&self, phys: PhysAddr) -> Option<VirtAddr> {
        let virt = self.linear.virt(phys);
        self.linear.phys(self.linear.ptr(phys)).map(|_| virt)
    }

    fn with_highmem(&self, pfn: Pfn, work: &mut dyn FnMut(*mut u8)) {
        with_highmem(pfn, work);
    }
}

impl Platform for Kernel<'_> {
    type Pages = PageAllocator<'static, Linear>;
    type Contiguous = Self;
    type Table = Table;

    fn pages(&mut self) -> &mut Self::Pages {
        self.pages
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
        let gfp = if no_warn { Gfp::KERNEL | Gfp::__NOWARN } else { Gfp::KERNEL };
        self.cma.alloc(self.pages, area, (count, align), gfp, "dma", &mut Nobody).map_err(|error| match error
        {
            CmaError::Blocked { pfn, owner } => ContiguousError::Blocked { pfn, owner },
            CmaError::Migration { why: MigrateError::NoMemory, .. } => ContiguousError::NoMemory,
            CmaError::Migration { pfn, owner, .. } => ContiguousError::Blocked { pfn, owner },
            _ => ContiguousError::NoRoom { count },
        })
    }

    fn pfn(block: &CmaPages) -> Pfn {
        block.pfn()
    }

    fn release(&mut self, block: CmaPages) {
        self.cma.release(self.pages, block);
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
