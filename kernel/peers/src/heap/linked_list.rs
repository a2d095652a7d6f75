//! `linked_list_allocator`: first fit over a sorted list of holes.

use super::{
    Heap,
    arena::{ARENA_SIZE, Arena, Borrowed},
};
use core::alloc::Layout;
use core::ptr::NonNull;

pub(super) struct LinkedList<'a> {
    heap: linked_list_allocator::Heap,
    _arena: Borrowed<'a>,
}

impl<'a> LinkedList<'a> {
    pub(super) fn new(arena: &'a mut Arena) -> Self {
        let arena = Borrowed::new(arena);
        // SAFETY: the arena is this heap's alone, for its lifetime.
        let heap = unsafe { linked_list_allocator::Heap::new(arena.0.as_ptr(), ARENA_SIZE) };
        Self { heap, _arena: arena }
    }
}

// SAFETY: forwards to an allocator that keeps the contract over the arena.
unsafe impl Heap for LinkedList<'_> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.heap.allocate_first_fit(layout).ok()
    }

    #[inline]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.heap.deallocate(ptr, layout) }
    }
}
