//! `cma_release`: with the token, or with numbers that are checked against the records.
//!
//! The record of each block of an allocation says whose it is, and how far it is from the allocation's first page;
//! that of the first page says how many pages it has.

use super::{
    area::{Cma, CmaId},
    error::CmaError,
};
use crate::pages::{Buddy, FreeError, PCP_ORDERS, PageAllocator, Place, chunks};
use crate::{Page, PageState};
use hal::LinearMap;
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

/// Writes the owner of an allocation of one block into its record.
#[inline]
pub(super) fn set_owner(page: &mut Page, owner: u32, count: u32) {
    page.set_word(OWNER, owner);
    page.set_word(COUNT, count);
    page.set_word(OFFSET, 0);
}

impl Buddy<'_> {
    /// Writes the owner of a sealed stretch into its records.
    pub(crate) fn set_cma_owner(&mut self, start: u32, count: u32, owner: u32) {
        for (index, _) in chunks(start, start + count) {
            let page = self.map.page_mut(index);
            page.set_word(OWNER, owner);
            page.set_word(OFFSET, index - start);
        }
        self.map.page_mut(start).set_word(COUNT, count);
    }

    /// Whether `count` pages at `pfn` are one allocation, all of it.
    fn is_cma_allocation(&self, pfn: Pfn, count: u32) -> bool {
        let page = self.map.index(pfn).map(|index| self.map.page(index));
        page.is_some_and(|page| {
            page.state() == PageState::CmaTaken && page.word(OFFSET) == 0 && page.word(COUNT) == count
        })
    }

    /// Gives a taken stretch back to the free lists; a single small block to the per-CPU list.
    fn give_cma(&mut self, start: u32, end: u32) {
        self.count_disowned(PageState::CmaTaken, end - start);
        let order = self.map.page(start).order();
        if usize::from(order) < PCP_ORDERS && start + (1 << order) == end {
            return self.pcp_push(self.zone_of(start), start, order);
        }
        for (index, order) in chunks(start, end) {
            self.give_block(index, order, Place::Likely);
        }
    }
}

impl Cma<'_> {
    /// Gives pages back.
    #[inline]
    pub fn release<L: LinearMap>(&mut self, pages: &mut PageAllocator<'_, L>, taken: CmaPages) {
        let CmaPages { id, pfn, count } = taken;
        log::info!("cma: cma_release(page {:08x})", (pages.hooks.page_pointer)(pfn));
        let result = self.check(pages, pfn, count).and_then(|()| self.give_back(pages, id, pfn, count));
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
    pub fn release_part<L: LinearMap>(
        &mut self,
        pages: &mut PageAllocator<'_, L>,
        taken: CmaPages,
        count: u32,
    ) -> Result<Option<CmaPages>, CmaPages> {
        let coarse = self.area(taken.id).is_none_or(|area| area.order_per_bit > 0);
        if count >= taken.count {
            self.release(pages, taken);
            return Ok(None);
        }
        if coarse || count == 0 || self.check(pages, taken.pfn, taken.count).is_err() {
            return Err(taken);
        }
        let CmaPages { id, pfn, count: all } = taken;
        let owner = pages.buddy.block_of(pfn).map_or(0, |(_, page)| page.word(OWNER));
        let (rest, left) = (pfn.add(count), all - count);
        if let (Some(start), Some(mid)) = (pages.buddy.map.index(pfn), pages.buddy.map.index(rest)) {
            pages.buddy.recut(start, mid, mid + left, PageState::CmaTaken);
            pages.buddy.set_cma_owner(mid, left, owner);
        }
        log::info!("cma: cma_release(page {:08x})", (pages.hooks.page_pointer)(pfn));
        match self.give_back(pages, id, pfn, count) {
            Ok(()) => Ok(Some(CmaPages { id, pfn: rest, count: left })),
            Err(_) => Err(CmaPages { id, pfn, count: all }),
        }
    }

    /// Gives back pages that are named by numbers from outside, if they are exactly what `by` was given
    /// (invariant 2).
    ///
    /// # Errors
    /// `NotTaken`, `WrongRange`, `Foreign`; nothing has changed then.
    pub fn release_raw<L: LinearMap>(
        &mut self,
        pages: &mut PageAllocator<'_, L>,
        pfn: Pfn,
        count: u32,
        by: &'static str,
    ) -> Result<(), CmaError> {
        self.check(pages, pfn, count)?;
        let owner = pages.buddy.block_of(pfn).map_or("nobody", |(_, page)| self.owner_name(page.word(OWNER)));
        if owner != by {
            return Err(CmaError::Foreign { pfn, by, owner });
        }
        let id = self.area_of(pfn).ok_or(CmaError::NoArea)?;
        log::info!("cma: cma_release(page {:08x})", (pages.hooks.page_pointer)(pfn));
        self.give_back(pages, id, pfn, count)
    }

    /// Who was given the pages around `pfn`, which, and how many; `None` when no driver has them.
    #[must_use]
    pub fn owner_of<L: LinearMap>(
        &self,
        pages: &PageAllocator<'_, L>,
        pfn: Pfn,
    ) -> Option<(&'static str, Pfn, u32)> {
        let (head, page) = pages.buddy.block_of(pfn)?;
        if page.state() != PageState::CmaTaken {
            return None;
        }
        let first = Pfn::new(head.get() - page.word(OFFSET));
        let count = pages.buddy.block_of(first)?.1.word(COUNT);
        Some((self.owner_name(page.word(OWNER)), first, count))
    }

    /// Whether the records say that `count` pages at `pfn` are one allocation, all of it.
    fn check<L: LinearMap>(
        &self,
        pages: &PageAllocator<'_, L>,
        pfn: Pfn,
        count: u32,
    ) -> Result<(), CmaError> {
        if pages.buddy.is_cma_allocation(pfn, count) {
            return Ok(());
        }
        self.why_not(pages, pfn, count)
    }

    #[cold]
    fn why_not<L: LinearMap>(
        &self,
        pages: &PageAllocator<'_, L>,
        pfn: Pfn,
        count: u32,
    ) -> Result<(), CmaError> {
        let Some((owner, given_pfn, given_count)) = self.owner_of(pages, pfn) else {
            let owner = pages.buddy.block_of(pfn).map_or(PageState::NotMemory, |(_, page)| page.state());
            return Err(CmaError::NotTaken { pfn, owner });
        };
        if (pfn, count) != (given_pfn, given_count) {
            return Err(CmaError::WrongRange { pfn, count, given_pfn, given_count, owner });
        }
        Ok(())
    }

    fn give_back<L: LinearMap>(
        &mut self,
        pages: &mut PageAllocator<'_, L>,
        id: CmaId,
        pfn: Pfn,
        count: u32,
    ) -> Result<(), CmaError> {
        let area = self.active_mut(id)?;
        let outside = CmaError::NotReserved { why: FreeError::NotMemory { pfn } };
        // The records have been checked: all of the pages are one stretch.
        let start = pages.buddy.map.index(pfn).ok_or(outside)?;
        let end = start + count;
        let bit = (pfn.get() - area.base.get()) >> area.order_per_bit;
        let bits = count.div_ceil(1 << area.order_per_bit);
        trace::cma_release(area.name_bytes(), pfn.get(), count);
        pages.scrub_range(start, end);
        pages.buddy.give_cma(start, end);
        if let Some(bitmap) = &mut area.bitmap {
            bitmap.assign(bit, bits, false);
        }
        Ok(())
    }
}
