//! Moving a list of pages with patience: `migrate_pages`.

use super::{MigrateFailure, MigrateMode, Migrator};
use crate::space::{SpaceEvent, SpacePages, UserArch};
use crate::{MigrateError, MigrateReason};
use types::Pfn;

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Blocks moved.
    pub succeeded: u32,
    /// Blocks that did not move.
    pub failed: u32,
    /// Why the last of them did not.
    pub last: Option<MigrateFailure>,
}

/// A list of blocks under way. Between two steps the caller may drop its lock; a block that is busy is tried again
/// after all others, as often as the mode says.
#[derive(Debug)]
pub struct Batch<'l> {
    /// What is left to do: `list[..left]`, of which `list[..at]` is for the next pass.
    list: &'l mut [Pfn],
    left: usize,
    at: usize,
    next: usize,
    pass: u8,
    mode: MigrateMode,
    reason: MigrateReason,
    summary: Summary,
}

impl<'l> Batch<'l> {
    /// The blocks at `list`, whose order doesn't survive.
    pub fn new(list: &'l mut [Pfn], mode: MigrateMode, reason: MigrateReason) -> Self {
        let left = list.len();
        Self { list, left, at: 0, next: 0, pass: 1, mode, reason, summary: Summary::default() }
    }

    /// Moves one block; the summary when all are done.
    pub fn step<A: UserArch, S: SpacePages>(
        &mut self,
        pages: &mut S,
        migrator: &mut Migrator<'_, '_, '_, A, S>,
    ) -> Option<Summary> {
        if self.next == self.left {
            if self.at == 0 {
                let Summary { succeeded, failed, .. } = self.summary;
                trace::mm_migrate_pages(succeeded, failed, self.mode as u8, self.reason as u8);
                return Some(self.summary);
            }
            (self.left, self.at, self.next, self.pass) = (self.at, 0, 0, self.pass + 1);
        }
        let pfn = self.list[self.next];
        self.next += 1;
        match migrator.move_block(pages, pfn, self.reason) {
            Ok(()) => {
                self.summary.succeeded += 1;
                pages.count(SpaceEvent::Migrated(1));
            }
            Err(failure)
                if MigrateError::from(failure) == MigrateError::Busy && self.pass < self.mode.passes() =>
            {
                self.list[self.at] = pfn;
                self.at += 1;
            }
            Err(failure) => {
                self.summary.failed += 1;
                self.summary.last = Some(failure);
                pages.count(SpaceEvent::MigrateFailed(1));
            }
        }
        None
    }
}
