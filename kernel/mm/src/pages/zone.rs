//! A zone: its free lists, its counters and its watermarks.
//!
//! The buddy algorithm itself is here: [`Zone::take`] splits, [`Zone::give`] merges. Both touch only the heads of the
//! blocks involved; a bit mask of the orders that have an entry finds the smallest block at once.

use super::list::{Index, List};
use crate::{MigrateType, Page, PageState};
use types::Order;

/// Which part of memory; the numbers order them from the most to the least precious.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum ZoneKind {
    /// Reached by devices that can't address all of lowmem.
    Dma = 0,
    /// Lowmem: mapped all the time.
    Normal = 1,
    /// The rest: mapped when needed.
    HighMem = 2,
}

impl ZoneKind {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All, ascending in address.
    pub const ALL: [Self; Self::COUNT] = [Self::Dma, Self::Normal, Self::HighMem];

    /// The name as Linux's files print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dma => "DMA",
            Self::Normal => "Normal",
            Self::HighMem => "HighMem",
        }
    }
}

/// Where in a list a block goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Where it waits longest, so that its neighbours may come free meanwhile.
    Tail,
    /// The tail if the block that it would be part of is half free already, else the head.
    Likely,
}

/// The three marks: below `min` only for those who may use reserves, below `low` reclaim starts in the background,
/// at `high` it stops. Pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watermarks {
    /// The reserve begins here.
    pub min: u32,
    /// Background reclaim begins here.
    pub low: u32,
    /// Background reclaim ends here.
    pub high: u32,
}

/// One zone. Counters are in pages.
#[derive(Clone, Debug)]
pub struct Zone {
    pub(crate) kind: ZoneKind,
    /// First index and the one behind the last; banks' holes in between belong to nobody.
    pub(crate) start: Index,
    pub(crate) end: Index,
    pub(crate) start_pfn: u32,
    pub(crate) spanned: u32,
    pub(crate) present: u32,
    pub(crate) managed: u32,
    pub(crate) cma: u32,
    pub(crate) free: u32,
    pub(crate) free_cma: u32,
    pub(crate) isolated: u32,
    pub(crate) reserved_highatomic: u32,
    pub(crate) marks: Watermarks,
    pub(crate) boost: u32,
    /// What a request that could also have used zone `i` must leave here.
    pub(crate) lowmem_reserve: [u32; ZoneKind::COUNT],
    /// Free normal memory above which a request for a small block needs no further check.
    pub(crate) fast_mark: u32,
    /// Whether free normal memory is at or below that.
    pub(crate) low: bool,
    pub(crate) batch: u32,
    pub(crate) high: u32,
    lists: [[List; Order::COUNT]; MigrateType::COUNT],
    /// A bit for each order whose list is not empty.
    orders: [u16; MigrateType::COUNT],
}

impl Zone {
    pub(crate) const fn new(kind: ZoneKind) -> Self {
        Self {
            kind,
            start: 0,
            end: 0,
            start_pfn: 0,
            spanned: 0,
            present: 0,
            managed: 0,
            cma: 0,
            free: 0,
            free_cma: 0,
            isolated: 0,
            reserved_highatomic: 0,
            marks: Watermarks { min: 0, low: 0, high: 0 },
            boost: 0,
            lowmem_reserve: [0; ZoneKind::COUNT],
            fast_mark: 0,
            low: true,
            batch: 1,
            high: 4,
            lists: [[List::EMPTY; Order::COUNT]; MigrateType::COUNT],
            orders: [0; MigrateType::COUNT],
        }
    }

    /// Which zone it is.
    #[must_use]
    pub const fn kind(&self) -> ZoneKind {
        self.kind
    }

    /// Pages from the first to the last, holes included.
    #[must_use]
    pub const fn spanned(&self) -> u32 {
        self.spanned
    }

    /// Pages of memory, reserved ones included.
    #[must_use]
    pub const fn present(&self) -> u32 {
        self.present
    }

    /// Pages given to the buddy allocator.
    #[must_use]
    pub const fn managed(&self) -> u32 {
        self.managed
    }

    /// Free pages in the buddy lists (those in per-CPU lists or isolated are not among them).
    #[must_use]
    pub const fn free(&self) -> u32 {
        self.free
    }

    /// Free pages in CMA pageblocks.
    #[must_use]
    pub const fn free_cma(&self) -> u32 {
        self.free_cma
    }

    /// Pages in activated CMA areas.
    #[must_use]
    pub const fn cma(&self) -> u32 {
        self.cma
    }

    /// Pages that `HIGHATOMIC` pageblocks hold.
    #[must_use]
    pub const fn reserved_highatomic(&self) -> u32 {
        self.reserved_highatomic
    }

    /// The marks, without the boost.
    #[must_use]
    pub const fn watermarks(&self) -> Watermarks {
        self.marks
    }

    /// What is added to each mark until background reclaim has caught up.
    #[must_use]
    pub const fn boost(&self) -> u32 {
        self.boost
    }

    /// Pages that a refill of a CPU's lists takes, unless many follow each other, and about how many they hold in all:
    /// what Linux would set, and what the limits of each list are made from.
    #[must_use]
    pub const fn pcp_batch_high(&self) -> (u32, u32) {
        (self.batch, self.high)
    }

