//! Areas that are unmapped but may still be in a TLB: nothing of them can be used again before a flush, by type.
//!
//! ```text
//! Stale::add(area) ... Stale::flush(tlb) -> Flushed --next()--> area: its addresses and pages are free again
//! ```
//! [`Flushed`] has no other constructor than [`Stale::flush`], and an area's pages and addresses are released in no other
//! place than the one that takes areas out of a [`Flushed`].

use super::{nodes::Id, tree::Tree};
use hal::TlbOps;

/// Areas before the flush.
pub(super) struct Stale {
    first: Id,
    areas: u32,
    pages: u32,
}

/// Areas after it.
#[must_use = "the areas in it are to be released"]
pub(super) struct Flushed(Id);

impl Stale {
    pub const fn new() -> Self {
        Self { first: Id::NIL, areas: 0, pages: 0 }
    }

    /// Adds an area whose translations have been cleared.
    #[inline]
    pub fn add(&mut self, tree: &mut Tree, id: Id) {
        let area = tree.area_mut(id);
        area.next = self.first;
        area.stale = true;
        self.pages += area.pages;
        self.areas += 1;
        self.first = id;
    }

    #[inline]
    pub fn areas(&self) -> u32 {
        self.areas
    }

    #[inline]
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Flushes all TLBs, once for all areas.
    #[inline]
    pub fn flush(&mut self, tlb: &impl TlbOps) -> Flushed {
        if self.areas > 0 {
            tlb.flush_all();
        }
        let first = self.first;
        *self = Self::new();
        Flushed(first)
    }
}

impl Flushed {
    /// Takes one area out.
    #[inline]
    pub fn next(&mut self, tree: &Tree) -> Option<Id> {
        let id = self.0;
        if id == Id::NIL {
            return None;
        }
        self.0 = tree.area(id).next;
        Some(id)
    }
}
