//! Lists of slabs, linked through words 0 (next) and 1 (previous) of their page records.

use crate::PageSource;
use types::Pfn;

/// The end of a list. Larger than any frame number of a 32-bit space, and without the top bit, which is
/// [`FROZEN`](super::places::FROZEN)'s.
pub(super) const NIL: u32 = 0x7fff_ffff;

/// Sets word `index` of the record of `pfn`, which heads a slab and so has one.
pub(super) fn set<S: PageSource>(pages: &mut S, pfn: u32, index: usize, value: u32) {
    if let Some(page) = pages.page_mut(Pfn::new(pfn)) {
        page.set_word(index, value);
    }
}

/// Word `index` of the record of `pfn`, which heads a slab and so has one.
pub(super) fn get<S: PageSource>(pages: &S, pfn: u32, index: usize) -> u32 {
    pages.page(Pfn::new(pfn)).map_or(0, |page| page.word(index))
}

/// A list; the newest entry first.
pub(super) struct PageList {
    head: u32,
    len: u32,
}

impl PageList {
    pub(super) const fn new() -> Self {
        Self { head: NIL, len: 0 }
    }

    /// Entries.
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// Adds the slab at `pfn`, which is in no list.
    pub(super) fn push<S: PageSource>(&mut self, pages: &mut S, pfn: u32) {
        if self.head != NIL {
            set(pages, self.head, 1, pfn);
        }
        set(pages, pfn, 0, self.head);
        set(pages, pfn, 1, NIL);
        self.head = pfn;
        self.len += 1;
    }

    /// Takes the slab at `pfn`, which is in this list, out of it.
    pub(super) fn remove<S: PageSource>(&mut self, pages: &mut S, pfn: u32) {
        let (next, previous) = (get(pages, pfn, 0), get(pages, pfn, 1));
        if previous == NIL {
            self.head = next;
        } else {
            set(pages, previous, 0, next);
        }
        if next != NIL {
            set(pages, next, 1, previous);
        }
        self.len -= 1;
    }

    /// Takes the newest out.
    pub(super) fn pop<S: PageSource>(&mut self, pages: &mut S) -> Option<u32> {
        let pfn = self.first()?;
        self.remove(pages, pfn);
        Some(pfn)
    }

    /// The newest.
    pub(super) fn first(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    /// The entries, newest first; ends after `len` even if the links run in a circle.
    pub(super) fn iter<'s, S: PageSource>(&self, pages: &'s S) -> impl Iterator<Item = u32> + use<'s, S> {
        let mut at = self.head;
        (0..self.len).map_while(move |_| {
            let pfn = at;
            (pfn != NIL).then(|| {
                at = get(pages, pfn, 0);
                pfn
            })
        })
    }
}
