//! Finding free RAM for an allocation; nothing is changed.
//!
//! Top-down is the default: the base of the highest fit, aligned down, is taken from the highest free range that
//! has one. Only the base is aligned; the size is not rounded. Address 0 stands for failure in Linux, which is
//! why the first page is never found.

use super::iter::bounds;
use super::{ACCESSIBLE, Memblock, NOLEAKTRACE, Region, RegionFlags};
use types::{PAGE_SIZE, PhysAddr, PhysRange};

/// What is looked for: `size` bytes whose base is a multiple of `align`, inside `[start, end)`.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) size: u32,
    pub(super) align: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Wanted {
    /// The highest place in a free range; top-down.
    fn high_in(&self, free: PhysRange) -> Option<u32> {
        let start = free.base().get().clamp(self.start, self.end);
        let end = free.end().get().clamp(self.start, self.end);
        let found = end.checked_sub(self.size)? & !(self.align - 1);
        (found >= start).then_some(found)
    }

    /// The lowest place in a free range; bottom-up.
    fn low_in(&self, free: PhysRange) -> Option<u32> {
        let start = free.base().get().clamp(self.start, self.end);
        let end = free.end().get().clamp(self.start, self.end);
        let found = types::align_up(start, self.align)?;
        (found < end && end - found >= self.size).then_some(found)
    }
}

impl Memblock<'_> {
    /// The address of a free range of `size` bytes in `[start, end)`, its base a multiple of the power of two
    /// `align`. An `end` of [`ACCESSIBLE`] or [`NOLEAKTRACE`] means the current limit; any other end ignores it.
    ///
    /// A size of 0 finds an address all the same: top-down the aligned end of the first suitable range.
    #[must_use]
    pub fn find_in_range(&self, start: u32, end: u32, size: u32, align: u32) -> Option<PhysAddr> {
        let wanted = Wanted { size, align: align.max(1), start, end };
        self.find_mirrored(&wanted).map(|(base, _)| PhysAddr::new(base))
    }

    /// The search with the preference for mirrored memory, when there is any: an address, and the index of the
    /// reserved region above the gap that it lies in.
    #[inline]
    pub(super) fn find_mirrored(&self, wanted: &Wanted) -> Option<(u32, usize)> {
        let mirrored = if self.has_mirror { self.find_mirror(wanted) } else { None };
        mirrored.or_else(|| self.find(wanted, RegionFlags::empty()))
    }

    #[cold]
    fn find_mirror(&self, wanted: &Wanted) -> Option<(u32, usize)> {
        let found = self.find(wanted, RegionFlags::MIRROR);
        if found.is_none() {
            log::warn!("Could not allocate {:#010x} bytes of mirrored memory", wanted.size);
        }
        found
    }

    fn find(&self, wanted: &Wanted, flags: RegionFlags) -> Option<(u32, usize)> {
        let end = match wanted.end {
            ACCESSIBLE | NOLEAKTRACE => self.current_limit,
            end => end,
        };
        let start = wanted.start.max(PAGE_SIZE);
        let wanted = Wanted { start, end: end.max(start), ..*wanted };
        if !self.bottom_up {
            return self.find_top_down(&wanted, flags);
        }
        let mut ranges = self.free_ranges(flags);
        loop {
            let (free, gap) = ranges.next_in_gap()?;
            if let Some(base) = wanted.low_in(free) {
                return Some((base, gap));
            }
        }
    }

    /// What [`super::FreeRanges`] walks, highest first, and without looking closer at gaps that are too small: after some allocations
    /// with large alignments most of the gaps at the top are.
    #[inline]
    fn find_top_down(&self, wanted: &Wanted, flags: RegionFlags) -> Option<(u32, usize)> {
        let sight = self.sight(flags);
        let (mut below, mut end) = (self.reserved.regions(), u32::MAX);
        for memory in self.memory.regions().iter().rev().filter(|region| sight.shows(region)) {
            loop {
                while let [rest @ .., above] = below
                    && end - above.end() < wanted.size
                {
                    (below, end) = (rest, above.base);
                }
                let start = below.last().map_or(0, Region::end);
                if end > memory.base && memory.end() > start {
                    let free = bounds(start.max(memory.base), end.min(memory.end()));
                    if let Some(base) = wanted.high_in(free) {
                        return Some((base, below.len()));
                    }
                }
                // A gap that begins below this region goes on in the next one.
                let Some((above, rest)) = below.split_last().filter(|_| start > memory.base) else { break };
                (below, end) = (rest, above.base);
            }
        }
        None
    }
}
