//! The traits between portable code and a CPU.
//!
//! `mm`, `dma` and the drivers are written against these; `arch-armv7` implements them with CP15 operations and
//! `testkit` with an emulated machine whose caches and TLBs go stale exactly as the architecture permits.
#![no_std]

mod cache;
mod linear;
mod paging;
mod pte;

pub use cache::CacheOps;
pub use linear::LinearMap;
pub use paging::{Asid, MapError, Mapping, MemAttr, PageTable, Prot, TlbOps};
pub use pte::{PageEntry, Pte, SoftPte, SpaceTable, TablePages};
