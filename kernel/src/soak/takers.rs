//! Who takes memory in a soak test: drivers with CMA allocations and DMA buffers, devices, movable buffers, the kernel.

use super::{Wrong, injecting, refused, room, with, words};
use crate::dma::{self, Buffer};
use crate::dmadev;
use crate::memory::contiguous::{self, Work};
use crate::{devices, memory};
use ::user::Request;
use alloc::vec::Vec;
use arch_armv7::linear::Linear;
use core::fmt::Write;
use hal::LinearMap;
use mm::cma::{CmaError, CmaId, CmaPages};
use mm::migrate::{BufferError, BufferHandle};
use mm::soak::{CLASSES, Class, Costs, Outcome, Promise, Random, Verdict};
use mm::{Frames, Gfp, PageSource, PageState};
use shell::Context;
use types::{Order, PAGE_SIZE, Pfn, PhysAddr};

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
    area: CmaId,
    count: u32,
    pub promise: Promise<'static>,
    costs: Costs<'static>,
    linear: Linear,
    device: ::dma::Device<'static, CmaId>,
    /// The device is a DMA engine that copies.
    engine: bool,
    held: [Option<Held>; HELD],
    buffers: [Option<(Buffer, u32)>; BUFFERS],
    movable: [Option<(BufferHandle, u8)>; MOVABLE],
    kernel: [Option<Frames>; KERNEL],
    /// `cma_alloc_success` and `cma_alloc_fail` at the start, and what has been seen of both since.
    counters: [u32; 2],
    seen: [u32; 2],
    /// Requests that failed because there was no stretch or no room, and those whose failure was injected.
    rightly: u32,
    injected: u32,
    /// Pages taken at the start.
    used: u32,
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

fn counters() -> Result<[u32; 2], Wrong> {
    with(|mm| [mm.pages.stat().cma_alloc_success, mm.pages.stat().cma_alloc_fail])
}

