//! What a soak test knows of the memory manager without asking it: the pages that can't move, and how often what happened.
//!
//! ```text
//! before a request   . M M . M M . T     M somebody's and movable, T taken
//! after it           . T T T T M . T     three have moved: so much more must `pgmigrate_success` say
//! ```

use super::{Wrong, with, words};
use alloc::vec::Vec;
use mm::PageSource;
use mm::cma::CmaId;
use mm::pages::VmStat;
use mm::soak::{Promise, Verdict};
use types::Pfn;

/// A CMA area.
pub struct Area {
    pub id: CmaId,
    /// Pages.
    pub count: u32,
    base: Pfn,
    promise: Promise<'static>,
    /// Pages taken when the test began.
    used: u32,
    /// A bit for each page: it was somebody's, and movable, at the last look.
    movable: Vec<u32>,
}

impl Area {
    fn new((id, base, count, used): (CmaId, Pfn, u32, u32)) -> Result<Self, Wrong> {
        let words_of = || words(count.div_ceil(32) as usize);
        let mut promise = Promise::new(base.get(), count, words_of()?.leak());
        for page in 0..count {
            let pfn = base.add(page);
            if with(|mm| mm.cma.owner_of(mm.pages, pfn).is_some())? {
                let _ = promise.set(pfn.get(), 1, true);
            }
        }
        Ok(Self { id, count, base, promise, used, movable: words_of()? })
    }

    /// Looks at every page; how many were movable before and are not now.
    fn look(&mut self) -> Result<u32, Wrong> {
        let Self { count, base, movable, .. } = self;
        with(|mm| {
            let mut left = 0;
            for (word, bits) in movable.iter_mut().enumerate() {
                let first = word as u32 * 32;
                let is_movable = |bit: u32| {
                    let page = mm.pages.page(base.add(first + bit));
                    u32::from(page.is_some_and(|page| page.state().is_movable())) << bit
                };
                let now = (0..32.min(*count - first)).map(is_movable).sum::<u32>();
                left += (*bits & !now).count_ones();
                *bits = now;
            }
            left
        })
    }
}

/// What happens to be counted in `/proc/vmstat` as well.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub cma_alloc_success: u32,
    pub cma_alloc_fail: u32,
    pub pgmigrate_success: u32,
    pub pgmigrate_fail: u32,
    pub nr_foll_pin_acquired: u32,
    pub nr_foll_pin_released: u32,
}

impl Counts {
    const fn of(stat: &VmStat) -> Self {
        let VmStat { cma_alloc_success, cma_alloc_fail, pgmigrate_success, pgmigrate_fail, .. } = *stat;
        let VmStat { nr_foll_pin_acquired, nr_foll_pin_released, .. } = *stat;
        Self {
            cma_alloc_success,
            cma_alloc_fail,
            pgmigrate_success,
            pgmigrate_fail,
            nr_foll_pin_acquired,
            nr_foll_pin_released,
        }
    }

    const fn named(self) -> [(&'static str, u32); 6] {
        [
            ("cma_alloc_success", self.cma_alloc_success),
            ("cma_alloc_fail", self.cma_alloc_fail),
            ("pgmigrate_success", self.pgmigrate_success),
            ("pgmigrate_fail", self.pgmigrate_fail),
            ("nr_foll_pin_acquired", self.nr_foll_pin_acquired),
            ("nr_foll_pin_released", self.nr_foll_pin_released),
        ]
    }
}

/// Areas and counts.
pub struct Ledger {
    areas: Vec<Area>,
    start: Counts,
    pub seen: Counts,
    /// Requests that failed for a reason that their callers are not told: it may have been a page that did not move.
    pub unexplained: u32,
    /// Requests for DMA buffers whose pages were taken and given back unseen: no memory, be it by fault injection, for the
    /// tables of their mapping.
    pub unseen: u32,
}

impl Ledger {
    /// Of all areas as they are.
    pub fn new() -> Result<Self, Wrong> {
        let mut found = Vec::with_capacity(8);
        with(|mm| {
            let active = mm.cma.areas().filter(|(_, area)| area.is_active());
            found.extend(active.map(|(id, area)| (id, area.base_pfn(), area.count(), area.used())));
        })?;
        let areas = found.into_iter().map(Area::new).collect::<Result<_, _>>()?;
        let start = with(|mm| Counts::of(mm.pages.stat()))?;
        Ok(Self { areas, start, seen: Counts::default(), unexplained: 0, unseen: 0 })
    }

    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// From now on these pages can't move, or can again; how many of them were like that already. Those outside of areas
    /// don't matter.
    pub fn set(&mut self, pfn: Pfn, count: u32, fixed: bool) -> u32 {
        self.areas.iter_mut().map(|area| area.promise.set(pfn.get(), count, fixed)).sum()
    }

    pub fn area(&self, id: CmaId) -> Option<&Area> {
        self.areas.iter().find(|area| area.id == id)
    }

    /// What has to become of a request, when movable pages could take `room` pages more.
    pub fn verdict(&self, area: CmaId, (count, align): (u32, u8), room: u32) -> Verdict {
        self.area(area).map_or(Verdict::Cannot, |area| area.promise.verdict(count, align, room))
    }

    /// Does something that may move pages out of areas, and counts them: those, too, of a request that fails midway.
    pub fn watch<R>(&mut self, work: impl FnOnce(&mut Counts) -> R) -> Result<R, Wrong> {
        for area in &mut self.areas {
            area.look()?;
        }
        let result = work(&mut self.seen);
        for area in &mut self.areas {
            self.seen.pgmigrate_success += area.look()?;
        }
        Ok(result)
    }

    /// What the memory manager counted is what was seen; `held` is what the test has, in the areas and elsewhere.
    pub fn check(&self, held: impl Iterator<Item = (Pfn, u32)> + Clone) -> Result<(), Wrong> {
        let now = with(|mm| Counts::of(mm.pages.stat()))?;
        let before = self.start.named().into_iter().zip(now.named());
        for ((what, says), ((_, start), (_, now))) in self.seen.named().into_iter().zip(before) {
            let found = now.wrapping_sub(start);
            let more = match what {
                "pgmigrate_fail" => self.unexplained,
                "cma_alloc_success" | "cma_alloc_fail" => self.unseen,
                _ => 0,
            };
            if !(says..=says + more).contains(&found) {
                return Err(Wrong::Count { what, says, found });
            }
        }
        for area in &self.areas {
            let inside = held.clone().filter(|(pfn, _)| pfn.get().wrapping_sub(area.base.get()) < area.count);
            let says = area.used + inside.map(|(_, count)| count).sum::<u32>();
            let found = with(|mm| mm.cma.area(area.id).map_or(0, mm::cma::CmaArea::used))?;
            if says != found {
                return Err(Wrong::Count { what: "pages of the area taken", says, found });
            }
        }
        Ok(())
    }
}
