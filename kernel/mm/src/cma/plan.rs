//! Where to place an allocation.
//!
//! A window of the wanted size slides over the area. Two cursors walk the blocks: one ahead at the window's end, one
//! behind at its start; the difference of what they have counted is what would have to move. So looking at all
//! placements costs one look at each block, not one for each placement.
//!
//! ```text
//!     |m m . . m|. . . m m . .|T T|. . .
//!           behind ↑   window  ↑ ahead
//! ```
//!
//! The first window that is free is taken. From any other, the next one worth a look is the first that leaves a movable
//! block behind: those before it save nothing. The search goes on as long as it is cheap compared with moving: a
//! budget of block visits in proportion to the pages that the first window would move, so that what it costs beyond that
//! window does not depend on the area's size. Then the best window so far is taken.
//!
//! Whether there is room elsewhere does not depend on the window: of `f` free pages above the marks, those outside of a
//! window of `n` pages with `m` to be moved are `f - (n - m)`, and that is enough when `f >= n`. When it may not be enough, a
//! free window is taken instead of the best, however far it is.

use super::area::CmaArea;
use crate::pages::Buddy;
use crate::{Page, PageState};

/// Pages that did not move during this request: at most so many, then it fails.
pub(crate) const MAX_STUCK: usize = 16;
/// Block visits that every search may make beyond the first placement.
const BASE_BUDGET: u32 = 128;
/// For each of so many pages that the first placement would move there is a further visit. A visit costs some twentieth of
/// moving a page, so what grows of the search costs at most a fortieth of what it may save.
const MOVES_PER_VISIT: u32 = 2;

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Pages.
    pub(crate) count: u32,
    /// Bits that hold them.
    pub(crate) bits: u32,
    /// Alignment of the first bit, less one.
    pub(crate) mask: u32,
    /// What the area's base adds to the first bit, as far as alignment goes.
    pub(crate) offset: u32,
}

/// Indices of pages that did not move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stuck {
    pages: [u32; MAX_STUCK],
    count: usize,
}

impl Stuck {
    pub(crate) const NONE: Self = Self { pages: [0; MAX_STUCK], count: 0 };

    /// `false` when there is no room for another.
    pub(crate) fn add(&mut self, index: u32) -> bool {
        let room = self.count < MAX_STUCK;
        if room {
            self.pages[self.count] = index;
            self.count += 1;
        }
        room
    }

    pub(crate) fn count(&self) -> u32 {
        self.count as u32
    }

    #[inline]
    fn contains(&self, index: u32) -> bool {
        self.count > 0 && self.finds(index)
    }

    #[cold]
    fn finds(&self, index: u32) -> bool {
        self.pages[..self.count].contains(&index)
    }
}

/// A placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// The first bit.
    pub(crate) bit: u32,
    /// Index of the first page.
    pub(crate) start: u32,
    /// Pages to be moved.
    pub(crate) moves: u32,
}

/// The outcome of a search: a placement, or the first block that stood in the way of one.
pub(crate) type Search = Result<Plan, Option<u32>>;

/// A cursor that counts the pages of movable blocks that it has passed.
#[derive(Clone, Copy)]
struct Cursor {
    at: u32,
    moves: u32,
}

