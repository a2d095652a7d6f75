//! Where allocations go.

use crate::cma::plan::Stuck;
use crate::cma::{CmaError, CmaProgress};
use crate::pages::tests::world::{FakeMover, MIB, Machine, Random};
use crate::{Gfp, MigrateError, PageSource, PageState};
use std::vec::Vec;
use types::Pfn;

/// The seed's addresses: 72 pages before BDMA's, then 1, 2, 3 MiB at multiples of 64 KiB; 4 MiB fits no more.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn places_of_the_seed() {
    let machine = Machine { banks: std::vec![(0x200, 108)], cpus: 1, ..Machine::default() }.with_cma(8);
    machine.run(|world| {
        let base = 0x26400;
        assert_eq!(world.cma.area(world.areas[0]).unwrap().base_pfn().get(), base);
        let _earlier = world.cma_alloc(66, 0).unwrap();
        for expected in 0x26442..0x2644b {
            assert_eq!(world.cma_alloc(1, 0).unwrap().pfn().get(), expected);
        }
        let _more = world.cma_alloc(0x264b4 - 0x2644b, 0).unwrap();
        let first = world.cma_alloc(256, 4).unwrap();
        assert_eq!(first.pfn().get(), 0x264c0);
        world.cma_release(first);
        for (count, expected) in [(256, 0x264c0), (512, 0x265c0), (768, 0x267c0)] {
            assert_eq!(world.cma_alloc(count, 4).unwrap().pfn().get(), expected);
        }
        let refused = world.cma_alloc(1024, 4).unwrap_err();
        assert_eq!(refused, CmaError::NoSpace { count: 1024, longest: 0x26c00 - 0x26ac0 });
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn free_placement_is_preferred_to_moving() {
    Machine::simple(64).with_cma(8).run(|world| {
        let held = world.fill_movable();
        let base = 0x838 * MIB;
        // One free stretch of a MiB, unaligned, in a full area; two movable pages before it are gone too.
        let gone =
            |pfn: u32| (base + 80..base + 80 + 256).contains(&pfn) || pfn == base + 3 || pfn == base + 9;
        held.iter().filter(|&&pfn| gone(pfn)).for_each(|&pfn| world.free(pfn));
        let taken = world.cma_alloc(256, 0).unwrap();
        assert_eq!(taken.pfn().get(), base + 80);
        assert_eq!(world.pages.stat().pgmigrate_success, 0);
        world.validate();
    });
}

/// Of the placements that a search of that length finds, the one with the fewest pages to move; its holes are as good
/// a place for the moved pages as any.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn fewest_moves() {
    Machine::simple(64).with_cma(8).run(|world| {
        let held = world.fill_movable();
        let base = 0x838 * MIB;
        let gone = |pfn: u32| (base + 40..base + 296).contains(&pfn) && !pfn.is_multiple_of(20);
        let freed = held.iter().filter(|&&pfn| gone(pfn)).map(|&pfn| world.free(pfn)).count() as u32;
        let moves = 256 - freed;
        held.iter().filter(|&&pfn| pfn < base).take(moves as usize).for_each(|&pfn| world.free(pfn));
        let taken = world.cma_alloc(256, 0).unwrap();
        assert_eq!(taken.pfn().get(), base + 40);
        assert_eq!(world.pages.stat().pgmigrate_success, moves);
        world.validate();
    });
}

/// Where the budget is enough for all of them, the best placement is found: compared with looking at each.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn the_best_of_all_placements() {
    let (mut random, mut to_move) = (Random::new(5), 0);
    for round in 0..40 {
        Machine::simple(64).with_cma(4).run(|world| {
            let held = world.fill_movable();
            let base = 0x83c * MIB;
            // With plenty of room elsewhere: else a free window would be preferred.
            held.iter().filter(|&&pfn| pfn < base).take(4000).for_each(|&pfn| world.free(pfn));
            let (first, len) = (base + random.below(960), 20 + random.below(40));
            let mut freed = Vec::new();
            for pfn in base..base + 1024 {
                match random.below(round % 8 + 3) {
                    0 => world.pages.page_mut(Pfn::new(pfn)).unwrap().set_pins(1),
                    _ if !(first..first + len).contains(&pfn) => {
                        world.pages.page_mut(Pfn::new(pfn)).unwrap().set_pins(1);
                    }
                    1 => freed.push(pfn),
                    _ => {}
                }
            }
            freed.iter().for_each(|&pfn| world.free(pfn));
            world.pages.buddy_mut().drain_all_pages();
            let (area, buddy) = (world.cma.area(world.areas[0]).unwrap(), world.pages.buddy());
            let moves = |pfn: u32| match world.pages.page(Pfn::new(pfn)) {
                _ if freed.contains(&pfn) => Some(0),
                page => page.filter(|page| page.can_move()).map(|_| 1),
            };
            for (count, align) in [(1, 0), (2, 1), (3, 0), (7, 0), (8, 2), (12, 4), (25, 0)] {
                let moves_at = |start: u32| (start..start + count).map(moves).sum::<Option<u32>>();
                let starts = (base..=base + 1024 - count).filter(|start| start % (1 << align) == 0);
                let best = starts.filter_map(moves_at).min();
                let plan = area.plan(buddy, &area.wanted(count, align), &Stuck::NONE).ok();
                assert_eq!(plan.map(|plan| plan.moves), best, "{count} pages at 2^{align}");
                let at = plan.map(|plan| buddy.map.pfn(plan.start).get());
                assert_eq!(at.and_then(moves_at), best);
                to_move += u32::from(best.is_some_and(|moves| moves > 0));
            }
        });
    }
    assert!(to_move > 40);
}

