//! An emulated machine for host tests, as unfriendly as the architecture allows.
//!
//! QEMU has no caches and forgets TLB entries early; this machine has both, and uses every freedom that ARM DDI
//! 0406C gives to hardware against the code under test.
//!
//! ```text
//! code under test --pointer--> [Ram: what the CPU sees]  <-> cache lines <->  [memory] <-- DMA master
//!        \--- CacheOps, TlbOps --> Machine --counts, can leave out the n-th call
//!                                     \--> TLB <- walker <- tables, as far as they are published
//! ```
//!
//! [`Ram`] alone is banks of memory with a linear map, for code that has no caches to care about. Nothing here
//! shares code with `arch-armv7`: the walker is written from the manual, so that it can be its judge.
#![deny(unsafe_code)]

mod cache;
pub mod log;
mod machine;
mod mmu;
mod ops;
mod ram;
mod rng;
mod tlb;

pub use cache::Adversary;
pub use machine::{Machine, Violation};
pub use mmu::{Access, Fault, FaultKind, MemoryType, Translation, walk};
pub use ops::{Counts, Op};
pub use ram::Ram;
pub use rng::Rng;

/// A configuration for property tests: `cases` of them, `under_miri` there. Failing cases are kept in a file beside
/// the test, to be checked in; Miri has no files.
#[must_use]
pub fn cases(cases: u32, under_miri: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, FileFailurePersistence};
    let file = FileFailurePersistence::WithSource("regressions");
    if cfg!(miri) {
        Config { cases: under_miri, failure_persistence: None, ..Config::default() }
    } else {
        Config { cases, failure_persistence: Some(Box::new(file)), ..Config::default() }
    }
}
