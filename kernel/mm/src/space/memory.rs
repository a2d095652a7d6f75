//! The places where address spaces touch memory itself: pages of theirs, and the lowmem pages that hold their
//! lists. Whoever calls owns the page by its record (invariants 1 and 2), and no reference outlives a function.
//!
//! Pages of a space may be mapped in it at the same time. Then the CPU that runs the space can write them only while
//! the caller's lock is not held; a page whose contents are being moved is mapped nowhere (invariant 4).
#![allow(unsafe_code)]

use super::arch::{KmapLocal, KmapSlot};
use super::vma::Vma;
use hal::LinearMap;
use types::{PAGE_SIZE, Pfn, PhysAddr};

/// Zeroes a page.
pub(crate) fn zero_page<K: KmapLocal>(arch: &K, pfn: Pfn) {
    let to = arch.kmap(pfn, KmapSlot::Target);
    // SAFETY: `KmapLocal` gives a pointer to the whole page; it was just allocated, nobody else has it.
    unsafe { to.write_bytes(0, PAGE_SIZE as usize) }
    arch.kunmap(KmapSlot::Target);
}

/// Copies a page to a page that nobody else has.
pub(crate) fn copy_page<K: KmapLocal>(arch: &K, to: Pfn, from: Pfn) {
    let source = arch.kmap(from, KmapSlot::Source);
    let target = arch.kmap(to, KmapSlot::Target);
    // SAFETY: two different pages, each mapped whole by `KmapLocal`; the source isn't written meanwhile (module
    // docs), the target was just allocated.
    unsafe { target.copy_from_nonoverlapping(source, PAGE_SIZE as usize) }
    arch.kunmap(KmapSlot::Target);
    arch.kunmap(KmapSlot::Source);
}

/// Copies out of a page, from `offset` on. The bytes must lie within the page.
pub(crate) fn read_page<K: KmapLocal>(arch: &K, pfn: Pfn, offset: u32, bytes: &mut [u8]) {
    assert!(offset as usize + bytes.len() <= PAGE_SIZE as usize);
    let from = arch.kmap(pfn, KmapSlot::Source);
    // SAFETY: the page is mapped whole, the range checked above; `bytes` is a live slice elsewhere.
    unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(from.add(offset as usize), bytes.len()) }
    arch.kunmap(KmapSlot::Source);
}

/// Copies into a page, from `offset` on. The bytes must lie within the page.
pub(crate) fn write_page<K: KmapLocal>(arch: &K, pfn: Pfn, offset: u32, bytes: &[u8]) {
    assert!(offset as usize + bytes.len() <= PAGE_SIZE as usize);
    let to = arch.kmap(pfn, KmapSlot::Target);
    // SAFETY: as in `read_page`; the page belongs to the space that the caller writes for.
    unsafe { to.add(offset as usize).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    arch.kunmap(KmapSlot::Target);
}

/// The word at `at`, a multiple of 4 in a lowmem page of the caller's.
#[inline]
pub(crate) fn word<L: LinearMap>(linear: &L, at: PhysAddr) -> u32 {
    // SAFETY: `LinearMap` gives a valid pointer; the caller owns the page and has written the word before.
    unsafe { linear.ptr(at).cast::<u32>().read() }
}

/// Sets the word at `at`.
#[inline]
pub(crate) fn set_word<L: LinearMap>(linear: &L, at: PhysAddr, value: u32) {
    // SAFETY: as for `word`.
    unsafe { linear.ptr(at).cast::<u32>().write(value) }
}

/// The first `count` entries of the region list that begins at the lowmem page `at`.
#[inline]
pub(crate) fn vmas<L: LinearMap>(linear: &L, at: Pfn, count: u32) -> &[Vma] {
    // SAFETY: the list is the only owner of the block at `at` (invariant 2), whose first `count` entries it has
    // written; the caller borrows the list as long as the slice.
    unsafe { core::slice::from_raw_parts(linear.ptr(at.addr()).cast::<Vma>(), count as usize) }
}

/// Moves `len` entries within the list from index `from` to index `to`.
pub(crate) fn shift_vmas<L: LinearMap>(linear: &L, at: Pfn, from: u32, to: u32, len: u32) {
    let base = linear.ptr(at.addr()).cast::<Vma>();
    // SAFETY: as for `vmas`; the caller has made sure that both ranges fit its block.
    unsafe { base.add(to as usize).copy_from(base.add(from as usize), len as usize) }
}

/// Writes entry `index` of the list.
pub(crate) fn set_vma<L: LinearMap>(linear: &L, at: Pfn, index: u32, vma: Vma) {
    // SAFETY: as for `shift_vmas`.
    unsafe { linear.ptr(at.addr()).cast::<Vma>().add(index as usize).write(vma) }
}

/// Copies `count` entries to a larger block.
pub(crate) fn move_vmas<L: LinearMap>(linear: &L, from: Pfn, to: Pfn, count: u32) {
    let (source, target) = (linear.ptr(from.addr()).cast::<Vma>(), linear.ptr(to.addr()).cast::<Vma>());
    // SAFETY: two different blocks of the same list, both large enough.
    unsafe { target.copy_from_nonoverlapping(source, count as usize) }
}
