//! `cma_alloc`, as a step machine: between two steps the caller may drop its lock.
//!
//! The bits are set when a placement has been chosen, so two requests never work on the same stretch; they are
//! cleared again when it is given up.

use super::{
    area::{Cma, CmaId},
    error::CmaError,
    plan::{Plan, Search, Stuck, Wanted},
    release::CmaPages,
    report::AvailablePages,
};
use crate::pages::{Contig, ContigError, PageAllocator, Step};
use crate::{Gfp, MigrateError, Mover, PageState};
use types::Pfn;

/// Largest alignment: the whole address space.
pub(super) const MAX_ALIGN: u8 = 20;

/// What stays the same during a request.
#[derive(Clone, Copy, Debug)]
struct Request {
    id: CmaId,
    wanted: Wanted,
    align: u8,
    owner: u32,
    quiet: bool,
}

/// A request under way.
#[derive(Debug)]
#[must_use = "step it until it is done, or abort it"]
pub struct CmaAlloc {
    request: Request,
    stuck: Stuck,
    /// What the last page that did not move was.
    last: Option<CmaError>,
    work: Option<(Plan, Contig)>,
    moved: u32,
}

/// What became of a request without moving anything.
enum Start {
    Taken(CmaPages),
    Busy(Request, Search),
}

impl CmaAlloc {
    const fn new(request: Request) -> Self {
        Self { request, stuck: Stuck::NONE, last: None, work: None, moved: 0 }
    }

    /// Pages moved so far.
    #[must_use]
    pub fn moved(&self) -> u32 {
        self.moved + self.work.as_ref().map_or(0, |(_, contig)| contig.moved)
    }

    /// Stretches that were tried: 1, and one more for each that held a page which did not move after all.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        1 + self.stuck.count()
    }
}

/// How far a request has come.
#[derive(Debug)]
#[must_use]
pub enum CmaProgress {
    /// There are pages to be moved: step it.
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
    pub fn begin(
        &mut self,
        pages: &mut PageAllocator<'_>,
        id: CmaId,
        wanted: (u32, u8),
        gfp: Gfp,
        owner: &'static str,
    ) -> Result<CmaProgress, CmaError> {
        let (mut alloc, search) = match self.start(pages, id, wanted, gfp, owner)? {
            Start::Taken(taken) => return Ok(CmaProgress::Done(taken)),
            Start::Busy(request, search) => (CmaAlloc::new(request), search),
        };
        match self.place(pages, &mut alloc, search)? {
            Some(taken) => Ok(CmaProgress::Done(taken)),
            None => Ok(CmaProgress::More(alloc)),
        }
    }

    /// Checks the request, and takes a stretch if there is an idle one.
    fn start(
        &mut self,
        pages: &mut PageAllocator<'_>,
        id: CmaId,
        (count, align): (u32, u8),
        gfp: Gfp,
        owner: &'static str,
    ) -> Result<Start, CmaError> {
        let owner = self.owner_number(owner);
        let area = self.active_mut(id)?;
        trace::cma_alloc_start(area.name_bytes(), count, align);
        log::info!("cma: cma_alloc(cma {:08x}, count {count}, align {align})", area.pointer);
        if count == 0 || align > MAX_ALIGN {
            return Err(CmaError::BadRequest { count, align });
        }
        let request = Request {
            id,
            wanted: area.wanted(count, align),
            align,
            owner,
            quiet: gfp.contains(Gfp::__NOWARN),
        };
        match area.plan(&pages.buddy, &request.wanted, &Stuck::NONE) {
            Ok(plan) if plan.moves == 0 => Ok(Start::Taken(self.take_idle(pages, &request, plan))),
            search => Ok(Start::Busy(request, search)),
        }
    }

    /// Takes a stretch in which nothing has to be moved.
    fn take_idle(&mut self, pages: &mut PageAllocator<'_>, request: &Request, plan: Plan) -> CmaPages {
        self.mark(request, plan, true);
        let (start, end) = (plan.start, plan.start + request.wanted.count);
        pages.buddy.capture(start, end);
        pages.buddy.seal(start, end, PageState::CmaTaken);
        self.taken(pages, request, start)
    }

    /// Begins to empty the placement that the search found; a free one is taken.
    fn place(
        &mut self,
        pages: &mut PageAllocator<'_>,
        alloc: &mut CmaAlloc,
        search: Search,
    ) -> Result<Option<CmaPages>, CmaError> {
        let request = alloc.request;
        let plan = match search {
            Ok(plan) => plan,
            Err(blocked) => {
                let (count, longest) = (request.wanted.count, self.active_mut(request.id)?.maxchunk());
                let error = alloc.last.unwrap_or_else(|| match blocked {
                    Some(at) => {
                        let (pfn, owner) = (pages.buddy.map.pfn(at), pages.buddy.map.page(at).state());
                        CmaError::Blocked { pfn, owner }
                    }
                    None => CmaError::NoSpace { count, longest },
                });
                return Err(self.fail(pages, &request, error));
            }
        };
        if plan.moves == 0 {
            return Ok(Some(self.take_idle(pages, &request, plan)));
        }
        match pages.buddy.isolate(plan.start, plan.start + request.wanted.count) {
            Ok(contig) => {
                self.mark(&request, plan, true);
                alloc.work = Some((plan, contig));
                Ok(None)
            }
            Err(_) => Err(self.fail(pages, &request, CmaError::TooManyIsolations)),
        }
    }

