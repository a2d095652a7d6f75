//! Emptying a range of pages: isolation, moving what is in it, and taking it (Linux's `alloc_contig_range`).
//!
//! ```text
//!   contig_begin      contig_step ... contig_step        contig_finish
//!  ┌────────────┐    ┌───────────────────────────┐      ┌──────────────┐
//!  │FF aa P b FF│ →  │ii a→elsewhere, freed: i  ...│ →  │ the caller's │
//!  └────────────┘    └───────────────────────────┘      └──────────────┘
//!                        ↓ any failure: contig_abort: ii go back to the free lists
//! ```
//!
//! Linux isolates whole pageblocks and moves their free pages to a list of their own. Here the free blocks *of the
//! range* are taken out of the lists ([`PageState::IsolatedFree`]); whatever lies beside the range stays usable.
//! Per-CPU lists are searched, not drained, and only when a block of the range waits in one. A block that is
//! freed within the range while it is isolated joins it: nobody else can get it in between. Hence each page is
//! looked at once, and the cost depends on the blocks in the range and on nothing else. A block whose owner says
//! that it is busy is left for a second pass, after everything else has moved; there is no third.
//!
//! Between two steps the caller may drop its lock; several ranges can be under way at once, but not overlap.

use super::{
    buddy::{Buddy, chunks},
    list::Index,
    map::ISOLATED,
    zone::Place,
};
use crate::{MigrateError, MigrateType, PageState};
use core::fmt;
use types::{PAGEBLOCK_PAGES, Pfn};

/// Range isolations that can be under way at once.
pub const MAX_ISOLATIONS: usize = 4;
/// Free blocks that one step skips at most, so that steps stay short.
const SKIPS: u32 = 64;

/// Why a range could not be emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContigError {
    /// The range is empty, or not one stretch of one zone's memory.
    BadRange {
        /// Its first page.
        pfn: Pfn,
        /// Its pages.
        count: u32,
    },
    /// A page in it can't be moved at all.
    Blocked {
        /// The first page of the block.
        pfn: Pfn,
        /// Whose it is.
        owner: PageState,
    },
    /// Moving a page failed.
    Migration {
        /// The first page of the block.
        pfn: Pfn,
        /// Whose it is.
        owner: PageState,
        /// What the owner said.
        why: MigrateError,
    },
    /// Another isolation is under way in the range, or [`MAX_ISOLATIONS`] elsewhere.
    Isolated {
        /// The first page of the range.
        pfn: Pfn,
    },
}

impl fmt::Display for ContigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange { pfn, count } => {
                write!(f, "{count} pages from pfn {pfn} are not one stretch of memory")
            }
            Self::Blocked { pfn, owner } => write!(f, "pfn {pfn} can't be moved, it belongs to {owner}"),
            Self::Migration { pfn, owner, why } => write!(f, "pfn {pfn} of {owner} did not move: {why}"),
            Self::Isolated { pfn } => write!(f, "the range at pfn {pfn} is being isolated already"),
        }
    }
}

/// The ranges under isolation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Isolations {
    ranges: [(Index, Index); MAX_ISOLATIONS],
    count: usize,
}

impl Isolations {
    fn active(&self) -> &[(Index, Index)] {
        &self.ranges[..self.count]
    }

    /// Whether there are any.
    pub(crate) const fn any(&self) -> bool {
        self.count > 0
    }

    pub(crate) fn overlaps(&self, index: Index, order: u8) -> bool {
        self.hits(index, index + (1 << order))
    }

    fn hits(&self, start: Index, end: Index) -> bool {
        self.active().iter().any(|&(from, to)| start < to && from < end)
    }

    fn add(&mut self, start: Index, end: Index) -> bool {
        let free = self.count < MAX_ISOLATIONS && !self.hits(start, end);
        if free {
            self.ranges[self.count] = (start, end);
            self.count += 1;
        }
        free
    }

