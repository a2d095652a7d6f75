//! The page allocator: memory map, zones, buddy lists, per-CPU lists, watermarks, and contiguous ranges.
//!
//! ```text
//! PageAllocator  fast path, reclaim, guards, reports of failures        alloc, release, guards, memory,
//!                                                                       contig_alloc
//!   └ Buddy      the states of pages and their counters                 buddy, free, contig
//!       ├ PerCpu   blocks at hand, by CPU                               pcp
//!       ├ Zone     free lists, watermarks, stealing                     zone, watermark, rmqueue
//!       └ MemoryMap  one record a page                                  map, list
//! ```
//!
//! The rules are Linux's (6.1, `mm/page_alloc.c`), and where they are not, the module says so: the use of CMA memory
//! ([`rmqueue`]), isolation ([`contig`]), and the refill of per-CPU lists, which carves up a whole small block
//! instead of taking page by page.

mod alloc;
mod buddy;
mod build;
mod contig;
mod contig_alloc;
mod free;
mod guards;
mod hot;
mod list;
mod map;
mod memory;
mod owner;
mod pcp;
mod release;
mod report;
mod rmqueue;
mod validate;
mod vmstat;
mod watermark;
mod zone;

#[cfg(test)]
pub(crate) mod tests;

pub use alloc::{Hooks, PageAllocator};
pub(crate) use buddy::chunks;
pub use buddy::{Buddy, Setup};
pub use contig::{Contig, ContigError, MAX_ISOLATIONS};
pub use contig_alloc::Step;
pub use free::FreeError;
pub use guards::{Guards, PAGE_POISON};
pub use map::{MAX_BANKS, MapError, MapLayout};
pub use owner::{OwnerRecord, Trace};
pub use pcp::MAX_CPUS;
pub(crate) use pcp::PCP_ORDERS;
pub use release::PageRun;
pub use report::{AnonCounts, BuddyInfo, FreeArea, PageTypeInfo, VmStatText, ZoneInfo};
pub use validate::Inconsistency;
pub use vmstat::VmStat;
pub use watermark::Tunables;
pub(crate) use zone::Place;
pub use zone::{Watermarks, Zone, ZoneKind};
