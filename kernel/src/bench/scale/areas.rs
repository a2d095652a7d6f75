//! CMA areas that are more and more full, and requests that are larger and larger.
//!
//! Two address spaces take turns to populate a page, while there is hardly any other memory, so that the area fills up
//! with pages of both, one after the other; without one of the spaces it is half full, everywhere.
//!
//! ```text
//! scale/cma/area=64M/full=50/take=1M          instructions of one cma_alloc
//! scale/cma/area=64M/full=50/take=1M/moved    pages that it moved
//! ```

use super::{Error, Run, cma};
use crate::memory;
use crate::user;
use ::bench::{Stat, Unit};
use alloc::format;
use alloc::vec::Vec;
use mm::cma::{CmaId, CmaPages};
use mm::pages::ZoneKind;
use mm::space::{Access, FaultOutcome, Placement, SpaceId, VmFlags};
use mm::{Frames, Gfp, PageSource, PageState};
use types::{Order, PAGE_SIZE, VirtAddr};

/// Pages of a request; only those are made that need at most a quarter of the area.
const REQUESTS: [u32; 7] = [16, 64, 256, 512, 2048, 8192, 32768];
/// Hundredths of the area that are in use.
const FULL: [u32; 3] = [0, 50, 100];
/// Free pages outside of the area that are left for the page tables while it fills.
const SPARE: u32 = 1024;
/// Blocks of memory that are held meanwhile are that large.
const HELD: Order = Order::MAX;

pub fn run(run: &mut Run<'_, '_>) {
    if !run.filter.starts_with("scale/cma") {
        return;
    }
    let area = memory::with(|mm| {
        let id = mm.default_cma?;
        Some((id, mm.cma.area(id)?.count()))
    });
    let Some((id, pages)) = area.flatten() else { return run.fail("scale/cma", &Error::NoArea) };
    for full in FULL {
        if let Err(error) = at(run, id, pages, full) {
            run.fail(&format!("scale/cma/area={}M/full={full}", pages >> 8), &error);
        }
    }
}

/// All requests with the area that full.
fn at(run: &mut Run<'_, '_>, id: CmaId, pages: u32, full: u32) -> Result<(), Error> {
    let mut spaces = Vec::new();
    let filled = if full > 0 { fill(pages, &mut spaces) } else { Ok(()) };
    if full == 50 && spaces.len() == 2 {
        spaces.pop().map_or(Ok(()), end)?;
    }
    let mut taken = Vec::new();
    let measured = filled.and_then(|()| requests(run, id, pages, full, &mut taken));
    taken.into_iter().for_each(cma::cma_release);
    let ended = spaces.into_iter().try_for_each(end);
    measured.and(ended)
}

fn requests(
    run: &mut Run<'_, '_>,
    id: CmaId,
    pages: u32,
    full: u32,
    taken: &mut Vec<CmaPages>,
) -> Result<(), Error> {
    for count in REQUESTS.into_iter().filter(|&count| count <= pages / 4) {
        let before = moved();
        let (cost, result) = run.meter.time(|| cma::cma_alloc(id, count));
        taken.push(result?);
        let name = format!("scale/cma/area={}M/full={full}/take={}K", pages >> 8, count * 4);
        run.record(&name, Stat::once(cost), Unit::Instructions);
        run.record(&format!("{name}/moved"), Stat::once(moved() - before), Unit::Pages);
    }
    Ok(())
}

/// Pages moved since boot.
fn moved() -> u32 {
    memory::with(|mm| mm.pages.stat().pgmigrate_success).unwrap_or(0)
}

/// Fills the area with pages of two spaces.
fn fill(pages: u32, spaces: &mut Vec<SpaceId>) -> Result<(), Error> {
    let held = hold();
    let filled = populate(pages, spaces);
    held.into_iter().for_each(|frames| {
        memory::with(|mm| mm.pages.free_pages(frames));
    });
    filled
}

/// Takes what is free outside of the area, but for a little.
fn hold() -> Vec<Frames> {
    let mut held = Vec::new();
    let free = || {
        memory::with(|mm| {
            let zone = mm.pages.buddy().zone(ZoneKind::Normal);
            zone.free() - zone.free_cma() - zone.watermarks().high
        })
    };
    let gfp = Gfp::KERNEL | Gfp::__NOWARN | Gfp::__NORETRY;
    for order in (0..=HELD.get()).rev().filter_map(Order::new) {
        while free().is_some_and(|free| free > SPARE + order.pages()) {
            let block = memory::with(|mm| mm.pages.alloc_pages(gfp, order, PageState::Kernel));
            let Some(Ok(frames)) = block else { break };
            held.push(frames);
        }
    }
    held
}

fn populate(pages: u32, spaces: &mut Vec<SpaceId>) -> Result<(), Error> {
    let mut bases = Vec::new();
    for _ in 0..2 {
        let made = user::with(|all, mm| {
            let id = all.create(mm.pages)?;
            let flags = VmFlags::READ | VmFlags::WRITE;
            let base = all.mmap(mm.pages, id, Placement::Anywhere, pages * PAGE_SIZE, flags)?;
            Ok((id, base))
        });
        let (id, base) = made.ok_or(Error::NoSpaces)?.map_err(Error::Space)?;
        spaces.push(id);
        bases.push(base);
    }
    for page in 0..2 * pages {
        if memory::with(|mm| mm.pages.buddy().zone(ZoneKind::Normal).free_cma()) == Some(0) {
            return Ok(());
        }
        let (of, at) = ((page % 2) as usize, page / 2);
        touch(spaces[of], VirtAddr::new(bases[of].get() + at * PAGE_SIZE))?;
    }
    Err(Error::NotFull { moved: 0, of: pages })
}

fn touch(id: SpaceId, virt: VirtAddr) -> Result<(), Error> {
    let outcome = user::with(|spaces, mm| ::user::fault(spaces, mm.pages, id, virt, Access::Write));
    match outcome.ok_or(Error::NoSpaces)? {
        FaultOutcome::Handled => Ok(()),
        outcome => Err(Error::Fault(outcome)),
    }
}

fn end(id: SpaceId) -> Result<(), Error> {
    let done = user::with(|spaces, mm| spaces.destroy(mm.pages, id));
    done.ok_or(Error::NoSpaces)?.map_err(Error::Space)
}
