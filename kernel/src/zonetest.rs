//! A test of zone DMA: whose memory comes from there, and that there is some left for them.

use crate::ktest::{NotOk, TestResult, check, failed, with};
use crate::memory::{EARLY, kfree, kmalloc};
use crate::memtest::Hog;
use crate::{dma, ktest};
use ::dma::Device;
use hal::LinearMap;
use mm::pages::ZoneKind::{Dma, Normal};
use mm::{Gfp, PageSource, PageState};
use types::{Order, PAGE_SIZE, PhysAddr};

ktest!("mm::zone_dma", zone_dma);

fn zone_dma() -> TestResult {
    let there = with(|mm| mm.pages.buddy().zone(Dma).managed())? > 0;
    let limit = EARLY.lock().as_ref().and_then(|early| early.setup.dma_limit);
    let limit = limit.filter(|_| there).ok_or(NotOk::Ignored("all devices reach all of lowmem"))?;
    objects_of_the_zone(limit)?;
    buffers_of_the_zone(limit)?;
    kernel_memory_leaves_some(limit)
}

/// `kmalloc` with `GFP_DMA`, from a slab and from the page allocator.
fn objects_of_the_zone(limit: PhysAddr) -> TestResult {
    for size in [100, 5 * PAGE_SIZE] {
        let object = kmalloc(size as usize, Gfp::KERNEL | Gfp::DMA).map_err(failed)?;
        let phys = with(|mm| mm.linear.phys(object.as_ptr()))?;
        kfree(object.as_ptr()).map_err(failed)?;
        check(phys.is_some_and(|phys| phys <= limit), "an object is out of reach")?;
    }
    Ok(())
}

/// Coherent memory for a device whose mask is the zone.
fn buffers_of_the_zone(limit: PhysAddr) -> TestResult {
    let device = Device { coherent_mask: limit.get().into(), ..Device::new("zonetest") };
    for gfp in [Gfp::KERNEL, Gfp::ATOMIC] {
        let buffer = dma::alloc_coherent(&device, 3 * PAGE_SIZE, gfp).map_err(failed)?;
        let last = buffer.phys().get() + (buffer.size() - 1);
        dma::free(buffer);
        check(last <= limit.get(), "a buffer is out of reach")?;
    }
    Ok(())
}

/// Kernel memory goes on in the zone when NORMAL is used up, and stops at what is kept there for devices.
fn kernel_memory_leaves_some(limit: PhysAddr) -> TestResult {
    let hog = Hog::fill(Gfp::KERNEL)?;
    let (free, kept, slack) = with(|mm| {
        let (zone, normal) = (mm.pages.buddy().zone(Dma), mm.pages.buddy().zone(Normal));
        let kept = zone.watermarks().min + normal.managed() / 256;
        (zone.free() - zone.free_cma(), kept, zone.pcp_batch_high().0)
    })?;
    let gfp = Gfp::KERNEL | Gfp::DMA;
    let page = with(|mm| mm.pages.alloc_pages(gfp, Order::ZERO, PageState::Kernel))?;
    let inside = page.map(|page| {
        let reached = page.pfn().addr() <= limit;
        with(|mm| mm.pages.free_pages(page)).is_ok() && reached
    });
    hog.free()?;
    check(inside == Ok(true), "nothing is left for devices")?;
    if free.abs_diff(kept) > slack {
        return Err(failed(format_args!("{free} pages of the zone are left, not {kept}")));
    }
    Ok(())
}
