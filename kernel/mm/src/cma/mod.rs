//! The contiguous memory allocator: areas of ordinary memory that everything movable may use until a driver wants a
//! stretch of it.
//!
//! ```text
//!            area: whole pageblocks of type CMA
//! pages      |T T T T|m m . . m m m . . . . . m|. . . . . . . .|     T taken by a driver, m movable, . free
//! bitmap     | 1   1 | 0   0   0   0   0   0   | 0   0   0   0 |     one bit for 2^order_per_bit pages
//! ```
//!
//! # The promise
//! Only movable pages are ever in an area (invariant 3), so a request fails only when no stretch is free in the
//! bitmap, when there is no room elsewhere for the pages to be moved, or when somebody has pinned a page for the
//! time of one operation in every stretch that would do. The error says which page, and whose it is.
//!
//! # The placement
//! The first fit that is free, as Linux's; if none is near, the one with the fewest pages to move ([`plan`]). A page
//! that does not move excludes the stretches that hold it, and the search goes on over the whole area, where
//! Linux goes on one alignment step further and never comes back. There is no waiting and no retrying of the
//! same stretch.
//!
//! # The owners
//! [`CmaPages`] is the ownership (invariant 2), and the records of the pages say the same: who, and how many pages
//! from where. A release that is given as numbers is checked against them; Linux's bitmap can't tell 6 pages from 5.
//!
//! The rules are those of Linux 6.1 (`mm/cma.c`), the log lines those of 4.9, as the SSD202 prints them.

mod alloc;
mod area;
mod bitmap;
mod error;
mod idle;
mod plan;
mod release;
mod report;

#[cfg(test)]
mod tests;

pub use alloc::{CmaAlloc, CmaProgress};
pub use area::{Cma, CmaArea, CmaId, MAX_AREAS, NAME_LEN};
pub use error::CmaError;
pub use release::CmaPages;
pub use report::{AvailablePages, BitmapWords};
