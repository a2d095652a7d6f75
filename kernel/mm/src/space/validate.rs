//! Recounting everything from scratch: tables against the reverse map against the records.

use super::rmap::{Cursor, Mapping};
use super::{Entry, Spaces, USER_END, UserArch};
use crate::{PageSource, PageState};
use core::fmt;
use hal::SpaceTable;
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// What doesn't add up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpaceInconsistency {
    /// An entry names a page that isn't a space's.
    Foreign {
        /// The address.
        virt: VirtAddr,
        /// The page.
        pfn: Pfn,
    },
    /// An entry that the reverse map of its page doesn't know, or knows twice.
    Unknown {
        /// The address.
        virt: VirtAddr,
        /// The page.
        pfn: Pfn,
    },
    /// The reverse map has another length than the record says.
    Count {
        /// The page.
        pfn: Pfn,
        /// What the record says.
        refs: u16,
        /// What the reverse map says.
        found: u32,
    },
    /// An entry outside of all regions.
    NoRegion {
        /// The address.
        virt: VirtAddr,
    },
    /// A space's count of resident pages is wrong.
    Resident {
        /// What it says.
        says: u32,
        /// What the table says.
        found: u32,
    },
    /// Regions overlap, are out of order, or are writable and executable.
    Regions {
        /// Where.
        virt: VirtAddr,
    },
    /// An object's count of shown pages is wrong.
    Shown {
        /// What it says.
        says: u32,
        /// What the regions say.
        found: u32,
    },
}

impl fmt::Display for SpaceInconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { virt, pfn } => write!(f, "{virt} maps pfn {pfn}, which no space owns"),
            Self::Unknown { virt, pfn } => {
                write!(f, "{virt} maps pfn {pfn}, whose reverse map says otherwise")
            }
            Self::Count { pfn, refs, found } => write!(f, "pfn {pfn}: {refs} references, {found} mappings"),
            Self::NoRegion { virt } => write!(f, "{virt} is mapped outside of all regions"),
            Self::Resident { says, found } => write!(f, "{says} pages resident, {found} mapped"),
            Self::Regions { virt } => write!(f, "bad regions around {virt}"),
            Self::Shown { says, found } => write!(f, "object shown by {says} pages, found {found}"),
        }
    }
}

impl<A: UserArch> Spaces<'_, A> {
    /// Recounts everything.
    ///
    /// # Errors
    /// The first thing that doesn't add up.
    pub fn validate<S: PageSource>(&self, pages: &S) -> Result<(), SpaceInconsistency> {
        for slot in 0..self.slots.len() as u16 {
            self.validate_space(pages, slot)?;
        }
        Ok(())
    }

    fn validate_space<S: PageSource>(&self, pages: &S, slot: u16) -> Result<(), SpaceInconsistency> {
        let Some(space) = &self.slots[usize::from(slot)].space else { return Ok(()) };
        self.validate_regions(slot)?;
        let (mut from, mut found) = (VirtAddr::new(0), 0);
        while let Some(virt) = space.table.next_used(from, USER_END) {
            from = VirtAddr::new(virt.get() + PAGE_SIZE);
            if space.users == 0 && space.vmas.find(&self.arch, virt.get()).is_none() {
                return Err(SpaceInconsistency::NoRegion { virt });
            }
            let entry = space.table.pte(virt).ok().and_then(Entry::decode);
            if let Some(entry) = entry.filter(|entry| entry.pfn != self.zero) {
                found += 1;
                self.validate_page(pages, Mapping::new(slot, virt), entry.pfn)?;
            }
        }
        let says = space.rss;
        if says == found { Ok(()) } else { Err(SpaceInconsistency::Resident { says, found }) }
    }

    fn validate_page<S: PageSource>(
        &self,
        pages: &S,
        mapping: Mapping,
        pfn: Pfn,
    ) -> Result<(), SpaceInconsistency> {
        let virt = mapping.virt();
        let page = pages.page(pfn).filter(|page| page.state() == PageState::Anon);
        let page = page.ok_or(SpaceInconsistency::Foreign { virt, pfn })?;
        let (mut cursor, mut found, mut hits) = (Cursor::new(page), 0, 0);
        while let Some(known) = cursor.next(&self.arch) {
            found += 1;
            hits += u32::from(known == mapping);
        }
        let refs = page.refs();
        if found != u32::from(refs) {
            return Err(SpaceInconsistency::Count { pfn, refs, found });
        }
        if hits == 1 { Ok(()) } else { Err(SpaceInconsistency::Unknown { virt, pfn }) }
    }

    fn validate_regions(&self, slot: u16) -> Result<(), SpaceInconsistency> {
        let Some(space) = &self.slots[usize::from(slot)].space else { return Ok(()) };
        let mut end = super::USER_START;
        for vma in space.vmas.all(&self.arch) {
            let write_exec = vma.flags().contains(super::VmFlags::WRITE | super::VmFlags::EXEC);
            if vma.start() < end || vma.end() <= vma.start() || vma.end() > USER_END || write_exec {
                return Err(SpaceInconsistency::Regions { virt: vma.start() });
            }
            end = vma.end();
        }
        if space.users == 0 {
            return Ok(());
        }
        let spaces = self.slots.iter().filter_map(|slot| slot.space.as_ref());
        let regions = spaces.flat_map(|space| space.vmas.all(&self.arch));
        let shown = regions.filter(|vma| vma.flags().contains(super::VmFlags::SHARED) && vma.object == slot);
        let found = shown.map(|vma| vma.len() / PAGE_SIZE).sum();
        let says = space.users;
        if says == found { Ok(()) } else { Err(SpaceInconsistency::Shown { says, found }) }
    }

    /// Pages and nodes that the reverse map takes now; for tests and statistics.
    #[must_use]
    pub const fn rmap_memory(&self) -> (u32, u32) {
        self.nodes.counts()
    }
}
