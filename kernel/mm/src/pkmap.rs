//! Permanent mappings of highmem (`kmap`): a window of 512 pages below the linear map.
//!
//! ```text
//! 0xbfe0_0000                                                       0xc000_0000
//!   | pfn, users | empty | pfn, users | ...
//! ```
//! A page that is mapped again gets the address it has. The last user's `kunmap` unmaps it, with its TLB entry: Linux
//! waits until all places are used up, but here a page that is free may come back as uncached memory of a device.
//!
//! Keeps invariant 5 (a page is mapped, as Normal memory, while it has users only). Source: Linux 6.1 `mm/highmem.c`.

use crate::{Gfp, PageSource, PageState};
use core::fmt;
use hal::{MapError, MemAttr, PageTable, Prot, TablePages};
use types::{Order, PAGE_SIZE, Pfn, VirtAddr};

/// Where the window starts.
pub const PKMAP_BASE: u32 = 0xbfe0_0000;
/// Pages of the window.
pub const LAST_PKMAP: usize = 512;

/// Why a page was not mapped or unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KmapError {
    /// Every place is in use.
    Full,
    /// No memory for a second-level table, or an entry is not what it should be.
    Map(MapError),
    /// Nobody has mapped a page there.
    NotMapped(VirtAddr),
}

impl fmt::Display for KmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "kmap: all {LAST_PKMAP} places are in use"),
            Self::Map(error) => write!(f, "kmap: {error}"),
            Self::NotMapped(virt) => write!(f, "kunmap: no page is mapped at {virt}"),
        }
    }
}

/// A place of the window; all zeros is an empty one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    pfn: u32,
    users: u32,
}

/// The window.
#[derive(Debug)]
pub struct Pkmap<'m> {
    entries: &'m mut [Entry],
}

impl<'m> Pkmap<'m> {
    /// A window of as many empty places as there are entries, at most [`LAST_PKMAP`].
    pub fn new(entries: &'m mut [Entry]) -> Self {
        let len = entries.len().min(LAST_PKMAP);
        Self { entries: &mut entries[..len] }
    }

    /// Places.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no place at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    const fn virt(index: usize) -> VirtAddr {
        VirtAddr::new(PKMAP_BASE + index as u32 * PAGE_SIZE)
    }

    /// Maps the page, or adds a user to its mapping.
    ///
    /// # Errors
    /// [`KmapError::Full`], [`KmapError::Map`].
    pub fn map<S: PageSource>(
        &mut self,
        pages: &mut S,
        table: &mut (impl PageTable + TablePages),
        pfn: Pfn,
    ) -> Result<VirtAddr, KmapError> {
        let known = |entry: &Entry| entry.users > 0 && entry.pfn == pfn.get();
        if let Some(index) = self.entries.iter().position(known) {
            self.entries[index].users += 1;
            return Ok(Self::virt(index));
        }
        let index = self.entries.iter().position(|entry| entry.users == 0).ok_or(KmapError::Full)?;
        let virt = Self::virt(index);
        for _ in 0..table.tables_needed(virt, PAGE_SIZE) {
            let page = pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::PageTable);
            table.supply(page.map_err(|_| KmapError::Map(MapError::NoTable))?.into_raw().0);
        }
        table.map(virt, pfn.addr(), PAGE_SIZE, MemAttr::Normal, Prot::WRITE).map_err(KmapError::Map)?;
        self.entries[index] = Entry { pfn: pfn.get(), users: 1 };
        Ok(virt)
    }

    /// Takes a user away from the mapping at `virt`, which ends with the last.
    ///
    /// # Errors
    /// [`KmapError::NotMapped`], [`KmapError::Map`]; nothing has changed then.
    pub fn unmap(&mut self, table: &mut impl PageTable, virt: VirtAddr) -> Result<(), KmapError> {
        let index = (virt.get().wrapping_sub(PKMAP_BASE) / PAGE_SIZE) as usize;
        let entry = self.entries.get_mut(index).filter(|entry| entry.users > 0);
        let entry = entry.ok_or(KmapError::NotMapped(virt))?;
        if entry.users == 1 {
            table.unmap(Self::virt(index), PAGE_SIZE).map_err(KmapError::Map)?;
        }
        entry.users -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::tests::arena::TestPages;
    use crate::vmalloc::tests::machine::{Shared, Table};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const PLACES: usize = 6;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }) })]

        /// Against a map of pfn to users: what is mapped is where it says, one address a page, never more than fit, and
        /// nothing without users.
        #[test]
        fn like_a_counted_map(ops in prop::collection::vec((0u32..10, any::<bool>()), 0..200)) {
            let mut entries = [Entry::default(); PLACES];
            let (mut pkmap, mut pages) = (Pkmap::new(&mut entries), TestPages::new(64));
            let mut table = Table::new(Shared::default(), PKMAP_BASE..PKMAP_BASE + LAST_PKMAP as u32 * PAGE_SIZE);
            let mut model: BTreeMap<u32, (VirtAddr, u32)> = BTreeMap::new();
            for (pfn, map) in ops {
                let pfn = 0x7_0000 + pfn;
                let users = model.get(&pfn).copied();
                if map {
                    match (pkmap.map(&mut pages, &mut table, Pfn::new(pfn)), users) {
                        (Ok(virt), Some((at, count))) => {
                            prop_assert_eq!(virt, at);
                            model.insert(pfn, (at, count + 1));
                        }
                        (Ok(virt), None) => {
                            prop_assert!(model.values().all(|&(other, _)| other != virt));
                            model.insert(pfn, (virt, 1));
                        }
                        (Err(error), None) => {
                            prop_assert_eq!(error, KmapError::Full);
                            prop_assert_eq!(model.len(), PLACES);
                        }
                        (Err(error), Some(_)) => prop_assert!(false, "{error}"),
                    }
                } else if let Some((virt, count)) = users {
                    prop_assert_eq!(pkmap.unmap(&mut table, virt), Ok(()));
                    if count == 1 { model.remove(&pfn) } else { model.insert(pfn, (virt, count - 1)) };
                } else {
                    let nowhere = VirtAddr::new(PKMAP_BASE - PAGE_SIZE);
                    prop_assert_eq!(pkmap.unmap(&mut table, nowhere), Err(KmapError::NotMapped(nowhere)));
                }
                let mapped: BTreeMap<_, _> = table.pages.iter().map(|(&virt, page)| (virt, page.0)).collect();
                prop_assert_eq!(mapped, model.iter().map(|(pfn, (virt, _))| (virt.get(), pfn * PAGE_SIZE)).collect());
            }
        }
    }
}
