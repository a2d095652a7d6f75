//! The few places where the page allocator touches the pages themselves, always free ones or ones that it is just
//! handing out: nobody else reads or writes them (invariant 1).
//!
//! This is one of the modules with `unsafe` code: writing through the linear map's pointers.
#![allow(unsafe_code)]

use super::guards::Corruption;
use hal::LinearMap;
use types::{PAGE_SIZE, Pfn};

/// Bytes that are compared at once.
const LINE: usize = 64;

/// Fills the block of lowmem at `pfn`.
pub(crate) fn fill(linear: &dyn LinearMap, pfn: Pfn, order: u8, byte: u8) {
    // SAFETY: the block lies in one bank of lowmem, where `LinearMap` promises a valid pointer to its end; it
    // belongs to the allocator at this moment (invariant 1), so nobody else accesses it.
    unsafe { linear.ptr(pfn.addr()).write_bytes(byte, (PAGE_SIZE as usize) << order) }
}

/// Fills a page that is mapped at `at` for the time of the call.
pub(crate) fn fill_mapped(at: *mut u8, byte: u8) {
    // SAFETY: the mapping reaches the whole page, which belongs to the allocator at this moment (invariant 1).
    unsafe { at.write_bytes(byte, PAGE_SIZE as usize) }
}

/// The byte `offset` bytes into the free page at `at`.
pub(crate) fn byte(at: *mut u8, offset: u32) -> u8 {
    // SAFETY: the offset lies in the page, which is mapped; it is read while it is the allocator's, volatile because
    // whoever wrote to it may do so again.
    unsafe { at.add(offset as usize % PAGE_SIZE as usize).read_volatile() }
}

/// Whether the free page at `at` still holds `byte` everywhere; if not, where it does not.
pub(crate) fn check(at: *mut u8, byte: u8) -> Option<Corruption> {
    // SAFETY: as in `fill`; the page was filled when it was freed, so its bytes are initialised, and the slice
    // does not outlive this function.
    let bytes = unsafe { core::slice::from_raw_parts(at, PAGE_SIZE as usize) };
    // Line by line first: almost always there is nothing to be found.
    let clean = [byte; LINE];
    let line = bytes.chunks_exact(LINE).position(|line| line != clean)?;
    let offset = line * LINE + bytes[line * LINE..].iter().position(|&found| found != byte)?;
    let last = bytes.iter().rposition(|&found| found != byte)?;
    Some(Corruption { offset: offset as u32, last: last as u32, found: bytes[offset] })
}
