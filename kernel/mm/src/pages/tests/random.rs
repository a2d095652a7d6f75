//! Random sequences against the model, on machines with holes, several banks and several zones.

use super::world::{FakeMover, MIB, Machine, Random, World};
use crate::cma::CmaProgress;
use crate::pages::*;
use crate::{Gfp, MigrateError, PageState};
use proptest::prelude::*;
use std::{vec, vec::Vec};
use types::{Order, Pfn};

fn machines() -> Vec<Machine> {
    vec![
        Machine::simple(64).with_cma(8),
        // Several banks that begin and end inside of pageblocks, with a hole in a bank and reserved stretches.
        Machine {
            banks: vec![(0x201, 30), (0x223, 5), (0x800, 33)],
            reserved: vec![(0x203, 2), (0x225, 1), (0x810, 3)],
            cma: vec![(0x204, 4), (0x814, 8)],
            cpus: 4,
            ..Machine::default()
        },
        // Three zones; their bounds are not those of pageblocks.
        Machine {
            banks: vec![(0x400, 62)],
            reserved: vec![(0x400, 1)],
            cma: vec![(0x414, 8)],
            dma_end: Some(0x40a),
            highmem: Some(0x425),
            cpus: 2,
            ..Machine::default()
        },
        // Too small for types to be kept apart.
        Machine::simple(12).with_cma(4),
    ]
}

fn flags(random: &mut Random) -> (Gfp, PageState) {
    match random.below(8) {
        0 => (Gfp::ATOMIC, PageState::Kernel),
        1 => (Gfp::KERNEL | Gfp::__RECLAIMABLE, PageState::Slab),
        2 => (Gfp::KERNEL | Gfp::DMA, PageState::Dma),
        3 => (Gfp::KERNEL | Gfp::__COMP, PageState::LargeKmalloc),
        // Whoever says movable but is not gets no CMA memory.
        4 => (Gfp::HIGHUSER_MOVABLE, PageState::Vmalloc),
        5 => (Gfp::HIGHUSER_MOVABLE, PageState::DriverMovable),
        6 => (Gfp::HIGHUSER_MOVABLE, PageState::Anon),
        _ => (Gfp::KERNEL, PageState::Kernel),
    }
}

