//! Tests of what must be refused or survived: wrong frees, sleeping where one can't, failures of every single allocation;
//! and of highmem, where there is any.

use crate::highmem::{self, LocalPage};
use crate::ktest::{NotOk, TestResult, check, failed, validate, with};
use crate::memory::{self, Mm};
use crate::user::{self, CurrentSpace};
use crate::{devices, dma, ktest, symbols};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use hal::PageTable;
use mm::memhog::UserMemory;
use mm::pages::{FreeError, ZoneKind};
use mm::slab::Caller;
use mm::space::{Placement, SpaceId, VmFlags};
use mm::vmalloc::{Context, VmallocError};
use mm::{FaultAttr, Frames, Gfp, PageSource, PageState};
use types::{Order, PAGE_SIZE, Pfn, VirtAddr};

ktest!("guards::wrong_frees", wrong_frees);
ktest!("guards::sleeping_in_atomic", sleeping_in_atomic);
ktest!("guards::every_failure", every_failure);
ktest!("guards::owner_is_the_caller", owner_is_the_caller);
ktest!("guards::empty_slabs_come_back", empty_slabs_come_back);
ktest!("guards::boosted_marks", boosted_marks);
ktest!("highmem::kmap", kmap);

/// Who wants a page.
#[inline(never)]
fn wants_a_page() -> Option<Frames> {
    // What is looked at here keeps the call from being this function's last act, which would leave no frame of it.
    core::hint::black_box(memory::alloc_pages(Gfp::KERNEL, Order::ZERO).ok())
}

/// With `page_owner=on`, a page's owner is the function that asked the memory manager.
fn owner_is_the_caller() -> TestResult {
    const LONGEST: u32 = 0x200;
    if !with(|mm| mm.pages.tracks_owners())? {
        return Err(NotOk::Ignored("no page_owner=on"));
    }
    let frames = wants_a_page().ok_or_else(|| failed("no page"))?;
    let caller = with(|mm| mm.pages.owner_record(frames.pfn()).map_or(0, |record| record.caller()))?;
    memory::free_pages(frames);
    let start = wants_a_page as *const () as u32 & !1;
    check(caller.wrapping_sub(start) < LONGEST, &format!("the caller was {caller:#x}, not {start:#x}"))
}

/// Slabs whose objects have all been freed are pages again before a request fails.
fn empty_slabs_come_back() -> TestResult {
    const OBJECTS: usize = 200;
    let gfp = Gfp::KERNEL | Gfp::__NOWARN;
    let mut blocks = Vec::with_capacity(2048);
    let mut objects = Vec::with_capacity(OBJECTS);
    objects.extend((0..OBJECTS).map_while(|_| memory::kmalloc(2048, gfp).ok()));
    objects.drain(..).for_each(|object| _ = memory::kfree(object.as_ptr()));
    let before = with(|mm| mm.pages.stat().pgsteal_direct)?;
    for order in (0..=Order::MAX.get()).rev().filter_map(Order::new) {
        while blocks.len() < blocks.capacity()
            && let Ok(block) = memory::alloc_pages(gfp, order)
        {
            blocks.push(block);
        }
    }
    let full = blocks.len() < blocks.capacity();
    blocks.drain(..).for_each(memory::free_pages);
    let came_back = with(|mm| mm.pages.stat().pgsteal_direct)?.wrapping_sub(before);
    check(full, "memory did not run out")?;
    check(came_back > 0, "no slab came back")?;
    validate()
}

/// The kernel's requests break up pageblocks that movable memory is spread over, which raises the marks. What lowers them
/// again comes after the test: `tests/scenarios/kswapd.toml` looks.
fn boosted_marks() -> TestResult {
    const BLOCKS: usize = 256;
    let half = Order::new(Order::MAX.get() - 1).unwrap_or_default();
    let gfp = Gfp::NOWAIT | Gfp::__NOWARN;
    let (mut movable, mut kernels) = (Vec::with_capacity(BLOCKS), Vec::with_capacity(BLOCKS));
    let boost = with(|mm| {
        let mut take = |gfp, owner| mm.pages.alloc_pages(gfp, half, owner).ok();
        movable.extend((0..BLOCKS).map_while(|_| take(gfp | Gfp::__MOVABLE, PageState::Anon)));
        for frames in movable.extract_if(.., |frames| frames.pfn().get() & half.pages() != 0) {
            mm.pages.free_pages(frames);
        }
        let boost = |mm: &Mm| mm.pages.buddy().zone(ZoneKind::Normal).boost();
        while boost(mm) == 0
            && let Ok(frames) = mm.pages.alloc_pages(gfp, half, PageState::Kernel)
        {
            kernels.push(frames);
        }
        movable.drain(..).chain(kernels.drain(..)).for_each(|frames| mm.pages.free_pages(frames));
        boost(mm)
    })?;
    check(boost > 0, "no mark was raised")?;
    validate()
}

