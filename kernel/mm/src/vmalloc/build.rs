//! Making areas: a place, then memory block by block.

use super::{Backing, Context, Kind, LARGE_PAGE, Vmalloc, VmallocError, bytes, nodes::Id, tree::Place};
use crate::{Gfp, PageSource, PageState};
use hal::{LinearMap, MapError, MemAttr, PageTable, Prot, TablePages, TlbOps};
use types::{Order, PAGE_SIZE, Pfn, PhysAddr, SECTION_SIZE, VirtAddr};

/// Orders of the blocks that are tried: a section, a large page, and those that the per-CPU lists have.
const BLOCKS: [u8; 5] = [8, 4, 3, 2, 1];
/// The largest of them that makes no larger pages, and so needs no alignment.
const FREE_ORDER: u8 = 3;
/// Ends the chain of blocks behind an area.
pub(super) const NO_BLOCK: u32 = u32::MAX;
/// Pages that one step takes at most one by one.
const STEP_PAGES: u32 = 32;

/// A `vmalloc` on its way: between the steps the caller may drop its lock. Given up with [`Vmalloc::vmalloc_abort`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "finish or abort it, or its pages are lost"]
pub struct Building {
    id: Id,
    gfp: Gfp,
    /// A page that is in the chain already, but did not follow the last run.
    ahead: Option<Pfn>,
    /// Blocks of this order and larger ones are not to be had, or not worth another try.
    scarce: u8,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another step is needed.
    More,
    /// It is complete.
    Done,
}

/// Physically contiguous memory that is taken but not mapped yet.
struct Run {
    first: Pfn,
    pages: u32,
}

