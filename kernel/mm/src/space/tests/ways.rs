//! A page moves in steps, or at once, which has a short way for the usual page: what comes of it is the same.

use super::world::{PAGE, World, boot};
use crate::migrate::MigrateStep;
use crate::space::{Entry, Placement, SpaceId, VmFlags};
use crate::{MigrateReason, PageFlags, PageState};
use std::{vec, vec::Vec};
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// What one second-level table maps.
const SECTION: u32 = 1 << 20;
const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);

/// What is done to a page before it moves, which was stored to.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Written,
    Forgotten,
    ReadOnly,
    Executable,
    Closed,
    Locked,
    Forked,
    /// One of its two entries can't go the short way.
    ForkedAndClosed,
    Shared,
    /// Two of its entries are in one table.
    SharedTwice,
}

const KINDS: [Kind; 10] = [
    Kind::Written,
    Kind::Forgotten,
    Kind::ReadOnly,
    Kind::Executable,
    Kind::Closed,
    Kind::Locked,
    Kind::Forked,
    Kind::ForkedAndClosed,
    Kind::Shared,
    Kind::SharedTwice,
];

/// What can be seen of it afterwards.
#[derive(PartialEq, Debug)]
struct Seen {
    new: Pfn,
    entries: Vec<Entry>,
    flags: PageFlags,
    refs: u16,
    bytes: Vec<u8>,
    in_use: u32,
    old_is_free: bool,
    syncs: u32,
}

type Way = fn(&mut World<'_>, Pfn) -> Pfn;

fn at_once(world: &mut World<'_>, old: Pfn) -> Pfn {
    world.spaces.migrate_page(&mut world.pages, old, MigrateReason::ContigRange).unwrap()
}

fn in_steps(world: &mut World<'_>, old: Pfn) -> Pfn {
    let begun = world.spaces.migrate_begin(&mut world.pages, old, MigrateReason::ContigRange);
    let mut migration = begun.unwrap();
    let new = migration.new_page();
    while let MigrateStep::More(next) = world.spaces.migrate_step(&mut world.pages, migration) {
        migration = next;
    }
    new
}

/// Where the page is mapped afterwards.
fn change(world: &mut World<'_>, kind: Kind, id: SpaceId, base: VirtAddr) -> Vec<(SpaceId, VirtAddr)> {
    let World { spaces, pages, .. } = world;
    let one = vec![(id, base)];
    let protect = match kind {
        Kind::Written | Kind::Shared => None,
        Kind::Forgotten => return spaces.clear_refs(pages, id).map(|()| one).unwrap(),
        Kind::ReadOnly => Some(VmFlags::READ),
        Kind::Executable => Some(VmFlags::READ | VmFlags::EXEC),
        Kind::Closed => Some(VmFlags::empty()),
        Kind::Locked => return spaces.mlock(pages, id, base, PAGE_SIZE).map(|()| one).unwrap(),
        Kind::Forked => return vec![(id, base), (spaces.fork(pages, id).unwrap(), base)],
        Kind::ForkedAndClosed => {
            let child = spaces.fork(pages, id).unwrap();
            // The reverse map names the child first, so the parent's entry is the one that refuses, after the child's.
            spaces.mprotect(pages, id, base, PAGE_SIZE, VmFlags::empty()).unwrap();
            return vec![(id, base), (child, base)];
        }
        Kind::SharedTwice => {
            let again = spaces.share(pages, (id, base), id, Placement::Anywhere).unwrap();
            assert_eq!(again.align_down(SECTION), base.align_down(SECTION));
            world.load(again, &mut [0]).unwrap();
            return vec![(id, base), (id, again)];
        }
    };
    if let Some(access) = protect {
        spaces.mprotect(pages, id, base, PAGE_SIZE, access).unwrap();
    }
    one
}

fn entries(world: &mut World<'_>, places: &[(SpaceId, VirtAddr)]) -> Vec<Entry> {
    places.iter().map(|&(id, virt)| world.spaces.entry(id.slot(), virt).unwrap().unwrap()).collect()
}

fn moved(kind: Kind, way: Way) -> Seen {
    let mut seen = None;
    boot(8, 4, 8, |world| {
        let id = world.spaces.create(&mut world.pages).unwrap();
        world.run(id);
        let flags = if matches!(kind, Kind::Shared | Kind::SharedTwice) { RW | VmFlags::SHARED } else { RW };
        let base = world.spaces.mmap(&mut world.pages, id, Placement::Anywhere, PAGE_SIZE, flags).unwrap();
        let bytes: Vec<u8> = (0..PAGE).map(|at| (at * 7 + at / 256) as u8).collect();
        world.store(base, &bytes).unwrap();
        let places = change(world, kind, id, base);
        let before = entries(world, &places);
        assert!(before.iter().all(|entry| entry.pfn == before[0].pfn), "{kind:?}");
        let (old, record) = (before[0].pfn, world.page(before[0].pfn).clone());
        let new = way(world, old);
        let after = entries(world, &places);
        let expected: Vec<_> = before.iter().map(|entry| Entry { pfn: new, ..*entry }).collect();
        assert_eq!(after, expected, "{kind:?}");
        let mut copied = vec![0; PAGE];
        world.machine.cpu_read(new.addr(), &mut copied);
        assert_eq!(copied, bytes, "{kind:?}");
        let page = world.page(new);
        assert_eq!((page.refs(), page.flags()), (record.refs(), record.flags()), "{kind:?}");
        seen = Some(Seen {
            new,
            entries: after,
            flags: page.flags(),
            refs: page.refs(),
            bytes: copied,
            in_use: world.pages.buddy().pages_in_use(PageState::Anon),
            old_is_free: world.page(old).state().is_free(),
            syncs: world.spaces.arch.syncs.get(),
        });
        world.validate();
        world.spaces.leave(0);
        let mut ids: Vec<_> = places.into_iter().map(|(id, _)| id).collect();
        ids.dedup();
        ids.into_iter().for_each(|id| world.spaces.destroy(&mut world.pages, id).unwrap());
    });
    seen.unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "twenty machines")]
fn both_ways_lead_to_the_same() {
    for kind in KINDS {
        let seen = moved(kind, at_once);
        assert!(seen.old_is_free, "{kind:?}");
        assert_eq!(seen, moved(kind, in_steps), "{kind:?}");
    }
}
