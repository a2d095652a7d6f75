//! The shortest ways: what they refuse, and that refusing changes nothing.

use super::world::{Machine, World};
use crate::pages::{Buddy, Guards, ZoneKind, pcp::PCP_ORDERS};
use crate::{Gfp, MigrateType, PageState};
use std::vec::Vec;
use types::{Order, Pfn};

fn order(raw: u8) -> Order {
    Order::new(raw).unwrap()
}

/// Whether a free was taken, either way.
fn give(world: &mut World<'_>, pfn: u32, raw: u8) -> bool {
    let (buddy, pfn) = (world.pages.buddy_mut(), Pfn::new(pfn));
    if Buddy::is_small(order(raw)) {
        buddy.hot_give(pfn, order(raw))
    } else {
        buddy.hot_give_large(pfn, order(raw))
    }
}

#[test]
fn wrong_frees_are_refused() {
    Machine::simple(64).run(|world| {
        let kernel = world.alloc(Gfp::KERNEL, 2, PageState::Kernel).unwrap();
        let large = world.alloc(Gfp::KERNEL, 9, PageState::Kernel).unwrap();
        let slab = world.alloc(Gfp::KERNEL, 0, PageState::Slab).unwrap();
        let anon = world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon).unwrap();
        let compound = world.alloc(Gfp::KERNEL | Gfp::__COMP, 3, PageState::Kernel).unwrap();
        let reclaimable = world.alloc(Gfp::KERNEL | Gfp::__RECLAIMABLE, 0, PageState::Kernel).unwrap();
        let free = world.alloc(Gfp::KERNEL, 1, PageState::Kernel).unwrap();
        assert!(give(world, free, 1));
        world.model.disown(free);
        assert!(world.pages.buddy().is_hot());
        let reserved = 0x800 * super::world::MIB;
        for (pfn, raw) in [
            (free, 1),
            (kernel, 0),
            (kernel, 3),
            (kernel + 1, 0),
            (kernel + 1, 2),
            (large, 10),
            (large, 4),
            (large + 16, 4),
            (slab, 0),
            (anon, 0),
            (compound, 3),
            (reclaimable, 0),
            (reserved, 0),
            (reserved - 1, 0),
            (0, 0),
            (u32::MAX, 0),
            (reserved + 64 * super::world::MIB, 0),
        ] {
            assert!(!give(world, pfn, raw), "{pfn:#x} as order {raw}");
            world.validate();
        }
        for (pfn, raw) in [(kernel, 2), (large, 9)] {
            assert!(give(world, pfn, raw));
            assert!(!give(world, pfn, raw), "a second time");
            world.model.disown(pfn);
            world.validate();
        }
        // What is refused here is freed the long way.
        [slab, anon, compound, reclaimable].into_iter().for_each(|pfn| world.free(pfn));
        world.validate();
    });
}

/// Nothing is hot while somebody has to look at each request, or memory is short.
#[test]
fn guards_and_shortage_end_it() {
    Machine::simple(32).run(|world| {
        assert!(world.pages.buddy().is_hot());
        world.pages.set_guards(Guards { init_on_free: true, ..Guards::default() });
        assert!(!world.pages.buddy().is_hot());
        world.pages.set_guards(Guards::default());
        assert!(world.pages.buddy().is_hot());
        while world.pages.buddy().is_hot() {
            world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap();
        }
        let zone = world.pages.buddy().zone(ZoneKind::Normal);
        assert!(zone.free() > zone.watermarks().low, "it ends before the mark is reached");
    });
    Machine { cpus: 2, ..Machine::simple(32) }.run(|world| assert!(!world.pages.buddy().is_hot()));
}

