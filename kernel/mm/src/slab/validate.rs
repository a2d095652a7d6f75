//! Recounts everything from the page records and the free bits and compares it with the counters.

use super::{
    MAX_CACHES, Slab, SlabTotals,
    lists::{NIL, PageList, get},
    places::frozen_in,
};
use crate::{PageSource, PageState};
use core::fmt;
use hal::LinearMap;
use types::Pfn;

/// Two things that should agree and don't.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inconsistency {
    /// The record of a listed or frozen slab does not say that it is a slab of this cache and order.
    Record {
        /// The cache.
        cache: &'static str,
        /// First page of the slab.
        pfn: Pfn,
    },
    /// A slab is in a list where its number of free objects does not belong, or its own count is wrong.
    Count {
        /// The cache.
        cache: &'static str,
        /// First page of the slab.
        pfn: Pfn,
    },
    /// A free bit is set for an object that there isn't.
    Bits {
        /// The cache.
        cache: &'static str,
        /// First page of the slab.
        pfn: Pfn,
    },
    /// The links of a list end too early or go on too long.
    List {
        /// The cache.
        cache: &'static str,
    },
    /// The number of slabs of a cache, or of pages of all, is not what the lists add up to.
    Total {
        /// Pages that the lists add up to.
        counted: SlabTotals,
        /// Pages that the counters say.
        recorded: SlabTotals,
    },
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { cache, pfn } => write!(f, "slab {cache}: page {pfn} is not recorded as its slab"),
            Self::Count { cache, pfn } => write!(f, "slab {cache}: page {pfn} is in the wrong list"),
            Self::Bits { cache, pfn } => write!(f, "slab {cache}: page {pfn} has free bits beyond its end"),
            Self::List { cache } => write!(f, "slab {cache}: a list has the wrong length"),
            Self::Total { counted, recorded } => {
                let [counted, recorded] =
                    [counted, recorded].map(|totals| (totals.reclaimable, totals.unreclaimable));
                write!(f, "slab: {} and {} pages counted, ", counted.0, counted.1)?;
                write!(f, "{} and {} recorded", recorded.0, recorded.1)
            }
        }
    }
}

impl<L: LinearMap> Slab<L> {
    /// See the [module](self). Takes time in proportion to the number of slabs.
    ///
    /// # Errors
    /// The first [`Inconsistency`] found.
    pub fn validate<S: PageSource>(&self, pages: &S) -> Result<(), Inconsistency> {
        let mut counted = SlabTotals::default();
        for slot in (0..MAX_CACHES).filter(|&slot| self.caches[slot].is_some()) {
            let slabs = self.validate_cache(pages, slot)?;
            let cache = self.cache(slot);
            let of_kind =
                if cache.reclaimable() { &mut counted.reclaimable } else { &mut counted.unreclaimable };
            *of_kind += slabs * cache.layout.order.pages();
            if slabs != cache.slabs {
                return Err(Inconsistency::List { cache: cache.name });
            }
        }
        let recorded = self.totals;
        if counted == recorded { Ok(()) } else { Err(Inconsistency::Total { counted, recorded }) }
    }

    fn validate_cache<S: PageSource>(&self, pages: &S, slot: usize) -> Result<u32, Inconsistency> {
        let cache = self.cache(slot);
        let n = cache.layout.count;
        let mut slabs = self.validate_list(pages, slot, &cache.partial, |used| used > 0 && used < n)?;
        slabs += self.validate_list(pages, slot, &cache.full, |used| used == n)?;
        slabs += self.validate_list(pages, slot, &cache.empty, |used| used == 0)?;
        for (cpu, pfn) in self.frozen(pages, slot) {
            self.validate_slab(pages, slot, pfn)?;
            if frozen_in(pages, slot, pfn).map(|(cpu, _)| cpu) != Some(cpu) {
                return Err(Inconsistency::Record { cache: cache.name, pfn: Pfn::new(pfn) });
            }
            slabs += 1;
        }
        Ok(slabs)
    }

    fn validate_list<S: PageSource>(
        &self,
        pages: &S,
        slot: usize,
        list: &PageList,
        belongs: impl Fn(u32) -> bool,
    ) -> Result<u32, Inconsistency> {
        let cache = self.cache(slot);
        let (mut length, mut last) = (0, None);
        for pfn in list.iter(pages) {
            self.validate_slab(pages, slot, pfn)?;
            let used = self.count_inuse(pages, slot, pfn);
            if frozen_in(pages, slot, pfn).is_some()
                || !belongs(used)
                || used != self.inuse(pages, &cache.layout, pfn)
            {
                return Err(Inconsistency::Count { cache: cache.name, pfn: Pfn::new(pfn) });
            }
            length += 1;
            last = Some(pfn);
        }
        let ends = last.is_none_or(|pfn| get(pages, pfn, 0) == NIL);
        if length == list.len() && ends { Ok(length) } else { Err(Inconsistency::List { cache: cache.name }) }
    }

    fn validate_slab<S: PageSource>(&self, pages: &S, slot: usize, pfn: u32) -> Result<(), Inconsistency> {
        let cache = self.cache(slot);
        let (name, layout, pfn_typed) = (cache.name, &cache.layout, Pfn::new(pfn));
        let recorded = pages.page(pfn_typed).is_some_and(|page| {
            page.state() == PageState::Slab
                && page.aux() as usize == slot
                && page.order() == layout.order.get()
        });
        if !recorded {
            return Err(Inconsistency::Record { cache: name, pfn: pfn_typed });
        }
        let beyond = (0..layout.groups())
            .any(|group| self.true_bits(pages, slot, pfn, group) & !layout.group_mask(group) != 0);
        if beyond { Err(Inconsistency::Bits { cache: name, pfn: pfn_typed }) } else { Ok(()) }
    }
}
