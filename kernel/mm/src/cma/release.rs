//! `cma_release`: with the token, or with numbers that are checked against the records.
//!
//! The record of each block of an allocation says whose it is, and how far it is from the allocation's first page;
//! that of the first page says how many pages it has.

use super::{
    area::{Cma, CmaId},
    error::CmaError,
};
use crate::pages::{Buddy, PCP_ORDERS, PageAllocator, Place, chunks};
use crate::{MigrateType, Page, PageState};
use types::Pfn;

/// Words of a record in state `CmaTaken`.
const OWNER: usize = 0;
const COUNT: usize = 1;
const OFFSET: usize = 2;

/// Contiguous pages of a CMA area: neither `Copy` nor `Clone`, and releasing consumes it (invariant 2).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping the token leaks the pages"]
pub struct CmaPages {
    id: CmaId,
    pfn: Pfn,
    count: u32,
}

impl CmaPages {
    pub(crate) const fn new(id: CmaId, pfn: Pfn, count: u32) -> Self {
        Self { id, pfn, count }
    }

    /// The area.
    #[must_use]
    pub const fn id(&self) -> CmaId {
        self.id
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

/// Writes into the record of a block whose it is, of how many pages, and how far from the first of them.
#[inline(always)]
pub(super) fn set_owner(page: &mut Page, owner: u32, count: u32, offset: u32) {
    page.set_word(OWNER, owner);
    page.set_word(COUNT, count);
    page.set_word(OFFSET, offset);
}

impl Buddy<'_> {
    /// Writes the owner of a sealed stretch into its records.
    pub(crate) fn set_cma_owner(&mut self, start: u32, count: u32, owner: u32) {
        for (index, _) in chunks(start, start + count) {
            set_owner(self.map.page_mut(index), owner, count, index - start);
        }
    }

    /// The index of the first page if `count` pages at `pfn` are one allocation, all of it.
    #[inline]
    fn cma_allocation(&self, pfn: Pfn, count: u32) -> Option<u32> {
        let index = self.map.index(pfn)?;
        let page = self.map.page(index);
        let whole =
            page.state() == PageState::CmaTaken && page.word(OFFSET) == 0 && page.word(COUNT) == count;
        whole.then_some(index)
    }

    /// Gives a taken stretch back to the free lists.
    #[inline(never)]
    fn give_cma(&mut self, start: u32, count: u32) {
        let order = self.map.page(start).order();
        if usize::from(order) < PCP_ORDERS && 1 << order == count {
            return self.pcp_push(self.zone_of(start), start, order);
        }
        if self.isolations.any() {
            return chunks(start, start + count)
                .for_each(|(index, order)| self.give_block(index, order, Place::Likely));
        }
        let zone = self.zone_of(start);
        let (pages, zone) = (&mut *self.map.pages, &mut self.zones[zone]);
        for (index, order) in chunks(start, start + count) {
            zone.give(pages, index, order, MigrateType::Cma, Place::Likely);
        }
        zone.count_in(MigrateType::Cma, count);
    }
}

impl Cma<'_> {
    /// Gives pages back.
    #[inline]
    pub fn release(&mut self, pages: &mut PageAllocator<'_>, taken: CmaPages) {
        let CmaPages { id, pfn, count } = taken;
        log::info!("cma: cma_release(page {:08x})", (pages.hooks.page_pointer)(pfn));
        let result =
            self.check(pages, pfn, count).and_then(|start| self.give_back(pages, id, (start, pfn), count));
        if let Err(error) = result {
            log::error!("BUG: cma: {error}");
            (pages.hooks.dump_stack)();
        }
    }

