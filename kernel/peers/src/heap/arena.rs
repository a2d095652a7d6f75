//! The memory behind the heaps: one block of the global allocator.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Bytes of an arena, and what it is aligned to: a pageblock of Contig.
pub const ARENA_SIZE: usize = 4 << 20;

/// 4 MiB of memory. A heap borrows it for as long as it lives.
#[derive(Debug)]
pub struct Arena(NonNull<u8>);

impl Arena {
    const LAYOUT: Layout = match Layout::from_size_align(ARENA_SIZE, ARENA_SIZE) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two is an alignment"),
    };

    /// Zeroed memory; `None` if there is not enough.
    #[must_use]
    pub fn new() -> Option<Self> {
        // SAFETY: the layout's size is not 0.
        NonNull::new(unsafe { alloc_zeroed(Self::LAYOUT) }).map(Self)
    }

    /// The first byte.
    pub(super) fn start(&mut self) -> NonNull<u8> {
        self.0
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout; heaps borrow the arena, so none is left.
        unsafe { dealloc(self.0.as_ptr(), Self::LAYOUT) }
    }
}

/// An arena that is borrowed.
#[derive(Debug)]
pub(super) struct Borrowed<'a>(pub(super) NonNull<u8>, PhantomData<&'a mut Arena>);

impl<'a> Borrowed<'a> {
    pub(super) fn new(arena: &'a mut Arena) -> Self {
        Self(arena.start(), PhantomData)
    }
}
