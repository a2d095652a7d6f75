//! The record that the memory map keeps for each page: 16 bytes.
//!
//! ```text
//!                word 0: bits 0-7  8-11   12-15      16-23       24-31    word 1   word 2    word 3
//! Free                    state    order  pageblock  list type   zone     next     prev      -
//! PerCpu                  state    order  pageblock  -           -        next     pfn      -
//! CmaTaken                state    order  pageblock  flags       -        owner    pages     offset
//! Slab                    state    order  pageblock  flags       cache    next     prev      freelist | inuse << 16
//! Kernel                  state    order  pageblock  flags       home     owner    private   refs | pins << 16
//! Dma ...                 state    order  pageblock  flags       free     owner    private   refs | pins << 16
//! Anon                    state    order  pageblock  flags       free     rmap     private   refs | pins << 16
//! ```
//!
//! Only the *first* page of a block (the head) carries a state; the others say [`PageState::Tail`], and that is
//! kept true by splits and merges alone: each touches just the heads involved, so no operation loops over the
//! pages of a block. Words 1 to 3 and the byte `aux` belong to whoever owns the state.
//!
//! A block of the kernel's that goes back to the per-CPU list for unmovable pages says 0 in `home`; any other says something
//! else, and its free looks at the pageblock.
//!
//! Bits 12 to 15 of the first page of each pageblock hold the migratetype of the pageblock, and whether a range
//! isolation is under way in it; they survive every other change, which is why an owner changes a record through
//! the setters and never replaces it.

use bitflags::bitflags;
use core::fmt;
use types::Pfn;

/// What the page is used for (invariant 1). Tail pages share the state of their head.
///
/// The order matters: from [`PageState::Kernel`] on, a block may be freed with `free_pages`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum PageState {
    /// A hole: no memory here, or not the kernel's (no-map).
    NotMemory = 0,
    /// Not the head of a block.
    Tail = 1,
    /// Known to memblock as reserved; never given to the buddy allocator.
    Reserved = 2,
    /// Head of a free block in a buddy list.
    Free = 3,
    /// A free page in a per-CPU list.
    PerCpu = 4,
    /// Free, and taken out of the free lists by a range isolation.
    IsolatedFree = 5,
    /// Taken out of a CMA area by `cma_alloc`.
    CmaTaken = 6,
    /// Taken by `alloc_pages` for the kernel itself.
    Kernel = 7,
    /// A slab.
    Slab = 8,
    /// A kmalloc too large for the slabs.
    LargeKmalloc = 9,
    /// A translation table.
    PageTable = 10,
    /// Behind a vmalloc area.
    Vmalloc = 11,
    /// DMA memory from the buddy allocator.
    Dma = 12,
    /// Anonymous memory of an address space: movable.
    Anon = 13,
    /// Memory of a driver that registered how it is moved.
    DriverMovable = 14,
}

