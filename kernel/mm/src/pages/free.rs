//! Freeing: the checks that catch a wrong free before it does harm (invariant 2), and the blocks of exact sizes.

use super::{buddy::Buddy, buddy::chunks, list::Index, pcp::PCP_ORDERS, zone::Place};
use crate::{MigrateType, PageState};
use core::fmt;
use types::{Order, PAGEBLOCK_PAGES, Pfn};

/// Why a free was refused. The allocator's state is as before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreeError {
    /// There is no memory at that address, or it is not the kernel's.
    NotMemory {
        /// The page.
        pfn: Pfn,
    },
    /// The page was never given to the allocator.
    Reserved {
        /// The page.
        pfn: Pfn,
    },
    /// The page is free already.
    DoubleFree {
        /// The page.
        pfn: Pfn,
        /// Where it is.
        owner: PageState,
    },
    /// The page is in the middle of a block.
    NotHead {
        /// The page.
        pfn: Pfn,
        /// The block's first page.
        head: Pfn,
        /// Whose the block is.
        owner: PageState,
    },
    /// The block is of another size.
    WrongOrder {
        /// The block's first page.
        pfn: Pfn,
        /// The order that was given.
        given: Order,
        /// The order that it was allocated with.
        actual: Order,
        /// Whose it is.
        owner: PageState,
    },
    /// The block is somebody else's.
    Foreign {
        /// The block's first page.
        pfn: Pfn,
        /// Who wanted to free it.
        expected: PageState,
        /// Whose it is.
        owner: PageState,
    },
    /// Somebody relies on the page's physical address.
    Pinned {
        /// The page.
        pfn: Pfn,
        /// How many do.
        pins: u16,
    },
}

impl FreeError {
    /// The page that it is about.
    #[must_use]
    pub const fn pfn(&self) -> Pfn {
        match *self {
            Self::NotMemory { pfn }
            | Self::Reserved { pfn }
            | Self::DoubleFree { pfn, .. }
            | Self::NotHead { pfn, .. }
            | Self::WrongOrder { pfn, .. }
            | Self::Foreign { pfn, .. }
            | Self::Pinned { pfn, .. } => pfn,
        }
    }
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMemory { pfn } => write!(f, "free of pfn {pfn}: no memory there"),
            Self::Reserved { pfn } => write!(f, "free of pfn {pfn}: it is reserved memory"),
            Self::DoubleFree { pfn, owner } => write!(f, "double free of pfn {pfn}: it is in {owner}"),
            Self::NotHead { pfn, head, owner } => {
                write!(
                    f,
                    "free of pfn {pfn}: it is in the middle of the block at {head}, which belongs to {owner}"
                )
            }
            Self::WrongOrder { pfn, given, actual, owner } => {
                let (given, actual) = (given.get(), actual.get());
                write!(
                    f,
                    "free of pfn {pfn} as order {given}: it is of order {actual} and belongs to {owner}"
                )
            }
            Self::Foreign { pfn, expected, owner } => {
                write!(f, "free of pfn {pfn} by {expected}: it belongs to {owner}")
            }
            Self::Pinned { pfn, pins } => write!(f, "free of pfn {pfn}: pinned {pins} times"),
        }
    }
}

