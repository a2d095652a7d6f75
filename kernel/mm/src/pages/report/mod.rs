//! What Linux prints about pages, to the letter: `/proc/buddyinfo`, `/proc/pagetypeinfo`, `/proc/zoneinfo`,
//! `/proc/vmstat`, and the `Mem-Info:` of a failure.
//!
//! The files' code is `inline` to be built where it is used, by a kernel that is built for size; `mm` is built for speed.

mod anon;
mod info;
mod show_mem;
mod vmstat;

pub use anon::AnonCounts;
pub use info::{BuddyInfo, PageTypeInfo, ZoneInfo};
pub use show_mem::FreeArea;
pub use vmstat::VmStatText;
