//! `kmalloc` and its family: size classes and large blocks.

use super::{CacheSpec, Caller, DMA_ALIGN, FreeError, SLOTS, Slab, SlabError, memory, release::Place};
use crate::{Frames, Gfp, PageSource, PageState};
use core::{alloc::Layout, ptr::NonNull};
use hal::LinearMap;
use types::{Order, PAGE_SIZE, Pfn};

/// Sizes of the classes in bytes.
pub const KMALLOC_CLASSES: [u32; CLASSES] = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192];
/// The largest request in bytes: a block of [`Order::MAX`].
pub const KMALLOC_MAX: u32 = PAGE_SIZE << Order::MAX.get();
/// Where `kmalloc(0)` points (`ZERO_SIZE_PTR`): nowhere, and freeing it is fine.
pub const ZERO_SIZE_ADDR: usize = 16;

const CLASSES: usize = 13;
pub(super) const SMALL_MAX: usize = 8192;
/// Caches of a kind start at this slot.
const RECLAIMABLE: usize = CLASSES;
const DMA: usize = 2 * CLASSES;
/// The class of `(size - 1) / 8`, up to 192 bytes.
const CLASS_BY_8: [u8; 24] = [0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6];
/// The class that serves DMA requests of a class: those whose objects would share cache lines go to the next.
const DMA_CLASS: [u8; CLASSES] = [3, 3, 3, 3, 5, 5, 6, 7, 8, 9, 10, 11, 12];

const NAMES: [[&str; CLASSES]; 3] = [
    [
        "kmalloc-8",
        "kmalloc-16",
        "kmalloc-32",
        "kmalloc-64",
        "kmalloc-96",
        "kmalloc-128",
        "kmalloc-192",
        "kmalloc-256",
        "kmalloc-512",
        "kmalloc-1k",
        "kmalloc-2k",
        "kmalloc-4k",
        "kmalloc-8k",
    ],
    [
        "kmalloc-rcl-8",
        "kmalloc-rcl-16",
        "kmalloc-rcl-32",
        "kmalloc-rcl-64",
        "kmalloc-rcl-96",
        "kmalloc-rcl-128",
        "kmalloc-rcl-192",
        "kmalloc-rcl-256",
        "kmalloc-rcl-512",
        "kmalloc-rcl-1k",
        "kmalloc-rcl-2k",
        "kmalloc-rcl-4k",
        "kmalloc-rcl-8k",
    ],
    [
        "dma-kmalloc-8",
        "dma-kmalloc-16",
        "dma-kmalloc-32",
        "dma-kmalloc-64",
        "dma-kmalloc-96",
        "dma-kmalloc-128",
        "dma-kmalloc-192",
        "dma-kmalloc-256",
        "dma-kmalloc-512",
        "dma-kmalloc-1k",
        "dma-kmalloc-2k",
        "dma-kmalloc-4k",
        "dma-kmalloc-8k",
    ],
];

/// The class for 1 to 8192 bytes.
#[inline(always)]
pub(super) fn class(size: usize) -> usize {
    let last = size as u32 - 1;
    match CLASS_BY_8.get((last / 8) as usize) {
        Some(&class) => class as usize,
        None => (u32::BITS - last.leading_zeros() - 1) as usize,
    }
}

/// The slot of the cache for 1 to 8192 bytes.
#[inline(always)]
pub(super) fn slot(size: usize, gfp: Gfp) -> usize {
    let class = class(size);
    let slot = if !gfp.intersects(Gfp::__DMA.union(Gfp::__RECLAIMABLE)) {
        class
    } else if gfp.contains(Gfp::__DMA) {
        DMA + DMA_CLASS[class % CLASSES] as usize
    } else {
        RECLAIMABLE + class
    };
    slot % SLOTS
}

/// The size to ask for so that the alignment of `layout` comes with it: objects are aligned to the largest power of two that
/// divides their class.
#[inline(always)]
pub(super) fn size_for(layout: Layout) -> usize {
    let size = layout.size();
    if layout.align() <= 8 || size > SMALL_MAX {
        return size.max(if layout.align() <= 8 { 0 } else { layout.align() });
    }
    let whole = KMALLOC_CLASSES[class(size.max(1)) % CLASSES] as usize;
    if layout.align() <= whole & whole.wrapping_neg() {
        size
    } else {
        size.max(layout.align()).next_power_of_two()
    }
}

