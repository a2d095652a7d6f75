//! The `#[global_allocator]`: a first-fit list over a piece of memblock until the slab allocator is up, kmalloc then.
//!
//! A block goes back to where it came from: the boot heap's addresses tell.

use crate::memory::{self, caller};
use arch_armv7::cpu::IrqLock;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use linked_list_allocator::Heap;
use mm::Gfp;

struct KernelHeap {
    boot: IrqLock<Heap>,
    slab: AtomicBool,
}

#[global_allocator]
static HEAP: KernelHeap = KernelHeap { boot: IrqLock::new(Heap::empty()), slab: AtomicBool::new(false) };

/// What the context allows: code that runs with interrupts off can't sleep.
fn gfp() -> Gfp {
    if memory::in_atomic() { Gfp::ATOMIC } else { Gfp::KERNEL }
}

// SAFETY: both allocators hand out disjoint blocks that fit the layout; a block is given back to its own.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !self.slab.load(Ordering::Relaxed) {
            return self
                .boot
                .lock()
                .allocate_first_fit(layout)
                .map_or(core::ptr::null_mut(), NonNull::as_ptr);
        }
        let gfp = gfp();
        if let Some(object) = hot::objects::alloc(layout, gfp) {
            return object.as_ptr();
        }
        let object = memory::with(|mm| mm.slab.alloc(mm.pages, caller(), layout, gfp));
        object.and_then(Result::ok).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(ptr) else { return };
        if hot::objects::free(ptr, layout) {
            return;
        }
        {
            let mut boot = self.boot.lock();
            if (boot.bottom()..boot.top()).contains(&ptr) {
                // SAFETY: the block lies in the boot heap, so it was allocated there, with this layout.
                unsafe { boot.deallocate(block, layout) };
                return;
            }
        }
        // A wrong address has been reported by the slab allocator, which is unharmed; nothing else is left to do.
        let _ = memory::with(|mm| mm.slab.free(mm.pages, caller(), ptr, layout));
    }
}

/// Gives the boot heap its memory.
///
/// # Safety
/// `[start, start + size)` is mapped, writable and owned by nobody else, for good. Called once.
pub unsafe fn init(start: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { HEAP.boot.lock().init(start, size) };
}

/// From now on the slab allocator serves.
pub fn use_slab() {
    HEAP.slab.store(true, Ordering::Relaxed);
}

/// Addresses of the boot heap, which stays in use.
pub fn boot_heap() -> core::ops::Range<u32> {
    let boot = HEAP.boot.lock();
    boot.bottom().addr() as u32..boot.top().addr() as u32
}
