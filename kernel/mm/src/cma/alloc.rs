//! `cma_alloc`, as a step machine: between two steps the caller may drop its lock.
//!
//! The bits are set when a placement has been chosen, so two requests never work on the same stretch; they are
//! cleared again when it is given up.

use super::{
    area::{Cma, CmaId},
    error::CmaError,
    plan::{Plan, Stuck, Wanted},
    release::CmaPages,
    report::AvailablePages,
};
use crate::pages::{Contig, ContigError, PageAllocator, Step};
use crate::{Gfp, MigrateError, Mover, PageState};
use hal::LinearMap;
use types::Pfn;

/// Largest alignment: the whole address space.
const MAX_ALIGN: u8 = 20;

/// A request under way.
#[derive(Debug)]
#[must_use = "step it until it is done, or abort it"]
pub struct CmaAlloc {
    id: CmaId,
    wanted: Wanted,
    owner: u32,
    quiet: bool,
    stuck: Stuck,
    last: Option<CmaError>,
    work: Option<(Plan, Contig)>,
    moved: u32,
}

impl CmaAlloc {
    /// Pages moved so far.
    #[must_use]
    pub const fn moved(&self) -> u32 {
        self.moved
    }
}

/// How far a request has come.
#[derive(Debug)]
#[must_use]
pub enum CmaProgress {
    /// Step it again.
    More(CmaAlloc),
    /// Here they are.
    Done(CmaPages),
}

impl<'m> Cma<'m> {
    /// Asks for `count` pages aligned to 2^`align` pages, for `owner`. An idle stretch is taken at once; otherwise
    /// the request has to be stepped. Of `gfp` only `__GFP_NOWARN` counts.
    ///
    /// # Errors
    /// [`CmaError`].
    pub fn begin<L: LinearMap>(
        &mut self,
        pages: &mut PageAllocator<'_, L>,
        id: CmaId,
        (count, align): (u32, u8),
        gfp: Gfp,
        owner: &'static str,
    ) -> Result<CmaProgress, CmaError> {
        let quiet = gfp.contains(Gfp::__NOWARN);
        let area = self.active_mut(id)?;
        log::debug!("cma: cma_alloc(cma {:08x}, count {count}, align {align})", area.pointer);
        if count == 0 || align > MAX_ALIGN {
            return Err(CmaError::BadRequest { count, align });
        }
        let wanted = area.wanted(count, align);
        let owner = self.owner_number(owner);
        let (stuck, moved) = (Stuck::default(), 0);
        let alloc = CmaAlloc { id, wanted, owner, quiet, stuck, last: None, work: None, moved };
        self.place(pages, alloc)
    }

    /// Chooses a placement and begins to empty it; a free one is taken.
    fn place<L: LinearMap>(
        &mut self,
        pages: &mut PageAllocator<'_, L>,
        mut alloc: CmaAlloc,
    ) -> Result<CmaProgress, CmaError> {
        let area = self.active_mut(alloc.id)?;
        let plan = match area.plan(&pages.buddy, &alloc.wanted, &alloc.stuck) {
            Ok(plan) => plan,
            Err(blocked) => {
                let (count, longest) = (alloc.wanted.count, area.maxchunk());
                let error = alloc.last.unwrap_or_else(|| match blocked {
                    Some(at) => {
                        let (pfn, owner) = (pages.buddy.map.pfn(at), pages.buddy.map.page(at).state());
                        CmaError::Blocked { pfn, owner }
                    }
                    None => CmaError::NoSpace { count, longest },
                });
                return Err(self.fail(pages, &alloc, error));
            }
        };
        let first = area.base.add(plan.bit << area.order_per_bit);
        let Some((start, end)) = pages.buddy.stretch_of(first, alloc.wanted.count) else {
            return Err(self.fail(pages, &alloc, CmaError::NoArea));
        };
        if plan.moves == 0 {
            self.mark(alloc.id, plan, &alloc.wanted, true);
            pages.buddy.capture(start, end);
            pages.buddy.seal(start, end, PageState::CmaTaken);
            return Ok(CmaProgress::Done(self.taken(pages, &alloc, first)));
        }
        match pages.buddy.isolate(start, end) {
            Ok(contig) => {
                self.mark(alloc.id, plan, &alloc.wanted, true);
                alloc.work = Some((plan, contig));
                Ok(CmaProgress::More(alloc))
            }
            Err(_) => Err(self.fail(pages, &alloc, CmaError::TooManyIsolations)),
        }
    }

