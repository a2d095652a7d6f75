//! `free-list`: a sorted list of the free ranges.

use super::{FRAMES, Frames, RUN};
use free_list::{FreeList as List, PAGE_SIZE, PageLayout, PageRange};

/// The list over all frames. Its first entries lie in the value itself, the rest on the heap.
pub struct FreeList(List<16>);

impl FreeList {
    /// All frames are free.
    #[must_use]
    pub fn new() -> Self {
        let mut list = Self(List::new());
        list.give(0, FRAMES);
        list
    }

    fn take(&mut self, count: u32, align: u32) -> Option<u32> {
        let layout =
            PageLayout::from_size_align(count as usize * PAGE_SIZE, align as usize * PAGE_SIZE).ok()?;
        let range = self.0.allocate(layout).ok()?;
        Some((range.start() / PAGE_SIZE) as u32)
    }

    fn give(&mut self, first: u32, count: u32) {
        let bytes = |frames: u32| frames as usize * PAGE_SIZE;
        if let Ok(range) = PageRange::from_start_len(bytes(first), bytes(count)) {
            #[allow(unsafe_code)]
            // SAFETY: the frames are numbers without memory behind them. The list refuses what it has already.
            let given = unsafe { self.0.deallocate(range) };
            debug_assert!(given.is_ok(), "{first}+{count} was free");
        }
    }
}

impl Default for FreeList {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames for FreeList {
    /// A free walks the list twice: 32,768 of them in a random order would take minutes.
    const MANY: u32 = 2_048;

    #[inline]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        self.take(1 << order, 1 << order)
    }

    #[inline]
    fn free(&mut self, first: u32, order: u8) {
        self.give(first, 1 << order);
    }

    fn alloc_run(&mut self) -> Option<u32> {
        self.take(RUN, 1)
    }

    fn free_run(&mut self, first: u32) {
        self.give(first, RUN);
    }
}