impl<L: LinearMap> Vmalloc<L> {
    /// A place for an area. When there is none, those that wait for a TLB flush or for another
    /// area are released first.
    pub(super) fn reserve<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        place: Place,
        kind: Kind,
    ) -> Result<Id, VmallocError> {
        if context.atomic {
            self.report_atomic();
            return Err(VmallocError::Atomic);
        }
        if let Some(id) = self.ready.take(&self.tree, place) {
            let area = self.tree.area_mut(id);
            (area.kind, area.caller) = (kind, context.caller);
            return Ok(id);
        }
        let first = self.tree.place((with.pages, &self.linear), place, kind, context.caller);
        let hopeless = self.stale.areas() == 0 && self.ready.is_empty();
        let short = matches!(first, Err(VmallocError::NoSpace { .. } | VmallocError::NoPages(_)));
        if !short || hopeless {
            return first;
        }
        self.purge(with.pages, with.tlb);
        self.ready.clear(&mut self.tree);
        self.tree.place((with.pages, &self.linear), place, kind, context.caller)
    }

    /// Maps another `len` bytes of the area, to `phys`. On an error the whole area is gone.
    pub(super) fn map_more<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        id: Id,
        phys: PhysAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
    ) -> Result<(), VmallocError> {
        let area = self.tree.area(id);
        let at = VirtAddr::new(area.start + area.mapped);
        let mut mapped = with.table.map(at, phys, len, attr, prot);
        if mapped == Err(MapError::NoTable) {
            let mut supplied = supply_tables(with, at, len);
            if supplied.is_err() && self.stale.areas() > 0 {
                self.purge(with.pages, with.tlb);
                supplied = supply_tables(with, at, len);
            }
            supplied.inspect_err(|_| self.give_up(with, id))?;
            mapped = with.table.map(at, phys, len, attr, prot);
        }
        mapped.map_err(VmallocError::Map).inspect_err(|_| self.give_up(with, id))?;
        self.tree.area_mut(id).mapped += len;
        Ok(())
    }

    /// Starts a [`Vmalloc::vmalloc`] of `size` bytes: finds its place.
    ///
    /// # Errors
    /// [`VmallocError`].
    pub fn vmalloc_begin<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        size: u32,
        gfp: Gfp,
    ) -> Result<Building, VmallocError> {
        let size = bytes(size.div_ceil(PAGE_SIZE))?;
        let align = [SECTION_SIZE, LARGE_PAGE].into_iter().find(|&page| size >= page).unwrap_or(PAGE_SIZE);
        let place = Place { size, align, offset: 0 };
        let id = self.reserve(with, context, place, Kind::Vmalloc)?;
        Ok(Building { id, gfp: kernels(gfp), ahead: None, scarce: u8::MAX })
    }

    /// Takes and maps the next block, or the next few single pages.
    ///
    /// # Errors
    /// [`VmallocError::NoPages`], [`VmallocError::Map`]; the area and all of its memory are gone then.
    pub fn vmalloc_step<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        building: &mut Building,
    ) -> Result<Progress, VmallocError> {
        let id = building.id;
        let mut run = self.take_run(with.pages, building);
        if run.is_err() && self.stale.areas() > 0 {
            self.purge(with.pages, with.tlb);
            run = self.take_run(with.pages, building);
        }
        let run = run.inspect_err(|_| self.give_up(with, id))?;
        self.map_more(with, id, run.first.addr(), run.pages * PAGE_SIZE, MemAttr::Normal, Prot::WRITE)?;
        let area = self.tree.area(id);
        Ok(if area.mapped == area.size { Progress::Done } else { Progress::More })
    }

    /// Ends it: the address of the memory.
    pub fn vmalloc_finish(&mut self, building: Building) -> VirtAddr {
        self.newest = building.id;
        VirtAddr::new(self.tree.area(building.id).start)
    }

    /// Gives it up: what it took goes back.
    pub fn vmalloc_abort<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        building: Building,
    ) {
        self.give_up(with, building.id);
    }

    /// Memory for the next part of an area: the largest block that its address and the rest allow, if there is one, or
    /// single pages as long as each follows the one before. On an error nothing was taken.
    fn take_run<S: PageSource>(
        &mut self,
        pages: &mut S,
        building: &mut Building,
    ) -> Result<Run, VmallocError> {
        let area = self.tree.area(building.id);
        let (at, rest) = (area.start + area.mapped, (area.size - area.mapped) / PAGE_SIZE);
        if rest > 1 && building.ahead.is_none() {
            for order in BLOCKS {
                let aligned = order <= FREE_ORDER || at.is_multiple_of(PAGE_SIZE << order);
                if rest >> order == 0 || order >= building.scarce || !aligned {
                    continue;
                }
                if let Some(first) = self.take_easily(pages, building, order) {
                    return Ok(Run { first, pages: 1 << order });
                }
            }
        }
        self.take_pages(pages, building, rest)
    }

    /// A block, if it costs the page allocator no trouble.
    fn take_easily<S: PageSource>(
        &mut self,
        pages: &mut S,
        building: &mut Building,
        order: u8,
    ) -> Option<Pfn> {
        let gfp = easily(building.gfp);
        let block = self.take_block(pages, building.id, gfp, Order::new(order)?).ok();
        if block.is_none() {
            building.scarce = order;
        }
        block
    }

    fn take_pages<S: PageSource>(
        &mut self,
        pages: &mut S,
        building: &mut Building,
        rest: u32,
    ) -> Result<Run, VmallocError> {
        let Building { id, gfp, .. } = *building;
        let first = match building.ahead.take() {
            Some(page) => page,
            None => self.take_block(pages, id, gfp, Order::ZERO)?,
        };
        let mut run = Run { first, pages: 1 };
        while run.pages < rest.min(STEP_PAGES) {
            // When there is no page left, the next step fails with it.
            let Ok(next) = self.take_block(pages, id, gfp, Order::ZERO) else { break };
            if next != run.first.add(run.pages) {
                building.ahead = Some(next);
                break;
            }
            run.pages += 1;
        }
        Ok(run)
    }

    /// Takes a block and makes it the first of the chain.
    fn take_block<S: PageSource>(
        &mut self,
        pages: &mut S,
        id: Id,
        gfp: Gfp,
        order: Order,
    ) -> Result<Pfn, VmallocError> {
        let frames = pages.alloc_pages(gfp, order, PageState::Vmalloc).map_err(VmallocError::NoPages)?;
        let (pfn, order) = frames.into_raw();
        let area = self.tree.area_mut(id);
        chain(pages, pfn, area.start, area.block);
        area.block = pfn.get();
        area.pages += order.pages();
        self.pages += order.pages();
        Ok(pfn)
    }

    /// Gives up an area that is not complete. What is mapped of it may be in a TLB already.
    fn give_up<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        id: Id,
    ) {
        let area = self.tree.area(id);
        let (start, mapped) = (VirtAddr::new(area.start), area.mapped);
        if mapped > 0 {
            // The part was mapped just now by `map_more`, so it can be unmapped; were it not, its translations would
            // still be live, and the memory must then never be used again.
            let unmapped: Result<(), MapError> = with.table.unmap_lazily(start, mapped);
            if let Err(error) = unmapped {
                log::error!("vmalloc: {start} can't be unmapped: {error}");
                return;
            }
        }
        self.retire(id);
        self.purge(with.pages, with.tlb);
    }
}

/// The flags of a request for pages of the kernel's own.
pub(super) const fn kernels(gfp: Gfp) -> Gfp {
    gfp.difference(Gfp::__MOVABLE.union(Gfp::__RECLAIMABLE))
}

/// The flags of a request that is not worth any trouble.
pub(super) const fn easily(gfp: Gfp) -> Gfp {
    gfp.difference(Gfp::__DIRECT_RECLAIM).union(Gfp::__NOWARN).union(Gfp::__NORETRY)
}

/// Notes in the record of a block which area it is of, and the next block behind that area.
#[inline(always)]
pub(super) fn chain<S: PageSource>(pages: &mut S, block: Pfn, area: u32, next: u32) {
    if let Some(page) = pages.page_mut(block) {
        page.set_word(0, area);
        page.set_word(1, next);
    }
}

/// Gives the table the pages that it needs to map `[at, at + len)`.
#[cold]
fn supply_tables<S: PageSource, P: TablePages, T>(
    with: &mut Backing<'_, S, P, T>,
    at: VirtAddr,
    len: u32,
) -> Result<(), VmallocError> {
    for _ in 0..with.table.tables_needed(at, len) {
        let page = with.pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::PageTable);
        let (pfn, _) = page.map_err(VmallocError::NoPages)?.into_raw();
        with.table.supply(pfn);
    }
    Ok(())
}
