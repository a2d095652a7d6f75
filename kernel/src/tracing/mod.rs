//! Recording trace events: the ring's memory, the switches on the command line, the counters' samples.
//!
//! ```text
//! trace=.. ─▶ events on, ring in a static page ─▶ memory is up: a large ring ─▶ devices are up: who drains it
//!                                                                     a second UART: `port`; none: the runner
//! ```
//!
//! While events are on, the counters of the page allocator are an event of their own once a millisecond: they show what
//! is free over time, and that no event is missing between two of them.

pub mod files;
pub mod port;
mod test;

use crate::machine::FIXMAP;
use crate::memory::{self, Mm};
use crate::{devices, log as kernel_log};
use ::trace::ring::MAX_FRAME;
use ::trace::{TRACE_RING, control};
use arch_armv7::patch::PatchError;
use arch_armv7::{cpu, timer};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};
use drivers::timer::TimerId;
use dt::CommandLine;
use hal::LinearMap;
use mm::pages::ZoneKind;
use mm::{Gfp, PageState};
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// Bytes of the ring before there is memory: what memblock reserves, and some more.
const EARLY_SIZE: u32 = 2048;
/// Bytes of the ring without `trace_buf_size=`.
const SIZE: u32 = 1 << 20;
/// Nanoseconds between two samples of the counters.
const SAMPLE_PERIOD: u64 = 1_000_000;

/// Memory that only the ring uses.
struct EarlyBuffer(UnsafeCell<[u8; (EARLY_SIZE + MAX_FRAME) as usize]>);

// SAFETY: only its address is taken here, once, for the ring.
unsafe impl Sync for EarlyBuffer {}

static EARLY: EarlyBuffer = EarlyBuffer(UnsafeCell::new([0; (EARLY_SIZE + MAX_FRAME) as usize]));
/// Bytes of the large ring.
static WANTED_SIZE: AtomicU32 = AtomicU32::new(SIZE);
/// The timer of the samples, while events are on.
static SAMPLES: cpu::IrqLock<Option<TimerId>> = cpu::IrqLock::new(None);

/// `trace=`, `trace_stack=`: called before anything happens that could be traced.
pub fn start(command_line: &CommandLine<'_>) {
    let words = |name| command_line.last(name).and_then(|arg| arg.value).unwrap_or_default();
    for word in words("trace_stack").split(',').filter(|word| !word.is_empty()) {
        if !control::select_stack(word) {
            log::warn!("trace_stack: no event {word}");
        }
    }
    let events = words("trace");
    if events.is_empty() {
        return;
    }
    let buffer = EARLY.0.get().cast::<u8>();
    let at = cpu::translate(VirtAddr::new(buffer.addr() as u32));
    if let Some(phys) = at {
        // SAFETY: a static that nothing else uses.
        unsafe { ::trace::attach(buffer, phys.get(), EARLY_SIZE) };
    }
    for word in events.split(',').filter(|word| !word.is_empty()) {
        match control::select(&mut FIXMAP.lock(), word) {
            Ok(true) => {}
            Ok(false) => log::warn!("trace: no event {word}"),
            Err(error) => log::error!("trace: {error}"),
        }
    }
}

/// There are pages: takes the large ring if events are on. `trace_buf_size=` says how large.
pub fn memory_is_up(command_line: &CommandLine<'_>) {
    let given = command_line.last("trace_buf_size").and_then(|arg| arg.value).map(dt::memparse);
    let size = given.map_or(SIZE, |(bytes, _)| u32::try_from(bytes).unwrap_or(SIZE));
    WANTED_SIZE.store(size.clamp(EARLY_SIZE, SIZE * 2).next_power_of_two(), Ordering::Relaxed);
    if control::any() {
        enlarge();
    }
}

/// Takes memory for the ring: as much as is wanted, or half of it, and so on.
fn enlarge() {
    let mut size = WANTED_SIZE.load(Ordering::Relaxed);
    while size > TRACE_RING.control.size() {
        let taken = memory::with(|mm| {
            let pages = size / PAGE_SIZE + 1;
            let gfp = Gfp::KERNEL | Gfp::__NOWARN;
            let run = mm.pages.alloc_pages_exact(gfp, pages, PageState::Kernel).ok()?;
            Some((mm.linear.ptr(run.pfn().addr()), run.into_raw().0.addr().get()))
        });
        if let Some((buffer, phys)) = taken.flatten() {
            // SAFETY: pages of the linear map, just allocated and kept for good; the ring before was smaller.
            unsafe { ::trace::attach(buffer, phys, size) };
            WANTED_SIZE.store(size, Ordering::Relaxed);
            return;
        }
        size /= 2;
    }
}

/// The page allocator's counters as an event.
pub fn sample() {
    if let Some(mut mm) = memory::MM.try_lock() {
        ::trace::lazy::vmstat(|| counters(&mut mm));
    }
}

type Counters = ((u64, u64, u32), u32, u32, u32, [u32; 7], (u32, u32));

fn counters(mm: &mut Mm) -> Counters {
    let (buddy, stat) = (mm.pages.buddy(), mm.pages.stat());
    let cma_free = ZoneKind::ALL.iter().map(|&kind| buddy.zone(kind).free_cma()).sum();
    let movable = buddy.pages_in_use(PageState::Anon) + buddy.pages_in_use(PageState::DriverMovable);
    let pgalloc = buddy.pgalloc().iter().fold(0u32, |sum, &pages| sum.wrapping_add(pages));
    let counts = [
        pgalloc,
        buddy.pgfree(),
        stat.pgmigrate_success,
        stat.pgmigrate_fail,
        stat.cma_alloc_success,
        stat.cma_alloc_fail,
        TRACE_RING.control.dropped(),
    ];
    let first = memory::hooks::page_pointer(Pfn::new(0));
    let next = memory::hooks::page_pointer(Pfn::new(1));
    let map = (first, next.wrapping_sub(first));
    let clock = (timer::now(), kernel_log::boot_ticks(), kernel_log::frequency());
    (clock, buddy.free_page_count(), cma_free, movable, counts, map)
}

/// Devices are up: samples come by the timer from now on.
pub fn devices_are_up() {
    settle();
}

/// After a change of the switches: a sample at the beginning, and the timer as long as events are on.
fn settle() {
    let runs = control::is_tracing() && control::any();
    if runs {
        enlarge();
        sample();
    }
    let mut samples = SAMPLES.lock();
    match (*samples, runs) {
        (None, true) => *samples = Some(devices::every(SAMPLE_PERIOD, &sample)),
        (Some(timer), false) => {
            devices::cancel(timer);
            *samples = None;
        }
        _ => {}
    }
}

/// Changes the switches between two samples of the counters.
fn change<R>(work: impl FnOnce() -> Result<R, PatchError>) -> Result<R, PatchError> {
    sample();
    let result = work();
    settle();
    result
}
