//! `bitmap-allocator`: a tree of 16-bit words.

use super::{FRAMES, Frames, RUN};
use alloc::boxed::Box;
use bitmap_allocator::{BitAlloc, BitAlloc64K};

/// `BitAlloc64K` over all frames.
pub struct Bitmap(Box<BitAlloc64K>);

impl Bitmap {
    /// All frames are free.
    #[must_use]
    pub fn new() -> Self {
        // It is 9 KiB: copied to where it stays, without a stop on a kernel's stack.
        let mut bits = Box::<BitAlloc64K>::new_uninit();
        bits.write(BitAlloc64K::DEFAULT);
        #[allow(unsafe_code)]
        // SAFETY: just written.
        let mut bits = unsafe { bits.assume_init() };
        bits.insert(0..FRAMES as usize);
        Self(bits)
    }
}

impl Default for Bitmap {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames for Bitmap {
    #[inline]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        let first = match order {
            0 => self.0.alloc(),
            _ => self.0.alloc_contiguous(None, 1 << order, usize::from(order)),
        };
        first.map(|first| first as u32)
    }

    #[inline]
    fn free(&mut self, first: u32, order: u8) {
        match order {
            0 => self.0.dealloc(first as usize),
            _ => self.0.dealloc_contiguous(first as usize, 1 << order),
        };
    }

    fn alloc_run(&mut self) -> Option<u32> {
        self.0.alloc_contiguous(None, RUN as usize, 0).map(|first| first as u32)
    }

    fn free_run(&mut self, first: u32) {
        self.0.dealloc_contiguous(first as usize, RUN as usize);
    }
}
