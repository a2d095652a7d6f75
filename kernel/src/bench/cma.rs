//! CMA: an idle area, and one that is full of anonymous pages.

use super::{Error, Instructions, Run, rounded};
use crate::memory::{self, contiguous};
use crate::user::{self, CurrentSpace};
use ::bench::{Meter, Samples, Stat, Unit};
use ::user::Request;
use alloc::vec::Vec;
use mm::cma::{CmaId, CmaPages};
use mm::memhog::UserMemory;
use mm::space::{FaultOutcome, Placement, SpaceId, VmFlags};
use mm::{Frames, Gfp, PageSource, PageState};
use types::{Order, PAGE_SIZE, VirtAddr};

/// Name, pages.
const IDLE: [(&str, u32); 4] =
    [("cma/idle/4K", 1), ("cma/idle/64K", 16), ("cma/idle/1M", 256), ("cma/idle/4M", 1024)];
/// Alignments are capped there, as on the seed's kernel.
const MAX_ALIGN: u32 = 4;
/// Name, pages.
const FULL: [(&str, u32); 2] = [("cma/full/1M/own-cost", 256), ("cma/full/8M/own-cost", 2048)];
const EACH: &str = "cma/full/1M/each-page";
/// Times that the area is filled and taken from.
const REPEATS: usize = 3;
/// Free pages outside of the area when it is full: what is moved goes there.
const ROOM: u32 = 2400;

/// `cma_alloc`, as a driver calls it.
#[inline(always)]
pub(super) fn cma_alloc(area: CmaId, count: u32) -> Result<CmaPages, Error> {
    let align = count.ilog2().min(MAX_ALIGN) as u8;
    let request = Request { area, count, align, gfp: Gfp::KERNEL, owner: "bench" };
    contiguous::cma_alloc(&request).map_err(Error::Cma)
}

/// `cma_release`.
#[inline(always)]
pub(super) fn cma_release(taken: CmaPages) {
    contiguous::cma_release(taken);
}

pub fn run(run: &mut Run<'_, '_>) {
    let idle = IDLE.iter().any(|(name, _)| run.wants(name));
    let full = FULL.iter().any(|(name, _)| run.wants(name)) || run.wants(EACH);
    let Some(area) = memory::with(|mm| mm.default_cma).flatten() else {
        if idle || full {
            run.fail("cma", &Error::NoArea);
        }
        return;
    };
    for (name, count) in IDLE {
        run.repeat(name, 101, || cma_alloc(area, count).map(cma_release));
    }
    if full {
        filled(run, area);
    }
}

/// Measures with the area full of anonymous pages.
fn filled(run: &mut Run<'_, '_>, area: CmaId) {
    for (name, count) in FULL {
        let mut costs = [0; REPEATS];
        for cost in &mut costs {
            match moved(&run.meter, area, count) {
                Ok(taking) => *cost = taking,
                Err(error) => return run.fail(name, &error),
            }
        }
        run.record(name, stat(&costs), Unit::Instructions);
        if count == FULL[0].1 {
            run.record(EACH, stat(&costs.map(|cost| rounded(cost, count))), Unit::Instructions);
        }
    }
}

fn stat(values: &[u32; REPEATS]) -> Stat {
    let mut room = [0; REPEATS];
    let mut samples = Samples::new(&mut room);
    values.iter().for_each(|&value| samples.push(value));
    samples.stat().unwrap_or(Stat::once(0))
}

/// Fills all memory, takes `count` pages out of the area, and gives everything back; the cost of taking.
fn moved(meter: &Meter<Instructions>, area: CmaId, count: u32) -> Result<u32, Error> {
    let room = hold(ROOM);
    let space = fill();
    release(room);
    let before = user::with(|_, mm| mm.pages.stat().pgmigrate_success).unwrap_or(0);
    let (cost, taken) = meter.time(|| cma_alloc(area, count));
    let after = user::with(|_, mm| mm.pages.stat().pgmigrate_success).unwrap_or(0);
    let taken = taken.map(cma_release);
    end(space?)?;
    taken?;
    let moved = after - before;
    if moved == count { Ok(cost) } else { Err(Error::NotFull { moved, of: count }) }
}

/// Takes pages that can't move, which therefore lie outside of every area.
fn hold(count: u32) -> Vec<Frames> {
    let mut held = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let frames = memory::with(|mm| mm.pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::Kernel));
        held.extend(frames.and_then(Result::ok));
    }
    held
}

fn release(held: Vec<Frames>) {
    held.into_iter().for_each(|frames| {
        memory::with(|mm| mm.pages.free_pages(frames));
    });
}

/// An address space that this CPU shows, which has all memory but for what must stay free.
fn fill() -> Result<SpaceId, Error> {
    let made = user::with(|spaces, mm| {
        let pages = mm.pages.buddy().free_page_count() + mm.pages.buddy().pcp_pages();
        let id = spaces.create(mm.pages)?;
        let flags = VmFlags::READ.union(VmFlags::WRITE);
        let base = spaces.mmap(mm.pages, id, Placement::Anywhere, pages * PAGE_SIZE, flags)?;
        Ok((id, base, pages))
    });
    let (id, base, pages) = made.ok_or(Error::NoSpaces)?.map_err(Error::Space)?;
    user::enter(id).map_err(Error::Space)?;
    for page in 0..pages {
        match CurrentSpace.store(VirtAddr::new(base.get() + page * PAGE_SIZE), page) {
            Ok(()) => {}
            Err(FaultOutcome::OutOfMemory(_)) => break,
            Err(error) => return Err(Error::Fault(error)),
        }
    }
    Ok(id)
}

fn end(id: SpaceId) -> Result<(), Error> {
    user::leave();
    let done = user::with(|spaces, mm| spaces.destroy(mm.pages, id));
    done.ok_or(Error::NoSpaces)?.map_err(Error::Space)
}
