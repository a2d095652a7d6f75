//! What benchmarks have in common, on the target and on the host: counting, statistics, records, and the lines in
//! which records travel.
//!
//! ```text
//! target   Meter (a Counter) ─▶ Samples ─▶ Stat ─▶ Record ─▶ line on the console
//! host                                               line ─▶ Line::parse ─▶ table, JSON, comparison
//! ```
//! Nothing here allocates: a benchmark of an allocator must not need one.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod line;
mod meter;
mod sample;

pub use line::{Line, LineError, Record, Unit, valid_name};
pub use meter::{Counter, Meter};
pub use sample::{Samples, Stat};
