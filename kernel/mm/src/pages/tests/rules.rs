//! Who gets how much, from which lists: watermarks, migratetypes, CMA, reserves.

use super::world::{MIB, Machine, Pages, World};
use crate::pages::*;
use crate::{AllocError, Frames, Gfp, MigrateType, PageSource, PageState, Reclaimer};
use std::string::{String, ToString};
use std::vec::Vec;
use types::{Order, Pfn};

const NORMAL: ZoneKind = ZoneKind::Normal;

impl World<'_> {
    /// Pages of order 0 until there are no more; returns what is free then.
    fn exhaust(&mut self, gfp: Gfp) -> u32 {
        while self.alloc(gfp, 0, PageState::Kernel).is_some() {}
        self.pages.buddy().zone(NORMAL).free()
    }
}

/// Invariant 8: how far each kind of request may go.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn reserves_are_kept_for_their_users() {
    Machine::simple(128).run(|world| {
        let marks = world.pages.buddy().zone(NORMAL).watermarks();
        assert_eq!(marks, Watermarks { min: 360, low: 450, high: 540 });
        let batch = world.pages.buddy().zone(NORMAL).pcp_batch_high().0;
        let mut reaches = |gfp, mark: u32| {
            let free = world.exhaust(gfp);
            assert!(free <= mark && free + batch + 1 > mark, "{gfp}: {free} free, mark {mark}");
        };
        reaches(Gfp::KERNEL, 360);
        // Can't sleep, but is not important.
        reaches(Gfp::NOWAIT, 360);
        reaches(Gfp::KERNEL | Gfp::__HIGH, 180);
        reaches(Gfp::ATOMIC, 135);
        assert_eq!(
            world.exhaust(Gfp::KERNEL | Gfp::__MEMALLOC | Gfp::__NOMEMALLOC),
            world.exhaust(Gfp::ATOMIC)
        );
        assert_eq!(world.exhaust(Gfp::KERNEL | Gfp::__MEMALLOC), 0);
        world.validate();
    });
}

