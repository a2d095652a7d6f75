//! The record that the memory map keeps for each page: 16 bytes.
//!
//! ```text
//!           byte 0    1       2       3      word 1        word 2        word 3
//! Free      state   order   flags   zone     next          prev          -
//! Slab      state   order   flags   cache    next          prev          freelist | inuse << 16
//! Kernel    state   order   flags   zone     owner         private       refs | pins << 16
//! Anon      state   0       flags   zone     rmap          private       refs | pins << 16
//! ```
//!
//! Only the *first* page of a block (the head) carries a state; the others say [`PageState::Tail`], and that is
//! kept true by splits and merges alone: each touches just the heads involved, so no operation loops over the
//! pages of a block. Words 1 to 3 belong to whoever owns the state.

use bitflags::bitflags;

/// What the page is used for (invariant 1). Tail pages share the state of their head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
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
    /// Taken by `alloc_pages` for the kernel itself.
    Kernel = 5,
    /// A slab.
    Slab = 6,
    /// A kmalloc too large for the slabs.
    LargeKmalloc = 7,
    /// A translation table.
    PageTable = 8,
    /// Behind a vmalloc area.
    Vmalloc = 9,
    /// Anonymous memory of an address space: movable.
    Anon = 10,
    /// Memory of a driver that registered how it is moved.
    DriverMovable = 11,
    /// Taken out of a CMA area by `cma_alloc`.
    CmaTaken = 12,
    /// DMA memory from the buddy allocator.
    Dma = 13,
    /// Free, and taken out of the free lists by a range isolation.
    IsolatedFree = 14,
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
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Page {
    state: PageState,
    order: u8,
    flags: PageFlags,
    aux: u8,
    words: [u32; 3],
}

const _: () = assert!(size_of::<Page>() == 16);

impl Page {
    /// A record in state `state` with all else zero.
    #[must_use]
    pub const fn new(state: PageState) -> Self {
        Self { state, order: 0, flags: PageFlags::empty(), aux: 0, words: [0; 3] }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> PageState {
        self.state
    }

    /// Changes the state; the words are left for the new owner.
    pub const fn set_state(&mut self, state: PageState) {
        self.state = state;
    }

    /// Base-2 logarithm of the pages in the block that this page heads.
    #[must_use]
    pub const fn order(&self) -> u8 {
        self.order
    }

    /// Sets the order.
    pub const fn set_order(&mut self, order: u8) {
        self.order = order;
    }

    /// The flags.
    #[must_use]
    pub const fn flags(&self) -> PageFlags {
        self.flags
    }

    /// Replaces the flags.
    pub const fn set_flags(&mut self, flags: PageFlags) {
        self.flags = flags;
    }

    /// Byte 3: the zone, or the slab cache.
    #[must_use]
    pub const fn aux(&self) -> u8 {
        self.aux
    }

    /// Sets byte 3.
    pub const fn set_aux(&mut self, aux: u8) {
        self.aux = aux;
    }

    /// Word `index` + 1 of the record, 0 to 2.
    #[must_use]
    pub const fn word(&self, index: usize) -> u32 {
        self.words[index]
    }

    /// Sets word `index` + 1.
    pub const fn set_word(&mut self, index: usize, value: u32) {
        self.words[index] = value;
    }
}
