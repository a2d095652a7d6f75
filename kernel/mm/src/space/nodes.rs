//! Nodes for pages that are mapped more than once: 8 bytes each, 512 to a lowmem page, as many as there is memory
//! for. A node is named by its physical address, so no table of chunks is needed; a page without nodes in use is
//! given back at once.
//!
//! ```text
//! node                 mapping | next node
//! record of its page   word 1: next page with room   word 2: previous   word 3: in use | first free | fresh
//! ```

use super::arch::{page_of, record};
use super::memory::{set_word, word};
use crate::{AllocError, Frames, Gfp, PageSource, PageState};
use hal::LinearMap;
use types::{Order, PAGE_SIZE, Pfn, PhysAddr};

const NODE: u32 = 8;
const PER_PAGE: u32 = PAGE_SIZE / NODE;
/// No page: pfns are below 2^20.
const NIL: u32 = u32::MAX;
const FIELD: u32 = 0x3ff;

/// The third word of the record of a page of nodes.
#[derive(Clone, Copy)]
struct Fill {
    used: u32,
    /// The first free node that was in use before, [`PER_PAGE`] for none.
    free: u32,
    /// The first node that never was in use.
    fresh: u32,
}

impl Fill {
    const fn decode(raw: u32) -> Self {
        Self { used: raw & FIELD, free: raw >> 10 & FIELD, fresh: raw >> 20 & FIELD }
    }

    const fn encode(self) -> u32 {
        self.used | self.free << 10 | self.fresh << 20
    }
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// The first page with a free node.
    partial: u32,
    pages: u32,
    used: u32,
}

impl Nodes {
    pub(crate) const fn new() -> Self {
        Self { partial: NIL, pages: 0, used: 0 }
    }

    /// Pages and nodes in use.
    pub(crate) const fn counts(&self) -> (u32, u32) {
        (self.pages, self.used)
    }

    /// A node with these contents.
    pub(crate) fn alloc<L: LinearMap, S: PageSource>(
        &mut self,
        linear: &L,
        pages: &mut S,
        mapping: u32,
        next: u32,
    ) -> Result<PhysAddr, AllocError> {
        if self.partial == NIL {
            let (pfn, _) = pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::Kernel)?.into_raw();
            self.pages += 1;
            record(pages, pfn).set_word(2, Fill { used: 0, free: PER_PAGE, fresh: 0 }.encode());
            self.link(pages, pfn);
        }
        let pfn = Pfn::new(self.partial);
        let at = take(linear, pages, pfn);
        if Fill::decode(record(pages, pfn).word(2)).used == PER_PAGE {
            self.unlink(pages, pfn);
        }
        self.used += 1;
        set_word(linear, at, mapping);
        set_word(linear, PhysAddr::new(at.get() + 4), next);
        Ok(at)
    }

    /// Takes a node back.
    pub(crate) fn free<L: LinearMap, S: PageSource>(&mut self, linear: &L, pages: &mut S, at: PhysAddr) {
        let pfn = page_of(at);
        let mut fill = Fill::decode(record(pages, pfn).word(2));
        set_word(linear, at, fill.free);
        fill.free = at.get() % PAGE_SIZE / NODE;
        fill.used -= 1;
        record(pages, pfn).set_word(2, fill.encode());
        self.used -= 1;
        if fill.used == PER_PAGE - 1 {
            self.link(pages, pfn);
        }
        if fill.used == 0 {
            self.unlink(pages, pfn);
            self.pages -= 1;
            pages.free_pages(Frames::from_raw(pfn, Order::ZERO));
        }
    }

    fn link<S: PageSource>(&mut self, pages: &mut S, pfn: Pfn) {
        let page = record(pages, pfn);
        page.set_word(0, self.partial);
        page.set_word(1, NIL);
        if self.partial != NIL {
            record(pages, Pfn::new(self.partial)).set_word(1, pfn.get());
        }
        self.partial = pfn.get();
    }

    fn unlink<S: PageSource>(&mut self, pages: &mut S, pfn: Pfn) {
        let page = record(pages, pfn);
        let (next, before) = (page.word(0), page.word(1));
        if next != NIL {
            record(pages, Pfn::new(next)).set_word(1, before);
        }
        match before {
            NIL => self.partial = next,
            before => record(pages, Pfn::new(before)).set_word(0, next),
        }
    }
}

/// Takes a free node of a page that has one.
fn take<L: LinearMap, S: PageSource>(linear: &L, pages: &mut S, pfn: Pfn) -> PhysAddr {
    let mut fill = Fill::decode(record(pages, pfn).word(2));
    let place = |index: u32| PhysAddr::new(pfn.addr().get() + index * NODE);
    let index = if fill.free == PER_PAGE { fill.fresh } else { fill.free };
    if fill.free == PER_PAGE {
        fill.fresh += 1;
    } else {
        fill.free = word(linear, place(index));
    }
    fill.used += 1;
    record(pages, pfn).set_word(2, fill.encode());
    place(index)
}
