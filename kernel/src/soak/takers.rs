//! Who takes memory in a soak test: drivers with CMA allocations and DMA buffers, devices, movable buffers, the kernel.

use super::disk::DiskUser;
use super::ledger::Ledger;
use super::{PLENTY, Wrong, free_block, injected, injecting, own_time, refused, room, take_block, with};
use crate::dma::{self, Buffer};
use crate::dmadev;
use crate::memory;
use crate::memory::contiguous::{self, Work};
use crate::memory::hooks::with_highmem;
use ::user::Request;
use alloc::vec::Vec;
use core::fmt::Write;
use mm::cma::{CmaError, CmaId, CmaPages};
use mm::migrate::{BufferError, BufferHandle};
use mm::soak::{CLASSES, Class, Costs, Outcome, Random, Verdict};
use mm::{Frames, Gfp};
use shell::Context;
use types::{Order, PAGE_SIZE, Pfn};

const HELD: usize = 6;
const BUFFERS: usize = 8;
const MOVABLE: usize = 32;
const KERNEL: usize = 32;
const QUIET: Gfp = Gfp::KERNEL.union(Gfp::__NOWARN);
/// Bytes that a device is asked for.
const RANDOM_BYTES: usize = 256;

/// Taken pages, and what they hold.
struct Held {
    pages: CmaPages,
    stamp: u32,
}

pub struct Takers {
    pub ledger: Ledger,
    /// The area that DMA buffers are taken from when the device's own has no room.
    default: CmaId,
    costs: Costs<'static>,
    device: ::dma::Device<'static, CmaId>,
    /// The device is a DMA engine that copies.
    engine: bool,
    held: [Option<Held>; HELD],
    buffers: [Option<(Buffer, u32)>; BUFFERS],
    movable: [Option<(BufferHandle, u8)>; MOVABLE],
    kernel: [Option<Frames>; KERNEL],
    disk: Option<DiskUser>,
    /// Requests that failed because there was no stretch or no room, and those whose failure was injected.
    rightly: u32,
    injected: u32,
    from_devices: u32,
}

/// Figures that nothing has been added to.
fn classes() -> Result<Costs<'static>, Wrong> {
    let mut classes: Vec<Class> = Vec::new();
    classes.try_reserve_exact(CLASSES).map_err(|_| Wrong::NoMemory)?;
    classes.resize(CLASSES, Class::EMPTY);
    let classes: &'static mut [Class] = classes.leak();
    classes.try_into().map(Costs::new).map_err(|_| Wrong::NoMemory)
}

impl Takers {
    pub fn new() -> Result<Self, Wrong> {
        // What the devices take for themselves is not the test's.
        let engine = dmadev::request_engine();
        let default = with(|mm| mm.default_cma)?.ok_or(Wrong::NoArea)?;
        let disk = if injecting() { None } else { DiskUser::new()? };
        Ok(Self {
            ledger: Ledger::new()?,
            default,
            costs: classes()?,
            device: engine.clone().unwrap_or(::dma::Device::new("soak")),
            engine: engine.is_some(),
            held: [const { None }; HELD],
            buffers: [const { None }; BUFFERS],
            movable: [const { None }; MOVABLE],
            kernel: [const { None }; KERNEL],
            disk,
            rightly: 0,
            injected: 0,
            from_devices: 0,
        })
    }

    /// One thing.
    pub fn step(&mut self, random: &mut Random) -> Result<(), Wrong> {
        match random.below(1000) {
            0..600 => self.cma(random),
            600..760 => self.buffer(random),
            760..880 => self.movable(random),
            880..970 => self.kernel(random),
            970..988 => self.device(random),
            988..998 => self.disk.as_mut().map_or(Ok(()), DiskUser::step),
            _ => self.compact(),
        }
    }

    /// Moves pages inside of zones: those of areas stay, and others may join them.
    fn compact(&mut self) -> Result<(), Wrong> {
        let failed = |mm: &mut memory::Mm| mm.pages.stat().compact_fail;
        let before = with(failed)?;
        self.ledger.seen.pgmigrate_success += contiguous::compact();
        self.ledger.unexplained += with(failed)?.wrapping_sub(before);
        Ok(())
    }