pub(super) fn large_order(size: usize) -> Result<Order, SlabError> {
    let pages = u32::try_from(size.div_ceil(PAGE_SIZE as usize)).unwrap_or(u32::MAX);
    Order::for_pages(pages).ok_or(SlabError::BadSize { size: u32::try_from(size).unwrap_or(u32::MAX) })
}

/// Gives a large block back.
pub(super) fn free_large<S: PageSource>(pages: &mut S, pfn: u32, order: u8) {
    if let Some(order) = Order::new(order) {
        pages.free_pages(Frames::from_raw(Pfn::new(pfn), order));
    }
}

impl<L: LinearMap> Slab<L> {
    /// Creates the caches in the slots where [`slot`] looks for them.
    pub(super) fn create_kmalloc_caches(&mut self) {
        for (kind, names) in NAMES.iter().enumerate() {
            for (&name, &size) in names.iter().zip(&KMALLOC_CLASSES) {
                let natural = size & size.wrapping_neg();
                let spec = CacheSpec {
                    align: natural,
                    reclaimable: kind == 1,
                    dma: kind == 2,
                    ..CacheSpec::new(name, size)
                };
                // The table is empty and the specifications are valid; the handles are never needed, as nobody ends them.
                let _ = self.cache_create(&spec);
            }
        }
    }

    /// `size` bytes, up to [`KMALLOC_MAX`]: aligned to the largest power of two that divides the size class (so powers of two
    /// naturally), at least to 8; above 8 KiB to the block. With [`Gfp::DMA`]: from zone DMA, DMA-safe.
    ///
    /// # Errors
    /// [`SlabError`].
    #[inline]
    pub fn kmalloc<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        size: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, SlabError> {
        if size.wrapping_sub(1) >= SMALL_MAX {
            return self.kmalloc_large(pages, size, gfp);
        }
        let object = self.take(pages, who, slot(size, gfp), gfp)?;
        trace::kmalloc(object.addr().get(), size, gfp.bits());
        Ok(object)
    }

    /// The hot half of [`Slab::kmalloc`] for requests without `__ZERO`, for a wrapper that keeps its own cold half out of line:
    /// `None` when the slow half must see to it.
    #[inline(always)]
    pub fn kmalloc_hot(&mut self, who: Caller, size: usize, gfp: Gfp) -> Option<NonNull<u8>> {
        if size.wrapping_sub(1) >= SMALL_MAX || gfp.contains(Gfp::__ZERO) {
            return None;
        }
        let object = self.take_hot(who, slot(size, gfp))?;
        trace::kmalloc(object.addr().get(), size, gfp.bits());
        Some(object)
    }

    /// The hot half of [`Slab::alloc`], as [`Slab::kmalloc_hot`].
    #[inline(always)]
    pub fn alloc_hot(&mut self, who: Caller, layout: Layout, gfp: Gfp) -> Option<NonNull<u8>> {
        self.kmalloc_hot(who, size_for(layout), gfp)
    }

    /// The hot half of [`Slab::kfree`]: `true` when the object has been taken back. Otherwise nothing has changed,
    /// and [`Slab::kfree`] does it or finds what is wrong.
    #[inline(always)]
    pub fn kfree_hot(&mut self, who: Caller, object: *const u8) -> bool {
        let guess = self.last[who.cpu()] as usize % SLOTS;
        let taken = self.active[who.cpu()][guess].push(object);
        if taken {
            trace::kfree(object.addr());
        }
        taken
    }

    /// The hot half of [`Slab::free`], as [`Slab::kfree_hot`].
    #[inline(always)]
    pub fn free_hot(&mut self, who: Caller, object: *const u8, layout: Layout) -> bool {
        let size = size_for(layout);
        let small = size.wrapping_sub(1) < SMALL_MAX;
        let taken = small && self.active[who.cpu()][slot(size, Gfp::empty())].push(object);
        if taken {
            trace::kfree(object.addr());
        }
        taken
    }

    /// As [`Slab::kmalloc`], zeroed.
    ///
    /// # Errors
    /// [`SlabError`].
    #[inline]
    pub fn kzalloc<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        size: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, SlabError> {
        self.kmalloc(pages, who, size, gfp | Gfp::__ZERO)
    }

