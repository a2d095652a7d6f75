//! Zones: which page frames they span, how many are memory, and the boot log's lines about them.
//!
//! ```text
//! min_low_pfn  max_dma_pfn    max_low_pfn        max_pfn
//! |---- DMA ------|-- Normal -----|---- HighMem -----|     holes count in `spanned` but not in `present`
//! ```
//!
//! There is a DMA zone when devices don't reach all of lowmem, and no line about it otherwise, as in a Linux without
//! `CONFIG_ZONE_DMA`.
//!
//! NOMAP memory counts as present, as in Linux. Era: 6.1 text; [`ZonelistLine`] is 4.9's, because the SSD202's log has it.
//!
//! Source: Linux 6.1 `arch/arm/mm/init.c` (`find_limits`), `mm/page_alloc.c` (`free_area_init`).

use core::fmt;
use core::ops::Range;
use mm::memblock::Memblock;
use types::{PAGE_SIZE, PhysAddr};

/// The page frames of a boot's zones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Zones {
    /// The first frame that is memory.
    pub min_low_pfn: u32,
    /// The end of what all devices reach, if that is less than lowmem.
    pub max_dma_pfn: Option<u32>,
    /// The end of lowmem.
    pub max_low_pfn: u32,
    /// The end of memory.
    pub max_pfn: u32,
}

/// One zone's page frames and how many of them are memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone {
    /// `DMA`, `Normal`, `HighMem`.
    pub name: &'static str,
    /// From the first to the end of the last.
    pub span: Range<u32>,
    /// Frames in it that are memory, NOMAP or not.
    pub present: u32,
}

impl Zones {
    /// The limits, once lowmem is mapped and so memblock's current limit is its end. `dma_limit` is the last byte that
    /// all devices reach.
    #[must_use]
    pub fn of(memblock: &Memblock<'_>, dma_limit: Option<PhysAddr>) -> Self {
        let min_low_pfn = memblock.start_of_dram().get().div_ceil(PAGE_SIZE);
        let max_low_pfn = memblock.current_limit().get() / PAGE_SIZE;
        let max_dma_pfn = dma_limit.map(|last| last.get().saturating_add(1) / PAGE_SIZE);
        Self {
            min_low_pfn,
            max_dma_pfn: max_dma_pfn.filter(|pfn| (min_low_pfn + 1..max_low_pfn).contains(pfn)),
            max_low_pfn,
            max_pfn: (memblock.end_of_dram().get() / PAGE_SIZE).max(max_low_pfn),
        }
    }

    /// DMA, which a machine without one has no line about, Normal, then HighMem, which may be empty.
    #[must_use]
    pub fn zones(&self, memblock: &Memblock<'_>) -> [Zone; 3] {
        let low = self.min_low_pfn..self.max_low_pfn.max(self.min_low_pfn);
        let high = low.end..self.max_pfn.max(low.end);
        let dma = low.start..self.max_dma_pfn.unwrap_or(low.start);
        let spans = [("DMA", dma.clone()), ("Normal", dma.end..low.end), ("HighMem", high)];
        spans.map(|(name, span)| Zone { name, present: present(memblock, &span), span })
    }

    /// Logs `Zone ranges:` and the lines that follow it.
    pub fn log(&self, memblock: &Memblock<'_>) {
        log::info!("Zone ranges:");
        for zone in &self.zones(memblock)[usize::from(self.max_dma_pfn.is_none())..] {
            log::info!("{zone}");
        }
        log::info!("Movable zone start for each node");
        log::info!("Early memory node ranges");
        for range in memory_pfns(memblock) {
            log::info!("  node   0: {}", Mem(&range));
        }
        log::info!("Initmem setup node 0 {}", Mem(&(self.min_low_pfn..self.max_pfn)));
    }
}

/// Frames that lie wholly in RAM.
fn memory_pfns(memblock: &Memblock<'_>) -> impl Iterator<Item = Range<u32>> {
    memblock.memory().regions().iter().map(|r| r.range().pfns_inside()).filter(|pfns| !pfns.is_empty())
}

fn present(memblock: &Memblock<'_>, span: &Range<u32>) -> u32 {
    let inside = |pfns: Range<u32>| pfns.end.min(span.end).saturating_sub(pfns.start.max(span.start));
    memory_pfns(memblock).map(inside).sum()
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<8} ", self.name)?;
        if self.span.is_empty() { f.write_str("empty") } else { Mem(&self.span).fmt(f) }
    }
}

/// `[mem 0x0000000020000000-0x0000000027efffff]`
struct Mem<'r>(&'r Range<u32>);

impl fmt::Display for Mem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = |pfn: u32| u64::from(pfn) * u64::from(PAGE_SIZE);
        write!(f, "[mem {:#018x}-{:#018x}]", addr(self.0.start), addr(self.0.end).wrapping_sub(1))
    }
}

/// `Built 1 zonelists in Zone order, mobility grouping on.  Total pages: 28162`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZonelistLine {
    /// Whether pages are grouped by mobility; not on machines of less than six pageblocks.
    pub grouping: bool,
    /// Pages that the allocator will manage at most.
    pub total_pages: u32,
}

impl fmt::Display for ZonelistLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (grouping, pages) = (if self.grouping { "on" } else { "off" }, self.total_pages);
        write!(f, "Built 1 zonelists in Zone order, mobility grouping {grouping}.  Total pages: {pages}")
    }
}
