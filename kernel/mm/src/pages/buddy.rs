//! The page allocator without its guards: memory map, zones and per-CPU lists, and the one transition that moves
//! pages between states and keeps the counters (invariant 1).
//!
//! Nothing here touches the pages themselves, only their records.

use super::{
    contig::Isolations,
    list::Index,
    map::{ISOLATED, MapError, MapLayout, MemoryMap},
    pcp::PerCpu,
    vmstat::VmStat,
    watermark::Tunables,
    zone::{Place, Zone, ZoneKind},
};
use crate::{MigrateType, Page, PageState};
use core::mem::MaybeUninit;
use types::{Order, PAGEBLOCK_PAGES, Pfn, PhysRange};

/// What the memory map is built from.
#[derive(Clone, Debug)]
pub struct Setup<M, F> {
    /// All memory, ascending and apart; ranges that are not the kernel's included.
    pub memory: M,
    /// What memblock leaves free of it, ascending.
    pub free: F,
    /// The first frame that is not in zone DMA; `None`: no such zone.
    pub dma_end: Option<Pfn>,
    /// The first frame that is in zone HIGHMEM; `None`: no such zone.
    pub highmem_start: Option<Pfn>,
    /// CPUs that have lists of their own; at most [`MAX_CPUS`].
    pub cpus: u32,
}

/// See the [module](self).
///
/// In this order, so that what every request looks at is near the start: an ARM load reaches 4 KiB from its base.
#[derive(Debug)]
#[repr(C)]
pub struct Buddy<'m> {
    /// Flags whose requests take the slow path.
    pub(crate) divert: u32,
    /// The place of the calling CPU's lists of zone NORMAL.
    pub(crate) here: usize,
    pub(crate) map: MemoryMap<'m>,
    /// Pages in each state that `alloc_pages` gives, and in CMA allocations. What the entry of [`PageState::Kernel`] says
    /// means nothing: those are the rest, so that the shortest path need not count them.
    pub(crate) in_use: [u32; 16],
    pub(crate) stat: VmStat,
    pub(crate) pcp: PerCpu,
    pub(crate) zones: [Zone; ZoneKind::COUNT],
    pub(crate) cpus: u32,
    pub(crate) cpu: usize,
    pub(crate) atomic: bool,
    pub(crate) tunables: Tunables,
    pub(crate) isolations: Isolations,
    /// All pageblocks are `UNMOVABLE`: there are too few of them to keep types apart.
    pub(crate) grouping_disabled: bool,
    pub(crate) kswapd_wanted: bool,
}

impl<'m> Buddy<'m> {
    /// The memory map for `setup`, each record written once.
    ///
    /// # Errors
    /// [`MapError`].
    #[inline(never)]
    pub(crate) fn map_for<M, F>(
        setup: &Setup<M, F>,
        metadata: &'m mut [MaybeUninit<Page>],
    ) -> Result<MemoryMap<'m>, MapError>
    where
        M: Iterator<Item = PhysRange> + Clone,
        F: Iterator<Item = PhysRange> + Clone,
    {
        let layout = MapLayout::new(setup.memory.clone())?;
        MemoryMap::new(layout, setup.memory.clone(), setup.free.clone(), metadata)
    }

    /// Gives all free memory to the zones.
    pub(crate) fn populate<M, F>(&mut self, setup: Setup<M, F>)
    where
        M: Iterator<Item = PhysRange>,
        F: Iterator<Item = PhysRange>,
    {
        self.lay_out_zones(setup.dma_end, setup.highmem_start);
        setup.memory.for_each(|range| self.count_present(range));
        self.type_pageblocks();
        setup.free.for_each(|range| self.boot_free(range));
        self.init_watermarks();
    }

    fn lay_out_zones(&mut self, dma_end: Option<Pfn>, highmem_start: Option<Pfn>) {
        let len = self.map.len();
        let normal = dma_end.map_or(0, |pfn| self.map.index_at_or_above(pfn));
        let high = highmem_start.map_or(len, |pfn| self.map.index_at_or_above(pfn)).max(normal);
        let bounds = [0..normal, normal..high, high..len];
        for (zone, bounds) in self.zones.iter_mut().zip(bounds) {
            (zone.start, zone.end) = (bounds.start, bounds.end);
        }
        self.map.set_hot(if normal == 0 { high } else { 0 });
    }

