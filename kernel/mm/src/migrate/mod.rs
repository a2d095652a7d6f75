//! Moving pages: out of a range that a driver wants, together to make large blocks, or away from CMA for a pin.
//!
//! ```text
//!            begin          unmap              copy       remap
//! old page   locked         -                  read       freed
//! entries    ─▶ old         moving, TLB clean  moving     ─▶ new
//! new page   taken, locked  -                  filled     has refs, flags, reverse map
//! accesses   go on          wait (Retry)       wait       go on
//! ```
//!
//! The order is Linux's (`mm/migrate.c`, and the seed's essay). At each moment the page can be reached through its
//! old mappings, or they wait, so no store is lost (invariant 4). The entries are changed break-before-make by the
//! table. Between two steps anything may happen to the spaces: a fork adds waiting entries, an unmap removes some or
//! all, `mprotect` changes their rights; the last step finds out from the reverse map.
//!
//! [`Migrator`] is the [`Mover`](crate::Mover) that `cma_alloc` drives: pages of spaces here, pages of drivers through
//! [`MovableOps`].

mod batch;
mod buffers;
mod compact;
mod driver;
mod page;

pub use batch::{Batch, Summary};
pub use buffers::{BufferError, BufferGuard, BufferHandle, BufferSlot, MovableBuffers};
pub use compact::Compaction;
pub use driver::{Migrator, MovableOps};
pub use page::{MigrateStep, Migration};

use crate::{AllocError, MigrateError, PageState};
use core::fmt;
use types::Pfn;

/// How patient a migration is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum MigrateMode {
    /// One attempt; whatever would have to be waited for is left (`MIGRATE_ASYNC`).
    Async,
    /// Waits for other moves, but not for drivers (`MIGRATE_SYNC_LIGHT`).
    SyncLight,
    /// Waits for both (`MIGRATE_SYNC`).
    Sync,
}

impl MigrateMode {
    /// How often a page that is busy is tried (Linux: 10 times).
    #[must_use]
    pub const fn passes(self) -> u8 {
        match self {
            Self::Async => 1,
            Self::SyncLight => 3,
            Self::Sync => 10,
        }
    }
}

/// What keeps a page where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// Somebody relies on its physical address.
    Pins(u16),
    /// Another move of it is under way.
    Migration,
    /// It belongs to somebody who can't move it.
    Owner(PageState),
    /// The driver that owns it said so.
    Driver {
        /// The driver.
        name: &'static str,
        /// What it said.
        why: MigrateError,
    },
    /// There is no page to move it to.
    NoRoom(AllocError),
}

/// Why a page was not moved. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MigrateFailure {
    /// The page.
    pub pfn: Pfn,
    /// What holds it.
    pub holder: Holder,
}

impl fmt::Display for MigrateFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {} was not moved: ", self.pfn)?;
        match self.holder {
            Holder::Pins(pins) => write!(f, "pinned {pins} times"),
            Holder::Migration => f.write_str("it is being moved already"),
            Holder::Owner(owner) => write!(f, "it belongs to {owner}"),
            Holder::Driver { name, why } => write!(f, "{name}: {why}"),
            Holder::NoRoom(error) => error.fmt(f),
        }
    }
}

impl From<MigrateFailure> for MigrateError {
    fn from(failure: MigrateFailure) -> Self {
        match failure.holder {
            Holder::Pins(_) => Self::Pinned,
            Holder::Migration => Self::Busy,
            Holder::Owner(_) => Self::NotMovable,
            Holder::Driver { why, .. } => why,
            Holder::NoRoom(_) => Self::NoMemory,
        }
    }
}
