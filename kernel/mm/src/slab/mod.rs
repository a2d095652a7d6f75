//! Objects smaller than a page: `kmem_cache`, and `kmalloc` over Linux's size classes.
//!
//! ```text
//! Page record (state Slab, aux = cache)             a slab of n objects, 2^order pages, naturally aligned
//!   word 0  next    word 1  prev, or FROZEN | cpu   +------+------+------+-----+------+-------+----------+
//!   word 2  n <= 32: a bit for each free object  -> | 0    | 1    | 2    | ... | n-1  | waste | free bits|
//!           n >  32: objects in use                 +------+------+------+-----+------+-------+----------+
//!                                                      stride bytes each              only if n > 32, at the end
//! Active[cpu][cache]   the 32 free bits that the CPU works on, of the one slab that is frozen for it
//! Active[cpu][DRAIN]   the same for a slab of any cache whose objects the CPU is freeing one after another
//! ```
//!
//! Free objects are bits, not a list threaded through the objects: so whether an object is free is *exact* (a second
//! free is found with one test), a write after free can't break the allocator, and a new slab needs no pass
//! over its objects. An allocation takes the lowest bit: the object that was freed last comes back soon, while it is cached.
//!
//! A slab is in one place at a time: frozen for a CPU (in one of two ways), or in its cache's `partial`, `full` or `empty` list (linked
//! through the page records). Of the empty ones [`KEEP_EMPTY`] stay, the rest go back to the page allocator. The
//! counters of a frozen slab are brought up to date when it is thawed; that keeps them out of the hot paths.
//!
//! Every free is checked, always: foreign and reserved memory, an address that is not the start of an object,
//! an object of another cache, a double free; each is a [`FreeError`] with the address and the owner, after a
//! report in the form of Linux, and nothing has changed then. Caches with options (`slub_debug`, `init_on_free`,
//! `failslab`) are never frozen, so the hot paths don't ask for them.
//!
//! **DMA-safe alignment.** Linux on ARM makes 64 bytes the smallest kmalloc. Here the small classes stay, and the promise is:
//! an object never shares a cache line ([`DMA_ALIGN`]) with another if it was asked for with [`Gfp::DMA`] (the `dma-kmalloc-*`
//! caches) or if its class is a multiple of 64 (64, 128, 192, and every larger one). [`Slab::is_dma_safe`] tells.
//!
//! Keeps invariants 1 (pages change hands only through [`PageSource`]), 2 and 8. No global and no lock: the CPU
//! is handed in with [`Caller`]. `unsafe` is confined to `memory.rs`, `active.rs` and `build.rs`.
//! Sources: Bonwick, "The Slab Allocator" (1994) for caches and constructors; Linux `mm/slub.c`, `mm/slab_common.c` for the
//! names, formats and classes.

mod active;
mod build;
mod cache;
mod debug;
mod drain;
mod error;
mod geometry;
mod info;
mod kmalloc;
mod lists;
mod memory;
mod options;
mod places;
mod refill;
mod release;
mod report;
mod resize;
mod validate;

#[cfg(test)]
pub(crate) mod tests;

pub use cache::{CacheId, CacheSpec, Ctor};
pub use debug::Damage;
pub use error::{DestroyError, FreeError, SlabError};
pub use info::{CacheInfo, SlabTotals};
pub use kmalloc::{KMALLOC_CLASSES, KMALLOC_MAX, ZERO_SIZE_ADDR};
pub use options::{DebugFlags, SlabHooks, SlabOptions, SlubDebug};
pub use resize::ReallocError;
pub use validate::Inconsistency;

use crate::{FaultAttr, Gfp, PageSource};
use active::Active;
use cache::Cache;
use core::{mem::MaybeUninit, ptr::NonNull};
use hal::LinearMap;

/// How many caches there can be, those of kmalloc included.
pub const MAX_CACHES: usize = SLOTS - 1;
/// Slots for [`Active`] records of a CPU: one for each cache and the drain.
const SLOTS: usize = 64;
/// The slot of the drain.
const DRAIN: usize = MAX_CACHES;
/// How many CPUs there can be.
pub const MAX_CPUS: usize = 4;
/// Bytes that a DMA-safe object is a multiple of, in place and size: the largest cache line of an ARMv7-A (`ARCH_DMA_MINALIGN`).
pub const DMA_ALIGN: u32 = 64;
/// Empty slabs that a cache keeps, so that a load that swings around a slab's edge does not take and free pages.
pub const KEEP_EMPTY: u32 = 1;

/// Who calls: the CPU (interrupts are off, so it stays), and the code address for owner tracking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    cpu: u8,
    addr: u32,
}

impl Caller {
    /// Code at `addr` (0 when unknown) that runs on CPU `cpu`; `None` when there can't be such a CPU.
    #[must_use]
    pub const fn new(cpu: usize, addr: u32) -> Option<Self> {
        if cpu < MAX_CPUS { Some(Self { cpu: cpu as u8, addr }) } else { None }
    }

