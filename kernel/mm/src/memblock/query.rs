//! Questions about the tables.

use super::{Memblock, Region, RegionFlags, Table};
use types::{PhysAddr, PhysRange};

impl Table<'_> {
    /// The region that holds an address.
    #[must_use]
    pub fn region_of(&self, addr: PhysAddr) -> Option<&Region> {
        let region = self.regions().get(self.first_ending_above(addr.get()))?;
        region.range().contains(addr).then_some(region)
    }

    /// Whether any region meets `[base, base + size)`. For an empty range: whether it lies strictly inside of a
    /// region, so never at a region's base.
    #[must_use]
    pub fn overlaps(&self, range: PhysRange) -> bool {
        self.regions().iter().any(|r| range.base().get() < r.end() && r.base < range.end().get())
    }
}

impl Memblock<'_> {
    /// Whether an address is RAM.
    #[must_use]
    pub fn is_memory(&self, addr: PhysAddr) -> bool {
        self.memory.region_of(addr).is_some()
    }

    /// Whether an address is RAM that the linear map covers.
    #[must_use]
    pub fn is_map_memory(&self, addr: PhysAddr) -> bool {
        self.memory.region_of(addr).is_some_and(|r| !r.flags.contains(RegionFlags::NOMAP))
    }

    /// Whether an address is in use.
    #[must_use]
    pub fn is_reserved(&self, addr: PhysAddr) -> bool {
        self.reserved.region_of(addr).is_some()
    }

    /// Whether one region of RAM holds the whole range. A range over two touching regions with different flags
    /// is "not memory", as in Linux.
    #[must_use]
    pub fn is_region_memory(&self, range: PhysRange) -> bool {
        self.memory.region_of(range.base()).is_some_and(|r| r.end() >= range.end().get())
    }

    /// Whether any of the range is in use (see [`Table::overlaps`]).
    #[must_use]
    pub fn is_region_reserved(&self, range: PhysRange) -> bool {
        self.reserved.overlaps(range)
    }

    /// Whether any of the range is RAM (see [`Table::overlaps`]).
    #[must_use]
    pub fn overlaps_memory(&self, range: PhysRange) -> bool {
        self.memory.overlaps(range)
    }

    /// The lowest address of RAM; 0 when there is none.
    #[must_use]
    pub fn start_of_dram(&self) -> PhysAddr {
        PhysAddr::new(self.memory.regions().first().map_or(0, |r| r.base))
    }

    /// The end of the highest region of RAM, NOMAP or not; 0 when there is none.
    #[must_use]
    pub fn end_of_dram(&self) -> PhysAddr {
        PhysAddr::new(self.memory.regions().last().map_or(0, Region::end))
    }
}
