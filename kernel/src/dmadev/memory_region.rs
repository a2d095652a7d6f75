//! Bus masters with the memory that the tree gives them: `memory-region`.
//!
//! ```text
//!  device: memory-region = <&r>;   r: shared-dma-pool, reusable ─▶ a CMA area  ─▶ Device::area
//!                                  r: shared-dma-pool, no-map   ─▶ its own pool ─▶ Device::pool
//! ```
//!
//! A no-map region is in nobody's linear map (invariant 5). It is mapped here, once, Normal Non-cacheable, in the vmalloc
//! area; lines of it that boot code left in the caches are flushed then. Source: Linux 6.1 `of_reserved_mem.c`
//! (`of_reserved_mem_device_init_by_idx`), `kernel/dma/coherent.c`.
//!
//! Unsafe code: the pool believes the address of that mapping.
#![allow(unsafe_code)]

use crate::memory::{self, EARLY, Mm};
use alloc::vec;
use alloc::vec::Vec;
use arch_armv7::cache::Caches;
use arch_armv7::cpu::IrqLock;
use core::fmt;
use dma::{Bitmap, Device, DmaError, PagePool, PoolTooLarge};
use drivers::dma::{DeviceError, device};
use dt::Node;
use hal::{CacheOps, MemAttr, Prot};
use mm::cma::CmaId;
use mm::vmalloc::{Context, VmallocError};
use setup::NodeUse;
use types::{PAGE_SIZE, Pfn, PhysAddr, PhysRange};

/// Pools that were made: where, and their numbers. Devices may share one.
static POOLS: IrqLock<Vec<(PhysAddr, usize)>> = IrqLock::new(Vec::new());

/// Why a device has no memory of its own although it names some.
#[derive(Debug)]
enum RegionError {
    /// The phandle leads nowhere, or to a region that no device can have.
    Unusable,
    /// Some of it is somebody else's too.
    Shared,
    /// The pool can't be mapped.
    Map(VmallocError),
    /// It is not whole pages.
    Shape(PoolTooLarge),
    /// There are too many.
    Dma(DmaError),
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable => f.write_str("no DMA memory"),
            Self::Shared => f.write_str("some of it is somebody else's too"),
            Self::Map(error) => error.fmt(f),
            Self::Shape(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
        }
    }
}

/// The bus master at `node`. What goes wrong with its `memory-region` is a line in the log, and then it gets memory like
/// any other.
///
/// # Errors
/// [`DeviceError`].
pub fn bus_master<'a>(node: Node<'a>, name: &'static str) -> Result<Device<'static, CmaId>, DeviceError<'a>> {
    let mut device = device(node, name)?;
    let Some(region) = node.memory_regions().next() else { return Ok(device) };
    match region {
        Some(region) if !region.is_available() => {}
        Some(region) => match assign(&mut device, region) {
            Ok(()) => log::info!("{name}: assigned reserved memory node {}", region.name()),
            Err(error) => log::error!("{name}: memory-region {}: {error}", region.name()),
        },
        None => log::error!("{name}: memory-region: {}", RegionError::Unusable),
    }
    Ok(device)
}

fn assign(device: &mut Device<'static, CmaId>, region: Node<'_>) -> Result<(), RegionError> {
    let known = region.phandle().and_then(|phandle| {
        let early = EARLY.lock();
        let region = early.as_ref()?.setup.regions.by_phandle(phandle)?;
        Some((region.range, region.used, region.shared))
    });
    match known {
        Some((_, _, true)) => Err(RegionError::Shared),
        Some((range, NodeUse::Cma(_), false)) => {
            let first = Pfn::containing(range.base());
            device.area = memory::with(|mm| mm.cma.area_of(first)).flatten();
            device.area.map(|_| ()).ok_or(RegionError::Unusable)
        }
        Some((range, NodeUse::CoherentPool, false)) => {
            device.pool = Some(pool(range)?);
            Ok(())
        }
        _ => Err(RegionError::Unusable),
    }
}

/// The number of the pool at `range`.
fn pool(range: PhysRange) -> Result<usize, RegionError> {
    let made = POOLS.lock().iter().find(|(base, _)| *base == range.base()).map(|(_, number)| *number);
    if let Some(number) = made {
        return Ok(number);
    }
    let words = vec![0u32; Bitmap::words(range.size() / PAGE_SIZE)].leak();
    let start = map(range)?;
    Caches.flush(start, range.size() as usize);
    // SAFETY: the region is the devices' alone, and mapped for good.
    let pool = unsafe { PagePool::new(range.base(), start, range.size(), words) };
    let pool = pool.map_err(RegionError::Shape)?;
    let number = memory::with(|mm| mm.dma.add_pool(pool)).ok_or(RegionError::Unusable)?;
    let number = number.map_err(RegionError::Dma)?;
    POOLS.lock().push((range.base(), number));
    Ok(number)
}

fn map(range: PhysRange) -> Result<*mut u8, RegionError> {
    let context = Context { caller: pool as *const () as u32, atomic: memory::in_atomic() };
    let mapped = memory::with(|mm: &mut Mm| {
        let (vmalloc, mut backing) = mm.vmalloc();
        vmalloc.vmap_range(&mut backing, context, range, MemAttr::NormalNc, Prot::WRITE)
    });
    let virt = mapped.ok_or(RegionError::Unusable)?.map_err(RegionError::Map)?;
    Ok(core::ptr::with_exposed_provenance_mut(virt.get() as usize))
}
