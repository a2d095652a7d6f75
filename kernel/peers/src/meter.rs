//! What a workload costs: the unit is the meter's.

use core::fmt;

/// Measures: instructions on the target, nanoseconds on the host.
pub trait Meter {
    /// What `work` costs for `ops` operations, without what measuring costs.
    ///
    /// # Errors
    /// Those of `work`.
    fn time<E>(&mut self, ops: u32, work: impl FnOnce() -> Result<(), E>) -> Result<Cost, E>;
}

/// A clock that stands still, for runs that are not about cost.
#[derive(Clone, Copy, Debug)]
pub struct NoMeter;

impl Meter for NoMeter {
    fn time<E>(&mut self, ops: u32, work: impl FnOnce() -> Result<(), E>) -> Result<Cost, E> {
        work().map(|()| Cost { ops, ticks: 0 })
    }
}

/// What some operations took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// How many operations.
    pub ops: u32,
    /// All of them, in the meter's unit.
    pub ticks: u64,
}

impl Cost {
    /// An operation's share, rounded.
    #[must_use]
    pub fn each(self) -> u64 {
        let ops = u64::from(self.ops.max(1));
        (self.ticks + ops / 2) / ops
    }
}

/// What the operations of a measured loop are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// An allocation and its free.
    Pair,
    /// Allocations only.
    Alloc,
    /// Frees only.
    Free,
    /// An allocation or a free.
    Operation,
    /// A change of size.
    Realloc,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pair => "pair",
            Self::Alloc => "alloc",
            Self::Free => "free",
            Self::Operation => "operation",
            Self::Realloc => "realloc",
        })
    }
}