/// Each wrong free is refused with its reason, and everything is as before.
fn wrong_frees() -> TestResult {
    let kernel = with(|mm| mm.linear.phys_of(symbols::text()))?.ok_or(NotOk::Ignored("no kernel"))?;
    let two = Order::new(2).unwrap_or_default();
    let frames = with(|mm| mm.pages.alloc_pages(Gfp::KERNEL, two, PageState::Kernel))?.map_err(failed)?;
    let pfn = frames.pfn();
    let refused = with(|mm| {
        let mut free = |pfn, order| mm.pages.free_raw(pfn, order, PageState::Kernel).err();
        [
            matches!(free(pfn, Order::ZERO), Some(FreeError::WrongOrder { .. })),
            matches!(free(pfn.add(1), Order::ZERO), Some(FreeError::NotHead { .. })),
            matches!(free(Pfn::containing(kernel), Order::ZERO), Some(FreeError::Reserved { .. })),
            matches!(free(Pfn::new(0), Order::ZERO), Some(FreeError::NotMemory { .. })),
            matches!(mm.pages.free_raw(pfn, two, PageState::Slab), Err(FreeError::Foreign { .. })),
        ]
    })?;
    with(|mm| mm.pages.free_pages(frames))?;
    let twice = with(|mm| mm.pages.free_raw(pfn, two, PageState::Kernel))?;
    validate()?;
    check(matches!(twice, Err(FreeError::DoubleFree { .. })), "a block was taken back twice")?;
    check(refused == [true; 5], "a wrong free was not refused as it should be")
}

static BUGS: AtomicU32 = AtomicU32::new(0);

/// In the interrupt: a page with flags that may sleep, which is reported and had without sleeping, and vmalloc.
fn sleeps() {
    let context = Context { caller: 0, atomic: memory::in_atomic() };
    let reported = memory::with(|mm| {
        let before = mm.pages.stat().atomic_bugs;
        let frames = mm.pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::Kernel).ok()?;
        mm.pages.free_pages(frames);
        let reported = mm.pages.stat().atomic_bugs == before + 1;
        let (vmalloc, mut backing) = mm.vmalloc();
        let refused = vmalloc.vmalloc_gfp(&mut backing, context, PAGE_SIZE, memory::VMALLOC)
            == Err(VmallocError::Atomic);
        Some(u32::from(reported) + 2 * u32::from(refused))
    });
    BUGS.fetch_max(4 + reported.flatten().unwrap_or(0), Ordering::Relaxed);
}

fn sleeping_in_atomic() -> TestResult {
    BUGS.store(0, Ordering::Relaxed);
    let ticker = devices::every(1_000_000, &sleeps);
    let end = devices::now() + 5_000_000_000;
    while BUGS.load(Ordering::Relaxed) == 0 && devices::now() < end {
        core::hint::spin_loop();
    }
    devices::cancel(ticker);
    match BUGS.load(Ordering::Relaxed) {
        0 => Err(failed("the timer did not interrupt")),
        7 => Ok(()),
        seen => Err(failed(format_args!("reported {}, vmalloc refused {}", seen & 1, seen >> 1 & 1))),
    }
}

/// Something that allocates; `false` when it was refused, with everything given back.
type Operation = fn(&mut Mm) -> bool;

const OPERATIONS: [(&str, Operation); 4] =
    [("vmalloc", vmalloc), ("kmalloc", kmalloc), ("exact", exact), ("large", large)];
const WHO: Caller = Caller::new(0, 0).expect("there is a CPU 0");

fn vmalloc(mm: &mut Mm) -> bool {
    let context = Context { caller: 0, atomic: false };
    let (vmalloc, mut backing) = mm.vmalloc();
    let area = vmalloc.vmalloc_gfp(&mut backing, context, 9 * PAGE_SIZE, memory::VMALLOC);
    area.is_ok_and(|area| vmalloc.vfree(&mut backing, context, area).is_ok())
}

