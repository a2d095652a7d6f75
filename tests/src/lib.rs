//! The serial-console harness: scenarios as short files, and the tests inside the kernel, each a test of its own.
//!
//! ```text
//! scenarios/*.toml ── scenario ──┐                       ┌── check ── trial
//!                                ├── boot (qemu crate) ──┤
//! selftest on a board ───────────┘                       └── ktest ── a trial per kernel test
//! ```
//! The test program `console.rs` turns these into trials that run in parallel; a failing one shows the whole
//! console. What can be told wrong by text alone (an expectation that never matches, a kernel test that is silently
//! absent) is tested here on the host. `trace.rs` runs the kernel with trace events on.

pub mod boot;
pub mod check;
pub mod host;
pub mod ktest;
pub mod scenario;
pub mod sites;
pub mod sums;
pub mod timeline;
