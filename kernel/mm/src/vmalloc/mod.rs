//! Virtually contiguous memory: `vmalloc`, `vmap`, `ioremap` in `[VMALLOC_START, VMALLOC_END)`.
//!
//! ```text
//! VMALLOC_START                                                                    VMALLOC_END
//! |  area   |guard|        gap         |  area          |guard| gap |   stale   |guard| ... |*
//!    mapped   4 KiB                                                   unmapped, maybe in a TLB
//!
//!            reserve                 fill: blocks of 1 MiB, 64 KiB, 4 KiB
//!   gap ---------------> building ------------------------------------------> live
//!    ^                                                                          |
//!    |     release           Stale::flush (TLB)            vfree: unmap_lazily  |
//!    +-------------- Flushed <------------- Stale <-----------------------------+
//!    |     release                    vunmap, iounmap: unmap, TLB at once       |
//!    +--------------------------------------------------------------------------+
//! ```
//!
//! Areas are the nodes of one balanced tree in address order; each knows the gap before it and the largest gap below it, so that
//! the lowest gap that is large enough, and the area at an address, are found in O(log n) (`tree.rs`). The nodes lie in
//! a block that grows as it is needed (`nodes.rs`); places of small areas are kept for the next of their size
//! (`ready.rs`), and the smallest area is made and freed at once with them (`at_once.rs`). The pages behind an area are
//! chained through their page records; there is no array of them.
//!
//! Memory comes in the largest blocks that are to be had: a 1 MiB block makes a section, a 64 KiB block a large page, blocks of
//! 8, 4 and 2 pages save work, and single pages that happen to follow each other are mapped together.
//!
//! **Lazy TLB flushing.** [`Vmalloc::vfree`] clears the translations and lets the TLBs be. Until they are flushed,
//! neither the addresses nor the pages may be used again: they belong to `Stale`, which gives nothing back; only `Stale::flush`
//! turns it into `Flushed`, and only from that can they be released (`stale.rs`). One flush then serves many areas. `vunmap` and
//! `iounmap` flush at once, as the memory behind is the caller's, who may use it again as soon as they return.
//!
//! Keeps invariants 1, 2 and 5. Not for atomic context. `unsafe` is confined to `nodes.rs`.
//! Sources: Linux `mm/vmalloc.c` for names and formats; Seidel and Aragon, "Randomized Search Trees" (1996).

mod at_once;
mod build;
mod error;
mod info;
mod nodes;
mod ready;
mod release;
mod stale;
mod tree;
mod validate;

#[cfg(test)]
pub(crate) mod tests;

pub use build::{Building, Progress};
pub use error::{VfreeError, VmallocError};
pub use info::VmallocTotals;
pub use nodes::Kind;
pub use validate::VmallocInconsistency;

use crate::{Gfp, PageSource, PageState};
use hal::{LinearMap, MemAttr, PageTable, Prot, TablePages, TlbOps};
use nodes::Id;
use ready::Ready;
use stale::Stale;
use tree::{Place, Tree};
use types::{PAGE_SIZE, Pfn, PhysAddr, PhysRange, SECTION_SIZE, VirtAddr};

/// Bytes of a large page (ARM DDI 0406C, B3.5.1).
const LARGE_PAGE: u32 = 64 << 10;
/// Pages that may wait for a TLB flush before `vfree` does one: 1 MiB.
pub const LAZY_MAX_PAGES: u32 = 256;
/// Areas that may wait for it.
pub const LAZY_MAX_AREAS: u32 = 32;

/// Who asks, and from where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// The address of the calling code, for `/proc/vmallocinfo`; 0 when unknown.
    pub caller: u32,
    /// Interrupts are off or a handler runs: everything here is refused.
    pub atomic: bool,
}

/// What the operations work with.
pub struct Backing<'a, S, P, T> {
    /// Gives the pages.
    pub pages: &'a mut S,
    /// The kernel's translation table.
    pub table: &'a mut P,
    /// Flushes the TLBs of all CPUs.
    pub tlb: &'a T,
}

/// See the [module](self).
pub struct Vmalloc<L> {
    linear: L,
    tree: Tree,
    stale: Stale,
    ready: Ready,
    /// The area that `vmalloc` made last: the first guess of `vfree`.
    newest: Id,
    start: VirtAddr,
    end: VirtAddr,
    /// Pages that live and unfinished `vmalloc` areas hold.
    pages: u32,
    /// Prints a backtrace, for reports.
    dump_stack: fn(),
}

impl<L: LinearMap> Vmalloc<L> {
    /// An empty space `[start, end)`, page-aligned. Takes one page from `pages` for its records, which `linear` reaches.
    ///
    /// # Errors
    /// [`VmallocError::NoPages`]; [`VmallocError::Misaligned`] for bounds that are not.
    pub fn new<S: PageSource>(
        linear: L,
        pages: &mut S,
        start: VirtAddr,
        end: VirtAddr,
    ) -> Result<Self, VmallocError> {
        if !start.is_aligned(PAGE_SIZE) || !end.is_aligned(PAGE_SIZE) || start >= end {
            return Err(VmallocError::Misaligned { addr: start.get() });
        }
        let tree = Tree::new(&linear, pages, start.get(), end.get())?;
        Ok(Self {
            linear,
            tree,
            stale: Stale::new(),
            ready: Ready::new(),
            newest: Id::NIL,
            start,
            end,
            pages: 0,
            dump_stack: || (),
        })
    }

    /// Lets reports have a backtrace.
    pub fn set_dump_stack(&mut self, dump_stack: fn()) {
        self.dump_stack = dump_stack;
    }