/// A request that could be served from NORMAL takes from zone DMA when that is used up, and leaves there what is for
/// devices.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn zone_dma_keeps_a_reserve_for_devices() {
    let machine = Machine { dma_end: Some(0x820), ..Machine::simple(128) };
    machine.run(|world| {
        let zone = |world: &World<'_>, kind| world.pages.buddy().zone(kind).clone();
        let (dma, normal) = (zone(world, ZoneKind::Dma), zone(world, NORMAL));
        assert_eq!((dma.managed(), normal.managed()), (31 * MIB, 96 * MIB));
        let (dma_min, reserve) = (dma.watermarks().min, 96 * MIB / 256);
        let mut reaches = |gfp: Gfp, marks: &[(ZoneKind, u32)]| {
            while world.alloc(gfp, 0, PageState::Kernel).is_some() {}
            for &(kind, mark) in marks {
                let zone = zone(world, kind);
                let (free, batch) = (zone.free(), zone.pcp_batch_high().0);
                assert!(free <= mark && free + batch + 1 > mark, "{gfp}, {kind:?}: {free} free, mark {mark}");
            }
        };
        let min = normal.watermarks().min;
        reaches(Gfp::KERNEL, &[(NORMAL, min), (ZoneKind::Dma, dma_min + reserve)]);
        let atomic = |min: u32| min - min / 2 - (min - min / 2) / 4;
        reaches(Gfp::ATOMIC, &[(NORMAL, atomic(min)), (ZoneKind::Dma, atomic(dma_min) + reserve)]);
        reaches(Gfp::KERNEL | Gfp::DMA, &[(ZoneKind::Dma, dma_min)]);
        reaches(Gfp::ATOMIC | Gfp::DMA, &[(ZoneKind::Dma, atomic(dma_min))]);
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn nofail_uses_everything_that_is_left() {
    Machine::simple(32).run(|world| {
        world.exhaust(Gfp::KERNEL);
        let mut got = 0;
        while world.alloc(Gfp::KERNEL | Gfp::__NOFAIL, 0, PageState::Kernel).is_some() {
            got += 1;
        }
        assert!(got > 100);
        assert_eq!(world.pages.buddy().free_page_count(), 0);
        world.validate();
    });
}

/// The seed's zone has other pages than any machine here; what can be set is what counts.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn tunables_move_the_marks() {
    Machine::simple(128).run(|world| {
        let buddy = world.pages.buddy_mut();
        let total = buddy.total_pages();
        buddy.set_tunables(Tunables { min_free_kbytes: 4096, extra_free_kbytes: 8192, ..buddy.tunables() });
        let managed = buddy.zone(NORMAL).managed();
        let extra = 2048 * managed / total;
        assert_eq!(
            buddy.zone(NORMAL).watermarks(),
            Watermarks { min: 1024, low: 1024 + extra + 256, high: 1024 + extra + 512 }
        );
        buddy.set_tunables(Tunables { watermark_scale_factor: 1000, ..buddy.tunables() });
        let step = managed / 10;
        assert_eq!(buddy.zone(NORMAL).watermarks().low, 1024 + extra + step);
        buddy.init_watermarks();
        assert!(buddy.tunables().min_free_kbytes < 1500);
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn low_memory_wakes_background_reclaim() {
    Machine::simple(32).run(|world| {
        let above_low = |world: &World<'_>| {
            let zone = world.pages.buddy().zone(NORMAL);
            zone.free() > zone.watermarks().low + zone.boost()
        };
        while above_low(world) {
            let boost = world.pages.buddy().zone(NORMAL).boost();
            world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap();
            let boosted = world.pages.buddy().zone(NORMAL).boost() > boost;
            assert_eq!(world.pages.take_kswapd_wanted(), boosted);
        }
        world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap();
        assert!(world.pages.take_kswapd_wanted());
        assert!(!world.pages.take_kswapd_wanted());
    });
}

/// Gives back what it holds, some at a time.
struct Hoard(Vec<u32>);

impl<'m> Reclaimer<Pages<'m>> for Hoard {
    fn reclaim(&mut self, pages: &mut Pages<'m>, _: Gfp, _: Order) -> u32 {
        let some = self.0.len().min(40);
        for pfn in self.0.drain(..some) {
            pages.free_pages(Frames::from_raw(Pfn::new(pfn), Order::ZERO));
        }
        some as u32
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn reclaimers_are_asked_only_by_those_who_may_wait() {
    Machine::simple(32).run(|world| {
        let mut hoard = Hoard(Vec::new());
        while let Some(pfn) = world.alloc(Gfp::KERNEL, 0, PageState::Kernel) {
            hoard.0.push(pfn);
        }
        let held = hoard.0.len();
        let stalls = world.pages.stat().allocstall[NORMAL as usize];
        let gfp = Gfp::KERNEL | Gfp::__NOWARN;
        let mut ask = |gfp, hoard: &mut Hoard| {
            world.pages.alloc_pages_with(gfp, Order::new(2).unwrap(), PageState::Kernel, hoard)
        };
        ask(Gfp::NOWAIT | Gfp::__NOWARN, &mut hoard).unwrap_err();
        assert_eq!(hoard.0.len(), held);
        let frames = ask(gfp, &mut hoard).unwrap();
        assert!(hoard.0.len() < held);
        let _ = frames.into_raw();
        assert!(world.pages.stat().pgsteal_direct >= 40);
        assert_eq!(world.pages.stat().allocstall[NORMAL as usize], stalls + 1);
        let freed = world.pages.balance(&mut hoard);
        let zone = world.pages.buddy().zone(NORMAL);
        assert!(zone.free() > zone.watermarks().high && freed > 0);
        world.pages.buddy().validate().unwrap();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn sleeping_flags_in_atomic_context_are_a_bug() {
    Machine::simple(32).run(|world| {
        world.pages.set_context(0, true);
        let mut pfn = None;
        let lines = testkit::log::capture(|| pfn = world.alloc(Gfp::KERNEL, 0, PageState::Kernel));
        assert!(pfn.is_some());
        assert_eq!(lines[0].1, "BUG: sleeping function called from invalid context at alloc_pages");
        assert_eq!(lines[1].1, "in_atomic(): 1, mode:0x2cc0(GFP_KERNEL|__GFP_NOWARN), cpu: 0");
        let lines = testkit::log::capture(|| _ = world.alloc(Gfp::ATOMIC, 0, PageState::Kernel));
        assert_eq!(lines, []);
        assert_eq!(world.pages.stat().atomic_bugs, 1);
        // It is treated as a request that can't sleep: nobody is asked to give anything back.
        world.exhaust(Gfp::ATOMIC);
        let stalls = world.pages.stat().allocstall;
        testkit::log::capture(|| assert_eq!(world.alloc(Gfp::KERNEL, 0, PageState::Kernel), None));
        assert_eq!(world.pages.stat().allocstall, stalls);
        world.pages.set_context(1, false);
        assert_eq!(testkit::log::capture(|| _ = world.alloc(Gfp::KERNEL, 0, PageState::Kernel)), []);
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn a_failure_prints_linuxs_report() {
    Machine::simple(32).with_cma(4).run(|world| {
        world.exhaust(Gfp::KERNEL);
        let order = Order::new(4).unwrap();
        let mut result = Ok(());
        let lines = testkit::log::capture(|| {
            result = world
                .pages
                .alloc_pages(Gfp::KERNEL, order, PageState::Kernel)
                .map(|frames| _ = frames.into_raw());
        });
        assert_eq!(result, Err(AllocError::NoMemory { order, gfp: Gfp::KERNEL }));
        let lines: Vec<String> = lines.into_iter().map(|line| line.1).collect();
        let zone = world.pages.buddy().zone(NORMAL);
        assert_eq!(
            lines[0],
            "swapper: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL), nodemask=(null)"
        );
        assert_eq!(lines[1], "Mem-Info:");
        assert_eq!(lines[2], "active_anon:0 inactive_anon:0 isolated_anon:0");
        let node = lines.iter().position(|line| line.starts_with("Node 0 active_anon:0kB")).unwrap();
        let expected =
            std::format!("Normal free:{}kB boost:0kB min:{}kB", zone.free() * 4, zone.watermarks().min * 4);
        assert!(lines[node + 1].starts_with(&expected), "{} is not {expected}", lines[node + 1]);
        assert!(lines[node + 1].ends_with("free_cma:4096kB"));
        assert_eq!(lines[node + 2], "lowmem_reserve[]: 0 0");
        assert_eq!(lines[node + 3], FreeArea(zone).to_string());
        assert!(lines[node + 3].contains("1*4096kB (C) = "));
        assert!(lines.contains(&"8192 pages RAM".to_string()));
        assert!(lines.contains(&"1024 pages cma reserved".to_string()));
        // No more than ten, until the kernel's clock allows more.
        let count = |world: &mut World<'_>| {
            let lines = testkit::log::capture(|| {
                for _ in 0..20 {
                    let result = world.pages.alloc_pages(Gfp::KERNEL, order, PageState::Kernel);
                    assert!(result.is_err());
                }
            });
            lines.iter().filter(|line| line.1.contains("page allocation failure")).count()
        };
        assert_eq!(count(world), 9);
        world.pages.allow_reports();
        assert_eq!(count(world), 10);
    });
}

/// So many movable pages take CMA and normal memory at the same rate.
fn fill_in_proportion(world: &mut World<'_>, pages: u32) {
    let part = |free: u32, of: u32| f64::from(free) / f64::from(of);
    for _ in 0..pages {
        world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon).unwrap();
        let zone = world.pages.buddy().zone(NORMAL);
        let (cma, normal) = (part(zone.free_cma(), zone.cma()), zone.free() - zone.free_cma());
        let normal = part(normal, zone.managed() - zone.cma());
        assert!((cma - normal).abs() < 0.01, "CMA {cma}, normal {normal}");
    }
}

/// Movable memory fills CMA and normal memory at the same rate.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn cma_and_normal_memory_fill_in_proportion() {
    Machine::simple(128).with_cma(32).run(|world| fill_in_proportion(world, 20_000));
}

/// Also when the kernel has had all of normal memory before, so that its pageblocks are not movable ones any more.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn they_fill_in_proportion_whatever_was_there_before() {
    Machine::simple(128).with_cma(32).run(|world| {
        world.exhaust(Gfp::KERNEL);
        let held: Vec<u32> = world.model.owned.keys().copied().collect();
        held.into_iter().for_each(|pfn| world.free(pfn));
        fill_in_proportion(world, 20_000);
    });
}

/// What is left of normal memory is for those who can't use CMA; movable memory then uses all of the area.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn normal_memory_is_not_short_while_cma_is_free() {
    Machine::simple(64).with_cma(32).run(|world| {
        loop {
            let zone = world.pages.buddy().zone(NORMAL);
            let (high, batch) = (zone.watermarks().high, zone.pcp_batch_high().0);
            let normal = zone.free() - zone.free_cma();
            assert!(
                zone.free_cma() == 0 || normal + batch + 1 >= high,
                "{normal} normal, {} CMA",
                zone.free_cma()
            );
            if zone.free_cma() == 0 {
                break;
            }
            world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon).unwrap();
        }
        // Kernel memory is to be had until min, as if there had never been a CMA area.
        for _ in 0..50 {
            world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap();
        }
        world.validate();
    });
}

/// Never out of memory for movable requests while CMA memory is free, however full normal memory is.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn movable_requests_use_the_last_of_cma() {
    Machine::simple(64).with_cma(16).run(|world| {
        world.exhaust(Gfp::KERNEL | Gfp::__MEMALLOC);
        let zone = world.pages.buddy().zone(NORMAL);
        assert_eq!(zone.free(), 16 * MIB);
        let min = zone.watermarks().min;
        let got = world.fill_movable().len() as u32;
        assert!(got + min + 10 >= 16 * MIB, "{got} of {}", 16 * MIB);
        world.validate();
    });
}

/// Only owners that can move their pages get CMA memory, whatever the flags say (invariant 3).
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn cma_is_for_movable_owners_only() {
    Machine::simple(32).with_cma(16).run(|world| {
        world.fill_movable();
        let held: Vec<u32> = world.model.owned.keys().copied().filter(|&pfn| pfn >= 0x810 * MIB).collect();
        held.into_iter().for_each(|pfn| world.free(pfn));
        // Those pages wait in the CPU's movable list and in the area; nobody else gets one.
        for gfp in [Gfp::HIGHUSER_MOVABLE, Gfp::KERNEL | Gfp::__RECLAIMABLE, Gfp::ATOMIC] {
            while let Some(pfn) = world.alloc(gfp | Gfp::__MEMALLOC, 0, PageState::Vmalloc) {
                assert!(pfn < 0x810 * MIB);
            }
        }
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn a_stolen_pageblock_changes_sides() {
    Machine::simple(64).run(|world| {
        let pfn = world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap();
        assert_eq!(world.pages.buddy().pageblock_type(Pfn::new(pfn)), Some(MigrateType::Unmovable));
        let movable = world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon).unwrap();
        assert_eq!(world.pages.buddy().pageblock_type(Pfn::new(movable)), Some(MigrateType::Movable));
        assert_eq!(world.pages.buddy().zone(NORMAL).boost(), 0, "a whole pageblock was there to be had");
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn breaking_up_a_pageblock_boosts_the_marks() {
    Machine::simple(64).run(|world| {
        // Every pageblock has a movable page in it.
        let held = world.fill_movable();
        held.iter().filter(|&&pfn| !pfn.is_multiple_of(64)).for_each(|&pfn| world.free(pfn));
        world.pages.buddy_mut().drain_all_pages();
        world.pages.take_kswapd_wanted();
        world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap();
        assert_eq!(world.pages.buddy().zone(NORMAL).boost(), 1024, "a pageblock's pages, the first time");
        assert!(world.pages.take_kswapd_wanted());
        world.pages.balance(&mut Hoard(Vec::new()));
        assert_eq!(world.pages.buddy().zone(NORMAL).boost(), 0);
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn high_order_atomic_requests_have_a_reserve() {
    for order in [1, 4, 5] {
        Machine::simple(64).run(|world| {
            let reserved = |world: &World<'_>| world.pages.buddy().zone(NORMAL).reserved_highatomic();
            let free = world.alloc(Gfp::ATOMIC, order, PageState::Kernel).unwrap();
            assert_eq!(reserved(world), 0, "there is enough for all");
            world.free(free);
            let is_low = |zone: &Zone| zone.free() <= zone.watermarks().low;
            while !is_low(world.pages.buddy().zone(NORMAL)) {
                world.alloc(Gfp::NOWAIT, 0, PageState::Kernel).unwrap();
            }
            let pfn = world.alloc(Gfp::ATOMIC, order, PageState::Kernel).unwrap();
            assert_eq!(world.pages.buddy().pageblock_type(Pfn::new(pfn)), Some(MigrateType::HighAtomic));
            assert_eq!(reserved(world), 1024);
            world.validate();
            // Ordinary requests leave it alone, but for what the CPU has already.
            world.free(pfn);
            world.pages.buddy_mut().drain_all_pages();
            while let Some(pfn) = world.alloc(Gfp::NOWAIT, 0, PageState::Kernel) {
                let kind = world.pages.buddy().pageblock_type(Pfn::new(pfn));
                assert_ne!(kind, Some(MigrateType::HighAtomic), "order {order}");
            }
            assert!(world.alloc(Gfp::ATOMIC, order, PageState::Kernel).is_some());
            // Those who may wait get it when nothing else is left.
            assert!(world.alloc(Gfp::KERNEL, 0, PageState::Kernel).is_some());
            assert_eq!(reserved(world), 0);
            world.validate();
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn per_cpu_lists_hold_no_more_than_high() {
    Machine { cpus: 2, ..Machine::simple(64) }.run(|world| {
        let held: Vec<u32> =
            (0..3000).map(|_| world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap()).collect();
        for (nth, pfn) in held.into_iter().enumerate() {
            world.pages.set_context(nth % 2, false);
            world.free(pfn);
            let high = world.pages.buddy().zone(NORMAL).pcp_batch_high().1;
            assert!(world.pages.buddy().pcp_pages() < 2 * high);
        }
        assert!(world.pages.buddy().pcp_pages() > 0);
        world.validate();
    });
}

/// A full list gives up what has waited longest, and keeps what was freed last, in that order.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn full_lists_keep_what_was_freed_last() {
    for mib in [8, 64] {
        Machine::simple(mib).run(|world| {
            for order in 0..PCP_ORDERS as u8 {
                let held: Vec<u32> = (0..200 >> order)
                    .map(|_| world.alloc(Gfp::KERNEL, order, PageState::Kernel).unwrap())
                    .collect();
                world.pages.buddy_mut().drain_all_pages();
                let mut gave_up = false;
                for (nth, &pfn) in held.iter().enumerate() {
                    world.free(pfn);
                    let listed = world.pages.buddy().pcp_pages() as usize >> order;
                    gave_up |= listed <= nth;
                    let again: Vec<_> = (0..listed)
                        .map_while(|_| world.alloc(Gfp::KERNEL, order, PageState::Kernel))
                        .collect();
                    assert!(again.iter().eq(held[..=nth].iter().rev().take(listed)), "order {order}");
                    again.iter().rev().for_each(|&pfn| world.free(pfn));
                }
                assert!(gave_up);
                world.validate();
                world.pages.buddy_mut().drain_all_pages();
            }
        });
    }
}
