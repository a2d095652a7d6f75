//! What address spaces need of the CPU and of the page allocator.
//!
//! Unsafe by declaration only: the implementor of [`KmapLocal`] promises valid pointers.
#![allow(unsafe_code)]

use crate::{MigrateType, Page, PageSource, pages::PageAllocator};
use hal::{Asid, LinearMap, SpaceTable, TlbOps};
use types::{Pfn, PhysAddr};

/// Places for temporary mappings that one operation uses at once: a source and a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KmapSlot {
    /// Of the page that is filled, or the only one.
    Target,
    /// Of the page that is read.
    Source,
}

/// Reaches any page for a moment, highmem too. Lowmem needs nothing but the linear map, and the defaults.
///
/// # Safety
/// [`KmapLocal::kmap`] must return a pointer that is valid for reads and writes of the whole page until the same
/// slot is [unmapped](KmapLocal::kunmap), or for as long as `self` lives when the page is lowmem.
pub unsafe trait KmapLocal: LinearMap {
    /// Maps `pfn` at `slot`, whatever was there before.
    fn kmap(&self, pfn: Pfn, _slot: KmapSlot) -> *mut u8 {
        self.ptr(pfn.addr())
    }

    /// Undoes it.
    fn kunmap(&self, _slot: KmapSlot) {}
}

/// The CPU as address spaces see it.
pub trait UserArch: KmapLocal + TlbOps {
    /// The tables of one space.
    type Table: SpaceTable;

    /// An empty table whose first level is the lowmem page `root`.
    fn new_table(&self, root: Pfn, asid: Asid) -> Self::Table;

    /// Makes the contents of a page that was just written visible to instruction fetches, and drops what the
    /// instruction caches hold: the page is about to become executable.
    fn sync_icache(&self, pfn: Pfn);
}

// SAFETY: forwards to the implementation behind the reference, whose contract holds.
unsafe impl<K: KmapLocal + ?Sized> KmapLocal for &K {
    fn kmap(&self, pfn: Pfn, slot: KmapSlot) -> *mut u8 {
        (**self).kmap(pfn, slot)
    }

    fn kunmap(&self, slot: KmapSlot) {
        (**self).kunmap(slot);
    }
}

impl<A: UserArch + ?Sized> UserArch for &A {
    type Table = A::Table;

    fn new_table(&self, root: Pfn, asid: Asid) -> Self::Table {
        (**self).new_table(root, asid)
    }

    fn sync_icache(&self, pfn: Pfn) {
        (**self).sync_icache(pfn);
    }
}

/// What is counted in `/proc/vmstat` on behalf of address spaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpaceEvent {
    /// A fault on user memory (`pgfault`).
    Fault,
    /// Pages moved (`pgmigrate_success`).
    Migrated(u32),
    /// Pages that could not be moved (`pgmigrate_fail`).
    MigrateFailed(u32),
    /// A page was pinned by its user (`nr_foll_pin_acquired`).
    Pinned,
    /// A pin has ended (`nr_foll_pin_released`).
    Unpinned,
}

/// A page source that knows its CMA areas and keeps the event counters.
pub trait SpacePages: PageSource {
    /// Whether the page lies in a CMA pageblock.
    fn is_cma(&self, pfn: Pfn) -> bool;

    /// Counts an event.
    fn count(&mut self, event: SpaceEvent);
}

impl SpacePages for PageAllocator<'_> {
    fn is_cma(&self, pfn: Pfn) -> bool {
        self.buddy().pageblock_type(pfn) == Some(MigrateType::Cma)
    }

    fn count(&mut self, event: SpaceEvent) {
        let stat = self.stat_mut();
        match event {
            SpaceEvent::Fault => stat.pgfault += 1,
            SpaceEvent::Migrated(pages) => stat.pgmigrate_success += pages,
            SpaceEvent::MigrateFailed(pages) => stat.pgmigrate_fail += pages,
            SpaceEvent::Pinned => stat.nr_foll_pin_acquired += 1,
            SpaceEvent::Unpinned => stat.nr_foll_pin_released += 1,
        }
    }
}

/// The record of a page that the caller knows to have one, being an allocated page.
#[inline]
pub(crate) fn record<S: PageSource>(pages: &mut S, pfn: Pfn) -> &mut Page {
    match pages.page_mut(pfn) {
        Some(page) => page,
        None => panic!("an allocated page without a record"),
    }
}

/// The first page of what lies at a physical address.
pub(crate) const fn page_of(at: PhysAddr) -> Pfn {
    Pfn::containing(at)
}