impl World<'_> {
    fn random_op(&mut self, random: &mut Random, target: u32) {
        let full = self.model.in_use() > target;
        match random.below(64) {
            0 => self.random_exact(random),
            1 => self.random_split(random),
            2 => self.random_contig(random),
            3 if !self.areas.is_empty() => self.random_cma(random),
            4 => self.wrong_frees(random),
            5 => _ = self.pages.buddy_mut().drain_all_pages(),
            6 => self.pages.set_context(random.below(4) as usize, false),
            nth if nth < if full { 26 } else { 44 } => {
                let (gfp, state) = flags(random);
                let order = [0, 0, 0, 0, 1, 2, 3, 4, 5, 9, 10][random.below(11) as usize];
                if state == PageState::Kernel && self.hot_alloc(gfp, Order::new(order).unwrap()) {
                    return;
                }
                self.alloc(gfp, if state == PageState::Anon { 0 } else { order }, state);
            }
            _ => self.random_free(random),
        }
    }

    fn random_free(&mut self, random: &mut Random) {
        let Some((pfn, count, state)) = self.model.nth(random.below(u32::MAX)) else { return };
        if self.hot_free(pfn, count) {
            return;
        }
        if state == PageState::CmaTaken {
            self.model.disown(pfn);
            self.cma.release_raw(&mut self.pages, Pfn::new(pfn), count, "tester").unwrap();
        } else if count.is_power_of_two() && pfn.is_multiple_of(count) {
            self.free(pfn);
        } else {
            self.model.disown(pfn);
            self.pages.try_free_run(Pfn::new(pfn), count).unwrap();
        }
    }

    /// The shortest way, if it is open.
    fn hot_alloc(&mut self, gfp: Gfp, order: Order) -> bool {
        let buddy = self.pages.buddy_mut();
        if !buddy.is_hot() || !gfp.is_plain() {
            return false;
        }
        let small = crate::pages::Buddy::is_small(order);
        let taken = if small { buddy.hot_take(gfp, order) } else { buddy.hot_take_large(gfp, order) };
        let Some(pfn) = taken else { return false };
        assert!(buddy.is_hot(), "nothing that is hot ends it");
        self.model.own(pfn.get(), order.pages(), PageState::Kernel, false);
        true
    }

    /// As the kernel: the shortest way first, whatever the block is.
    fn hot_free(&mut self, pfn: u32, count: u32) -> bool {
        let state = self.model.owned[&pfn].1;
        let (buddy, order) = (self.pages.buddy_mut(), Order::for_pages(count));
        let Some(order) = order.filter(|order| buddy.is_hot() && order.pages() == count) else {
            return false;
        };
        let small = crate::pages::Buddy::is_small(order);
        let pfn = Pfn::new(pfn);
        let given = if small { buddy.hot_give(pfn, order) } else { buddy.hot_give_large(pfn, order) };
        if given {
            assert_eq!(state, PageState::Kernel);
            self.model.disown(pfn.get());
        }
        given
    }

    fn random_exact(&mut self, random: &mut Random) {
        let count = 1 + random.below(300);
        if let Ok(run) = self.pages.alloc_pages_exact(Gfp::KERNEL | Gfp::__NOWARN, count, PageState::Kernel) {
            let (pfn, count) = run.into_raw();
            self.model.own(pfn.get(), count, PageState::Kernel, false);
        }
    }

    fn random_split(&mut self, random: &mut Random) {
        let order = Order::new(random.below(5) as u8).unwrap();
        let Some(pfn) = self.alloc(Gfp::KERNEL, order.get(), PageState::Kernel) else { return };
        self.model.disown(pfn);
        let frames = crate::Frames::from_raw(Pfn::new(pfn), order);
        for frames in self.pages.split_page(frames).unwrap() {
            self.model.own(frames.into_raw().0.get(), 1, PageState::Kernel, false);
        }
    }

    /// A contiguous range of ordinary memory, with other operations between the steps.
    fn random_contig(&mut self, random: &mut Random) {
        let pages: Vec<u32> = self.model.usable.keys().copied().collect();
        let pfn = pages[random.below(pages.len() as u32) as usize];
        let count = 1 + random.below(600);
        let mut contig = match self.pages.contig_begin(Pfn::new(pfn), count) {
            Ok(contig) => contig,
            Err(_) => return,
        };
        loop {
            let mut mover = FakeMover::new(&mut self.model);
            if random.below(100) == 0 {
                mover.refuse = Some((0, MigrateError::Pinned));
            }
            match self.pages.contig_step(&mut contig, &mut mover) {
                Ok(Step::More) => self.disturb(random),
                Ok(Step::Done) => break,
                Err(_) => return self.pages.contig_abort(contig),
            }
        }
        let run = self.pages.contig_finish(contig, PageState::Dma).unwrap();
        self.model.own(run.pfn().get(), run.count(), PageState::Dma, false);
        let _ = run.into_raw();
    }

    /// An interrupt handler or another task between two steps.
    fn disturb(&mut self, random: &mut Random) {
        match random.below(4) {
            0 => _ = self.alloc(Gfp::ATOMIC, 0, PageState::Kernel),
            1 => _ = self.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon),
            2 => self.random_free(random),
            _ => {}
        }
    }

    fn random_cma(&mut self, random: &mut Random) {
        let id = self.areas[random.below(self.areas.len() as u32) as usize];
        let most = if random.below(4) == 0 { 1500 } else { 200 };
        let count = if random.below(2) == 0 { 1 << random.below(11) } else { 1 + random.below(most) };
        let request = (count, random.below(6) as u8);
        let gfp = Gfp::KERNEL | Gfp::__NOWARN;
        if random.below(2) == 0 {
            if let Some(taken) = self.cma.take_at_once(&mut self.pages, id, request, "tester") {
                assert!(taken.pfn().get().is_multiple_of(1 << request.1));
                self.model.own(taken.pfn().get(), taken.count(), PageState::CmaTaken, true);
            }
            return;
        }
        let taken = match self.cma.begin(&mut self.pages, id, request, gfp, "tester") {
            Err(_) => return,
            Ok(CmaProgress::Done(taken)) => taken,
            Ok(CmaProgress::More(mut alloc)) => loop {
                if random.below(400) == 0 {
                    return self.cma.abort(&mut self.pages, alloc);
                }
                self.disturb(random);
                let mut mover = FakeMover::new(&mut self.model);
                if random.below(200) == 0 {
                    mover.refuse = Some((0, MigrateError::Busy));
                }
                match self.cma.step(&mut self.pages, &mut alloc, &mut mover) {
                    Err(_) => return,
                    Ok(Some(taken)) => break taken,
                    Ok(None) => {}
                }
            },
        };
        assert!(taken.pfn().get().is_multiple_of(1 << request.1));
        self.model.own(taken.pfn().get(), taken.count(), PageState::CmaTaken, true);
    }

    /// Frees that must be refused, each for its own reason.
    fn wrong_frees(&mut self, random: &mut Random) {
        let Some((pfn, count, state)) = self.model.nth(random.below(u32::MAX)) else { return };
        let inside = Pfn::new(pfn + random.below(count));
        let order = Order::new(random.below(11) as u8).unwrap();
        if state == PageState::CmaTaken {
            assert!(self.pages.try_free(inside, order).is_err());
            assert!(self.cma.release_raw(&mut self.pages, Pfn::new(pfn), count + 1, "tester").is_err());
            assert!(self.cma.release_raw(&mut self.pages, Pfn::new(pfn), count, "another").is_err());
        } else if inside.get() != pfn || order.pages() != count {
            let whole = count.is_power_of_two() && pfn.is_multiple_of(count);
            if whole {
                assert!(
                    self.pages.try_free(inside, order).is_err(),
                    "{inside} {order:?} of {pfn:#x}+{count}"
                );
            }
        }
        let outside = Pfn::new(0x10 + random.below(0x1000));
        assert_eq!(self.pages.try_free(outside, order), Err(FreeError::NotMemory { pfn: outside }));
    }

    /// Frees everything in random order; what is free then must be what was free at first.
    fn free_all(&mut self, random: &mut Random) {
        let mut left: Vec<u32> = self.model.owned.keys().copied().collect();
        while !left.is_empty() {
            let pfn = left.swap_remove(random.below(left.len() as u32) as usize);
            let (count, state) = self.model.disown(pfn);
            if state == PageState::CmaTaken {
                self.cma.release_raw(&mut self.pages, Pfn::new(pfn), count, "tester").unwrap();
            } else {
                self.pages.try_free_run(Pfn::new(pfn), count).unwrap();
            }
        }
    }
}

