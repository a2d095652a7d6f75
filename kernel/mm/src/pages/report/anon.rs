//! What the memory map says about the pages of address spaces. It is counted when somebody asks: the records are the
//! truth, and nothing has to be kept up to date on the way.

use crate::pages::buddy::Buddy;
use crate::pages::zone::{Zone, ZoneKind};
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
    /// All of them together.
    pub(crate) fn sum(parts: [Self; ZoneKind::COUNT]) -> Self {
        parts.into_iter().fold(Self::default(), |sum, part| Self {
            anon: sum.anon + part.anon,
            shmem: sum.shmem + part.shmem,
            mapped: sum.mapped + part.mapped,
            mlocked: sum.mlocked + part.mlocked,
        })
    }
}

impl Buddy<'_> {
    /// Those of a zone: looks at each of its blocks, if there are such pages at all.
    #[must_use]
    #[inline]
    pub fn anon_counts(&self, zone: &Zone) -> AnonCounts {
        let mut counts = AnonCounts::default();
        let left = self.pages_in_use(PageState::Anon);
        let mut at = zone.start;
        while counts.anon < left && at < zone.end {
            let page = self.map.page(at);
            if page.state() == PageState::Anon {
                let has = |flag: PageFlags| u32::from(page.flags().contains(flag));
                let shmem = has(PageFlags::SHMEM);
                counts.anon += 1;
                counts.shmem += shmem;
                // The object itself counts as one mapping.
                counts.mapped += u32::from(shmem == 1 && page.refs() > 1);
                counts.mlocked += has(PageFlags::MLOCKED);
            }
            at = self.map.after(at);
        }
        counts
    }

    /// Those of each zone.
    pub(crate) fn anon_by_zone(&self) -> [AnonCounts; ZoneKind::COUNT] {
        ZoneKind::ALL.map(|kind| self.anon_counts(self.zone(kind)))
    }

    /// Those of all zones.
    #[must_use]
    #[inline]
    pub fn all_anon_counts(&self) -> AnonCounts {
        AnonCounts::sum(self.anon_by_zone())
    }
}
