//! Caches: what they are made of, how they come and go.

use super::{
    DRAIN, DestroyError, MAX_CACHES, MAX_CPUS, SLOTS, Slab, SlabError, geometry::Geometry, lists::PageList,
    options::DebugFlags,
};
use crate::{Gfp, PageSource, Reclaimer};
use core::{mem::MaybeUninit, ptr::NonNull};
use hal::LinearMap;
use types::Order;

/// Called once for each object of a new slab, not at each allocation: the owner frees objects in the state
/// in which it found them.
pub type Ctor = fn(&mut [MaybeUninit<u8>]);

/// The handle of a cache. Neither `Copy` nor `Clone`: destroying the cache consumes it, so none is used after that.
#[derive(Debug, PartialEq, Eq)]
pub struct CacheId(u8);

impl CacheId {
    pub(super) const fn slot(&self) -> usize {
        // The remainder spares the hot paths a bounds check; slots are below it.
        self.0 as usize % SLOTS
    }
}

/// What a cache shall be (`kmem_cache_create`).
#[derive(Clone, Copy, Debug)]
pub struct CacheSpec {
    /// Name in `/proc/slabinfo`.
    pub name: &'static str,
    /// Bytes in an object.
    pub size: u32,
    /// Alignment in bytes, a power of two; 0 for that of a pointer.
    pub align: u32,
    /// Makes objects, at the creation of each slab.
    pub ctor: Option<Ctor>,
    /// Objects can be given back on request (`SLAB_RECLAIM_ACCOUNT`): the pages count as SReclaimable and lie in
    /// RECLAIMABLE pageblocks.
    pub reclaimable: bool,
    /// Objects start at cache lines (`SLAB_HWCACHE_ALIGN`), or at halves of one when they are smaller.
    pub hwcache_align: bool,
    /// Pages from zone DMA, objects in cache lines of their own (`SLAB_CACHE_DMA`).
    pub dma: bool,
}

impl CacheSpec {
    /// A cache of `size` byte objects with no further wishes.
    #[must_use]
    pub const fn new(name: &'static str, size: u32) -> Self {
        Self { name, size, align: 0, ctor: None, reclaimable: false, hwcache_align: false, dma: false }
    }

    fn gfp(&self) -> Gfp {
        let reclaim = if self.reclaimable { Gfp::__RECLAIMABLE } else { Gfp::empty() };
        if self.dma { reclaim | Gfp::__DMA } else { reclaim }
    }

    fn alignment(&self) -> u32 {
        let line = super::DMA_ALIGN;
        if self.dma {
            return self.align.max(line);
        }
        if !self.hwcache_align {
            return self.align.max(4);
        }
        let mut align = line;
        while align > 8 && self.size <= align / 2 {
            align /= 2;
        }
        self.align.max(align)
    }
}

/// See the [module](self).
pub(super) struct Cache {
    pub name: &'static str,
    pub layout: Geometry,
    pub debug: DebugFlags,
    /// Something is to be done at each allocation or free, so no CPU may keep a slab of it.
    pub watched: bool,
    pub ctor: Option<Ctor>,
    /// Added to the flags of each page allocation: zone and migratetype.
    pub gfp: Gfp,
    pub partial: PageList,
    pub full: PageList,
    pub empty: PageList,
    /// All slabs, the frozen ones included.
    pub slabs: u32,
}

impl Cache {
    /// The fields of `kmem_cache_alloc`.
    pub fn alloc_event(&self, object: NonNull<u8>, gfp: Gfp) -> (usize, &'static str, u32, u32, u32) {
        (object.addr().get(), self.name, self.layout.size, self.layout.stride, gfp.bits())
    }

    /// Whether `SReclaimable` counts its pages.
    pub fn reclaimable(&self) -> bool {
        self.gfp.contains(Gfp::__RECLAIMABLE)
    }

