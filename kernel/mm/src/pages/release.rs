//! Giving pages back, whole, in part or raw, and allocations of exact sizes.

use super::{alloc::PageAllocator, buddy::chunks, free::FreeError};
use crate::{AllocError, Frames, Gfp, PageSource, PageState};
use types::{Order, Pfn};

/// Pages that somebody owns, of any count: neither `Copy` nor `Clone` (invariant 2).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping the token leaks the pages"]
pub struct PageRun {
    pfn: Pfn,
    count: u32,
}

impl PageRun {
    /// The token for `count` pages at `pfn`, for those who kept it as numbers.
    pub const fn from_raw(pfn: Pfn, count: u32) -> Self {
        Self { pfn, count }
    }

    /// Gives up the token for its numbers.
    #[must_use]
    pub const fn into_raw(self) -> (Pfn, u32) {
        (self.pfn, self.count)
    }

    /// The first page.
    #[must_use]
    pub const fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// Pages.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }
}

impl PageAllocator<'_> {
    /// Frees the block of `order` at `pfn`, which was allocated by somebody.
    ///
    /// # Errors
    /// [`FreeError`]; nothing has changed then.
    #[inline]
    pub fn try_free(&mut self, pfn: Pfn, order: Order) -> Result<(), FreeError> {
        let index = self.buddy.check_block(pfn, order)?;
        let page = self.buddy.map.page(index);
        if page.pins() != 0 && page.state().is_movable() {
            return Err(FreeError::Pinned { pfn, pins: page.pins() });
        }
        if self.guarded() {
            self.scrub(pfn, order.get());
        }
        self.buddy.disown(index, order.get());
        Ok(())
    }

    /// Frees a block named by numbers from outside, if it is `owner`'s (invariant 2).
    ///
    /// # Errors
    /// [`FreeError`]; nothing has changed then.
    pub fn free_raw(&mut self, pfn: Pfn, order: Order, owner: PageState) -> Result<(), FreeError> {
        let index = self.buddy.check_block(pfn, order)?;
        let found = self.buddy.map.page(index).state();
        if found != owner {
            return Err(FreeError::Foreign { pfn, expected: owner, owner: found });
        }
        self.try_free(pfn, order)
    }

    /// Frees with all checks.
    #[inline(never)]
    pub(crate) fn free_or_report(&mut self, pfn: Pfn, order: Order) {
        let large = order.index() >= super::pcp::PCP_ORDERS;
        if large && self.fast_free_large(pfn, order) {
            return;
        }
        if order == Order::ZERO && !self.guarded() && self.buddy.free_emptied(pfn) {
            return;
        }
        if let Err(error) = self.try_free(pfn, order) {
            self.report_bad_free(error);
        }
    }

    /// Says that a free was refused.
    #[cold]
    pub(crate) fn report_bad_free(&mut self, error: FreeError) {
        self.buddy.stat.bad_frees += 1;
        log::error!("BUG: Bad page state in process swapper  pfn:{:05x}", error.pfn().get());
        self.dump_page(error.pfn(), &error);
        (self.hooks.dump_stack)();
    }

    /// Gives reserved pages to the buddy lists: `managed` and with it `totalram_pages` grow. All or nothing.
    ///
    /// # Errors
    /// [`FreeError`] for the first page that is not reserved.
    pub fn free_reserved_range(&mut self, pfn: Pfn, count: u32) -> Result<(), FreeError> {
        let (start, end) = self.buddy.check_reserved(pfn, count)?;
        self.poison_range(pfn, count);
        self.buddy.free_reserved_range(start, end);
        Ok(())
    }

    /// `count` pages in one stretch, from the smallest block that holds them; what is left over is freed at once
    /// (`alloc_pages_exact`).
    ///
    /// # Errors
    /// [`AllocError`]; also for a count of 0 or above 1,024.
    pub fn alloc_pages_exact(
        &mut self,
        gfp: Gfp,
        count: u32,
        owner: PageState,
    ) -> Result<PageRun, AllocError> {
        let order = Order::for_pages(count).ok_or(AllocError::NoMemory { order: Order::MAX, gfp })?;
        let (pfn, order) = self.alloc_pages(gfp, order, owner)?.into_raw();
        if let Some(index) = self.buddy.map.index(pfn)
            && count < order.pages()
        {
            if self.guarded() {
                let (mid, end) = (index + count, index + order.pages());
                self.split_owner(index, chunks(index, mid).chain(chunks(mid, end)));
                chunks(mid, end).for_each(|(index, order)| self.scrub(self.buddy.map.pfn(index), order));
            }
            self.buddy.trim_block(index, order.get(), count);
        }
        Ok(PageRun { pfn, count })
    }

    /// Frees what [`PageAllocator::alloc_pages_exact`] or a contiguous allocation gave. A run that is not
    /// allocated as the token says is reported, and left alone.
    pub fn free_pages_exact(&mut self, run: PageRun) {
        if let Err(error) = self.try_free_run(run.pfn, run.count) {
            self.report_bad_free(error);
        }
    }

    /// [`PageAllocator::free_pages_exact`] for numbers from outside.
    ///
    /// # Errors
    /// [`FreeError`]; nothing has changed then.
    pub fn try_free_run(&mut self, pfn: Pfn, count: u32) -> Result<(), FreeError> {
        let (start, end) = self.buddy.check_range(pfn, count)?;
        for (index, order) in chunks(start, end) {
            if self.guarded() {
                self.scrub(self.buddy.map.pfn(index), order);
            }
            self.buddy.disown(index, order);
        }
        Ok(())
    }

    /// Makes single pages of a block, to be freed one by one (`split_page`).
    ///
    /// # Errors
    /// [`FreeError`] when the token does not say what is allocated there; the token is lost then.
    pub fn split_page(&mut self, frames: Frames) -> Result<impl Iterator<Item = Frames> + use<>, FreeError> {
        let (pfn, order) = frames.into_raw();
        let index = self.buddy.check_block(pfn, order)?;
        self.split_owner(index, (index..index + order.pages()).map(|page| (page, 0)));
        self.buddy.split_block(index, order.get());
        Ok((0..order.pages()).map(move |page| Frames::from_raw(pfn.add(page), Order::ZERO)))
    }
}
