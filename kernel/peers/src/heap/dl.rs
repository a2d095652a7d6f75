//! `dlmalloc`, over a system that hands out the arena piece by piece and takes nothing back.

use super::{
    Heap,
    arena::{ARENA_SIZE, Arena, Borrowed},
};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};
use dlmalloc::{Allocator, Dlmalloc};

/// The arena, and how much of it has been handed out.
struct System {
    start: NonNull<u8>,
    used: Cell<usize>,
}

// SAFETY: the pointer is to an arena that only this value hands out.
unsafe impl Send for System {}

// SAFETY: hands out each part of the arena once.
unsafe impl Allocator for System {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let used = self.used.get();
        match used.checked_add(size) {
            Some(end) if end <= ARENA_SIZE => {
                self.used.set(end);
                (self.start.as_ptr().wrapping_add(used), size, 0)
            }
            _ => (null_mut(), 0, 0),
        }
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        4096
    }
}

pub(super) struct DlMalloc<'a> {
    malloc: Dlmalloc<System>,
    _arena: Borrowed<'a>,
}

impl<'a> DlMalloc<'a> {
    pub(super) fn new(arena: &'a mut Arena) -> Self {
        let arena = Borrowed::new(arena);
        let malloc = Dlmalloc::new_with_allocator(System { start: arena.0, used: Cell::new(0) });
        Self { malloc, _arena: arena }
    }
}

// SAFETY: forwards to an allocator that keeps the contract over the arena.
unsafe impl Heap for DlMalloc<'_> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: any size and alignment are fine.
        NonNull::new(unsafe { self.malloc.malloc(layout.size(), layout.align()) })
    }

    #[inline]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.malloc.free(ptr.as_ptr(), layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn realloc(&mut self, ptr: NonNull<u8>, layout: Layout, new_size: usize) -> Option<NonNull<u8>> {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: the caller's promise.
        NonNull::new(unsafe { self.malloc.realloc(ptr.as_ptr(), size, align, new_size) })
    }
}
