//! `rlsf`: two-level segregated fit.

use super::{
    Heap,
    arena::{ARENA_SIZE, Arena, Borrowed},
};
use core::alloc::Layout;
use core::ptr::NonNull;
use rlsf::Tlsf;

/// 16 size classes of the first level reach far beyond the arena.
pub(super) struct Rlsf<'a> {
    tlsf: Tlsf<'a, u32, u32, 20, 16>,
    _arena: Borrowed<'a>,
}

impl<'a> Rlsf<'a> {
    pub(super) fn new(arena: &'a mut Arena) -> Self {
        let arena = Borrowed::new(arena);
        let mut tlsf = Tlsf::new();
        let block = NonNull::slice_from_raw_parts(arena.0, ARENA_SIZE);
        // SAFETY: the arena is this heap's alone, for its lifetime.
        unsafe { tlsf.insert_free_block_ptr(block) };
        Self { tlsf, _arena: arena }
    }
}

// SAFETY: forwards to an allocator that keeps the contract over the arena.
unsafe impl Heap for Rlsf<'_> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.tlsf.allocate(layout)
    }

    #[inline]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.tlsf.deallocate(ptr, layout.align()) }
    }

    #[inline]
    unsafe fn realloc(&mut self, ptr: NonNull<u8>, layout: Layout, new_size: usize) -> Option<NonNull<u8>> {
        let new_layout = Layout::from_size_align(new_size, layout.align()).ok()?;
        // SAFETY: the caller's promise.
        unsafe { self.tlsf.reallocate(ptr, new_layout) }
    }
}
