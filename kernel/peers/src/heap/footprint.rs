//! How much memory a heap needs for what is alive in it.
//!
//! A heap that can't say what it holds is charged for each 4 KiB page that ever had a part of an object in it, as the
//! resident set of a process would be; what it keeps in other pages is not seen, to its advantage.

use super::{Heap, arena::ARENA_SIZE};
use core::alloc::Layout;
use core::ptr::NonNull;

const PAGE: usize = 4096;
const PAGES: usize = ARENA_SIZE / PAGE;

/// The largest amounts, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Peak {
    /// Asked for and not yet freed.
    pub live: usize,
    /// Of the arena, for that.
    pub memory: usize,
}

/// A heap that is watched.
pub struct Footprint<'h, H> {
    heap: &'h mut H,
    live: usize,
    touched: [u32; PAGES / 32],
    pages: usize,
    peak: Peak,
}

impl<'h, H: Heap> Footprint<'h, H> {
    /// Watches `heap`, which is fresh.
    pub fn new(heap: &'h mut H) -> Self {
        Self { heap, live: 0, touched: [0; PAGES / 32], pages: 0, peak: Peak::default() }
    }

    /// The largest amounts so far.
    #[must_use]
    pub fn peak(&self) -> Peak {
        self.peak
    }

    /// Pages are told apart by their address within the arena, which is aligned to its size.
    fn touch(&mut self, ptr: NonNull<u8>, size: usize) {
        let offset = ptr.addr().get() % ARENA_SIZE;
        for page in offset / PAGE..=(offset + size - 1) / PAGE {
            let (word, bit) = (page / 32 % (PAGES / 32), 1 << (page % 32));
            self.pages += usize::from(self.touched[word] & bit == 0);
            self.touched[word] |= bit;
        }
    }

    fn came(&mut self, ptr: NonNull<u8>, size: usize) {
        self.live += size;
        self.touch(ptr, size);
        let memory = self.heap.held().unwrap_or(self.pages * PAGE);
        self.peak.live = self.peak.live.max(self.live);
        self.peak.memory = self.peak.memory.max(memory);
    }
}

// SAFETY: forwards to a heap.
unsafe impl<H: Heap> Heap for Footprint<'_, H> {
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let ptr = self.heap.alloc(layout)?;
        self.came(ptr, layout.size());
        Some(ptr)
    }

    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        self.live -= layout.size();
        // SAFETY: the caller's promise.
        unsafe { self.heap.free(ptr, layout) }
    }

    unsafe fn realloc(&mut self, ptr: NonNull<u8>, layout: Layout, new_size: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        let new = unsafe { self.heap.realloc(ptr, layout, new_size) }?;
        self.live -= layout.size();
        self.came(new, new_size);
        Some(new)
    }

    fn held(&self) -> Option<usize> {
        self.heap.held()
    }
}
