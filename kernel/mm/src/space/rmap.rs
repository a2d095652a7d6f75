//! The reverse map: from a page to every mapping of it.
//!
//! ```text
//! word 1 of the record, by the number of mappings (`refs`):
//!   0      meaningless
//!   1      space slot + 1 | page number of the address | 0            the mapping itself, no memory needed
//!   2..    physical address of the first node           | 1  ──▶ [mapping | next] ──▶ ... ──▶ 0
//! ```
//!
//! 13 bits of slot and 18 bits of page number fit a word, since a space has 1 GiB of addresses.

use super::arch::record;
use super::memory::{set_word, word};
use super::nodes::Nodes;
use super::{MAX_SPACES, SpaceError};
use crate::{Page, PageSource, PageState};
use hal::LinearMap;
use types::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

/// The word of the record.
pub(crate) const RMAP: usize = 0;

/// A page of a space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Mapping(u32);

const _: () = assert!(MAX_SPACES < 1 << 13);

impl Mapping {
    pub(crate) const fn new(slot: u16, virt: VirtAddr) -> Self {
        Self((slot as u32 + 1) << 19 | virt.get() >> PAGE_SHIFT << 1)
    }

    pub(crate) const fn slot(self) -> u16 {
        ((self.0 >> 19) - 1) as u16
    }

    pub(crate) const fn virt(self) -> VirtAddr {
        VirtAddr::new((self.0 >> 1 & 0x3_ffff) * PAGE_SIZE)
    }
}

/// The slot of a space that maps the page of an address space, and where, if that is the page's only mapping.
#[must_use]
pub fn only_mapping(page: &Page) -> Option<(u16, VirtAddr)> {
    let single = page.state() == PageState::Anon && page.refs() == 1;
    let mapping = Mapping(page.word(RMAP));
    single.then(|| (mapping.slot(), mapping.virt()))
}

/// A walk over the mappings of a page, which must not gain or lose one meanwhile.
pub(crate) struct Cursor(u32);

impl Cursor {
    #[inline]
    pub(crate) fn new(page: &Page) -> Self {
        Self(if page.refs() == 0 { 0 } else { page.word(RMAP) })
    }

    #[inline]
    pub(crate) fn next<L: LinearMap>(&mut self, linear: &L) -> Option<Mapping> {
        let raw = self.0;
        if raw & 1 == 0 {
            self.0 = 0;
            return (raw != 0).then_some(Mapping(raw));
        }
        let node = PhysAddr::new(raw & !1);
        self.0 = word(linear, PhysAddr::new(node.get() + 4));
        Some(Mapping(word(linear, node)))
    }
}

/// Notes that `pfn` is mapped at `mapping`, too.
///
/// # Errors
/// No memory for a node, or 65,535 mappings already; nothing has changed then.
#[inline]
pub(crate) fn add<L: LinearMap, S: PageSource>(
    nodes: &mut Nodes,
    linear: &L,
    pages: &mut S,
    pfn: Pfn,
    mapping: Mapping,
) -> Result<(), SpaceError> {
    let page = record(pages, pfn);
    let (refs, raw) = (page.refs(), page.word(RMAP));
    if refs == 0 {
        page.set_word(RMAP, mapping.0);
        page.set_refs(1);
        return Ok(());
    }
    let refs = refs.checked_add(1).ok_or(SpaceError::TooManyMappings { pfn })?;
    let first = if raw & 1 == 0 { nodes.alloc(linear, pages, raw, 0)?.get() | 1 } else { raw };
    let second = match nodes.alloc(linear, pages, mapping.0, first) {
        Ok(node) => node.get() | 1,
        Err(error) => {
            if raw & 1 == 0 {
                nodes.free(linear, pages, PhysAddr::new(first & !1));
            }
            return Err(error.into());
        }
    };
    let page = record(pages, pfn);
    page.set_word(RMAP, second);
    page.set_refs(refs);
    Ok(())
}

/// Notes that `pfn` isn't mapped at `mapping` any more; how many mappings are left.
#[inline]
pub(crate) fn remove<L: LinearMap, S: PageSource>(
    nodes: &mut Nodes,
    linear: &L,
    pages: &mut S,
    pfn: Pfn,
    mapping: Mapping,
) -> u16 {
    let page = record(pages, pfn);
    let refs = page.refs() - 1;
    page.set_refs(refs);
    if refs > 0 {
        unlink(nodes, linear, pages, pfn, mapping);
    }
    refs
}

/// Takes the node of `mapping` out of the list of `pfn`; a list of one becomes the mapping itself.
fn unlink<L: LinearMap, S: PageSource>(
    nodes: &mut Nodes,
    linear: &L,
    pages: &mut S,
    pfn: Pfn,
    mapping: Mapping,
) {
    let next_of = |node: u32| word(linear, PhysAddr::new((node & !1) + 4));
    let mut before = 0;
    let mut at = record(pages, pfn).word(RMAP);
    while word(linear, PhysAddr::new(at & !1)) != mapping.0 {
        before = at;
        at = next_of(at);
        assert!(at & 1 == 1, "a mapping that the reverse map doesn't know");
    }
    match before {
        0 => record(pages, pfn).set_word(RMAP, next_of(at)),
        before => set_word(linear, PhysAddr::new((before & !1) + 4), next_of(at)),
    }
    nodes.free(linear, pages, PhysAddr::new(at & !1));
    let page = record(pages, pfn);
    if page.refs() == 1 {
        let last = PhysAddr::new(page.word(RMAP) & !1);
        page.set_word(RMAP, word(linear, last));
        nodes.free(linear, pages, last);
    }
}
