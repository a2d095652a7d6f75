//! Tests of the CMA areas as a whole: filled to the last page, emptied in one piece, and what is said when that can't be.

use crate::ktest::{NotOk, TestResult, check, failed, with};
use crate::memory::{self, Mm, contiguous};
use crate::user::{self, CurrentSpace};
use crate::{devices, dma, ktest};
use ::user::Request;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use mm::cma::{CmaError, CmaId};
use mm::memhog::{Memhog, UserMemory};
use mm::migrate::BufferHandle;
use mm::pages::{Zone, ZoneKind};
use mm::pin::{Foll, unpin_user_page};
use mm::space::{Placement, SpaceError, SpaceId, VmFlags};
use mm::{Frames, Gfp, MigrateType, PageSource, PageState};
use types::{Order, PAGE_SIZE, Pfn, VirtAddr};

ktest!("cma::fills_in_proportion", fills_in_proportion);
ktest!("cma::gives_its_whole_length", gives_its_whole_length);
ktest!("cma::moves_driver_buffers", moves_driver_buffers);
ktest!("cma::refusals", refusals);

const RW: VmFlags = VmFlags::READ.union(VmFlags::WRITE);
/// Pages of one space.
const PAGES: u32 = 1 << 16;
/// Pages whose tables and bookkeeping a space can need while memory is full.
const TABLES: u32 = 1024;

/// The default area: its name, its pages, and those of them that no driver has in one piece.
fn area() -> Result<(CmaId, u32, u32), NotOk> {
    let found = with(|mm| {
        let id = mm.default_cma?;
        mm.cma.area(id).map(|area| (id, area.count(), area.maxchunk()))
    })?;
    found.ok_or(NotOk::Ignored("no CMA area"))
}

/// Free pages inside of CMA areas and outside, and all pages of both kinds.
fn free() -> Result<[(u32, u32); 2], NotOk> {
    with(|mm| {
        let zones = ZoneKind::ALL.map(|kind| mm.pages.buddy().zone(kind));
        let sum = |of: fn(&Zone) -> u32| zones.iter().map(|zone| of(zone)).sum::<u32>();
        let (free, free_cma) = (sum(Zone::free), sum(Zone::free_cma));
        let (all, cma) = (sum(Zone::managed), sum(Zone::cma));
        [(free_cma, cma), (free - free_cma, all - cma)]
    })
}

/// Free pages that an area keeps when it is all of its zone: the watermark of movable requests is the zone's.
fn kept() -> Result<u32, NotOk> {
    with(|mm| {
        let zones = ZoneKind::ALL.map(|kind| mm.pages.buddy().zone(kind));
        let only_cma = zones.into_iter().filter(|zone| zone.cma() > 0 && zone.cma() == zone.managed());
        only_cma.map(|zone| zone.watermarks().min).sum()
    })
}

/// Spaces of [`PAGES`] pages each, filled one page after the other.
struct Fill {
    spaces: Vec<(SpaceId, VirtAddr)>,
    filled: u32,
}

impl Fill {
    const fn new() -> Self {
        Self { spaces: Vec::new(), filled: 0 }
    }

    fn hog(&self, number: u32) -> Option<(SpaceId, Memhog)> {
        let &(id, base) = self.spaces.get((number / PAGES) as usize)?;
        Some((id, Memhog::new(base, PAGES * PAGE_SIZE, number / PAGES)))
    }

    /// The next page; `false` when it was refused.
    fn next(&mut self, whole: bool) -> Result<bool, NotOk> {
        if self.filled == self.spaces.len() as u32 * PAGES {
            self.spaces.reserve(1);
            let made = user::with(|spaces, mm| {
                let id = spaces.create(mm.pages)?;
                let base = spaces.mmap(mm.pages, id, Placement::Anywhere, PAGES * PAGE_SIZE, RW)?;
                Ok::<_, SpaceError>((id, base))
            });
            let Some(Ok(made)) = made else { return Ok(false) };
            self.spaces.push(made);
            user::enter(made.0).map_err(failed)?;
        }
        let Some((_, hog)) = self.hog(self.filled) else { return Ok(false) };
        let (page, virt) = (self.filled % PAGES, hog.at(self.filled % PAGES));
        let done = if whole {
            hog.fill(&mut CurrentSpace, page).is_ok()
        } else {
            CurrentSpace.store(virt, hog.pattern(virt)).is_ok()
        };
        self.filled += u32::from(done);
        Ok(done)
    }

