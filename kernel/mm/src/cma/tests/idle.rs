//! What is taken at once is what the long way would take.

use crate::cma::CmaProgress;
use crate::pages::Guards;
use crate::pages::tests::world::Machine;
use crate::{Gfp, PageState};
use std::{vec, vec::Vec};

/// Sizes in pages, with alignments.
const REQUESTS: [(u32, u8); 9] =
    [(1, 0), (3, 0), (8, 3), (16, 4), (17, 0), (255, 4), (256, 4), (1024, 4), (300, 0)];

#[test]
fn the_same_place_as_the_long_way() {
    Machine::simple(32).with_cma(8).run(|world| {
        let id = world.areas[0];
        let mut held = vec![];
        for request in REQUESTS {
            let long = match world.cma.begin(&mut world.pages, id, request, Gfp::KERNEL, "long").unwrap() {
                CmaProgress::Done(taken) => taken,
                CmaProgress::More(_) => panic!("nothing has to be moved"),
            };
            let (pfn, count) = (long.pfn(), long.count());
            world.cma.release(&mut world.pages, long);
            // Twice: the second time a small block comes from the per-CPU list.
            for _ in 0..2 {
                world.validate();
                let taken = world.cma.take_at_once(&mut world.pages, id, request, "once").unwrap();
                assert_eq!((taken.pfn(), taken.count()), (pfn, count));
                assert_eq!(world.cma.owner_of(&world.pages, pfn), Some(("once", pfn, count)));
                world.model.own(pfn.get(), count, PageState::CmaTaken, true);
                world.validate();
                world.model.disown(pfn.get());
                world.cma.release(&mut world.pages, taken);
            }
            let taken = world.cma.take_at_once(&mut world.pages, id, request, "kept").unwrap();
            world.model.own(pfn.get(), count, PageState::CmaTaken, true);
            held.push(taken);
        }
        for taken in held {
            world.model.disown(taken.pfn().get());
            world.cma.release(&mut world.pages, taken);
        }
        world.validate();
        let whole = world.cma.take_at_once(&mut world.pages, id, (2048, 0), "all").unwrap();
        world.cma.release(&mut world.pages, whole);
        world.validate();
    });
}

/// Whatever takes more than taking is left to the long way, and nothing has changed.
#[test]
fn everything_else_is_left() {
    Machine::simple(32).with_cma(8).run(|world| {
        let id = world.areas[0];
        let filled: Vec<u32> = world.fill_movable();
        for request in REQUESTS {
            assert_eq!(world.cma.take_at_once(&mut world.pages, id, request, "driver"), None);
        }
        world.validate();
        filled.into_iter().for_each(|pfn| world.free(pfn));
        for request in [(0, 0), (1, 21), (2049, 0), (1 << 31, 0)] {
            assert_eq!(world.cma.take_at_once(&mut world.pages, id, request, "driver"), None);
        }
        world.pages.set_guards(Guards { init_on_alloc: true, ..Guards::default() });
        assert_eq!(world.cma.take_at_once(&mut world.pages, id, (1, 0), "driver"), None);
        world.pages.set_guards(Guards::default());
        world.validate();
    });
}