    fn cma(&mut self, random: &mut Random) -> Result<(), Wrong> {
        let slot = random.below(HELD as u32) as usize;
        match self.held[slot].take() {
            Some(held) => self.release(held),
            // Most of the area is the movable pages' most of the time.
            None if random.below(3) == 0 => self.take(slot, random),
            None => Ok(()),
        }
    }

    fn take(&mut self, slot: usize, random: &mut Random) -> Result<(), Wrong> {
        let areas = self.ledger.areas();
        let area = &areas[random.below(areas.len() as u32) as usize];
        let (id, count, align) = (area.id, random.size(area.count), random.below(5) as u8);
        let room = room();
        let verdict = self.ledger.verdict(id, (count, align), room);
        let request = Request { area: id, count, align, gfp: QUIET, owner: "soak" };
        let mut work = Work::default();
        let before = self.ledger.seen.pgmigrate_success;
        let (result, cost) = self.ledger.watch(|_| {
            let start = own_time();
            (contiguous::cma_alloc_counted(&request, &mut work), own_time().wrapping_sub(start))
        })?;
        let (Work { moved, attempts }, found) = (work, self.ledger.seen.pgmigrate_success - before);
        if moved != found {
            return Err(Wrong::Count { what: "pages moved by a request", says: moved, found });
        }
        match result {
            Ok(pages) => {
                self.ledger.seen.cma_alloc_success += 1;
                self.costs.add(Outcome { pages: count, cost, moved, attempts });
                let (pfn, stamp) = (pages.pfn(), random.next());
                let wrong = self.ledger.set(pfn, count, true);
                self.held[slot] = Some(Held { pages, stamp });
                if wrong > 0 || verdict == Verdict::Cannot || moved > count {
                    return Err(Wrong::Taken { pfn, count });
                }
                stamp_pages(pfn, count, stamp);
                Ok(())
            }
            Err(error) => {
                self.ledger.seen.cma_alloc_fail += 1;
                let no_room = matches!(error, CmaError::NoRoomElsewhere { .. });
                self.ledger.seen.pgmigrate_fail += u32::from(no_room);
                match verdict {
                    Verdict::Must if no_room && injected() => self.injected += 1,
                    Verdict::Must => return Err(Wrong::Refused { count, align, room, error: Some(error) }),
                    Verdict::May | Verdict::Cannot => self.rightly += 1,
                }
                Ok(())
            }
        }
    }

    fn release(&mut self, held: Held) -> Result<(), Wrong> {
        let Held { pages, stamp } = held;
        let (pfn, count) = (pages.pfn(), pages.count());
        let lost = (0..count).map(|page| pfn.add(page)).find(|&pfn| !is_stamped(pfn, stamp));
        with(|mm| mm.cma.release(mm.pages, pages))?;
        if self.ledger.set(pfn, count, false) > 0 {
            return Err(Wrong::Taken { pfn, count });
        }
        lost.map_or(Ok(()), |pfn| Err(Wrong::Lost { what: "a CMA allocation", pfn }))
    }

    /// A DMA buffer, and whether it is from an area. The device's own area is asked first, then the default one.
    fn dma_alloc(&mut self, size: u32) -> Result<(Option<Buffer>, bool), Wrong> {
        let (device, ledger) = (&self.device, &mut self.ledger);
        // A mapping may need a page of tables; without one the pages are given back.
        let short = room() < PLENTY;
        let mut buffer = ledger.watch(|_| dma::alloc_coherent(device, size, QUIET))?.ok();
        let pfn = buffer.as_ref().map(|buffer| Pfn::containing(buffer.phys()));
        // What comes from the pool for atomic requests was taken before.
        if pfn.is_some_and(|pfn| ledger.set(pfn, size / PAGE_SIZE, true) > 0) {
            buffer.take().into_iter().for_each(dma::free);
        }
        let taken = pfn.filter(|_| buffer.is_some());
        let area = with(|mm| taken.and_then(|pfn| mm.cma.area_of(pfn)))?;
        let own = device.area.filter(|&own| own != self.default);
        for asked in own.into_iter().chain([self.default]) {
            if area == Some(asked) {
                ledger.seen.cma_alloc_success += 1;
                break;
            }
            let counted =
                if short || injected() { &mut ledger.unseen } else { &mut ledger.seen.cma_alloc_fail };
            *counted += 1;
            ledger.unexplained += 1;
        }
        Ok((buffer, area.is_some()))
    }

