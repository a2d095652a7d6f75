//! What Linux prints about pages, to the letter: `/proc/buddyinfo`, `/proc/pagetypeinfo`, `/proc/zoneinfo`,
//! `/proc/vmstat`, and the `Mem-Info:` of a failure.

mod anon;
mod info;
mod show_mem;
mod vmstat;

pub use anon::AnonCounts;
pub use info::{BuddyInfo, PageTypeInfo, ZoneInfo};
pub use show_mem::FreeArea;
pub use vmstat::VmStatText;
