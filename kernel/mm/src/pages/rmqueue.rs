//! Taking a block from a zone: whose lists in what order, and stealing from another type.
//!
//! # Use of CMA memory
//! A movable request may be served from CMA pageblocks. Linux does so once more than half of what is free is CMA
//! memory, and so leaves much of it idle while normal memory runs short. Here a movable request takes CMA memory
//! first when one of these holds, and normal memory otherwise:
//! - the free part of the CMA memory is at least as large as the free part of the normal memory, so both fill at
//!   the same rate;
//! - free normal memory is at or below the zone's high mark: what is left of it is for those who can't use CMA.
//!
//! When one kind is used up the other serves, so a movable request fails only when both are. Normal memory is not used
//! up while whole pageblocks of other types are free: one of them is stolen before CMA memory serves out of turn. Free
//! parts of such pageblocks are left to their type until then.
//!
//! # Stealing
//! A type without free blocks takes the largest block of another, with the whole pageblock if that is mostly free
//! or of the same mind, so that pageblocks stay of one type as far as possible (Linux's `fallbacks`).

use super::{
    buddy::Buddy,
    list::Index,
    map::ISOLATED,
    pcp::PCP_ORDERS,
    watermark::{Mark, Request},
    zone::Zone,
};
use crate::MigrateType::{self, Cma, HighAtomic, Movable, Reclaimable, Unmovable};
use crate::PageState;
use types::{Order, PAGEBLOCK_PAGES, align_down};

/// From this order on a stolen block brings its pageblock along, whoever asks.
const STEAL_ORDER: u8 = Order::MAX.get() / 2;

const fn fallbacks(kind: MigrateType) -> [MigrateType; 2] {
    match kind {
        Movable => [Reclaimable, Unmovable],
        Reclaimable => [Unmovable, Movable],
        _ => [Reclaimable, Movable],
    }
}

/// What a stealing request found.
struct Victim {
    order: u8,
    kind: MigrateType,
    whole: bool,
}

impl Zone {
    /// Whether a movable request takes CMA memory first; see the [module](self).
    fn prefers_cma(&self) -> bool {
        let (normal, all_normal) = (self.free_normal(), self.managed - self.cma);
        let short = normal <= self.marks.high + self.boost;
        let even =
            u64::from(self.free_cma) * u64::from(all_normal) >= u64::from(normal) * u64::from(self.cma);
        self.free_cma > 0 && (short || even)
    }

    fn find_victim(&self, order: u8, kind: MigrateType, disabled: bool) -> Option<Victim> {
        let others = fallbacks(kind);
        let first = |at: u8| others.into_iter().find(|&other| self.list(other, at).len() > 0);
        for at in (order..=Order::MAX.get()).rev() {
            let Some(other) = first(at) else { continue };
            let whole = at >= STEAL_ORDER || kind != Movable || disabled;
            if whole || at == order {
                return Some(Victim { order: at, kind: other, whole });
            }
            // Better to break up a small block than a large one that can't be had as a whole.
            let smallest = (order..=at).find_map(|at| first(at).map(|other| (at, other)));
            return smallest.map(|(order, kind)| Victim { order, kind, whole: false });
        }
        None
    }
}

