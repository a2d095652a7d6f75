//! The shortest way to a block and back: for the kernel's own pages, on a machine whose only CPU runs kernel code.
//!
//! ```text
//! is_hot() ─▶ hot_take, hot_give, ... as often as one likes ─▶ anything else ─▶ is_hot() again
//! ```
//!
//! [`Buddy::is_hot`] answers for all that a request would have to ask again and again: no guard, fault injection or owner
//! record wants to see it, free memory is above the marks, and the lists are those of CPU 0. None of that can change while only
//! the functions here are called, so the kernel asks once, when it drops its lock. What can differ from call to call is
//! checked each time: a free is of a block that the kernel has, of that order, from where it goes back to.

use super::{
    alloc::{ALWAYS, NORMAL},
    buddy::Buddy,
    pcp::{PCP_ORDERS, PerCpu, own_list},
    zone::Place,
};
use crate::{Gfp, MigrateType, PageState};
use types::{Order, Pfn};

/// The lists that hot requests are served from.
const PLACE: usize = PerCpu::place(0, NORMAL);
/// Flags that ask for another kind of block, or for more than a block.
const SPECIAL: Gfp =
    Gfp::__ZERO.union(Gfp::__COMP).union(Gfp::__RECLAIMABLE).union(Gfp::__DMA).union(Gfp::__HIGHMEM);

impl Gfp {
    /// Whether a request of the kernel's own with these flags can be [hot](crate::pages::Buddy::hot_take).
    #[inline(always)]
    #[must_use]
    pub const fn is_plain(self) -> bool {
        !self.intersects(SPECIAL)
    }
}

impl Buddy<'_> {
    /// Whether the functions of this module may be called, until something else is called.
    #[must_use]
    #[inline]
    pub fn is_hot(&self) -> bool {
        self.divert & ALWAYS == 0 && !self.zones[NORMAL].low && self.cpus == 1
    }

    /// Whether [`Buddy::hot_take`] and [`Buddy::hot_give`] are for blocks of that order; others are for the functions that
    /// say `large`.
    #[must_use]
    #[inline(always)]
    pub const fn is_small(order: Order) -> bool {
        order.index() < PCP_ORDERS
    }

    /// A block from a list, for the kernel itself; `None` when the list is empty or there is none for that order.
    #[must_use]
    #[inline(always)]
    pub fn hot_take(&mut self, gfp: Gfp, order: Order) -> Option<Pfn> {
        let stack = self.pcp.at_mut(PLACE).unmovable(order)?;
        let pfn = stack.take(self.map.pages, PageState::Kernel)?;
        trace::mm_page_alloc(pfn.get(), order.get(), MigrateType::Unmovable as u8, gfp.bits());
        Some(pfn)
    }

    /// Takes a block of the kernel's back; `false` when there is anything special about it, and nothing has changed.
    ///
    /// There is no need to look at the pageblock: no range with a block of the kernel's in it can be under isolation.
    #[must_use]
    #[inline(always)]
    pub fn hot_give(&mut self, pfn: Pfn, order: Order) -> bool {
        let Some((index, page)) = self.map.hot_record(pfn) else { return false };
        let Some(stack) = self.pcp.at_mut(PLACE).unmovable(order) else { return false };
        let usual = page.is_plain(PageState::Kernel, order.get()) && stack.has_room();
        if usual {
            trace::mm_page_free(pfn.get(), order.get());
            page.swap_state(PageState::Kernel, PageState::PerCpu);
            stack.link(page, index, pfn);
        }
        usual
    }

    /// A block too large for a list, for the kernel itself; `None` when memory is short or there is none at hand.
    #[must_use]
    #[inline]
    pub fn hot_take_large(&mut self, gfp: Gfp, order: Order) -> Option<Pfn> {
        let zone = &mut self.zones[NORMAL];
        // Above the mark still, so that the zone does not become low here.
        let left = zone.free_normal().checked_sub(order.pages())?;
        if left <= zone.fast_mark {
            return None;
        }
        let index = zone.take(self.map.pages, order.get(), MigrateType::Unmovable)?;
        zone.free -= order.pages();
        self.map.page_mut(index).reset(PageState::Kernel, order.get());
        let taken = &mut self.stat.pgalloc[NORMAL];
        *taken = taken.wrapping_add(order.pages());
        let pfn = self.map.pfn(index);
        trace::mm_page_alloc(pfn.get(), order.get(), MigrateType::Unmovable as u8, gfp.bits());
        Some(pfn)
    }

    /// As [`Buddy::hot_give`], for a block that [`Buddy::hot_take_large`] gave.
    #[must_use]
    #[inline]
    pub fn hot_give_large(&mut self, pfn: Pfn, order: Order) -> bool {
        let Some((index, page)) = self.map.hot_record(pfn) else { return false };
        if !page.is_plain(PageState::Kernel, order.get()) {
            return false;
        }
        let Some(kind) = own_list(self.map.block_bits(index)) else { return false };
        trace::mm_page_free(pfn.get(), order.get());
        let zone = &mut self.zones[NORMAL];
        zone.give(self.map.pages, index, order.get(), kind, Place::Likely);
        zone.free += order.pages();
        true
    }
}
