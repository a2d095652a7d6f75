//! Half-open ranges of physical memory.

use crate::{PAGE_SIZE, Pfn, PhysAddr};
use core::{fmt, ops::Range};

/// The bytes `[base, base + size)`. The end never exceeds `0xffff_ffff`: as in Linux's memblock on a 32-bit
/// `phys_addr_t`, the last byte of the space can't be part of a range.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PhysRange {
    base: PhysAddr,
    size: u32,
}

impl PhysRange {
    /// `[base, base + size)`, the size clamped so that the end fits.
    #[must_use]
    pub const fn new(base: PhysAddr, size: u32) -> Self {
        let room = u32::MAX - base.get();
        Self { base, size: if size < room { size } else { room } }
    }

    /// `[start, end)`; empty at `start` when `end` lies below it.
    #[must_use]
    pub const fn from_bounds(start: PhysAddr, end: PhysAddr) -> Self {
        Self { base: start, size: end.get().saturating_sub(start.get()) }
    }

    /// The first byte.
    #[must_use]
    pub const fn base(self) -> PhysAddr {
        self.base
    }

    /// Bytes.
    #[must_use]
    pub const fn size(self) -> u32 {
        self.size
    }

    /// The byte after the last.
    #[must_use]
    pub const fn end(self) -> PhysAddr {
        PhysAddr::new(self.base.get() + self.size)
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.size == 0
    }

    /// Whether `addr` lies inside.
    #[must_use]
    pub const fn contains(self, addr: PhysAddr) -> bool {
        addr.get() >= self.base.get() && addr.get() - self.base.get() < self.size
    }

    /// Whether every byte of `other` lies inside.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        other.base.get() >= self.base.get() && other.end().get() <= self.end().get()
    }

    /// Whether the two share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.base.get() < other.end().get() && other.base.get() < self.end().get()
    }

    /// The bytes that lie in both; `None` when there are none.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let start = self.base.max(other.base);
        let end = self.end().min(other.end());
        (start < end).then(|| Self::from_bounds(start, end))
    }

    /// The frames that lie wholly inside.
    #[must_use]
    pub fn pfns_inside(self) -> Range<u32> {
        let start = self.base.get().div_ceil(PAGE_SIZE);
        start..(Pfn::containing(self.end()).get()).max(start)
    }

    /// The frames that the range touches.
    #[must_use]
    pub fn pfns_touched(self) -> Range<u32> {
        Pfn::containing(self.base).get()..self.end().get().div_ceil(PAGE_SIZE)
    }
}

impl fmt::Display for PhysRange {
    /// `[0x26400000-0x26bfffff]`: Linux's form, with the last byte rather than the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}-{:#010x}]", self.base, self.end().get().wrapping_sub(1))
    }
}

impl fmt::Debug for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhysRange{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_of_the_space_is_out_of_reach() {
        let r = PhysRange::new(PhysAddr::new(0xffff_f000), u32::MAX);
        assert_eq!(r.size(), 0xfff);
        assert_eq!(r.pfns_inside(), 0xfffff..0xfffff);
        assert_eq!(r.pfns_touched(), 0xfffff..0x10_0000);
    }

    #[test]
    fn frames_inside_and_touched() {
        let r = PhysRange::new(PhysAddr::new(0x1001), 0x1fff);
        assert_eq!(r.pfns_inside(), 2..3);
        assert_eq!(r.pfns_touched(), 1..3);
        let small = PhysRange::new(PhysAddr::new(0x1001), 0x10);
        assert!(small.pfns_inside().is_empty());
    }
}