impl PageState {
    /// How many there are.
    pub const COUNT: usize = 15;
    /// All, in numerical order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::NotMemory,
        Self::Tail,
        Self::Reserved,
        Self::Free,
        Self::PerCpu,
        Self::IsolatedFree,
        Self::CmaTaken,
        Self::Kernel,
        Self::Slab,
        Self::LargeKmalloc,
        Self::PageTable,
        Self::Vmalloc,
        Self::Dma,
        Self::Anon,
        Self::DriverMovable,
    ];

    /// Written as a match because the compiler then sees that it is the identity, and needs no table.
    #[inline]
    const fn from_bits(bits: u32) -> Self {
        match bits {
            1 => Self::Tail,
            2 => Self::Reserved,
            3 => Self::Free,
            4 => Self::PerCpu,
            5 => Self::IsolatedFree,
            6 => Self::CmaTaken,
            7 => Self::Kernel,
            8 => Self::Slab,
            9 => Self::LargeKmalloc,
            10 => Self::PageTable,
            11 => Self::Vmalloc,
            12 => Self::Dma,
            13 => Self::Anon,
            14 => Self::DriverMovable,
            _ => Self::NotMemory,
        }
    }

    /// Whether the owner can be asked to move the page; only such pages may lie in a CMA area (invariant 3).
    #[must_use]
    pub const fn is_movable(self) -> bool {
        self as u8 >= Self::Anon as u8
    }

    /// Whether `alloc_pages` gives blocks in this state, and `free_pages` takes them back.
    #[must_use]
    pub const fn is_allocated(self) -> bool {
        self as u8 >= Self::Kernel as u8
    }

    /// Whether nobody owns the page.
    #[must_use]
    pub const fn is_free(self) -> bool {
        matches!(self, Self::Free | Self::PerCpu | Self::IsolatedFree)
    }

    /// The owner as messages name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotMemory => "no memory",
            Self::Tail => "the middle of a block",
            Self::Reserved => "reserved memory",
            Self::Free => "the free lists",
            Self::PerCpu => "the per-CPU lists",
            Self::IsolatedFree => "a range isolation",
            Self::CmaTaken => "a CMA allocation",
            Self::Kernel => "the kernel",
            Self::Slab => "a slab",
            Self::LargeKmalloc => "kmalloc",
            Self::PageTable => "a page table",
            Self::Vmalloc => "vmalloc",
            Self::Dma => "DMA",
            Self::Anon => "an address space",
            Self::DriverMovable => "a driver",
        }
    }
}

impl fmt::Display for PageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

