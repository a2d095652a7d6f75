//! What `/proc/slabinfo` and the slab lines of `/proc/meminfo` say.

use super::{DRAIN, MAX_CACHES, MAX_CPUS, Slab};
use crate::PageSource;
use core::fmt::{self, Write};
use hal::LinearMap;
use types::{PAGE_SIZE, Pfn};

/// Pages that slabs take. Large blocks of `kmalloc` are not slabs and not counted, as in Linux.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlabTotals {
    /// Of caches that can give back (`SReclaimable`).
    pub reclaimable: u32,
    /// Of all others (`SUnreclaim`).
    pub unreclaimable: u32,
}

impl SlabTotals {
    /// The lines `Slab`, `SReclaimable` and `SUnreclaim` of `/proc/meminfo`.
    ///
    /// # Errors
    /// Those of `out`.
    #[inline]
    pub fn write_meminfo(&self, out: &mut impl Write) -> fmt::Result {
        let kb = |pages: u32| pages * (PAGE_SIZE / 1024);
        writeln!(out, "Slab:           {:8} kB", kb(self.reclaimable + self.unreclaimable))?;
        writeln!(out, "SReclaimable:   {:8} kB", kb(self.reclaimable))?;
        writeln!(out, "SUnreclaim:     {:8} kB", kb(self.unreclaimable))
    }
}

/// One line of `/proc/slabinfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheInfo {
    /// The cache.
    pub name: &'static str,
    /// Objects that are allocated.
    pub active_objects: u32,
    /// Objects in all slabs.
    pub objects: u32,
    /// Bytes that an object takes, guards and tracking included.
    pub object_size: u32,
    /// Objects in a slab.
    pub per_slab: u32,
    /// Pages in a slab.
    pub pages_per_slab: u32,
    /// Slabs.
    pub slabs: u32,
}

impl<L: LinearMap> Slab<L> {
    /// Pages in slabs now.
    #[must_use]
    #[inline]
    pub fn totals(&self) -> SlabTotals {
        self.totals
    }

    /// The caches that exist, oldest slot first.
    #[inline]
    pub fn caches<'s, S: PageSource>(&'s self, pages: &'s S) -> impl Iterator<Item = CacheInfo> + 's {
        (0..MAX_CACHES).filter(|&slot| self.caches[slot].is_some()).map(|slot| self.info(pages, slot))
    }

    /// The slabs of the cache in `slot` that are frozen, and for which CPU.
    #[inline]
    pub(super) fn frozen<'s, S: PageSource>(
        &'s self,
        pages: &'s S,
        slot: usize,
    ) -> impl Iterator<Item = (usize, u32)> + 's {
        let of_cache =
            move |pfn: &u32| pages.page(Pfn::new(*pfn)).is_some_and(|page| page.aux() as usize == slot);
        (0..MAX_CPUS).flat_map(move |cpu| {
            let drained = self.active[cpu][DRAIN].pfn().filter(of_cache);
            self.active[cpu][slot].pfn().into_iter().chain(drained).map(move |pfn| (cpu, pfn))
        })
    }

    #[inline]
    fn info<S: PageSource>(&self, pages: &S, slot: usize) -> CacheInfo {
        let cache = self.cache(slot);
        let layout = &cache.layout;
        let partial: u32 = cache.partial.iter(pages).map(|pfn| self.inuse(pages, layout, pfn)).sum();
        let frozen: u32 = self.frozen(pages, slot).map(|(_, pfn)| self.count_inuse(pages, slot, pfn)).sum();
        CacheInfo {
            name: cache.name,
            active_objects: partial + frozen + cache.full.len() * layout.count,
            objects: cache.slabs * layout.count,
            object_size: layout.stride,
            per_slab: layout.count,
            pages_per_slab: layout.order.pages(),
            slabs: cache.slabs,
        }
    }

    /// The contents of `/proc/slabinfo`, version 2.1.
    ///
    /// # Errors
    /// Those of `out`.
    #[inline]
    pub fn write_slabinfo<S: PageSource>(&self, pages: &S, out: &mut impl Write) -> fmt::Result {
        writeln!(out, "slabinfo - version: 2.1")?;
        write!(out, "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>")?;
        write!(out, " : tunables <limit> <batchcount> <sharedfactor>")?;
        writeln!(out, " : slabdata <active_slabs> <num_slabs> <sharedavail>")?;
        self.caches(pages).try_for_each(|cache| writeln!(out, "{cache}"))
    }
}

impl fmt::Display for CacheInfo {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, active_objects, objects, object_size, per_slab, pages_per_slab, slabs } = *self;
        write!(
            f,
            "{name:<17} {active_objects:6} {objects:6} {object_size:6} {per_slab:4} {pages_per_slab:4}"
        )?;
        write!(f, " : tunables {:4} {:4} {:4}", 0u32, 0u32, 0u32)?;
        write!(f, " : slabdata {slabs:6} {slabs:6} {:6}", 0u32)
    }
}
