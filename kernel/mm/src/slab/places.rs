//! One slab: its free bits, how it is made and given back, and its way between a CPU and the lists.
//!
//! ```text
//!            new_slab            freeze                 (all bits taken) thaw
//!   pages ------------> empty ----------> frozen(cpu) ---------------------> full
//!     ^                   ^    freeze       ^   | thaw                        |
//!     +------------------ | <----------- partial <----------------------------+
//!        drop_slab        +------------------                 release
//! ```

use super::{
    DRAIN, KEEP_EMPTY, MAX_CPUS, Slab, SlabError, debug,
    geometry::Geometry,
    lists::{get, set},
    memory,
};
use crate::{Frames, Gfp, PageSource, PageState};
use hal::LinearMap;
use types::{Pfn, PhysAddr};

/// In word 1 of a frozen slab's record, with the CPU in the low bits, and [`DRAINED`].
pub(super) const FROZEN: u32 = 1 << 31;
/// The slab is frozen as its CPU's drain.
pub(super) const DRAINED: u32 = 1 << 30;

/// The first byte of the slab at `pfn`.
pub(super) const fn base(pfn: u32) -> PhysAddr {
    Pfn::new(pfn).addr()
}

/// The address `offset` bytes into the slab at `pfn`.
pub(super) const fn at(pfn: u32, offset: u32) -> PhysAddr {
    PhysAddr::new(base(pfn).get() + offset)
}

/// The address of the word with the free bits of `group`, when they lie in the slab.
pub(super) const fn bits_at(layout: &Geometry, pfn: u32, group: u32) -> PhysAddr {
    at(pfn, layout.bytes() - (layout.groups() - group) * 4)
}

/// The CPU that the slab at `pfn` of the cache in `slot` is frozen for, and the slot of the record it is frozen in.
pub(super) fn frozen_in<S: PageSource>(pages: &S, slot: usize, pfn: u32) -> Option<(usize, usize)> {
    let word = get(pages, pfn, 1);
    if word & FROZEN == 0 {
        return None;
    }
    let cpu = (word & !(FROZEN | DRAINED)) as usize % MAX_CPUS;
    Some((cpu, if word & DRAINED != 0 { DRAIN } else { slot }))
}

impl<L: LinearMap> Slab<L> {
    /// The free bits of a group as the slab has them; not the truth for the group that a CPU works on.
    pub(super) fn bits<S: PageSource>(&self, pages: &S, layout: &Geometry, pfn: u32, group: u32) -> u32 {
        if layout.bits_in_record() {
            get(pages, pfn, 2)
        } else {
            memory::read(&self.linear, bits_at(layout, pfn, group))
        }
    }

    /// Sets the free bits of a group. The count of a slab with more than one group is the caller's to keep.
    pub(super) fn set_bits<S: PageSource>(
        &self,
        pages: &mut S,
        layout: &Geometry,
        pfn: u32,
        group: u32,
        bits: u32,
    ) {
        if layout.bits_in_record() {
            set(pages, pfn, 2, bits);
        } else {
            memory::write(&self.linear, bits_at(layout, pfn, group), bits);
        }
    }

    /// Objects in use of a slab that is not frozen.
    pub(super) fn inuse<S: PageSource>(&self, pages: &S, layout: &Geometry, pfn: u32) -> u32 {
        let word = get(pages, pfn, 2);
        if layout.bits_in_record() { layout.count - word.count_ones() } else { word }
    }

    /// Objects in use as the free bits tell it, whatever the state.
    pub(super) fn count_inuse<S: PageSource>(&self, pages: &S, slot: usize, pfn: u32) -> u32 {
        let layout = &self.cache(slot).layout;
        let free: u32 = (0..layout.groups()).map(|g| self.true_bits(pages, slot, pfn, g).count_ones()).sum();
        layout.count - free
    }

    /// The free bits of a group, from wherever the truth is.
    pub(super) fn true_bits<S: PageSource>(&self, pages: &S, slot: usize, pfn: u32, group: u32) -> u32 {
        let active = frozen_in(pages, slot, pfn).map(|(cpu, record)| &self.active[cpu][record]);
        match active {
            Some(active) if active.group() == group => active.free_bits(),
            _ => self.bits(pages, &self.cache(slot).layout, pfn, group),
        }
    }