fn run(machine: &Machine, seed: u64, rounds: u32, ops: u32) {
    machine.run(|world| {
        let at_boot = world.free_blocks();
        let mut random = Random::new(seed);
        for _ in 0..rounds {
            let target = random.below(world.model.usable.len() as u32);
            for nth in 0..ops {
                world.random_op(&mut random, target);
                if nth % 1000 == 999 || ops < 1000 {
                    world.validate();
                }
            }
            world.validate();
            world.free_all(&mut random);
            world.validate();
            assert_eq!(world.free_blocks(), at_boot, "seed {seed}");
        }
        world.validate();
    });
}

proptest! {
    #![proptest_config(crate::pages::tests::world::proptest_config(12))]
    #[test]
    fn short_runs(seed in any::<u64>(), machine in 0..4usize) {
        run(&machines()[if cfg!(miri) { 3 } else { machine }], seed, 1, if cfg!(miri) { 20 } else { 150 });
    }
}

/// 1,000,000 operations; the whole of it must stay within half a minute on a CI host.
#[test]
#[cfg_attr(miri, ignore = "too long for an interpreter; short_runs takes the same path")]
fn a_million_operations() {
    for (nth, machine) in machines().iter().enumerate() {
        run(machine, 0xc0ff_ee00 + nth as u64, 10, 25_000);
    }
}

/// Pages of one size, freed in an order that has nothing to do with that of their allocation.
#[test]
fn coalesces_in_any_order() {
    let mut random = Random::new(7);
    Machine::simple(if cfg!(miri) { 4 } else { 32 }).run(|world| {
        let at_boot = world.free_blocks();
        for order in [0, 1, 3, 4] {
            while world.alloc(Gfp::KERNEL | Gfp::__MEMALLOC, order, PageState::Kernel).is_some() {}
            assert!(world.model.in_use() > 2 * MIB);
            world.free_all(&mut random);
            assert_eq!(world.free_blocks(), at_boot);
            world.validate();
        }
    });
}
