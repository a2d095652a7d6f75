//! Early memory: from boot data to a memblock, placed as Linux 6.1 places it.
//!
//! [`early_memory`] goes through Linux's order once, with every line that Linux prints:
//!
//! ```text
//! 1 RAM of the tree or the ATAGs (ram)            6 kernel, initrd, swapper_pg_dir (here, initrd)
//! 2 the device tree blob                          7 the vendor's windows and heaps (vendor)
//! 3 command line: mem= vmalloc= LX_MEM= (params)  8 /memreserve/, then /reserved-memory (reserved)
//! 4 lowmem bounds (lowmem)                        9 the default CMA area (cma)
//!                                                10 lowmem bounds again
//! ```
//!
//! The order is the contract: each step takes the highest place that the ones before it left. Nothing is mapped
//! or written; the result is the memblock, and a [`MemorySetup`] for what comes after: page tables, CMA, drivers.
//! [`zones`], [`report`] and [`iomem`] turn the numbers into Linux's text.
//!
//! Bad input gives one line and the boot goes on where Linux's would (invariant 12). Where a full memblock
//! table drops a range silently in Linux, the range is dropped with a line that names it.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod cma;
mod facts;
mod initrd;
pub mod iomem;
mod list;
mod lowmem;
mod params;
mod ram;
mod regions;
pub mod report;
mod reserved;
mod sort;
#[cfg(test)]
mod tests;
mod vendor;
pub mod zones;

pub use cma::{CMA_ALIGNMENT, CmaArea, CmaAreas, CmaError, DEFAULT_AREA_NAME, MAX_CMA_AREAS};
pub use facts::{
    BootFacts, DEFAULT_CMA_SIZE, PAGE_OFFSET, PMD_SIZE, SWAPPER_OFFSET, SWAPPER_SIZE, VMALLOC_END,
    VMALLOC_OFFSET, VMALLOC_SIZE,
};
pub use list::List;
pub use lowmem::Lowmem;
pub use regions::{
    Claim, ClaimError, MAX_RESERVED_REGIONS, MAX_VENDOR_REGIONS, NodeRegion, NodeUse, Regions, VendorKind,
    VendorRegion,
};
pub use vendor::PlaceError;

use dt::Tree;
use mm::memblock::{Memblock, MemblockError};
use params::EarlyParams;
use reserved::Reservations;
use types::{PhysAddr, PhysRange};

/// What early memory setup found out, besides the memblock. About 5 KiB: keep it in a static.
#[derive(Clone, Copy, Debug)]
pub struct MemorySetup<'a> {
    /// CMA areas, for activation once the page allocator runs.
    pub cma: CmaAreas<'a>,
    /// Reserved regions by name.
    pub regions: Regions<'a>,
    /// Where lowmem ends and the vmalloc area starts.
    pub lowmem: Lowmem,
    /// The initrd's bytes, reserved.
    pub initrd: Option<PhysRange>,
    /// The last byte of RAM that all devices reach, when they don't reach all of it (`arm_dma_limit`).
    pub dma_limit: Option<PhysAddr>,
}

impl MemorySetup<'_> {
    /// Nothing known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            cma: CmaAreas::new(),
            regions: Regions::new(),
            lowmem: Lowmem::new(PhysAddr::new(0)),
            initrd: None,
            dma_limit: None,
        }
    }
}

impl Default for MemorySetup<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Why the kernel can't go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyMemoryError {
    /// Nobody describes RAM at or above PHYS_OFFSET.
    NoMemory {
        /// PHYS_OFFSET.
        phys_offset: PhysAddr,
    },
}

impl core::fmt::Display for EarlyMemoryError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self::NoMemory { phys_offset } = self;
        write!(f, "no memory at or above {phys_offset}: neither device tree nor command line describes any")
    }
}

impl core::error::Error for EarlyMemoryError {}

/// Fills an empty memblock and `setup` from what the boot loader says, in Linux's order and words.
///
/// # Errors
/// [`EarlyMemoryError`]: there is no memory that page tables could cover. Everything else has been logged.
#[inline(never)]
pub fn early_memory<'a>(
    facts: &BootFacts<'a>,
    memblock: &mut Memblock<'_>,
    setup: &mut MemorySetup<'a>,
) -> Result<(), EarlyMemoryError> {
    let phys_offset = facts.phys_offset;
    setup.lowmem = Lowmem::new(phys_offset);
    ram::add_described(memblock, &facts.boot, phys_offset);
    if let Some(dtb) = facts.dtb {
        note(memblock.reserve(dtb));
    }
    let mut params = EarlyParams::default();
    params.parse(&facts.command_line, memblock, setup, phys_offset);
    setup.lowmem.adjust(memblock, facts.highmem);
    setup.dma_limit = dma_limit(&facts.boot.tree, memblock);
    reserve_all(facts, memblock, setup, &params);
    setup.lowmem.adjust(memblock, facts.highmem);
    if memblock.memory().is_empty() || setup.lowmem.limit() <= phys_offset {
        return Err(EarlyMemoryError::NoMemory { phys_offset });
    }
    Ok(())
}

/// By the tree's `dma-ranges`. A bus that reaches no RAM at all asks for none.
fn dma_limit(tree: &Tree<'_>, memblock: &Memblock<'_>) -> Option<PhysAddr> {
    let (start, end) = (memblock.start_of_dram().get(), memblock.end_of_dram().get());
    let limits = tree.dma_limits().filter_map(|limit| u32::try_from(limit).ok());
    let lowest = limits.filter(|&limit| limit >= start).min()?;
    (lowest < end.saturating_sub(1)).then_some(PhysAddr::new(lowest))
}

/// `arm_memblock_init`.
#[inline(never)]
fn reserve_all<'a>(
    facts: &BootFacts<'a>,
    memblock: &mut Memblock<'_>,
    setup: &mut MemorySetup<'a>,
    params: &EarlyParams<'a>,
) {
    let phys_offset = facts.phys_offset;
    note(memblock.reserve(facts.kernel));
    setup.initrd = initrd::reserve(memblock, facts.boot.initrd());
    let swapper = PhysAddr::new(phys_offset.get() + SWAPPER_OFFSET);
    note(memblock.reserve(PhysRange::new(swapper, SWAPPER_SIZE)));
    params.vendor.reserve(memblock, &mut setup.regions, phys_offset);
    let cma_given = params.cma.is_some_and(|cma| cma.is_given());
    let (regions, cma) = (&mut setup.regions, &mut setup.cma);
    Reservations { memblock, regions, cma, cma_given }.run(&facts.boot.tree);
    cma.reserve_default(memblock, &setup.lowmem, (params.cma, facts.cma_size), setup.dma_limit);
    memblock.dump();
}

/// What Linux's callers ignore gets a line.
pub(crate) fn note(result: Result<(), MemblockError>) {
    if let Err(error) = result {
        log::error!("{error}");
    }
}
