//! Tests of address spaces through the real MMU.

use crate::devices;
use crate::dma;
use crate::ktest;
use crate::ktest::{NotOk, TestResult, check, failed};
use crate::memory::{self, Mm, contiguous};
use crate::user::{self, CurrentSpace};
use ::user::Request;
use alloc::vec::Vec;
use arch_armv7::cpu::IrqLock;
use core::sync::atomic::{AtomicU32, Ordering};
use mm::cma::CmaId;
use mm::memhog::{Memhog, UserMemory};
use mm::migrate::{MigrateStep, Migration};
use mm::pages::ZoneKind;
use mm::space::{FaultOutcome, Placement, SpaceError, SpaceId, VmFlags};
use mm::{Frames, Gfp, MigrateReason, PageSource, PageState};
use types::{Order, PAGE_SIZE, Pfn, VirtAddr};

ktest!("user::spaces", spaces);
ktest!("user::cma_moves_pages", cma_moves_pages);
ktest!("user::dma_moves_pages", dma_moves_pages);
ktest!("user::accesses_wait", accesses_wait);

/// Nanoseconds between two interrupts: several come while a request moves its pages.
const PERIOD: u64 = 20_000;
const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);

/// A space that this CPU shows, with a region of `pages`.
fn space(pages: u32) -> Result<(SpaceId, VirtAddr), NotOk> {
    let made = user::with(|spaces, mm| {
        let id = spaces.create(mm.pages)?;
        let base = spaces.mmap(mm.pages, id, Placement::Anywhere, pages * PAGE_SIZE, RW)?;
        Ok::<_, mm::space::SpaceError>((id, base))
    });
    let made = made.ok_or(NotOk::Ignored("no address spaces"))?.map_err(failed)?;
    user::enter(made.0).map_err(failed)?;
    Ok(made)
}

fn end(ids: &[SpaceId]) -> TestResult {
    user::leave();
    for &id in ids {
        let done = user::with(|spaces, mm| spaces.destroy(mm.pages, id));
        done.ok_or(NotOk::Ignored("no address spaces"))?.map_err(failed)?;
    }
    let valid = user::with(|spaces, mm| spaces.validate(mm.pages));
    valid.ok_or(NotOk::Ignored("no address spaces"))?.map_err(failed)
}

/// Zero page, stores, fork, refusals.
fn spaces() -> TestResult {
    let (parent, base) = space(3)?;
    let mut memory = CurrentSpace;
    let refused = |outcome: FaultOutcome| failed(outcome);
    check(memory.load(base).map_err(refused)? == 0, "untouched memory isn't zero")?;
    memory.store(base, 1).map_err(refused)?;
    let child = user::with(|spaces, mm| spaces.fork(mm.pages, parent));
    let child = child.ok_or(NotOk::Ignored("no address spaces"))?.map_err(failed)?;
    memory.store(base, 2).map_err(refused)?;
    user::enter(child).map_err(failed)?;
    check(memory.load(base).map_err(refused)? == 1, "a store of the parent shows in the child")?;
    memory.store(base, 3).map_err(refused)?;
    user::enter(parent).map_err(failed)?;
    check(memory.load(base).map_err(refused)? == 2, "a store of the child shows in the parent")?;
    let beyond = VirtAddr::new(base.get() + 3 * PAGE_SIZE);
    check(memory.load(beyond) == Err(FaultOutcome::NoRegion), "there is something behind the region")?;
    check(memory.store(VirtAddr::new(0), 1) == Err(FaultOutcome::NoRegion), "address 0 can be written")?;
    end(&[parent, child])
}

/// A page on its way, and how many faults there had been when it set out.
static ON_ITS_WAY: IrqLock<Option<(Migration, u32)>> = IrqLock::new(None);

/// Takes the entries of a page away; an interrupt moves it as soon as an access has come twice in vain.
fn set_out(id: SpaceId, virt: VirtAddr) -> Result<Pfn, NotOk> {
    let begun = user::with(|spaces, mm| {
        let old = spaces.page_at(id, virt)?.ok_or(SpaceError::NotMapped { virt })?;
        let reason = MigrateReason::Syscall;
        let migration = spaces.migrate_begin(mm.pages, old, reason).ok();
        let step = migration.map(|migration| spaces.migrate_step(mm.pages, migration));
        Ok::<_, SpaceError>((old, step, mm.pages.stat().pgfault))
    });
    match begun.ok_or(NotOk::Ignored("no address spaces"))?.map_err(failed)? {
        (old, Some(MigrateStep::More(migration)), faults) => {
            *ON_ITS_WAY.lock() = Some((migration, faults));
            Ok(old)
        }
        _ => Err(failed("the page does not move")),
    }
}