    fn remove(&mut self, start: Index) {
        if let Some(at) = self.active().iter().position(|range| range.0 == start) {
            self.count -= 1;
            self.ranges.swap(at, self.count);
        }
    }

    /// Whether `at` is in a range, and where before `end` that changes.
    fn stretch(&self, at: Index, end: Index) -> (bool, Index) {
        if let Some(&(_, to)) = self.active().iter().find(|&&(from, to)| from <= at && at < to) {
            return (true, to.min(end));
        }
        let next = self.active().iter().map(|range| range.0).filter(|&from| from > at).min();
        (false, next.unwrap_or(end).min(end))
    }
}

/// A range that is being emptied. Ends with `contig_finish` or `contig_abort`.
#[derive(Debug)]
#[must_use = "the range stays isolated until it is finished or aborted"]
pub struct Contig {
    pub(crate) start: Index,
    pub(crate) end: Index,
    pub(crate) at: Index,
    /// Pages moved so far.
    pub(crate) moved: u32,
    /// A block was busy and has been left for a second pass.
    pub(crate) left: bool,
    /// This is the second pass.
    pub(crate) again: bool,
}

impl Contig {
    /// Pages moved so far.
    #[must_use]
    pub const fn moved(&self) -> u32 {
        self.moved
    }
}

/// What a step met.
pub(crate) enum Next {
    /// All of the range is isolated and free.
    Done,
    /// Free blocks, many.
    Skipped,
    /// A block to be moved.
    Move(Index),
}

/// What stands in a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Pages that would have to move.
    pub(crate) moves: u32,
    /// The last block in it that can't move.
    pub(crate) blocked: Option<Index>,
}

