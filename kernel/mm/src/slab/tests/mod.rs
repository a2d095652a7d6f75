//! Slab against an independent model, on emulated memory.
//!
//! `unsafe`: the tests own the objects they got and write into them, as any user would.

#![allow(unsafe_code)]

pub(crate) mod arena;
mod checks;
mod costs;
mod debugging;
mod model;

use super::{Caller, Slab, SlabOptions};
use arena::{Arena, TestPages};

/// An allocator over `count` pages of emulated memory.
struct Machine {
    slab: Slab<Arena>,
    pages: TestPages,
    arena: Arena,
}

impl Machine {
    fn new(count: u32, options: SlabOptions) -> Self {
        let arena = Arena::new(count);
        Self { slab: Slab::new(arena.clone(), options), pages: TestPages::new(count), arena }
    }

    /// Everything adds up, inside the slab and between it and the pages it took.
    fn validate(&self) {
        self.slab.validate(&self.pages).unwrap();
        let totals = self.slab.totals();
        assert_eq!(totals.reclaimable + totals.unreclaimable, self.pages.pages_in_slabs());
    }

    /// Every page is back where it came from.
    fn assert_all_returned(&mut self) {
        self.slab.reclaim(&mut self.pages);
        self.validate();
        assert_eq!(self.pages.pages_taken(), 0);
    }
}

fn on(cpu: usize) -> Caller {
    Caller::new(cpu, 0xc001_0000 + cpu as u32 * 4).unwrap()
}