    /// Free blocks of that size and type.
    #[must_use]
    pub fn free_blocks(&self, kind: MigrateType, order: Order) -> u32 {
        self.lists[kind as usize][order.index()].len()
    }

    pub(crate) fn list(&self, kind: MigrateType, order: u8) -> &List {
        &self.lists[kind as usize][order as usize]
    }

    /// The orders, at least `order`, that have a free block of type `kind`: a bit each.
    #[inline]
    pub(crate) fn orders_from(&self, kind: MigrateType, order: u8) -> u32 {
        u32::from(self.orders[kind as usize]) & u32::MAX << order
    }

    /// Puts the block at `index` into a list. The counters of free pages are the caller's.
    #[inline]
    pub(crate) fn link(
        &mut self,
        pages: &mut [Page],
        index: Index,
        order: u8,
        kind: MigrateType,
        tail: bool,
    ) {
        pages[index as usize].set_listed(PageState::Free, order, kind as u8, self.kind as u8);
        let list = &mut self.lists[kind as usize][order as usize];
        if tail {
            list.push_back(pages, index);
        } else {
            list.push_front(pages, index);
        }
        self.orders[kind as usize] |= 1 << order;
    }

    /// Takes the free block at `index` out of its list.
    #[inline(always)]
    pub(crate) fn unlink(&mut self, pages: &mut [Page], index: Index) {
        self.unlink_order(pages, index, pages[index as usize].order());
    }

    /// The same for a block whose order is known.
    #[inline(always)]
    fn unlink_order(&mut self, pages: &mut [Page], index: Index, order: u8) {
        let kind = pages[index as usize].list();
        let list = &mut self.lists[kind as usize][order as usize];
        list.remove(pages, index);
        if list.len() == 0 {
            self.orders[kind as usize] &= !(1 << order);
        }
    }

    /// A block of `order` from the smallest free block of `kind`; the counters are the caller's.
    #[inline(always)]
    pub(crate) fn take(&mut self, pages: &mut [Page], order: u8, kind: MigrateType) -> Option<Index> {
        let orders = self.orders_from(kind, order);
        if orders == 0 {
            return None;
        }
        let from = orders.trailing_zeros() as u8;
        let list = &mut self.lists[kind as usize][from as usize];
        let index = list.pop_front(pages)?;
        if list.len() == 0 {
            self.orders[kind as usize] &= !(1 << from);
        }
        self.expand(pages, index, from, order, kind);
        Some(index)
    }

    /// Gives back the upper halves of a block of order `from` until `order` is left.
    #[inline]
    pub(crate) fn expand(
        &mut self,
        pages: &mut [Page],
        index: Index,
        from: u8,
        order: u8,
        kind: MigrateType,
    ) {
        let mut high = from;
        while high > order {
            high -= 1;
            self.link(pages, index + (1 << high), high, kind, false);
        }
    }

    /// Merges the block at `index` with its free buddies and puts it into a list of `kind`; the counters are the
    /// caller's. The record of `index` may say anything.
    #[inline(always)]
    pub(crate) fn give(
        &mut self,
        pages: &mut [Page],
        index: Index,
        order: u8,
        kind: MigrateType,
        place: Place,
    ) {
        let (mut index, mut order) = (index, order);
        let zone = self.kind as u8;
        while order < Order::MAX.get() {
            let buddy = index ^ 1 << order;
            if !pages.get(buddy as usize).is_some_and(|page| page.is_buddy(order, zone)) {
                break;
            }
            self.unlink_order(pages, buddy, order);
            pages[(index | buddy) as usize].set_state(PageState::Tail);
            index &= buddy;
            order += 1;
        }
        let tail = match place {
            Place::Tail => true,
            Place::Likely => self.likely_to_merge(pages, index, order),
        };
        self.link(pages, index, order, kind, tail);
    }

    /// Whether the buddy of the block that this one would form with its own buddy is free already.
    #[inline]
    fn likely_to_merge(&self, pages: &[Page], index: Index, order: u8) -> bool {
        let above = order + 1;
        let buddy = index & !(1 << order) ^ 1 << above;
        above < Order::MAX.get()
            && pages.get(buddy as usize).is_some_and(|page| page.is_buddy(above, self.kind as u8))
    }

    /// Moves a free block to the list of another type.
    pub(crate) fn retype(&mut self, pages: &mut [Page], index: Index, to: MigrateType, tail: bool) {
        let order = pages[index as usize].order();
        self.unlink(pages, index);
        self.link(pages, index, order, to, tail);
    }

    #[inline]
    pub(crate) fn update_low(&mut self) {
        self.low = self.free - self.free_cma <= self.fast_mark;
    }

    /// Counts `count` pages of type `kind` into the free lists.
    #[inline]
    pub(crate) fn count_in(&mut self, kind: MigrateType, count: u32) {
        self.free += count;
        if matches!(kind, MigrateType::Cma) {
            self.free_cma += count;
        }
        self.update_low();
    }

    /// Counts `count` pages of type `kind` out of the free lists.
    #[inline]
    pub(crate) fn count_out(&mut self, kind: MigrateType, count: u32) {
        self.free -= count;
        if matches!(kind, MigrateType::Cma) {
            self.free_cma -= count;
        }
        self.update_low();
    }
}