impl CmaArea<'_> {
    /// What a request for at least one page wants of this area (spec section 5, steps 2 and 3).
    #[inline]
    pub(crate) fn wanted(&self, count: u32, align: u8) -> Wanted {
        let (order, below) = (self.order_per_bit, (1 << align) - 1);
        let bits = (count.wrapping_sub(1) >> order) + 1;
        Wanted { count, bits, mask: below >> order, offset: (self.base.get() & below) >> order }
    }

    /// Finds a placement.
    pub(crate) fn plan(&self, buddy: &Buddy<'_>, wanted: &Wanted, stuck: &Stuck) -> Search {
        let Some((bitmap, base)) = self.bitmap.as_ref().zip(buddy.map.index(self.base)) else {
            return Err(None);
        };
        let (mut visits, mut bit, mut best, mut first_blocked) = (0, (0, 0), None::<Plan>, None);
        let mut budget = None;
        let (mut ahead, mut behind) = (Cursor { at: base, moves: 0 }, Cursor { at: base, moves: 0 });
        let mut clear = base;
        while let Some(place) = bitmap.fit_from(bit, wanted.bits, wanted.mask, wanted.offset) {
            let start = base + (place << self.order_per_bit);
            if start >= ahead.at {
                ahead = Cursor { at: buddy.map.head_of(start), moves: 0 };
                behind = ahead;
            }
            while ahead.at < start + wanted.count {
                let page = buddy.map.page(ahead.at);
                let size = 1 << page.order();
                match obstacle(page, stuck, ahead.at) {
                    Obstacle::None => {}
                    Obstacle::Movable => ahead.moves += size,
                    Obstacle::Fixed => {
                        first_blocked.get_or_insert(ahead.at);
                        clear = ahead.at + size;
                    }
                }
                ahead.at += size;
                visits += 1;
            }
            let next = if clear > start {
                clear
            } else {
                behind.pass_to(buddy, stuck, start);
                let moves = ahead.moves - behind.moves;
                if best.is_none_or(|best| moves < best.moves) {
                    best = Some(Plan { bit: place, start, moves });
                }
                if moves == 0 {
                    break;
                }
                budget.get_or_insert(visits + BASE_BUDGET + moves / MOVES_PER_VISIT);
                behind.pass_movable(buddy, stuck);
                behind.at
            };
            visits += 1;
            if budget.is_some_and(|budget| visits > budget) {
                break;
            }
            bit = ((next - base).div_ceil(1 << self.order_per_bit), place + wanted.bits);
        }
        let best = best.ok_or(first_blocked)?;
        let short = best.moves > 0 && buddy.room() < wanted.count;
        Ok(short.then(|| self.free_window(buddy, wanted)).flatten().unwrap_or(best))
    }

    /// The first placement in which nothing has to be moved, after one look at each block before its end.
    #[cold]
    fn free_window(&self, buddy: &Buddy<'_>, wanted: &Wanted) -> Option<Plan> {
        let (bitmap, base) = self.bitmap.as_ref().zip(buddy.map.index(self.base))?;
        let (mut bit, mut ahead, mut clear) = ((0, 0), base, base);
        loop {
            let place = bitmap.fit_from(bit, wanted.bits, wanted.mask, wanted.offset)?;
            let start = base + (place << self.order_per_bit);
            if start >= ahead {
                ahead = buddy.map.head_of(start);
            }
            while ahead < start + wanted.count {
                let next = buddy.map.after(ahead);
                if !matches!(buddy.map.page(ahead).state(), PageState::Free | PageState::PerCpu) {
                    clear = next;
                }
                ahead = next;
            }
            if clear <= start {
                return Some(Plan { bit: place, start, moves: 0 });
            }
            bit = ((clear - base).div_ceil(1 << self.order_per_bit), place + wanted.bits);
        }
    }
}

impl Cursor {
    /// Passes one block.
    #[inline]
    fn step(&mut self, buddy: &Buddy<'_>, stuck: &Stuck) {
        let page = buddy.map.page(self.at);
        let size = 1 << page.order();
        if matches!(obstacle(page, stuck, self.at), Obstacle::Movable) {
            self.moves += size;
        }
        self.at += size;
    }

    /// Passes all blocks that end at or before `start`.
    #[inline]
    fn pass_to(&mut self, buddy: &Buddy<'_>, stuck: &Stuck, start: u32) {
        while buddy.map.after(self.at) <= start {
            self.step(buddy, stuck);
        }
    }

    /// Passes blocks up to the next movable one and that one, which there has to be.
    #[inline]
    fn pass_movable(&mut self, buddy: &Buddy<'_>, stuck: &Stuck) {
        let before = self.moves;
        while self.moves == before {
            self.step(buddy, stuck);
        }
    }
}

enum Obstacle {
    None,
    Movable,
    Fixed,
}

#[inline]
fn obstacle(page: &Page, stuck: &Stuck, at: u32) -> Obstacle {
    match page.state() {
        PageState::Free | PageState::PerCpu => Obstacle::None,
        _ if page.can_move() && !stuck.contains(at) => Obstacle::Movable,
        _ => Obstacle::Fixed,
    }
}
