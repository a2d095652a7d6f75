//! Taking objects back off the hot path: whose page is it, which object, is it allocated?

use super::{
    Caller, FreeError, KEEP_EMPTY, Slab, debug,
    drain::Spot,
    geometry::Geometry,
    lists::set,
    memory,
    places::{FROZEN, at, base, bits_at, frozen_in},
};
use crate::{Page, PageSource, PageState};
use hal::LinearMap;
use types::{Pfn, PhysAddr};

/// Where an address lies.
pub(super) enum Place {
    /// Object `index` of the slab at `pfn`.
    Object { slot: usize, pfn: u32, index: u32 },
    /// The start of a block of 2^`order` pages from `kmalloc`.
    Large { pfn: u32, order: u8 },
}

/// What a free did to a slab.
#[derive(Clone, Copy)]
struct Fill {
    was_full: bool,
    is_empty: bool,
}

impl<L: LinearMap> Slab<L> {
    /// The head of the block that `pfn` lies in. Blocks are naturally aligned, so it is `pfn` with some low bits clear, and it
    /// is the first of those candidates that is not a tail.
    fn head<S: PageSource>(pages: &S, pfn: u32) -> Option<(u32, PageState, usize)> {
        for order in 0..=10 {
            let head = pfn & (u32::MAX << order);
            let page = pages.page(Pfn::new(head))?;
            if page.state() != PageState::Tail {
                let inside = page.order() >= order;
                return inside.then(|| (head, page.state(), page.aux() as usize));
            }
        }
        None
    }

    /// What `object` points to.
    pub(super) fn place<S: PageSource>(&self, pages: &S, object: *const u8) -> Result<Place, FreeError> {
        let addr = object.addr();
        let phys = self.linear.phys(object).ok_or(FreeError::NotLinear { addr })?;
        let foreign = |owner| Err(FreeError::Foreign { addr, owner });
        let Some((pfn, state, slot)) = Self::head(pages, Pfn::containing(phys).get()) else {
            return foreign(PageState::NotMemory);
        };
        let offset = phys.get() - base(pfn).get();
        match state {
            PageState::Slab => self.object_at(addr, slot, pfn, offset),
            PageState::LargeKmalloc if offset == 0 => {
                let order = pages.page(Pfn::new(pfn)).map_or(0, |page| page.order());
                Ok(Place::Large { pfn, order })
            }
            PageState::LargeKmalloc => Err(FreeError::NotAnObject { addr, cache: "kmalloc", offset }),
            owner => foreign(owner),
        }
    }

    fn object_at(&self, addr: usize, slot: usize, pfn: u32, offset: u32) -> Result<Place, FreeError> {
        let Some(cache) = self.caches.get(slot).and_then(Option::as_ref) else {
            return Err(FreeError::Foreign { addr, owner: PageState::Slab });
        };
        let layout = &cache.layout;
        // Before the first object of a cache with red zones, this wraps to a huge index.
        let in_slots = offset.wrapping_sub(layout.start);
        let index = in_slots / layout.stride;
        if index >= layout.count || index * layout.stride != in_slots {
            return Err(FreeError::NotAnObject { addr, cache: cache.name, offset });
        }
        Ok(Place::Object { slot, pfn, index })
    }

