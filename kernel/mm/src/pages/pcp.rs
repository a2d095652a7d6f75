//! Per-CPU lists: blocks of order 0 to 4 that a CPU took from the buddy lists in bulk, so that most requests are a
//! pop and a push.
//!
//! The lists are singly linked stacks: a push or pop touches one record. A list holds blocks of the types that can
//! serve its requests: `CMA` and `HIGHATOMIC` blocks wait in the movable list, and go back to where their pageblock
//! says. Blocks of a range under isolation never wait here: the isolation picks them out when it begins, and
//! later frees pass the lists by.

use super::{
    buddy::{Buddy, chunks},
    list::Index,
    map::ISOLATED,
    zone::{Place, ZoneKind},
};
use crate::{MigrateType, Page, PageState};
use types::{Order, Pfn};

/// CPUs that can have lists of their own.
pub const MAX_CPUS: usize = 4;
/// Orders with a per-CPU list: 0 to 4. Linux's end at 3; order 4 is a large page, and the size of many a buffer.
pub(crate) const PCP_ORDERS: usize = 5;
/// Types with a per-CPU list.
const PCP_TYPES: usize = 3;
/// Lists of a CPU for one zone.
const LISTS: usize = PCP_ORDERS * PCP_TYPES;
/// Places for lists by CPU and zone: a power of two, so that a mask is all the bounds check it takes.
pub(super) const PLACES: usize = (MAX_CPUS * ZoneKind::COUNT).next_power_of_two();
/// The end of a list: no index, so that the bounds check of the record finds it.
const END: Index = Index::MAX;
/// Pages that one refill takes at most, however long the row of requests.
const MAX_REFILL: u32 = 64;

/// A stack of blocks of one order and type: all that a request needs, loaded and stored as a whole.
///
/// Blocks in it are `given - taken`, so each push and pop changes one counter; and what requests took is counted here,
/// for `pgalloc` in `/proc/vmstat`. Both wrap.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct Stack {
    head: Index,
    /// Blocks that requests took.
    taken: u32,
    /// Blocks that came in, less those that went back to the buddy lists.
    given: u32,
    /// Blocks that may wait here.
    limit: u32,
}

/// A row of refills of one list without a free in between: a CPU that goes on allocating.
#[derive(Clone, Copy, Debug)]
struct Row {
    slot: u8,
    scale: u8,
    given: u32,
}

/// A CPU's lists for one zone.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct PcpZone {
    stacks: [Stack; LISTS],
    row: Row,
}

/// All lists of all CPUs.
#[derive(Clone, Debug)]
pub(crate) struct PerCpu {
    pub(super) places: [PcpZone; PLACES],
}

#[inline(always)]
const fn slot(order: u8, kind: MigrateType) -> usize {
    kind as usize * PCP_ORDERS + order as usize
}

