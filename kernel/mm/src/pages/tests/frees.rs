//! Wrong frees: each is named, reported, and changes nothing.

use super::world::{MIB, Machine};
use crate::pages::*;
use crate::{Frames, Gfp, PageSource, PageState};
use std::{string::ToString, vec::Vec};
use types::{Order, Pfn};

const fn order(raw: u8) -> Order {
    Order::new(raw).unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn each_wrong_free_is_named() {
    let machine = Machine { banks: std::vec![(0x800, 32), (0x900, 8)], ..Machine::simple(32) };
    machine.run(|world| {
        let block = Pfn::new(world.alloc(Gfp::KERNEL, 3, PageState::Slab).unwrap());
        let gone = Pfn::new(world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap());
        let gone_large = Pfn::new(world.alloc(Gfp::KERNEL, 6, PageState::Kernel).unwrap());
        world.free(gone.get());
        world.free(gone_large.get());
        let owner = PageState::Slab;
        let (reserved, hole) = (Pfn::new(0x800 * MIB), Pfn::new(0x840 * MIB));
        let cases = [
            (block.add(3), order(0), FreeError::NotHead { pfn: block.add(3), head: block, owner }),
            (block, order(2), FreeError::WrongOrder { pfn: block, given: order(2), actual: order(3), owner }),
            (gone, order(0), FreeError::DoubleFree { pfn: gone, owner: PageState::PerCpu }),
            (
                gone_large.add(5),
                order(0),
                FreeError::DoubleFree { pfn: gone_large.add(5), owner: PageState::Free },
            ),
            (reserved, order(0), FreeError::Reserved { pfn: reserved }),
            (hole, order(0), FreeError::NotMemory { pfn: hole }),
            (Pfn::new(0xfffff), order(10), FreeError::NotMemory { pfn: Pfn::new(0xfffff) }),
        ];
        for (pfn, order, expected) in cases {
            assert_eq!(world.pages.try_free(pfn, order), Err(expected));
            world.validate();
        }
        let foreign = world.pages.free_raw(block, order(3), PageState::Vmalloc);
        assert_eq!(foreign, Err(FreeError::Foreign { pfn: block, expected: PageState::Vmalloc, owner }));
        world.model.disown(block.get());
        world.pages.free_raw(block, order(3), PageState::Slab).unwrap();
        world.validate();
    });
}

#[test]
fn a_double_free_is_reported_and_harmless() {
    Machine::simple(8).run(|world| {
        let pfn = world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap();
        world.free(pfn);
        let lines =
            testkit::log::capture(|| world.pages.free_pages(Frames::from_raw(Pfn::new(pfn), order(0))));
        let expected = [
            std::format!("BUG: Bad page state in process swapper  pfn:{pfn:05x}"),
            std::format!("page:{pfn:08x} pfn:{pfn:#x} head:{pfn:#x} order:0 owner:the per-CPU lists"),
            std::format!("page dumped because: double free of pfn {pfn:#07x}: it is in the per-CPU lists"),
        ];
        assert_eq!(lines.iter().map(|line| line.1.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(lines[0].0, log::Level::Error);
        assert_eq!(world.pages.stat().bad_frees, 1);
        world.validate();
    });
}

#[test]
fn pinned_pages_are_not_freed() {
    Machine::simple(8).run(|world| {
        let pfn = Pfn::new(world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon).unwrap());
        world.pages.page_mut(pfn).unwrap().set_pins(2);
        let error = world.pages.try_free(pfn, order(0)).unwrap_err();
        assert_eq!(error, FreeError::Pinned { pfn, pins: 2 });
        assert_eq!(error.to_string(), std::format!("free of pfn {pfn}: pinned 2 times"));
        world.pages.page_mut(pfn).unwrap().set_pins(0);
        world.free(pfn.get());
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn exact_counts() {
    Machine::simple(32).run(|world| {
        let at_boot = world.free_blocks();
        for count in [1, 2, 3, 5, 100, 1000, 1023, 1024] {
            let run = world.pages.alloc_pages_exact(Gfp::KERNEL, count, PageState::Dma).unwrap();
            assert_eq!(run.count(), count);
            assert_eq!(world.pages.buddy().pages_in_use(PageState::Dma), count);
            let pfn = run.pfn();
            // What cuts a block is seen; the records don't know that several blocks were one run.
            assert!(
                count == 1 || !count.is_power_of_two() || world.pages.try_free_run(pfn, count - 1).is_err()
            );
            assert!(world.pages.try_free_run(pfn, count + 1).is_err());
            assert_eq!(world.pages.buddy().pages_in_use(PageState::Dma), count);
            world.pages.free_pages_exact(run);
            world.validate();
        }
        for count in [0, 1025] {
            assert!(world.pages.alloc_pages_exact(Gfp::KERNEL, count, PageState::Dma).is_err());
        }
        assert_eq!(world.free_blocks(), at_boot);
    });
}

/// A run with another owner's block in it is refused as a whole.
#[test]
fn runs_are_freed_whole_or_not_at_all() {
    Machine::simple(8).run(|world| {
        let run = world.pages.alloc_pages_exact(Gfp::KERNEL, 12, PageState::Dma).unwrap();
        world.pages.page_mut(run.pfn().add(8)).unwrap().set_state(PageState::Vmalloc);
        let pfn = run.pfn().add(8);
        let error = world.pages.try_free_run(run.pfn(), 12).unwrap_err();
        assert_eq!(error, FreeError::Foreign { pfn, expected: PageState::Dma, owner: PageState::Vmalloc });
        world.pages.page_mut(pfn).unwrap().set_state(PageState::Dma);
        world.pages.free_pages_exact(run);
        world.validate();
    });
}
