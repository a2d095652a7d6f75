//! Per-CPU lists: blocks of order 0 to 3 that a CPU took from the buddy lists in bulk, so that most requests are a
//! pop and a push.
//!
//! A list holds blocks of the types that can serve its requests: `CMA` and `HIGHATOMIC` blocks wait in the movable
//! list, and go back to where their pageblock says. Blocks of a range under isolation never wait here: the
//! isolation takes them out one by one, by the links in their records, so it needs no drain of all lists.

use super::{
    buddy::Buddy,
    list::{Index, List},
    map::ISOLATED,
    zone::{Place, ZoneKind},
};
use crate::{MigrateType, PageState};
use types::Order;

/// CPUs that can have lists of their own.
pub const MAX_CPUS: usize = 8;
/// Orders with a per-CPU list: 0 to 3.
pub(crate) const PCP_ORDERS: usize = 4;
/// Types with a per-CPU list.
const PCP_TYPES: usize = 3;

/// A CPU's lists for one zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PcpZone {
    /// Pages in all of its lists.
    pub(crate) count: u32,
    lists: [List; PCP_ORDERS * PCP_TYPES],
}

/// A CPU's lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PerCpu {
    pub(crate) zones: [PcpZone; ZoneKind::COUNT],
}

impl PerCpu {
    pub(crate) const EMPTY: Self =
        Self { zones: [PcpZone { count: 0, lists: [List::EMPTY; PCP_ORDERS * PCP_TYPES] }; ZoneKind::COUNT] };
}

impl PcpZone {
    pub(crate) fn lists(&self) -> impl Iterator<Item = (u8, &List)> {
        self.lists.iter().enumerate().map(|(slot, list)| ((slot / PCP_TYPES) as u8, list))
    }
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

impl Buddy<'_> {
    /// Takes a block from the calling CPU's list, without refilling it.
    #[inline]
    pub(crate) fn pcp_pop(&mut self, zone: usize, order: u8, kind: MigrateType) -> Option<Index> {
        let pcp = &mut self.pcp[self.cpu].zones[zone];
        let index = pcp.lists[slot(order, kind)].pop_front(self.map.pages)?;
        pcp.count -= 1 << order;
        Some(index)
    }

    /// Puts a block into the calling CPU's list; a full list gives a batch back.
    #[inline]
    pub(crate) fn pcp_push(&mut self, zone: usize, index: Index, order: u8) {
        let bits = self.map.block_bits(index);
        if bits & ISOLATED != 0 {
            return self.give_block(index, order, Place::Likely);
        }
        let kind = list_type(bits);
        let (pages, cpu) = (&mut *self.map.pages, self.cpu);
        pages[index as usize].set_listed(PageState::PerCpu, order, kind as u8, cpu as u8);
        let pcp = &mut self.pcp[cpu].zones[zone];
        pcp.lists[slot(order, kind)].push_front(pages, index);
        pcp.count += 1 << order;
        if pcp.count >= self.zones[zone].high {
            self.pcp_shrink(cpu, zone, self.zones[zone].batch, slot(order, kind));
        }
    }

    /// Fills an empty list and takes a block from it: as many pages as a batch has, from the smallest free blocks
    /// that there are, each carved up as it comes.
    pub(crate) fn pcp_refill(
        &mut self,
        zone: usize,
        order: u8,
        kind: MigrateType,
        cma: bool,
    ) -> Option<Index> {
        let mut wanted =
            if order == 0 { self.zones[zone].batch } else { (self.zones[zone].batch >> order).max(2) };
        while wanted > 0 {
            let large = (order + wanted.ilog2() as u8).min(Order::MAX.get());
            let Some((index, taken)) = self.take_between(zone, order, large, kind, cma) else { break };
            self.pcp_carve(zone, index, taken, order, kind);
            wanted -= 1 << (taken - order);
        }
        self.pcp_pop(zone, order, kind)
    }

    fn pcp_carve(&mut self, zone: usize, index: Index, taken: u8, order: u8, kind: MigrateType) {
        let (pages, cpu) = (&mut *self.map.pages, self.cpu);
        let pcp = &mut self.pcp[cpu].zones[zone];
        let list = &mut pcp.lists[slot(order, kind)];
        for part in (index..index + (1 << taken)).step_by(1 << order) {
            pages[part as usize].set_listed(PageState::PerCpu, order, kind as u8, cpu as u8);
            list.push_back(pages, part);
        }
        pcp.count += 1 << taken;
    }

    /// Gives back `count` pages, or all that there are: from list `from` on, those that waited longest first.
    #[inline(never)]
    fn pcp_shrink(&mut self, cpu: usize, zone: usize, count: u32, from: usize) {
        let mut left = count.min(self.pcp[cpu].zones[zone].count);
        let mut at = from;
        while left > 0 {
            let pcp = &mut self.pcp[cpu].zones[zone];
            let list = &mut pcp.lists[at];
            if let Some(index) = list.last() {
                list.remove(self.map.pages, index);
                let order = (at / PCP_TYPES) as u8;
                pcp.count -= 1 << order;
                left = left.saturating_sub(1 << order);
                self.give_block(index, order, Place::Likely);
            } else {
                at = (at + 1) % (PCP_ORDERS * PCP_TYPES);
            }
        }
    }

    /// Takes one particular block out of whatever list it waits in.
    pub(crate) fn pcp_remove(&mut self, zone: usize, index: Index) {
        let page = self.map.page(index);
        let (cpu, order, list) = (page.aux() as usize, page.order(), page.list() as usize);
        let pcp = &mut self.pcp[cpu].zones[zone];
        pcp.lists[order as usize * PCP_TYPES + list].remove(self.map.pages, index);
        pcp.count -= 1 << order;
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
        self.pcp.iter().map(|cpu| cpu.zones[zone as usize].count).sum()
    }
}
