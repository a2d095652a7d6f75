//! Checkers around allocators: they panic at the first thing that is wrong.

use peers::frames::{FRAMES, Frames, RUN};
use peers::heap::Heap;
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;

/// What is given out, by start: its length.
#[derive(Default)]
struct Ranges(BTreeMap<usize, usize>);

impl Ranges {
    fn add(&mut self, start: usize, len: usize) {
        let before = self.0.range(..start + len).next_back();
        assert!(before.is_none_or(|(&at, &size)| at + size <= start), "{start:#x}+{len:#x} overlaps");
        self.0.insert(start, len);
    }

    fn remove(&mut self, start: usize, len: usize) {
        assert_eq!(self.0.remove(&start), Some(len), "{start:#x} was not given out like this");
    }
}

/// Frames that don't overlap, are aligned, and are of the instance.
pub struct CheckedFrames<'a, F> {
    inner: &'a mut F,
    given: Ranges,
    pub allocations: usize,
}

impl<'a, F: Frames> CheckedFrames<'a, F> {
    pub fn new(inner: &'a mut F) -> Self {
        Self { inner, given: Ranges::default(), allocations: 0 }
    }

    fn note(&mut self, first: u32, count: u32) -> u32 {
        assert!(first + count <= FRAMES, "{first}+{count} is not of the instance");
        self.given.add(first as usize, count as usize);
        self.allocations += 1;
        first
    }

    pub fn in_use(&self) -> usize {
        self.given.0.len()
    }
}

impl<F: Frames> Frames for CheckedFrames<'_, F> {
    const MANY: u32 = F::MANY;

    fn alloc(&mut self, order: u8) -> Option<u32> {
        let first = self.inner.alloc(order)?;
        assert_eq!(first % (1 << order), 0, "{first} is not aligned to its order {order}");
        Some(self.note(first, 1 << order))
    }

    fn free(&mut self, first: u32, order: u8) {
        self.given.remove(first as usize, 1 << order);
        self.inner.free(first, order);
    }

    fn alloc_run(&mut self) -> Option<u32> {
        let first = self.inner.alloc_run()?;
        Some(self.note(first, RUN))
    }

    fn free_run(&mut self, first: u32) {
        self.given.remove(first as usize, RUN as usize);
        self.inner.free_run(first);
    }
}

/// Objects that don't overlap, are aligned, lie in one arena, and keep their contents.
pub struct CheckedHeap<'a, H> {
    inner: &'a mut H,
    given: Ranges,
    lowest: usize,
    highest: usize,
    pub allocations: usize,
}

impl<'a, H: Heap> CheckedHeap<'a, H> {
    pub fn new(inner: &'a mut H) -> Self {
        Self { inner, given: Ranges::default(), lowest: usize::MAX, highest: 0, allocations: 0 }
    }

    fn note(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let at = ptr.addr().get();
        assert!(at.is_multiple_of(layout.align()), "{ptr:?} is not aligned to {}", layout.align());
        self.given.add(at, layout.size());
        self.lowest = self.lowest.min(at);
        self.highest = self.highest.max(at + layout.size());
        assert!(self.highest - self.lowest <= peers::heap::ARENA_SIZE, "{ptr:?} is in no arena");
        self.allocations += 1;
        // SAFETY: the heap gave out that many bytes.
        unsafe { ptr.write_bytes(pattern(ptr), layout.size()) };
    }

    fn check(&self, ptr: NonNull<u8>, len: usize, was: NonNull<u8>) {
        // SAFETY: given out and filled by `note`, or moved from where that was done.
        let bytes = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), len) };
        let damage = bytes.iter().position(|&byte| byte != pattern(was));
        assert_eq!(damage, None, "the contents of {was:?} are damaged");
    }

    pub fn in_use(&self) -> usize {
        self.given.0.len()
    }
}

fn pattern(ptr: NonNull<u8>) -> u8 {
    (ptr.addr().get() >> 3) as u8 ^ 0x5a
}

// SAFETY: forwards to a heap.
unsafe impl<H: Heap> Heap for CheckedHeap<'_, H> {
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let ptr = self.inner.alloc(layout)?;
        self.note(ptr, layout);
        Some(ptr)
    }

    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        self.check(ptr, layout.size(), ptr);
        self.given.remove(ptr.addr().get(), layout.size());
        // SAFETY: the caller's promise.
        unsafe { self.inner.free(ptr, layout) };
    }

    unsafe fn realloc(&mut self, ptr: NonNull<u8>, layout: Layout, new_size: usize) -> Option<NonNull<u8>> {
        self.check(ptr, layout.size(), ptr);
        self.given.remove(ptr.addr().get(), layout.size());
        // SAFETY: the caller's promise.
        let new = unsafe { self.inner.realloc(ptr, layout, new_size) }?;
        self.check(new, layout.size().min(new_size), ptr);
        self.note(new, Layout::from_size_align(new_size, layout.align()).unwrap());
        Some(new)
    }

    fn held(&self) -> Option<usize> {
        self.inner.held()
    }
}
