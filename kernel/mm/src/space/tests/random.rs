//! Random operations on several spaces against the model, with migrations that stop between their steps.

use super::model::{Bytes, Cell, Model, page_of, store, whole};
use super::world::{PAGE, World, boot};
use crate::FaultAttr;
use crate::MigrateReason;
use crate::cma::CmaPages;
use crate::migrate::{Compaction, MigrateMode, MigrateStep, Migration, Migrator};
use crate::pages::{Step, ZoneKind};
use crate::pin::{Foll, PinnedPage, unpin_user_page};
use crate::space::{FaultOutcome, Placement, SpaceId, VmFlags};
use proptest::prelude::*;
use std::{rc::Rc, vec, vec::Vec};
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// The first page of the window that the operations work in: it lies across a border of tables.
const FIRST: u32 = 0x3e8;
const PAGES: u32 = 48;
const SPACES: usize = 6;

/// An operation and its arguments, to be reduced to what is there.
type Op = (u8, u32, u32);

struct Run<'w, 'm> {
    world: &'w mut World<'m>,
    model: Model,
    moving: Vec<Migration>,
    pins: Vec<(PinnedPage, Bytes, bool)>,
    taken: Vec<CmaPages>,
    failing: bool,
    denied: u32,
}

fn virt(page: u32) -> VirtAddr {
    VirtAddr::new(page * PAGE_SIZE)
}

impl Run<'_, '_> {
    fn id(&self, pick: u32) -> SpaceId {
        let ids: Vec<_> = self.model.spaces.keys().copied().collect();
        ids[pick as usize % ids.len()]
    }

    /// A stretch of the window.
    fn range(a: u32, b: u32) -> (u32, u32) {
        let first = a / 8 % PAGES;
        (FIRST + first, 1 + b % 12.min(PAGES - first))
    }

    fn flags(b: u32) -> VmFlags {
        let access = [
            VmFlags::READ | VmFlags::WRITE,
            VmFlags::READ | VmFlags::WRITE,
            VmFlags::READ,
            VmFlags::READ | VmFlags::EXEC,
            VmFlags::empty(),
            VmFlags::READ | VmFlags::WRITE,
        ];
        access[b as usize / 16 % access.len()]
    }

    fn step(&mut self, (op, a, b): Op) {
        match op % 24 {
            0 => self.mmap(a, b),
            1 => self.munmap(a, b),
            2 => self.mprotect(a, b),
            3 => self.fork(a),
            4 => self.destroy(a),
            5..=9 => self.store(a, b),
            10..=12 => self.load(a, b),
            13 | 14 => self.begin(a, b),
            15 | 16 => self.advance(b),
            17 => self.pin(a, b),
            18 => self.unpin(a, b),
            19 => self.lock(a, b),
            20 => self.share(a, b),
            21 => self.cma(b),
            22 => self.refs_or_compaction(a, b),
            _ => self.fail(b),
        }
    }

    fn mmap(&mut self, a: u32, b: u32) {
        let (id, (first, count)) = (self.id(a), Self::range(a, b));
        let shared = if (b / 256).is_multiple_of(3) { VmFlags::SHARED } else { VmFlags::empty() };
        let flags = Self::flags(b) | shared;
        let place = if (b / 1024).is_multiple_of(2) {
            Placement::Replace(virt(first))
        } else {
            Placement::At(virt(first))
        };
        let World { pages, spaces, .. } = &mut *self.world;
        let done = spaces.mmap(pages, id, place, count * PAGE_SIZE, flags);
        let occupied = (first..first + count).any(|page| self.model.spaces[&id].contains_key(&page));
        match done {
            Ok(at) => {
                assert_eq!(at, virt(first));
                assert!(!(occupied && matches!(place, Placement::At(_))));
                self.model.unmap(id, first, count);
                self.model.map(id, first, count, flags);
            }
            Err(error) => assert!(occupied || self.may_fail(), "{error}"),
        }
    }

    /// Whether an operation may run short of memory or slots.
    fn may_fail(&self) -> bool {
        self.failing || self.model.spaces.len() + 1 >= SPACES
    }

    fn munmap(&mut self, a: u32, b: u32) {
        let (id, (first, count)) = (self.id(a), Self::range(a, b));
        let World { pages, spaces, .. } = &mut *self.world;
        match spaces.munmap(pages, id, virt(first), count * PAGE_SIZE) {
            Ok(()) => self.model.unmap(id, first, count),
            Err(error) => assert!(self.failing, "{error}"),
        }
    }

