//! Handing memory over to the page allocator.
//!
//! Reserved bytes round outwards to pages, free bytes inwards: a page that is only partly in use is in use. The
//! free runs are cut into the largest naturally aligned blocks, lowest address first.

use super::{FlagChange, FreeRanges, Memblock, MemblockError, RegionFlags};
use core::ops::Range;
use types::{Order, Pfn, PhysAddr, PhysRange};

/// Runs of whole free pages below a limit.
#[derive(Clone)]
pub struct PageRuns<'t> {
    free: FreeRanges<'t>,
    max: u32,
}

impl Iterator for PageRuns<'_> {
    type Item = Range<u32>;

    fn next(&mut self) -> Option<Range<u32>> {
        let max = self.max;
        self.free
            .by_ref()
            .map(|free| free.pfns_inside())
            .map(|run| run.start..run.end.min(max))
            .find(|run| !run.is_empty())
    }
}

/// A run of pages as maximal naturally aligned blocks of at most [`Order::MAX`].
#[derive(Clone)]
pub struct BuddyBlocks {
    run: Range<u32>,
}

impl BuddyBlocks {
    /// The blocks of a run of page frames.
    #[must_use]
    pub const fn new(run: Range<u32>) -> Self {
        Self { run }
    }
}

impl Iterator for BuddyBlocks {
    type Item = (Pfn, Order);

    fn next(&mut self) -> Option<(Pfn, Order)> {
        let left = self.run.end.checked_sub(self.run.start).filter(|&left| left > 0)?;
        let aligned = self.run.start.trailing_zeros().min(u32::from(Order::MAX.get()));
        let order = Order::new(aligned.min(left.ilog2()) as u8)?;
        let block = Pfn::new(self.run.start);
        self.run.start += order.pages();
        Some((block, order))
    }
}

impl Memblock<'_> {
    /// Runs of page frames that are free and lie wholly below `max_low`, lowest first.
    #[must_use]
    pub fn free_page_runs(&self, max_low: Pfn) -> PageRuns<'_> {
        PageRuns { free: self.free_ranges(RegionFlags::empty()), max: max_low.get() }
    }

    /// Runs of page frames that the allocator must not touch: what is reserved, and what is NOMAP. Neighbouring
    /// runs can share a page.
    pub fn reserved_page_runs(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let reserved = self.reserved.regions().iter();
        let nomap = self.memory.regions().iter().filter(|r| r.flags.contains(RegionFlags::NOMAP));
        reserved.chain(nomap).map(|r| r.range().pfns_touched()).filter(|run| !run.is_empty())
    }

    /// What the hand-over begins with: nothing counts as hot-pluggable any more.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`]: the flags stay.
    pub fn clear_hotplug_everywhere(&mut self) -> Result<(), MemblockError> {
        self.change_hotplug(PhysRange::new(PhysAddr::new(0), u32::MAX), FlagChange::Clear)
    }
}