    fn verify(&self) -> TestResult {
        for number in 0..self.filled {
            let Some((id, hog)) = self.hog(number) else { break };
            if number % PAGES == 0 {
                user::enter(id).map_err(failed)?;
            }
            hog.check(&mut CurrentSpace, number % PAGES).map_err(failed)?;
        }
        Ok(())
    }

    fn end(self) -> TestResult {
        user::leave();
        for (id, _) in self.spaces {
            let done = user::with(|spaces, mm| spaces.destroy(mm.pages, id));
            done.ok_or(NotOk::Ignored("no address spaces"))?.map_err(failed)?;
        }
        Ok(())
    }
}

/// Whether whole pageblocks outside of CMA areas are free. Parts of the kernel's are left to it while CMA memory is free.
fn normal_is_plenty() -> Result<bool, NotOk> {
    with(|mm| {
        let zones = ZoneKind::ALL.map(|kind| mm.pages.buddy().zone(kind));
        let others = [MigrateType::Unmovable, MigrateType::Movable, MigrateType::Reclaimable];
        let is_free = |zone: &Zone| others.iter().any(|&kind| zone.free_blocks(kind, Order::MAX) > 0);
        zones.into_iter().any(is_free)
    })
}

/// Whether there are several zones: movable memory fills one after the other.
fn several_zones() -> Result<bool, NotOk> {
    with(|mm| ZoneKind::ALL.iter().filter(|&&kind| mm.pages.buddy().zone(kind).managed() > 0).count() > 1)
}

/// Both kinds of memory fill at the same rate, whoever had them before, and a movable page is refused only when both are
/// used up.
fn fills_in_proportion() -> TestResult {
    area()?;
    let start = free()?;
    let mut fill = Fill::new();
    let (mut compared, mut apart) = (0, 0);
    let several = several_zones()?;
    while fill.next(false)? {
        if fill.filled.is_multiple_of(512) && !several {
            let now = free()?;
            let left = |kind: usize| now[kind].0 * 100 / start[kind].0.max(1);
            // At the end normal memory is kept for those who can't use the other.
            if left(1) > 10 && normal_is_plenty()? {
                compared += 512;
                apart = left(0).abs_diff(left(1)).max(apart);
            }
        }
    }
    let [(free_cma, cma), (normal, _)] = free()?;
    let filled = fill.filled;
    log::info!(
        "areatest: {filled} pages filled, {free_cma} of {cma} free in CMA areas, {normal} elsewhere, {apart} points apart"
    );
    fill.end()?;
    let even = several || apart <= 5 && compared > filled / 2;
    if free_cma * 20 < cma && even {
        return Ok(());
    }
    Err(failed(format_args!(
        "{free_cma} of {cma} pages of CMA free, {apart} points apart in {compared} of {filled} pages"
    )))
}

/// Takes all memory but CMA and some pages for tables.
fn take_normal() -> Result<Vec<Frames>, NotOk> {
    let mut taken = Vec::with_capacity(8192);
    let gfp = Gfp::HIGHUSER | Gfp::__NOWARN;
    for order in (0..=Order::MAX.get()).rev().filter_map(Order::new) {
        while taken.len() < taken.capacity()
            && let Ok(frames) = with(|mm| mm.pages.alloc_pages(gfp, order, PageState::Kernel))?
        {
            taken.push(frames);
        }
    }
    let mut given = 0;
    while given < TABLES
        && let Some(frames) = taken.pop()
    {
        given += frames.order().pages();
        with(|mm| mm.pages.free_pages(frames))?;
    }
    Ok(taken)
}

