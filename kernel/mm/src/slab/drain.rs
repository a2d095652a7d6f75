//! Freeing many objects of one slab after another.
//!
//! The first free to a full slab, or the second in a row to the same 32 objects, freezes the slab as the CPU's drain: the
//! objects that follow are then taken back on the hot path, as those of the slab that the CPU allocates from. Nothing
//! is allocated from a drain; before its cache looks for another slab on this CPU, it goes back to the lists.

use super::{
    Caller, DRAIN, Slab,
    lists::set,
    places::{DRAINED, FROZEN, frozen_in},
};
use crate::PageSource;
use hal::LinearMap;
use types::Pfn;

/// An object of a slab.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub slot: usize,
    pub pfn: u32,
    pub index: u32,
}

impl Spot {
    pub fn group(self) -> u32 {
        self.index / 32
    }

    pub fn bit(self) -> u32 {
        1 << (self.index % 32)
    }

    /// The same for the objects of one group, and for no others.
    fn key(self) -> u32 {
        self.pfn.wrapping_mul(1 << 8) | self.group()
    }
}

impl<L: LinearMap> Slab<L> {
    /// Whether the free before this one was to the same group; notes this one.
    #[inline]
    pub(super) fn again(&mut self, who: Caller, spot: Spot) -> bool {
        let last = &mut self.freed_to[who.cpu()];
        let again = *last == spot.key();
        *last = spot.key();
        again
    }

    /// Makes a slab that is in no list, and not empty, the drain of `who`'s CPU.
    #[inline(never)]
    pub(super) fn start_drain<S: PageSource>(&mut self, pages: &mut S, who: Caller, spot: Spot) {
        let cpu = who.cpu();
        self.thaw(pages, cpu, DRAIN);
        set(pages, spot.pfn, 1, FROZEN | DRAINED | cpu as u32);
        self.load_group(pages, (cpu, DRAIN), spot.slot, spot.pfn, spot.group());
        self.last[cpu] = DRAIN as u8;
    }

    /// Puts the drain of `cpu` back into the lists if it is a slab of the cache in `slot`.
    pub(super) fn end_drain<S: PageSource>(&mut self, pages: &mut S, cpu: usize, slot: usize) {
        let of_cache = |pfn| pages.page(Pfn::new(pfn)).is_some_and(|page| page.aux() as usize == slot);
        if self.active[cpu][DRAIN].pfn().is_some_and(of_cache) {
            self.thaw(pages, cpu, DRAIN);
        }
    }

    /// Takes back an object of a frozen slab; `false` when it is free already.
    #[inline(never)]
    pub(super) fn release_frozen<S: PageSource>(&mut self, pages: &mut S, who: Caller, spot: Spot) -> bool {
        let Some((cpu, record)) = frozen_in(pages, spot.slot, spot.pfn) else { return false };
        let active = &mut self.active[cpu][record];
        if active.group() == spot.group() {
            let free = active.free_bits() & spot.bit() != 0;
            active.set_free(spot.index % 32);
            return !free;
        }
        let layout = &self.cache(spot.slot).layout;
        let bits = self.bits(pages, layout, spot.pfn, spot.group());
        self.set_bits(pages, layout, spot.pfn, spot.group(), bits | spot.bit());
        if (cpu, record) == (who.cpu(), DRAIN) && self.again(who, spot) {
            self.turn_drain(pages, cpu, spot);
        }
        bits & spot.bit() == 0
    }

    /// Lets the drain work on another group of its slab.
    fn turn_drain<S: PageSource>(&mut self, pages: &mut S, cpu: usize, spot: Spot) {
        let drain = &self.active[cpu][DRAIN];
        let (old, bits) = (drain.group(), drain.free_bits());
        self.set_bits(pages, &self.cache(spot.slot).layout, spot.pfn, old, bits);
        self.load_group(pages, (cpu, DRAIN), spot.slot, spot.pfn, spot.group());
        self.last[cpu] = DRAIN as u8;
    }
}
