//! Declare, activate, alloc, release: all counters at each point.

use crate::cma::{AvailablePages, BitmapWords, Cma, CmaError};
use crate::pages::tests::world::{MIB, Machine, World};
use crate::pages::{FreeError, ZoneKind};
use crate::{Gfp, MigrateType, PageState};
use std::string::ToString;
use types::Pfn;

/// free, free CMA, taken by CMA, movable, all pages in use.
fn counters(world: &World<'_>) -> (u32, u32, u32, u32, u32) {
    let buddy = world.pages.buddy();
    let zone = buddy.zone(ZoneKind::Normal);
    let taken = buddy.pages_in_use(PageState::CmaTaken);
    let free = zone.free() + buddy.pcp_pages();
    (free, zone.free_cma(), taken, buddy.pages_in_use(PageState::Anon), world.model.in_use())
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn activation_gives_the_pages_to_the_buddy() {
    Machine::simple(64).with_cma(8).run(|world| {
        let buddy = world.pages.buddy();
        let zone = buddy.zone(ZoneKind::Normal);
        assert_eq!((zone.cma(), zone.free_cma(), zone.managed()), (8 * MIB, 8 * MIB, 63 * MIB));
        assert_eq!(world.cma.total_pages(), 8 * MIB);
        for block in [0x838, 0x83c] {
            assert_eq!(buddy.pageblock_type(Pfn::new(block * MIB)), Some(MigrateType::Cma));
        }
        assert_eq!(zone.free_blocks(MigrateType::Cma, types::Order::MAX), 2);
        let area = world.cma.area(world.areas[0]).unwrap();
        assert_eq!((area.name(), area.base_pfn().get(), area.count()), ("reserved", 0x838 * MIB, 8 * MIB));
        assert_eq!((area.used(), area.maxchunk(), area.bits()), (0, 8 * MIB, 8 * MIB));
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn counters_through_a_life() {
    Machine::simple(64).with_cma(8).run(|world| {
        let all = 63 * MIB;
        assert_eq!(counters(world), (all, 8 * MIB, 0, 0, 0));
        let idle = world.cma_alloc(MIB, 4).unwrap();
        assert_eq!(idle.pfn().get(), 0x838 * MIB);
        assert_eq!(counters(world), (all - MIB, 7 * MIB, MIB, 0, MIB));
        world.validate();
        let held = world.fill_movable();
        assert_eq!(counters(world).1, 0, "movable memory uses all of CMA");
        assert_eq!(counters(world).3, held.len() as u32);
        // Room elsewhere for what has to move.
        held.iter().filter(|&&pfn| pfn < 0x838 * MIB).take(7 * 256).for_each(|&pfn| world.free(pfn));
        let movable = counters(world).3;
        let moved = world.cma_alloc(6 * MIB, 0).unwrap();
        assert_eq!(moved.pfn().get(), 0x839 * MIB);
        let now = counters(world);
        assert_eq!((now.2, now.3), (7 * MIB, movable));
        assert_eq!(world.pages.stat().pgmigrate_success, 6 * MIB);
        assert_eq!((world.pages.stat().cma_alloc_success, world.pages.stat().cma_alloc_fail), (2, 0));
        world.validate();
        world.cma_release(idle);
        world.cma_release(moved);
        assert_eq!(counters(world).2, 0);
        assert_eq!(world.cma.area(world.areas[0]).unwrap().used(), 0);
        world.validate();
        let left: std::vec::Vec<u32> = world.model.owned.keys().copied().collect();
        left.into_iter().for_each(|pfn| world.free(pfn));
        assert_eq!(world.free_blocks().iter().map(|block| 1 << block.1).sum::<u32>(), all);
        assert_eq!(counters(world), (all, 8 * MIB, 0, 0, 0));
        world.validate();
    });
}

/// An area filled completely with movable pages gives its whole length as one allocation.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn whole_area_from_under_movable_pages() {
    for size in [4, 8, 64] {
        Machine::simple(3 * size + 24).with_cma(size).run(|world| {
            let held = world.fill_movable();
            let base = world.cma.area(world.areas[0]).unwrap().base_pfn().get();
            let (inside, outside): (std::vec::Vec<u32>, std::vec::Vec<u32>) =
                held.into_iter().partition(|&pfn| pfn >= base);
            assert_eq!(inside.len() as u32, size * MIB);
            outside.iter().take((size * MIB) as usize + 600).for_each(|&pfn| world.free(pfn));
            let taken = world.cma_alloc(size * MIB, 0).unwrap();
            assert_eq!((taken.pfn().get(), taken.count()), (base, size * MIB));
            assert_eq!(world.pages.stat().pgmigrate_success, size * MIB);
            world.validate();
            world.cma_release(taken);
            world.validate();
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn area_in_two_zones_becomes_ordinary_memory() {
    let mut machine = Machine::simple(64);
    machine.highmem = Some(0x834);
    machine.reserved.push((0x830, 8));
    machine.run(|world| {
        let id = world.cma.declare("split", Pfn::new(0x830 * MIB), 8 * MIB, 0).unwrap();
        let before = world.pages.buddy().managed_pages();
        assert_eq!(world.cma.bitmap_words(id), 64);
        let words = world.spare.take().unwrap();
        let pfn = Pfn::new(0x830 * MIB);
        let error = world.cma.activate(&mut world.pages, id, words).unwrap_err();
        assert_eq!(error, CmaError::NotReserved { why: FreeError::NotMemory { pfn } });
        assert_eq!(world.pages.buddy().managed_pages() - before, 8 * MIB);
        assert_eq!((world.cma.total_pages(), world.pages.buddy().zone(ZoneKind::Normal).cma()), (0, 0));
        let refused = world.cma.begin(&mut world.pages, id, (1, 0), Gfp::KERNEL, "tester");
        assert_eq!(refused.unwrap_err(), CmaError::NoArea);
        world.pages.buddy().validate().unwrap();
    });
}

#[test]
fn declarations_are_checked() {
    let mut cma = Cma::default();
    let misaligned = |base, count| Err(CmaError::Misaligned { base: Pfn::new(base), count });
    for (base, count, order) in
        [(0x100, 1024, 0), (0x400, 0, 0), (0x400, 1000, 0), (0x400, 1024, 11), (0x400, 1024, 40)]
    {
        assert_eq!(cma.declare("bad", Pfn::new(base), count, order), misaligned(base, count));
    }
    for nth in 0..8 {
        let id = cma.declare(format_args!("cma{nth}"), Pfn::new(nth * 0x400), 1024, 0).unwrap();
        assert_eq!(cma.area(id).unwrap().name(), std::format!("cma{nth}"));
    }
    assert_eq!(cma.declare("ninth", Pfn::new(0x8000), 1024, 0), Err(CmaError::TooManyAreas));
    assert_eq!(cma.total_pages(), 8 * 1024);
    assert_eq!(cma.area_of(Pfn::new(0x7ff)).unwrap().index(), 1);
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn debugfs_values() {
    let machine = Machine { order_per_bit: 4, ..Machine::simple(64).with_cma(4) };
    machine.run(|world| {
        let first = world.cma_alloc(20, 0).unwrap();
        let second = world.cma_alloc(16, 6).unwrap();
        let area = world.cma.area(world.areas[0]).unwrap();
        // 20 pages take two bits of 16; the second request waits for a multiple of 64 pages.
        assert_eq!(second.pfn().get() - first.pfn().get(), 64);
        assert_eq!(BitmapWords(area).to_string(), "19 0\n");
        assert_eq!((area.used(), area.maxchunk(), area.order_per_bit()), (48, 1024 - 80, 4));
        assert_eq!(AvailablePages(area).to_string(), "32@2+944@5=> 976 free of 1024 total pages");
        world.validate();
        world.cma_release(first);
        world.cma_release(second);
        let area = world.cma.area(world.areas[0]).unwrap();
        assert_eq!(BitmapWords(area).to_string(), "0 0\n");
        world.validate();
    });
}