/// The interrupt that moves it.
fn arrive() {
    let Some((mut migration, faults)) = ON_ITS_WAY.lock().take() else { return };
    user::with(|spaces, mm| {
        if mm.pages.stat().pgfault.wrapping_sub(faults) < 2 {
            *ON_ITS_WAY.lock() = Some((migration, faults));
            return;
        }
        while let MigrateStep::More(next) = spaces.migrate_step(mm.pages, migration) {
            migration = next;
        }
    });
}

/// `movw r0, #0x600d; bx lr`
const CODE: [u32; 2] = [0xe306_000d, 0xe12f_ff1e];

/// Calls a function without arguments of user memory.
fn call(virt: VirtAddr) -> u32 {
    let value: u32;
    // SAFETY: `CODE` lies there; it changes r0 alone, and the call lr.
    unsafe {
        core::arch::asm!("blx {}", in(reg) virt.get(), lateout("r0") value, lateout("lr") _, options(nostack));
    }
    value
}

/// A load, a store and an instruction fetch that meet a page on its way wait for it and then go on.
fn accesses_wait() -> TestResult {
    let (id, base) = space(2)?;
    let code = VirtAddr::new(base.get() + PAGE_SIZE);
    let mut memory = CurrentSpace;
    memory.store(base, 7).map_err(failed)?;
    CODE.iter()
        .zip([code, VirtAddr::new(code.get() + 4)])
        .try_for_each(|(&word, at)| memory.store(at, word).map_err(failed))?;
    let exec = VmFlags::READ | VmFlags::EXEC;
    let done = user::with(|spaces, mm| spaces.mprotect(mm.pages, id, code, PAGE_SIZE, exec));
    done.ok_or(NotOk::Ignored("no address spaces"))?.map_err(failed)?;
    check(call(code) == 0x600d, "user code does not run")?;
    let ticker = devices::every(PERIOD, &arrive);
    let old = [set_out(id, base)?, set_out_after(id, base, memory.load(base).map_err(failed)? == 7)?];
    memory.store(base, 8).map_err(failed)?;
    let left = set_out(id, code)?;
    let value = call(code);
    devices::cancel(ticker);
    check(value == 0x600d, "user code does not run after its move")?;
    check(memory.load(base).map_err(failed)? == 8, "a store was lost")?;
    let now = |virt| user::with(|spaces, _| spaces.page_at(id, virt).ok().flatten()).flatten();
    check(now(code) != Some(left) && now(base) != Some(old[1]) && old[0] != old[1], "no move")?;
    end(&[id])
}

/// [`set_out`], if the access before it saw what it should.
fn set_out_after(id: SpaceId, virt: VirtAddr, good: bool) -> Result<Pfn, NotOk> {
    check(good, "a load saw something else")?;
    set_out(id, virt)
}

/// Most of memory taken: large blocks first, as long as there is more than a space can have beside the area, then a space
/// full of movable pages.
struct Filled {
    held: Vec<Frames>,
    id: Option<SpaceId>,
    hog: Memhog,
    area: CmaId,
    moved: u32,
}

/// Pages that stay free beside the reserves, for tables and for where pages go.
const SPARE: u32 = 400;
/// Pages that stay free outside of CMA areas until the space takes them.
const BESIDE: u32 = 8192;

impl Filled {
    fn new() -> Result<Self, NotOk> {
        let Some(Some(area)) = memory::with(|mm| mm.default_cma) else {
            return Err(NotOk::Ignored("no CMA area"));
        };
        let no_hog = Memhog::new(VirtAddr::new(0), 0, 0);
        let mut it = Self { held: hold(), id: None, hog: no_hog, area, moved: 0 };
        let free = memory::with(|mm| {
            let buddy = mm.pages.buddy();
            buddy.free_page_count().saturating_sub(buddy.totalreserve_pages() + SPARE)
        });
        let pages = free.unwrap_or(0).min(USER_PAGES);
        let (id, base) = space(pages)?;
        it.id = Some(id);
        it.hog = Memhog::new(base, pages * PAGE_SIZE, 0x5eed);
        (0..pages).try_for_each(|page| it.hog.fill(&mut CurrentSpace, page)).map_err(failed)?;
        it.moved = moved();
        Ok(it)
    }

    /// The data is as it was, pages have moved, and everything adds up when it is gone.
    fn check(mut self) -> TestResult {
        let kept = (0..self.hog.pages()).try_for_each(|page| self.hog.check(&mut CurrentSpace, page));
        let has_moved = moved() > self.moved;
        self.end()?;
        kept.map_err(failed)?;
        check(has_moved, "nothing had to move")
    }

