//! Migration, pins and CMA, one thing at a time; Miri runs the one with the most in it.

use super::world::{PAGE, World, boot};
use crate::cma::CmaError;
use crate::migrate::{
    Batch, BufferError, BufferSlot, Compaction, Holder, MigrateFailure, MigrateMode, MigrateStep, Migrator,
    MovableBuffers,
};
use crate::pages::{Step, VmStat, ZoneKind};
use crate::pin::{Foll, PinError, unpin_user_page};
use crate::space::{Access, FaultOutcome, Placement, SpaceError, SpaceId, VmFlags};
use crate::{Gfp, MigrateReason, PageFlags, PageSource, PageState};
use std::{string::ToString, vec, vec::Vec};
use types::{Order, PAGE_SIZE, Pfn, VirtAddr};

const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);

/// A running space with `count` pages from `base` on, each begun with its number + 1.
fn filled(world: &mut World<'_>, count: u32) -> (SpaceId, VirtAddr) {
    let id = world.spaces.create(&mut world.pages).unwrap();
    world.run(id);
    let base = world.spaces.mmap(&mut world.pages, id, Placement::Anywhere, count * PAGE_SIZE, RW).unwrap();
    for page in 0..count {
        world.store(at(base, page), &(page + 1).to_le_bytes()).unwrap();
    }
    (id, base)
}

fn at(base: VirtAddr, page: u32) -> VirtAddr {
    VirtAddr::new(base.get() + page * PAGE_SIZE)
}

