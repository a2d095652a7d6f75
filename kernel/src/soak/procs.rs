//! The spaces of a soak test: what is stored in each page is known by a seed.

use super::ledger::{Counts, Ledger};
use super::{Wrong, cma_pages, refused, room, words};
use crate::user::{self, CurrentSpace};
use alloc::vec::Vec;
use core::fmt::Write;
use mm::memhog::{MemhogError, UserMemory};
use mm::pin::{Foll, PinError, PinnedPage, unpin_user_page};
use mm::soak::Random;
use mm::space::{FaultOutcome, Placement, SpaceError, SpaceId, VmFlags};
use shell::Context;
use types::{PAGE_SIZE, VirtAddr};

const PROCS: usize = 12;
const REGIONS: usize = 4;
const OBJECTS: usize = 8;
const PINS: usize = 16;
const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
/// Knuth's multiplier.
const SPREAD: u32 = 0x9e37_79b1;
/// Words from one to the next in a page that is sparsely stored to.
const SPARSE: u32 = 64;

/// What a word holds in a page with that seed: 0 for an untouched page, odd for one that was stored to everywhere.
fn word(virt: VirtAddr, seed: u32) -> u32 {
    let stored = seed & 1 == 1 || (virt.get() / 4).is_multiple_of(SPARSE);
    if seed != 0 && stored { virt.get().wrapping_mul(SPREAD) ^ seed } else { 0 }
}

#[derive(Clone, Copy)]
struct Region {
    base: VirtAddr,
    pages: u32,
    object: Option<usize>,
    writable: bool,
    locked: bool,
}

impl Region {
    fn at(&self, page: u32) -> VirtAddr {
        VirtAddr::new(self.base.get() + page * PAGE_SIZE)
    }
}

#[derive(Clone, Copy)]
struct Proc {
    id: SpaceId,
    regions: [Option<Region>; REGIONS],
}

pub struct Procs {
    procs: [Option<Proc>; PROCS],
    /// Regions that show each object.
    users: [u32; OBJECTS],
    pins: [Option<PinnedPage>; PINS],
    /// Seeds of all regions, then of all objects, `largest` for each.
    seeds: Vec<u32>,
    /// Pages of the largest region.
    largest: u32,
    forks: u32,
    verified: u64,
    /// The least of the area that was in use while memory was short, in thousandths.
    least_use: u32,
}

/// What becomes of an operation that memory may be lacking for: `None` when it was.
fn lacking<R>(result: Result<R, SpaceError>) -> Result<Option<R>, Wrong> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(SpaceError::NoMemory(_)) => refused().map(|()| None),
        Err(error) => Err(error.into()),
    }
}

fn with<R>(
    f: impl FnOnce(&mut ::user::Spaces, &mut ::user::Pages) -> Result<R, SpaceError>,
) -> Result<R, SpaceError> {
    user::with(|spaces, mm| f(spaces, mm.pages)).unwrap_or(Err(SpaceError::NoSpace))
}

impl Procs {
    /// For a machine with `room` pages: so large that they can use all of them.
    pub fn new(room: u32) -> Result<Self, Wrong> {
        let largest = (room / 20).max(16);
        Ok(Self {
            procs: [None; PROCS],
            users: [0; OBJECTS],
            pins: [const { None }; PINS],
            seeds: words((PROCS * REGIONS + OBJECTS) * largest as usize)?,
            largest,
            forks: 0,
            verified: 0,
            least_use: 1000,
        })
    }

    /// Seeds of a region.
    fn seeds(&mut self, proc: usize, region: usize) -> &mut [u32] {
        let object = self.procs[proc].and_then(|proc| proc.regions[region]).and_then(|region| region.object);
        self.slice(object.map_or(proc * REGIONS + region, |object| PROCS * REGIONS + object))
    }

    fn slice(&mut self, number: usize) -> &mut [u32] {
        let largest = self.largest as usize;
        &mut self.seeds[number * largest..(number + 1) * largest]
    }