    fn count_present(&mut self, range: PhysRange) {
        let pfns = range.pfns_inside();
        let Some(last) = pfns.end.checked_sub(1).filter(|_| !pfns.is_empty()) else { return };
        let (Some(start), Some(last)) =
            (self.map.index(Pfn::new(pfns.start)), self.map.index(Pfn::new(last)))
        else {
            return;
        };
        for zone in &mut self.zones {
            let (from, to) = (start.max(zone.start), (last + 1).min(zone.end));
            if from < to {
                let pfn = self.map.pfn(from).get();
                if zone.present == 0 {
                    zone.start_pfn = pfn;
                }
                zone.present += to - from;
                zone.spanned = self.map.pfn(to - 1).get() + 1 - zone.start_pfn;
            }
        }
    }

    /// All movable; on a machine with fewer pages than a pageblock of each type takes, all unmovable.
    fn type_pageblocks(&mut self) {
        self.grouping_disabled = self.total_pages() < PAGEBLOCK_PAGES * MigrateType::COUNT as u32;
        let kind = if self.grouping_disabled { MigrateType::Unmovable } else { MigrateType::Movable };
        for index in (0..self.map.len()).step_by(PAGEBLOCK_PAGES as usize) {
            self.map.set_block_type(index, kind);
        }
    }

    /// Pages of memory without those that hold the memory map: the `Total pages` of the boot log.
    #[must_use]
    pub fn total_pages(&self) -> u32 {
        let map = (self.map.len() as usize * size_of::<Page>()).div_ceil(types::PAGE_SIZE as usize);
        self.zones.iter().map(|zone| zone.present).sum::<u32>().saturating_sub(map as u32)
    }

    /// Lists a range whose records say `Tail`, in the largest aligned blocks, ascending.
    fn boot_free(&mut self, range: PhysRange) {
        let pfns = range.pfns_inside();
        let Some(start) = self.map.index(Pfn::new(pfns.start)).filter(|_| !pfns.is_empty()) else { return };
        let end = (start + (pfns.end - pfns.start)).min(self.map.len());
        if self.map.page(start).state() == PageState::Tail {
            self.free_boot_range(start, end);
        }
    }

    /// Gives the pages `[start, end)` to the buddy lists for the first time; their records say `Tail`.
    pub(crate) fn free_boot_range(&mut self, start: Index, end: Index) {
        for zone in ZoneKind::ALL {
            let bounds = self.zones[zone as usize].start..self.zones[zone as usize].end;
            for (index, order) in chunks(start.max(bounds.start), end.min(bounds.end)) {
                let kind = self.map.block_type(index);
                let zone = &mut self.zones[zone as usize];
                zone.give(self.map.pages, index, order, kind, Place::Tail);
                zone.count_in(kind, 1 << order);
                zone.managed += 1 << order;
            }
        }
    }

    /// The zone that holds `index`.
    #[inline]
    pub(crate) fn zone_of(&self, index: Index) -> usize {
        if index >= self.zones[ZoneKind::HighMem as usize].start {
            ZoneKind::HighMem as usize
        } else if index >= self.zones[ZoneKind::Normal as usize].start {
            ZoneKind::Normal as usize
        } else {
            ZoneKind::Dma as usize
        }
    }

    #[cfg(test)]
    pub(crate) fn set_cpu(&mut self, cpu: usize) {
        self.cpu = if cpu < super::pcp::MAX_CPUS { cpu } else { 0 };
        self.here = PerCpu::place(self.cpu, ZoneKind::Normal as usize);
    }

    /// A zone.
    #[must_use]
    pub fn zone(&self, kind: ZoneKind) -> &Zone {
        &self.zones[kind as usize]
    }

    /// Whether pages are kept apart by migratetype; not on machines of fewer than six pageblocks.
    #[must_use]
    pub fn grouping(&self) -> bool {
        !self.grouping_disabled
    }

    /// Records in the memory map.
    #[must_use]
    pub fn records(&self) -> usize {
        self.map.len() as usize
    }

    /// Pages given to the zones (`totalram_pages`).
    #[must_use]
    pub fn managed_pages(&self) -> u32 {
        self.zones.iter().map(|zone| zone.managed).sum()
    }

