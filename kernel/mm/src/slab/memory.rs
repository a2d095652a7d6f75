//! The only place that touches the memory behind the objects.
//!
//! `unsafe`: raw reads and writes through the linear map. What makes them sound, at every call: the address
//! lies in a page whose record says [`Slab`](crate::PageState::Slab) or [`LargeKmalloc`](crate::PageState::LargeKmalloc),
//! so the slab allocator owns it (invariants 1 and 2), and either in the allocator's own words (free bits, red zones, tracks), or in an
//! object that is free, is being handed out or is being taken back, which nobody else may touch meanwhile.

#![allow(unsafe_code)]

use core::{mem::MaybeUninit, ptr::NonNull};
use hal::LinearMap;
use types::PhysAddr;

/// The word at `at`, which is a multiple of 4.
pub(super) fn read(linear: &impl LinearMap, at: PhysAddr) -> u32 {
    // SAFETY: invariant 2 as in the module docs; aligned, and every word read was written by `write` before.
    unsafe { linear.ptr(at).cast::<u32>().read() }
}

/// Sets the word at `at`, which is a multiple of 4.
pub(super) fn write(linear: &impl LinearMap, at: PhysAddr, value: u32) {
    // SAFETY: invariant 2 as in the module docs; aligned.
    unsafe { linear.ptr(at).cast::<u32>().write(value) }
}

/// Fills `len` bytes at `at`.
pub(super) fn fill(linear: &impl LinearMap, at: PhysAddr, byte: u8, len: u32) {
    // SAFETY: invariant 2 as in the module docs; the range lies in one slab.
    unsafe { linear.ptr(at).write_bytes(byte, len as usize) }
}

/// The first of `len` bytes at `at` that differs from `byte`, its offset and its value; all were written by `fill`.
pub(super) fn mismatch(linear: &impl LinearMap, at: PhysAddr, byte: u8, len: u32) -> Option<(u32, u8)> {
    // SAFETY: invariant 2 as in the module docs; the bytes are initialized, and nobody may write them meanwhile.
    let bytes = unsafe { core::slice::from_raw_parts(linear.ptr(at), len as usize) };
    bytes.iter().position(|&b| b != byte).map(|i| (i as u32, bytes[i]))
}

/// Zeroes a whole object.
pub(super) fn zero(object: NonNull<u8>, len: u32) {
    // SAFETY: the object is being handed out, and is `len` bytes long (invariant 2).
    unsafe { object.as_ptr().write_bytes(0, len as usize) }
}

/// Moves the contents of an object to a larger one.
pub(super) fn copy(from: NonNull<u8>, to: NonNull<u8>, len: u32) {
    // SAFETY: `from` is allocated and given up by its owner, `to` was just allocated; both hold `len` bytes.
    unsafe { to.as_ptr().copy_from_nonoverlapping(from.as_ptr(), len as usize) }
}

/// The object at `at` as its constructor sees it.
pub(super) fn construct(linear: &impl LinearMap, at: PhysAddr, len: u32, ctor: super::Ctor) {
    // SAFETY: invariant 2 as in the module docs: the object is in a slab that nobody has seen yet.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(linear.ptr(at).cast::<MaybeUninit<u8>>(), len as usize) };
    ctor(bytes);
}

/// The pointer to the object at `at`.
pub(super) fn object(linear: &impl LinearMap, at: PhysAddr) -> NonNull<u8> {
    // SAFETY: the linear map starts far above address 0, so no pointer into it is null.
    unsafe { NonNull::new_unchecked(linear.ptr(at)) }
}

/// The byte at `at`, in a slab that is reported.
pub(super) fn byte(linear: &impl LinearMap, at: PhysAddr) -> u8 {
    // SAFETY: invariant 2 as in the module docs. RAM always holds some value; a racing owner's write at worst
    // shows up late in the report, hence volatile.
    unsafe { linear.ptr(at).read_volatile() }
}