fn kmalloc(mm: &mut Mm) -> bool {
    [40, 3000, 20_000].into_iter().all(|size| {
        let object = mm.slab.kmalloc(mm.pages, WHO, size, Gfp::KERNEL);
        object.is_ok_and(|object| mm.slab.kfree(mm.pages, WHO, object.as_ptr()).is_ok())
    })
}

fn exact(mm: &mut Mm) -> bool {
    let run = mm.pages.alloc_pages_exact(Gfp::KERNEL, 5, PageState::Kernel);
    run.is_ok_and(|run| {
        mm.pages.free_pages_exact(run);
        true
    })
}

fn large(mm: &mut Mm) -> bool {
    let gfp = Gfp::KERNEL | Gfp::__ZERO | Gfp::__COMP;
    let frames = mm.pages.alloc_pages(gfp, Order::new(4).unwrap_or_default(), PageState::Kernel);
    frames.is_ok_and(|frames| {
        mm.pages.free_pages(frames);
        true
    })
}

/// A space with a few pages, forked, written to on both sides.
fn space() -> bool {
    let rw = VmFlags::READ | VmFlags::WRITE;
    let mut ids: [Option<SpaceId>; 2] = [None; 2];
    let mut work = || {
        let (id, base) = user::with(|spaces, mm| {
            let id = spaces.create(mm.pages).ok()?;
            ids[0] = Some(id);
            Some((id, spaces.mmap(mm.pages, id, Placement::Anywhere, 4 * PAGE_SIZE, rw).ok()?))
        })
        .flatten()?;
        user::enter(id).ok()?;
        let page = |page| VirtAddr::new(base.get() + page * PAGE_SIZE);
        (0..3).try_for_each(|at| CurrentSpace.store(page(at), at).ok())?;
        ids[1] = user::with(|spaces, mm| spaces.fork(mm.pages, id).ok()).flatten();
        ids[1]?;
        CurrentSpace.store(page(1), 7).ok()
    };
    let worked = work().is_some();
    user::leave();
    for id in ids.into_iter().flatten() {
        user::with(|spaces, mm| spaces.destroy(mm.pages, id));
    }
    worked
}

/// A page of vmalloc, the short way where there is one.
fn page_of_vmalloc() -> bool {
    memory::vmalloc(PAGE_SIZE, memory::VMALLOC).is_ok_and(|area| memory::vfree(area).is_ok())
}

/// A buffer of the DMA API.
fn buffer() -> bool {
    let device = ::dma::Device::new("guardtest");
    dma::alloc_coherent(&device, 3 * PAGE_SIZE, Gfp::KERNEL).map(dma::free).is_ok()
}

/// Lets the `nth` request for pages (or objects) fail, and no other.
fn inject(mm: &mut Mm, pages: bool, nth: u32) {
    let attr = FaultAttr::nth(nth);
    if pages {
        mm.pages.set_fail_page_alloc(attr);
    } else {
        mm.slab.set_failslab(mm.pages, attr);
    }
}

/// Ends it; whether a request has failed.
fn has_failed(mm: &mut Mm) -> bool {
    let spent = mm.pages.fail_page_alloc().times == 0 || mm.slab.options().failslab.times == 0;
    mm.pages.set_fail_page_alloc(FaultAttr::default());
    mm.slab.set_failslab(mm.pages, FaultAttr::default());
    spent
}

/// Runs `operation` again and again, its first request failing, its second, and so on until none is left to fail. Each
/// time everything must add up; returns how many failed.
fn sweep(name: &str, pages: bool, operation: impl Fn() -> bool) -> Result<u32, NotOk> {
    const MOST: u32 = 200;
    for nth in 1..MOST {
        with(|mm| inject(mm, pages, nth))?;
        let worked = operation();
        let failed_one = with(has_failed)?;
        validate()?;
        match (worked, failed_one) {
            (true, false) => return Ok(nth - 1),
            (false, false) => return Err(failed(format_args!("{name}: failed without a cause at {nth}"))),
            _ => {}
        }
    }
    Err(failed(format_args!("{name}: more than {MOST} requests")))
}

