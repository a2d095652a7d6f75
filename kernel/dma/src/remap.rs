//! Preparing pages for a device: zeroed, uncached if it doesn't see the caches, and nothing left in them.
//!
//! The order matters. While the linear mapping is cacheable, the CPU may fetch lines of it speculatively; so the
//! caches are cleaned after it has become uncached, and before anybody uses it. Lines left behind would be written
//! over the device's data, or come to light when the pages are cacheable again. (Linux cleans before it remaps.)
//!
//! ```text
//! zero (cached) -> protect: break, TLB, make uncached -> flush by line -> hand out
//! take back     -> protect: break, TLB, make cacheable                 -> free
//! ```

use crate::DmaError;
use crate::access::Region;
use crate::platform::{Pages, Platform};
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

/// Prepares the lowmem pages at `phys`, which the caller owns.
pub(crate) fn prepare<P: Platform>(
    platform: &mut P,
    phys: PhysAddr,
    size: u32,
    caching: Caching,
) -> Result<Region, DmaError> {
    let last = PhysAddr::new(phys.get() + (size - 1));
    if platform.linear_virt(last).is_none() {
        return Err(DmaError::NotLinear { phys });
    }
    let ptr = platform.linear().ptr(phys);
    let region = Region::new(ptr, size as usize).ok_or(DmaError::NotLinear { phys })?;
    region.zero();
    if caching == Caching::Uncached {
        set_attr(platform, phys, size, MemAttr::NormalNc)?;
    }
    if caching != Caching::Snooped {
        platform.cache().flush(ptr, size as usize);
    }
    Ok(region)
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
    prepare(platform, phys, size, Caching::Uncached).map(|region| region.start())
}

/// Makes pages that [`prepare`] made uncached ordinary again. On failure the pages must not be used any more.
pub(crate) fn restore<P: Platform>(platform: &mut P, phys: PhysAddr, size: u32) -> Result<(), DmaError> {
    set_attr(platform, phys, size, MemAttr::Normal)
}

fn set_attr<P: Platform>(platform: &mut P, phys: PhysAddr, size: u32, attr: MemAttr) -> Result<(), DmaError> {
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
pub(crate) fn whole_pages(size: u32) -> Result<u32, DmaError> {
    match size.checked_next_multiple_of(PAGE_SIZE) {
        Some(0) => Err(DmaError::Empty),
        Some(size) => Ok(size),
        None => Err(DmaError::TooLarge { size }),
    }
}