impl Buddy<'_> {
    /// A block from the zones that the request may use, as long as they stay above the mark.
    pub(crate) fn take_from_zones(&mut self, request: &Request, mark: Mark) -> Option<Index> {
        (0..=request.zone).rev().find_map(|zone| {
            let usable = self.zones[zone].managed > 0 && self.zones[zone].watermark_ok(request, mark);
            if usable { self.take_from_zone(zone, request, mark) } else { None }
        })
    }

    fn take_from_zone(&mut self, zone: usize, request: &Request, mark: Mark) -> Option<Index> {
        let Request { order, kind, cma, .. } = *request;
        // Above the low mark there is enough for everybody.
        let reserving = mark != Mark::Low && request.uses_highatomic();
        let small = usize::from(order) < PCP_ORDERS;
        if small && !reserving {
            let listed = self.pcp_pop(zone, order, kind);
            if listed.is_none() && self.pcp_fill(zone, order, kind, cma) {
                return self.pcp_pop(zone, order, kind);
            }
            return listed;
        }
        if reserving && let Some((index, _)) = self.take_listed(zone, order, order, HighAtomic) {
            return Some(index);
        }
        let Some((index, _)) = self.take_between(zone, order, order, kind, cma) else {
            return if small { self.pcp_pop(zone, order, kind) } else { None };
        };
        if reserving {
            // The walk over the pageblock must not take the block for a free one.
            self.map.page_mut(index).reset(PageState::Kernel, order);
            self.reserve_highatomic(zone, index);
        }
        Some(index)
    }

    /// A block of at least `small`, at most `large`, from the smallest free one; with its order.
    pub(crate) fn take_between(
        &mut self,
        zone: usize,
        small: u8,
        large: u8,
        kind: MigrateType,
        cma: bool,
    ) -> Option<(Index, u8)> {
        let kind = if self.grouping_disabled { Unmovable } else { kind };
        let early = cma && self.zones[zone].prefers_cma();
        let mut block = if early { self.take_listed(zone, small, large, Cma) } else { None };
        if block.is_none() {
            block = self.take_listed(zone, small, large, kind);
        }
        if block.is_none() && cma && !early {
            let whole = self.steal(zone, Order::MAX.get(), kind);
            block = self.take_listed(zone, small, large, if whole { kind } else { Cma });
        }
        if block.is_none() && self.steal(zone, small, kind) {
            block = self.take_listed(zone, small, large, kind);
        }
        block
    }

    /// A block of at least `small`, at most `large`, from the lists of one type; with its order.
    #[inline]
    pub(crate) fn take_listed(
        &mut self,
        zone: usize,
        small: u8,
        large: u8,
        kind: MigrateType,
    ) -> Option<(Index, u8)> {
        let zone = &mut self.zones[zone];
        let orders = zone.orders_from(kind, small);
        if orders == 0 {
            return None;
        }
        let order = (orders.trailing_zeros() as u8).min(large);
        let index = zone.take(self.map.pages, order, kind)?;
        zone.count_out(kind, 1 << order);
        Some((index, order))
    }

    /// Moves a free block of another type to the lists of `kind`; `false` when there is none.
    #[cold]
    fn steal(&mut self, zone: usize, order: u8, kind: MigrateType) -> bool {
        let Some(victim) = self.zones[zone].find_victim(order, kind, self.grouping_disabled) else {
            return false;
        };
        let Some(index) = self.zones[zone].list(victim.kind, victim.order).first() else { return false };
        if victim.order >= Order::MAX.get() {
            self.map.set_block_type(index, kind);
        } else {
            self.kswapd_wanted |= self.zones[zone].boost_watermark();
            if victim.whole && self.steal_pageblock(zone, index, kind) {
                self.trace_steal(index, order, &victim, kind);
                return true;
            }
        }
        self.zones[zone].retype(self.map.pages, index, kind, true);
        self.trace_steal(index, order, &victim, kind);
        true
    }

    /// Linux's `mm_page_alloc_extfrag`.
    fn trace_steal(&self, index: Index, order: u8, victim: &Victim, kind: MigrateType) {
        trace::lazy::mm_page_alloc_extfrag(|| {
            let (pfn, owned) = (self.map.pfn(index).get(), self.map.block_type(index) == kind);
            (pfn, order, victim.order, kind as u8, victim.kind as u8, owned)
        });
    }

    /// Moves all free pages of the pageblock, and the pageblock itself if most of it is of the same mind; `false`
    /// when it may not be touched.
    fn steal_pageblock(&mut self, zone: usize, index: Index, kind: MigrateType) -> bool {
        let old = self.map.block_type(index);
        if old == HighAtomic || self.map.block_bits(index) & ISOLATED != 0 {
            return false;
        }
        let (free, movable) = self.move_free_blocks(zone, index, kind);
        let alike = match (kind, old) {
            (Movable, _) => movable,
            (_, Movable) => PAGEBLOCK_PAGES - free - movable,
            _ => 0,
        };
        if free + alike >= PAGEBLOCK_PAGES / 2 || self.grouping_disabled {
            self.map.set_block_type(index, kind);
        }
        free > 0
    }

    /// Moves the free blocks of a pageblock to the lists of `to`; returns the pages moved, and the movable pages
    /// in use.
    pub(crate) fn move_free_blocks(&mut self, zone: usize, index: Index, to: MigrateType) -> (u32, u32) {
        let start = align_down(index, PAGEBLOCK_PAGES).max(self.zones[zone].start);
        let end = (align_down(index, PAGEBLOCK_PAGES) + PAGEBLOCK_PAGES).min(self.zones[zone].end);
        let (mut free, mut movable, mut at) = (0, 0, start);
        while at < end {
            let next = self.map.after(at);
            match self.map.page(at).state() {
                PageState::Free => {
                    self.zones[zone].retype(self.map.pages, at, to, true);
                    free += next - at;
                }
                state if state.is_movable() => movable += next - at,
                _ => {}
            }
            at = next;
        }
        (free, movable)
    }

    /// Keeps the pageblock for atomic requests of order 1 and more that come below the low mark, unless they have 1 % of
    /// the zone already.
    fn reserve_highatomic(&mut self, zone: usize, index: Index) {
        let most = self.zones[zone].managed / 100 + PAGEBLOCK_PAGES;
        let block = align_down(index, PAGEBLOCK_PAGES);
        let inside = block >= self.zones[zone].start && block + PAGEBLOCK_PAGES <= self.zones[zone].end;
        let plain = inside && self.map.block_bits(index) <= Reclaimable as u8;
        if self.zones[zone].reserved_highatomic < most && plain && !self.grouping_disabled {
            self.zones[zone].reserved_highatomic += PAGEBLOCK_PAGES;
            self.map.set_block_type(index, HighAtomic);
            self.move_free_blocks(zone, index, HighAtomic);
            self.highatomic_changed(zone);
        }
    }

    /// Gives one such pageblock that has free pages to `kind`; each zone keeps its last one unless `force` is set.
    pub(crate) fn unreserve_highatomic(&mut self, kind: MigrateType, force: bool) -> bool {
        for zone in 0..self.zones.len() {
            if self.zones[zone].reserved_highatomic <= PAGEBLOCK_PAGES && !force {
                continue;
            }
            let orders = self.zones[zone].orders_from(HighAtomic, 0);
            let block =
                (orders != 0).then(|| self.zones[zone].list(HighAtomic, orders.trailing_zeros() as u8));
            if let Some(index) = block.and_then(|list| list.first()) {
                let there = &mut self.zones[zone];
                there.reserved_highatomic = there.reserved_highatomic.saturating_sub(PAGEBLOCK_PAGES);
                self.map.set_block_type(index, kind);
                self.move_free_blocks(zone, index, kind);
                self.highatomic_changed(zone);
                return true;
            }
        }
        false
    }
}
