//! Why an operation on an address space was refused.

use crate::AllocError;
use core::fmt;
use hal::MapError;
use types::{Pfn, VirtAddr};

/// Why an operation on an address space failed. Nothing has changed then, unless the operation says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpaceError {
    /// No such space, or not any more.
    NoSpace,
    /// All slots are in use.
    TooManySpaces,
    /// A CPU runs the space.
    Active,
    /// No memory.
    NoMemory(AllocError),
    /// The region list is full.
    TooManyRegions,
    /// The page can't be mapped once more.
    TooManyMappings {
        /// The page.
        pfn: Pfn,
    },
    /// The range is empty, not of whole pages, or outside of user memory.
    BadRange {
        /// Where it begins.
        virt: VirtAddr,
        /// Bytes.
        len: u32,
    },
    /// There is no gap of that size.
    NoRoom {
        /// Bytes.
        len: u32,
    },
    /// There is a region already.
    Occupied {
        /// Where the region begins.
        virt: VirtAddr,
    },
    /// There is no region.
    NotMapped {
        /// The first address without one.
        virt: VirtAddr,
    },
    /// The region doesn't allow the access.
    Denied {
        /// The address.
        virt: VirtAddr,
    },
    /// The page is being moved: try again.
    Migrating {
        /// The address.
        virt: VirtAddr,
    },
    /// Writable and executable (invariant 10).
    WriteExec,
    /// The translation table refused.
    Table(MapError),
}

impl SpaceError {
    /// Linux's number for it.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            Self::NoSpace => -3,
            Self::TooManySpaces | Self::Migrating { .. } => -11,
            Self::Active => -16,
            Self::NoMemory(_)
            | Self::TooManyRegions
            | Self::TooManyMappings { .. }
            | Self::NoRoom { .. }
            | Self::NotMapped { .. } => -12,
            Self::Occupied { .. } => -17,
            Self::Denied { .. } | Self::WriteExec => -13,
            Self::BadRange { .. } | Self::Table(_) => -22,
        }
    }
}

impl From<AllocError> for SpaceError {
    fn from(error: AllocError) -> Self {
        Self::NoMemory(error)
    }
}

impl From<MapError> for SpaceError {
    fn from(error: MapError) -> Self {
        Self::Table(error)
    }
}

impl fmt::Display for SpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace => f.write_str("no such address space"),
            Self::TooManySpaces => f.write_str("too many address spaces"),
            Self::Active => f.write_str("the address space is in use by a CPU"),
            Self::NoMemory(error) => error.fmt(f),
            Self::TooManyRegions => f.write_str("too many regions in the address space"),
            Self::TooManyMappings { pfn } => write!(f, "pfn {pfn} is mapped too often"),
            Self::BadRange { virt, len } => write!(f, "bad user range: {len} bytes at {virt}"),
            Self::NoRoom { len } => write!(f, "no gap of {len} bytes in the address space"),
            Self::Occupied { virt } => write!(f, "there is a region at {virt} already"),
            Self::NotMapped { virt } => write!(f, "no region at {virt}"),
            Self::Denied { virt } => write!(f, "access to {virt} is not allowed"),
            Self::Migrating { virt } => write!(f, "the page at {virt} is being moved"),
            Self::WriteExec => f.write_str("a region can't be both writable and executable"),
            Self::Table(error) => error.fmt(f),
        }
    }
}
