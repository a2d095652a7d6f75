//! Ending areas: checks, the lazy and the immediate way, and the release after the flush.

use super::{
    Backing, Context, Kind, LAZY_MAX_AREAS, LAZY_MAX_PAGES, VfreeError, Vmalloc, build::NO_BLOCK, nodes::Id,
};
use crate::{Frames, PageSource, PageState};
use hal::{LinearMap, PageTable, TablePages, TlbOps};
use types::{Order, PAGE_SIZE, Pfn, VirtAddr};

impl<L: LinearMap> Vmalloc<L> {
    /// Frees what [`Vmalloc::vmalloc`] gave (`vfree`); its TLB flush may come later, and its pages with it.
    ///
    /// # Errors
    /// [`VfreeError`]; nothing has changed then.
    pub fn vfree<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        addr: VirtAddr,
    ) -> Result<(), VfreeError> {
        let id = self.checked(context, addr, Kind::Vmalloc)?;
        let size = self.tree.area(id).size;
        with.table.unmap_lazily(addr, size).map_err(VfreeError::Map)?;
        self.retire(id);
        self.purge_if_many(with);
        Ok(())
    }

    /// Flushes when enough areas or pages wait for it.
    #[inline]
    pub(super) fn purge_if_many<S: PageSource, P, T: TlbOps>(&mut self, with: &mut Backing<'_, S, P, T>) {
        if self.stale.pages() > LAZY_MAX_PAGES || self.stale.areas() > LAZY_MAX_AREAS {
            self.purge(with.pages, with.tlb);
        }
    }

    /// Removes a mapping of [`Vmalloc::vmap`] or [`Vmalloc::vmap_range`]. When it returns, no TLB knows it any more, and
    /// the memory behind may be put to other use.
    ///
    /// # Errors
    /// [`VfreeError`]; nothing has changed then.
    pub fn vunmap<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        addr: VirtAddr,
    ) -> Result<(), VfreeError> {
        self.unmap_now(with, context, addr.align_down(PAGE_SIZE), Kind::Vmap)
    }

    /// Removes a mapping of [`Vmalloc::ioremap`], as [`Vmalloc::vunmap`] does.
    ///
    /// # Errors
    /// [`VfreeError`]; nothing has changed then.
    pub fn iounmap<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        addr: VirtAddr,
    ) -> Result<(), VfreeError> {
        self.unmap_now(with, context, addr.align_down(PAGE_SIZE), Kind::Ioremap)
    }

    fn unmap_now<S: PageSource, P: PageTable + TablePages, T: TlbOps>(
        &mut self,
        with: &mut Backing<'_, S, P, T>,
        context: Context,
        addr: VirtAddr,
        kind: Kind,
    ) -> Result<(), VfreeError> {
        let id = self.checked(context, addr, kind)?;
        let size = self.tree.area(id).size;
        with.table.unmap(addr, size).map_err(VfreeError::Map)?;
        self.release(id);
        Ok(())
    }

    /// Flushes the TLBs for all areas that wait for it, and releases their addresses and pages. For when memory is short,
    /// and before anything that wants to see every free page free. Returns the pages freed.
    pub fn purge<S: PageSource>(&mut self, pages: &mut S, tlb: &impl TlbOps) -> u32 {
        let freed = self.stale.pages();
        let mut flushed = self.stale.flush(tlb);
        while let Some(id) = flushed.next(&self.tree) {
            release_blocks(pages, self.tree.area(id).block);
            self.release(id);
        }
        freed
    }

    /// The place of an area that no TLB knows any more may be used again.
    fn release(&mut self, id: Id) {
        if self.newest == id {
            self.newest = Id::NIL;
        }
        if !self.ready.keep(&mut self.tree, id) {
            self.tree.remove(id);
        }
    }

    /// The unmapped area waits for a TLB flush.
    pub(super) fn retire(&mut self, id: Id) {
        self.pages -= self.tree.area(id).pages;
        self.stale.add(&mut self.tree, id);
    }

    /// The area that was made last, if it is at `addr`, of that kind, and lives.
    #[inline]
    pub(super) fn newest_at(&self, addr: VirtAddr, kind: Kind) -> Option<Id> {
        let id = Some(self.newest).filter(|&id| id != Id::NIL)?;
        let area = self.tree.area(id);
        let lives = area.start == addr.get() && area.kind == kind && !area.stale && area.mapped > 0;
        lives.then_some(id)
    }

    fn checked(&self, context: Context, addr: VirtAddr, kind: Kind) -> Result<Id, VfreeError> {
        if context.atomic {
            self.report_atomic();
            return Err(VfreeError::Atomic);
        }
        if let Some(id) = self.newest_at(addr, kind) {
            return Ok(id);
        }
        let live = |id: &Id| !self.tree.area(*id).stale && self.tree.area(*id).mapped > 0;
        let error = match self.tree.at(addr.get()).filter(live) {
            Some(id) if self.tree.area(id).kind == kind => return Ok(id),
            Some(id) => VfreeError::WrongKind { addr, made_by: self.tree.area(id).kind },
            None => VfreeError::NoArea { addr },
        };
        log::error!("{error}");
        (self.dump_stack)();
        Err(error)
    }

    /// Tells of a caller that can't sleep.
    #[cold]
    pub(super) fn report_atomic(&self) {
        log::error!("BUG: sleeping function called from invalid context at mm/vmalloc.c");
        (self.dump_stack)();
    }
}

/// Gives the blocks of a chain back. A page that is not recorded as ours ends the chain: what follows could be anything.
fn release_blocks<S: PageSource>(pages: &mut S, mut block: u32) {
    while block != NO_BLOCK {
        let pfn = Pfn::new(block);
        let ours = pages.page(pfn).filter(|page| page.state() == PageState::Vmalloc);
        let Some((order, next)) = ours.and_then(|page| Some((Order::new(page.order())?, page.word(1))))
        else {
            log::error!("vfree: page {pfn} is not recorded as vmalloc's");
            return;
        };
        pages.free_pages(Frames::from_raw(pfn, order));
        block = next;
    }
}