    /// Makes a slab, all of its objects free, in no list.
    pub(super) fn new_slab<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: usize,
        gfp: Gfp,
    ) -> Result<u32, SlabError> {
        let cache = self.cache(slot);
        let layout = cache.layout;
        let order = layout.order;
        // Objects can't move, and are reached through the linear map.
        let mut gfp =
            (gfp - (Gfp::__MOVABLE | Gfp::__HIGHMEM | Gfp::__ZERO | Gfp::__RECLAIMABLE)) | cache.gfp;
        gfp.set(Gfp::__COMP, order.get() > 0);
        let frames = pages.alloc_pages(gfp, order, PageState::Slab).map_err(SlabError::NoPages)?;
        let (pfn, _) = frames.into_raw();
        let pfn = pfn.get();
        if let Some(page) = pages.page_mut(Pfn::new(pfn)) {
            page.set_aux(slot as u8);
        }
        set(pages, pfn, 2, 0);
        for group in 0..layout.groups() {
            self.set_bits(pages, &layout, pfn, group, layout.group_mask(group));
        }
        self.prepare_objects(slot, pfn);
        self.cache_mut(slot).slabs += 1;
        self.count_pages(pages, slot, order.pages() as i32);
        Ok(pfn)
    }

    /// Constructors, red zones and poison; does nothing, object by object or otherwise, for a plain cache.
    fn prepare_objects(&self, slot: usize, pfn: u32) {
        let cache = self.cache(slot);
        if cache.ctor.is_none() && cache.debug.is_empty() {
            return;
        }
        let layout = &cache.layout;
        if !cache.debug.is_empty() {
            debug::init_slab(&self.linear, cache, pfn);
        }
        for index in 0..layout.count {
            let object = at(pfn, index * layout.stride + layout.start);
            if let Some(ctor) = cache.ctor {
                memory::construct(&self.linear, object, layout.size, ctor);
            }
        }
    }

    /// Gives the pages of an empty slab, which is in no list, back. Returns how many.
    pub(super) fn drop_slab<S: PageSource>(&mut self, pages: &mut S, slot: usize, pfn: u32) -> u32 {
        let cache = self.cache_mut(slot);
        cache.slabs -= 1;
        let order = cache.layout.order;
        self.count_pages(pages, slot, -(order.pages() as i32));
        pages.free_pages(Frames::from_raw(Pfn::new(pfn), order));
        order.pages()
    }

    fn count_pages<S: PageSource>(&mut self, pages: &mut S, slot: usize, change: i32) {
        let reclaimable = self.cache(slot).reclaimable();
        let totals = &mut self.totals;
        let total = if reclaimable { &mut totals.reclaimable } else { &mut totals.unreclaimable };
        *total = total.wrapping_add_signed(change);
        if reclaimable {
            pages.count_reclaimable(change);
        }
    }

    /// Puts a slab that is in no list and has a free object before `cpu`.
    pub(super) fn freeze<S: PageSource>(&mut self, pages: &mut S, cpu: usize, slot: usize, pfn: u32) {
        set(pages, pfn, 1, FROZEN | cpu as u32);
        self.load_next(pages, cpu, slot, pfn);
    }

    /// Lets `cpu` work on the first group of its slab that has a free object; `false` when there is none.
    pub(super) fn load_next<S: PageSource>(
        &mut self,
        pages: &mut S,
        cpu: usize,
        slot: usize,
        pfn: u32,
    ) -> bool {
        let layout = &self.cache(slot).layout;
        let found = (0..layout.groups()).find(|&group| self.bits(pages, layout, pfn, group) != 0);
        if let Some(group) = found {
            self.load_group(pages, (cpu, slot), slot, pfn, group);
        }
        found.is_some()
    }

    /// Makes the record `(cpu, slot)` the truth about a group of the slab at `pfn`, which is one of the cache in `slot`.
    pub(super) fn load_group<S: PageSource>(
        &mut self,
        pages: &mut S,
        (cpu, record): (usize, usize),
        slot: usize,
        pfn: u32,
        group: u32,
    ) {
        let layout = &self.cache(slot).layout;
        let bits = self.bits(pages, layout, pfn, group);
        self.set_bits(pages, layout, pfn, group, 0);
        let first = self.linear.ptr(at(pfn, group * 32 * layout.stride));
        let (stride, count) = (layout.stride, layout.group_count(group));
        self.active[cpu][record].load(pfn, group, first, stride, count, bits);
    }

    /// Takes the slab away from the record `(cpu, record)`, if it has one, and puts it into the list where it belongs.
    pub(super) fn thaw<S: PageSource>(&mut self, pages: &mut S, cpu: usize, record: usize) {
        let active = &mut self.active[cpu][record];
        let Some(pfn) = active.pfn() else { return };
        let (group, bits) = (active.group(), active.free_bits());
        *active = super::Active::idle();
        let slot = pages.page(Pfn::new(pfn)).map_or(0, |page| page.aux() as usize);
        let layout = &self.cache(slot).layout;
        self.set_bits(pages, layout, pfn, group, bits);
        set(pages, pfn, 1, 0);
        let inuse = self.count_inuse(pages, slot, pfn);
        if !layout.bits_in_record() {
            set(pages, pfn, 2, inuse);
        }
        let full = inuse == layout.count;
        let cache = self.cache_mut(slot);
        match inuse {
            0 if cache.empty.len() < KEEP_EMPTY => cache.empty.push(pages, pfn),
            0 => {
                self.drop_slab(pages, slot, pfn);
            }
            _ if full => cache.full.push(pages, pfn),
            _ => cache.partial.push(pages, pfn),
        }
    }
}