fn give_back(taken: Vec<Frames>) -> TestResult {
    taken.into_iter().try_for_each(|frames| with(|mm| mm.pages.free_pages(frames)))
}

/// Fills the area to the last page, makes room elsewhere, and takes the area in one piece.
fn gives_its_whole_length() -> TestResult {
    let (id, all, count) = area()?;
    let taken = take_normal()?;
    let mut fill = Fill::new();
    while free()?[0].0 > 0 && fill.next(true)? {}
    let left = free()?[0].0;
    give_back(taken)?;
    let room = free()?[1].0;
    if room < count + TABLES {
        fill.end()?;
        return Err(NotOk::Ignored("no room elsewhere for a whole area"));
    }
    let request = Request { area: id, count, align: 0, gfp: Gfp::KERNEL, owner: "areatest" };
    let (start, mut work) = (devices::now(), contiguous::Work::default());
    let result = contiguous::cma_alloc_counted(&request, &mut work);
    let cost = devices::now() - start;
    let contiguous::Work { moved, attempts } = work;
    log::info!(
        "areatest: {count} of {all} pages in one piece, {moved} moved in {cost} ns, attempts {attempts}"
    );
    let pages = result.map_err(failed)?;
    let verified = fill.verify();
    with(|mm| mm.cma.release(mm.pages, pages))?;
    fill.end()?;
    verified?;
    check(left <= kept()?, "the area could not be filled")?;
    // What waits in a per-CPU list is not free, and need not move.
    check(moved + 64 >= count && attempts == 1, "not all of it had to move, at once")
}

/// Buffers of a driver in the area make room, and are found again through their handles.
fn moves_driver_buffers() -> TestResult {
    const BUFFERS: usize = 40;
    let (id, _, count) = area()?;
    let mut handles: Vec<BufferHandle> = Vec::with_capacity(BUFFERS);
    let place = |mm: &mut Mm, handle: &BufferHandle| {
        let guard = mm.buffers.hold(handle).ok()?;
        let pfn = guard.pfn();
        mm.buffers.release(guard);
        Some((pfn, mm.cma.area_of(pfn) == Some(id)))
    };
    // With little else free, movable memory is the area's.
    let normal = take_normal()?;
    for number in 0..BUFFERS {
        let made = with(|mm| {
            let handle = mm.buffers.alloc(mm.pages, Order::ZERO)?;
            mm.buffers.with(&handle, |bytes| bytes.fill(number as u8 + 1)).map(|()| handle)
        })?;
        handles.push(made.map_err(failed)?);
    }
    let inside = |handles: &[BufferHandle]| {
        let is_in = |handle: &&BufferHandle| {
            memory::with(|mm| place(mm, handle)).flatten().is_some_and(|place: (Pfn, bool)| place.1)
        };
        handles.iter().filter(is_in).count()
    };
    let before = inside(&handles);
    give_back(normal)?;
    let request = Request { area: id, count, align: 0, gfp: Gfp::KERNEL, owner: "areatest" };
    let taken = contiguous::cma_alloc(&request);
    let after = inside(&handles);
    let mut kept = true;
    for (number, handle) in handles.into_iter().enumerate() {
        kept &= with(|mm| {
            let all = |bytes: &mut [u8]| bytes.iter().all(|&byte| byte == number as u8 + 1);
            let whole = mm.buffers.with(&handle, all) == Ok(true);
            mm.buffers.free(mm.pages, handle).is_ok() && whole
        })?;
    }
    let pages = taken.map_err(failed)?;
    with(|mm| mm.cma.release(mm.pages, pages))?;
    check(before > 0, "no buffer was in the area")?;
    check(after == 0, "a buffer stayed in the area")?;
    check(kept, "a buffer does not hold what was stored")
}

