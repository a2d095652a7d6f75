//! Compaction: empties pageblocks that are nearly empty, so that they become blocks of the largest order.
//!
//! ```text
//! pageblocks   [M..M....] [MMMM.MMM] [..M.....] [UUM.....]      M movable, U not, . free
//! becomes      [........] [MMMMMMMM] [M.......] [UUMM....]
//! ```
//!
//! Linux has two scanners that meet, one that collects free pages and one that collects movable ones
//! (`mm/compaction.c`). Here each pageblock is emptied as a contiguous range is, by the same machinery, with the
//! free lists as the free scanner: they give the smallest block that fits, so the pages go into the holes. A
//! pageblock is worth it when the holes elsewhere have room for what is in it.

use crate::pages::{Contig, PageAllocator, Step, ZoneKind};
use crate::{MigrateError, MigrateReason, MigrateType, Mover};
use types::{Order, PAGEBLOCK_PAGES, Pfn};

/// Types of pageblocks that movable pages may go to.
const HOLES: [MigrateType; 4] =
    [MigrateType::Unmovable, MigrateType::Movable, MigrateType::Reclaimable, MigrateType::Cma];

/// A compaction of one zone under way: `/proc/sys/vm/compact_memory`. Between two steps the caller may drop its lock.
#[derive(Debug)]
#[must_use = "step it until it is done, or abort it"]
pub struct Compaction {
    zone: ZoneKind,
    /// The next pageblock to look at, as an index.
    next: u32,
    work: Option<Contig>,
    moved: u32,
    blocks: u32,
}

/// Moves on behalf of compaction.
struct Reason<'a, M: ?Sized>(&'a mut M);

impl<'p, M> Mover<PageAllocator<'p>> for Reason<'_, M>
where
    M: Mover<PageAllocator<'p>> + ?Sized,
{
    fn migrate(
        &mut self,
        pages: &mut PageAllocator<'p>,
        pfn: Pfn,
        _: MigrateReason,
    ) -> Result<(), MigrateError> {
        self.0.migrate(pages, pfn, MigrateReason::Compaction)
    }
}

impl Compaction {
    /// Of a zone.
    pub const fn new(zone: ZoneKind) -> Self {
        Self { zone, next: 0, work: None, moved: 0, blocks: 0 }
    }

    /// Pages moved so far.
    #[must_use]
    pub const fn moved(&self) -> u32 {
        self.moved
    }

    /// Pageblocks emptied so far.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Moves a page, or chooses a pageblock. [`Step::Done`] at the end of the zone.
    pub fn step<'p, M>(&mut self, pages: &mut PageAllocator<'p>, mover: &mut M) -> Step
    where
        M: Mover<PageAllocator<'p>> + ?Sized,
    {
        match self.work.take() {
            Some(contig) => self.advance(pages, contig, mover),
            None if self.next == 0 => _ = pages.buddy_mut().drain_all_pages(),
            None => {}
        }
        if self.work.is_some() { Step::More } else { self.choose(pages) }
    }

    fn advance<'p, M>(&mut self, pages: &mut PageAllocator<'p>, mut contig: Contig, mover: &mut M)
    where
        M: Mover<PageAllocator<'p>> + ?Sized,
    {
        let before = contig.moved();
        let step = pages.contig_step(&mut contig, &mut Reason(mover));
        self.moved += contig.moved() - before;
        match step {
            Ok(Step::More) => self.work = Some(contig),
            // What was emptied of it merges when it is given back: that is the whole point.
            Ok(Step::Done) => {
                self.blocks += 1;
                pages.stat_mut().compact_success += 1;
                pages.contig_abort(contig);
            }
            Err(_) => {
                pages.stat_mut().compact_fail += 1;
                pages.contig_abort(contig);
            }
        }
    }

    /// Begins with the next pageblock that is worth it.
    fn choose(&mut self, pages: &mut PageAllocator<'_>) -> Step {
        let index = self.next;
        if index >= pages.buddy.map.len() {
            return Step::Done;
        }
        self.next += PAGEBLOCK_PAGES;
        let (pfn, zone) = (pages.buddy.map.pfn(index), pages.buddy.zone_of(index));
        let cma = pages.buddy.map.block_type(index) == MigrateType::Cma;
        let Some((start, end)) = pages.buddy.stretch_of(pfn, PAGEBLOCK_PAGES) else { return Step::More };
        if zone != self.zone as usize || cma {
            return Step::More;
        }
        let survey = pages.buddy.survey(start, end);
        let worth = (1..PAGEBLOCK_PAGES).contains(&survey.moves) && survey.blocked.is_none();
        let holes = self.holes(pages).saturating_sub(PAGEBLOCK_PAGES - survey.moves);
        if worth && holes >= survey.moves {
            pages.stat_mut().compact_stall += 1;
            self.work = pages.buddy.isolate(start, end).ok();
        }
        Step::More
    }

    /// Free pages of the zone in blocks smaller than a pageblock, where movable pages can go.
    fn holes(&self, pages: &PageAllocator<'_>) -> u32 {
        let zone = pages.buddy().zone(self.zone);
        let orders = (0..Order::MAX.get()).filter_map(Order::new);
        let of = |order: Order| {
            HOLES.iter().map(|&kind| zone.free_blocks(kind, order)).sum::<u32>() * order.pages()
        };
        orders.map(of).sum()
    }

    /// Gives up.
    pub fn abort(mut self, pages: &mut PageAllocator<'_>) {
        if let Some(contig) = self.work.take() {
            pages.contig_abort(contig);
        }
    }
}
