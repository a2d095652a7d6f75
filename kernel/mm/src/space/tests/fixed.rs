//! One thing at a time. Not for Miri, which takes a minute or two to start the emulated machine: it has the fullest
//! of the tests of migration.

use super::world::{PAGE, World, boot};
use crate::pin::{Foll, unpin_user_page};
use crate::space::{Access, FaultOutcome, Placement, SpaceError, VmFlags};
use crate::{PageFlags, PageSource};
use std::vec;
use types::{PAGE_SIZE, VirtAddr};

const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);

fn rig(test: impl FnOnce(&mut World<'_>)) {
    boot(8, 4, 12, test);
}

fn at(base: VirtAddr, page: u32) -> VirtAddr {
    VirtAddr::new(base.get() + page * PAGE_SIZE)
}

fn byte(world: &mut World<'_>, virt: VirtAddr) -> u8 {
    let mut bytes = [0];
    world.load(virt, &mut bytes).unwrap();
    bytes[0]
}

#[test]
#[cfg_attr(miri, ignore)]
fn reads_show_the_zero_page_and_stores_a_page_of_their_own() {
    rig(|world| {
        let id = world.spaces.create(&mut world.pages).unwrap();
        world.run(id);
        let base = world.spaces.mmap(&mut world.pages, id, Placement::Anywhere, 4 * PAGE_SIZE, RW).unwrap();
        let mut page = vec![1; PAGE];
        world.load(base, &mut page).unwrap();
        assert!(page.iter().all(|&byte| byte == 0));
        assert_eq!(world.pfn_at(base), world.spaces.zero_page());
        assert_eq!(world.spaces.resident(id), Ok(0));
        world.store(base, &[7]).unwrap();
        assert_ne!(world.pfn_at(base), world.spaces.zero_page());
        world.load(base, &mut page).unwrap();
        assert_eq!((page[0], &page[1..]), (7, &vec![0; PAGE - 1][..]));
        world.store(at(base, 3), &[8]).unwrap();
        assert_eq!(world.spaces.resident(id), Ok(2));
        assert_eq!(world.fault(at(base, 4), Access::Read), FaultOutcome::NoRegion);
        assert_eq!(world.fault(base, Access::Exec), FaultOutcome::Denied);
        assert_eq!(world.spaces.destroy(&mut world.pages, id), Err(SpaceError::Active));
        world.validate();
        world.spaces.leave(0);
        world.spaces.destroy(&mut world.pages, id).unwrap();
        assert_eq!(world.spaces.destroy(&mut world.pages, id), Err(SpaceError::NoSpace));
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn fork_shares_until_a_store() {
    rig(|world| {
        let parent = world.spaces.create(&mut world.pages).unwrap();
        world.run(parent);
        let base =
            world.spaces.mmap(&mut world.pages, parent, Placement::Anywhere, 2 * PAGE_SIZE, RW).unwrap();
        world.store(base, &[1]).unwrap();
        let shared = world.pfn_at(base);
        let child = world.spaces.fork(&mut world.pages, parent).unwrap();
        assert_eq!(world.pfn_at(base), shared);
        assert_eq!(world.page(shared).refs(), 2);
        world.store(base, &[2]).unwrap();
        assert_ne!(world.pfn_at(base), shared);
        world.run(child);
        assert_eq!(byte(world, base), 1);
        assert_eq!(world.pfn_at(base), shared);
        // Alone with the page now: no copy.
        world.store(base, &[3]).unwrap();
        assert_eq!(world.pfn_at(base), shared);
        world.run(parent);
        assert_eq!(byte(world, base), 2);
        world.validate();
        world.spaces.leave(0);
        world.spaces.destroy(&mut world.pages, parent).unwrap();
        world.spaces.destroy(&mut world.pages, child).unwrap();
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn shared_memory_is_seen_by_all_even_if_touched_after_the_fork() {
    rig(|world| {
        let first = world.spaces.create(&mut world.pages).unwrap();
        world.run(first);
        let flags = RW | VmFlags::SHARED;
        let base =
            world.spaces.mmap(&mut world.pages, first, Placement::Anywhere, 4 * PAGE_SIZE, flags).unwrap();
        world.store(base, &[1]).unwrap();
        let second = world.spaces.fork(&mut world.pages, first).unwrap();
        world.store(at(base, 1), &[2]).unwrap();
        world.run(second);
        assert_eq!((byte(world, base), byte(world, at(base, 1))), (1, 2));
        let third = world.spaces.create(&mut world.pages).unwrap();
        let window =
            world.spaces.share(&mut world.pages, (second, at(base, 1)), third, Placement::Anywhere).unwrap();
        world.store(at(base, 2), &[3]).unwrap();
        world.run(third);
        assert_eq!((byte(world, window), byte(world, at(window, 1))), (2, 3));
        world.validate();
        for id in [first, second] {
            world.spaces.destroy(&mut world.pages, id).unwrap();
        }
        assert_eq!((byte(world, window), byte(world, at(window, 1))), (2, 3));
        world.validate();
        world.spaces.leave(0);
        world.spaces.destroy(&mut world.pages, third).unwrap();
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn rights_change_and_come_back() {
    rig(|world| {
        let id = world.spaces.create(&mut world.pages).unwrap();
        world.run(id);
        let base = world.spaces.mmap(&mut world.pages, id, Placement::Anywhere, 3 * PAGE_SIZE, RW).unwrap();
        for page in 0..3 {
            world.store(at(base, page), &[page as u8 + 1]).unwrap();
        }
        let middle = at(base, 1);
        world.spaces.mprotect(&mut world.pages, id, middle, PAGE_SIZE, VmFlags::READ).unwrap();
        assert_eq!(world.spaces.regions(id).unwrap().len(), 3);
        assert_eq!(world.store(middle, &[9]), Err(FaultOutcome::Denied));
        world.spaces.mprotect(&mut world.pages, id, middle, PAGE_SIZE, VmFlags::empty()).unwrap();
        assert_eq!(world.load(middle, &mut [0]), Err(FaultOutcome::Denied));
        world
            .spaces
            .mprotect(&mut world.pages, id, middle, PAGE_SIZE, VmFlags::READ | VmFlags::EXEC)
            .unwrap();
        assert_eq!(byte(world, middle), 2);
        world.spaces.mprotect(&mut world.pages, id, middle, PAGE_SIZE, RW).unwrap();
        assert_eq!(world.spaces.regions(id).unwrap().len(), 1);
        world.store(middle, &[9]).unwrap();
        assert_eq!(byte(world, middle), 9);
        let both = VmFlags::WRITE | VmFlags::EXEC;
        assert_eq!(
            world.spaces.mprotect(&mut world.pages, id, middle, PAGE_SIZE, both),
            Err(SpaceError::WriteExec)
        );
        world.spaces.munmap(&mut world.pages, id, middle, PAGE_SIZE).unwrap();
        assert_eq!(world.load(middle, &mut [0]), Err(FaultOutcome::NoRegion));
        assert_eq!(
            world.spaces.mprotect(&mut world.pages, id, base, 3 * PAGE_SIZE, RW),
            Err(SpaceError::NotMapped { virt: middle })
        );
        world.validate();
        world.spaces.leave(0);
        world.spaces.destroy(&mut world.pages, id).unwrap();
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn accessed_and_dirty_show_in_the_page() {
    rig(|world| {
        let id = world.spaces.create(&mut world.pages).unwrap();
        world.run(id);
        let base = world.spaces.mmap(&mut world.pages, id, Placement::Anywhere, PAGE_SIZE, RW).unwrap();
        world.store(base, &[1]).unwrap();
        let pfn = world.pfn_at(base);
        assert_eq!(world.page(pfn).flags(), PageFlags::DIRTY | PageFlags::ACCESSED);
        world.spaces.clear_refs(&mut world.pages, id).unwrap();
        assert_eq!(world.page(pfn).flags(), PageFlags::empty());
        assert_eq!(byte(world, base), 1);
        assert_eq!(world.page(pfn).flags(), PageFlags::ACCESSED);
        world.store(base, &[2]).unwrap();
        assert_eq!(world.page(pfn).flags(), PageFlags::ACCESSED | PageFlags::DIRTY);
        world.spaces.mlock(&mut world.pages, id, base, PAGE_SIZE).unwrap();
        assert!(world.page(pfn).flags().contains(PageFlags::MLOCKED));
        world.spaces.munlock(&mut world.pages, id, base, PAGE_SIZE).unwrap();
        assert!(!world.page(pfn).flags().contains(PageFlags::MLOCKED));
        assert!(world.pages.page(pfn).is_some());
        world.validate();
        world.spaces.leave(0);
        world.spaces.destroy(&mut world.pages, id).unwrap();
    });
}

#[test]
#[cfg_attr(miri, ignore)]
fn more_spaces_than_identifiers() {
    boot(12, 4, 300, |world| {
        let mut ids = vec![];
        for number in 0..300u32 {
            let id = world.spaces.create(&mut world.pages).unwrap();
            world.run(id);
            let base = world.spaces.mmap(&mut world.pages, id, Placement::Anywhere, PAGE_SIZE, RW).unwrap();
            world.store(base, &number.to_le_bytes()).unwrap();
            ids.push((id, base));
        }
        for (number, &(id, base)) in ids.iter().enumerate() {
            world.run(id);
            let mut bytes = [0; 4];
            world.load(base, &mut bytes).unwrap();
            assert_eq!(u32::from_le_bytes(bytes) as usize, number);
        }
        assert!(world.spaces.asid_rollovers() >= 2);
        assert_eq!(world.spaces.create(&mut world.pages), Err(SpaceError::TooManySpaces));
        world.validate();
        world.spaces.leave(0);
        for (id, _) in ids {
            world.spaces.destroy(&mut world.pages, id).unwrap();
        }
    });
}

/// `nr_mlock`, `nr_shmem` and `nr_mapped` follow what is done, and what `/proc` prints is made from them.
#[test]
#[cfg_attr(miri, ignore)]
fn counts_of_locked_and_shared_pages() {
    rig(|world| {
        let counts = |world: &World<'_>| {
            let counts = world.pages.buddy().all_anon_counts();
            [counts.anon, counts.shmem, counts.mapped, counts.mlocked]
        };
        let id = world.spaces.create(&mut world.pages).unwrap();
        world.run(id);
        let base = world.spaces.mmap(&mut world.pages, id, Placement::Anywhere, 4 * PAGE_SIZE, RW).unwrap();
        let shared = RW | VmFlags::SHARED;
        let seen =
            world.spaces.mmap(&mut world.pages, id, Placement::Anywhere, 4 * PAGE_SIZE, shared).unwrap();
        assert_eq!(counts(world), [0; 4]);
        (0..3).for_each(|page| world.store(at(base, page), &[1]).unwrap());
        (0..2).for_each(|page| world.store(at(seen, page), &[1]).unwrap());
        assert_eq!(counts(world), [5, 2, 2, 0]);
        world.spaces.mlock(&mut world.pages, id, at(base, 1), 3 * PAGE_SIZE).unwrap();
        world.spaces.mlock(&mut world.pages, id, seen, PAGE_SIZE).unwrap();
        assert_eq!(counts(world), [6, 2, 2, 4]);
        let text = std::format!("{}", world.pages.buddy().vmstat());
        for line in ["nr_mlock 4", "nr_shmem 2", "nr_mapped 2", "nr_anon_pages 4", "nr_unevictable 4"] {
            assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
        }
        // A page keeps what it is when it moves.
        let taken = world.cma_alloc(1024).unwrap();
        assert_eq!(counts(world), [6, 2, 2, 4]);
        world.cma.release(&mut world.pages, taken);
        world.spaces.munlock(&mut world.pages, id, base, 2 * PAGE_SIZE).unwrap();
        world.spaces.munmap(&mut world.pages, id, seen, PAGE_SIZE).unwrap();
        assert_eq!(counts(world), [6, 2, 1, 2]);
        let page = world.spaces.page_at(id, base).unwrap();
        assert_eq!(page, Some(world.pfn_at(base)));
        assert_eq!(world.spaces.page_at(id, seen), Ok(None));
        // A page that becomes the space's own for a pin stays locked.
        world.spaces.mlock(&mut world.pages, id, base, PAGE_SIZE).unwrap();
        let child = world.spaces.fork(&mut world.pages, id).unwrap();
        let (locked, before) = (counts(world)[3], world.pfn_at(base));
        let held = world.spaces.pin_user_page(&mut world.pages, id, base, Foll::empty()).unwrap();
        assert_ne!(world.pfn_at(base), before);
        assert_eq!(counts(world)[3], locked);
        unpin_user_page(&mut world.pages, held, false);
        world.spaces.leave(0);
        world.spaces.destroy(&mut world.pages, child).unwrap();
        world.spaces.destroy(&mut world.pages, id).unwrap();
        assert_eq!(counts(world), [0; 4]);
    });
}