/// The per-CPU lists of a small machine are bounded, for blocks of each order.
#[test]
fn lists_of_small_zones_do_not_grow_without_end() {
    for mib in [8, 16, 32] {
        Machine::simple(mib).run(|world| {
            let (_, high) = world.pages.buddy().zone(ZoneKind::Normal).pcp_batch_high();
            for raw in 0..PCP_ORDERS as u8 {
                let blocks: Vec<_> =
                    (0..200).map_while(|_| world.alloc(Gfp::KERNEL, raw, PageState::Kernel)).collect();
                blocks.iter().for_each(|&pfn| world.free(pfn));
                let listed = world.pages.buddy().pcp_pages();
                assert!(listed < 2 * high, "{mib} MiB, order {raw}: {listed} pages, high {high}");
            }
            world.validate();
        });
    }
}

/// What the kernel took from a part of a pageblock of another type goes back to that type: pageblocks stay movable.
#[test]
fn parts_of_movable_pageblocks_stay_movable() {
    Machine::simple(32).run(|world| {
        // All pageblocks become movable ones in use, but for a few pages.
        let mut movable = Vec::new();
        while world.pages.buddy().is_hot() {
            movable.push(world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon).unwrap());
        }
        movable.iter().skip(1).step_by(5).for_each(|&pfn| world.free(pfn));
        world.pages.buddy_mut().drain_all_pages();
        let there = |world: &World<'_>| {
            let zone = world.pages.buddy().zone(ZoneKind::Normal);
            let pages = |kind| (0..=10).map(|raw| zone.free_blocks(kind, order(raw)) << raw).sum::<u32>();
            [MigrateType::Movable, MigrateType::Unmovable].map(pages)
        };
        let before = there(world);
        let mut taken: Vec<u32> = Vec::new();
        let foreign = |world: &World<'_>, pfn| {
            let map = &world.pages.buddy().map;
            map.block_type(map.index(Pfn::new(pfn)).unwrap()) == MigrateType::Movable
        };
        for _ in 0..200 {
            assert!(world.pages.buddy().is_hot());
            taken.push(world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap());
        }
        assert!(taken.iter().any(|&pfn| foreign(world, pfn)), "nothing to be tried: {before:?}");
        for pfn in taken {
            assert!(!foreign(world, pfn) || !give(world, pfn, 0), "{pfn:#x} would stay unmovable");
            world.free(pfn);
        }
        world.validate();
    });
}

/// A large block is not taken when that would leave the zone at its mark.
#[test]
fn large_blocks_leave_the_mark() {
    Machine::simple(32).run(|world| {
        // Pageblocks become unmovable, as they are where hot requests look.
        let blocks: Vec<_> = core::iter::from_fn(|| {
            world.pages.buddy().is_hot().then(|| world.alloc(Gfp::KERNEL, 9, PageState::Kernel).unwrap())
        })
        .collect();
        blocks.iter().for_each(|&pfn| world.free(pfn));
        assert!(world.pages.buddy().is_hot());
        let mut taken = 0;
        while let Some(pfn) = world.pages.buddy_mut().hot_take_large(Gfp::KERNEL, order(9)) {
            world.model.own(pfn.get(), 512, PageState::Kernel, false);
            assert!(world.pages.buddy().is_hot());
            world.validate();
            taken += 1;
        }
        assert!(taken > 0, "it takes some");
        let zone = world.pages.buddy().zone(ZoneKind::Normal);
        assert!(zone.free() > zone.watermarks().low, "and leaves the rest");
    });
}

/// Blocks that lay side by side are one again after they have gone through the lists.
#[test]
fn lists_give_back_whole_blocks() {
    Machine::simple(32).run(|world| {
        let before = world.free_blocks();
        for descending in [false, true] {
            let mut taken: Vec<u32> =
                (0..1500).map(|_| world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap()).collect();
            taken.sort_unstable_by_key(|&pfn| if descending { u32::MAX - pfn } else { pfn });
            for pfn in taken {
                if give(world, pfn, 0) {
                    world.model.disown(pfn);
                } else {
                    world.free(pfn);
                }
            }
            world.validate();
            assert_eq!(world.free_blocks(), before);
        }
    });
}
