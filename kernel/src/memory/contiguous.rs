//! Contiguous pages for whoever needs them: what stands in the way is moved, page by page.
//!
//! ```text
//! MM lock      │begin│ │m m m m m│ │m m m m │ ... │m m take│       m: one block is moved
//! interrupts                     ↑ one waits ↑
//! ```
//!
//! The lock is dropped as soon as an interrupt waits, so it waits for the move of one block at most, and moves that nobody
//! disturbs don't pay for the lock.
//!
//! There is one attempt, and nothing sleeps. Who holds the lock anyway takes all steps at once ([`with_movers`]).

use super::{MM, Mm, with};
use ::user::{Movers, Pages, Request, cma_begin, cma_step, compact_step};
use mm::cma::{Cma, CmaError, CmaPages, CmaProgress};
use mm::migrate::{Compaction, MigrateMode, MovableOps};
use mm::pages::{Step, ZoneKind};

/// What a move takes.
pub struct Parts<'m> {
    /// CMA areas.
    pub cma: &'m mut Cma<'static>,
    /// Pages.
    pub pages: &'m mut Pages,
    /// Address spaces.
    pub spaces: Option<&'m mut ::user::Spaces>,
    /// The one driver with movable pages.
    pub buffers: &'m mut super::Buffers,
}

impl Mm {
    /// What a move takes.
    pub fn parts(&mut self) -> Parts<'_> {
        let Self { cma, pages, spaces, buffers, .. } = self;
        Parts { cma, pages, spaces: spaces.as_deref_mut(), buffers }
    }
}

impl Parts<'_> {
    /// Runs `work` with everybody who can move pages.
    pub fn with_movers<R>(
        &mut self,
        work: impl FnOnce(&mut Cma<'static>, &mut Pages, &mut Movers<'_, '_>) -> R,
    ) -> R {
        let Self { cma, pages, spaces, buffers } = self;
        let drivers: &mut [&mut dyn MovableOps<Pages>] = &mut [&mut **buffers];
        work(cma, pages, &mut Movers { spaces: spaces.as_deref_mut(), drivers, mode: MigrateMode::Sync })
    }
}

/// Takes contiguous pages of a CMA area, and moves away what is there (`cma_alloc`). Interrupts run between the moves.
///
/// # Errors
/// [`CmaError`].
pub fn cma_alloc(request: &Request) -> Result<CmaPages, CmaError> {
    let Request { area, count, align, owner, .. } = *request;
    if let Some(mut held) = MM.lock() {
        let mm = &mut *held;
        if let Some(taken) = hot::cma_take(mm.cma, mm.pages, area, (count, align), owner) {
            return Ok(taken);
        }
    }
    cma_alloc_counted(request, &mut Work::default())
}

/// Gives them back (`cma_release`).
pub fn cma_release(taken: CmaPages) {
    with(|mm| hot::cma_release(mm.cma, mm.pages, taken));
}

/// What a request took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Pages moved.
    pub moved: u32,
    /// Stretches tried.
    pub attempts: u32,
}

/// [`cma_alloc`] with a search for the best stretch from the start, and what it took.
///
/// # Errors
/// [`CmaError`].
#[inline(never)]
pub fn cma_alloc_counted(request: &Request, work: &mut Work) -> Result<CmaPages, CmaError> {
    *work = Work { moved: 0, attempts: 1 };
    let begun = with(|mm| cma_begin(mm.cma, mm.pages, request)).ok_or(CmaError::NoArea)??;
    let mut alloc = match begun {
        CmaProgress::Done(taken) => return Ok(taken),
        CmaProgress::More(alloc) => alloc,
    };
    loop {
        let step = |mm: &mut Mm| {
            mm.parts().with_movers(|cma, pages, movers| cma_step(cma, pages, movers, &mut alloc))
        };
        let done = with(step).ok_or(CmaError::NoArea)?;
        *work = Work { moved: alloc.moved(), attempts: alloc.attempts() };
        if let Some(taken) = done? {
            return Ok(taken);
        }
    }
}

/// Makes large free blocks (`/proc/sys/vm/compact_memory`); how many pages it has moved. Interrupts run between the moves.
pub fn compact() -> u32 {
    let mut moved = 0;
    for zone in ZoneKind::ALL {
        let mut compaction = Compaction::new(zone);
        let mut step = || {
            with(|mm| mm.parts().with_movers(|_, pages, movers| compact_step(pages, movers, &mut compaction)))
        };
        while step() == Some(Step::More) {}
        moved += compaction.moved();
    }
    moved
}