    /// Gives back the first `count` of the pages and keeps the rest, which is empty if `count` is all of them.
    /// Areas with more than a page to a bit don't do this: the pages come back.
    ///
    /// # Errors
    /// The token, unchanged.
    pub fn release_part(
        &mut self,
        pages: &mut PageAllocator<'_>,
        taken: CmaPages,
        count: u32,
    ) -> Result<Option<CmaPages>, CmaPages> {
        let coarse = self.area(taken.id).is_none_or(|area| area.order_per_bit > 0);
        if count >= taken.count {
            self.release(pages, taken);
            return Ok(None);
        }
        let start = match self.check(pages, taken.pfn, taken.count) {
            Ok(start) if count > 0 && !coarse => start,
            _ => return Err(taken),
        };
        let CmaPages { id, pfn, count: all } = taken;
        let owner = pages.buddy.map.page(start).word(OWNER);
        let (mid, left) = (start + count, all - count);
        pages.split_owner(start, chunks(start, mid).chain(chunks(mid, mid + left)));
        pages.buddy.recut(start, mid, mid + left, PageState::CmaTaken);
        pages.buddy.set_cma_owner(mid, left, owner);
        log::info!("cma: cma_release(page {:08x})", (pages.hooks.page_pointer)(pfn));
        match self.give_back(pages, id, (start, pfn), count) {
            Ok(()) => Ok(Some(CmaPages { id, pfn: pfn.add(count), count: left })),
            Err(_) => Err(CmaPages { id, pfn, count: all }),
        }
    }

    /// Gives back pages that are named by numbers from outside, if they are exactly what `by` was given
    /// (invariant 2).
    ///
    /// # Errors
    /// `NotTaken`, `WrongRange`, `Foreign`; nothing has changed then.
    pub fn release_raw(
        &mut self,
        pages: &mut PageAllocator<'_>,
        pfn: Pfn,
        count: u32,
        by: &'static str,
    ) -> Result<(), CmaError> {
        let start = self.check(pages, pfn, count)?;
        let owner = pages.buddy.block_of(pfn).map_or("nobody", |(_, page)| self.owner_name(page.word(OWNER)));
        if owner != by {
            return Err(CmaError::Foreign { pfn, by, owner });
        }
        let id = self.area_of(pfn).ok_or(CmaError::NoArea)?;
        log::info!("cma: cma_release(page {:08x})", (pages.hooks.page_pointer)(pfn));
        self.give_back(pages, id, (start, pfn), count)
    }

    /// Who was given the pages around `pfn`, which, and how many; `None` when no driver has them.
    #[must_use]
    pub fn owner_of(&self, pages: &PageAllocator<'_>, pfn: Pfn) -> Option<(&'static str, Pfn, u32)> {
        let (head, page) = pages.buddy.block_of(pfn)?;
        if page.state() != PageState::CmaTaken {
            return None;
        }
        let first = Pfn::new(head.get() - page.word(OFFSET));
        let count = pages.buddy.block_of(first)?.1.word(COUNT);
        Some((self.owner_name(page.word(OWNER)), first, count))
    }

    /// The index of the first page, if the records say that `count` pages at `pfn` are one allocation, all of it.
    #[inline]
    fn check(&self, pages: &PageAllocator<'_>, pfn: Pfn, count: u32) -> Result<u32, CmaError> {
        pages.buddy.cma_allocation(pfn, count).ok_or_else(|| self.why_not(pages, pfn, count))
    }

    #[cold]
    #[inline(never)]
    fn why_not(&self, pages: &PageAllocator<'_>, pfn: Pfn, count: u32) -> CmaError {
        match self.owner_of(pages, pfn) {
            Some((owner, given_pfn, given_count)) => {
                CmaError::WrongRange { pfn, count, given_pfn, given_count, owner }
            }
            None => {
                let owner = pages.buddy.block_of(pfn).map_or(PageState::NotMemory, |(_, page)| page.state());
                CmaError::NotTaken { pfn, owner }
            }
        }
    }

    /// Gives back an allocation, or the first part of one that has been cut: `count` pages at `pfn`, whose index is `start`.
    #[inline]
    fn give_back(
        &mut self,
        pages: &mut PageAllocator<'_>,
        id: CmaId,
        (start, pfn): (u32, Pfn),
        count: u32,
    ) -> Result<(), CmaError> {
        let area = self.active_mut(id)?;
        trace::cma_release(area.name_bytes(), pfn.get(), count);
        pages.scrub_range(start, start + count);
        pages.buddy.count_disowned(PageState::CmaTaken, count);
        if !pages.buddy.give_waiting((start, pfn), count) {
            pages.buddy.give_cma(start, count);
        }
        let (order, bit) = (area.order_per_bit, (pfn.get() - area.base.get()) >> area.order_per_bit);
        if let Some(bitmap) = &mut area.bitmap {
            bitmap.assign(bit, ((count - 1) >> order) + 1, false);
        }
        Ok(())
    }
}