    /// One thing, so that about `spare` pages stay free.
    pub fn step(&mut self, random: &mut Random, spare: u32, ledger: &mut Ledger) -> Result<(), Wrong> {
        let proc = random.below(PROCS as u32) as usize;
        let region = random.below(REGIONS as u32) as usize;
        let chance = random.below(1000);
        let Some(there) = self.procs[proc] else {
            return if chance < 100 { self.begin(proc, random) } else { Ok(()) };
        };
        match (chance, there.regions[region]) {
            (0..4, _) => self.exit(proc),
            (4..10, _) => self.fork(proc),
            (10..60, _) => self.pin_or_unpin(random, proc, region, ledger),
            (_, None) if room() > spare => self.grow(random, proc, region),
            (_, None) => Ok(()),
            (60..70, Some(at)) => self.shrink(random, proc, region, at),
            (90..130, Some(at)) => self.protect(proc, region, at),
            (130..150, Some(at)) => self.lock(random, proc, region, at),
            (150..450, Some(at)) => self.touch(random, proc, region, at, true),
            (450..700, Some(at)) if room() > spare => self.touch(random, proc, region, at, false),
            (450..460, Some(at)) => self.shrink(random, proc, region, at),
            (_, Some(at)) => self.verify_some(random, proc, region, at),
        }
    }

    fn begin(&mut self, proc: usize, random: &mut Random) -> Result<(), Wrong> {
        let Some(id) = lacking(with(|spaces, pages| spaces.create(pages)))? else { return Ok(()) };
        self.procs[proc] = Some(Proc { id, regions: [None; REGIONS] });
        self.grow(random, proc, 0)
    }

    fn grow(&mut self, random: &mut Random, proc: usize, region: usize) -> Result<(), Wrong> {
        let Some(Proc { id, .. }) = self.procs[proc] else { return Ok(()) };
        let pages = 1 + random.below(self.largest);
        let object =
            if random.below(4) == 0 { self.users.iter().position(|&users| users == 0) } else { None };
        let flags = if object.is_some() { RW | VmFlags::SHARED } else { RW };
        let len = pages * PAGE_SIZE;
        let mapped = with(|spaces, mm| spaces.mmap(mm, id, Placement::Anywhere, len, flags));
        let Some(base) = lacking(mapped)? else { return Ok(()) };
        let made = Region { base, pages, object, writable: true, locked: false };
        if let Some(object) = object {
            self.users[object] = 1;
        }
        self.set(proc, region, Some(made));
        self.seeds(proc, region).fill(0);
        self.touch(random, proc, region, made, false)
    }

    fn set(&mut self, proc: usize, region: usize, to: Option<Region>) {
        if let Some(proc) = &mut self.procs[proc] {
            proc.regions[region] = to;
        }
    }

    /// Removes a region, or the second half of a private one.
    fn shrink(&mut self, random: &mut Random, proc: usize, region: usize, at: Region) -> Result<(), Wrong> {
        let Some(Proc { id, .. }) = self.procs[proc] else { return Ok(()) };
        let kept = if at.object.is_none() && random.below(2) == 0 { at.pages / 2 } else { 0 };
        let len = (at.pages - kept) * PAGE_SIZE;
        let done = with(|spaces, pages| spaces.munmap(pages, id, at.at(kept), len));
        if lacking(done)?.is_none() {
            return Ok(());
        }
        if let Some(object) = at.object {
            self.users[object] -= 1;
        }
        self.set(proc, region, (kept > 0).then_some(Region { pages: kept, ..at }));
        Ok(())
    }

    fn protect(&mut self, proc: usize, region: usize, at: Region) -> Result<(), Wrong> {
        let Some(Proc { id, .. }) = self.procs[proc] else { return Ok(()) };
        let access = if at.writable { VmFlags::READ } else { RW };
        let len = at.pages * PAGE_SIZE;
        let done = with(|spaces, pages| spaces.mprotect(pages, id, at.base, len, access));
        if lacking(done)?.is_some() {
            self.set(proc, region, Some(Region { writable: !at.writable, ..at }));
        }
        Ok(())
    }

    /// Locks a region, all of which becomes resident then, or unlocks it. Large ones only while there is much room.
    fn lock(&mut self, random: &mut Random, proc: usize, region: usize, at: Region) -> Result<(), Wrong> {
        let Some(Proc { id, .. }) = self.procs[proc] else { return Ok(()) };
        let len = at.pages * PAGE_SIZE;
        if !at.locked && (at.pages > 64 + random.below(64) || room() < 2 * at.pages) {
            return Ok(());
        }
        let done = if at.locked {
            with(|spaces, pages| spaces.munlock(pages, id, at.base, len))
        } else {
            with(|spaces, pages| spaces.mlock(pages, id, at.base, len))
        };
        if lacking(done)?.is_some() {
            self.set(proc, region, Some(Region { locked: !at.locked, ..at }));
        }
        Ok(())
    }

