//! `buddy_system_allocator::FrameAllocator`: a `BTreeSet` an order, whose nodes come from the global allocator.

use super::{FRAMES, Frames, RUN};
use buddy_system_allocator::FrameAllocator;

/// The allocator over all frames. It rounds a run up to a power of two: 48 MiB to 64 MiB.
pub struct BuddySystem(FrameAllocator<17>);

impl BuddySystem {
    /// All frames are free.
    #[must_use]
    pub fn new() -> Self {
        let mut frames = FrameAllocator::new();
        frames.add_frame(0, FRAMES as usize);
        Self(frames)
    }
}

impl Default for BuddySystem {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames for BuddySystem {
    #[inline]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        self.0.alloc(1 << order).map(|first| first as u32)
    }

    #[inline]
    fn free(&mut self, first: u32, order: u8) {
        self.0.dealloc(first as usize, 1 << order);
    }

    fn alloc_run(&mut self) -> Option<u32> {
        self.0.alloc(RUN as usize).map(|first| first as u32)
    }

    fn free_run(&mut self, first: u32) {
        self.0.dealloc(first as usize, RUN as usize);
    }
}