impl Buddy<'_> {
    /// The index of the allocated block of `order` at `pfn`.
    #[inline]
    pub(crate) fn check_block(&self, pfn: Pfn, order: Order) -> Result<Index, FreeError> {
        match self.map.index(pfn) {
            Some(index) if self.map.page(index).is_allocated(order.get()) => Ok(index),
            other => Err(self.why_not(pfn, order, other)),
        }
    }

    #[cold]
    fn why_not(&self, pfn: Pfn, order: Order, index: Option<Index>) -> FreeError {
        let Some(index) = index else { return FreeError::NotMemory { pfn } };
        let head = self.map.head_of(index);
        let page = self.map.page(head);
        let owner = page.state();
        match owner {
            PageState::NotMemory | PageState::Tail => FreeError::NotMemory { pfn },
            PageState::Reserved => FreeError::Reserved { pfn },
            _ if owner.is_free() => FreeError::DoubleFree { pfn, owner },
            _ if head != index => FreeError::NotHead { pfn, head: self.map.pfn(head), owner },
            PageState::CmaTaken => FreeError::Foreign { pfn, expected: PageState::Kernel, owner },
            _ => {
                let actual = Order::new(page.order()).unwrap_or(Order::MAX);
                FreeError::WrongOrder { pfn, given: order, actual, owner }
            }
        }
    }

    /// Makes the block at `index`, taken from the lists, one in state `owner`.
    #[inline]
    pub(crate) fn own(&mut self, index: Index, order: u8, owner: PageState) {
        self.map.page_mut(index).reset(owner, order);
        self.count_owned(owner, 1 << order);
        self.stat.pgalloc[self.zone_of(index)] += 1 << order;
    }

    /// Frees a block that [`Buddy::check_block`] let pass.
    #[inline]
    pub(crate) fn disown(&mut self, index: Index, order: u8) {
        let state = self.map.page(index).state();
        trace::lazy::mm_page_free(|| (self.map.pfn(index).get(), order));
        self.count_disowned(state, 1 << order);
        if usize::from(order) < PCP_ORDERS {
            self.pcp_push(self.zone_of(index), index, order);
        } else {
            self.give_block(index, order, Place::Likely);
        }
    }

    /// Makes single pages of an allocated block (`split_page`), each with the owner of the block.
    pub(crate) fn split_block(&mut self, index: Index, order: u8) {
        let state = self.map.page(index).state();
        for page in index..index + (1 << order) {
            self.map.page_mut(page).reset(state, 0);
        }
    }

    /// Keeps the first `count` pages of an allocated block and frees the rest.
    pub(crate) fn trim_block(&mut self, index: Index, order: u8, count: u32) {
        let state = self.map.page(index).state();
        let (mid, end) = (index + count, index + (1 << order));
        for (part, order) in chunks(index, mid).chain(chunks(mid, end)) {
            self.map.page_mut(part).reset(state, order);
        }
        for (part, order) in chunks(mid, end) {
            self.disown(part, order);
        }
    }

    /// Cuts a stretch in state `state` at `mid`: both parts become the largest blocks that fit.
    pub(crate) fn recut(&mut self, start: Index, mid: Index, end: Index, state: PageState) {
        for (index, _) in chunks(start, end) {
            self.map.page_mut(index).set_state(PageState::Tail);
        }
        for (index, order) in chunks(start, mid).chain(chunks(mid, end)) {
            self.map.page_mut(index).reset(state, order);
        }
    }

    /// Checks that `[start, end)` is made of whole allocated blocks of one owner, as [`Buddy::trim_block`] and a
    /// contiguous allocation leave them.
    pub(crate) fn check_range(&self, pfn: Pfn, count: u32) -> Result<(Index, Index), FreeError> {
        let (start, end) = self.stretch_of(pfn, count).ok_or(FreeError::NotMemory { pfn })?;
        let owner = self.map.page(start).state();
        for (index, order) in chunks(start, end) {
            let pfn = self.map.pfn(index);
            let order = Order::new(order).unwrap_or(Order::MAX);
            let index = self.check_block(pfn, order)?;
            if self.map.page(index).state() != owner {
                return Err(FreeError::Foreign { pfn, expected: owner, owner: self.map.page(index).state() });
            }
        }
        Ok((start, end))
    }

    /// Gives the reserved pages of a stretch to the buddy lists.
    pub(crate) fn free_reserved_range(&mut self, start: Index, end: Index) {
        self.reserved_to_tails(start, end);
        self.free_boot_range(start, end);
    }

    /// Gives a reserved area of whole pageblocks to the buddy lists as CMA memory. All or nothing.
    ///
    /// # Errors
    /// [`FreeError`] for the first page that is not reserved, or `NotMemory` when the area is not in one zone.
    pub(crate) fn activate_cma(&mut self, pfn: Pfn, count: u32) -> Result<(), FreeError> {
        let (start, end) = self.check_reserved(pfn, count)?;
        self.reserved_to_tails(start, end);
        let zone = self.zone_of(start);
        for index in (start..end).step_by(PAGEBLOCK_PAGES as usize) {
            self.map.set_block_type(index, MigrateType::Cma);
        }
        self.free_boot_range(start, end);
        self.zones[zone].cma += count;
        Ok(())
    }

    /// The stretch, when all of its pages are reserved.
    pub(crate) fn check_reserved(&self, pfn: Pfn, count: u32) -> Result<(Index, Index), FreeError> {
        let (start, end) = self.stretch_of(pfn, count).ok_or(FreeError::NotMemory { pfn })?;
        match (start..end).find(|&index| self.map.page(index).state() != PageState::Reserved) {
            Some(index) => Err(self.why_not(self.map.pfn(index), Order::ZERO, Some(index))),
            None => Ok((start, end)),
        }
    }

    fn reserved_to_tails(&mut self, start: Index, end: Index) {
        for index in start..end {
            self.map.page_mut(index).set_state(PageState::Tail);
        }
    }

    /// Takes reserved pages out of the kernel's memory: a no-map region. They stay in `present`, as in Linux.
    pub fn set_nomap(&mut self, range: types::PhysRange) {
        for pfn in range.pfns_touched() {
            if let Some(index) = self.map.index(Pfn::new(pfn))
                && self.map.page(index).state() == PageState::Reserved
            {
                self.map.page_mut(index).set_state(PageState::NotMemory);
            }
        }
    }
}