    fn mprotect(&mut self, a: u32, b: u32) {
        let (id, (first, count)) = (self.id(a), Self::range(a, b));
        let access = Self::flags(b);
        let World { pages, spaces, .. } = &mut *self.world;
        match spaces.mprotect(pages, id, virt(first), count * PAGE_SIZE, access) {
            Ok(()) => {
                assert!(self.model.is_mapped(id, first, count));
                self.model.change(id, first, count, |flags| (flags - VmFlags::ACCESS) | access);
            }
            Err(error) => assert!(self.failing || !self.model.is_mapped(id, first, count), "{error}"),
        }
    }

    fn fork(&mut self, a: u32) {
        let parent = self.id(a);
        let World { pages, spaces, .. } = &mut *self.world;
        match spaces.fork(pages, parent) {
            Ok(child) => self.model.fork(parent, child),
            Err(error) => assert!(self.failing || self.world_is_full(), "{error}"),
        }
    }

    fn world_is_full(&self) -> bool {
        self.world.spaces.slots.iter().all(|slot| slot.space.is_some())
    }

    fn destroy(&mut self, a: u32) {
        if self.model.spaces.len() < 2 {
            return;
        }
        let id = self.id(a);
        if self.world.spaces.current(0) == Some(id) {
            let other = *self.model.spaces.keys().find(|other| **other != id).unwrap();
            self.world.run(other);
        }
        let World { pages, spaces, .. } = &mut *self.world;
        spaces.destroy(pages, id).unwrap();
        self.model.spaces.remove(&id);
    }