bitflags! {
    /// Properties beside the state.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct PageFlags: u8 {
        /// Allocated with `__GFP_COMP`.
        const COMPOUND = 1;
        /// Written since it was last cleaned.
        const DIRTY = 2;
        /// Touched lately.
        const ACCESSED = 4;
        /// Locked for migration.
        const LOCKED = 8;
        /// Must stay resident; may move.
        const MLOCKED = 16;
        /// Of a shared object.
        const SHMEM = 32;
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Page {
    head: u32,
    words: [u32; 3],
}

const _: () = assert!(size_of::<Page>() == 16);

const ORDER_SHIFT: u32 = 8;
const BLOCK_SHIFT: u32 = 12;
const FLAGS_SHIFT: u32 = 16;
const AUX_SHIFT: u32 = 24;
const BLOCK_MASK: u32 = 0xf << BLOCK_SHIFT;
/// States from `Kernel` on whose blocks are never pinned.
const PLAIN_STATES: u32 = PageState::Anon as u32 - PageState::Kernel as u32;
/// State, order and zone: what makes two free blocks buddies.
const BUDDY_MASK: u32 = 0xff | 0xf << ORDER_SHIFT | 0xff << AUX_SHIFT;

impl Page {
    /// A record in state `state` with all else zero: for filling a memory map, not for changing one.
    #[must_use]
    pub const fn new(state: PageState) -> Self {
        Self { head: state as u32, words: [0; 3] }
    }

    /// The state.
    #[must_use]
    #[inline]
    pub const fn state(&self) -> PageState {
        PageState::from_bits(self.head & 0xff)
    }

    /// Changes the state; the words are left for the new owner.
    #[inline]
    pub const fn set_state(&mut self, state: PageState) {
        self.head = self.head & !0xff | state as u32;
    }

    /// Base-2 logarithm of the pages in the block that this page heads.
    #[must_use]
    #[inline]
    pub const fn order(&self) -> u8 {
        (self.head >> ORDER_SHIFT & 0xf) as u8
    }

    /// Sets the order.
    #[inline]
    pub const fn set_order(&mut self, order: u8) {
        self.head = self.head & !(0xf << ORDER_SHIFT) | ((order & 0xf) as u32) << ORDER_SHIFT;
    }

    /// The flags.
    #[must_use]
    #[inline]
    pub const fn flags(&self) -> PageFlags {
        PageFlags::from_bits_retain((self.head >> FLAGS_SHIFT) as u8)
    }

    /// Replaces the flags.
    #[inline]
    pub const fn set_flags(&mut self, flags: PageFlags) {
        self.head = self.head & !(0xff << FLAGS_SHIFT) | (flags.bits() as u32) << FLAGS_SHIFT;
    }

    /// The byte that is the owner's: the zone of a free block, the cache of a slab.
    #[must_use]
    #[inline]
    pub const fn aux(&self) -> u8 {
        (self.head >> AUX_SHIFT) as u8
    }

    /// Sets the owner's byte.
    #[inline]
    pub const fn set_aux(&mut self, aux: u8) {
        self.head = self.head & !(0xff << AUX_SHIFT) | (aux as u32) << AUX_SHIFT;
    }

    /// Word `index` + 1 of the record, 0 to 2.
    #[must_use]
    #[inline]
    pub const fn word(&self, index: usize) -> u32 {
        self.words[index]
    }

    /// Sets word `index` + 1.
    #[inline]
    pub const fn set_word(&mut self, index: usize, value: u32) {
        self.words[index] = value;
    }

    /// References that an owner that counts them holds (the low half of word 3).
    #[must_use]
    #[inline]
    pub const fn refs(&self) -> u16 {
        self.words[2] as u16
    }

    /// Sets the count of references.
    #[inline]
    pub const fn set_refs(&mut self, refs: u16) {
        self.words[2] = self.words[2] & 0xffff_0000 | refs as u32;
    }

    /// Pins: users that rely on the physical address (the high half of word 3).
    #[must_use]
    #[inline]
    pub const fn pins(&self) -> u16 {
        (self.words[2] >> 16) as u16
    }

    /// Sets the count of pins.
    #[inline]
    pub const fn set_pins(&mut self, pins: u16) {
        self.words[2] = self.words[2] & 0xffff | (pins as u32) << 16;
    }

    /// Whether the owner of the block can be asked to move it now.
    #[must_use]
    pub const fn can_move(&self) -> bool {
        self.state().is_movable() && self.pins() == 0
    }

    /// The four bits that the first page of a pageblock keeps for the pageblock.
    #[inline]
    pub(crate) const fn block_bits(&self) -> u8 {
        (self.head >> BLOCK_SHIFT & 0xf) as u8
    }

    #[inline]
    pub(crate) const fn set_block_bits(&mut self, bits: u8) {
        self.head = self.head & !BLOCK_MASK | (bits as u32) << BLOCK_SHIFT;
    }

    /// Makes this the head of a block with all of the owner's fields zero.
    #[inline]
    pub(crate) const fn reset(&mut self, state: PageState, order: u8) {
        self.head = self.head & BLOCK_MASK | state as u32 | (order as u32) << ORDER_SHIFT;
        self.words = [0; 3];
    }

    /// Makes this the head of a block that waits in a list.
    #[inline]
    pub(crate) const fn set_listed(&mut self, state: PageState, order: u8, list: u8, aux: u8) {
        self.head = self.head & BLOCK_MASK
            | state as u32
            | (order as u32) << ORDER_SHIFT
            | (list as u32) << FLAGS_SHIFT
            | (aux as u32) << AUX_SHIFT;
    }

    /// Makes this block, which waits in a per-CPU list, one of `owner` with all of the owner's fields zero; its pfn.
    #[inline(always)]
    pub(crate) const fn take_listed(&mut self, owner: PageState) -> Pfn {
        let pfn = Pfn::new(self.words[1]);
        self.swap_state(PageState::PerCpu, owner);
        self.words = [0; 3];
        pfn
    }

    /// Changes the state, which is `from`, to `to`.
    #[inline(always)]
    pub(crate) const fn swap_state(&mut self, from: PageState, to: PageState) {
        self.head ^= from as u32 ^ to as u32;
    }

    /// As [`Page::set_listed`] for a per-CPU list and [`Page::set_waiting`], for a page that is not the first of its pageblock:
    /// there is nothing to be kept then.
    #[inline(always)]
    pub(crate) const fn set_waiting_inside(&mut self, order: u8, next: u32, pfn: Pfn) {
        self.head = PageState::PerCpu as u32 | (order as u32) << ORDER_SHIFT;
        self.set_waiting(next, pfn);
    }

    /// Sets what a block keeps while it waits in a per-CPU list: the next in the list, and its own pfn, so that nobody
    /// has to work it out.
    #[inline(always)]
    pub(crate) const fn set_waiting(&mut self, next: u32, pfn: Pfn) {
        self.words[0] = next;
        self.words[1] = pfn.get();
    }

    /// Whether this heads a block of that order and state without flags.
    #[inline(always)]
    pub(crate) const fn is_plain(&self, state: PageState, order: u8) -> bool {
        self.head & !BLOCK_MASK == state as u32 | (order as u32) << ORDER_SHIFT
    }

    /// The list type given to [`Page::set_listed`].
    #[inline]
    pub(crate) const fn list(&self) -> u8 {
        (self.head >> FLAGS_SHIFT) as u8
    }

    /// Whether this heads a free block of that order in that zone.
    #[inline]
    pub(crate) const fn is_buddy(&self, order: u8, zone: u8) -> bool {
        let want = PageState::Free as u32 | (order as u32) << ORDER_SHIFT | (zone as u32) << AUX_SHIFT;
        self.head & BUDDY_MASK == want
    }

    /// Whether the block may be freed as one of that order without asking anybody: its owner counts no pins.
    #[inline(always)]
    pub(crate) const fn is_unpinnable(&self, order: u8) -> bool {
        let plain = (self.head & 0xff).wrapping_sub(PageState::Kernel as u32) < PLAIN_STATES;
        plain && self.head >> ORDER_SHIFT & 0xf == order as u32
    }

    /// The state, as an index into a table of 16.
    #[inline(always)]
    pub(crate) const fn state_index(&self) -> usize {
        (self.head & 0xf) as usize
    }

    /// Whether the block may be freed as one of that order.
    #[inline]
    pub(crate) const fn is_allocated(&self, order: u8) -> bool {
        (self.head & 0xff) >= PageState::Kernel as u32 && (self.head >> ORDER_SHIFT & 0xf) == order as u32
    }

    #[inline]
    pub(crate) const fn next(&self) -> u32 {
        self.words[0]
    }

    #[inline]
    pub(crate) const fn set_next(&mut self, next: u32) {
        self.words[0] = next;
    }

    #[inline]
    pub(crate) const fn prev(&self) -> u32 {
        self.words[1]
    }

    #[inline]
    pub(crate) const fn set_prev(&mut self, prev: u32) {
        self.words[1] = prev;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        let mut page = Page::new(PageState::Tail);
        page.set_block_bits(0xc);
        page.set_state(PageState::DriverMovable);
        page.set_order(10);
        page.set_flags(PageFlags::DIRTY | PageFlags::MLOCKED);
        page.set_aux(0xa5);
        page.set_refs(7);
        page.set_pins(9);
        assert_eq!(page.block_bits(), 0xc);
        assert_eq!(page.state(), PageState::DriverMovable);
        assert_eq!((page.order(), page.aux()), (10, 0xa5));
        assert_eq!(page.flags(), PageFlags::DIRTY | PageFlags::MLOCKED);
        assert_eq!((page.refs(), page.pins()), (7, 9));
        assert!(!page.can_move());
        page.reset(PageState::Anon, 0);
        assert_eq!(page.block_bits(), 0xc);
        assert!(page.can_move());
    }

    #[test]
    fn states_are_numbered_as_listed() {
        for (number, state) in PageState::ALL.into_iter().enumerate() {
            assert_eq!(Page::new(state).state(), state);
            assert_eq!(state as usize, number);
        }
    }
}
