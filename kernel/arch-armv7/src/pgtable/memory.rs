//! Reads and writes of table entries through the linear map: the only unsafe code of this module.
//!
//! An entry is a naturally aligned word, and all accesses are volatile, so a table walker sees the old entry or
//! the new one, never a mixture (ARM DDI 0406C, A3.5.3).

use hal::LinearMap;
use types::{PAGE_SIZE, Pfn, PhysAddr};

/// Bytes in an entry of either level.
pub const ENTRY: u32 = 4;

/// The place of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(PhysAddr);

impl Slot {
    /// Entry `index` of the table at `table`.
    pub const fn new(table: PhysAddr, index: u32) -> Self {
        Self(PhysAddr::new(table.get() + index * ENTRY))
    }

    /// The entry `count` further on.
    pub const fn add(self, count: u32) -> Self {
        Self::new(self.0, count)
    }

    /// A pointer to the entry.
    pub fn ptr<L: LinearMap>(self, lin: &L) -> *mut u32 {
        lin.ptr(self.0).cast()
    }

    /// The entry.
    pub fn read<L: LinearMap>(self, lin: &L) -> u32 {
        // SAFETY: the slot lies in a table that the caller owns, in lowmem, and is a multiple of four; the
        // linear map's contract makes the pointer valid (invariant 2: a table page has one owner).
        unsafe { self.ptr(lin).read_volatile() }
    }

    /// The index of the first of `count` entries from here on that `is` says yes to.
    #[inline]
    pub fn position<L: LinearMap>(self, lin: &L, count: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let first = self.ptr(lin);
        // SAFETY: as for `read`; the caller's entries are all in one table.
        (0..count).find(|&index| is(unsafe { first.wrapping_add(index as usize).read_volatile() }))
    }

    /// Overwrites `count` entries, each with a number that is `step` more than the one before.
    #[inline]
    pub fn fill<L: LinearMap>(self, lin: &L, count: u32, raw: u32, step: u32) {
        let first = self.ptr(lin);
        let mut raw = raw;
        for index in 0..count {
            // SAFETY: as for `position`.
            unsafe { first.wrapping_add(index as usize).write_volatile(raw) };
            raw = raw.wrapping_add(step);
        }
    }

    /// Replaces `count` entries, each by what `new` makes of it.
    #[inline]
    pub fn update<L: LinearMap>(self, lin: &L, count: u32, new: impl Fn(u32) -> u32) {
        let first = self.ptr(lin);
        for index in 0..count {
            let entry = first.wrapping_add(index as usize);
            // SAFETY: as for `position`.
            unsafe { entry.write_volatile(new(entry.read_volatile())) };
        }
    }

    /// Overwrites the entry.
    pub fn write<L: LinearMap>(self, lin: &L, raw: u32) {
        // SAFETY: as for `read`.
        unsafe { self.ptr(lin).write_volatile(raw) }
    }
}

/// Makes a page a table without entries.
pub fn clear_page<L: LinearMap>(lin: &L, page: Pfn) {
    // SAFETY: the page was supplied to the table, which owns all of its bytes (invariant 2).
    unsafe { lin.ptr(page.addr()).write_bytes(0, PAGE_SIZE as usize) }
}
