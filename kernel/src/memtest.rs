//! Tests of memory management on the real machine: with interrupts that allocate, and with the CPU's own tables.

use crate::ktest::{NotOk, TestResult, failed, validate, with};
use crate::memory::{self, Mm};
use crate::{devices, ktest};
use alloc::boxed::Box;
use alloc::vec::Vec;
use arch_armv7::cpu;
use core::sync::atomic::{AtomicU32, Ordering};
use hal::{MemAttr, PageTable, Prot};
use mm::{Frames, Gfp, PageSource, PageState};
use types::{Order, PAGE_SIZE, Pfn, VirtAddr, xorshift};

ktest!("mm::pages_and_interrupts", pages_and_interrupts);
ktest!("mm::freed_pages_coalesce", freed_pages_coalesce);
ktest!("mm::vmalloc", vmalloc);
ktest!("mm::meminfo_adds_up", meminfo_adds_up);
ktest!("mm::cma_life_cycle", cma_life_cycle);
ktest!("memfn::all_alignments", memfn_all_alignments);

/// Operations of the test that the timer interrupt joins.
const OPERATIONS: u32 = 1_000_000;
/// Blocks held at a time.
const HELD: usize = 256;
/// Nanoseconds between two interrupts that allocate: many times what one takes, also in an emulator on a busy host.
const PERIOD: u64 = 2_000_000;

/// Marsaglia's xorshift.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = xorshift(self.0);
        self.0
    }
}

static TICKS: AtomicU32 = AtomicU32::new(0);
static REFUSED: AtomicU32 = AtomicU32::new(0);