/// Every path behind a failing allocation is gone through.
fn every_failure() -> TestResult {
    let saved = with(|mm| (mm.pages.fail_page_alloc().clone(), mm.slab.options().failslab.clone()))?;
    let mut failures = 0;
    let mut run = || -> TestResult {
        for (name, operation) in OPERATIONS {
            for pages in [true, false] {
                failures += sweep(name, pages, || memory::with(operation) == Some(true))?;
            }
        }
        failures += sweep("space", true, space)?;
        failures += sweep("page of vmalloc", true, page_of_vmalloc)?;
        // With a place at hand, and no freed area that could give its page, there is nothing to fall back to.
        let at_hand = page_of_vmalloc();
        with(|mm| {
            let (vmalloc, backing) = mm.vmalloc();
            vmalloc.purge(backing.pages, backing.tlb);
            inject(mm, true, 1);
        })?;
        check(at_hand && !page_of_vmalloc(), "vmalloc of a page tried again what was made to fail")?;
        // With very little memory all that is left may be beside what the tables need, where no buffer can be.
        if buffer() {
            failures += sweep("dma", true, buffer)?;
        }
        Ok(())
    };
    let result = run();
    with(|mm| {
        mm.pages.set_fail_page_alloc(saved.0);
        mm.slab.set_failslab(mm.pages, saved.1);
    })?;
    result?;
    check(failures >= 12, &format!("only {failures} requests were made to fail"))
}

/// Pages of highmem through both kinds of mappings, several at once; a page of lowmem has its address already.
fn kmap() -> TestResult {
    let frames = memory::alloc_pages(Gfp::KERNEL, Order::ZERO).map_err(failed)?;
    let (pfn, linear) = (frames.pfn(), with(|mm| mm.linear)?);
    let result = lowmem_stays_mapped(pfn, linear.virt(pfn.addr()));
    memory::free_pages(frames);
    result?;
    if with(|mm| mm.pages.buddy().zone(ZoneKind::HighMem).free() == 0)? {
        return Err(NotOk::Ignored("no highmem"));
    }
    let gfp = Gfp::KERNEL | Gfp::__HIGHMEM | Gfp::__ZERO;
    let mut pages: Vec<Frames> = Vec::new();
    for _ in 0..4 {
        pages.push(with(|mm| mm.pages.alloc_pages(gfp, Order::ZERO, PageState::Kernel))?.map_err(failed)?);
    }
    let result = through_both(&pages);
    for frames in pages {
        with(|mm| mm.pages.free_pages(frames))?;
    }
    result?;
    validate()
}

fn lowmem_stays_mapped(pfn: Pfn, virt: VirtAddr) -> TestResult {
    check(map(pfn)? == virt, "a page of lowmem has two addresses")?;
    highmem::kunmap(virt).map_err(failed)?;
    check(with(|mm| mm.table.translate(virt).is_some())?, "kunmap has unmapped lowmem")
}

fn map(pfn: Pfn) -> Result<VirtAddr, NotOk> {
    highmem::kmap(pfn).ok_or(NotOk::Ignored("no memory manager"))?.map_err(failed)
}

fn through_both(pages: &[Frames]) -> TestResult {
    const WORDS: usize = PAGE_SIZE as usize / 4;
    let reached = |pfn: Pfn| with(|mm| mm.linear.phys_of(mm.linear.virt(pfn.addr())).is_some());
    let mut local = Vec::new();
    for frames in pages {
        check(!reached(frames.pfn())?, "a page of highmem is in the linear map")?;
        local.push(LocalPage::of(frames.pfn()).map_err(failed)?);
    }
    for (number, page) in local.iter().enumerate() {
        let words = page.as_ptr().cast::<u32>();
        for at in 0..WORDS {
            // SAFETY: the page is mapped as long as `page` lives, and it is ours (invariant 2).
            let old = unsafe { words.add(at).read() };
            check(old == 0, "the page is not zeroed")?;
            // SAFETY: as above.
            unsafe { words.add(at).write(number as u32 * 0x1_0000 + at as u32) };
        }
    }
    drop(local);
    let mut mapped = Vec::new();
    for frames in pages {
        let (first, second) = (map(frames.pfn())?, map(frames.pfn())?);
        check(first == second, "a page has two addresses")?;
        mapped.push(first);
    }
    let mut kept = true;
    for (number, virt) in mapped.iter().enumerate() {
        let words = core::ptr::with_exposed_provenance::<u32>(virt.get() as usize);
        // SAFETY: the page is mapped until `kunmap`, and it is ours (invariant 2).
        kept &= (0..WORDS).all(|at| unsafe { words.add(at).read() } == number as u32 * 0x1_0000 + at as u32);
    }
    for virt in mapped {
        highmem::kunmap(virt).and_then(|()| highmem::kunmap(virt)).map_err(failed)?;
        check(highmem::kunmap(virt).is_err(), "a third user was taken away")?;
        check(with(|mm| mm.table.translate(virt).is_none())?, "a page without users is mapped")?;
    }
    check(kept, "what was written through one mapping is not seen through the other")
}
