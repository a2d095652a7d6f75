//! One sorted table of regions.
//!
//! Kept after every change: sorted by base, no overlap, no two neighbours that touch with equal flags. The one
//! exception is Linux's: capping memory isolates without merging, which the next change makes good; `settled`
//! remembers that, so that all other changes only look at the neighbours of what they touched.

use super::{Region, RegionFlags};
use core::ops::Range;
use types::PhysRange;

/// Regions over a caller's array. An empty table holds one region of size 0 at 0, as Linux's does.
pub struct Table<'a> {
    regions: &'a mut [Region],
    count: usize,
    total: u32,
    settled: bool,
    /// Where a grown array lies; `None` for the caller's first one.
    pub(super) home: Option<PhysRange>,
}

impl<'a> Table<'a> {
    pub(super) fn new(regions: &'a mut [Region]) -> Self {
        regions[0] = Region::EMPTY;
        Self { regions, count: 1, total: 0, settled: true, home: None }
    }

    /// The regions, lowest first. Never empty: see [`Table::is_empty`].
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions[..self.count]
    }

    /// Whether there is nothing but the region that stands for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.regions[0].size == 0
    }

    /// Entries in the array (`max`).
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.regions.len()
    }

    /// The sum of the sizes, in bytes, as the counter has it: [`super::Memblock::trim`] does not correct it.
    #[must_use]
    pub const fn total_size(&self) -> u32 {
        self.total
    }

    /// Moves the regions to a larger array and returns where the old one lay, if it was a grown one.
    pub(super) fn move_to(&mut self, array: &'a mut [Region], home: PhysRange) -> Option<PhysRange> {
        array[..self.count].copy_from_slice(&self.regions[..self.count]);
        array[self.count..].fill(Region::EMPTY);
        self.regions = array;
        self.home.replace(home)
    }

    /// Fills an empty table; false when it isn't one.
    pub(super) fn set_first(&mut self, range: PhysRange, flags: RegionFlags) -> bool {
        if !self.is_empty() {
            return false;
        }
        if self.total != 0 {
            log::warn!("memblock: empty table with a total size of {:#010x}", self.total);
        }
        self.regions[0] = Region::new(range.base().get(), range.end().get(), flags);
        self.total = range.size();
        true
    }

    /// The first region that ends above `addr`.
    pub(super) fn first_ending_above(&self, addr: u32) -> usize {
        self.regions().partition_point(|r| r.end() <= addr)
    }

    /// The common cases in one go: a non-empty range that lies wholly in the gap before region `i`, with room for
    /// one more region. False, and nothing done, when it is another case.
    pub(super) fn fill_gap(&mut self, i: usize, range: PhysRange, flags: RegionFlags) -> bool {
        self.grow_down(i, range, flags) || self.fill_gap_apart(i, range, flags)
    }

    /// The most common one: the range lies directly below region `i`, which is of the same kind, and above a rest of the gap.
    #[inline]
    fn grow_down(&mut self, i: usize, range: PhysRange, flags: RegionFlags) -> bool {
        if i >= self.count || self.count == self.regions.len() {
            return false;
        }
        let (below, above) = self.regions.split_at_mut_checked(i).unwrap_or_default();
        let gap_left = below.last().is_none_or(|before| before.end() < range.base().get());
        match above.first_mut() {
            Some(next)
                if gap_left && next.base == range.end().get() && next.flags == flags && self.settled =>
            {
                next.base = range.base().get();
                next.size += range.size();
                self.total += range.size();
                true
            }
            _ => false,
        }
    }

    fn fill_gap_apart(&mut self, i: usize, range: PhysRange, flags: RegionFlags) -> bool {
        let new = Region::new(range.base().get(), range.end().get(), flags);
        let regions = self.regions();
        let above = i == 0 || regions.get(i - 1).is_some_and(|before| before.end() <= new.base);
        let below = regions.get(i).is_none_or(|next| next.base >= new.end());
        if !above || !below || self.is_empty() || !self.settled || self.count == self.regions.len() {
            return false;
        }
        if !self.put(i, new) {
            self.join(i);
        }
        true
    }

    /// Merges region `i` into the one before it, if they belong together.
    fn join(&mut self, i: usize) {
        if i == 0 || i >= self.count || !self.regions[i - 1].merges_with(&self.regions[i]) {
            return;
        }
        self.regions[i - 1].size += self.regions[i].size;
        self.close_gap(i, i + 1);
    }

    /// How many pieces of `range` no region covers.
    pub(super) fn uncovered(&self, range: PhysRange) -> usize {
        let (mut at, end) = (range.base().get(), range.end().get());
        let mut pieces = 0;
        for r in &self.regions()[self.first_ending_above(at)..] {
            if r.base >= end {
                break;
            }
            pieces += usize::from(r.base > at);
            at = r.end();
        }
        pieces + usize::from(at < end)
    }

    /// Covers the uncovered pieces of a non-empty range with new regions; the caller has made room.
    pub(super) fn fill(&mut self, range: PhysRange, flags: RegionFlags) {
        let (mut at, end) = (range.base().get(), range.end().get());
        let first = self.first_ending_above(at);
        let mut i = first;
        while i < self.count && self.regions[i].base < end {
            let r = self.regions[i];
            if r.base > at {
                warn_of_flags(flags, &r);
                i += usize::from(self.put(i, Region::new(at, r.base, flags)));
            }
            at = r.end();
            i += 1;
        }
        if at < end {
            self.put(i, Region::new(at, end, flags));
        }
        self.merge(first.saturating_sub(1)..i + 2);
    }

    /// Puts a region before index `i`, or lets a neighbour that it continues grow; true if it was inserted.
    fn put(&mut self, i: usize, new: Region) -> bool {
        self.total = self.total.wrapping_add(new.size);
        if let Some(next) = self.regions[..self.count].get_mut(i).filter(|next| new.merges_with(next)) {
            next.base = new.base;
            next.size += new.size;
            return false;
        }
        if let Some(before) = self.regions[..i].last_mut().filter(|before| before.merges_with(&new)) {
            before.size += new.size;
            return false;
        }
        self.insert(i, new);
        true
    }

    fn insert(&mut self, i: usize, new: Region) {
        for j in (i..self.count).rev() {
            self.regions[j + 1] = self.regions[j];
        }
        self.regions[i] = new;
        self.count += 1;
    }

    /// Splits the regions that cross a boundary of a non-empty range, so that it is a whole number of regions,
    /// and says which; the caller has made room for two more.
    pub(super) fn isolate(&mut self, range: PhysRange) -> Range<usize> {
        let (base, end) = (range.base().get(), range.end().get());
        let mut first = self.first_ending_above(base);
        if self.crosses(first, base) {
            self.split(first, base);
            first += 1;
        }
        let mut last = first;
        while last < self.count && self.regions[last].base < end {
            if self.crosses(last, end) {
                self.split(last, end);
            }
            last += 1;
        }
        first..last
    }

    fn crosses(&self, i: usize, addr: u32) -> bool {
        i < self.count && self.regions[i].base < addr && addr < self.regions[i].end()
    }

    fn split(&mut self, i: usize, addr: u32) {
        let Region { base, flags, .. } = self.regions[i];
        self.regions[i] = Region::new(addr, self.regions[i].end(), flags);
        self.insert(i, Region::new(base, addr, flags));
    }

    /// Deletes whole regions.
    pub(super) fn delete(&mut self, which: Range<usize>) {
        if which.is_empty() {
            return;
        }
        for r in &self.regions[which.clone()] {
            self.total = self.total.wrapping_sub(r.size);
        }
        self.regions.copy_within(which.end..self.count, which.start);
        self.count -= which.len();
        self.stand_for_nothing();
    }

    /// Deletes the regions for which `keep` says no, which can leave neighbours that would merge.
    pub(super) fn retain_unmerged(&mut self, mut keep: impl FnMut(usize, &Region) -> bool) {
        let mut kept = 0;
        for i in 0..self.count {
            let r = self.regions[i];
            if keep(i, &r) {
                self.regions[kept] = r;
                kept += 1;
            } else {
                self.total = self.total.wrapping_sub(r.size);
            }
        }
        self.count = kept;
        self.settled = false;
        self.stand_for_nothing();
    }

    fn stand_for_nothing(&mut self) {
        if self.count == 0 {
            if self.total != 0 {
                log::warn!("memblock: table is empty but its total size is {:#010x}", self.total);
            }
            self.regions[0] = Region::EMPTY;
            self.count = 1;
        }
    }

    /// Changes the flags of whole regions and merges.
    pub(super) fn change_flags(&mut self, which: Range<usize>, change: impl Fn(RegionFlags) -> RegionFlags) {
        for r in &mut self.regions[which.clone()] {
            r.flags = change(r.flags);
        }
        self.merge(which.start.saturating_sub(1)..which.end + 1);
    }

    /// Replaces the bounds of a region inside its old ones without a word to the counter.
    pub(super) fn shrink_silently(&mut self, i: usize, base: u32, end: u32) {
        let flags = self.regions[i].flags;
        self.regions[i] = Region::new(base, end, flags);
    }

    /// Merges neighbours among the regions of `among`; all of them when an earlier call left some unmerged.
    fn merge(&mut self, among: Range<usize>) {
        let among = if self.settled { among.start..among.end.min(self.count) } else { 0..self.count };
        self.settled = true;
        let mut kept = among.start;
        for i in among.start + 1..among.end {
            let r = self.regions[i];
            if self.regions[kept].merges_with(&r) {
                self.regions[kept].size += r.size;
            } else {
                kept += 1;
                if kept != i {
                    self.regions[kept] = r;
                }
            }
        }
        self.close_gap(kept + 1, among.end);
    }

    fn close_gap(&mut self, to: usize, from: usize) {
        if to < from {
            self.regions.copy_within(from..self.count, to);
            self.count -= from - to;
        }
    }
}

fn warn_of_flags(flags: RegionFlags, beside: &Region) {
    if flags != beside.flags {
        log::warn!(
            "memblock: adding flags {:#x} beside {} with {:#x}",
            flags.bits(),
            beside.range(),
            beside.flags.bits()
        );
    }
}