    fn end(&mut self) -> TestResult {
        for frames in self.held.drain(..) {
            memory::with(|mm| mm.pages.free_pages(frames));
        }
        self.id.take().map_or(Ok(()), |id| end(&[id]))
    }
}

impl Drop for Filled {
    /// The way out of a test that has failed already.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The largest blocks, until [`BESIDE`] pages are left outside of CMA areas.
fn hold() -> Vec<Frames> {
    let mut held = Vec::new();
    let gfp = Gfp::KERNEL | Gfp::__HIGHMEM | Gfp::__NOWARN;
    let beside = |mm: &Mm| {
        let zone =
            |&kind: &ZoneKind| mm.pages.buddy().zone(kind).free() - mm.pages.buddy().zone(kind).free_cma();
        ZoneKind::ALL.iter().map(zone).sum::<u32>()
    };
    while let Some(Some(frames)) = memory::with(|mm| {
        let more = beside(mm) > BESIDE + Order::MAX.pages();
        more.then(|| mm.pages.alloc_pages(gfp, Order::MAX, PageState::Kernel).ok()).flatten()
    }) {
        held.push(frames);
    }
    held
}

/// More than a space can have: some of its addresses are kept free.
const USER_PAGES: u32 = (1 << 18) - 64;

fn moved() -> u32 {
    memory::with(|mm| mm.pages.stat().pgmigrate_success).unwrap_or(0)
}

/// Pages moved before the request that interrupts are expected in.
static BEFORE: AtomicU32 = AtomicU32::new(0);
/// Interrupts that came when some of its pages had moved, but not all.
static BETWEEN: AtomicU32 = AtomicU32::new(0);
/// Pages of that request.
const WANTED: u32 = 256;

fn tick() {
    let done = moved().wrapping_sub(BEFORE.load(Ordering::Relaxed));
    if (1..WANTED).contains(&done) {
        BETWEEN.fetch_add(1, Ordering::Relaxed);
    }
}

/// A busy host can keep an emulator's timer from interrupting for as long as one request takes.
const TRIES: u32 = 10;

/// Takes 1 MiB out of CMA that is full of movable pages, and lets interrupts in between the moves.
fn cma_moves_pages() -> TestResult {
    for _ in 0..TRIES {
        if moves_and_is_interrupted()? {
            return Ok(());
        }
    }
    Err(failed("no interrupt came between the moves"))
}

fn moves_and_is_interrupted() -> Result<bool, NotOk> {
    let filled = Filled::new()?;
    BEFORE.store(moved(), Ordering::Relaxed);
    let before = BETWEEN.load(Ordering::Relaxed);
    let ticker = devices::every(PERIOD, &tick);
    let request = Request { area: filled.area, count: WANTED, align: 0, gfp: Gfp::KERNEL, owner: "usertest" };
    let taken = contiguous::cma_alloc(&request);
    devices::cancel(ticker);
    let between = BETWEEN.load(Ordering::Relaxed) - before;
    let taken = taken.map_err(failed)?;
    memory::with(|mm| mm.cma.release(mm.pages, taken));
    filled.check()?;
    Ok(between > 0)
}

/// The same through the DMA API, step by step and under the lock.
fn dma_moves_pages() -> TestResult {
    let device = ::dma::Device::new("usertest");
    let filled = Filled::new()?;
    let first = dma::alloc_coherent(&device, 1 << 20, Gfp::KERNEL).map_err(failed)?;
    let moved_first = moved();
    let second = memory::with(|mm| {
        let (dma, mut kernel) = mm.dma();
        dma.alloc_coherent(&mut kernel, &device, 1 << 20, Gfp::KERNEL)
    });
    let second = match second.ok_or(NotOk::Ignored("no memory manager"))? {
        Ok(second) => second,
        Err(error) => {
            dma::free(first);
            return Err(failed(error));
        }
    };
    let moved_second = moved();
    let mut in_area = true;
    for buffer in [first, second] {
        let there = memory::with(|mm| mm.cma.area_of(Pfn::containing(buffer.phys())));
        in_area &= there == Some(Some(filled.area));
        dma::free(buffer);
    }
    let has_moved = filled.moved < moved_first && moved_first < moved_second;
    let high = memory::with(|mm| {
        let base = mm.cma.area(filled.area)?.base_pfn().addr();
        Some(mm.linear.phys_of(mm.linear.virt(base)).is_none())
    });
    filled.check()?;
    if high.flatten() == Some(true) {
        // Coherent buffers are in lowmem.
        return Err(NotOk::Ignored("the CMA area is in highmem"));
    }
    check(in_area, "the buffer is not in the area")?;
    check(has_moved, "a buffer moved nothing")
}
