//! The linear mapping of DMA memory: its memory type follows what the memory is used for (invariant 5).

use crate::DmaError;
use crate::access::Region;
use crate::platform::{CpuView, Pages, Platform};
use core::ptr::NonNull;
use hal::{CacheOps, LinearMap, MapError, MemAttr, PageTable, Prot, TablePages};
use mm::pages::PageRun;
use mm::{Gfp, PageState};
use types::{PAGE_SIZE, PhysAddr, VirtAddr};

/// What becomes of the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Caching {
    /// Uncached, for devices that don't see the caches.
    Uncached,
    /// Cached and clean, for noncoherent buffers.
    Clean,
    /// Cached; the device sees the caches.
    Snooped,
}

/// The lowmem pages at `phys`, which the caller owns.
#[inline]
pub(crate) fn region<V: CpuView>(view: &V, phys: PhysAddr, size: u32) -> Result<Region, DmaError> {
    let last = PhysAddr::new(phys.get() + (size - 1));
    let reached = view.linear_virt(last).and_then(|_| Region::new(view.linear().ptr(phys), size as usize));
    reached.ok_or(DmaError::NotLinear { phys })
}

/// Zeroes lowmem that a driver has claimed as its own, such as a reserved region, and makes the linear map of it uncached
/// for good (invariant 5); where it can be reached. Both ends lie at pages.
///
/// # Errors
/// [`DmaError`]; [`DmaError::NotLinear`] where the linear map doesn't reach.
pub fn make_uncached<P: Platform>(
    platform: &mut P,
    phys: PhysAddr,
    size: u32,
) -> Result<NonNull<u8>, DmaError> {
    let size = whole_pages(size)?;
    let region = region(platform, phys, size)?;
    region.zero();
    set_attr(platform, phys, size, MemAttr::NormalNc)?;
    platform.cache().flush(region.start().as_ptr(), size as usize);
    Ok(region.start())
}

/// Gives the linear mapping of `[phys, phys + size)` another memory type.
pub(crate) fn set_attr<P: Platform>(
    platform: &mut P,
    phys: PhysAddr,
    size: u32,
    attr: MemAttr,
) -> Result<(), DmaError> {
    let virt = platform.linear_virt(phys).ok_or(DmaError::NotLinear { phys })?;
    let mut result = platform.table().protect(virt, size, attr, Prot::WRITE);
    if result == Err(MapError::NoTable) {
        supply_tables(platform, virt, size)?;
        result = platform.table().protect(virt, size, attr, Prot::WRITE);
    }
    while let Some(page) = platform.table().reclaim() {
        platform.pages().free(PageRun::from_raw(page, 1));
    }
    result.map_err(DmaError::Remap)
}

#[cold]
fn supply_tables<P: Platform>(platform: &mut P, virt: VirtAddr, size: u32) -> Result<(), DmaError> {
    for _ in 0..platform.table().tables_needed(virt, size) {
        let run = platform.pages().alloc(Gfp::ATOMIC, 1, PageState::PageTable)?;
        platform.table().supply(run.into_raw().0);
    }
    Ok(())
}

/// The kernel's pages that hold `size` bytes.
#[inline]
pub(crate) fn whole_pages(size: u32) -> Result<u32, DmaError> {
    match size.checked_next_multiple_of(PAGE_SIZE) {
        Some(0) => Err(DmaError::Empty),
        Some(size) => Ok(size),
        None => Err(DmaError::TooLarge { size }),
    }
}
