//! Tests of address spaces through the real MMU.

use crate::devices;
use crate::ktest;
use crate::ktest::{NotOk, TestResult};
use crate::user::{self, CurrentSpace};
use ::user::Request;
use alloc::format;
use mm::Gfp;
use mm::memhog::{Memhog, UserMemory};
use mm::space::{FaultOutcome, Placement, SpaceId, VmFlags};
use types::{PAGE_SIZE, VirtAddr};

ktest!("user::spaces", spaces);
ktest!("user::cma_moves_pages", cma_moves_pages);

const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);

fn failed(why: impl core::fmt::Display) -> NotOk {
    NotOk::Failed(format!("{why}"))
}

fn check(good: bool, otherwise: &str) -> TestResult {
    if good { Ok(()) } else { Err(failed(otherwise)) }
}

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

/// Fills most of memory with movable pages, takes 1 MiB out of CMA, and verifies.
fn cma_moves_pages() -> TestResult {
    let area = user::with(|_, mm| mm.default_cma.zip(Some(mm.pages.buddy().free_page_count())));
    let Some((area, free)) = area.flatten() else { return Err(NotOk::Ignored("no CMA area")) };
    let pages = free - 2000;
    let (id, base) = space(pages)?;
    let hog = Memhog::new(base, pages * PAGE_SIZE, 0x5eed);
    (0..pages).try_for_each(|page| hog.fill(&mut CurrentSpace, page)).map_err(failed)?;
    let before = user::with(|_, mm| mm.pages.stat().pgmigrate_success).unwrap_or(0);
    let start = devices::now();
    let request = Request { area, count: 256, align: 0, gfp: Gfp::KERNEL, owner: "usertest" };
    let taken = user::cma_alloc(request);
    let cost = devices::now() - start;
    let taken = taken.map_err(failed)?;
    let moved = user::with(|_, mm| mm.pages.stat().pgmigrate_success).unwrap_or(0) - before;
    log::info!("usertest: cma_alloc of 1 MiB: {moved} pages moved in {cost} ns");
    (0..pages).try_for_each(|page| hog.check(&mut CurrentSpace, page)).map_err(failed)?;
    user::with(|_, mm| mm.cma.release(mm.pages, taken));
    check(moved > 0, "nothing had to move")?;
    end(&[id])
}