    /// Stores to some pages, everywhere or sparsely where nothing was stored yet.
    fn touch(
        &mut self,
        random: &mut Random,
        proc: usize,
        region: usize,
        at: Region,
        everywhere: bool,
    ) -> Result<(), Wrong> {
        let Some(Proc { id, .. }) = self.procs[proc].filter(|_| at.writable) else { return Ok(()) };
        user::enter(id)?;
        let first = random.below(at.pages);
        let count = 1 + random.below(if everywhere { 3 } else { 256 });
        for page in first..at.pages.min(first + count) {
            let old = self.seeds(proc, region)[page as usize];
            let seed = if everywhere { random.next() | 1 } else { random.next() & !1 | 2 };
            if !everywhere && old != 0 {
                continue;
            }
            let virt = at.at(page);
            let done = if everywhere {
                CurrentSpace.store_page(virt, |virt| word(virt, seed))
            } else {
                let stored = |word: u32| VirtAddr::new(virt.get() + word * 4);
                let mut some = (0..PAGE_SIZE / 4).step_by(SPARSE as usize).map(stored);
                some.try_for_each(|virt| CurrentSpace.store(virt, word(virt, seed)))
            };
            match done {
                Ok(()) => self.seeds(proc, region)[page as usize] = seed,
                Err(FaultOutcome::OutOfMemory(_)) => {
                    self.note_use();
                    return refused();
                }
                Err(why) => return Err(Wrong::Data(MemhogError::Access { virt, why })),
            }
        }
        Ok(())
    }

    /// Memory is short: how much of the areas is in use?
    fn note_use(&mut self) {
        let (free, all) = cma_pages();
        if all > 0 && room() == 0 {
            self.least_use = self.least_use.min((all - free) * 1000 / all);
        }
    }

    fn verify_some(
        &mut self,
        random: &mut Random,
        proc: usize,
        region: usize,
        at: Region,
    ) -> Result<(), Wrong> {
        let first = random.below(at.pages);
        self.verify(proc, region, at, first, at.pages.min(first + 1 + random.below(6)))
    }

    fn verify(&mut self, proc: usize, region: usize, at: Region, first: u32, end: u32) -> Result<(), Wrong> {
        let Some(Proc { id, .. }) = self.procs[proc] else { return Ok(()) };
        user::enter(id)?;
        for page in first..end {
            let (seed, virt) = (self.seeds(proc, region)[page as usize], at.at(page));
            match CurrentSpace.find_other(virt, |virt| word(virt, seed)) {
                Ok(None) => self.verified += 1,
                Ok(Some((virt, found))) => {
                    return Err(Wrong::Data(MemhogError::Corrupt { virt, stored: word(virt, seed), found }));
                }
                // A table for the zero page.
                Err(FaultOutcome::OutOfMemory(_)) => refused()?,
                Err(why) => return Err(Wrong::Data(MemhogError::Access { virt, why })),
            }
        }
        Ok(())
    }