    #[cold]
    #[inline(never)]
    fn kmalloc_large<S: PageSource>(
        &mut self,
        pages: &mut S,
        size: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, SlabError> {
        if size == 0 {
            let nowhere = core::ptr::without_provenance_mut(ZERO_SIZE_ADDR);
            return NonNull::new(nowhere).ok_or(SlabError::BadSize { size: 0 });
        }
        let order = large_order(size)?;
        let zero = gfp.contains(Gfp::__ZERO);
        let gfp = (gfp - (Gfp::__MOVABLE | Gfp::__HIGHMEM | Gfp::__ZERO)) | Gfp::__COMP;
        let frames = pages.alloc_pages(gfp, order, PageState::LargeKmalloc).map_err(SlabError::NoPages)?;
        let (pfn, order) = frames.into_raw();
        let block = memory::object(&self.linear, pfn.addr());
        trace::kmalloc(block.addr().get(), size, gfp.bits());
        if zero {
            memory::zero(block, PAGE_SIZE << order.get());
        }
        Ok(block)
    }

    /// Frees what [`Slab::kmalloc`] gave, an object of any cache, or nothing (null).
    ///
    /// # Errors
    /// [`FreeError`]; nothing has changed then.
    #[inline]
    pub fn kfree<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        object: *const u8,
    ) -> Result<(), FreeError> {
        if self.kfree_hot(who, object) {
            return Ok(());
        }
        self.kfree_any(pages, who, object)
    }

    #[inline(never)]
    fn kfree_any<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        object: *const u8,
    ) -> Result<(), FreeError> {
        if object.addr() <= ZERO_SIZE_ADDR {
            return Ok(());
        }
        self.release(pages, who, None, object)?;
        trace::kfree(object.addr());
        Ok(())
    }

    /// How many bytes the object at `object` really has (`ksize`): all of them may be used.
    ///
    /// # Errors
    /// [`FreeError`], with the same checks as a free.
    pub fn ksize<S: PageSource>(&self, pages: &S, object: *const u8) -> Result<u32, FreeError> {
        if object.addr() <= ZERO_SIZE_ADDR {
            return Ok(0);
        }
        match self.place(pages, object)? {
            Place::Object { slot, pfn, index } => self.allocated_size(pages, object, slot, pfn, index),
            Place::Large { order, .. } => Ok(PAGE_SIZE << order),
        }
    }

    fn allocated_size<S: PageSource>(
        &self,
        pages: &S,
        object: *const u8,
        slot: usize,
        pfn: u32,
        index: u32,
    ) -> Result<u32, FreeError> {
        let cache = self.cache(slot);
        if self.true_bits(pages, slot, pfn, index / 32) & (1 << (index % 32)) != 0 {
            return Err(FreeError::DoubleFree { addr: object.addr(), cache: cache.name });
        }
        Ok(cache.layout.size)
    }

    /// Whether no other object shares a cache line with this one, so that a device may write to it.
    ///
    /// # Errors
    /// [`FreeError`] when it is not an allocated object.
    pub fn is_dma_safe<S: PageSource>(&self, pages: &S, object: *const u8) -> Result<bool, FreeError> {
        let size = self.ksize(pages, object)?;
        match self.place(pages, object)? {
            Place::Object { slot, .. } => {
                let layout = &self.cache(slot).layout;
                Ok((layout.stride | layout.start).is_multiple_of(DMA_ALIGN) && size > 0)
            }
            Place::Large { .. } => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_gets_the_smallest_class_that_holds_it() {
        for size in 1..=SMALL_MAX {
            let expected = KMALLOC_CLASSES.iter().position(|&c| c as usize >= size).unwrap();
            assert_eq!(class(size), expected, "{size}");
        }
    }

    #[test]
    fn alignment_comes_with_the_size() {
        for size in (1..10_000usize).step_by(if cfg!(miri) { 371 } else { 1 }) {
            for shift in 0..14 {
                let size_asked = size_for(Layout::from_size_align(size, 1 << shift).unwrap());
                assert!(size_asked >= size);
                let natural = if size_asked > SMALL_MAX {
                    large_order(size_asked).unwrap().pages() * PAGE_SIZE
                } else {
                    let whole = KMALLOC_CLASSES[class(size_asked)];
                    whole & whole.wrapping_neg()
                };
                assert!(natural >= 1 << shift, "{size} {shift}");
            }
        }
    }
}
