//! What the memory map says about the pages of address spaces. It is counted when somebody asks: the records are the
//! truth, and nothing has to be kept up to date on the way.

use crate::pages::buddy::Buddy;
use crate::pages::zone::Zone;
use crate::{PageFlags, PageState};

/// Pages of address spaces in one or more zones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AnonCounts {
    /// All.
    pub anon: u32,
    /// Of shared objects (`nr_shmem`).
    pub shmem: u32,
    /// Of those, pages that a space has mapped (`nr_mapped`, which on Linux too has no private anonymous pages).
    pub mapped: u32,
    /// In a locked region (`nr_mlock`).
    pub mlocked: u32,
}

impl AnonCounts {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            anon: self.anon + other.anon,
            shmem: self.shmem + other.shmem,
            mapped: self.mapped + other.mapped,
            mlocked: self.mlocked + other.mlocked,
        }
    }
}

impl Buddy<'_> {
    /// Those of a zone: looks at each of its pages.
    #[must_use]
    #[inline]
    pub fn anon_counts(&self, zone: &Zone) -> AnonCounts {
        let mut counts = AnonCounts::default();
        let (start, end) = (zone.start as usize, zone.end as usize);
        for page in self.map.pages.get(start..end).unwrap_or_default() {
            if page.state() == PageState::Anon {
                let has = |flag: PageFlags| u32::from(page.flags().contains(flag));
                let shmem = has(PageFlags::SHMEM);
                counts.anon += 1;
                counts.shmem += shmem;
                // The object itself counts as one mapping.
                counts.mapped += u32::from(shmem == 1 && page.refs() > 1);
                counts.mlocked += has(PageFlags::MLOCKED);
            }
        }
        counts
    }

    /// Those of all zones.
    #[must_use]
    #[inline]
    pub fn all_anon_counts(&self) -> AnonCounts {
        self.zones.iter().fold(AnonCounts::default(), |sum, zone| sum.plus(self.anon_counts(zone)))
    }
}
