//! Where pages come from, as the rest of `mm` sees it.

use crate::{Gfp, Page, PageState};
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

/// Gives and takes back blocks of pages, and keeps the record of each page.
pub trait PageSource {
    /// A block of 2^`order` pages in state `owner`.
    ///
    /// # Errors
    /// [`AllocError`].
    fn alloc_pages(&mut self, gfp: Gfp, order: Order, owner: PageState) -> Result<Frames, AllocError>;

    /// Takes a block back, whole.
    fn free_pages(&mut self, frames: Frames);

    /// The record of a page; `None` outside of the memory map.
    fn page(&self, pfn: Pfn) -> Option<&Page>;

    /// The record of a page, to be changed by the owner of the page; `None` outside of the memory map.
    fn page_mut(&mut self, pfn: Pfn) -> Option<&mut Page>;
}
