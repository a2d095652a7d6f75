//! What is refused, why, and that it changes nothing.

use crate::cma::CmaError;
use crate::pages::tests::world::{MIB, Machine};
use crate::{Gfp, MigrateError, PageState};
use std::string::ToString;
use types::{Order, Pfn};

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn release_of_anything_but_what_was_given() {
    Machine::simple(64).with_cma(8).run(|world| {
        let taken = world.cma_alloc(5, 0).unwrap();
        let other = world.cma_alloc(7, 0).unwrap();
        let (pfn, owner) = (taken.pfn(), "tester");
        let wrong =
            |pfn, count| CmaError::WrongRange { pfn, count, given_pfn: taken.pfn(), given_count: 5, owner };
        let cases = [
            (pfn, 6, "tester", wrong(pfn, 6)),
            (pfn, 4, "tester", wrong(pfn, 4)),
            (pfn.add(1), 4, "tester", wrong(pfn.add(1), 4)),
            (pfn, 5, "thief", CmaError::Foreign { pfn, by: "thief", owner }),
            (pfn.add(100), 1, "tester", CmaError::NotTaken { pfn: pfn.add(100), owner: PageState::Free }),
            (Pfn::new(3), 1, "tester", CmaError::NotTaken { pfn: Pfn::new(3), owner: PageState::NotMemory }),
        ];
        for (pfn, count, by, expected) in cases {
            assert_eq!(world.cma.release_raw(&mut world.pages, pfn, count, by), Err(expected));
            world.validate();
        }
        assert_eq!(
            wrong(pfn, 6).to_string(),
            "release of 6 pages at pfn 0x83800: tester was given 5 pages at pfn 0x83800"
        );
        assert_eq!(world.cma.owner_of(&world.pages, pfn.add(4)), Some(("tester", pfn, 5)));
        assert!(world.pages.try_free(pfn, Order::new(2).unwrap()).is_err());
        world.cma.release_raw(&mut world.pages, pfn, 5, "tester").unwrap();
        world.model.disown(pfn.get());
        let again = world.cma.release_raw(&mut world.pages, pfn, 5, "tester");
        assert!(matches!(again, Err(CmaError::NotTaken { .. })), "{again:?}");
        // The token of pages that are gone is no better.
        let errors = world.pages.buddy().free_page_count();
        world.cma.release(&mut world.pages, taken);
        assert_eq!(world.pages.buddy().free_page_count(), errors);
        world.cma_release(other);
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn impossible_requests() {
    Machine::simple(64).with_cma(8).run(|world| {
        assert_eq!(world.cma_alloc(0, 0).unwrap_err(), CmaError::BadRequest { count: 0, align: 0 });
        assert_eq!(world.cma_alloc(1, 21).unwrap_err(), CmaError::BadRequest { count: 1, align: 21 });
        let refused = world.cma_alloc(8 * MIB + 1, 0).unwrap_err();
        assert_eq!(refused, CmaError::NoSpace { count: 8 * MIB + 1, longest: 8 * MIB });
        assert_eq!(refused.errno(), -12);
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn no_room_elsewhere() {
    Machine::simple(64).with_cma(8).run(|world| {
        world.fill_movable();
        while world.alloc(Gfp::KERNEL | Gfp::__MEMALLOC, 0, PageState::Kernel).is_some() {}
        let before = world.model.clone();
        let refused = world.cma_alloc(256, 0).unwrap_err();
        assert!(matches!(refused, CmaError::NoRoomElsewhere { moves: 256, .. }), "{refused:?}");
        assert_eq!((refused.errno(), world.pages.stat().cma_alloc_fail), (-12, 1));
        assert_eq!(world.model, before);
        assert_eq!(world.cma.area(world.areas[0]).unwrap().used(), 0);
        world.validate();
    });
}

/// What lies free is found when there is no room elsewhere, however far it is and whatever is in the way before.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn no_room_elsewhere_but_a_free_stretch() {
    for (align, at) in [(0, 1000), (4, 1008)] {
        Machine::simple(64).with_cma(8).run(|world| {
            let held = world.fill_movable();
            while world.alloc(Gfp::KERNEL | Gfp::__MEMALLOC, 0, PageState::Kernel).is_some() {}
            let base = 0x838 * MIB;
            let gone = |pfn: u32| (base + 1000..base + at + 256).contains(&pfn) || pfn == base + 3;
            held.iter().filter(|&&pfn| gone(pfn)).for_each(|&pfn| world.free(pfn));
            let taken = world.cma_alloc(256, align).unwrap();
            assert_eq!(taken.pfn().get(), base + at);
            assert_eq!((world.pages.stat().pgmigrate_success, world.pages.stat().pgmigrate_fail), (0, 0));
            world.validate();
        });
    }
}

/// Everything is stuck: the request ends, says where, and nothing is left isolated.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn nothing_moves() {
    for (why, errno) in
        [(MigrateError::Busy, -16), (MigrateError::Pinned, -16), (MigrateError::NoMemory, -12)]
    {
        Machine::simple(64).with_cma(8).run(|world| {
            let held = world.fill_movable();
            held.iter().filter(|&&pfn| pfn < 0x838 * MIB).take(100).for_each(|&pfn| world.free(pfn));
            let refused = world.cma_alloc_refusing(256, 0, Some((0, why))).unwrap_err();
            assert_eq!(refused.errno(), errno, "{refused}");
            if errno == -16 {
                assert!(refused.to_string().contains("an address space did not move"), "{refused}");
            }
            world.validate();
            assert_eq!(world.cma.area(world.areas[0]).unwrap().used(), 0);
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn an_aborted_request_leaves_no_trace() {
    Machine::simple(64).with_cma(8).run(|world| {
        let held = world.fill_movable();
        held.iter().take(3000).for_each(|&pfn| world.free(pfn));
        let id = world.areas[0];
        let before = world.free_blocks();
        let progress = world.cma.begin(&mut world.pages, id, (8 * MIB, 0), Gfp::KERNEL, "tester").unwrap();
        let crate::cma::CmaProgress::More(alloc) = progress else { panic!("nothing to move") };
        assert_ne!(world.free_blocks(), before);
        world.cma.abort(&mut world.pages, alloc);
        assert_eq!(world.free_blocks(), before);
        assert_eq!(world.cma.area(id).unwrap().used(), 0);
        world.validate();
    });
}

#[test]
fn part_of_an_allocation() {
    Machine::simple(12).with_cma(4).run(|world| {
        let taken = world.cma_alloc(300, 0).unwrap();
        let pfn = taken.pfn();
        let rest = world.cma.release_part(&mut world.pages, taken, 77).unwrap().unwrap();
        assert_eq!((rest.pfn(), rest.count()), (pfn.add(77), 223));
        world.model.disown(pfn.get());
        world.model.own(rest.pfn().get(), rest.count(), PageState::CmaTaken, true);
        world.validate();
        assert_eq!(world.cma.owner_of(&world.pages, pfn.add(299)), Some(("tester", pfn.add(77), 223)));
        assert_eq!(world.cma.area(world.areas[0]).unwrap().used(), 223);
        world.model.disown(rest.pfn().get());
        assert_eq!(world.cma.release_part(&mut world.pages, rest, 223).unwrap(), None);
        world.validate();
    });
}