    /// Every byte that was ever stored to; untouched pages are as good as one.
    pub fn verify_all(&mut self) -> Result<(), Wrong> {
        for proc in 0..PROCS {
            for region in 0..REGIONS {
                let Some(at) = self.procs[proc].and_then(|proc| proc.regions[region]) else { continue };
                for page in 0..at.pages {
                    if self.seeds(proc, region)[page as usize] != 0 {
                        self.verify(proc, region, at, page, page + 1)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn fork(&mut self, proc: usize) -> Result<(), Wrong> {
        let (Some(parent), Some(slot)) = (self.procs[proc], self.procs.iter().position(Option::is_none))
        else {
            return Ok(());
        };
        let Some(id) = lacking(with(|spaces, pages| spaces.fork(pages, parent.id)))? else { return Ok(()) };
        self.forks += 1;
        let mut child = Proc { id, ..parent };
        for (region, there) in child.regions.iter_mut().enumerate() {
            let Some(there) = there else { continue };
            there.locked = false;
            match there.object {
                Some(object) => self.users[object] += 1,
                None => {
                    let largest = self.largest as usize;
                    let from = (proc * REGIONS + region) * largest;
                    self.seeds.copy_within(from..from + largest, (slot * REGIONS + region) * largest);
                }
            }
        }
        self.procs[slot] = Some(child);
        Ok(())
    }

    fn exit(&mut self, proc: usize) -> Result<(), Wrong> {
        let Some(Proc { id, regions }) = self.procs[proc].take() else { return Ok(()) };
        user::leave();
        regions
            .iter()
            .flatten()
            .filter_map(|region| region.object)
            .for_each(|object| self.users[object] -= 1);
        Ok(with(|spaces, pages| spaces.destroy(pages, id))?)
    }

    fn pin_or_unpin(
        &mut self,
        random: &mut Random,
        proc: usize,
        region: usize,
        ledger: &mut Ledger,
    ) -> Result<(), Wrong> {
        let slot = random.below(PINS as u32) as usize;
        if let Some(pin) = self.pins[slot].take() {
            return unpin(pin, ledger);
        }
        let Some(there) = self.procs[proc] else { return Ok(()) };
        let Some(at) = there.regions[region].filter(|at| at.writable) else { return Ok(()) };
        let long = random.below(2) == 0;
        let virt = at.at(random.below(at.pages));
        let Some(pin) = pin_page(there.id, virt, Foll::WRITE, &mut ledger.seen)? else { return Ok(()) };
        if !long {
            return self.keep_pin(slot, pin, long, ledger);
        }
        let pfn = pin.pfn();
        // Resident now, so that a long pin can do nothing but move it, if no other pin holds it where it is.
        drop_pin(pin, ledger);
        if self.pins.iter().flatten().any(|other| other.pfn() == pfn) {
            return Ok(());
        }
        let how = Foll::WRITE | Foll::LONGTERM;
        match ledger.watch(|seen| pin_page(there.id, virt, how, seen))?? {
            Some(pin) => self.keep_pin(slot, pin, long, ledger),
            None => Ok(()),
        }
    }

    fn keep_pin(
        &mut self,
        slot: usize,
        pin: PinnedPage,
        long: bool,
        ledger: &mut Ledger,
    ) -> Result<(), Wrong> {
        let pfn = pin.pfn();
        if self.pins.iter().flatten().any(|other| other.pfn() == pfn) {
            // Twice is not in the model.
            drop_pin(pin, ledger);
            return Ok(());
        }
        self.pins[slot] = Some(pin);
        let fixed = ledger.set(pfn, 1, true);
        let in_area = user::with(|_, mm| mm.cma.area_of(pfn).is_some()) == Some(true);
        // A page that is pinned for long has left the area (invariant 3).
        if fixed > 0 || long && in_area { Err(Wrong::Taken { pfn, count: 1 }) } else { Ok(()) }
    }

    /// Ends everything.
    pub fn end(&mut self, ledger: &mut Ledger) -> Result<(), Wrong> {
        user::leave();
        let mut done = Ok(());
        for slot in 0..PINS {
            if let Some(pin) = self.pins[slot].take() {
                done = done.and(unpin(pin, ledger));
            }
        }
        for proc in 0..PROCS {
            done = done.and(self.exit(proc));
        }
        done
    }

    pub fn report(&self, context: &mut Context<'_>) {
        let (forks, verified) = (self.forks, self.verified);
        let _ = writeln!(context, "soak: {forks} forks, {verified} pages verified");
        let (whole, part) = (self.least_use / 10, self.least_use % 10);
        let _ = writeln!(
            context,
            "soak: when memory was short, {whole}.{part} % of the area was in use at least"
        );
    }
}

/// A pin; `None` when memory was lacking.
fn pin_page(id: SpaceId, virt: VirtAddr, how: Foll, seen: &mut Counts) -> Result<Option<PinnedPage>, Wrong> {
    match user::with(|spaces, mm| spaces.pin_user_page(mm.pages, id, virt, how)) {
        Some(Ok(pin)) => {
            seen.nr_foll_pin_acquired += 1;
            Ok(Some(pin))
        }
        Some(Err(PinError::Migrate(_))) => {
            seen.pgmigrate_fail += 1;
            refused().map(|()| None)
        }
        Some(Err(PinError::Space(SpaceError::NoMemory(_)))) => refused().map(|()| None),
        Some(Err(PinError::Space(error))) => Err(error.into()),
        Some(Err(PinError::TooMany { .. })) | None => Err(Wrong::NoMemory),
    }
}

fn drop_pin(pin: PinnedPage, ledger: &mut Ledger) {
    user::with(|_, mm| unpin_user_page(mm.pages, pin, true));
    ledger.seen.nr_foll_pin_released += 1;
}

fn unpin(pin: PinnedPage, ledger: &mut Ledger) -> Result<(), Wrong> {
    let pfn = pin.pfn();
    drop_pin(pin, ledger);
    if ledger.set(pfn, 1, false) > 0 { Err(Wrong::Taken { pfn, count: 1 }) } else { Ok(()) }
}
