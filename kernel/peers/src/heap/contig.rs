//! Contig's slab allocator over Contig's page allocator, both with the arena for all of their memory.

use super::{
    Heap,
    arena::{ARENA_SIZE, Arena, Borrowed},
};
use alloc::{boxed::Box, vec::Vec};
use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use hal::LinearMap;
use mm::pages::{Hooks, PageAllocator, Setup};
use mm::slab::{Caller, Slab, SlabOptions};
use mm::{Gfp, Page, PageState};
use types::{PAGE_SIZE, PhysAddr, PhysRange};

/// The physical address that the arena has: any will do.
const BASE: PhysAddr = PhysAddr::new(0x8000_0000);
const GFP: Gfp = Gfp::KERNEL.union(Gfp::__NOWARN);
const WHO: Caller = Caller::new(0, 0).expect("there is a CPU 0");

/// The arena as RAM.
#[derive(Clone, Copy)]
struct Ram(NonNull<u8>);

// SAFETY: the pointers go into the arena, which outlives the allocators.
unsafe impl LinearMap for Ram {
    #[inline]
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        self.0.as_ptr().wrapping_add(pa.get().wrapping_sub(BASE.get()) as usize)
    }

    #[inline]
    fn phys(&self, ptr: *const u8) -> Option<PhysAddr> {
        let offset = ptr.addr().wrapping_sub(self.0.addr().get());
        (offset < ARENA_SIZE).then(|| PhysAddr::new(BASE.get() + offset as u32))
    }
}

pub(super) struct Contig<'s, 'm> {
    slab: &'s mut Slab<Ram>,
    pages: &'s mut PageAllocator<'m>,
    _arena: Borrowed<'s>,
}

impl Contig<'_, '_> {
    /// Runs `f` on allocators that have the arena.
    pub(super) fn with<R>(arena: &mut Arena, f: impl FnOnce(&mut Contig<'_, '_>) -> R) -> R {
        let arena = Borrowed::new(arena);
        let ram = Ram(arena.0);
        let memory = PhysRange::new(BASE, ARENA_SIZE as u32);
        let layout = PageAllocator::layout([memory].into_iter()).expect("one bank");
        let mut records: Vec<MaybeUninit<Page>> = Vec::new();
        records.resize_with(layout.records(), MaybeUninit::uninit);
        let setup = Setup {
            memory: [memory].into_iter(),
            free: [memory].into_iter(),
            dma_end: None,
            highmem_start: None,
            cpus: 1,
        };
        let (mut pages, mut slab) = (Box::new_uninit(), Box::new_uninit());
        let pages = PageAllocator::new_in(&mut pages, setup, &mut records, &ram, Hooks::default())
            .expect("the records are as many as the layout says");
        let slab = Slab::new_in(&mut slab, ram, SlabOptions::default());
        f(&mut Contig { slab, pages, _arena: arena })
    }
}

// SAFETY: the slab allocator keeps the contract over the pages, which are the arena's (invariants 1 and 2).
unsafe impl Heap for Contig<'_, '_> {
    #[inline]
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.slab.alloc(self.pages, WHO, layout, GFP).ok()
    }

    #[inline]
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let freed = self.slab.free(self.pages, WHO, ptr.as_ptr(), layout);
        debug_assert!(freed.is_ok(), "{freed:?}");
    }

    #[inline]
    unsafe fn realloc(&mut self, ptr: NonNull<u8>, layout: Layout, new_size: usize) -> Option<NonNull<u8>> {
        self.slab.realloc(self.pages, WHO, ptr, layout, new_size, GFP).ok()
    }

    fn held(&self) -> Option<usize> {
        let buddy = self.pages.buddy();
        let pages = buddy.pages_in_use(PageState::Slab) + buddy.pages_in_use(PageState::LargeKmalloc);
        Some((pages * PAGE_SIZE) as usize)
    }
}
