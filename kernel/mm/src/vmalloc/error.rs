//! Why there is no mapping, or why one was not removed.

use crate::AllocError;
use core::fmt;
use hal::MapError;
use types::{PhysAddr, VirtAddr};

/// Why nothing was mapped. Nothing is held then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmallocError {
    /// Called from atomic context.
    Atomic,
    /// No pages, or more than the address space.
    BadSize {
        /// Pages asked for.
        pages: u32,
    },
    /// A bound that is not a multiple of the page size, or out of order.
    Misaligned {
        /// The bound.
        addr: u32,
    },
    /// No gap in the vmalloc area is large enough.
    NoSpace {
        /// Bytes asked for, without the guard page.
        size: u32,
    },
    /// The page allocator had none.
    NoPages(AllocError),
    /// The table of areas can't grow any more.
    TableFull,
    /// `ioremap` of memory that the kernel maps already, with other attributes.
    Ram {
        /// The first such page.
        phys: PhysAddr,
    },
    /// The translation table refused.
    Map(MapError),
}

impl fmt::Display for VmallocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atomic => write!(f, "vmalloc: called from atomic context"),
            Self::BadSize { pages } => write!(f, "vmalloc: {pages} pages can't be mapped"),
            Self::Misaligned { addr } => write!(f, "vmalloc: bound {addr:#010x} is out of order"),
            Self::NoSpace { size } => {
                write!(f, "vmap allocation for size {size} failed: use vmalloc=<size> to increase size")
            }
            Self::NoPages(error) => write!(f, "vmalloc: {error}"),
            Self::TableFull => write!(f, "vmalloc: too many areas"),
            Self::Ram { phys } => write!(f, "ioremap: {phys} is RAM"),
            Self::Map(error) => write!(f, "vmalloc: translation table: {error}"),
        }
    }
}

/// Why an area was not given back. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VfreeError {
    /// Called from atomic context.
    Atomic,
    /// No area starts at the address: it is inside of one, was freed already, or never was one.
    NoArea {
        /// What was to be freed.
        addr: VirtAddr,
    },
    /// The area was made by another call, and is undone by another one.
    WrongKind {
        /// What was to be freed.
        addr: VirtAddr,
        /// What made it.
        made_by: super::Kind,
    },
    /// The translation table does not hold what was mapped.
    Map(MapError),
}

impl fmt::Display for VfreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atomic => write!(f, "vfree: called from atomic context"),
            Self::NoArea { addr } => write!(f, "Trying to vfree() nonexistent vm area ({addr})"),
            Self::WrongKind { addr, made_by } => write!(f, "vfree: {addr} was made by {}", made_by.name()),
            Self::Map(error) => write!(f, "vfree: translation table: {error}"),
        }
    }
}
