//! The step machine that empties a range, for callers: begin, step until done, finish or abort.

use super::{
    alloc::PageAllocator,
    buddy::chunks,
    contig::{Contig, ContigError, Next},
    release::PageRun,
};
use crate::{Gfp, MigrateReason, MigrateType, Mover, PageState};
use types::{Order, PAGEBLOCK_PAGES, Pfn, align_down};

/// Whether there is more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Call again.
    More,
    /// The range is empty.
    Done,
}

impl PageAllocator<'_> {
    /// Starts to empty `count` pages at `pfn` outside of CMA areas (`alloc_contig_range`).
    ///
    /// # Errors
    /// [`ContigError`]; nothing has changed then.
    pub fn contig_begin(&mut self, pfn: Pfn, count: u32) -> Result<Contig, ContigError> {
        let (start, end) = self.buddy.stretch_of(pfn, count).ok_or(ContigError::BadRange { pfn, count })?;
        for block in (align_down(start, PAGEBLOCK_PAGES)..end).step_by(PAGEBLOCK_PAGES as usize) {
            if self.buddy.map.block_type(block) == MigrateType::Cma {
                let pfn = self.buddy.map.pfn(block.max(start));
                return Err(ContigError::Blocked { pfn, owner: PageState::CmaTaken });
            }
        }
        if let Some(at) = self.buddy.survey(start, end).blocked {
            let (pfn, owner) = (self.buddy.map.pfn(at), self.buddy.map.page(at).state());
            return Err(ContigError::Blocked { pfn, owner });
        }
        self.buddy.isolate(start, end)
    }

    /// Moves one block out of the range, or skips free ones.
    ///
    /// # Errors
    /// [`ContigError`]: the block did not move; the caller aborts, or tries this step again later.
    #[inline]
    pub fn contig_step<M>(&mut self, contig: &mut Contig, mover: &mut M) -> Result<Step, ContigError>
    where
        M: Mover<Self> + ?Sized,
    {
        let at = match self.buddy.contig_next(contig) {
            Next::Done => return Ok(Step::Done),
            Next::Skipped => return Ok(Step::More),
            Next::Move(at) => at,
        };
        let (pfn, owner) = (self.buddy.map.pfn(at), self.buddy.map.page(at).state());
        if !owner.is_movable() {
            return Err(ContigError::Blocked { pfn, owner });
        }
        let pages = 1 << self.buddy.map.page(at).order();
        let moved = mover.migrate(self, pfn, MigrateReason::ContigRange);
        let emptied = if pages == 1 { at } else { self.buddy.map.head_of(at.max(contig.start)) };
        let result = if self.buddy.map.page(emptied).state() == PageState::IsolatedFree {
            moved
        } else {
            moved.and(Err(crate::MigrateError::Busy))
        };
        match result {
            Ok(()) => {
                self.buddy.stat.pgmigrate_success += pages;
                contig.moved += pages;
                contig.at = self.buddy.map.after(emptied);
                Ok(Step::More)
            }
            Err(crate::MigrateError::Busy) if !contig.again => {
                contig.left = true;
                contig.at = self.buddy.map.after(at);
                Ok(Step::More)
            }
            Err(why) => {
                self.buddy.stat.pgmigrate_fail += pages;
                Err(ContigError::Migration { pfn, owner, why })
            }
        }
    }

    /// Takes the emptied range.
    ///
    /// # Errors
    /// The range is given back, as by [`PageAllocator::contig_abort`], when it is not empty yet.
    pub fn contig_finish(&mut self, mut contig: Contig, owner: PageState) -> Result<PageRun, ContigError> {
        loop {
            match self.buddy.contig_next(&mut contig) {
                Next::Done => break,
                Next::Skipped => {}
                Next::Move(at) => {
                    let (pfn, owner) = (self.buddy.map.pfn(at), self.buddy.map.page(at).state());
                    self.contig_abort(contig);
                    return Err(ContigError::Blocked { pfn, owner });
                }
            }
        }
        let (pfn, count) = (self.buddy.map.pfn(contig.start), contig.end - contig.start);
        self.buddy.contig_take(&contig, owner);
        self.prepare_range(contig.start, contig.end);
        Ok(PageRun::from_raw(pfn, count))
    }

    /// Gives up: what is free of the range goes back to the free lists.
    pub fn contig_abort(&mut self, contig: Contig) {
        self.buddy.trace_isolated(&contig, contig.at.clamp(contig.start, contig.end));
        self.buddy.contig_restore(&contig);
    }

    /// The guards' work on a range that is about to be freed.
    #[inline]
    pub(crate) fn scrub_range(&mut self, start: u32, end: u32) {
        if self.guarded() {
            chunks(start, end).for_each(|(index, order)| self.scrub(self.buddy.map.pfn(index), order));
        }
    }

    /// The guards' work on a range that was just taken.
    pub(crate) fn prepare_range(&mut self, start: u32, end: u32) {
        if !self.guarded() {
            return;
        }
        for (index, order) in chunks(start, end) {
            let order = Order::new(order).unwrap_or(Order::MAX);
            self.prepare(self.buddy.map.pfn(index), order, Gfp::KERNEL);
        }
    }
}
