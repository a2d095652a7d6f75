//! `talc`: boundary tags and bins.

use super::{
    Heap,
    arena::{ARENA_SIZE, Arena, Borrowed},
};
use core::alloc::Layout;
use core::ptr::NonNull;
use talc::{DefaultBinning, base::Talc, source::Manual};

pub(super) struct TalcHeap<'a> {
    talc: Talc<Manual, DefaultBinning>,
    _arena: Borrowed<'a>,
}

impl<'a> TalcHeap<'a> {
    pub(super) fn new(arena: &'a mut Arena) -> Self {
        let arena = Borrowed::new(arena);
        let mut talc = Talc::new(Manual);
        // SAFETY: the arena is this heap's alone, for its lifetime.
        let claimed = unsafe { talc.claim(arena.0.as_ptr(), ARENA_SIZE) };
        debug_assert!(claimed.is_some(), "the arena is large enough for the bins");
        Self { talc, _arena: arena }
    }
}

// SAFETY: forwards to an allocator that keeps the contract over the arena.
unsafe impl Heap for TalcHeap<'_> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the layouts of a `Heap` are not empty.
        unsafe { self.talc.allocate(layout) }
    }

    #[inline]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.talc.deallocate(ptr.as_ptr(), layout) }
    }

    unsafe fn realloc(&mut self, ptr: NonNull<u8>, layout: Layout, new_size: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        if unsafe { self.talc.try_realloc_in_place(ptr.as_ptr(), layout, new_size) } {
            return Some(ptr);
        }
        let new = self.alloc(Layout::from_size_align(new_size, layout.align()).ok()?)?;
        // SAFETY: the new memory is as large as the smaller of the two; the old one is the caller's.
        unsafe {
            new.as_ptr().copy_from_nonoverlapping(ptr.as_ptr(), layout.size().min(new_size));
            self.free(ptr, layout);
        }
        Some(new)
    }
}
