//! The usual case in few instructions: the first stretch that the bitmap offers lies idle.
//!
//! ```text
//! bitmap   |1 1 0 0 0 0|        first fit
//! records  |T T . . . .|        every block in it is free: each is unlinked, and what of it lies beside goes back
//! ```
//! A single small block goes to and comes from the per-CPU list, as any other page that is freed, so an area that a
//! driver takes a page from again and again is not cut up and put together each time.
//!
//! Anything else is left to [`Cma::begin`]: pages to be moved, other placements, guards, errors.

use super::{
    alloc::MAX_ALIGN,
    area::{Cma, CmaId},
    release::{CmaPages, set_owner},
};
use crate::pages::{Buddy, PCP_ORDERS, PageAllocator, chunks};
use crate::{MigrateType, PageState};
use types::Pfn;

impl Cma<'_> {
    /// Takes `count` pages aligned to 2^`align` pages for `owner` if they are to be had at once; `None`, and nothing
    /// has changed, when [`Cma::begin`] has to be asked.
    #[inline]
    pub fn take_at_once(
        &mut self,
        pages: &mut PageAllocator<'_>,
        id: CmaId,
        (count, align): (u32, u8),
        owner: &'static str,
    ) -> Option<CmaPages> {
        if count == 0 || align > MAX_ALIGN || pages.guarded() {
            return None;
        }
        let owner = self.owner_number(owner);
        let area = self.active_mut(id).ok()?;
        let wanted = area.wanted(count, align);
        let (bitmap, buddy) = (area.bitmap.as_mut()?, &mut pages.buddy);
        let bit = bitmap.first_fit(wanted.bits, wanted.mask, wanted.offset)?;
        let first = area.base.add(bit << area.order_per_bit);
        let start = buddy.map.index(first)?;
        if !buddy.take_waiting(start, count, owner) && !buddy.take_idle(start, start + count, owner) {
            return None;
        }
        bitmap.assign(bit, wanted.bits, true);
        buddy.count_owned(PageState::CmaTaken, count);
        buddy.stat.cma_alloc_success += 1;
        trace::cma_alloc_start(area.name_bytes(), count, align);
        trace::lazy::cma_alloc_finish(|| (area.name_bytes(), first.get(), count, align));
        if log::Level::Info <= log::max_level() {
            log::info!("cma: cma_alloc(cma {:08x}, count {count}, align {align})", area.pointer);
            log::info!("cma: cma_alloc(): returned {:08x}", (pages.hooks.page_pointer)(first));
        }
        Some(CmaPages::new(id, first, count))
    }
}

impl Buddy<'_> {
    /// Makes the block of `count` pages at `start` an allocation of `owner`'s if it is the next that the calling CPU's list of
    /// movable blocks of zone NORMAL would give. `false` otherwise, and nothing has changed.
    #[inline(always)]
    fn take_waiting(&mut self, start: u32, count: u32, owner: u32) -> bool {
        let order = count.trailing_zeros() as u8;
        if !count.is_power_of_two() || usize::from(order) >= PCP_ORDERS {
            return false;
        }
        if !self.map.is_hot(start) {
            return false;
        }
        let stack = self.pcp.at_mut(self.here).stack(order, MigrateType::Movable);
        let Some(page) = stack.take_if_next(self.map.pages, start) else { return false };
        page.reset(PageState::CmaTaken, order);
        set_owner(page, owner, count, 0);
        true
    }

    /// Gives the block of `count` pages that [`Buddy::take_waiting`] may have taken back to where it came from. `false`, and nothing
    /// has changed, when it is none, or the list is full, or an isolation is under way around it.
    #[inline(always)]
    pub(super) fn give_waiting(&mut self, (start, pfn): (u32, Pfn), count: u32) -> bool {
        let order = count.trailing_zeros() as u8;
        let small = count.is_power_of_two() && usize::from(order) < PCP_ORDERS && self.map.is_hot(start);
        if !small || self.map.block_bits(start) != MigrateType::Cma as u8 {
            return false;
        }
        let stack = self.pcp.at_mut(self.here).stack(order, MigrateType::Movable);
        let page = self.map.page_mut(start);
        let fits = page.order() == order && stack.has_room();
        if fits {
            stack.push(page, (start, pfn), order);
        }
        fits
    }

    /// Makes `[start, end)` an allocation of `owner`'s if all of it is free. `false` otherwise, and nothing has changed.
    #[inline(never)]
    fn take_idle(&mut self, start: u32, end: u32, owner: u32) -> bool {
        if !self.is_idle(start, end) {
            return false;
        }
        self.take_free(start, end);
        for (index, order) in chunks(start, end) {
            let page = self.map.page_mut(index);
            page.reset(PageState::CmaTaken, order);
            set_owner(page, owner, end - start, index - start);
        }
        true
    }

    /// Whether `[start, end)` is free.
    fn is_idle(&self, start: u32, end: u32) -> bool {
        let mut at = self.map.covering(start);
        while at < end {
            let page = self.map.page(at);
            if !matches!(page.state(), PageState::Free | PageState::PerCpu) {
                return false;
            }
            at += 1 << page.order();
        }
        true
    }
}