/// A page that does not move excludes only the placements that hold it.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn goes_on_around_a_stuck_page() {
    for why in [MigrateError::Pinned, MigrateError::Busy, MigrateError::NotMovable] {
        Machine::simple(64).with_cma(8).run(|world| {
            let held = world.fill_movable();
            let base = 0x838 * MIB;
            held.iter().filter(|&&pfn| pfn < base).take(4 * 1024).for_each(|&pfn| world.free(pfn));
            let stuck = base + 100;
            let taken = world.cma_alloc_refusing(256, 4, Some((stuck, why))).unwrap();
            assert_eq!(taken.pfn().get(), (stuck + 1).next_multiple_of(16), "{why}");
            world.validate();
            // Below the stuck page there is room for a smaller one.
            let small = world.cma_alloc_refusing(64, 4, Some((stuck, why))).unwrap();
            assert_eq!(small.pfn().get(), base);
            world.validate();
        });
    }
}

/// Pins that can be seen are never even tried.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn pinned_pages_are_left_alone() {
    Machine::simple(64).with_cma(4).run(|world| {
        let held = world.fill_movable();
        let base = 0x83c * MIB;
        held.iter().filter(|&&pfn| pfn < base).take(4 * 1024).for_each(|&pfn| world.free(pfn));
        for pfn in [base + 300, base + 700] {
            world.pages.page_mut(Pfn::new(pfn)).unwrap().set_pins(1);
        }
        assert_eq!(world.cma_alloc(399, 0).unwrap().pfn().get(), base + 301);
        assert_eq!(world.pages.stat().pgmigrate_success, 399);
        let owner = PageState::Anon;
        let refused = world.cma_alloc(330, 0).unwrap_err();
        assert_eq!(refused, CmaError::NoSpace { count: 330, longest: 324 });
        assert_eq!(
            world.cma_alloc(324, 0).unwrap_err(),
            CmaError::Blocked { pfn: Pfn::new(base + 700), owner }
        );
        assert_eq!(world.pages.stat().pgmigrate_fail, 0);
        world.validate();
    });
}

/// Two requests at once, step by step, never get the same pages.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn requests_interleave() {
    Machine::simple(64).with_cma(8).run(|world| {
        let held = world.fill_movable();
        held.iter().filter(|&&pfn| pfn < 0x838 * MIB).take(3000).for_each(|&pfn| world.free(pfn));
        let gfp = Gfp::KERNEL;
        let id = world.areas[0];
        let mut under_way = Vec::new();
        for count in [300, 500, 700] {
            under_way.push(world.cma.begin(&mut world.pages, id, (count, 0), gfp, "tester").unwrap());
        }
        let mut random = Random::new(3);
        while !under_way.is_empty() {
            let nth = random.below(under_way.len() as u32) as usize;
            let taken = match &mut under_way[nth] {
                CmaProgress::Done(_) => None,
                CmaProgress::More(alloc) => {
                    let mut mover = FakeMover::new(&mut world.model);
                    world.cma.step(&mut world.pages, alloc, &mut mover).unwrap()
                }
            };
            if let Some(taken) = taken {
                under_way[nth] = CmaProgress::Done(taken);
            }
            if let CmaProgress::Done(taken) = &under_way[nth] {
                world.model.own(taken.pfn().get(), taken.count(), PageState::CmaTaken, true);
                _ = under_way.swap_remove(nth);
            }
        }
        assert_eq!(world.cma.area(id).unwrap().used(), 1500);
        world.validate();
    });
}

/// What is freed in the range while it is being emptied stays there for the request.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn frees_during_isolation_join_it() {
    Machine::simple(64).with_cma(4).run(|world| {
        let held = world.fill_movable();
        let base = 0x83c * MIB;
        held.iter().filter(|&&pfn| pfn < base).take(2000).for_each(|&pfn| world.free(pfn));
        let id = world.areas[0];
        let progress = world.cma.begin(&mut world.pages, id, (1024, 0), Gfp::KERNEL, "tester").unwrap();
        (base..base + 1024).for_each(|pfn| world.free(pfn));
        world.validate();
        let got: Vec<u32> =
            (0..1500).filter_map(|_| world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon)).collect();
        assert!(got.iter().all(|&pfn| pfn < base));
        let CmaProgress::More(mut alloc) = progress else { panic!("nothing to move") };
        let taken = loop {
            let mut mover = FakeMover::new(&mut world.model);
            if let Some(taken) = world.cma.step(&mut world.pages, &mut alloc, &mut mover).unwrap() {
                break taken;
            }
        };
        assert_eq!(taken.pfn().get(), base);
        assert_eq!(world.pages.stat().pgmigrate_success, 0);
        world.model.own(base, 1024, PageState::CmaTaken, true);
        world.validate();
    });
}