impl Takers {
    pub fn new() -> Result<Self, Wrong> {
        let engine = dmadev::request_engine();
        let found = with(|mm| {
            let area = mm.default_cma?;
            mm.cma.area(area).map(|found| (area, found.base_pfn(), found.count(), found.used(), mm.linear))
        })?;
        let (area, base, count, used, linear) = found.ok_or(Wrong::NoArea)?;
        let mut promise = Promise::new(base.get(), count, words(count.div_ceil(32) as usize)?.leak());
        for page in 0..count {
            let pfn = base.add(page);
            if with(|mm| mm.cma.owner_of(mm.pages, pfn).is_some())? {
                let _ = promise.set(pfn.get(), 1, true);
            }
        }
        Ok(Self {
            area,
            count,
            promise,
            costs: classes()?,
            linear,
            device: engine.clone().unwrap_or(::dma::Device::new("soak")),
            engine: engine.is_some(),
            held: [const { None }; HELD],
            buffers: [const { None }; BUFFERS],
            movable: [const { None }; MOVABLE],
            kernel: [const { None }; KERNEL],
            counters: counters()?,
            seen: [0; 2],
            rightly: 0,
            injected: 0,
            used,
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
            970..998 => self.device(random),
            _ => {
                contiguous::compact();
                Ok(())
            }
        }
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
        let (count, align) = (random.size(self.count), random.below(5) as u8);
        let room = room();
        let verdict = self.promise.verdict(count, align, room);
        let request = Request { area: self.area, count, align, gfp: QUIET, owner: "soak" };
        let (start, mut work) = (devices::now(), Work::default());
        let result = contiguous::cma_alloc_counted(&request, &mut work);
        let cost = (devices::now() - start) as u32;
        match result {
            Ok(pages) => {
                self.seen[0] += 1;
                let Work { moved, attempts } = work;
                self.costs.add(Outcome { pages: count, cost, moved, attempts });
                let (pfn, stamp) = (pages.pfn(), random.next());
                let wrong = self.promise.set(pfn.get(), count, true);
                self.held[slot] = Some(Held { pages, stamp });
                if wrong > 0 || verdict == Verdict::Cannot || moved > count {
                    return Err(Wrong::Taken { pfn, count });
                }
                self.stamp(pfn, count, stamp);
                Ok(())
            }
            Err(error) => {
                self.seen[1] += 1;
                let no_room = matches!(error, CmaError::NoRoomElsewhere { .. });
                match verdict {
                    Verdict::Must if no_room && injecting() => self.injected += 1,
                    Verdict::Must => return Err(Wrong::Refused { count, align, room, error: Some(error) }),
                    Verdict::May | Verdict::Cannot => self.rightly += 1,
                }
                Ok(())
            }
        }
    }

    /// The first and the last word of each page, where the linear map reaches it.
    fn words(&self, pfn: Pfn, count: u32) -> impl Iterator<Item = (Pfn, *mut u32)> + use<> {
        let linear = self.linear;
        (0..count).map(move |page| pfn.add(page)).flat_map(move |pfn| {
            let word = move |at: u32| linear.ptr(PhysAddr::new(pfn.addr().get() + at)).cast::<u32>();
            let mapped = linear.phys_of(linear.virt(pfn.addr())).is_some();
            [0, PAGE_SIZE - 4].into_iter().filter(move |_| mapped).map(move |at| (pfn, word(at)))
        })
    }

    fn stamp(&self, pfn: Pfn, count: u32, stamp: u32) {
        for (pfn, word) in self.words(pfn, count) {
            // SAFETY: the pages were just taken and belong to this test (invariant 2); the linear map reaches them.
            unsafe { word.write(pfn.get() ^ stamp) };
        }
    }

    fn release(&mut self, held: Held) -> Result<(), Wrong> {
        let Held { pages, stamp } = held;
        let (pfn, count) = (pages.pfn(), pages.count());
        // SAFETY: as for `stamp`.
        let lost = self.words(pfn, count).find(|&(pfn, word)| unsafe { word.read() } != pfn.get() ^ stamp);
        with(|mm| mm.cma.release(mm.pages, pages))?;
        if self.promise.set(pfn.get(), count, false) > 0 {
            return Err(Wrong::Taken { pfn, count });
        }
        lost.map_or(Ok(()), |(pfn, _)| Err(Wrong::Lost { what: "a CMA allocation", pfn }))
    }

    /// Buffers for DMA.
    fn buffer(&mut self, random: &mut Random) -> Result<(), Wrong> {
        let slot = random.below(BUFFERS as u32) as usize;
        if let Some((buffer, stamp)) = self.buffers[slot].take() {
            return self.free_buffer(buffer, stamp);
        }
        let (count, room) = (random.size(64), room());
        let align = (u32::BITS - (count - 1).leading_zeros()).min(4) as u8;
        let verdict = self.promise.verdict(count, align, room);
        match dma::alloc_coherent(&self.device, count * PAGE_SIZE, QUIET) {
            Ok(mut buffer) => {
                let (pfn, stamp) = (Pfn::containing(buffer.phys()), random.next());
                let in_area = with(|mm| mm.cma.area_of(pfn).is_some())?;
                let atomic = self.promise.set(pfn.get(), count, true);
                self.seen[usize::from(!in_area || atomic > 0)] += 1;
                buffer.write_u32(0, stamp);
                buffer.write_u32((count * PAGE_SIZE - 4) as usize, !stamp);
                // What comes from the pool for atomic requests was taken before.
                if atomic > 0 {
                    dma::free(buffer);
                } else {
                    self.buffers[slot] = Some((buffer, stamp));
                }
                let elsewhere = verdict == Verdict::Must && (!in_area || atomic > 0) && !injecting();
                if elsewhere { Err(Wrong::Refused { count, align, room, error: None }) } else { Ok(()) }
            }
            Err(_) => {
                self.seen[1] += 1;
                let refused = verdict == Verdict::Must && !injecting();
                if refused { Err(Wrong::Refused { count, align, room, error: None }) } else { Ok(()) }
            }
        }
    }

    fn free_buffer(&mut self, buffer: Buffer, stamp: u32) -> Result<(), Wrong> {
        let (pfn, size) = (Pfn::containing(buffer.phys()), buffer.size());
        let kept = buffer.read_u32(0) == stamp && buffer.read_u32((size - 4) as usize) == !stamp;
        dma::free(buffer);
        if self.promise.set(pfn.get(), size / PAGE_SIZE, false) > 0 {
            return Err(Wrong::Taken { pfn, count: size / PAGE_SIZE });
        }
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
            return with(|mm| mm.pages.free_pages(frames));
        }
        let order = Order::new(random.below(4) as u8).unwrap_or_default();
        self.kernel[slot] = with(|mm| mm.pages.alloc_pages(QUIET, order, PageState::Kernel))?.ok();
        Ok(())
    }

