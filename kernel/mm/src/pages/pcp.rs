//! Per-CPU lists: blocks of order 0 to 3 that a CPU took from the buddy lists in bulk, so that most requests are a
//! pop and a push.
//!
//! The lists are singly linked stacks: a push or pop touches one record. A list holds blocks of the types that can
//! serve its requests: `CMA` and `HIGHATOMIC` blocks wait in the movable list, and go back to where their pageblock
//! says. Blocks of a range under isolation never wait here: the isolation picks them out when it begins, and
//! later frees pass the lists by.

use super::{
    buddy::Buddy,
    list::Index,
    map::ISOLATED,
    zone::{Place, ZoneKind},
};
use crate::{MigrateType, Page, PageState};
use types::Order;

/// CPUs that can have lists of their own.
pub const MAX_CPUS: usize = 8;
/// Orders with a per-CPU list: 0 to 3.
pub(crate) const PCP_ORDERS: usize = 4;
/// Types with a per-CPU list.
const PCP_TYPES: usize = 3;
/// Lists of a CPU for one zone.
const LISTS: usize = PCP_ORDERS * PCP_TYPES;
/// Places for lists by CPU and zone: a power of two, so that a mask is all the bounds check it takes.
pub(super) const PLACES: usize = (MAX_CPUS * ZoneKind::COUNT).next_power_of_two();
/// The end of a list: no index, so that the bounds check of the record finds it.
const END: Index = Index::MAX;

/// A CPU's lists for one zone. A line of the cache, and an address that takes a shift.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct PcpZone {
    /// Pages in all of its lists.
    pub(crate) count: u32,
    heads: [Index; LISTS],
}

/// All lists of all CPUs.
#[derive(Clone, Debug)]
pub(crate) struct PerCpu {
    pub(super) places: [PcpZone; PLACES],
}

#[inline]
const fn slot(order: u8, kind: MigrateType) -> usize {
    order as usize * PCP_TYPES + kind as usize
}

/// The list in which a block of a pageblock of that type waits.
#[inline]
const fn list_type(bits: u8) -> MigrateType {
    match bits {
        0 => MigrateType::Unmovable,
        2 => MigrateType::Reclaimable,
        _ => MigrateType::Movable,
    }
}

/// The list of a pageblock whose blocks wait in the list of their own type.
#[inline(always)]
pub(crate) const fn own_list(bits: u8) -> Option<MigrateType> {
    match bits {
        0 => Some(MigrateType::Unmovable),
        1 => Some(MigrateType::Movable),
        2 => Some(MigrateType::Reclaimable),
        _ => None,
    }
}

impl PcpZone {
    pub(super) const EMPTY: Self = Self { count: 0, heads: [END; LISTS] };

    #[inline(always)]
    pub(crate) fn pop(&mut self, pages: &[Page], order: u8, kind: MigrateType) -> Option<Index> {
        self.pop_slot(pages, slot(order, kind), order)
    }

    #[inline(always)]
    fn pop_slot(&mut self, pages: &[Page], slot: usize, order: u8) -> Option<Index> {
        let head = &mut self.heads[slot];
        let index = *head;
        *head = pages.get(index as usize)?.next();
        self.count -= 1 << order;
        Some(index)
    }

    /// Pushes a block; returns the pages that are now in the lists.
    #[inline(always)]
    pub(crate) fn push(&mut self, page: &mut Page, index: Index, order: u8, kind: MigrateType) -> u32 {
        page.set_listed(PageState::PerCpu, order, 0, 0);
        let head = &mut self.heads[slot(order, kind)];
        page.set_next(*head);
        *head = index;
        self.count += 1 << order;
        self.count
    }

    /// Pushes `count` blocks that follow each other, so that the lowest is popped first.
    fn push_run(&mut self, pages: &mut [Page], index: Index, count: u32, order: u8, kind: MigrateType) {
        let head = &mut self.heads[slot(order, kind)];
        let mut next = *head;
        *head = index;
        let run = &mut pages[index as usize..(index + (count << order)) as usize];
        let mut at = index + (count << order);
        for page in run.iter_mut().rev().skip((1 << order) - 1).step_by(1 << order) {
            at -= 1 << order;
            page.set_listed(PageState::PerCpu, order, 0, 0);
            page.set_next(next);
            next = at;
        }
        self.count += count << order;
    }

    /// The blocks of each list: its order, and its indices from the head on.
    pub(crate) fn lists<'a>(
        &'a self,
        pages: &'a [Page],
    ) -> impl Iterator<Item = (u8, impl Iterator<Item = Index> + 'a)> {
        self.heads.iter().enumerate().map(move |(slot, &head)| {
            let mut at = head;
            let walk = core::iter::from_fn(move || {
                let here = at;
                at = pages.get(here as usize)?.next();
                Some(here)
            });
            ((slot / PCP_TYPES) as u8, walk)
        })
    }
}

impl PerCpu {
    /// Where the lists of that CPU for that zone are.
    pub(crate) const fn place(cpu: usize, zone: usize) -> usize {
        cpu * ZoneKind::COUNT + zone
    }

    #[inline(always)]
    pub(crate) fn at_mut(&mut self, place: usize) -> &mut PcpZone {
        &mut self.places[place % PLACES]
    }

