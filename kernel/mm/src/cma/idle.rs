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
    area::{Cma, CmaArea, CmaId},
    plan::Plan,
    release::{CmaPages, set_owner},
};
use crate::PageState;
use crate::pages::{Buddy, PageAllocator, chunks};
use hal::LinearMap;
use types::Order;

impl CmaArea<'_> {
    /// The first fit in the bitmap, whatever is there.
    #[inline]
    fn first_fit(&self, buddy: &Buddy<'_>, count: u32, align: u8) -> Option<Plan> {
        let wanted = self.wanted(count, align);
        let bit = self.bitmap.as_ref()?.first_fit(0, wanted.bits, wanted.mask, wanted.offset)?;
        let start = buddy.map.index(self.base)? + (bit << self.order_per_bit);
        Some(Plan { bit, start, moves: 0 })
    }

    /// Marks the bits of an allocation.
    fn set_bits(&mut self, bit: u32, count: u32) {
        let bits = count.div_ceil(1 << self.order_per_bit);
        if let Some(bitmap) = &mut self.bitmap {
            bitmap.assign(bit, bits, true);
        }
    }
}

impl Cma<'_> {
    /// Takes `count` pages aligned to 2^`align` pages for `owner` if they are to be had at once; `None`, and nothing
    /// has changed, when [`Cma::begin`] has to be asked.
    #[inline]
    pub fn take_at_once<L: LinearMap>(
        &mut self,
        pages: &mut PageAllocator<'_, L>,
        id: CmaId,
        (count, align): (u32, u8),
        owner: &'static str,
    ) -> Option<CmaPages> {
        if count == 0 || align > MAX_ALIGN || pages.guarded() {
            return None;
        }
        let owner = self.owner_number(owner);
        let area = self.active_mut(id).ok()?;
        let buddy = &mut pages.buddy;
        let plan = area.first_fit(buddy, count, align)?;
        if !buddy.take_idle_block(plan.start, count, owner) {
            if !buddy.is_idle(plan.start, plan.start + count) {
                return None;
            }
            buddy.take_idle(plan.start, plan.start + count, owner);
        }
        buddy.count_owned(PageState::CmaTaken, count);
        buddy.stat.cma_alloc_success += 1;
        trace::cma_alloc_start(area.name_bytes(), count, align);
        log::info!("cma: cma_alloc(cma {:08x}, count {count}, align {align})", area.pointer);
        area.set_bits(plan.bit, count);
        let first = buddy.map.pfn(plan.start);
        trace::lazy::cma_alloc_finish(|| (area.name_bytes(), first.get(), count, align));
        log::info!("cma: cma_alloc(): returned {:08x}", (pages.hooks.page_pointer)(first));
        Some(CmaPages::new(id, first, count))
    }
}

impl Buddy<'_> {
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

    /// Makes `count` pages from `start` on an allocation of `owner`'s if they are one block and lie in one free block.
    /// `false` otherwise, and nothing has changed.
    #[inline]
    fn take_idle_block(&mut self, start: u32, count: u32, owner: u32) -> bool {
        let order = count.trailing_zeros() as u8;
        if !count.is_power_of_two() || !start.is_multiple_of(count) || order > Order::MAX.get() {
            return false;
        }
        let page = self.map.page(start);
        let waiting = page.state() == PageState::PerCpu && page.order() == order;
        let zone = self.zone_of(start);
        let taken = if waiting { self.pcp_withdraw(zone, start) } else { self.cut_block(zone, start, order) };
        if taken {
            let page = self.map.page_mut(start);
            page.reset(PageState::CmaTaken, order);
            set_owner(page, owner, count);
        }
        taken
    }

    /// Cuts the block of `order` at `start` out of the free block around it; `false` when there is none.
    fn cut_block(&mut self, zone: usize, start: u32, order: u8) -> bool {
        let mut at = self.map.covering(start);
        let (mut high, state) = (self.map.page(at).order(), self.map.page(at).state());
        if state != PageState::Free || high < order {
            return false;
        }
        let kind = self.map.block_type(at);
        let (pages, zone) = (&mut *self.map.pages, &mut self.zones[zone]);
        zone.unlink(pages, at);
        zone.count_out(kind, 1 << order);
        pages[at as usize].set_state(PageState::Tail);
        while high > order {
            high -= 1;
            let middle = at + (1 << high);
            let (rest, next) = if start < middle { (middle, at) } else { (at, middle) };
            zone.link(pages, rest, high, kind, false);
            at = next;
        }
        true
    }

    /// Makes `[start, end)`, which is idle, an allocation of `owner`'s.
    fn take_idle(&mut self, start: u32, end: u32, owner: u32) {
        self.take_free(start, end);
        for (index, order) in chunks(start, end) {
            self.map.page_mut(index).reset(PageState::CmaTaken, order);
        }
        self.set_cma_owner(start, end - start, owner);
    }
}