    /// Accesses until no migration is in the way.
    fn access(&mut self, mut attempt: impl FnMut(&mut World<'_>) -> Result<(), FaultOutcome>) -> bool {
        loop {
            match attempt(self.world) {
                Ok(()) => return true,
                Err(FaultOutcome::Retry) => {
                    assert!(!self.moving.is_empty(), "waits for nothing");
                    self.advance(0);
                }
                Err(FaultOutcome::OutOfMemory(error)) => {
                    assert!(self.failing, "{error}");
                    return false;
                }
                Err(FaultOutcome::NoRegion | FaultOutcome::Denied) => {
                    self.denied += 1;
                    return false;
                }
                Err(outcome) => panic!("{outcome}"),
            }
        }
    }

    fn cell(&self, id: SpaceId, page: u32) -> Option<Cell> {
        self.model.spaces[&id].get(&page).cloned()
    }

    fn store(&mut self, a: u32, b: u32) {
        let (id, page) = (self.id(a), FIRST + a / 8 % PAGES);
        let data = b.to_le_bytes();
        let offset = (b / 16 % PAGE_SIZE).min(PAGE_SIZE - 4);
        self.world.run(id);
        let at = VirtAddr::new(virt(page).get() + offset);
        let before = self.denied;
        let done = self.access(|world| world.store(at, &data));
        let cell = self.cell(id, page).filter(|cell| cell.flags.contains(VmFlags::WRITE));
        assert_eq!(self.denied > before, cell.is_none());
        if done {
            store(&cell.unwrap().bytes, offset as usize, &data);
        }
    }

    fn load(&mut self, a: u32, b: u32) {
        let (id, page) = (self.id(a), FIRST + a / 8 % PAGES);
        self.world.run(id);
        self.compare(id, page, b as usize % PAGE, 64.min(PAGE - b as usize % PAGE));
    }

    /// Loads a part of a page and compares it with the model.
    fn compare(&mut self, id: SpaceId, page: u32, from: usize, len: usize) {
        let mut bytes = vec![0; len];
        let at = VirtAddr::new(virt(page).get() + from as u32);
        let before = self.denied;
        let done = self.access(|world| world.load(at, &mut bytes));
        let cell = self.cell(id, page).filter(|cell| cell.flags.intersects(VmFlags::ACCESS));
        assert_eq!(self.denied > before, cell.is_none());
        if done {
            assert!(whole(&cell.unwrap().bytes)[from..from + len] == bytes, "{id}, page {page:#x}");
        }
    }

    /// Some page of a space that isn't the zero page.
    fn resident(&self, a: u32) -> Option<Pfn> {
        let pages = &self.world.pages;
        let buddy = pages.buddy();
        let first = super::world::BASE / PAGE_SIZE;
        let count = buddy.records() as u32;
        let anon = |pfn: &Pfn| {
            crate::PageSource::page(pages, *pfn).is_some_and(|page| page.state() == crate::PageState::Anon)
        };
        (0..count).map(|at| Pfn::new(first + (a.wrapping_mul(37) % count + at) % count)).find(anon)
    }

    fn begin(&mut self, a: u32, b: u32) {
        let Some(pfn) = self.resident(a) else { return };
        if self.moving.len() >= 3 {
            return self.advance(b);
        }
        let World { pages, spaces, .. } = &mut *self.world;
        let pinned = self.pins.iter().any(|pin| pin.0.pfn() == pfn);
        let moving = self.moving.iter().any(|other| other.old() == pfn || other.new_page() == pfn);
        match spaces.migrate_begin(pages, pfn, MigrateReason::Compaction) {
            Ok(migration) => {
                assert!(!pinned && !moving);
                self.moving.push(migration);
            }
            Err(failure) => assert!(pinned || moving || self.failing, "{failure}"),
        }
    }

    fn advance(&mut self, b: u32) {
        if self.moving.is_empty() {
            return;
        }
        let migration = self.moving.remove(b as usize % self.moving.len());
        let World { pages, spaces, .. } = &mut *self.world;
        if b / 64 % 8 == 7 {
            spaces.migrate_abort(pages, migration);
        } else if let MigrateStep::More(next) = spaces.migrate_step(pages, migration) {
            self.moving.push(next);
        }
    }

    fn pin(&mut self, a: u32, b: u32) {
        let (id, page) = (self.id(a), FIRST + a / 8 % PAGES);
        let how = Foll::from_bits_truncate(b as u8);
        let World { pages, spaces, .. } = &mut *self.world;
        if let Ok(pin) = spaces.pin_user_page(pages, id, virt(page), how) {
            let cell = self.cell(id, page).unwrap();
            assert!(!(how.contains(Foll::LONGTERM) && self.world.is_cma(pin.pfn())));
            self.pins.push((pin, cell.bytes, how.contains(Foll::WRITE)));
        }
    }

    /// The device reads, and perhaps writes; and is perhaps done.
    fn unpin(&mut self, a: u32, b: u32) {
        if self.pins.is_empty() {
            return;
        }
        let (pin, bytes, write) = self.pins.remove(a as usize % self.pins.len());
        let ram = self.world.machine.ram();
        let mut found = vec![0; PAGE];
        ram.read(pin.pfn().addr(), &mut found);
        assert!(found == whole(&bytes), "pinned pfn {}", pin.pfn());
        if write {
            ram.write(pin.pfn().addr(), &a.to_le_bytes());
            store(&bytes, 0, &a.to_le_bytes());
        }
        if b.is_multiple_of(4) {
            self.pins.push((pin, bytes, write));
        } else {
            unpin_user_page(&mut self.world.pages, pin, write);
        }
    }

    fn lock(&mut self, a: u32, b: u32) {
        let (id, (first, count)) = (self.id(a), Self::range(a, b));
        if self.failing {
            return;
        }
        let World { pages, spaces, .. } = &mut *self.world;
        let on = (b / 16).is_multiple_of(2);
        let done = if on {
            spaces.mlock(pages, id, virt(first), count * PAGE_SIZE)
        } else {
            spaces.munlock(pages, id, virt(first), count * PAGE_SIZE)
        };
        assert_eq!(done.is_ok(), self.model.is_mapped(id, first, count));
        if done.is_ok() {
            let set = |flags: VmFlags| if on { flags | VmFlags::LOCKED } else { flags - VmFlags::LOCKED };
            self.model.change(id, first, count, set);
        }
    }

    fn share(&mut self, a: u32, b: u32) {
        let (source, page, target) = (self.id(a), FIRST + a / 8 % PAGES, self.id(b));
        let cells = self.model.shared_from(source, page);
        let first = FIRST + b / 8 % PAGES;
        let place = Placement::Replace(virt(first));
        let World { pages, spaces, .. } = &mut *self.world;
        let overlaps = source == target;
        if overlaps {
            return;
        }
        match spaces.share(pages, (source, virt(page)), target, place) {
            Ok(_) => {
                self.model.unmap(target, first, cells.len() as u32);
                for (number, cell) in cells.into_iter().enumerate() {
                    let cell = Cell { flags: cell.flags - VmFlags::LOCKED, ..cell };
                    self.model.at(target).insert(first + number as u32, cell);
                }
            }
            Err(error) => assert!(self.failing || cells.is_empty(), "{error}"),
        }
    }

    fn cma(&mut self, b: u32) {
        if b.is_multiple_of(2) && !self.taken.is_empty() {
            let taken = self.taken.remove(0);
            return self.world.cma.release(&mut self.world.pages, taken);
        }
        let free = self.taken.is_empty() && self.pins.is_empty() && self.moving.is_empty() && !self.failing;
        match self.world.cma_alloc(if (b / 4).is_multiple_of(4) { 1024 } else { 1 + b / 8 % 300 }) {
            Ok(taken) => self.taken.push(taken),
            Err(error) => assert!(!free, "{error}"),
        }
    }

    fn refs_or_compaction(&mut self, a: u32, b: u32) {
        let id = self.id(a);
        let World { pages, spaces, .. } = &mut *self.world;
        if b.is_multiple_of(2) {
            return spaces.clear_refs(pages, id).unwrap();
        }
        let mut compaction = Compaction::new(ZoneKind::Normal);
        let mut migrator = Migrator { spaces, drivers: &mut [], mode: MigrateMode::Async };
        while compaction.step(pages, &mut migrator) == Step::More {}
    }

    fn fail(&mut self, b: u32) {
        self.failing = b.is_multiple_of(3);
        let attr = if self.failing { FaultAttr::parse("1,30,0,-1").ok() } else { None };
        assert_eq!(attr.is_some(), self.failing);
        self.world.pages.set_fail_page_alloc(attr.unwrap_or_default());
    }

    /// Every byte of every space.
    fn verify(&mut self) {
        self.fail(1);
        let ids: Vec<_> = self.model.spaces.keys().copied().collect();
        for id in ids {
            self.world.run(id);
            for page in FIRST..FIRST + PAGES + 12 {
                self.compare(id, page, 0, PAGE);
            }
        }
        self.world.validate();
    }

    fn finish(mut self) {
        self.verify();
        while !self.moving.is_empty() {
            self.advance(0);
        }
        self.verify();
        for (pin, bytes, write) in self.pins.drain(..) {
            let mut found = vec![0; PAGE];
            self.world.machine.ram().read(pin.pfn().addr(), &mut found);
            assert!(found == whole(&bytes));
            unpin_user_page(&mut self.world.pages, pin, write);
        }
        for taken in self.taken.drain(..) {
            self.world.cma.release(&mut self.world.pages, taken);
        }
        self.world.spaces.leave(0);
        for id in self.model.spaces.into_keys() {
            self.world.spaces.destroy(&mut self.world.pages, id).unwrap();
        }
    }
}

fn check(ops: &[Op]) {
    boot(8, 4, SPACES + 40, |world| {
        let first = world.spaces.create(&mut world.pages).unwrap();
        world.run(first);
        let mut model = Model::default();
        model.spaces.insert(first, Default::default());
        let (moving, pins, taken) = (vec![], vec![], vec![]);
        let mut run = Run { world, model, moving, pins, taken, failing: false, denied: 0 };
        for (number, &op) in ops.iter().enumerate() {
            if op.0 % 24 == 3 && run.model.spaces.len() >= SPACES {
                continue;
            }
            run.step(op);
            if number % 32 == 31 {
                run.world.validate();
            }
            if number % 256 == 255 {
                run.verify();
            }
        }
        run.finish();
    });
}

proptest! {
    #![proptest_config(testkit::cases(160, 1))]

    #[test]
    #[cfg_attr(miri, ignore)]
    fn spaces_hold_what_was_stored(
        ops in prop::collection::vec(any::<Op>(), 600..1200),
    ) {
        check(&ops);
    }
}

/// The bytes are compared by value, shared or not.
#[test]
#[cfg_attr(miri, ignore)]
fn the_model_copies_at_a_fork() {
    boot(8, 4, 4, |world| {
        let ids: Vec<_> = (0..2).map(|_| world.spaces.create(&mut world.pages).unwrap()).collect();
        let mut model = Model::default();
        model.spaces.insert(ids[0], Default::default());
        model.map(ids[0], 1, 1, VmFlags::WRITE);
        model.map(ids[0], 2, 1, VmFlags::SHARED);
        model.fork(ids[0], ids[1]);
        let same =
            |page| Rc::ptr_eq(&model.spaces[&ids[0]][&page].bytes, &model.spaces[&ids[1]][&page].bytes);
        assert_eq!((same(1), same(2), page_of(VirtAddr::new(0x2000))), (false, true, 2));
        for id in ids {
            world.spaces.destroy(&mut world.pages, id).unwrap();
        }
    });
}