const fn order_of(slot: usize) -> u8 {
    (slot % PCP_ORDERS) as u8
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

impl Stack {
    const EMPTY: Self = Self { head: END, taken: 0, given: 0, limit: 1 };

    #[inline(always)]
    const fn len(&self) -> u32 {
        self.given.wrapping_sub(self.taken)
    }

    /// Takes a block for a request, which makes it `owner`'s.
    #[inline(always)]
    pub(crate) fn take(&mut self, pages: &mut [Page], owner: PageState) -> Option<Pfn> {
        let page = pages.get_mut(self.head as usize)?;
        self.head = page.next();
        self.taken = self.taken.wrapping_add(1);
        Some(page.take_listed(owner))
    }

    /// Takes a block that goes back to the buddy lists.
    fn withdraw(&mut self, pages: &[Page]) -> Option<Index> {
        let index = self.head;
        self.head = pages.get(index as usize)?.next();
        self.given = self.given.wrapping_sub(1);
        Some(index)
    }

    /// Takes the block at `index`, if it is the next in the list, for a caller that makes it an owner's or another block's.
    #[inline(always)]
    pub(crate) fn take_if_next<'p>(&mut self, pages: &'p mut [Page], index: Index) -> Option<&'p mut Page> {
        let page = pages.get_mut(index as usize).filter(|_| self.head == index)?;
        self.head = page.next();
        self.given = self.given.wrapping_sub(1);
        Some(page)
    }

    /// Whether another block may be pushed.
    #[inline(always)]
    pub(crate) const fn has_room(&self) -> bool {
        self.len() < self.limit
    }

    /// Links a block that the caller has made one of this list.
    #[inline(always)]
    pub(crate) fn link(&mut self, page: &mut Page, index: Index, pfn: Pfn) {
        page.set_waiting(self.head, pfn);
        self.head = index;
        self.given = self.given.wrapping_add(1);
    }

    /// Pushes a block.
    #[inline(always)]
    pub(crate) fn push(&mut self, page: &mut Page, (index, pfn): (Index, Pfn), order: u8) {
        page.set_listed(PageState::PerCpu, order, 0, 0);
        self.link(page, index, pfn);
    }

    /// Pushes `count` blocks that follow each other, the first of which is at `pfn`, so that the lowest is popped first.
    fn push_run(&mut self, pages: &mut [Page], (index, pfn): (Index, Pfn), count: u32, order: u8) {
        let size = count << order;
        let Some((first, rest)) = pages[index as usize..(index + size) as usize].split_first_mut() else {
            return;
        };
        let (mut next, mut at) = (self.head, size);
        // The first page may be the first of its pageblock, the others can't.
        for page in rest.iter_mut().rev().skip((1 << order) - 1).step_by(1 << order) {
            at -= 1 << order;
            page.set_waiting_inside(order, next, pfn.add(at));
            next = index + at;
        }
        first.set_listed(PageState::PerCpu, order, 0, 0);
        first.set_waiting(next, pfn);
        self.head = index;
        self.given = self.given.wrapping_add(count);
    }

    /// Takes out blocks that follow each other in memory, from the top of the stack on: their range. Their records say
    /// [`PageState::Tail`] then.
    fn withdraw_run(&mut self, pages: &mut [Page], order: u8) -> Option<(Index, Index)> {
        let (size, mut at) = (1 << order, self.head);
        let (mut low, mut end, mut taken) = (at, at.wrapping_add(size), 0);
        while let Some(page) = pages.get_mut(at as usize) {
            if at == end {
                end += size;
            } else if at + size == low {
                low = at;
            } else if taken > 0 {
                break;
            }
            page.set_state(PageState::Tail);
            at = page.next();
            taken += 1;
        }
        self.head = at;
        self.given = self.given.wrapping_sub(taken);
        (taken > 0).then_some((low, end))
    }
}

impl PcpZone {
    pub(super) const EMPTY: Self =
        Self { stacks: [Stack::EMPTY; LISTS], row: Row { slot: 0, scale: 0, given: 0 } };

    #[inline(always)]
    pub(crate) fn stack(&mut self, order: u8, kind: MigrateType) -> &mut Stack {
        &mut self.stacks[slot(order, kind)]
    }

    /// The list for the kernel's own pages; `None` for orders that have none.
    #[inline(always)]
    pub(crate) fn unmovable(&mut self, order: Order) -> Option<&mut Stack> {
        self.stacks[..PCP_ORDERS].get_mut(order.index())
    }

    /// Pages in all of its lists.
    pub(crate) fn pages(&self) -> u32 {
        self.sum(Stack::len)
    }

    /// Pages that requests took from its lists; wraps.
    pub(crate) fn taken(&self) -> u32 {
        self.sum(|stack| stack.taken)
    }

    fn sum(&self, of: impl Fn(&Stack) -> u32) -> u32 {
        let pages = |(slot, stack)| of(stack).wrapping_shl(u32::from(order_of(slot)));
        self.stacks.iter().enumerate().map(pages).fold(0, u32::wrapping_add)
    }

