//! Stretches of memory that have a name: their borders and names are in the picture, and they tell whose reserved
//! memory is.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// Whose a region is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The kernel's code and data.
    Image,
    /// What booting left behind, such as the memory map.
    Boot,
    /// A device's or a driver's.
    Device,
    /// A CMA area.
    Cma,
}

impl Owner {
    /// All.
    pub const ALL: [Self; 4] = [Self::Image, Self::Boot, Self::Device, Self::Cma];

    /// The word in the `page_map` file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Boot => "boot",
            Self::Device => "device",
            Self::Cma => "cma",
        }
    }
}

/// A stretch with a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// Its pages.
    pub pfns: Range<u32>,
    /// Whose.
    pub owner: Owner,
    /// The name.
    pub name: String,
}

/// All regions, by address, apart from each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Regions(Vec<Region>);

impl Regions {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a region. One that is empty, or that meets another one, is left out; `false` then.
    pub fn add(&mut self, region: Region) -> bool {
        let Range { start, end } = region.pfns;
        let at = self.0.partition_point(|other| other.pfns.end <= start);
        let free = start < end && self.0.get(at).is_none_or(|next| end <= next.pfns.start);
        if free {
            self.0.insert(at, region);
        }
        free
    }

    /// The regions, by address.
    #[must_use]
    pub fn all(&self) -> &[Region] {
        &self.0
    }

    /// The region that `pfn` lies in, or the next one above it.
    #[must_use]
    pub fn at_or_above(&self, pfn: u32) -> Option<&Region> {
        self.0.get(self.0.partition_point(|region| region.pfns.end <= pfn))
    }

    /// The region that `pfn` lies in.
    #[must_use]
    pub fn of(&self, pfn: u32) -> Option<&Region> {
        self.at_or_above(pfn).filter(|region| region.pfns.contains(&pfn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(pfns: Range<u32>) -> Region {
        Region { pfns, owner: Owner::Boot, name: "x".into() }
    }

    #[test]
    fn regions_are_sorted_and_apart() {
        let mut regions = Regions::new();
        for (pfns, fits) in
            [(20..30, true), (10..20, true), (29..31, false), (5..11, false), (0..100, false), (7..7, false)]
        {
            assert_eq!(regions.add(region(pfns.clone())), fits, "{pfns:?}");
        }
        assert!(regions.add(region(40..41)));
        let starts: Vec<_> = regions.all().iter().map(|region| region.pfns.start).collect();
        assert_eq!(starts, [10, 20, 40]);
        for (pfn, within, next) in [
            (9, None, Some(10)),
            (10, Some(10), Some(10)),
            (29, Some(20), Some(20)),
            (30, None, Some(40)),
            (41, None, None),
        ] {
            assert_eq!(regions.of(pfn).map(|region| region.pfns.start), within, "{pfn}");
            assert_eq!(regions.at_or_above(pfn).map(|region| region.pfns.start), next, "{pfn}");
        }
    }
}