    /// Moves one block, or takes the emptied stretch. `None`: there is more to do.
    ///
    /// # Errors
    /// [`CmaError`]: the request has ended; everything is as before it then, but for the pages that have moved.
    pub fn step<'p, M>(
        &mut self,
        pages: &mut PageAllocator<'p>,
        alloc: &mut CmaAlloc,
        mover: &mut M,
    ) -> Result<Option<CmaPages>, CmaError>
    where
        M: Mover<PageAllocator<'p>> + ?Sized,
    {
        let Some((_, contig)) = &mut alloc.work else { return Err(CmaError::NoArea) };
        match pages.contig_step(contig, mover) {
            Ok(Step::More) => Ok(None),
            Ok(Step::Done) => {
                pages.buddy.contig_take(contig, PageState::CmaTaken);
                let (start, moved) = (contig.start, contig.moved);
                (alloc.work, alloc.moved) = (None, alloc.moved + moved);
                Ok(Some(self.taken(pages, &alloc.request, start)))
            }
            Err(error) => self.elsewhere(pages, alloc, error),
        }
    }

    /// A block did not move: gives the stretch up and looks for another.
    #[cold]
    fn elsewhere(
        &mut self,
        pages: &mut PageAllocator<'_>,
        alloc: &mut CmaAlloc,
        error: ContigError,
    ) -> Result<Option<CmaPages>, CmaError> {
        let moves = alloc.work.as_ref().map_or(0, |(plan, _)| plan.moves);
        trace::lazy::cma_alloc_busy_retry(|| {
            let Request { id, wanted, align, .. } = alloc.request;
            let start = alloc.work.as_ref().map_or(0, |(_, contig)| contig.start);
            (self.name_bytes(id), pages.buddy.map.pfn(start).get(), wanted.count, align)
        });
        self.give_up(pages, alloc);
        let (pfn, reason) = located(error);
        if matches!(error, ContigError::Migration { why: MigrateError::NoMemory, .. }) {
            return Err(self.fail(pages, &alloc.request, CmaError::NoRoomElsewhere { pfn, moves }));
        }
        alloc.last = Some(reason);
        let noted = pages.buddy.map.index(pfn).is_some_and(|index| alloc.stuck.add(index));
        if !noted {
            return Err(self.fail(pages, &alloc.request, reason));
        }
        let area = self.active_mut(alloc.request.id)?;
        let search = area.plan(&pages.buddy, &alloc.request.wanted, &alloc.stuck);
        self.place(pages, alloc, search)
    }

    fn give_up(&mut self, pages: &mut PageAllocator<'_>, alloc: &mut CmaAlloc) {
        if let Some((plan, contig)) = alloc.work.take() {
            alloc.moved += contig.moved;
            pages.contig_abort(contig);
            self.mark(&alloc.request, plan, false);
        }
    }

    /// Gives up a request that is under way.
    pub fn abort(&mut self, pages: &mut PageAllocator<'_>, mut alloc: CmaAlloc) {
        self.give_up(pages, &mut alloc);
    }

    /// All steps at once.
    ///
    /// # Errors
    /// [`CmaError`].
    pub fn alloc<'p, M>(
        &mut self,
        pages: &mut PageAllocator<'p>,
        id: CmaId,
        request: (u32, u8),
        gfp: Gfp,
        owner: &'static str,
        mover: &mut M,
    ) -> Result<CmaPages, CmaError>
    where
        M: Mover<PageAllocator<'p>> + ?Sized,
    {
        let (mut alloc, search) = match self.start(pages, id, request, gfp, owner)? {
            Start::Taken(taken) => return Ok(taken),
            Start::Busy(request, search) => (CmaAlloc::new(request), search),
        };
        if let Some(taken) = self.place(pages, &mut alloc, search)? {
            return Ok(taken);
        }
        loop {
            if let Some(taken) = self.step(pages, &mut alloc, mover)? {
                return Ok(taken);
            }
        }
    }

    fn mark(&mut self, request: &Request, plan: Plan, set: bool) {
        if let Ok(area) = self.active_mut(request.id)
            && let Some(bitmap) = &mut area.bitmap
        {
            bitmap.assign(plan.bit, request.wanted.bits, set);
        }
    }

    /// Writes down whose the pages are.
    fn taken(&mut self, pages: &mut PageAllocator<'_>, request: &Request, start: u32) -> CmaPages {
        let count = request.wanted.count;
        pages.buddy.set_cma_owner(start, count, request.owner);
        pages.prepare_range(start, start + count);
        pages.buddy.stat.cma_alloc_success += 1;
        let first = pages.buddy.map.pfn(start);
        self.trace_finish(request, first.get());
        log::info!("cma: cma_alloc(): returned {:08x}", (pages.hooks.page_pointer)(first));
        CmaPages::new(request.id, first, count)
    }

    fn trace_finish(&self, request: &Request, pfn: u32) {
        trace::lazy::cma_alloc_finish(|| {
            (self.name_bytes(request.id), pfn, request.wanted.count, request.align)
        });
    }

    #[cold]
    fn fail(&mut self, pages: &mut PageAllocator<'_>, request: &Request, error: CmaError) -> CmaError {
        pages.buddy.stat.cma_alloc_fail += 1;
        self.trace_finish(request, trace::NO_PAGE);
        if let (Some(area), false) = (self.area(request.id), request.quiet) {
            let (name, count, errno) = (area.name(), request.wanted.count, error.errno());
            log::error!("cma: cma_alloc: {name}: alloc failed, req-size: {count} pages, ret: {errno}");
            log::error!("cma: cma_alloc: {name}: {error}");
            log::info!("cma: number of available pages: {}", AvailablePages(area));
        }
        log::info!("cma: cma_alloc(): returned   (null)");
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
