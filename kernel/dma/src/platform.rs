//! What the DMA API needs of the kernel.

use core::fmt;
use core::ptr::NonNull;
use hal::{CacheOps, LinearMap, MemAttr, PageTable, TablePages};
use mm::pages::{PageAllocator, PageRun};
use mm::vmalloc::{VfreeError, VmallocError};
use mm::{AllocError, Gfp, PageState};
use types::{Pfn, PhysAddr, VirtAddr};

/// Why an area gave nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContiguousError {
    /// There is no free stretch of `count` pages.
    NoRoom {
        /// Pages.
        count: u32,
    },
    /// A page in the way can't be moved.
    Blocked {
        /// The page.
        pfn: Pfn,
        /// Who has it.
        owner: PageState,
    },
    /// No room elsewhere for the pages that would have to move.
    NoMemory,
}

impl fmt::Display for ContiguousError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { count } => write!(f, "no mem in CMA area for {count} pages"),
            Self::Blocked { pfn, owner } => write!(f, "CMA: pfn {pfn} is in the way, it belongs to {owner}"),
            Self::NoMemory => f.write_str("CMA: no memory elsewhere to move pages to"),
        }
    }
}

/// CMA areas, and what of them lies idle.
pub trait Areas {
    /// Names an area.
    type Area: Copy + PartialEq + fmt::Debug;
    /// Pages that were taken: an ownership token (invariant 2).
    type Block: fmt::Debug;

    /// The area of devices without one of their own.
    fn default_area(&self) -> Option<Self::Area>;

    /// The first and the last byte of an area: both in the linear map, or neither.
    fn span(&self, area: Self::Area) -> (PhysAddr, PhysAddr);

    /// Takes `count` pages from `area`, aligned to 2^`align` pages, if they are to be had at once; `None`, and nothing has
    /// changed, when [`Contiguous::alloc`] has to be asked.
    fn alloc_idle(&mut self, area: Self::Area, count: u32, align: u8) -> Option<Self::Block>;

    /// The first page of a block.
    fn pfn(block: &Self::Block) -> Pfn;

    /// Gives a block back.
    fn release(&mut self, block: Self::Block);
}

/// Contiguous pages out of CMA areas, whatever has to be moved for them.
pub trait Contiguous: Areas {
    /// Takes `count` pages from `area`, aligned to 2^`align` pages; without a message on failure if `no_warn`.
    ///
    /// # Errors
    /// [`ContiguousError`].
    fn alloc(
        &mut self,
        area: Self::Area,
        count: u32,
        align: u8,
        no_warn: bool,
    ) -> Result<Self::Block, ContiguousError>;
}

/// Single stretches of pages from the page allocator.
pub trait Pages {
    /// `count` contiguous pages in state `owner`.
    ///
    /// # Errors
    /// [`AllocError`].
    fn alloc(&mut self, gfp: Gfp, count: u32, owner: PageState) -> Result<PageRun, AllocError>;

    /// Takes them back.
    fn free(&mut self, run: PageRun);
}

impl Pages for PageAllocator<'_> {
    fn alloc(&mut self, gfp: Gfp, count: u32, owner: PageState) -> Result<PageRun, AllocError> {
        self.alloc_pages_exact(gfp, count, owner)
    }

    fn free(&mut self, run: PageRun) {
        self.free_pages_exact(run);
    }
}

/// The CPU's side of memory: enough for streaming mappings.
pub trait CpuView {
    /// The linear map.
    type Linear: LinearMap;
    /// The caches.
    type Cache: CacheOps;

    /// The linear map.
    fn linear(&self) -> &Self::Linear;

    /// The caches.
    fn cache(&self) -> &Self::Cache;

    /// Where the linear map puts `phys`; `None` for highmem.
    fn linear_virt(&self, phys: PhysAddr) -> Option<VirtAddr>;

    /// A pointer to `[phys, phys + len)` in the linear map; `None` when some of it is highmem.
    #[inline]
    fn linear_ptr(&self, phys: PhysAddr, len: u32) -> Option<*mut u8> {
        let last = PhysAddr::new(phys.get().wrapping_add(len.saturating_sub(1)));
        self.linear_virt(last).map(|_| self.linear().ptr(phys))
    }

    /// Calls `work` with a pointer to the highmem page `pfn`, mapped for so long (`kmap_atomic`). Never called for
    /// lowmem.
    fn with_highmem(&self, pfn: Pfn, work: &mut dyn FnMut(*mut u8));
}

/// All that coherent memory takes.
pub trait Platform: CpuView {
    /// The page allocator.
    type Pages: Pages;
    /// The CMA areas.
    type Contiguous: Contiguous;
    /// The kernel's page table. Changes to it are made with interrupts off.
    type Table: PageTable + TablePages;

    /// The page allocator.
    fn pages(&mut self) -> &mut Self::Pages;

    /// The CMA areas.
    fn contiguous(&mut self) -> &mut Self::Contiguous;

    /// The kernel's page table.
    fn table(&mut self) -> &mut Self::Table;

    /// Maps `[phys, phys + size)`, which the linear map doesn't reach, for the CPU.
    ///
    /// # Errors
    /// [`VmallocError`].
    fn map(&mut self, phys: PhysAddr, size: u32, attr: MemAttr) -> Result<NonNull<u8>, VmallocError>;

    /// Undoes it. No TLB knows the mapping any more afterwards.
    ///
    /// # Errors
    /// [`VfreeError`]; the mapping is as it was then.
    fn unmap(&mut self, start: NonNull<u8>) -> Result<(), VfreeError>;
}

/// A platform whose token for contiguous pages is `B`.
pub trait PlatformFor<B>: Platform<Contiguous: Contiguous<Block = B>> {}

impl<B, P: Platform<Contiguous: Contiguous<Block = B>>> PlatformFor<B> for P {}

/// A platform's name for a CMA area.
pub(crate) type Area<P> = <<P as Platform>::Contiguous as Areas>::Area;