    fn dma_free(&mut self, buffer: Buffer) -> Result<(), Wrong> {
        let (pfn, count) = (Pfn::containing(buffer.phys()), buffer.size() / PAGE_SIZE);
        dma::free(buffer);
        if self.ledger.set(pfn, count, false) > 0 { Err(Wrong::Taken { pfn, count }) } else { Ok(()) }
    }

    /// Buffers for DMA.
    fn buffer(&mut self, random: &mut Random) -> Result<(), Wrong> {
        let slot = random.below(BUFFERS as u32) as usize;
        if let Some((buffer, stamp)) = self.buffers[slot].take() {
            return self.free_buffer(buffer, stamp);
        }
        let (count, room) = (random.size(64), room());
        let align = (u32::BITS - (count - 1).leading_zeros()).min(4) as u8;
        let verdict = self.ledger.verdict(self.default, (count, align), room);
        let (made, in_area) = self.dma_alloc(count * PAGE_SIZE)?;
        if let Some(mut buffer) = made {
            let stamp = random.next();
            buffer.write_u32(0, stamp);
            buffer.write_u32((count * PAGE_SIZE - 4) as usize, !stamp);
            self.buffers[slot] = Some((buffer, stamp));
        }
        let refused = verdict == Verdict::Must && !in_area && !injected();
        if refused { Err(Wrong::Refused { count, align, room, error: None }) } else { Ok(()) }
    }

    fn free_buffer(&mut self, buffer: Buffer, stamp: u32) -> Result<(), Wrong> {
        let (pfn, size) = (Pfn::containing(buffer.phys()), buffer.size());
        let kept = buffer.read_u32(0) == stamp && buffer.read_u32((size - 4) as usize) == !stamp;
        self.dma_free(buffer)?;
        if kept { Ok(()) } else { Err(Wrong::Lost { what: "a DMA buffer", pfn }) }
    }

    /// Buffers of a driver that move while it isn't looking.
    fn movable(&mut self, random: &mut Random) -> Result<(), Wrong> {
        let slot = random.below(MOVABLE as u32) as usize;
        if let Some((handle, stamp)) = self.movable[slot].take() {
            return free_movable(handle, stamp);
        }
        match with(|mm| mm.buffers.alloc(mm.pages, Order::ZERO))? {
            Ok(handle) => {
                let stamp = random.next() as u8;
                let filled = with(|mm| mm.buffers.with(&handle, |bytes| bytes.fill(stamp)))?;
                self.movable[slot] = Some((handle, stamp));
                filled.map_err(|_| Wrong::Lost { what: "a movable buffer", pfn: Pfn::new(0) })
            }
            Err(BufferError::NoMemory(_)) => refused(),
            Err(_) => Ok(()),
        }
    }

    /// Pages of the kernel, which can't move.
    fn kernel(&mut self, random: &mut Random) -> Result<(), Wrong> {
        let slot = random.below(KERNEL as u32) as usize;
        if let Some(frames) = self.kernel[slot].take() {
            return with(|mm| free_block(mm, frames))?;
        }
        let order = Order::new(random.below(7) as u8).unwrap_or_default();
        self.kernel[slot] = with(|mm| take_block(mm, QUIET, order))??;
        Ok(())
    }

    /// A device writes into memory.
    fn device(&mut self, random: &mut Random) -> Result<(), Wrong> {
        // A buffer that can't be shared kills a virtio device: with fault injection they rest, the disk too.
        if !injecting() {
            let mut bytes = [0; RANDOM_BYTES];
            self.from_devices += dmadev::random(&mut bytes).unwrap_or(0) as u32;
        }
        let size = 16 * PAGE_SIZE;
        let (from, to) = (self.dma_alloc(size)?.0, self.dma_alloc(size)?.0);
        let pfn = to.as_ref().map_or(Pfn::new(0), |buffer| Pfn::containing(buffer.phys()));
        let mut pair = (from, to);
        let copied = match &mut pair {
            (Some(from), Some(to)) if self.engine => self.copies(from, to, random.next()),
            _ => true,
        };
        for buffer in [pair.0, pair.1].into_iter().flatten() {
            self.dma_free(buffer)?;
        }
        if copied { Ok(()) } else { Err(Wrong::Lost { what: "what a device copied", pfn }) }
    }