    /// Free pages, those in per-CPU lists not among them.
    #[must_use]
    pub fn free_page_count(&self) -> u32 {
        self.zones.iter().map(|zone| zone.free).sum()
    }

    /// Free pages above the lowest marks: those that movable requests can have.
    pub(crate) fn room(&self) -> u32 {
        self.zones.iter().map(|zone| zone.free.saturating_sub(zone.marks.min)).sum()
    }

    /// Pages in that state; only for states that a block in use can be in.
    #[must_use]
    pub fn pages_in_use(&self, state: PageState) -> u32 {
        if state != PageState::Kernel {
            return self.in_use[state as usize];
        }
        let others = PageState::ALL.into_iter().filter(|&other| other != PageState::Kernel);
        let isolated: u32 = self.zones.iter().map(|zone| zone.isolated).sum();
        let known: u32 = others.map(|other| self.in_use[other as usize]).sum();
        self.managed_pages() - self.free_page_count() - self.pcp_pages() - isolated - known
    }

    /// Notes that a block of the kernel's does not go back to the per-CPU list for unmovable pages.
    #[cold]
    pub(crate) fn note_home(&mut self, pfn: Pfn) {
        if let Some(index) = self.map.index(pfn) {
            self.map.page_mut(index).set_aux(1);
        }
    }

    /// Counts `pages` that came into state `owner`.
    #[inline(always)]
    pub(crate) fn count_owned(&mut self, owner: PageState, pages: u32) {
        let count = &mut self.in_use[owner as usize];
        *count = count.wrapping_add(pages);
    }

    /// Counts `pages` that left state `owner`.
    #[inline(always)]
    pub(crate) fn count_disowned(&mut self, owner: PageState, pages: u32) {
        let count = &mut self.in_use[owner as usize];
        *count = count.wrapping_sub(pages);
    }

    /// Puts a free block into the buddy lists: the record of `index` may say anything, its pages but the first say
    /// `Tail`. A block in a range that is being isolated is kept for the isolation.
    pub(crate) fn give_block(&mut self, index: Index, order: u8, place: Place) {
        let bits = self.map.block_bits(index);
        if bits & ISOLATED != 0 && self.isolations.overlaps(index, order) {
            return self.give_isolated(index, order);
        }
        self.give_unisolated(index, order, place);
    }

    pub(crate) fn give_unisolated(&mut self, index: Index, order: u8, place: Place) {
        let kind = self.map.block_type(index);
        let zone = &mut self.zones[self.zone_of(index)];
        zone.give(self.map.pages, index, order, kind, place);
        zone.count_in(kind, 1 << order);
    }

    /// The migratetype of the pageblock of `pfn`; `Isolate` while a range isolation is under way there.
    #[must_use]
    pub fn pageblock_type(&self, pfn: Pfn) -> Option<MigrateType> {
        let index = self.map.index(pfn)?;
        let isolated = self.map.block_bits(index) & ISOLATED != 0;
        Some(if isolated { MigrateType::Isolate } else { self.map.block_type(index) })
    }

    /// The pages that have a record, bank by bank, ascending; a bank may hold pages that are no memory.
    pub fn banks(&self) -> impl Iterator<Item = core::ops::Range<u32>> + '_ {
        let pfn = |index: Index| self.map.pfn(index).get();
        self.map.banks().map(move |bank| pfn(bank.start)..pfn(bank.end - 1) + 1)
    }

    /// The head of the block that `pfn` is part of, with its record; `None` outside of the memory map.
    #[must_use]
    pub fn block_of(&self, pfn: Pfn) -> Option<(Pfn, &Page)> {
        let head = self.map.head_of(self.map.index(pfn)?);
        Some((self.map.pfn(head), self.map.page(head)))
    }
}

/// `[start, end)` as naturally aligned blocks, each as large as can be, ascending.
pub(crate) fn chunks(start: Index, end: Index) -> impl Iterator<Item = (Index, u8)> {
    let mut at = start;
    core::iter::from_fn(move || {
        let room = end.checked_sub(at).filter(|&room| room > 0)?;
        let order = at.trailing_zeros().min(room.ilog2()).min(u32::from(Order::MAX.get())) as u8;
        let here = at;
        at += 1 << order;
        Some((here, order))
    })
}
