//! Banks of memory, with holes between them, and the linear map over them.
//!
//! The only unsafe code of this crate. No reference to the memory is ever made, only copies through pointers, so
//! that the code under test may hold its own.
#![allow(unsafe_code)]

use hal::LinearMap;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use types::{PAGE_SIZE, PhysAddr, PhysRange};

struct Bank {
    range: PhysRange,
    memory: NonNull<u8>,
}

impl Bank {
    fn layout(range: PhysRange) -> Layout {
        Layout::from_size_align(range.size() as usize, PAGE_SIZE as usize).expect("a bank fits a layout")
    }

    fn new(range: PhysRange) -> Self {
        assert!(!range.is_empty() && range.base().is_aligned(PAGE_SIZE), "bad bank {range}");
        let layout = Self::layout(range);
        // SAFETY: the layout's size isn't 0, as asserted.
        let memory =
            NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        Self { range, memory }
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout; nothing uses it after the `Ram` that owned it.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout(self.range)) }
    }
}

/// Physical memory in banks.
pub struct Ram {
    banks: Vec<Bank>,
}

impl Ram {
    /// Zeroed memory at `(base, size)` in bytes, bases multiples of the page size, each bank for itself.
    ///
    /// # Panics
    /// If banks overlap, are empty or misaligned.
    #[must_use]
    pub fn new(banks: &[(u32, u32)]) -> Self {
        let mut banks: Vec<_> =
            banks.iter().map(|&(base, size)| Bank::new(PhysRange::new(PhysAddr::new(base), size))).collect();
        banks.sort_by_key(|bank| bank.range.base());
        assert!(banks.windows(2).all(|pair| !pair[0].range.overlaps(pair[1].range)), "banks overlap");
        Self { banks }
    }

    /// The banks, by address.
    pub fn banks(&self) -> impl Iterator<Item = PhysRange> {
        self.banks.iter().map(|bank| bank.range)
    }

    /// Whether all of `[pa, pa + len)` is memory of one bank.
    #[must_use]
    pub fn has(&self, pa: PhysAddr, len: u32) -> bool {
        self.banks.iter().any(|bank| bank.range.covers(PhysRange::new(pa, len)))
    }

    fn checked_ptr(&self, pa: PhysAddr, len: usize) -> *mut u8 {
        assert!(self.has(pa, len as u32), "no memory at {pa}, {len} bytes");
        self.ptr(pa)
    }

    /// Copies memory out.
    ///
    /// # Panics
    /// Outside of the banks.
    pub fn read(&self, pa: PhysAddr, bytes: &mut [u8]) {
        let from = self.checked_ptr(pa, bytes.len());
        // SAFETY: the source is inside a bank, the target is a live slice elsewhere.
        unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) }
    }

    /// Copies into memory.
    ///
    /// # Panics
    /// Outside of the banks.
    pub fn write(&self, pa: PhysAddr, bytes: &[u8]) {
        let to = self.checked_ptr(pa, bytes.len());
        // SAFETY: the target is inside a bank, and no reference into banks exists.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// The little-endian word at `pa`.
    ///
    /// # Panics
    /// Outside of the banks.
    #[must_use]
    pub fn read_u32(&self, pa: PhysAddr) -> u32 {
        let mut bytes = [0; 4];
        self.read(pa, &mut bytes);
        u32::from_le_bytes(bytes)
    }
}

// SAFETY: the pointer goes to the end of the allocation behind the bank, which lives as long as `self`; banks are
// separate allocations and don't overlap.
unsafe impl LinearMap for Ram {
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        let bank = self.banks.iter().find(|bank| bank.range.contains(pa));
        let bank = bank.unwrap_or_else(|| panic!("{pa} is not in the linear map"));
        let offset = (pa.get() - bank.range.base().get()) as usize;
        // SAFETY: the offset is inside the allocation.
        unsafe { bank.memory.as_ptr().add(offset) }
    }

    fn phys(&self, ptr: *const u8) -> Option<PhysAddr> {
        self.banks.iter().find_map(|bank| {
            let offset = ptr.addr().checked_sub(bank.memory.addr().get())?;
            let offset = u32::try_from(offset).ok().filter(|&offset| offset < bank.range.size())?;
            bank.range.base().checked_add(offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_and_holes() {
        let ram = Ram::new(&[(0x8000_0000, 0x3000), (0x2000_0000, 0x1000)]);
        assert_eq!(ram.banks().next().map(PhysRange::base), Some(PhysAddr::new(0x2000_0000)));
        ram.write(PhysAddr::new(0x8000_2ffe), &[1, 2]);
        assert_eq!(ram.read_u32(PhysAddr::new(0x8000_2ffc)), 0x0201_0000);
        assert!(!ram.has(PhysAddr::new(0x8000_2fff), 2));
        for pa in [0x2000_0fff, 0x8000_0000, 0x8000_2fff].map(PhysAddr::new) {
            assert_eq!(ram.phys(ram.ptr(pa)), Some(pa));
        }
        let elsewhere = 0u8;
        assert_eq!(ram.phys(&raw const elsewhere), None);
    }

    #[test]
    #[should_panic(expected = "not in the linear map")]
    fn a_hole_has_no_pointer() {
        Ram::new(&[(0x8000_0000, 0x1000)]).ptr(PhysAddr::new(0x8000_1000));
    }
}
