//! The `#[global_allocator]`: a first-fit list over the memory that [`init`] gives it.
//!
//! Before [`init`] every allocation fails, and an infallible one ends in a panic that says so.

use arch_armv7::cpu::IrqLock;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use linked_list_allocator::Heap;

struct KernelHeap(IrqLock<Heap>);

#[global_allocator]
static HEAP: KernelHeap = KernelHeap(IrqLock::new(Heap::empty()));

// SAFETY: `Heap` hands out disjoint blocks of the memory that `init`'s caller gave up, under the lock.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate_first_fit(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let Some(ptr) = NonNull::new(ptr) else { return };
        // SAFETY: the caller got `ptr` from `alloc` with this layout.
        unsafe { self.0.lock().deallocate(ptr, layout) };
    }
}

/// Gives the heap its memory.
///
/// # Safety
/// `[start, start + size)` is mapped, writable and owned by nobody else, for good. Called once.
pub unsafe fn init(start: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { HEAP.0.lock().init(start, size) };
}