/// What the interrupt does: atomic pages and objects.
fn interrupt_allocates() {
    TICKS.fetch_add(1, Ordering::Relaxed);
    let pages = memory::with(|mm| {
        let frames = mm.pages.alloc_pages(Gfp::ATOMIC, Order::ZERO, PageState::Kernel);
        frames.map(|frames| mm.pages.free_pages(frames)).is_ok()
    });
    let object = Box::new([TICKS.load(Ordering::Relaxed); 16]);
    if pages != Some(true) || object[15] == 0 {
        REFUSED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes and gives back blocks and objects of random sizes while the timer interrupt does the same.
fn pages_and_interrupts() -> TestResult {
    let mut random = Random(0x2545_f491);
    let mut blocks: Vec<Option<Frames>> = Vec::new();
    blocks.resize_with(HELD, || None);
    let mut objects: Vec<Vec<u8>> = Vec::new();
    objects.resize_with(HELD, Vec::new);
    TICKS.store(0, Ordering::Relaxed);
    REFUSED.store(0, Ordering::Relaxed);
    let ticker = devices::every(PERIOD, &interrupt_allocates);
    for operation in 0..OPERATIONS {
        let (at, pick) = (random.next() as usize % HELD, random.next());
        if pick & 1 == 0 {
            page_operation(&mut blocks[at], pick >> 1)?;
        } else {
            object_operation(&mut objects[at], pick >> 1, operation)?;
        }
    }
    devices::cancel(ticker);
    for frames in blocks.into_iter().flatten() {
        with(|mm| mm.pages.free_pages(frames))?;
    }
    drop(objects);
    validate()?;
    match (TICKS.load(Ordering::Relaxed), REFUSED.load(Ordering::Relaxed)) {
        (0, _) => Err(failed("the timer did not interrupt")),
        (_, 0) => Ok(()),
        (ticks, refused) => Err(failed(format_args!("{refused} of {ticks} interrupts got no memory"))),
    }
}

fn page_operation(slot: &mut Option<Frames>, pick: u32) -> TestResult {
    if let Some(frames) = slot.take() {
        return with(|mm| mm.pages.free_pages(frames));
    }
    let order = Order::new((pick % 24).trailing_zeros().min(5) as u8).unwrap_or_default();
    let gfp = if pick & 64 == 0 { Gfp::KERNEL } else { Gfp::HIGHUSER_MOVABLE };
    *slot = with(|mm| mm.pages.alloc_pages(gfp, order, PageState::Kernel))?.ok();
    Ok(())
}

fn object_operation(slot: &mut Vec<u8>, pick: u32, stamp: u32) -> TestResult {
    let (first, last) = (slot.first().copied(), slot.last().copied());
    if first != last {
        return Err(failed(format_args!("an object of {} bytes is damaged", slot.len())));
    }
    let size = 1 + pick as usize % 3000;
    *slot = Vec::new();
    slot.resize(size, stamp as u8);
    Ok(())
}

/// All memory that requests with some flags get, in single pages. The pages are their own list: each holds the number of
/// the one taken before it.
pub struct Hog {
    newest: Option<Pfn>,
    pages: u32,
}

impl Hog {
    /// Takes them.
    pub fn fill(gfp: Gfp) -> Result<Self, NotOk> {
        let mut hog = Self { newest: None, pages: 0 };
        let quiet = gfp | Gfp::__NOWARN;
        while let Ok(frames) = with(|mm| mm.pages.alloc_pages(quiet, Order::ZERO, PageState::Kernel))? {
            let (pfn, _) = frames.into_raw();
            // SAFETY: a page of lowmem that was just allocated.
            with(|mm| unsafe { Self::link(mm, pfn).write(hog.newest.map_or(0, Pfn::get)) })?;
            hog = Self { newest: Some(pfn), pages: hog.pages + 1 };
        }
        Ok(hog)
    }

    /// Gives them back, the newest first.
    pub fn free(mut self) -> TestResult {
        while let Some(pfn) = self.newest {
            // SAFETY: written when it was taken; the page is still ours.
            let next = with(|mm| unsafe { Self::link(mm, pfn).read() })?;
            with(|mm| mm.pages.free_pages(Frames::from_raw(pfn, Order::ZERO)))?;
            self.newest = (next != 0).then(|| Pfn::new(next));
        }
        Ok(())
    }

    fn link(mm: &Mm, pfn: Pfn) -> *mut u32 {
        hal::LinearMap::ptr(&mm.linear, pfn.addr()).cast()
    }
}

/// Takes everything, in single pages, and gives it back in another order: the free lists are as before.
fn freed_pages_coalesce() -> TestResult {
    let lists = || {
        with(|mm| {
            mm.slab.reclaim(mm.pages);
            mm.pages.buddy_mut().drain_all_pages();
            let zone = mm.pages.buddy().zone(mm::pages::ZoneKind::Normal);
            let count = |order: u8| Order::new(order).map_or(0, |order| free_blocks(zone, order));
            core::array::from_fn::<u32, 11, _>(|order| count(order as u8))
        })
    };
    let before = lists()?;
    let hog = Hog::fill(Gfp::KERNEL)?;
    let taken = hog.pages;
    hog.free()?;
    let after = lists()?;
    validate()?;
    if taken < 1000 {
        return Err(failed(format_args!("only {taken} pages could be taken")));
    }
    let (pages_before, pages_after) = (pages_in(&before), pages_in(&after));
    if before[10] > after[10] || pages_before != pages_after {
        let (blocks_before, blocks_after) = (before[10], after[10]);
        return Err(failed(format_args!(
            "{pages_before} free pages and {blocks_before} blocks of order 10 before, {pages_after} and {blocks_after} after"
        )));
    }
    Ok(())
}

fn free_blocks(zone: &mm::pages::Zone, order: Order) -> u32 {
    mm::MigrateType::ALL.iter().map(|&kind| zone.free_blocks(kind, order)).sum()
}

fn pages_in(blocks: &[u32; 11]) -> u32 {
    blocks.iter().enumerate().map(|(order, count)| count << order).sum()
}

/// Areas of several sizes: written to the end, behind a guard page, not executable, and gone afterwards.
fn vmalloc() -> TestResult {
    for size in [1, PAGE_SIZE, 64 << 10, 1 << 20, (3 << 20) + 1] {
        let area = memory::vmalloc(size, memory::VMALLOC | Gfp::__ZERO).map_err(failed)?;
        let start = core::ptr::with_exposed_provenance_mut::<u8>(area.get() as usize);
        // SAFETY: the area is mapped, `size` bytes long, and ours.
        let bytes = unsafe { core::slice::from_raw_parts_mut(start, size as usize) };
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(failed(format_args!("{size} bytes at {area} are not zeroed")));
        }
        bytes.fill(0x5a);
        let mapping = with(|mm| mm.table.translate(area))?;
        if !mapping.is_some_and(|m| m.attr == MemAttr::Normal && m.prot == Prot::WRITE) {
            return Err(failed(format_args!("{area} is not mapped as writable memory")));
        }
        let guard = VirtAddr::new(area.get() + size.next_multiple_of(PAGE_SIZE));
        if cpu::translate(guard).is_some() {
            return Err(failed(format_args!("no guard page at {guard}")));
        }
        memory::vfree(area).map_err(failed)?;
    }
    with(|mm| {
        let (vmalloc, backing) = mm.vmalloc();
        vmalloc.purge(backing.pages, backing.tlb)
    })?;
    validate()
}

/// `MemTotal` is the sum of what is free and of what every state has.
fn meminfo_adds_up() -> TestResult {
    let (total, parts) = with(|mm| {
        let buddy = mm.pages.buddy();
        let in_use: u32 = PageState::ALL.iter().map(|&state| buddy.pages_in_use(state)).sum();
        (buddy.managed_pages(), buddy.free_page_count() + buddy.pcp_pages() + in_use)
    })?;
    if total == parts {
        Ok(())
    } else {
        Err(failed(format_args!("{total} pages managed, {parts} accounted for")))
    }
}

/// The default area gives its whole length when nothing is taken, and takes it back.
fn cma_life_cycle() -> TestResult {
    let area = with(|mm| {
        let id = mm.default_cma?;
        mm.cma.area(id).map(|area| (id, area.maxchunk(), area.used()))
    })?;
    let Some((id, pages, used)) = area else { return Err(NotOk::Ignored("no CMA area")) };
    let free_cma = || {
        with(|mm| {
            mm.pages.buddy_mut().drain_all_pages();
            let zones = mm::pages::ZoneKind::ALL.iter();
            zones.map(|&kind| mm.pages.buddy().zone(kind).free_cma()).sum::<u32>()
        })
    };
    let before = free_cma()?;
    let taken = with(|mm| dma::Contiguous::alloc(&mut mm.dma().1, id, pages, 0, false))?.map_err(failed)?;
    let during = free_cma()?;
    with(|mm| mm.cma.release(mm.pages, taken))?;
    let used_after = with(|mm| mm.cma.area(id).map(|area| area.used()))?;
    validate()?;
    let after = free_cma()?;
    if before - during == pages && after == before && used_after == Some(used) {
        return Ok(());
    }
    Err(failed(format_args!("free CMA pages: {before}, {during} with {pages} taken, {after} afterwards")))
}

fn memfn_all_alignments() -> TestResult {
    memfn::selftest().map_err(failed)
}
