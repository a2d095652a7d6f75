//! Access to a device's registers.
//!
//! Drivers are written against [`Registers`], so that their logic runs on the host against a fake device; on the
//! target it is an [`Mmio`], the one place of this crate that needs `unsafe` (invariant 9): a pointer into a Device
//! mapping that the kernel's `ioremap` made. Accesses are volatile and 32 bits wide; the Device memory type keeps
//! their order and number for one device (ARM DDI 0406C, A3.5.5). Against normal memory they are not ordered:
//! whoever hands a DMA buffer to a device adds the barrier.

use core::ptr::NonNull;

/// Registers of 32 bits, by their offset in bytes.
pub trait Registers {
    /// Reads a register.
    fn read(&self, offset: u32) -> u32;
    /// Writes a register.
    fn write(&self, offset: u32, value: u32);
}

/// A mapped block of device registers. There is one for a block: it is neither `Copy` nor `Clone`.
#[derive(Debug)]
pub struct Mmio {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the kernel's address space, which every CPU shares, and to no other owner.
unsafe impl Send for Mmio {}

impl Mmio {
    /// Registers at `[base, base + len)`.
    ///
    /// # Safety
    /// The range is mapped as Device memory for good, `base` is aligned to 4 bytes, and nothing else accesses the
    /// range while the value lives.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// Bytes in the block.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no registers.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first register's address, for drivers from other crates that keep the block's ownership.
    #[must_use]
    pub const fn into_ptr(self) -> NonNull<u8> {
        self.base
    }

    /// The first `len` bytes, and the rest; `None` when there aren't that many, or when that isn't a multiple of four.
    #[must_use]
    pub fn split_at(self, len: usize) -> Option<(Self, Self)> {
        let rest = self.len.checked_sub(len).filter(|_| len.is_multiple_of(4))?;
        // SAFETY: inside of the mapping, or at its end.
        let base = unsafe { self.base.add(len) };
        Some((Self { base: self.base, len }, Self { base, len: rest }))
    }

    fn register(&self, offset: u32) -> *mut u32 {
        let offset = offset as usize;
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len, "no register at {offset:#x}");
        self.base.as_ptr().wrapping_add(offset).cast()
    }
}

impl Registers for Mmio {
    #[inline]
    fn read(&self, offset: u32) -> u32 {
        // SAFETY: `register` gives an aligned address inside the mapping that `new` was promised.
        unsafe { self.register(offset).read_volatile() }
    }

    #[inline]
    fn write(&self, offset: u32, value: u32) {
        // SAFETY: as in `read`; the registers have no other owner.
        unsafe { self.register(offset).write_volatile(value) }
    }
}

/// Stores to memory before it reach bus masters before any register access after it: DSB ST (ARM DDI 0406C, A3.8.3).
#[inline]
pub fn wmb() {
    // SAFETY: a barrier has no other effect.
    #[cfg(target_arch = "arm")]
    unsafe {
        core::arch::asm!("dsb st", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "arm"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

/// Loads from memory after it happen after every register access before it: DSB.
#[inline]
pub fn rmb() {
    // SAFETY: a barrier has no other effect.
    #[cfg(target_arch = "arm")]
    unsafe {
        core::arch::asm!("dsb sy", options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "arm"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_words_of_the_block() {
        let mut block = [1u32, 2, 3];
        let base = NonNull::from(&mut block).cast();
        // SAFETY: the array is aligned, lives to the end of the test and is only read after the value is gone.
        let mmio = unsafe { Mmio::new(base, 12) };
        mmio.write(4, mmio.read(8) + 4);
        assert_eq!((mmio.len(), mmio.is_empty()), (12, false));
        assert_eq!(block, [1, 7, 3]);
    }

    #[test]
    fn a_block_in_two() {
        let mut block = [1u32, 2, 3];
        let base = NonNull::from(&mut block).cast();
        // SAFETY: as above.
        let whole = || unsafe { Mmio::new(base, 12) };
        assert!(whole().split_at(16).is_none() && whole().split_at(6).is_none());
        let (first, rest) = whole().split_at(4).unwrap();
        assert_eq!((first.len(), rest.len(), first.read(0), rest.read(4)), (4, 8, 1, 3));
        wmb();
        rmb();
    }

    #[test]
    #[should_panic(expected = "no register at 0xc")]
    fn nothing_behind_the_block() {
        let mut block = [0u32; 3];
        // SAFETY: as above.
        let mmio = unsafe { Mmio::new(NonNull::from(&mut block).cast(), 12) };
        mmio.read(12);
    }
}
