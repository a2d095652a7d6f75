//! One entry of a table, its flags, and what can go wrong.

use core::fmt;
use types::{PhysAddr, PhysRange};

bitflags::bitflags! {
    /// Who may see a region of `memory`; the numbers are Linux's and show in the dump.
    #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
    pub struct RegionFlags: u32 {
        /// May be unplugged later.
        const HOTPLUG = 1;
        /// Mirrored by the memory controller.
        const MIRROR = 2;
        /// RAM that is not in the linear map and never given out.
        const NOMAP = 4;
        /// Detected by a driver and added by it.
        const DRIVER_MANAGED = 8;
    }
}

/// A range with flags: 12 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Region {
    pub(super) base: u32,
    pub(super) size: u32,
    pub(super) flags: RegionFlags,
}

impl Region {
    /// What an empty table holds, and what fills a new array.
    pub const EMPTY: Self = Self { base: 0, size: 0, flags: RegionFlags::empty() };

    pub(super) const fn new(base: u32, end: u32, flags: RegionFlags) -> Self {
        Self { base, size: end - base, flags }
    }

    /// The bytes.
    #[must_use]
    pub const fn range(&self) -> PhysRange {
        PhysRange::new(PhysAddr::new(self.base), self.size)
    }

    /// The flags.
    #[must_use]
    pub const fn flags(&self) -> RegionFlags {
        self.flags
    }

    pub(super) const fn end(&self) -> u32 {
        self.base + self.size
    }

    pub(super) fn merges_with(&self, next: &Self) -> bool {
        self.end() == next.base && self.flags == next.flags
    }
}

/// Which of the two tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableId {
    /// What is RAM.
    Memory,
    /// What is in use.
    Reserved,
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Memory => "memory",
            Self::Reserved => "reserved",
        })
    }
}

/// Why a call did nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemblockError {
    /// No room for the range and the table can't grow (`-ENOMEM`).
    TableFull {
        /// Which table.
        table: TableId,
        /// What was not recorded.
        range: PhysRange,
    },
    /// No free range fits.
    NoSpace {
        /// Bytes that were asked for.
        size: u32,
        /// The alignment of the base.
        align: u32,
    },
}

impl fmt::Display for MemblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableFull { table, range } => {
                write!(f, "memblock: {table} table is full, {range} is not recorded")
            }
            Self::NoSpace { size, align } => {
                write!(f, "memblock: no free range for {size} bytes align={align:#x}")
            }
        }
    }
}

impl core::error::Error for MemblockError {}