    fn copies(&mut self, from: &mut Buffer, to: &mut Buffer, stamp: u32) -> bool {
        let size = to.size();
        let words = || (0..size / 4).map(|at| (at as usize * 4, at ^ stamp));
        words().for_each(|(at, word)| from.write_u32(at, word));
        let done = dmadev::copy(to, from, size);
        self.from_devices += size;
        done && words().all(|(at, word)| to.read_u32(at) == word)
    }

    /// What the memory manager counted is what was seen.
    pub fn check_counters(&self) -> Result<(), Wrong> {
        let held = self.held.iter().flatten().map(|held| (held.pages.pfn(), held.pages.count()));
        let buffers = self.buffers.iter().flatten();
        let buffers = buffers.map(|(buffer, _)| (Pfn::containing(buffer.phys()), buffer.size() / PAGE_SIZE));
        self.ledger.check(held.chain(buffers))
    }

    /// Gives everything back.
    pub fn end(&mut self) -> Result<(), Wrong> {
        let mut done = Ok(());
        for slot in 0..HELD {
            if let Some(held) = self.held[slot].take() {
                done = done.and(self.release(held));
            }
        }
        for slot in 0..BUFFERS {
            if let Some((buffer, stamp)) = self.buffers[slot].take() {
                done = done.and(self.free_buffer(buffer, stamp));
            }
        }
        for (handle, stamp) in self.movable.iter_mut().filter_map(Option::take) {
            done = done.and(free_movable(handle, stamp));
        }
        for frames in self.kernel.iter_mut().filter_map(Option::take) {
            done = done.and(with(|mm| free_block(mm, frames))?);
        }
        done.and(self.disk.as_mut().map_or(Ok(()), DiskUser::end))
    }

    /// Gives the devices back, the disk as it was.
    pub fn finish(self) -> Result<(), Wrong> {
        if self.engine {
            dmadev::release_engine();
        }
        self.disk.map_or(Ok(()), DiskUser::restore)
    }

    pub fn report(&self, context: &mut Context<'_>) {
        let Self { costs, rightly, injected, .. } = self;
        let from_devices = self.from_devices + self.disk.as_ref().map_or(0, |disk| disk.bytes);
        let _ = writeln!(context, "soak: cma_alloc, in ns (with --icount: instructions)");
        let _ = write!(context, "{costs}");
        let (given, moved, attempts) = (self.ledger.seen.cma_alloc_success, costs.moved(), costs.attempts());
        let _ = writeln!(context, "soak: {given} given, {moved} pages moved, attempts {attempts} at most");
        let _ = writeln!(
            context,
            "soak: refused: 0 that could succeed, {rightly} that could not, {injected} by fault injection"
        );
        let _ = writeln!(context, "soak: {from_devices} bytes by devices");
    }
}

/// What each page of an allocation holds in its first and its last word.
fn stamp_pages(pfn: Pfn, count: u32, stamp: u32) {
    for pfn in (0..count).map(|page| pfn.add(page)) {
        with_highmem(pfn, &mut |page| {
            let ends = [page.cast::<u32>(), page.wrapping_add(PAGE_SIZE as usize - 4).cast()];
            // SAFETY: the page was just taken and belongs to this test (invariant 2); it is mapped for the moment.
            ends.into_iter().for_each(|word| unsafe { word.write(pfn.get() ^ stamp) });
        });
    }
}

fn is_stamped(pfn: Pfn, stamp: u32) -> bool {
    let mut kept = false;
    with_highmem(pfn, &mut |page| {
        let ends = [page.cast::<u32>(), page.wrapping_add(PAGE_SIZE as usize - 4).cast()];
        // SAFETY: as for `stamp_pages`.
        kept = ends.into_iter().all(|word| unsafe { word.read() } == pfn.get() ^ stamp);
    });
    kept
}

fn free_movable(handle: BufferHandle, stamp: u8) -> Result<(), Wrong> {
    let lost = Wrong::Lost { what: "a movable buffer", pfn: Pfn::new(0) };
    let kept = with(|mm| {
        let kept = mm.buffers.with(&handle, |bytes| bytes.iter().all(|&byte| byte == stamp));
        mm.buffers.free(mm.pages, handle).is_ok() && kept == Ok(true)
    })?;
    if kept { Ok(()) } else { Err(lost) }
}
