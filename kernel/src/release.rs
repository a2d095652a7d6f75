//! Reserved memory that only boot needed, such as a boot logo, goes back while the kernel runs.
//!
//! ```text
//! region's name ─▶ claim (nobody else has it, for good) ─▶ memblock_free ─▶ free_reserved_page
//! ```
//! Source: Linux 6.1 `free_reserved_area`; the watermark document's `logo_init`.

use crate::memory::{self, EARLY, Early};
use setup::{ClaimError, NodeUse, VendorKind};
use shell::{File, FsError, Output};
use types::{PAGE_SIZE, Pfn, PhysRange};

/// The file that takes the name of a region: `/sys/kernel/debug/memblock/free_reserved`.
pub struct FreeReserved;

impl File for FreeReserved {
    fn read(&self, _out: &mut dyn Output) -> Result<(), FsError> {
        Err(FsError::PermissionDenied)
    }

    fn write(&self, text: &str) -> Result<(), FsError> {
        free_region(text.trim())
    }
}

/// Gives a region of the device tree or the command line to the page allocator. Its whole pages raise MemTotal.
fn free_region(name: &str) -> Result<(), FsError> {
    let mut early = EARLY.lock();
    let early = early.as_mut().ok_or(FsError::NoDevice)?;
    if !is_memory(early, name) {
        return Err(FsError::InvalidArgument);
    }
    let claim = early.setup.regions.claim(name).map_err(reason)?;
    let range = claim.range();
    if let Err(error) = give_back(early, range) {
        early.setup.regions.unclaim(claim);
        return Err(error);
    }
    log::info!("Freeing {name} memory: {}K", range.size() >> 10);
    Ok(())
}

fn give_back(early: &mut Early, range: PhysRange) -> Result<(), FsError> {
    early.memblock.free(range).map_err(|_| FsError::NoMemory)?;
    free_pages(range).ok_or_else(|| {
        // The table had room for it a moment ago.
        let _ = early.memblock.reserve(range);
        FsError::InvalidArgument
    })
}

fn free_pages(range: PhysRange) -> Option<()> {
    let pfns = range.pfns_inside();
    let count = pfns.end.checked_sub(pfns.start).filter(|&count| count > 0)?;
    memory::with(|mm| mm.pages.free_reserved_range(Pfn::new(pfns.start), count).ok()).flatten()
}

/// Whether the region is memory that the kernel could use: not outside of the linear map by `no-map` or removal, and large
/// enough for a page. Names that nobody has are for the claim to refuse.
fn is_memory(early: &Early, name: &str) -> bool {
    let regions = &early.setup.regions;
    let removed = |kind| kind == VendorKind::RemovedHeap;
    let vendor = regions.vendor().filter(|region| region.name == name);
    let nodes = regions.nodes().filter(|region| region.node.name() == name);
    vendor
        .map(|region| (region.range, removed(region.kind)))
        .chain(nodes.map(|region| (region.range, region.node.no_map() || region.used != NodeUse::Plain)))
        .all(|(range, unusable)| !unusable && range.size() >= PAGE_SIZE)
}

fn reason(error: ClaimError) -> FsError {
    match error {
        ClaimError::Unknown => FsError::NotFound,
        ClaimError::Taken(_) => FsError::Busy,
        ClaimError::NotOwnable(_) => FsError::InvalidArgument,
        ClaimError::Shared(_) => {
            log::warn!("{error}");
            FsError::InvalidArgument
        }
    }
}