    /// A device writes into memory.
    fn device(&mut self, random: &mut Random) -> Result<(), Wrong> {
        let mut bytes = [0; RANDOM_BYTES];
        self.from_devices += dmadev::random(&mut bytes).unwrap_or(0) as u32;
        let (mut pair, size) = ([None, None], 16 * PAGE_SIZE);
        for buffer in &mut pair {
            let made = dma::alloc_coherent(&self.device, size, QUIET);
            let in_area = |buffer: &Buffer| {
                let pfn = Pfn::containing(buffer.phys());
                memory::with(|mm| mm.cma.area_of(pfn).is_some()) == Some(true)
            };
            self.seen[usize::from(!made.as_ref().is_ok_and(in_area))] += 1;
            *buffer = made.ok();
        }
        let copied = match &mut pair {
            [Some(from), Some(to)] => {
                let stamp = random.next();
                from.write_u32(0, stamp);
                from.write_u32((size - 4) as usize, !stamp);
                let there = self.engine && dmadev::copy(to, from, size);
                self.from_devices += if there { size } else { 0 };
                !there || to.read_u32(0) == stamp && to.read_u32((size - 4) as usize) == !stamp
            }
            _ => true,
        };
        let pfn = pair[1].as_ref().map_or(Pfn::new(0), |buffer| Pfn::containing(buffer.phys()));
        pair.into_iter().flatten().for_each(dma::free);
        if copied { Ok(()) } else { Err(Wrong::Lost { what: "what a device copied", pfn }) }
    }

    /// What the memory manager counted is what was seen.
    pub fn check_counters(&self) -> Result<(), Wrong> {
        let now = counters()?;
        for (number, what) in ["cma_alloc_success", "cma_alloc_fail"].into_iter().enumerate() {
            let (says, found) = (self.seen[number], now[number] - self.counters[number]);
            if says != found {
                return Err(Wrong::Count { what, says, found });
            }
        }
        let held: u32 = self.held.iter().flatten().map(|held| held.pages.count()).sum();
        let in_area = |buffer: &Buffer| {
            let pfn = Pfn::containing(buffer.phys());
            memory::with(|mm| mm.cma.area_of(pfn).is_some()) == Some(true)
        };
        let buffers = self.buffers.iter().flatten().filter(|(buffer, _)| in_area(buffer));
        let says = self.used + held + buffers.map(|(buffer, _)| buffer.size() / PAGE_SIZE).sum::<u32>();
        let found = with(|mm| mm.cma.area(self.area).map_or(0, mm::cma::CmaArea::used))?;
        if says == found {
            Ok(())
        } else {
            Err(Wrong::Count { what: "pages of the area taken", says, found })
        }
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
            with(|mm| mm.pages.free_pages(frames))?;
        }
        done
    }

    /// Gives the DMA engine back.
    pub fn finish(&self) {
        if self.engine {
            dmadev::release_engine();
        }
    }

    pub fn report(&self, context: &mut Context<'_>) {
        let Self { costs, rightly, injected, from_devices, .. } = self;
        let _ = writeln!(context, "soak: cma_alloc, in ns (with --icount: instructions)");
        let _ = write!(context, "{costs}");
        let (given, moved, attempts) = (self.seen[0], costs.moved(), costs.attempts());
        let _ = writeln!(context, "soak: {given} given, {moved} pages moved, attempts {attempts} at most");
        let _ = writeln!(
            context,
            "soak: refused: 0 that could succeed, {rightly} that could not, {injected} by fault injection"
        );
        let _ = writeln!(context, "soak: {from_devices} bytes by devices");
    }
}

fn free_movable(handle: BufferHandle, stamp: u8) -> Result<(), Wrong> {
    let lost = Wrong::Lost { what: "a movable buffer", pfn: Pfn::new(0) };
    let kept = with(|mm| {
        let kept = mm.buffers.with(&handle, |bytes| bytes.iter().all(|&byte| byte == stamp));
        mm.buffers.free(mm.pages, handle).is_ok() && kept == Ok(true)
    })?;
    if kept { Ok(()) } else { Err(lost) }
}
