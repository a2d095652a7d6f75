//! Maintenance operations: counted, and one of them left out if a test says so.

/// The kinds of maintenance calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// `CacheOps::clean`.
    Clean,
    /// `CacheOps::invalidate`.
    Invalidate,
    /// `CacheOps::flush`.
    Flush,
    /// `TlbOps::flush_page`.
    FlushPage,
    /// `TlbOps::flush_asid`.
    FlushAsid,
    /// `TlbOps::flush_all`.
    FlushAll,
    /// `TlbOps::publish`.
    Publish,
}

/// How often each kind was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// By `Op`'s order.
    calls: [u32; 7],
}

impl Counts {
    /// Calls of one kind.
    #[must_use]
    pub const fn of(&self, op: Op) -> u32 {
        self.calls[op as usize]
    }

    /// All calls.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.calls.iter().sum()
    }
}

/// Counts calls and says which one is left out.
#[derive(Default)]
pub(crate) struct Ops {
    pub counts: Counts,
    drop: Option<u32>,
    dropped: Option<Op>,
}

impl Ops {
    /// Starts counting anew; call number `drop` from now on (from 0) will be left out.
    pub fn reset(&mut self, drop: Option<u32>) {
        *self = Self { drop, ..Self::default() };
    }

    /// What was left out.
    pub const fn dropped(&self) -> Option<Op> {
        self.dropped
    }

    /// Counts a call; whether it is to be done.
    pub fn count(&mut self, op: Op) -> bool {
        let drop = self.drop == Some(self.counts.total());
        self.counts.calls[op as usize] += 1;
        if drop {
            self.dropped = Some(op);
        }
        !drop
    }
}
