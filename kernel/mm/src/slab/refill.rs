//! Allocation off the hot path: the CPU's group is used up, or the cache has options.

use super::{Caller, Slab, SlabError, debug, memory, places};
use crate::{Gfp, PageSource};
use core::ptr::NonNull;
use hal::LinearMap;

impl<L: LinearMap> Slab<L> {
    /// An object, from the next slab that has one.
    #[cold]
    #[inline(never)]
    pub(super) fn refill<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        slot: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, SlabError> {
        let size = self.cache(slot).layout.size;
        if self.options.failslab.fails_object(gfp, size) {
            self.options.failslab.report("failslab", gfp, self.options.hooks.dump_stack);
            // The last failure may have been the only reason for the slow path.
            self.update_watched();
            return Err(SlabError::Injected);
        }
        let object = if self.cache(slot).watched {
            self.take_watched(pages, who, slot, gfp)?
        } else {
            self.next_active(pages, who.cpu(), slot, gfp)?
        };
        let init = self.options.init_on_alloc && self.cache(slot).ctor.is_none();
        if gfp.contains(Gfp::__ZERO) || init {
            memory::zero(object, size);
        }
        Ok(object)
    }

    /// Zeroes an object of the cache in `slot`.
    #[inline(never)]
    pub(super) fn zeroed(&self, slot: usize, object: NonNull<u8>) -> NonNull<u8> {
        memory::zero(object, self.cache(slot).layout.size);
        object
    }

    fn next_active<S: PageSource>(
        &mut self,
        pages: &mut S,
        cpu: usize,
        slot: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, SlabError> {
        let current = self.active[cpu][slot].pfn();
        let found = current.is_some_and(|pfn| self.load_next(pages, cpu, slot, pfn));
        if !found {
            self.end_drain(pages, cpu, slot);
            let pfn = self.available_slab(pages, slot, gfp)?;
            self.thaw(pages, cpu, slot);
            self.freeze(pages, cpu, slot, pfn);
        }
        self.active[cpu][slot].pop().ok_or(SlabError::BadSize { size: 0 })
    }

    /// A slab with a free object, in no list.
    fn available_slab<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: usize,
        gfp: Gfp,
    ) -> Result<u32, SlabError> {
        let cache = self.cache_mut(slot);
        if let Some(pfn) = cache.partial.pop(pages) {
            return Ok(pfn);
        }
        match cache.empty.pop(pages) {
            Some(pfn) => Ok(pfn),
            None => self.new_slab(pages, slot, gfp),
        }
    }

    /// An object of a cache with options. One that was written to while it was free is reported and never
    /// handed out again.
    fn take_watched<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        slot: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, SlabError> {
        loop {
            let pfn = self.available_slab(pages, slot, gfp)?;
            let offset = self.take_lowest(pages, slot, pfn);
            let cache = self.cache(slot);
            let object = places::at(pfn, offset);
            if debug::on_alloc(&self.linear, &self.options.hooks, cache, pfn, object, who) {
                return Ok(memory::object(&self.linear, places::at(pfn, offset + cache.layout.start)));
            }
        }
    }

    /// Marks the lowest free object of a slab in no list as used, lists the slab, and tells the object's offset.
    fn take_lowest<S: PageSource>(&mut self, pages: &mut S, slot: usize, pfn: u32) -> u32 {
        let layout = self.cache(slot).layout;
        let group = (0..layout.groups()).find(|&g| self.bits(pages, &layout, pfn, g) != 0).unwrap_or(0);
        let bits = self.bits(pages, &layout, pfn, group);
        self.set_bits(pages, &layout, pfn, group, bits & bits.wrapping_sub(1));
        let inuse = self.note_taken(pages, slot, pfn);
        let cache = self.cache_mut(slot);
        let list = if inuse == layout.count { &mut cache.full } else { &mut cache.partial };
        list.push(pages, pfn);
        (group * 32 + bits.trailing_zeros()) * layout.stride
    }

    fn note_taken<S: PageSource>(&self, pages: &mut S, slot: usize, pfn: u32) -> u32 {
        let layout = &self.cache(slot).layout;
        if layout.bits_in_record() {
            return self.inuse(pages, layout, pfn);
        }
        let inuse = self.inuse(pages, layout, pfn) + 1;
        super::lists::set(pages, pfn, 2, inuse);
        inuse
    }
}