impl Buddy<'_> {
    /// What stands in `[start, end)`.
    pub(crate) fn survey(&self, start: Index, end: Index) -> Survey {
        let mut survey = Survey::default();
        let mut at = self.map.head_of(start);
        while at < end {
            let page = self.map.page(at);
            let next = self.map.after(at);
            match page.state() {
                PageState::Free | PageState::PerCpu => {}
                _ if page.can_move() => survey.moves += next - at,
                _ => survey.blocked = Some(at),
            }
            at = next;
        }
        survey
    }

    /// The index range of `count` pages at `pfn`, if they are one stretch of one zone.
    pub(crate) fn stretch_of(&self, pfn: Pfn, count: u32) -> Option<(Index, Index)> {
        let start = self.map.index(pfn)?;
        let last = self.map.index(Pfn::new(pfn.get().checked_add(count.checked_sub(1)?)?))?;
        let whole = last.checked_sub(start)? == count - 1 && self.zone_of(start) == self.zone_of(last);
        whole.then_some((start, last + 1))
    }

    /// Starts to empty `[start, end)`, in which there is nothing that can't move: from here on no page of it can be allocated.
    pub(crate) fn isolate(&mut self, start: Index, end: Index) -> Result<Contig, ContigError> {
        debug_assert!(self.survey(start, end).blocked.is_none());
        if !self.isolations.add(start, end) {
            return Err(ContigError::Isolated { pfn: self.map.pfn(start) });
        }
        trace::lazy::start_isolate_page_range(|| self.pfns(start, end));
        self.mark_blocks(start, end);
        self.capture(start, end);
        Ok(Contig { start, end, at: self.map.head_of(start), moved: 0, left: false, again: false })
    }

    /// Sets each touched pageblock's isolation bit to whether an isolation is under way there.
    fn mark_blocks(&mut self, start: Index, end: Index) {
        let first = types::align_down(start, PAGEBLOCK_PAGES);
        for block in (first..end).step_by(PAGEBLOCK_PAGES as usize) {
            let bit = if self.isolations.hits(block, block + PAGEBLOCK_PAGES) { ISOLATED } else { 0 };
            self.map.set_block_bits(block, self.map.block_bits(block) & !ISOLATED | bit);
        }
    }

    /// Takes the free blocks of `[start, end)` out of their lists; what of them lies outside stays free.
    pub(crate) fn capture(&mut self, start: Index, end: Index) {
        let zone = self.zone_of(start);
        let mut picked = false;
        let mut at = self.map.head_of(start);
        while at < end {
            let next = self.map.after(at);
            let order = self.map.page(at).order();
            match self.map.page(at).state() {
                PageState::Free => {
                    self.zones[zone].unlink(self.map.pages, at);
                    let kind = self.map.block_type(at);
                    self.zones[zone].count_out(kind, 1 << order);
                    self.keep_part(zone, at, next, start, end);
                }
                PageState::PerCpu => {
                    if !picked {
                        self.pcp_pick(zone, start, end);
                        picked = true;
                    }
                    self.keep_part(zone, at, next, start, end);
                }
                _ => {}
            }
            at = next;
        }
    }

    /// Of a free block `[at, next)` that is in no list, keeps what lies in `[start, end)` and gives back the rest.
    fn keep_part(&mut self, zone: usize, at: Index, next: Index, start: Index, end: Index) {
        let (from, to) = (at.max(start), next.min(end));
        if (from, to) == (at, next) {
            self.map.page_mut(at).set_state(PageState::IsolatedFree);
        } else {
            let kind = self.map.block_type(at);
            self.map.page_mut(at).set_state(PageState::Tail);
            self.give_rest(zone, at, from, kind);
            self.give_rest(zone, to, next, kind);
            for (index, order) in chunks(from, to) {
                self.map.page_mut(index).set_listed(PageState::IsolatedFree, order, 0, 0);
            }
        }
        self.zones[zone].isolated += to - from;
    }

    /// Takes the blocks of `[start, end)`, all of which are free, out of their lists; what of them lies outside stays free.
    /// The records of the range say [`PageState::Tail`] then.
    pub(crate) fn take_free(&mut self, start: Index, end: Index) {
        let zone = self.zone_of(start);
        let mut at = self.map.covering(start);
        while at < end {
            let next = self.map.after(at);
            let kind = self.map.block_type(at);
            if self.map.page(at).state() == PageState::Free {
                self.zones[zone].unlink(self.map.pages, at);
                self.zones[zone].count_out(kind, next - at);
            } else if !self.pcp_withdraw(zone, at) {
                self.pcp_pick(zone, at, next);
            }
            self.map.page_mut(at).set_state(PageState::Tail);
            if at < start {
                self.give_rest(zone, at, start, kind);
            }
            if end < next {
                self.give_rest(zone, end, next, kind);
            }
            at = next;
        }
    }

    /// Puts `[start, end)`, part of a block that was free, into the lists; its neighbours are not free.
    fn give_rest(&mut self, zone: usize, start: Index, end: Index, kind: MigrateType) {
        let (pages, there) = (&mut *self.map.pages, &mut self.zones[zone]);
        let mut at = start;
        while at < end {
            let order = at.trailing_zeros().min((end - at).ilog2()) as u8;
            there.link(pages, at, order, kind, false);
            at += 1 << order;
        }
        there.count_in(kind, end - start);
    }

    /// Frees a single page that could be moved if it lies in a range under isolation, where it stays; `false`, and nothing has
    /// changed, otherwise.
    #[inline]
    pub(crate) fn free_emptied(&mut self, pfn: Pfn) -> bool {
        let Some(index) = self.map.index(pfn) else { return false };
        let page = self.map.page(index);
        let state = page.state();
        let movable = page.is_allocated(0) && page.can_move();
        if !movable || self.map.block_bits(index) & ISOLATED == 0 || !self.isolations.overlaps(index, 0) {
            return false;
        }
        trace::mm_page_free(pfn.get(), 0);
        self.count_disowned(state, 1);
        self.give_isolated(index, 0);
        true
    }

    /// Takes in a block that is freed in or across a range under isolation. A single page is in it.
    #[inline]
    pub(crate) fn give_isolated(&mut self, index: Index, order: u8) {
        let zone = self.zone_of(index);
        if order == 0 {
            self.map.page_mut(index).set_listed(PageState::IsolatedFree, 0, 0, 0);
            self.zones[zone].isolated += 1;
        } else {
            self.give_across(zone, index, order);
        }
    }

    #[cold]
    fn give_across(&mut self, zone: usize, index: Index, order: u8) {
        let end = index + (1 << order);
        let mut at = index;
        while at < end {
            let (inside, stop) = self.isolations.stretch(at, end);
            for (part, order) in chunks(at, stop) {
                if inside {
                    self.map.page_mut(part).set_listed(PageState::IsolatedFree, order, 0, 0);
                    self.zones[zone].isolated += 1 << order;
                } else {
                    self.give_unisolated(part, order, Place::Likely);
                }
            }
            at = stop;
        }
    }

    /// The next block to move, after at most [`SKIPS`] free ones.
    #[inline]
    pub(crate) fn contig_next(&self, contig: &mut Contig) -> Next {
        for _ in 0..SKIPS {
            if contig.at >= contig.end {
                if !contig.left {
                    return Next::Done;
                }
                (contig.left, contig.again, contig.at) = (false, true, self.map.head_of(contig.start));
            }
            if self.map.page(contig.at).state() != PageState::IsolatedFree {
                return Next::Move(contig.at);
            }
            contig.at = self.map.after(contig.at);
        }
        Next::Skipped
    }

    /// The range is free and isolated: makes its blocks the largest that fit, in state `state`.
    pub(crate) fn contig_take(&mut self, contig: &Contig, state: PageState) {
        self.trace_isolated(contig, contig.end);
        self.end_isolation(contig);
        self.seal(contig.start, contig.end, state);
    }

    /// Makes `[start, end)`, which is captured, blocks in state `state`, as large as fit.
    pub(crate) fn seal(&mut self, start: Index, end: Index, state: PageState) {
        let zone = self.zone_of(start);
        let mut at = start;
        while at < end {
            let next = self.map.after(at);
            self.map.page_mut(at).set_state(PageState::Tail);
            at = next;
        }
        for (index, order) in chunks(start, end) {
            self.map.page_mut(index).reset(state, order);
        }
        self.zones[zone].isolated -= end - start;
        self.count_owned(state, end - start);
    }

    /// Gives up: what was isolated is free again.
    pub(crate) fn contig_restore(&mut self, contig: &Contig) {
        self.end_isolation(contig);
        let zone = self.zone_of(contig.start);
        let mut at = self.map.head_of(contig.start);
        while at < contig.end {
            // A merge may move the head down, never past the block's end.
            let next = self.map.after(at);
            let (state, order) = (self.map.page(at).state(), self.map.page(at).order());
            if state == PageState::IsolatedFree {
                self.zones[zone].isolated -= 1 << order;
                self.give_unisolated(at, order, Place::Tail);
            }
            at = next;
        }
    }

    /// Linux's `test_pages_isolated`: up to `fin` the range is free.
    pub(crate) fn trace_isolated(&self, contig: &Contig, fin: Index) {
        trace::lazy::test_pages_isolated(|| {
            let (start, end) = self.pfns(contig.start, contig.end);
            (start, end, start + (fin - contig.start))
        });
    }

    /// A stretch by its page numbers.
    fn pfns(&self, start: Index, end: Index) -> (u32, u32) {
        let first = self.map.pfn(start).get();
        (first, first + (end - start))
    }

    fn end_isolation(&mut self, contig: &Contig) {
        trace::lazy::undo_isolate_page_range(|| self.pfns(contig.start, contig.end));
        self.isolations.remove(contig.start);
        self.mark_blocks(contig.start, contig.end);
    }
}