/// Each refusal names the page or the thing, whose it is, and why.
fn refusals() -> TestResult {
    let (id, _, count) = area()?;
    pinned(id, count)?;
    no_room(id, count)?;
    bad_free(id)?;
    unreachable_and_exhausted()
}

fn says(error: Option<String>, parts: &[&str]) -> TestResult {
    let text = error.ok_or_else(|| failed(format_args!("not refused: {parts:?}")))?;
    match parts.iter().find(|part| !text.contains(*part)) {
        None => Ok(()),
        Some(part) => Err(failed(format_args!("'{part}' is not in '{text}'"))),
    }
}

fn whole(id: CmaId, count: u32) -> Result<(), CmaError> {
    let request = Request { area: id, count, align: 0, gfp: Gfp::KERNEL, owner: "areatest" };
    contiguous::cma_alloc(&request).map(|pages| {
        memory::with(|mm| mm.cma.release(mm.pages, pages));
    })
}

/// A page that is pinned for a moment, in the middle of the area.
fn pinned(id: CmaId, count: u32) -> TestResult {
    let mut fill = Fill::new();
    let mut pin = None;
    while pin.is_none() && fill.next(false)? {
        let Some((space, hog)) = fill.hog(fill.filled - 1) else { break };
        let virt = hog.at((fill.filled - 1) % PAGES);
        let found = user::with(|spaces, mm| {
            let pfn = spaces.page_at(space, virt).ok()??;
            mm.cma.area_of(pfn)?;
            spaces.pin_user_page(mm.pages, space, virt, Foll::WRITE).ok()
        });
        pin = found.flatten();
    }
    let pin = pin.ok_or_else(|| failed("no page in the area"))?;
    let (pfn, error) = (pin.pfn().to_string(), whole(id, count).err().map(|error| error.to_string()));
    with(|mm| unpin_user_page(mm.pages, pin, false))?;
    fill.end()?;
    says(error, &[&pfn, "pinned", "an address space"])
}

/// Memory that is full: there is nowhere to move anything to.
fn no_room(id: CmaId, count: u32) -> TestResult {
    let mut fill = Fill::new();
    while fill.next(false)? {}
    let error = whole(id, count).err().map(|error| error.to_string());
    fill.end()?;
    says(error, &["no room elsewhere for pfn", "pages would have to move"])
}

fn bad_free(id: CmaId) -> TestResult {
    let request = Request { area: id, count: 5, align: 0, gfp: Gfp::KERNEL, owner: "areatest" };
    let pages = contiguous::cma_alloc(&request).map_err(failed)?;
    let refuse = |count, by| {
        let result = with(|mm| mm.cma.release_raw(mm.pages, pages.pfn(), count, by))?;
        let text = result.err().map(|error| error.to_string());
        if let Some(text) = &text {
            log::warn!("areatest: {text}");
        }
        Ok::<_, NotOk>(text)
    };
    let (more, other) = (refuse(6, "areatest")?, refuse(5, "somebody")?);
    with(|mm| mm.cma.release(mm.pages, pages))?;
    says(more, &["release of 6 pages", "areatest was given 5 pages"])?;
    says(other, &["by somebody", "it belongs to areatest"])
}

/// A device that reaches 16 MiB only, and more than the pool for atomic requests has.
fn unreachable_and_exhausted() -> TestResult {
    let mut device = ::dma::Device::new("areatest");
    device.coherent_mask = 0xff_ffff;
    let narrow = dma::alloc_coherent(&device, PAGE_SIZE, Gfp::KERNEL);
    let text = narrow.map(dma::free).err().map(|error| error.to_string());
    says(text, &["DMA addr 0x", "overflow (mask ffffff"])?;
    let wide = ::dma::Device::new("areatest");
    let large = dma::alloc_coherent(&wide, 16 << 20, Gfp::ATOMIC);
    let text = large.map(dma::free).err().map(|error| error.to_string());
    says(text, &["the pool has no 4096 pages in one stretch"])
}
