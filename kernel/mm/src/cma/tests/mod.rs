//! Tests of CMA: the life cycle with all counters, the placement, the promise, and each refusal.

mod idle;
mod lifecycle;
mod placement;
mod refusals;

use super::{CmaError, CmaPages};
use crate::pages::tests::world::{FakeMover, World};
use crate::{Gfp, PageState};

impl World<'_> {
    /// `cma_alloc` from the first area, all steps at once.
    pub(super) fn cma_alloc(&mut self, count: u32, align: u8) -> Result<CmaPages, CmaError> {
        self.cma_alloc_refusing(count, align, None)
    }

    /// The same, while the page `refuse.0` does not move for the reason `refuse.1`; page 0 stands for all.
    pub(super) fn cma_alloc_refusing(
        &mut self,
        count: u32,
        align: u8,
        refuse: Option<(u32, crate::MigrateError)>,
    ) -> Result<CmaPages, CmaError> {
        let id = self.areas[0];
        let mut mover = FakeMover::new(&mut self.model);
        mover.refuse = refuse;
        let gfp = Gfp::KERNEL | Gfp::__NOWARN;
        let taken = self.cma.alloc(&mut self.pages, id, (count, align), gfp, "tester", &mut mover)?;
        self.model.own(taken.pfn().get(), taken.count(), PageState::CmaTaken, true);
        Ok(taken)
    }

    pub(super) fn cma_release(&mut self, taken: CmaPages) {
        self.model.disown(taken.pfn().get());
        self.cma.release(&mut self.pages, taken);
    }
}
