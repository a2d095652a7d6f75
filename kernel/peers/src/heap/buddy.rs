//! `buddy_system_allocator::Heap`.

use super::{
    Heap,
    arena::{ARENA_SIZE, Arena, Borrowed},
};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Blocks up to 4 MiB.
pub(super) struct BuddySystem<'a> {
    heap: buddy_system_allocator::Heap<23>,
    _arena: Borrowed<'a>,
}

impl<'a> BuddySystem<'a> {
    pub(super) fn new(arena: &'a mut Arena) -> Self {
        let arena = Borrowed::new(arena);
        let mut heap = buddy_system_allocator::Heap::new();
        // SAFETY: the arena is this heap's alone, for its lifetime.
        unsafe { heap.init(arena.0.as_ptr().expose_provenance(), ARENA_SIZE) };
        Self { heap, _arena: arena }
    }
}

// SAFETY: forwards to an allocator that keeps the contract over the arena.
unsafe impl Heap for BuddySystem<'_> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.heap.alloc(layout).ok()
    }

    #[inline]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.heap.dealloc(ptr, layout) }
    }
}