    /// Takes an object back, to the cache `named` if one was named.
    #[inline(never)]
    pub(super) fn release<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        named: Option<usize>,
        object: *const u8,
    ) -> Result<(), FreeError> {
        if self.release_listed(pages, who, named, object) {
            return Ok(());
        }
        self.release_checked(pages, who, named, object)
    }

    /// The usual case in few instructions: an allocated object of a slab that is in a list, of a cache that nobody
    /// watches. Otherwise `false`, and nothing has changed.
    #[inline]
    fn release_listed<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        named: Option<usize>,
        object: *const u8,
    ) -> bool {
        let Some(phys) = self.linear.phys(object) else { return false };
        let Some((pfn, page)) = Self::slab_head(pages, Pfn::containing(phys).get()) else { return false };
        let slot = page.aux() as usize;
        let Some(Some(cache)) = self.caches.get(slot) else { return false };
        let layout = &cache.layout;
        let offset = phys.get() - base(pfn).get();
        let index = offset.checked_div(layout.stride).unwrap_or(u32::MAX);
        let is_object = index < layout.count && index * layout.stride == offset;
        let is_ours = named.is_none_or(|named| named == slot);
        if cache.watched || !is_object || !is_ours {
            return false;
        }
        let spot = Spot { slot, pfn, index };
        if page.word(1) & FROZEN != 0 {
            return self.release_frozen(pages, who, spot);
        }
        let Some(fill) = self.set_listed(page, layout, pfn, index) else { return false };
        if fill.is_empty {
            self.relist(pages, slot, pfn, fill);
        } else if fill.was_full {
            self.cache_mut(slot).full.remove(pages, pfn);
            self.start_drain(pages, who, spot);
        } else if self.again(who, spot) {
            self.cache_mut(slot).partial.remove(pages, pfn);
            self.start_drain(pages, who, spot);
        }
        true
    }

    /// The record of the slab that `pfn` lies in.
    #[inline]
    fn slab_head<S: PageSource>(pages: &mut S, pfn: u32) -> Option<(u32, &mut Page)> {
        let state = pages.page(Pfn::new(pfn))?.state();
        let head = if state == PageState::Tail { Self::head(pages, pfn)?.0 } else { pfn };
        let page = pages.page_mut(Pfn::new(head))?;
        (page.state() == PageState::Slab).then_some((head, page))
    }

    /// Frees object `index` of a slab that is not frozen; `None` when it is free already.
    #[inline]
    fn set_listed(&self, page: &mut Page, layout: &Geometry, pfn: u32, index: u32) -> Option<Fill> {
        let bit = 1 << (index % 32);
        if layout.bits_in_record() {
            let bits = page.word(2);
            page.set_word(2, bits | bit);
            let fill = Fill { was_full: bits == 0, is_empty: bits | bit == layout.group_mask(0) };
            return (bits & bit == 0).then_some(fill);
        }
        let place = bits_at(layout, pfn, index / 32);
        let bits = memory::read(&self.linear, place);
        if bits & bit != 0 {
            return None;
        }
        memory::write(&self.linear, place, bits | bit);
        let inuse = page.word(2) - 1;
        page.set_word(2, inuse);
        Some(Fill { was_full: inuse + 1 == layout.count, is_empty: inuse == 0 })
    }

    /// As [`Slab::release`], with every check and a report for what fails it.
    #[cold]
    #[inline(never)]
    fn release_checked<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        named: Option<usize>,
        object: *const u8,
    ) -> Result<(), FreeError> {
        let result = match self.place(pages, object) {
            Ok(Place::Object { slot, pfn, index }) if named.is_none_or(|n| n == slot) => {
                self.put(pages, who, slot, pfn, index, object)
            }
            Ok(Place::Large { pfn, order }) if named.is_none() => {
                super::kmalloc::free_large(pages, pfn, order);
                Ok(())
            }
            Ok(place) => Err(self.wrong_cache(object.addr(), named, &place)),
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            self.report_bad_free(pages, error);
        }
        result
    }

    #[cold]
    fn wrong_cache(&self, addr: usize, named: Option<usize>, place: &Place) -> FreeError {
        let named = named.map_or("kmalloc", |slot| self.cache(slot).name);
        let owner = match place {
            Place::Object { slot, .. } => self.cache(*slot).name,
            Place::Large { .. } => "kmalloc",
        };
        FreeError::WrongCache { addr, named, owner }
    }

    /// Puts object `index` back among the free ones of its slab.
    fn put<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        slot: usize,
        pfn: u32,
        index: u32,
        object: *const u8,
    ) -> Result<(), FreeError> {
        let spot = Spot { slot, pfn, index };
        let (group, bit) = (spot.group(), spot.bit());
        if self.true_bits(pages, slot, pfn, group) & bit != 0 {
            return Err(FreeError::DoubleFree { addr: object.addr(), cache: self.cache(slot).name });
        }
        if frozen_in(pages, slot, pfn).is_some() {
            self.release_frozen(pages, who, spot);
            return Ok(());
        }
        if self.cache(slot).watched {
            self.retire_contents(who, slot, pfn, index, object)?;
        }
        let layout = &self.cache(slot).layout;
        let bits = self.bits(pages, layout, pfn, group);
        self.set_bits(pages, layout, pfn, group, bits | bit);
        self.note_freed(pages, slot, pfn);
        Ok(())
    }

    /// The checks and patterns that options ask for.
    #[cold]
    fn retire_contents(
        &self,
        who: Caller,
        slot: usize,
        pfn: u32,
        index: u32,
        object: *const u8,
    ) -> Result<(), FreeError> {
        let cache = self.cache(slot);
        let place = at(pfn, index * cache.layout.stride);
        debug::on_free(&self.linear, &self.options.hooks, cache, pfn, place, who)
            .map_err(|damage| FreeError::Damaged { addr: object.addr(), cache: cache.name, damage })?;
        if self.options.init_on_free && cache.ctor.is_none() && !cache.poisons() {
            let start = PhysAddr::new(place.get() + cache.layout.start);
            memory::fill(&self.linear, start, 0, cache.layout.size);
        }
        Ok(())
    }

    /// After a free to a slab in a list: counts, and moves the slab if it belongs elsewhere now.
    fn note_freed<S: PageSource>(&mut self, pages: &mut S, slot: usize, pfn: u32) {
        let layout = &self.cache(slot).layout;
        let mut inuse = self.inuse(pages, layout, pfn);
        if !layout.bits_in_record() {
            inuse -= 1;
            set(pages, pfn, 2, inuse);
        }
        let fill = Fill { was_full: inuse + 1 == layout.count, is_empty: inuse == 0 };
        if fill.was_full || fill.is_empty {
            self.relist(pages, slot, pfn, fill);
        }
    }

    /// Moves a slab to the list where it belongs after a free.
    fn relist<S: PageSource>(&mut self, pages: &mut S, slot: usize, pfn: u32, fill: Fill) {
        let cache = self.cache_mut(slot);
        let from = if fill.was_full { &mut cache.full } else { &mut cache.partial };
        from.remove(pages, pfn);
        if !fill.is_empty {
            cache.partial.push(pages, pfn);
        } else if cache.empty.len() < KEEP_EMPTY {
            cache.empty.push(pages, pfn);
        } else {
            self.drop_slab(pages, slot, pfn);
        }
    }
}