    #[inline(always)]
    pub(crate) fn of(&self, cpu: usize, zone: usize) -> &PcpZone {
        &self.places[Self::place(cpu, zone) % PLACES]
    }

    #[inline(always)]
    pub(crate) fn of_mut(&mut self, cpu: usize, zone: usize) -> &mut PcpZone {
        self.at_mut(Self::place(cpu, zone))
    }
}

impl Buddy<'_> {
    /// Takes a block from the calling CPU's list, without refilling it.
    #[inline(always)]
    pub(crate) fn pcp_pop(&mut self, zone: usize, order: u8, kind: MigrateType) -> Option<Index> {
        self.pcp.of_mut(self.cpu, zone).pop(self.map.pages, order, kind)
    }

    /// Puts a block into the calling CPU's list; a full list gives a batch back.
    pub(crate) fn pcp_push(&mut self, zone: usize, index: Index, order: u8) {
        let bits = self.map.block_bits(index);
        if bits & ISOLATED != 0 {
            return self.give_block(index, order, Place::Likely);
        }
        let (page, cpu) = (&mut self.map.pages[index as usize], self.cpu);
        let count = self.pcp.of_mut(cpu, zone).push(page, index, order, list_type(bits));
        if count >= self.zones[zone].high {
            self.pcp_overflow(zone, order, list_type(bits));
        }
    }

    /// The calling CPU's lists are full: gives a batch back, beginning with the list that was pushed to.
    #[cold]
    #[inline(never)]
    pub(crate) fn pcp_overflow(&mut self, zone: usize, order: u8, kind: MigrateType) {
        self.pcp_shrink(self.cpu, zone, self.zones[zone].batch, slot(order, kind));
    }

    /// Takes a block for the caller and a batch for the list, which is empty, from the smallest free blocks that
    /// there are, each carved up as it comes. Batches are a power of two less one, so that both together are one
    /// block if there is one.
    pub(crate) fn pcp_refill(
        &mut self,
        zone: usize,
        order: u8,
        kind: MigrateType,
        cma: bool,
    ) -> Option<Index> {
        let batch = self.zones[zone].batch;
        let mut wanted = (batch >> order).max(1) + 1;
        while wanted > 0 {
            let large = (order + wanted.ilog2() as u8).min(Order::MAX.get());
            let Some((index, taken)) = self.take_between(zone, order, large, kind, cma) else { break };
            let (pages, cpu) = (&mut *self.map.pages, self.cpu);
            let lists = self.pcp.of_mut(cpu, zone);
            lists.push_run(pages, index, 1 << (taken - order), order, kind);
            wanted -= 1 << (taken - order);
        }
        self.pcp_pop(zone, order, kind)
    }

    /// Gives back `count` pages, or all that there are, from list `from` on.
    fn pcp_shrink(&mut self, cpu: usize, zone: usize, count: u32, from: usize) {
        let mut left = count.min(self.pcp.of(cpu, zone).count);
        let mut at = from;
        while left > 0 {
            let order = (at / PCP_TYPES) as u8;
            if let Some(index) = self.pcp.of_mut(cpu, zone).pop_slot(self.map.pages, at, order) {
                left = left.saturating_sub(1 << order);
                self.give_block(index, order, Place::Likely);
            } else {
                at = (at + 1) % LISTS;
            }
        }
    }

    /// Takes the blocks that touch `[start, end)` out of all lists of that zone. They are left in state `PerCpu`.
    pub(crate) fn pcp_pick(&mut self, zone: usize, start: Index, end: Index) {
        for cpu in 0..MAX_CPUS {
            for slot in 0..LISTS {
                self.pcp_pick_from(cpu, zone, slot, start, end);
            }
        }
    }

    fn pcp_pick_from(&mut self, cpu: usize, zone: usize, slot: usize, start: Index, end: Index) {
        let (pages, lists) = (&mut *self.map.pages, self.pcp.of_mut(cpu, zone));
        let order = (slot / PCP_TYPES) as u8;
        let mut before = END;
        let mut at = lists.heads[slot];
        while let Some(page) = pages.get(at as usize) {
            let next = page.next();
            if at < end && start < at + (1 << order) {
                lists.count -= 1 << order;
                match pages.get_mut(before as usize) {
                    Some(before) => before.set_next(next),
                    None => lists.heads[slot] = next,
                }
            } else {
                before = at;
            }
            at = next;
        }
    }

    /// Empties all lists of all CPUs (`drain_all_pages`); returns how many pages that was.
    pub fn drain_all_pages(&mut self) -> u32 {
        let before = self.pcp_pages();
        for cpu in 0..MAX_CPUS {
            for zone in 0..ZoneKind::COUNT {
                self.pcp_shrink(cpu, zone, u32::MAX, 0);
            }
        }
        before
    }

    /// Pages in the lists of all CPUs.
    #[must_use]
    pub fn pcp_pages(&self) -> u32 {
        ZoneKind::ALL.iter().map(|&zone| self.pcp_pages_of(zone)).sum()
    }

    /// Pages of that zone in the lists of all CPUs.
    #[must_use]
    pub fn pcp_pages_of(&self, zone: ZoneKind) -> u32 {
        (0..MAX_CPUS).map(|cpu| self.pcp.of(cpu, zone as usize).count).sum()
    }
}
