//! `soak`: everything that moves, takes and holds memory at once, from a seed, judged step by step.
//!
//! ```text
//! procs    spaces grow, shrink, fork, store, lock, pin, end            every byte is known
//! takers   cma_alloc of all sizes, DMA buffers, movable buffers,       ─▶ Promise: must it succeed?
//!          devices, pages of the kernel, compaction                    ─▶ Costs: what did it cost?
//! disk     transfers are under way meanwhile                           every sector is known
//! timer    atomic allocations in between                               ─▶ Ledger: what must be counted?
//! ```
//!
//! The model is told what was done and never asks the memory manager. With `--icount` a nanosecond is an instruction.
//! A request that had to succeed may fail only in a step in which fault injection has made an allocation fail.

mod disk;
mod ledger;
mod procs;
mod takers;

use crate::memory::{self, Mm};
use crate::{devices, user};
use alloc::vec::Vec;
use arch_armv7::cpu::IrqGuard;
use arch_armv7::exception;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering};
use log::LevelFilter;
use mm::cma::CmaError;
use mm::memhog::MemhogError;
use mm::pages::ZoneKind;
use mm::soak::Random;
use mm::space::SpaceError;
use mm::{Frames, Gfp, PageSource, PageState};
use procs::Procs;
use shell::{Command, Context, Failure};
use takers::Takers;
use types::{Order, Pfn};

/// Steps and seed when none are given.
const DEFAULTS: (u32, u32) = (100_000, 0x5eed);
/// Steps between two looks at everything.
const LOOK: u32 = 10_000;
/// Steps for which memory is filled to the same degree.
const SEASON: u32 = 2000;
/// Nanoseconds between two interrupts that allocate.
const PERIOD: u64 = 1_000_000;
/// Pages beyond the reserves with which no request for a page may fail.
const PLENTY: u32 = 256;

pub const COMMAND: Command = Command {
    name: "soak",
    usage: "[--steps N] [--seed S]",
    help: "move, take and hold memory in all ways at once, and verify every byte of it",
    run,
};