    /// Moves one block, or takes the emptied stretch.
    ///
    /// # Errors
    /// [`CmaError`]; everything is as before the request then, but for the pages that have moved.
    pub fn step<'p, L: LinearMap, M>(
        &mut self,
        pages: &mut PageAllocator<'p, L>,
        mut alloc: CmaAlloc,
        mover: &mut M,
    ) -> Result<CmaProgress, CmaError>
    where
        M: Mover<PageAllocator<'p, L>> + ?Sized,
    {
        let Some((plan, mut contig)) = alloc.work.take() else { return Err(CmaError::NoArea) };
        match pages.contig_step(&mut contig, mover) {
            Ok(Step::More) => {
                alloc.work = Some((plan, contig));
                Ok(CmaProgress::More(alloc))
            }
            Ok(Step::Done) => {
                alloc.moved += contig.moved;
                pages.buddy.contig_take(&contig, PageState::CmaTaken);
                let first = pages.buddy.map.pfn(contig.start);
                Ok(CmaProgress::Done(self.taken(pages, &alloc, first)))
            }
            Err(error) => self.elsewhere(pages, alloc, plan, contig, error),
        }
    }

    /// A block did not move: gives the stretch up and looks for another.
    fn elsewhere<L: LinearMap>(
        &mut self,
        pages: &mut PageAllocator<'_, L>,
        mut alloc: CmaAlloc,
        plan: Plan,
        contig: Contig,
        error: ContigError,
    ) -> Result<CmaProgress, CmaError> {
        alloc.moved += contig.moved;
        pages.contig_abort(contig);
        self.mark(alloc.id, plan, &alloc.wanted, false);
        let (pfn, reason) = located(error);
        if matches!(error, ContigError::Migration { why: MigrateError::NoMemory, .. }) {
            let error = CmaError::NoRoomElsewhere { pfn, moves: plan.moves };
            return Err(self.fail(pages, &alloc, error));
        }
        alloc.last = Some(reason);
        let known = pages.buddy.map.index(pfn).is_some_and(|index| alloc.stuck.add(index));
        if known { self.place(pages, alloc) } else { Err(self.fail(pages, &alloc, reason)) }
    }

    /// Gives up a request that is under way.
    pub fn abort<L: LinearMap>(&mut self, pages: &mut PageAllocator<'_, L>, mut alloc: CmaAlloc) {
        if let Some((plan, contig)) = alloc.work.take() {
            pages.contig_abort(contig);
            self.mark(alloc.id, plan, &alloc.wanted, false);
        }
    }

    /// All steps at once.
    ///
    /// # Errors
    /// [`CmaError`].
    pub fn alloc<'p, L: LinearMap, M>(
        &mut self,
        pages: &mut PageAllocator<'p, L>,
        id: CmaId,
        request: (u32, u8),
        gfp: Gfp,
        owner: &'static str,
        mover: &mut M,
    ) -> Result<CmaPages, CmaError>
    where
        M: Mover<PageAllocator<'p, L>> + ?Sized,
    {
        let mut progress = self.begin(pages, id, request, gfp, owner)?;
        loop {
            match progress {
                CmaProgress::Done(taken) => return Ok(taken),
                CmaProgress::More(alloc) => progress = self.step(pages, alloc, mover)?,
            }
        }
    }

    fn mark(&mut self, id: CmaId, plan: Plan, wanted: &Wanted, set: bool) {
        if let Ok(area) = self.active_mut(id)
            && let Some(bitmap) = &mut area.bitmap
        {
            bitmap.assign(plan.bit, wanted.bits, set);
        }
    }

    /// Writes down whose the pages are.
    fn taken<L: LinearMap>(
        &mut self,
        pages: &mut PageAllocator<'_, L>,
        alloc: &CmaAlloc,
        first: Pfn,
    ) -> CmaPages {
        let count = alloc.wanted.count;
        pages.buddy.set_cma_owner(first, count, alloc.owner);
        if let Some((start, end)) = pages.buddy.stretch_of(first, count) {
            pages.prepare_range(start, end);
        }
        pages.buddy.stat.cma_alloc_success += 1;
        log::debug!("cma: cma_alloc(): returned {:08x}", (pages.hooks.page_pointer)(first));
        CmaPages::new(alloc.id, first, count)
    }

    fn fail<L: LinearMap>(
        &mut self,
        pages: &mut PageAllocator<'_, L>,
        alloc: &CmaAlloc,
        error: CmaError,
    ) -> CmaError {
        pages.buddy.stat.cma_alloc_fail += 1;
        if let (Some(area), false) = (self.area(alloc.id), alloc.quiet) {
            let (name, count, errno) = (area.name(), alloc.wanted.count, error.errno());
            log::error!("cma: cma_alloc: {name}: alloc failed, req-size: {count} pages, ret: {errno}");
            log::error!("cma: cma_alloc: {name}: {error}");
            log::info!("cma: number of available pages: {}", AvailablePages(area));
        }
        log::debug!("cma: cma_alloc(): returned   (null)");
        error
    }
}

/// The page that an error is about, and the error in this module's terms.
fn located(error: ContigError) -> (Pfn, CmaError) {
    match error {
        ContigError::Blocked { pfn, owner } => (pfn, CmaError::Blocked { pfn, owner }),
        ContigError::Migration { pfn, owner, why } => (pfn, CmaError::Migration { pfn, owner, why }),
        ContigError::BadRange { pfn, .. } | ContigError::Isolated { pfn } => {
            (pfn, CmaError::TooManyIsolations)
        }
    }
}