    /// `high` pages in all: three quarters of them single ones, for these are what most requests want.
    fn set_limits(&mut self, batch: u32, high: u32) {
        for (slot, stack) in self.stacks.iter_mut().enumerate() {
            let order = order_of(slot);
            let share = if order == 0 { 4 } else { 4 * PCP_TYPES * (PCP_ORDERS - 1) };
            stack.limit = ((high / share as u32).max(batch + 1) >> order).max(1);
        }
    }

    /// Blocks that this refill of a list takes: twice as many as the last if there was no free in between.
    fn row(&mut self, slot: usize, wanted: u32, most: u32) -> u32 {
        let given = self.stacks[slot].given;
        let goes_on = usize::from(self.row.slot) == slot && self.row.given == given;
        let scale = if goes_on { self.row.scale + 1 } else { 0 };
        let scale = (0..=scale).rev().find(|scale| wanted << scale <= most).unwrap_or(0);
        self.row = Row { slot: slot as u8, scale, given };
        wanted << scale
    }

    fn end_row(&mut self, slot: usize) {
        self.row.given = self.stacks[slot].given;
    }

    /// The blocks of each list: its order, how many there should be, and their indices from the head on.
    pub(crate) fn lists<'a>(
        &'a self,
        pages: &'a [Page],
    ) -> impl Iterator<Item = (u8, u32, impl Iterator<Item = Index> + 'a)> {
        self.stacks.iter().enumerate().map(move |(slot, stack)| {
            let mut at = stack.head;
            let walk = core::iter::from_fn(move || {
                let here = at;
                at = pages.get(here as usize)?.next();
                Some(here)
            });
            (order_of(slot), stack.len(), walk)
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
    /// Takes a block from the calling CPU's list for a caller that makes it an owner's, without refilling the list.
    pub(crate) fn pcp_pop(&mut self, zone: usize, order: u8, kind: MigrateType) -> Option<Index> {
        self.pcp.of_mut(self.cpu, zone).stack(order, kind).withdraw(self.map.pages)
    }

    /// Puts a block into the calling CPU's list; a full list gives a part back first, so that what was freed last stays.
    #[inline]
    pub(crate) fn pcp_push(&mut self, zone: usize, index: Index, order: u8) {
        let bits = self.map.block_bits(index);
        if bits & ISOLATED != 0 {
            return self.give_block(index, order, Place::Likely);
        }
        let (kind, at) = (list_type(bits), (index, self.map.pfn(index)));
        let stack = self.pcp.of_mut(self.cpu, zone).stack(order, kind);
        if stack.has_room() {
            stack.push(&mut self.map.pages[index as usize], at, order);
        } else {
            self.pcp_push_full(zone, at, order, kind);
        }
    }

    /// Puts a block into a list of the calling CPU that is full, after the three quarters that waited longest went back.
    #[cold]
    #[inline(never)]
    pub(crate) fn pcp_push_full(&mut self, zone: usize, at: (Index, Pfn), order: u8, kind: MigrateType) {
        let slot = slot(order, kind);
        let limit = self.pcp.of(self.cpu, zone).stacks[slot].limit;
        self.pcp_shrink(self.cpu, zone, slot, limit / 4);
        let stack = &mut self.pcp.of_mut(self.cpu, zone).stacks[slot];
        stack.push(&mut self.map.pages[at.0 as usize], at, order);
    }

    /// Sets how many blocks each list of that zone may hold.
    pub(crate) fn pcp_limits(&mut self, zone: usize) {
        let (batch, high) = (self.zones[zone].batch, self.zones[zone].high);
        for cpu in 0..MAX_CPUS {
            self.pcp.of_mut(cpu, zone).set_limits(batch, high);
        }
    }

    /// Fills the calling CPU's list, which is empty, with a batch and a block for the caller, from the smallest free
    /// blocks that there are, each carved up as it comes. Batches are a power of two less one, so that both together are
    /// one block if there is one. `false` when there is nothing.
    pub(crate) fn pcp_fill(&mut self, zone: usize, order: u8, kind: MigrateType, cma: bool) -> bool {
        let (slot, cpu) = (slot(order, kind), self.cpu);
        let spare = self.zones[zone].free_normal().saturating_sub(self.zones[zone].fast_mark);
        let most = (MAX_REFILL.min(spare / 8)) >> order;
        let few = (self.zones[zone].batch >> order) + 1;
        let mut wanted = self.pcp.of_mut(cpu, zone).row(slot, few, most);
        let all = wanted;
        while wanted > 0 {
            let large = (order + wanted.ilog2() as u8).min(Order::MAX.get());
            let Some((index, taken)) = self.take_between(zone, order, large, kind, cma) else { break };
            let at = (index, self.map.pfn(index));
            let stack = &mut self.pcp.of_mut(cpu, zone).stacks[slot];
            stack.push_run(self.map.pages, at, 1 << (taken - order), order);
            if kind == MigrateType::Unmovable && self.map.block_type(index) != kind {
                // A part of another type's pageblock: it goes back to that type, not to this list.
                for index in (index..index + (1 << taken)).step_by(1 << order) {
                    self.map.page_mut(index).set_aux(1);
                }
            }
            wanted -= 1 << (taken - order);
        }
        self.pcp.of_mut(cpu, zone).end_row(slot);
        wanted < all
    }

    /// Gives back all of a list but the `keep` blocks that came last. What lies side by side goes back as one block, not
    /// one by one.
    fn pcp_shrink(&mut self, cpu: usize, zone: usize, slot: usize, keep: u32) {
        let order = order_of(slot);
        let stack = &mut self.pcp.of_mut(cpu, zone).stacks[slot];
        let (kept, mut last, mut at) = (stack.head, END, stack.head);
        for _ in 0..keep {
            let Some(page) = self.map.pages.get(at as usize) else { break };
            (last, at) = (at, page.next());
        }
        stack.head = at;
        while let Some((start, end)) =
            self.pcp.of_mut(cpu, zone).stacks[slot].withdraw_run(self.map.pages, order)
        {
            for (index, order) in chunks(start, end) {
                self.give_block(index, order, Place::Likely);
            }
        }
        if let Some(last) = self.map.pages.get_mut(last as usize) {
            last.set_next(END);
            self.pcp.of_mut(cpu, zone).stacks[slot].head = kept;
        }
    }

    /// Takes the block at `index` out of the calling CPU's list of movable blocks if it is the next that would be taken from there.
    #[inline]
    pub(crate) fn pcp_withdraw(&mut self, zone: usize, index: Index) -> bool {
        let order = self.map.page(index).order();
        let stack = self.pcp.of_mut(self.cpu, zone).stack(order, MigrateType::Movable);
        stack.take_if_next(self.map.pages, index).is_some()
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
        let (pages, stack) = (&mut *self.map.pages, &mut self.pcp.of_mut(cpu, zone).stacks[slot]);
        let order = order_of(slot);
        let mut before = END;
        let mut at = stack.head;
        while let Some(page) = pages.get(at as usize) {
            let next = page.next();
            if at < end && start < at + (1 << order) {
                stack.given = stack.given.wrapping_sub(1);
                match pages.get_mut(before as usize) {
                    Some(before) => before.set_next(next),
                    None => stack.head = next,
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
                (0..LISTS).for_each(|slot| self.pcp_shrink(cpu, zone, slot, 0));
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
        (0..MAX_CPUS).map(|cpu| self.pcp.of(cpu, zone as usize).pages()).sum()
    }

    /// Pages that requests took, by zone (`pgalloc`); wraps.
    #[must_use]
    pub fn pgalloc(&self) -> [u32; ZoneKind::COUNT] {
        core::array::from_fn(|zone| {
            let listed = (0..MAX_CPUS).map(|cpu| self.pcp.of(cpu, zone).taken());
            listed.fold(self.stat.pgalloc[zone], u32::wrapping_add)
        })
    }
}