/// What must not happen.
enum Wrong {
    Space(SpaceError),
    Data(MemhogError),
    /// A movable page was refused although there was room.
    Starved {
        room: u32,
    },
    /// The promise was broken.
    Refused {
        count: u32,
        align: u8,
        room: u32,
        error: Option<CmaError>,
    },
    /// Pages were given that were somebody's.
    Taken {
        pfn: Pfn,
        count: u32,
    },
    /// Taken or buffered memory does not hold what was stored.
    Lost {
        what: &'static str,
        pfn: Pfn,
    },
    /// A device did not do what it was told.
    Device(&'static str),
    /// Something adds up to another number than it should.
    Count {
        what: &'static str,
        says: u32,
        found: u32,
    },
    /// A recount found something.
    Invalid,
    NoMemory,
    NoArea,
    Interrupted,
}

impl From<SpaceError> for Wrong {
    fn from(error: SpaceError) -> Self {
        Self::Space(error)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Space(error) => error.fmt(f),
            Self::Data(error) => error.fmt(f),
            Self::Starved { room } => write!(f, "no movable page, with room for {room}"),
            Self::Refused { count, align, room, error } => {
                write!(f, "{count} pages at 2^{align} refused, with room for {room}: ")?;
                error.map_or(Ok(()), |error| error.fmt(f))
            }
            Self::Taken { pfn, count } => write!(f, "{count} pages at pfn {pfn} were somebody's"),
            Self::Lost { what, pfn } => write!(f, "{what} at pfn {pfn} does not hold what was stored"),
            Self::Device(what) => write!(f, "{what} failed, or does not hold what was stored"),
            Self::Count { what, says, found } => write!(f, "{what}: {says} expected, {found} found"),
            Self::Invalid => f.write_str("the recount failed"),
            Self::NoMemory => f.write_str("no memory for the model"),
            Self::NoArea => f.write_str("no CMA area"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

fn with<R>(f: impl FnOnce(&mut Mm) -> R) -> Result<R, Wrong> {
    memory::with(f).ok_or(Wrong::NoMemory)
}

/// Pages that movable requests can still have, reserves and all left alone.
fn room() -> u32 {
    let room = |mm: &mut Mm| {
        let buddy = mm.pages.buddy();
        (buddy.free_page_count() + buddy.pcp_pages()).saturating_sub(buddy.totalreserve_pages())
    };
    memory::with(room).unwrap_or(0)
}

/// How often fault injection may still fail a request: counted down by each, so that they are known.
const INJECTIONS: i32 = i32::MAX;
/// Injected failures before this step, and those that hit the timer's interrupt.
static BEFORE: AtomicU32 = AtomicU32::new(0);
static IN_TICKS: AtomicU32 = AtomicU32::new(0);

fn injections(mm: &mut Mm) -> u32 {
    (INJECTIONS - mm.pages.fail_page_alloc().times) as u32
}

/// Injected failures that hit the test itself.
fn injections_here() -> u32 {
    memory::with(injections).unwrap_or(0).wrapping_sub(IN_TICKS.load(Ordering::Relaxed))
}

/// Whether fault injection has made an allocation of this step fail.
fn injected() -> bool {
    injections_here() != BEFORE.load(Ordering::Relaxed)
}

/// Lets fault injection run on for `times`; what was set before.
fn inject(times: i32) -> i32 {
    let set = |mm: &mut Mm| {
        let mut attr = mm.pages.fail_page_alloc().clone();
        let before = core::mem::replace(&mut attr.times, times);
        mm.pages.set_fail_page_alloc(attr);
        before
    };
    memory::with(set).unwrap_or(times)
}

/// Whether there is any fault injection.
fn injecting() -> bool {
    let on = |mm: &mut Mm| mm.pages.fail_page_alloc().is_on();
    memory::with(on).unwrap_or(false)
}

/// A refused movable page is wrong, unless there is none or it was refused on purpose.
fn refused() -> Result<(), Wrong> {
    let room = room();
    if room < PLENTY || injected() { Ok(()) } else { Err(Wrong::Starved { room }) }
}

/// Pages given and taken back since boot, as `/proc/vmstat` has them.
fn given_and_freed(mm: &mut Mm) -> (u32, u32) {
    let buddy = mm.pages.buddy();
    (buddy.pgalloc().iter().fold(0, |sum, &pages| sum.wrapping_add(pages)), buddy.pgfree())
}

/// A block for the kernel; `pgalloc` has to grow by what it has, or not at all when there is none.
fn take_block(mm: &mut Mm, gfp: Gfp, order: Order) -> Result<Option<Frames>, Wrong> {
    let before = given_and_freed(mm).0;
    let frames = mm.pages.alloc_pages(gfp, order, PageState::Kernel).ok();
    let (says, found) = (frames.as_ref().map_or(0, |frames| frames.order().pages()), given_and_freed(mm).0);
    let found = found.wrapping_sub(before);
    if says == found { Ok(frames) } else { Err(Wrong::Count { what: "pgalloc", says, found }) }
}

/// Takes it back; `pgfree` has to grow by what it had.
fn free_block(mm: &mut Mm, frames: Frames) -> Result<(), Wrong> {
    let (before, says) = (given_and_freed(mm).1, frames.order().pages());
    mm.pages.free_pages(frames);
    let found = given_and_freed(mm).1.wrapping_sub(before);
    if says == found { Ok(()) } else { Err(Wrong::Count { what: "pgfree", says, found }) }
}

/// Interrupts so far, and those that found a counter wrong.
static TICKS: AtomicU32 = AtomicU32::new(0);
static MISCOUNTED: AtomicU32 = AtomicU32::new(0);
/// Nanoseconds that all interrupts took: the disk's, and the timer's, which is mostly at counting.
static IN_INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// Takes interrupts, and counts what they cost those whom they interrupt.
fn handle_irqs() {
    let start = devices::now();
    devices::handle_irqs();
    IN_INTERRUPTS.fetch_add((devices::now() - start) as u32, Ordering::Relaxed);
}

/// What the interrupt does.
fn tick() {
    TICKS.fetch_add(1, Ordering::Relaxed);
    memory::with(|mm| {
        let order = Order::new(TICKS.load(Ordering::Relaxed) as u8 & 1).unwrap_or_default();
        let before = injections(mm);
        let block = take_block(mm, Gfp::ATOMIC | Gfp::__NOWARN, order);
        IN_TICKS.fetch_add(injections(mm) - before, Ordering::Relaxed);
        // Refused or not, nothing is kept.
        let done = block.and_then(|block| block.map_or(Ok(()), |frames| free_block(mm, frames)));
        MISCOUNTED.fetch_add(u32::from(done.is_err()), Ordering::Relaxed);
    });
}

/// Nanoseconds, without those in interrupts. None may come between the two that are subtracted.
fn own_time() -> u32 {
    let _irq = IrqGuard::new();
    (devices::now() as u32).wrapping_sub(IN_INTERRUPTS.load(Ordering::Relaxed))
}

fn run(context: &mut Context<'_>) -> Result<(), Failure> {
    let (mut steps, mut seed) = DEFAULTS;
    let mut words = context.args.iter();
    while let Some(word) = words.next() {
        let number = words.next().map(|number| dt::memparse(number));
        match (word.as_str(), number) {
            ("--steps", Some((number, ""))) => steps = number as u32,
            ("--seed", Some((number, ""))) => seed = number as u32,
            _ => return Err(Failure::Usage),
        }
    }
    writeln!(context, "soak: {steps} steps from seed {seed:#x}")?;
    // Two lines for each allocation would be all that is seen.
    let level = log::max_level();
    log::set_max_level(LevelFilter::Warn);
    [&BEFORE, &IN_TICKS, &TICKS, &MISCOUNTED, &IN_INTERRUPTS]
        .iter()
        .for_each(|count| count.store(0, Ordering::Relaxed));
    let times = inject(INJECTIONS);
    exception::set_irq_handler(handle_irqs);
    let ticker = devices::every(PERIOD, &tick);
    let done = soak(context, steps, seed);
    devices::cancel(ticker);
    exception::set_irq_handler(devices::handle_irqs);
    inject(times);
    user::leave();
    log::set_max_level(level);
    match done {
        Ok(()) => Ok(writeln!(context, "soak: passed")?),
        Err(Wrong::Interrupted) => Err(Failure::Interrupted),
        Err(wrong) => {
            context.report("FAILED", &wrong);
            Err(Failure::Status(1))
        }
    }
}

#[inline(never)]
fn soak(context: &mut Context<'_>, steps: u32, seed: u32) -> Result<(), Wrong> {
    let mut random = Random::new(seed);
    let mut takers = Takers::new()?;
    let done = judge(context, &mut random, steps, &mut takers);
    done.and(takers.finish())
}

#[inline(never)]
fn judge(
    context: &mut Context<'_>,
    random: &mut Random,
    steps: u32,
    takers: &mut Takers,
) -> Result<(), Wrong> {
    let mut procs = Procs::new(room())?;
    let before = in_use()?;
    let done = play(context, random, steps, &mut procs, takers);
    BEFORE.store(0, Ordering::Relaxed);
    let counted = done.and_then(|()| takers.check_counters());
    let ended = takers.end().and(procs.end(&mut takers.ledger));
    counted.and(ended)?;
    takers.check_counters()?;
    match MISCOUNTED.load(Ordering::Relaxed) {
        0 => {}
        found => {
            return Err(Wrong::Count {
                what: "interrupts that found pgalloc or pgfree wrong",
                says: 0,
                found,
            });
        }
    }
    validate()?;
    let after = in_use()?;
    for (state, (&says, &found)) in PageState::ALL.iter().zip(before.iter().zip(&after)) {
        // A DMA buffer outside of CMA areas splits a section of the linear map for good: what it takes is not lost.
        let tables =
            *state == PageState::PageTable && found.wrapping_sub(says) <= split_sections(before[FREE]);
        if says != found && *state != PageState::Free && !tables {
            return Err(Wrong::Count { what: state.name(), says, found });
        }
    }
    let (says, found): (u32, u32) = (before.iter().sum(), after.iter().sum());
    if says != found {
        return Err(Wrong::Count { what: "all pages", says, found });
    }
    takers.report(context);
    procs.report(context);
    let _ = writeln!(context, "soak: {} interrupts in between", TICKS.load(Ordering::Relaxed));
    Ok(())
}

#[inline(never)]
fn play(
    context: &mut Context<'_>,
    random: &mut Random,
    steps: u32,
    procs: &mut Procs,
    takers: &mut Takers,
) -> Result<(), Wrong> {
    let mut spare = 0;
    let all = room();
    for step in 0..steps {
        if step.is_multiple_of(SEASON) {
            // Pages to leave free: none in two seasons of five, up to half of them otherwise.
            spare = random.below(5).saturating_sub(1) * (all / 8);
        }
        if step.is_multiple_of(256) && context.interrupted() {
            return Err(Wrong::Interrupted);
        }
        BEFORE.store(injections_here(), Ordering::Relaxed);
        match random.below(1000) {
            0..600 => procs.step(random, spare, &mut takers.ledger)?,
            _ => takers.step(random)?,
        }
        if step % LOOK == LOOK - 1 {
            procs.verify_all()?;
            validate()?;
        }
    }
    procs.verify_all()
}

/// Everything recounted from scratch.
#[inline(never)]
fn validate() -> Result<(), Wrong> {
    let valid = user::with(|spaces, mm| {
        let pages = mm.pages.buddy().validate();
        let slab = mm.slab.validate(mm.pages);
        let spaces = spaces.validate(mm.pages);
        if let Err(error) = &pages {
            log::error!("soak: pages: {error:?}");
        }
        if let Err(error) = &slab {
            log::error!("soak: slab: {error:?}");
        }
        if let Err(error) = &spaces {
            log::error!("soak: spaces: {error}");
        }
        pages.is_ok() && slab.is_ok() && spaces.is_ok()
    });
    if valid == Some(true) { Ok(()) } else { Err(Wrong::Invalid) }
}

/// The place of the free pages in what [`in_use`] says.
const FREE: usize = PageState::Free as usize;

/// Pages in each state, with nothing kept that nobody needs.
fn in_use() -> Result<[u32; PageState::COUNT], Wrong> {
    with(|mm| {
        mm.slab.reclaim(mm.pages);
        mm.pages.buddy_mut().drain_all_pages();
        let mut counts = PageState::ALL.map(|state| mm.pages.buddy().pages_in_use(state));
        counts[FREE] = mm.pages.buddy().free_page_count();
        // DMA buffers in highmem need vmalloc areas; what describes those stays for others, as tables do.
        let records = mm.vmalloc.totals().record_pages;
        counts[PageState::Kernel as usize] -= records;
        counts[PageState::PageTable as usize] += records;
        counts
    })
}

/// The most pages of tables that the linear map of so many pages can need: four sections' tables a page.
const fn split_sections(pages: u32) -> u32 {
    pages / 1024 + 1
}

/// Free pages of CMA areas and all pages of theirs.
fn cma_pages() -> (u32, u32) {
    let count = |mm: &mut Mm| {
        let zones = ZoneKind::ALL.map(|kind| {
            let zone = mm.pages.buddy().zone(kind);
            (zone.free_cma(), zone.cma())
        });
        zones.iter().fold((0, 0), |sum, zone| (sum.0 + zone.0, sum.1 + zone.1))
    };
    memory::with(count).unwrap_or((0, 0))
}

/// Zeroed memory for the model, which stays until the end.
fn words(count: usize) -> Result<Vec<u32>, Wrong> {
    // With fault injection the first attempts may fail.
    for _ in 0..16 {
        let mut words: Vec<u32> = Vec::new();
        if words.try_reserve_exact(count).is_ok() {
            words.extend(core::iter::repeat_n(0, count));
            return Ok(words);
        }
    }
    Err(Wrong::NoMemory)
}