fn number(world: &mut World<'_>, virt: VirtAddr) -> u32 {
    let mut bytes = [0; 4];
    world.load(virt, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

fn end(world: &mut World<'_>, ids: &[SpaceId]) {
    world.validate();
    world.spaces.leave(0);
    for &id in ids {
        world.spaces.destroy(&mut world.pages, id).unwrap();
    }
}

#[test]
fn a_page_moves_with_all_that_belongs_to_it() {
    boot(8, 4, 8, |world| {
        let (first, base) = filled(world, 2);
        world.spaces.mlock(&mut world.pages, first, base, PAGE_SIZE).unwrap();
        let second = world.spaces.fork(&mut world.pages, first).unwrap();
        let third = world.spaces.fork(&mut world.pages, first).unwrap();
        let old = world.pfn_at(base);
        let flags = world.page(old).flags();
        assert_eq!(flags, PageFlags::DIRTY | PageFlags::ACCESSED | PageFlags::MLOCKED);
        let mut migration =
            world.spaces.migrate_begin(&mut world.pages, old, MigrateReason::Syscall).unwrap();
        let new = migration.new_page();
        // Locked: accesses go on as before.
        assert_eq!(number(world, base), 1);
        let failure = MigrateFailure { pfn: old, holder: Holder::Migration };
        let again = world.spaces.migrate_page(&mut world.pages, old, MigrateReason::Syscall);
        assert_eq!(again, Err(failure));
        assert_eq!(failure.to_string(), std::format!("pfn {old} was not moved: it is being moved already"));
        let mut waits = 0;
        while let MigrateStep::More(next) = world.spaces.migrate_step(&mut world.pages, migration) {
            migration = next;
            for id in [first, second, third] {
                world.run(id);
                assert_eq!(world.load(base, &mut [0]), Err(FaultOutcome::Retry));
                assert_eq!(world.store(base, &[9]), Err(FaultOutcome::Retry));
                assert_eq!(number(world, at(base, 1)), 2);
                waits += 1;
            }
        }
        assert_eq!(waits, 6);
        for id in [first, second, third] {
            world.run(id);
            assert_eq!(number(world, base), 1);
            assert_eq!(world.pfn_at(base), new);
        }
        assert_eq!((world.page(new).refs(), world.page(new).flags()), (3, flags));
        assert!(world.page(old).state().is_free());
        world.validate();
        world.store(base, &[5]).unwrap();
        world.run(first);
        assert_eq!(number(world, base), 1);
        end(world, &[first, second, third]);
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn forks_unmaps_and_aborts_between_the_steps() {
    boot(8, 4, 8, |world| {
        for steps in 0..3 {
            for what in 0..4 {
                let (first, base) = filled(world, 1);
                let old = world.pfn_at(base);
                let mut migration =
                    world.spaces.migrate_begin(&mut world.pages, old, MigrateReason::Compaction).unwrap();
                for _ in 0..steps {
                    match world.spaces.migrate_step(&mut world.pages, migration) {
                        MigrateStep::More(next) => migration = next,
                        MigrateStep::Done => panic!("two steps are not all"),
                    }
                }
                let mut ids = vec![first];
                match what {
                    0 => ids.push(world.spaces.fork(&mut world.pages, first).unwrap()),
                    1 => world.spaces.munmap(&mut world.pages, first, base, PAGE_SIZE).unwrap(),
                    2 => {
                        world
                            .spaces
                            .mprotect(&mut world.pages, first, base, PAGE_SIZE, VmFlags::empty())
                            .unwrap();
                    }
                    _ => {}
                }
                if what == 3 {
                    world.spaces.migrate_abort(&mut world.pages, migration);
                    assert_eq!(number(world, base), 1);
                    assert_eq!(world.pfn_at(base), old);
                } else {
                    let mut next = MigrateStep::More(migration);
                    while let MigrateStep::More(migration) = next {
                        next = world.spaces.migrate_step(&mut world.pages, migration);
                    }
                    assert!(world.page(old).state().is_free());
                }
                if what == 2 {
                    assert_eq!(world.load(base, &mut [0]), Err(FaultOutcome::Denied));
                    world.spaces.mprotect(&mut world.pages, first, base, PAGE_SIZE, RW).unwrap();
                }
                for &id in ids.iter().filter(|_| what != 1) {
                    world.run(id);
                    assert_eq!(number(world, base), 1);
                }
                end(world, &ids);
            }
        }
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn an_area_full_of_movable_pages_gives_its_whole_length() {
    boot(12, 4, 8, |world| {
        let (id, base) = filled(world, 1500);
        let inside = (0..1500).filter(|&page| {
            let pfn = world.pfn_at(at(base, page));
            world.is_cma(pfn)
        });
        let inside = inside.count() as u32;
        assert!(inside > 200, "{inside}");
        let before = world.pages.stat().pgmigrate_success;
        let taken = world.cma_alloc(1024).unwrap();
        assert_eq!(world.pages.stat().pgmigrate_success - before, inside);
        for page in 0..1500 {
            assert_eq!(number(world, at(base, page)), page + 1);
            let pfn = world.pfn_at(at(base, page));
            assert!(!world.is_cma(pfn));
        }
        world.validate();
        world.cma.release(&mut world.pages, taken);
        end(world, &[id]);
    });
}

/// A page of the space that lies in the CMA area.
fn in_cma(world: &World<'_>, base: VirtAddr, count: u32) -> VirtAddr {
    (0..count).map(|page| at(base, page)).find(|&virt| world.is_cma(world.pfn_at(virt))).unwrap()
}

#[test]
#[cfg_attr(miri, ignore)]
fn pins_hold_pages_and_long_ones_leave_cma() {
    boot(12, 4, 8, |world| {
        let (id, base) = filled(world, 1500);
        let virt = in_cma(world, base, 1500);
        let value = number(world, virt);
        let pin = world.spaces.pin_user_page(&mut world.pages, id, virt, Foll::WRITE).unwrap();
        let pfn = pin.pfn();
        assert_eq!(pfn, world.pfn_at(virt));
        let failure = MigrateFailure { pfn, holder: Holder::Pins(1) };
        assert_eq!(world.spaces.migrate_page(&mut world.pages, pfn, MigrateReason::Syscall), Err(failure));
        let blocked = world.cma_alloc(1024).map(|_| ());
        assert_eq!(blocked, Err(CmaError::Blocked { pfn, owner: PageState::Anon }));
        // The pages around it can be had.
        let taken = world.cma_alloc(256).unwrap();
        world.cma.release(&mut world.pages, taken);
        let long = world.spaces.pin_user_page(&mut world.pages, id, virt, Foll::WRITE | Foll::LONGTERM);
        assert_eq!(long, Err(PinError::Migrate(failure)));
        unpin_user_page(&mut world.pages, pin, true);
        let other = in_cma(world, base, 1500);
        let long =
            world.spaces.pin_user_page(&mut world.pages, id, other, Foll::WRITE | Foll::LONGTERM).unwrap();
        assert!(!world.is_cma(long.pfn()));
        assert_eq!(world.pfn_at(other), long.pfn());
        let taken = world.cma_alloc(1024).unwrap();
        assert_eq!(number(world, virt), value);
        assert_eq!(world.pfn_at(other), long.pfn());
        // It survives the region, and is gone with the pin.
        world.spaces.munmap(&mut world.pages, id, other, PAGE_SIZE).unwrap();
        assert_eq!(world.page(long.pfn()).state(), PageState::Anon);
        let pfn = long.pfn();
        unpin_user_page(&mut world.pages, long, false);
        assert!(world.page(pfn).state().is_free());
        world.cma.release(&mut world.pages, taken);
        end(world, &[id]);
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_pinned_page_is_the_owners_through_fork_and_store() {
    boot(8, 4, 8, |world| {
        let (first, base) = filled(world, 1);
        let second = world.spaces.fork(&mut world.pages, first).unwrap();
        // Shared since the fork: a pin for reading makes it the space's own.
        let pin = world.spaces.pin_user_page(&mut world.pages, first, base, Foll::empty()).unwrap();
        assert_eq!(world.page(pin.pfn()).refs(), 1);
        let third = world.spaces.fork(&mut world.pages, first).unwrap();
        world.store(base, &7u32.to_le_bytes()).unwrap();
        assert_eq!(world.pfn_at(base), pin.pfn());
        for id in [second, third] {
            world.run(id);
            assert_eq!(number(world, base), 1);
        }
        let untouched =
            world.spaces.mmap(&mut world.pages, second, Placement::Anywhere, PAGE_SIZE, RW).unwrap();
        let zero = world.spaces.pin_user_page(&mut world.pages, second, untouched, Foll::empty()).unwrap();
        assert_ne!(zero.pfn(), world.spaces.zero_page());
        let mut pins = [None, None];
        let refused =
            world.spaces.pin_user_pages(&mut world.pages, second, untouched, Foll::WRITE, &mut pins);
        let virt = at(untouched, 1);
        assert_eq!(refused, Err(PinError::Space(SpaceError::NotMapped { virt })));
        assert_eq!((pins, world.page(zero.pfn()).pins()), ([None, None], 1));
        let counted = |stat: &VmStat| (stat.nr_foll_pin_acquired, stat.nr_foll_pin_released);
        assert_eq!(counted(world.pages.stat()), (3, 1));
        for pin in [pin, zero] {
            unpin_user_page(&mut world.pages, pin, false);
        }
        assert_eq!(counted(world.pages.stat()), (3, 3));
        end(world, &[first, second, third]);
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn buffers_of_drivers_move_behind_their_handles() {
    boot(8, 4, 8, |world| {
        let mut slots = [BufferSlot::EMPTY; 40];
        let mut buffers = MovableBuffers::new(world.machine, &mut slots, 0);
        let order = Order::new(3).unwrap();
        let mut handles: Vec<_> = (0..30).map(|_| buffers.alloc(&mut world.pages, order).unwrap()).collect();
        for (number, handle) in handles.iter().enumerate() {
            buffers.with(handle, |bytes| bytes.fill(number as u8 + 1)).unwrap();
        }
        let inside = |world: &World<'_>, pfn: Pfn| world.is_cma(pfn);
        let mut held = None;
        for handle in &handles {
            let guard = buffers.hold(handle).unwrap();
            if held.is_none() && inside(world, guard.pfn()) {
                held = Some(guard);
            } else {
                buffers.release(guard);
            }
        }
        let guard = held.expect("one of them in the area");
        let pfn = guard.pfn();
        let refused = world.cma_alloc_with(1024, &mut [&mut buffers]).map(|_| ());
        let why = crate::MigrateError::Busy;
        assert_eq!(refused, Err(CmaError::Migration { pfn, owner: PageState::DriverMovable, why }));
        buffers.release(guard);
        let taken = world.cma_alloc_with(1024, &mut [&mut buffers]).unwrap();
        for (number, handle) in handles.iter().enumerate() {
            let same =
                |bytes: &mut [u8]| bytes.len() == 8 * PAGE && bytes.iter().all(|&b| b == number as u8 + 1);
            assert!(buffers.with(handle, same).unwrap());
            let guard = buffers.hold(handle).unwrap();
            assert!(!inside(world, guard.pfn()));
            buffers.release(guard);
        }
        world.cma.release(&mut world.pages, taken);
        let last = handles.pop().unwrap();
        let guard = buffers.hold(&last).unwrap();
        let (last, error) = buffers.free(&mut world.pages, last).unwrap_err();
        assert_eq!(error, BufferError::InUse { pfn: guard.pfn() });
        buffers.release(guard);
        handles.push(last);
        for handle in handles {
            buffers.free(&mut world.pages, handle).unwrap();
        }
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn compaction_makes_large_blocks() {
    boot(16, 4, 8, |world| {
        // Checkered: every second page of most of memory.
        let (id, base) = filled(world, 2800);
        for page in (0..2800).filter(|page| page % 8 != 0) {
            world.spaces.munmap(&mut world.pages, id, at(base, page), PAGE_SIZE).unwrap();
        }
        world.pages.buddy_mut().drain_all_pages();
        let order = Order::MAX;
        let whole = |world: &World<'_>| {
            let zone = world.pages.buddy().zone(ZoneKind::Normal);
            crate::MigrateType::ALL.into_iter().map(|kind| zone.free_blocks(kind, order)).sum::<u32>()
        };
        let before = whole(world);
        let mut compaction = Compaction::new(ZoneKind::Normal);
        loop {
            let World { pages, spaces, .. } = world;
            let mut migrator = Migrator { spaces, drivers: &mut [], mode: MigrateMode::Sync };
            if compaction.step(pages, &mut migrator) == Step::Done {
                break;
            }
            let page = compaction.moved() * 8 % 2800;
            assert_eq!(number(world, at(base, page)), page + 1);
        }
        assert!(compaction.moved() > 0 && compaction.blocks() > 0);
        assert!(whole(world) > before, "{} {before}", whole(world));
        for page in (0..2800).step_by(8) {
            assert_eq!(number(world, at(base, page)), page + 1);
        }
        end(world, &[id]);
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_batch_is_as_patient_as_its_mode() {
    boot(8, 4, 8, |world| {
        let (id, base) = filled(world, 3);
        let pfns: Vec<_> = (0..3).map(|page| world.pfn_at(at(base, page))).collect();
        for (mode, moved) in [(MigrateMode::Async, 2), (MigrateMode::SyncLight, 3)] {
            let busy = world.pfn_at(base);
            let mut lock =
                Some(world.spaces.migrate_begin(&mut world.pages, busy, MigrateReason::Compaction).unwrap());
            let mut list: Vec<_> = (0..3).map(|page| world.pfn_at(at(base, page))).collect();
            let mut batch = Batch::new(&mut list, mode, MigrateReason::Syscall);
            let mut steps = 0;
            let summary = loop {
                let World { pages, spaces, .. } = world;
                let mut migrator = Migrator { spaces, drivers: &mut [], mode };
                if let Some(summary) = batch.step(pages, &mut migrator) {
                    break summary;
                }
                steps += 1;
                if steps == 3 {
                    world.spaces.migrate_abort(&mut world.pages, lock.take().unwrap());
                }
            };
            assert_eq!((summary.succeeded, summary.failed), (moved, 3 - moved), "{mode:?}");
            let failure = (moved == 2).then_some(MigrateFailure { pfn: busy, holder: Holder::Migration });
            assert_eq!(summary.last, failure);
        }
        assert_ne!(pfns[1], world.pfn_at(at(base, 1)));
        assert_eq!(world.pages.stat().pgmigrate_success, 5);
        assert_eq!(world.pages.stat().pgmigrate_fail, 1);
        end(world, &[id]);
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn what_cannot_move_is_named() {
    boot(8, 4, 8, |world| {
        let (id, base) = filled(world, 1);
        let kernel = world.pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::Kernel).unwrap();
        let failure = world.spaces.migrate_page(&mut world.pages, kernel.pfn(), MigrateReason::Syscall);
        assert_eq!(
            failure,
            Err(MigrateFailure { pfn: kernel.pfn(), holder: Holder::Owner(PageState::Kernel) })
        );
        // No room elsewhere.
        let pfn = world.pfn_at(base);
        let mut rest: Vec<_> = core::iter::from_fn(|| {
            world.pages.alloc_pages(Gfp::HIGHUSER_MOVABLE | Gfp::__NOWARN, Order::ZERO, PageState::Anon).ok()
        })
        .collect();
        let failure = world.spaces.migrate_page(&mut world.pages, pfn, MigrateReason::Syscall).unwrap_err();
        assert!(matches!(failure.holder, Holder::NoRoom(_)), "{failure}");
        assert_eq!(number(world, base), 1);
        let virt = world.spaces.mmap(&mut world.pages, id, Placement::Anywhere, PAGE_SIZE, RW).unwrap();
        assert!(matches!(world.fault(virt, Access::Write), FaultOutcome::OutOfMemory(_)));
        rest.push(kernel);
        for frames in rest {
            world.pages.free_pages(frames);
        }
        end(world, &[id]);
    });
}