    /// Where the space lies.
    #[must_use]
    pub fn span(&self) -> (VirtAddr, VirtAddr) {
        (self.start, self.end)
    }

    /// `size` bytes, rounded up to pages; contents undefined (`vmalloc`).
    ///
    /// # Errors
    /// [`VmallocError`]; nothing is held then.
    pub fn vmalloc<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        size: u32,
    ) -> Result<VirtAddr, VmallocError> {
        self.vmalloc_gfp(with, context, size, Gfp::KERNEL | Gfp::__HIGHMEM)
    }

    /// As [`Vmalloc::vmalloc`], zeroed by the page allocator.
    ///
    /// # Errors
    /// As [`Vmalloc::vmalloc`].
    pub fn vzalloc<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        size: u32,
    ) -> Result<VirtAddr, VmallocError> {
        self.vmalloc_gfp(with, context, size, Gfp::KERNEL | Gfp::__HIGHMEM | Gfp::__ZERO)
    }

    /// As [`Vmalloc::vmalloc`] with flags of one's own (`__vmalloc`).
    ///
    /// # Errors
    /// As [`Vmalloc::vmalloc`].
    pub fn vmalloc_gfp<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        size: u32,
        gfp: Gfp,
    ) -> Result<VirtAddr, VmallocError> {
        let mut building = self.vmalloc_begin(with, context, size, gfp)?;
        while self.vmalloc_step(with, &mut building)? == Progress::More {}
        Ok(self.vmalloc_finish(building))
    }

    /// Maps the single pages `frames` one after another (`vmap`). They stay the caller's, and must until `vunmap`.
    ///
    /// # Errors
    /// [`VmallocError`]; nothing is mapped then.
    pub fn vmap<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        frames: &[Pfn],
        attr: MemAttr,
        prot: Prot,
    ) -> Result<VirtAddr, VmallocError> {
        let size = bytes(u32::try_from(frames.len()).unwrap_or(u32::MAX))?;
        let place = Place { size, align: PAGE_SIZE, offset: 0 };
        let id = self.reserve(with, context, place, Kind::Vmap)?;
        let mut rest = frames;
        while let Some(&first) = rest.first() {
            let run = run_length(rest);
            self.map_more(with, id, first.addr(), run * PAGE_SIZE, attr, prot)?;
            rest = &rest[run as usize..];
        }
        Ok(self.live(id, frames.len() as u32, PhysAddr::new(0)))
    }

    /// Maps a physical range with memory type `attr`, with the largest pages that its alignment allows. The memory stays the caller's.
    /// The range is widened to whole pages; the address returned is that of its first byte.
    ///
    /// # Errors
    /// [`VmallocError`]; nothing is mapped then.
    pub fn vmap_range<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        range: PhysRange,
        attr: MemAttr,
        prot: Prot,
    ) -> Result<VirtAddr, VmallocError> {
        self.map_range(with, context, range, attr, prot, Kind::Vmap)
    }

    /// Maps the registers of a device (`ioremap`): Device memory, never executable.
    ///
    /// # Errors
    /// [`VmallocError`]; [`VmallocError::Ram`] for memory that the kernel maps cached already (invariant 5).
    pub fn ioremap<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        range: PhysRange,
    ) -> Result<VirtAddr, VmallocError> {
        let is_ram = |pfn: &u32| {
            let state = with.pages.page(Pfn::new(*pfn)).map(crate::Page::state);
            state.is_some_and(|state| state != PageState::NotMemory)
        };
        if let Some(pfn) = range.pfns_touched().find(is_ram) {
            return Err(VmallocError::Ram { phys: Pfn::new(pfn).addr() });
        }
        self.map_range(with, context, range, MemAttr::Device, Prot::WRITE, Kind::Ioremap)
    }

    fn map_range<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        range: PhysRange,
        attr: MemAttr,
        prot: Prot,
        kind: Kind,
    ) -> Result<VirtAddr, VmallocError> {
        let frames = range.pfns_touched();
        let size = bytes(frames.end - frames.start)?;
        let first = Pfn::new(frames.start).addr();
        let id = self.reserve(with, context, congruent(first, size), kind)?;
        self.map_more(with, id, first, size, attr, prot)?;
        let start = self.live(id, 0, first);
        Ok(VirtAddr::new(start.get() + (range.base().get() - first.get())))
    }

    /// The area is complete.
    fn live(&mut self, id: Id, pages: u32, phys: PhysAddr) -> VirtAddr {
        let area = self.tree.area_mut(id);
        area.pages = pages;
        area.phys = phys.get();
        VirtAddr::new(area.start)
    }
}

/// Bytes in `pages` pages.
fn bytes(pages: u32) -> Result<u32, VmallocError> {
    match pages.checked_mul(PAGE_SIZE) {
        Some(size) if size > 0 => Ok(size),
        _ => Err(VmallocError::BadSize { pages }),
    }
}

/// How many of the first frames follow each other.
fn run_length(frames: &[Pfn]) -> u32 {
    let follows = |pair: &&[Pfn]| pair[1].get() == pair[0].get().wrapping_add(1);
    1 + frames.windows(2).take_while(follows).count() as u32
}

/// A place where a physical range can be mapped with the largest pages that fit into it: at the same distance from a
/// boundary of them.
fn congruent(phys: PhysAddr, size: u32) -> Place {
    let fits = |page: &u32| phys.align_up(*page).is_some_and(|up| size >= (up.get() - phys.get()) + page);
    let align = [SECTION_SIZE, LARGE_PAGE].into_iter().find(fits).unwrap_or(PAGE_SIZE);
    Place { size, align, offset: phys.get() % align }
}
