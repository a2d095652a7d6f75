//! Why a request was refused.

use crate::{FreeError, MigrateError, PageState};
use core::fmt;
use types::Pfn;

/// Why a CMA operation failed. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CmaError {
    /// All [`MAX_AREAS`](super::MAX_AREAS) are in use.
    TooManyAreas,
    /// There is no such area, or it is not active.
    NoArea,
    /// Base or size is not a multiple of 4 MiB, or the size is zero or not one of whole bitmap bits.
    Misaligned {
        /// The first page.
        base: Pfn,
        /// Pages.
        count: u32,
    },
    /// The caller's memory does not hold the bitmap.
    BitmapTooSmall {
        /// Words needed.
        needed: usize,
        /// Words given.
        given: usize,
    },
    /// The area can't be given to the page allocator: it is in two zones, or not all reserved memory.
    NotReserved {
        /// What stands in the way.
        why: FreeError,
    },
    /// A request for no pages, or with an alignment above the address space.
    BadRequest {
        /// Pages.
        count: u32,
        /// Base-2 logarithm of the alignment in pages.
        align: u8,
    },
    /// No stretch of that size is left by other drivers.
    NoSpace {
        /// Pages wanted.
        count: u32,
        /// Pages in the longest free run.
        longest: u32,
    },
    /// A page that can't move now stands in every stretch that would do.
    Blocked {
        /// One such page.
        pfn: Pfn,
        /// Whose it is.
        owner: PageState,
    },
    /// A page did not move.
    Migration {
        /// The page.
        pfn: Pfn,
        /// Whose it is.
        owner: PageState,
        /// What the owner said.
        why: MigrateError,
    },
    /// There is no room elsewhere for the pages that would have to move.
    NoRoomElsewhere {
        /// The page that found no place.
        pfn: Pfn,
        /// Pages to move in the best placement found.
        moves: u32,
    },
    /// Too many range isolations are under way.
    TooManyIsolations,
    /// The released pages were not allocated by `cma_alloc`.
    NotTaken {
        /// The first page.
        pfn: Pfn,
        /// Whose it is.
        owner: PageState,
    },
    /// The released pages are more, less or something else than was given.
    WrongRange {
        /// The first page of the release.
        pfn: Pfn,
        /// Its pages.
        count: u32,
        /// The first page of the allocation.
        given_pfn: Pfn,
        /// Its pages.
        given_count: u32,
        /// Whose it is.
        owner: &'static str,
    },
    /// The released pages are somebody else's.
    Foreign {
        /// The first page.
        pfn: Pfn,
        /// Who wanted to release them.
        by: &'static str,
        /// Whose they are.
        owner: &'static str,
    },
}

impl CmaError {
    /// Linux's number for it.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            Self::TooManyAreas => -28,
            Self::NoSpace { .. } | Self::NoRoomElsewhere { .. } => -12,
            Self::Blocked { .. } | Self::Migration { .. } | Self::TooManyIsolations => -16,
            _ => -22,
        }
    }
}

impl fmt::Display for CmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyAreas => f.write_str("Not enough slots for CMA reserved regions!"),
            Self::NoArea => f.write_str("no such CMA area, or it is not active"),
            Self::Misaligned { base, count } => {
                write!(f, "CMA area of {count} pages at pfn {base}: not aligned to 4 MiB")
            }
            Self::BitmapTooSmall { needed, given } => {
                write!(f, "bitmap: {needed} words needed, room for {given}")
            }
            Self::NotReserved { why } => write!(f, "area can't be activated: {why}"),
            Self::BadRequest { count, align } => write!(f, "request for {count} pages with align {align}"),
            Self::NoSpace { count, longest } => {
                write!(f, "no {count} pages in one stretch, the longest free run has {longest}")
            }
            // What its owner could move is pinned: nothing else keeps it.
            Self::Blocked { pfn, owner } if owner.is_movable() => {
                write!(f, "pfn {pfn} can't be moved, it is pinned and belongs to {owner}")
            }
            Self::Blocked { pfn, owner } => write!(f, "pfn {pfn} can't be moved, it belongs to {owner}"),
            Self::Migration { pfn, owner, why } => write!(f, "pfn {pfn} of {owner} did not move: {why}"),
            Self::NoRoomElsewhere { pfn, moves } => {
                write!(f, "no room elsewhere for pfn {pfn}, {moves} pages would have to move")
            }
            Self::TooManyIsolations => f.write_str("too many range isolations are under way"),
            Self::NotTaken { pfn, owner } => {
                write!(f, "pfn {pfn} is no CMA allocation, it belongs to {owner}")
            }
            Self::WrongRange { pfn, count, given_pfn, given_count, owner } => write!(
                f,
                "release of {count} pages at pfn {pfn}: {owner} was given {given_count} pages at pfn {given_pfn}"
            ),
            Self::Foreign { pfn, by, owner } => {
                write!(f, "release of pfn {pfn} by {by}: it belongs to {owner}")
            }
        }
    }
}