    const fn cpu(self) -> usize {
        // The remainder spares the hot paths a bounds check; `new` has seen to it.
        self.cpu as usize % MAX_CPUS
    }
}

/// All caches. See the [module](self). What the hot paths use comes first, where an instruction can reach it.
#[repr(C)]
pub struct Slab<L> {
    /// The slot that each CPU last took from or drained to: the first guess of a `kfree` that is told no size.
    last: [u8; MAX_CPUS],
    linear: L,
    active: [[Active; SLOTS]; MAX_CPUS],
    /// What each CPU last freed to off the hot path ([`drain`]).
    freed_to: [u32; MAX_CPUS],
    caches: [Option<Cache>; MAX_CACHES],
    options: SlabOptions,
    totals: SlabTotals,
}

impl<L: LinearMap> Slab<L> {
    /// An allocator over the memory that `linear` reaches, with the kmalloc caches in place, built where it stays: it is
    /// several KiB, and a kernel stack is small. Takes no pages yet.
    pub fn new_in(slot: &mut MaybeUninit<Self>, linear: L, options: SlabOptions) -> &mut Self {
        let slab = build::without_caches(slot, linear, options);
        slab.create_kmalloc_caches();
        slab
    }

    /// The options it runs with.
    #[must_use]
    pub fn options(&self) -> &SlabOptions {
        &self.options
    }

    /// Sets the fault injection; the default is none. While it is on, every request takes the slow path.
    pub fn set_failslab<S: PageSource>(&mut self, pages: &mut S, failslab: FaultAttr) {
        self.options.failslab = failslab;
        for cpu in 0..MAX_CPUS {
            (0..SLOTS).for_each(|slot| self.thaw(pages, cpu, slot));
        }
        self.update_watched();
    }

    /// Which caches have something to be done at each request.
    pub(super) fn update_watched(&mut self) {
        let every = !self.options.allows_fast_paths();
        for cache in self.caches.iter_mut().flatten() {
            cache.watched = every || !cache.debug.is_empty();
        }
    }

    /// An object of `cache` (`kmem_cache_alloc`). Contents are what the constructor, or the last owner, left, unless `gfp`
    /// has `__ZERO`.
    ///
    /// # Errors
    /// [`SlabError::NoPages`], [`SlabError::Injected`].
    #[inline]
    pub fn cache_alloc<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        cache: &CacheId,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, SlabError> {
        let object = self.take(pages, who, cache.slot(), gfp)?;
        trace::lazy::kmem_cache_alloc(|| self.cache(cache.slot()).alloc_event(object, gfp));
        Ok(object)
    }

    /// Gives an object back to `cache` (`kmem_cache_free`).
    ///
    /// # Errors
    /// [`FreeError`]; nothing has changed then.
    #[inline]
    pub fn cache_free<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        cache: &CacheId,
        object: *const u8,
    ) -> Result<(), FreeError> {
        self.give(pages, who, cache.slot(), object)?;
        trace::lazy::kmem_cache_free(|| (object.addr(), self.cache(cache.slot()).name));
        Ok(())
    }

    /// The hot half of [`Slab::cache_alloc`], for a wrapper that keeps its own cold half out of line: an object of the slab
    /// that the CPU works on, contents undefined; `None` when the slow half must see to it.
    #[inline(always)]
    pub fn cache_alloc_hot(&mut self, who: Caller, cache: &CacheId, gfp: Gfp) -> Option<NonNull<u8>> {
        let object = self.take_hot(who, cache.slot())?;
        trace::lazy::kmem_cache_alloc(|| self.cache(cache.slot()).alloc_event(object, gfp));
        Some(object)
    }

    /// The hot half of [`Slab::cache_free`]: `true` when the object has been taken back. Otherwise nothing has
    /// changed, and [`Slab::cache_free`] does it or finds what is wrong.
    #[inline(always)]
    pub fn cache_free_hot(&mut self, who: Caller, cache: &CacheId, object: *const u8) -> bool {
        let taken = self.active[who.cpu()][cache.slot()].push(object);
        if taken {
            trace::lazy::kmem_cache_free(|| (object.addr(), self.cache(cache.slot()).name));
        }
        taken
    }

    #[inline(always)]
    fn take_hot(&mut self, who: Caller, slot: usize) -> Option<NonNull<u8>> {
        self.last[who.cpu()] = slot as u8;
        self.active[who.cpu()][slot].pop()
    }

    #[inline]
    fn take<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        slot: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, SlabError> {
        match self.take_hot(who, slot) {
            Some(object) if !gfp.contains(Gfp::__ZERO) => Ok(object),
            Some(object) => Ok(self.zeroed(slot, object)),
            None => self.refill(pages, who, slot, gfp),
        }
    }

    #[inline]
    fn give<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        slot: usize,
        object: *const u8,
    ) -> Result<(), FreeError> {
        if self.active[who.cpu()][slot].push(object) {
            return Ok(());
        }
        self.release(pages, who, Some(slot), object)
    }
}