    /// Whether free objects are filled with the poison pattern; a constructor's work must not be overwritten.
    pub fn poisons(&self) -> bool {
        self.debug.contains(DebugFlags::POISON) && self.ctor.is_none()
    }
}

impl<L: LinearMap, S: PageSource> Reclaimer<S> for Slab<L> {
    fn reclaim(&mut self, pages: &mut S, _: Gfp, _: Order) -> u32 {
        Slab::reclaim(self, pages)
    }
}

impl<L: LinearMap> Slab<L> {
    /// Creates a cache. Takes no pages until the first allocation.
    ///
    /// # Errors
    /// [`SlabError::BadSize`], [`SlabError::BadAlign`], [`SlabError::TableFull`].
    pub fn cache_create(&mut self, spec: &CacheSpec) -> Result<CacheId, SlabError> {
        if spec.align != 0 && !spec.align.is_power_of_two() {
            return Err(SlabError::BadAlign { align: spec.align });
        }
        let debug = self.options.slub_debug.flags_for(spec.name);
        let layout = Geometry::new(spec.size, spec.alignment(), debug)?;
        let slot = self.caches.iter().position(Option::is_none).ok_or(SlabError::TableFull)?;
        let (name, ctor, gfp) = (spec.name, spec.ctor, spec.gfp());
        let (partial, full, empty) = (PageList::new(), PageList::new(), PageList::new());
        let watched = !debug.is_empty() || !self.options.allows_fast_paths();
        self.caches[slot] =
            Some(Cache { name, layout, debug, watched, ctor, gfp, partial, full, empty, slabs: 0 });
        Ok(CacheId(slot as u8))
    }

    /// Gives the empty slabs of `cache` back (`kmem_cache_shrink`), those that CPUs hold included. Returns the pages freed.
    pub fn cache_shrink<S: PageSource>(&mut self, pages: &mut S, cache: &CacheId) -> u32 {
        self.shrink_slot(pages, cache.slot())
    }

    /// What the page allocator calls when memory is short, and `drop_caches`: the empty slabs of every cache go
    /// back. Returns the pages freed.
    pub fn reclaim<S: PageSource>(&mut self, pages: &mut S) -> u32 {
        (0..MAX_CACHES).map(|slot| self.shrink_slot(pages, slot)).sum()
    }

    fn shrink_slot<S: PageSource>(&mut self, pages: &mut S, slot: usize) -> u32 {
        if self.caches[slot].is_none() {
            return 0;
        }
        for cpu in 0..MAX_CPUS {
            self.thaw(pages, cpu, slot);
            self.thaw(pages, cpu, DRAIN);
        }
        let mut freed = 0;
        while let Some(pfn) = self.cache_mut(slot).empty.pop(pages) {
            freed += self.drop_slab(pages, slot, pfn);
        }
        freed
    }

    /// Ends a cache (`kmem_cache_destroy`); its slabs go back.
    ///
    /// # Errors
    /// [`DestroyError`] when objects are still allocated: each is reported with its address, and the cache stays.
    pub fn cache_destroy<S: PageSource>(
        &mut self,
        pages: &mut S,
        cache: CacheId,
    ) -> Result<(), DestroyError> {
        let slot = cache.slot();
        self.shrink_slot(pages, slot);
        let objects = self.report_leaks(pages, slot);
        if objects > 0 {
            return Err(DestroyError { cache, objects });
        }
        self.caches[slot] = None;
        Ok(())
    }

    /// The cache in `slot`, which is in use: slots come from a [`CacheId`] or from the record of a slab.
    pub(super) fn cache(&self, slot: usize) -> &Cache {
        self.caches[slot].as_ref().expect("slot of a live cache")
    }

    /// As [`Slab::cache`], to be changed.
    pub(super) fn cache_mut(&mut self, slot: usize) -> &mut Cache {
        self.caches[slot].as_mut().expect("slot of a live cache")
    }
}
