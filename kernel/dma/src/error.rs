//! Why DMA memory or a mapping could not be had.

use crate::ContiguousError;
use core::fmt;
use mm::AllocError;
use mm::vmalloc::VmallocError;
use types::PhysAddr;

/// See the [module](self). Nothing has changed when it is returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DmaError {
    /// No bytes were asked for.
    Empty,
    /// The device can't do DMA: its mask is 0.
    MaskUnset,
    /// The device can't put out the addresses.
    Unreachable {
        /// Where the device would see the memory; all ones when nowhere.
        addr: u64,
        /// Bytes.
        size: u32,
        /// The device's mask.
        mask: u64,
        /// The highest address of its bus; 0 for no limit.
        limit: u64,
    },
    /// More than there are addresses.
    TooLarge {
        /// Bytes.
        size: u32,
    },
    /// No pages.
    NoMemory(AllocError),
    /// No contiguous memory.
    Contiguous(ContiguousError),
    /// A pool has no stretch of pages left that is large enough.
    PoolExhausted {
        /// Pages asked for.
        pages: u32,
        /// Pages that the pool has free.
        free: u32,
    },
    /// The memory is not in the linear map, so its attributes can't be changed there.
    NotLinear {
        /// The memory.
        phys: PhysAddr,
    },
    /// Memory outside of the linear map could not be mapped.
    Map(VmallocError),
    /// The attributes of the linear mapping could not be changed.
    Remap(hal::MapError),
    /// The buffer doesn't begin and end with a cache line; what shares its lines would be damaged.
    SharesLine {
        /// The buffer.
        phys: PhysAddr,
        /// Its bytes.
        size: u32,
        /// Bytes in a line.
        line: u32,
    },
    /// A table handed in by the caller has no free slot.
    TableFull {
        /// Its slots.
        slots: usize,
    },
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("0 bytes asked for"),
            Self::MaskUnset => f.write_str("coherent DMA mask is unset"),
            Self::Unreachable { addr, size, mask, limit } => {
                write!(f, "DMA addr {addr:#010x}+{size} overflow (mask {mask:x}, bus limit {limit:x}).")
            }
            Self::TooLarge { size } => write!(f, "{size} bytes are too many"),
            Self::NoMemory(error) => error.fmt(f),
            Self::Contiguous(error) => error.fmt(f),
            Self::PoolExhausted { pages, free } => {
                write!(f, "the pool has no {pages} pages in one stretch, {free} are free")
            }
            Self::NotLinear { phys } => write!(f, "{phys} is not in the linear map"),
            Self::Map(error) => error.fmt(f),
            Self::Remap(error) => write!(f, "can't change the linear mapping: {error}"),
            Self::SharesLine { phys, size, line } => {
                write!(f, "buffer {phys}+{size} shares a cache line of {line} bytes with other data")
            }
            Self::TableFull { slots } => write!(f, "all {slots} slots are in use"),
        }
    }
}

impl core::error::Error for DmaError {}

impl From<AllocError> for DmaError {
    fn from(error: AllocError) -> Self {
        Self::NoMemory(error)
    }
}

impl From<ContiguousError> for DmaError {
    fn from(error: ContiguousError) -> Self {
        Self::Contiguous(error)
    }
}
