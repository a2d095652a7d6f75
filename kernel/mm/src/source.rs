//! Where pages come from, as the rest of `mm` sees it, and whom the page allocator asks in turn: the one who can
//! move a page, and the one who can give some back.

use crate::{Gfp, Page, PageState};
use core::fmt;
use types::{Order, Pfn};

/// Pages that somebody owns: neither `Copy` nor `Clone`, and freeing consumes it (invariant 2).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping the token leaks the pages"]
pub struct Frames {
    pfn: Pfn,
    order: Order,
}

impl Frames {
    /// The token for the block at `pfn`. For the allocator that hands it out, and for owners that store a block
    /// as a number in their own records and take it up again.
    pub const fn from_raw(pfn: Pfn, order: Order) -> Self {
        Self { pfn, order }
    }

    /// Gives up the token for its number; [`Frames::from_raw`] takes it up again.
    #[must_use]
    pub const fn into_raw(self) -> (Pfn, Order) {
        (self.pfn, self.order)
    }

    /// The first page.
    #[must_use]
    pub const fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// The size.
    #[must_use]
    pub const fn order(&self) -> Order {
        self.order
    }
}

/// Why there are no pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocError {
    /// Nothing free above the watermark that the flags allow (invariant 8).
    NoMemory {
        /// What was asked for.
        order: Order,
        /// With which flags.
        gfp: Gfp,
    },
    /// The fault injection said so.
    Injected,
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory { order, gfp } => {
                write!(f, "out of memory: order:{}, mode:{:#x}({gfp})", order.get(), gfp.bits())
            }
            Self::Injected => f.write_str("out of memory: injected by fail_page_alloc"),
        }
    }
}

/// Gives and takes back blocks of pages, and keeps the record of each page.
pub trait PageSource {
    /// A block of 2^`order` pages in state `owner`.
    ///
    /// # Errors
    /// [`AllocError`].
    fn alloc_pages(&mut self, gfp: Gfp, order: Order, owner: PageState) -> Result<Frames, AllocError>;

    /// Takes a block back, whole. A block that is not allocated as the token says is reported, and left alone.
    fn free_pages(&mut self, frames: Frames);

    /// The record of a page; `None` outside of the memory map.
    fn page(&self, pfn: Pfn) -> Option<&Page>;

    /// The record of a page, to be changed by the owner of the page; `None` outside of the memory map.
    fn page_mut(&mut self, pfn: Pfn) -> Option<&mut Page>;

    /// So many pages more, or less, are of caches whose objects can be given back (`nr_slab_reclaimable`).
    fn count_reclaimable(&mut self, _: i32) {}
}

/// Why a page is being moved (Linux's `migrate_reason`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum MigrateReason {
    /// To make larger free blocks.
    Compaction,
    /// A system call or `/proc` file asked for it.
    Syscall,
    /// A CMA allocation or another contiguous one wants the range.
    ContigRange,
    /// The page is about to be pinned for long, and lies in a CMA area.
    LongtermPin,
}

/// Why a page did not move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum MigrateError {
    /// Somebody is using the page right now; later it may move.
    Busy,
    /// Somebody relies on its physical address.
    Pinned,
    /// There is no room elsewhere.
    NoMemory,
    /// Its owner can't move it.
    NotMovable,
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "busy",
            Self::Pinned => "pinned",
            Self::NoMemory => "no room to move it to",
            Self::NotMovable => "not movable",
        })
    }
}

/// Moves pages on behalf of their owners.
pub trait Mover<S: PageSource> {
    /// Moves the block at `pfn` elsewhere and gives the old block back with [`PageSource::free_pages`], or leaves
    /// everything as it was. The new block comes from `pages`, which never gives one from a range that is being
    /// emptied.
    ///
    /// # Errors
    /// [`MigrateError`]: the old block is still in use, at the same place.
    fn migrate(&mut self, pages: &mut S, pfn: Pfn, reason: MigrateReason) -> Result<(), MigrateError>;
}

/// Gives back pages that are kept only because nobody needed them: empty slabs, unused pools.
pub trait Reclaimer<S: PageSource> {
    /// Frees what can be freed, up to what `order` and `gfp` ask for or some more; returns how many pages it was.
    fn reclaim(&mut self, pages: &mut S, gfp: Gfp, order: Order) -> u32;
}
