//! Reads and writes of DMA memory: the only unsafe code of this crate.
//!
//! A [`Region`] stands for memory that its holder owns: pages behind an ownership token, a block of a pool, or a
//! buffer borrowed for a streaming mapping while it is the CPU's turn (invariants 2 and 6). A device may write a
//! coherent region at any time, so no reference to one is ever made, and each access happens once, as written.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::slice;

/// Owned memory: see the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a region is an address; who may use it is decided by the token that it belongs to, which is owned.
unsafe impl Send for Region {}

impl Region {
    /// The `len` bytes at `start`, which the caller owns and which stay valid as long as the region is used; `None`
    /// for a null pointer.
    #[inline]
    pub fn new(start: *mut u8, len: usize) -> Option<Self> {
        NonNull::new(start).map(|start| Self { start, len })
    }

    pub fn of_slice(bytes: &mut [u8]) -> Self {
        Self { start: NonNull::from(&mut *bytes).cast(), len: bytes.len() }
    }

    pub const fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the byte at `offset`, of which `len` follow.
    ///
    /// # Panics
    /// When those aren't all inside.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {offset} leave a DMA buffer of {} bytes", self.len);
        // SAFETY: inside of the region, as just checked.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// The part at `offset`.
    #[inline]
    pub fn part(&self, offset: usize, len: usize) -> Self {
        let start = self.at(offset, len);
        // SAFETY: derived from a non-null pointer by staying inside of its memory.
        Self { start: unsafe { NonNull::new_unchecked(start) }, len }
    }

    #[inline]
    pub fn zero(&self) {
        // SAFETY: owned, `len` bytes.
        unsafe { self.start.as_ptr().write_bytes(0, self.len) }
    }

    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let from = self.at(offset, bytes.len());
        // SAFETY: inside; `bytes` is borrowed exclusively and so is elsewhere.
        unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) }
    }

    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let to = self.at(offset, bytes.len());
        // SAFETY: inside; a borrowed slice can't overlap owned memory.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    pub fn read_u32(&self, offset: usize) -> u32 {
        let from = self.at(offset, 4).cast::<u32>();
        assert!(from.is_aligned(), "misaligned word at {offset}");
        // SAFETY: inside and aligned. Volatile: a device may write it.
        u32::from_le(unsafe { from.read_volatile() })
    }

    pub fn write_u32(&self, offset: usize, word: u32) {
        let to = self.at(offset, 4).cast::<u32>();
        assert!(to.is_aligned(), "misaligned word at {offset}");
        // SAFETY: inside and aligned. Volatile: a device may read it.
        unsafe { to.write_volatile(word.to_le()) }
    }

    /// The bytes of a streaming buffer while it is the CPU's.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the holder is a `DmaStream` owned by the CPU, which borrows the buffer; no device writes it now
        // (invariant 6).
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// As [`Region::bytes`], to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`; the buffer is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}
