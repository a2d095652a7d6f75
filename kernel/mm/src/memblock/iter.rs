//! Walking RAM, and walking RAM that is not in use.
//!
//! Every walk takes flags that open what it would else hide:
//!
//! | region | seen when |
//! | --- | --- |
//! | NOMAP | the walk's flags have NOMAP |
//! | DRIVER_MANAGED | the walk's flags have DRIVER_MANAGED |
//! | HOTPLUG | the walk's flags have HOTPLUG, or `movable_node` was not given |
//! | not MIRROR | the walk's flags do not have MIRROR |

use super::{Memblock, Region, RegionFlags};
use types::{PhysAddr, PhysRange};

/// The rule of the table above, fixed for one walk.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    hidden: RegionFlags,
    wanted: RegionFlags,
}

impl Sight {
    fn new(open: RegionFlags, movable_node: bool) -> Self {
        let mut hidden = RegionFlags::NOMAP | RegionFlags::DRIVER_MANAGED;
        hidden.set(RegionFlags::HOTPLUG, movable_node);
        Self { hidden: hidden - open, wanted: open & RegionFlags::MIRROR }
    }

    #[inline]
    pub(super) fn shows(self, region: &Region) -> bool {
        !region.flags.intersects(self.hidden) && region.flags.contains(self.wanted)
    }
}

/// Regions of RAM that a walk sees. Over an empty table it yields one empty range at 0, as Linux does.
#[derive(Clone)]
pub struct MemRanges<'t> {
    regions: core::slice::Iter<'t, Region>,
    sight: Sight,
}

impl Iterator for MemRanges<'_> {
    type Item = PhysRange;

    fn next(&mut self) -> Option<PhysRange> {
        let sight = self.sight;
        self.regions.find(|r| sight.shows(r)).map(Region::range)
    }
}

/// Each largest intersection of one region of RAM with one gap between reserved regions, lowest first.
#[derive(Clone)]
pub struct FreeRanges<'t> {
    memory: &'t [Region],
    reserved: &'t [Region],
    /// The region and the gap (before the reserved region of that index) to look at next.
    region: usize,
    gap: usize,
    sight: Sight,
}

/// The gap before reserved region `i`; after the last one it ends with the space.
fn gap(reserved: &[Region], i: usize) -> (u32, u32) {
    let start = if i == 0 { 0 } else { reserved[i - 1].end() };
    (start, reserved.get(i).map_or(u32::MAX, |r| r.base))
}

#[inline]
pub(super) fn bounds(start: u32, end: u32) -> PhysRange {
    PhysRange::from_bounds(PhysAddr::new(start), PhysAddr::new(end))
}

impl FreeRanges<'_> {
    /// The next range, and the index of the reserved region that ends its gap.
    pub(super) fn next_in_gap(&mut self) -> Option<(PhysRange, usize)> {
        while let Some(m) = self.memory.get(self.region) {
            while self.sight.shows(m) && self.gap <= self.reserved.len() {
                let (start, end) = gap(self.reserved, self.gap);
                if start >= m.end() {
                    break;
                }
                if m.base >= end {
                    self.gap += 1;
                    continue;
                }
                let index = self.gap;
                if m.end() <= end {
                    self.region += 1;
                } else {
                    self.gap += 1;
                }
                return Some((bounds(start.max(m.base), end.min(m.end())), index));
            }
            self.region += 1;
        }
        None
    }
}

impl Iterator for FreeRanges<'_> {
    type Item = PhysRange;

    fn next(&mut self) -> Option<PhysRange> {
        self.next_in_gap().map(|(range, _)| range)
    }
}

impl Memblock<'_> {
    /// What a walk with these flags sees.
    #[inline]
    pub(super) fn sight(&self, open: RegionFlags) -> Sight {
        Sight::new(open, self.movable_node)
    }

    /// RAM as a walk with these flags sees it (see the module's table); with none, what is ordinary memory.
    #[must_use]
    pub fn mem_ranges(&self, open: RegionFlags) -> MemRanges<'_> {
        MemRanges { regions: self.memory.regions().iter(), sight: self.sight(open) }
    }

    /// What the linear map covers: all RAM but NOMAP (`for_each_mem_range`).
    #[must_use]
    pub fn mapped_ranges(&self) -> MemRanges<'_> {
        self.mem_ranges(RegionFlags::HOTPLUG | RegionFlags::DRIVER_MANAGED)
    }

    /// RAM that is not in use, lowest first.
    #[must_use]
    pub fn free_ranges(&self, open: RegionFlags) -> FreeRanges<'_> {
        FreeRanges {
            memory: self.memory.regions(),
            reserved: self.reserved.regions(),
            region: 0,
            gap: 0,
            sight: self.sight(open),
        }
    }
}
