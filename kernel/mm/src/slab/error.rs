//! Why an object was not given or not taken back.

use super::{CacheId, Damage};
use crate::{AllocError, PageState};
use core::fmt;

/// Why there is no object, or no cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlabError {
    /// The page allocator had no memory for a slab, or for a large object.
    NoPages(AllocError),
    /// Fault injection (`failslab`) said so.
    Injected,
    /// An object size of 0, or more than [`KMALLOC_MAX`](super::KMALLOC_MAX) bytes.
    BadSize {
        /// Bytes asked for.
        size: u32,
    },
    /// An alignment that is not a power of two, or larger than can be had.
    BadAlign {
        /// Bytes asked for.
        align: u32,
    },
    /// There are [`MAX_CACHES`](super::MAX_CACHES) caches already.
    TableFull,
}

impl fmt::Display for SlabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPages(AllocError::NoMemory { order, gfp }) => {
                write!(f, "slab: no pages of order {} (mode:{:#x})", order.get(), gfp.bits())
            }
            Self::NoPages(AllocError::Injected) => {
                write!(f, "slab: page allocation failed by fault injection")
            }
            Self::Injected => write!(f, "slab: allocation failed by fault injection"),
            Self::BadSize { size } => write!(f, "slab: object size {size} is out of range"),
            Self::BadAlign { align } => write!(f, "slab: alignment {align} is not a power of two in range"),
            Self::TableFull => write!(f, "slab: no room for another cache"),
        }
    }
}

/// Why an object was not taken back. Nothing has changed then. `addr` is the address that was handed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreeError {
    /// The address is outside of the linear map: no object is there.
    NotLinear {
        /// What was to be freed.
        addr: usize,
    },
    /// The page is not the slab allocator's.
    Foreign {
        /// What was to be freed.
        addr: usize,
        /// Whose it is; `NotMemory` outside of the memory map.
        owner: PageState,
    },
    /// Inside a slab or a large object, but not at the start of an object.
    NotAnObject {
        /// What was to be freed.
        addr: usize,
        /// The cache whose slab it is.
        cache: &'static str,
        /// Bytes from the start of the slab.
        offset: u32,
    },
    /// The object belongs to another cache than the one named, or to another size class than the layout says.
    WrongCache {
        /// What was to be freed.
        addr: usize,
        /// The cache that was named.
        named: &'static str,
        /// The cache it belongs to.
        owner: &'static str,
    },
    /// The object is free already.
    DoubleFree {
        /// What was to be freed.
        addr: usize,
        /// Its cache.
        cache: &'static str,
    },
    /// A red zone of the object was overwritten (`slub_debug=FZ`); the object stays allocated.
    Damaged {
        /// What was to be freed.
        addr: usize,
        /// Its cache.
        cache: &'static str,
        /// Where and how.
        damage: Damage,
    },
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLinear { addr } => write!(f, "kfree: {addr:#010x} is not in lowmem"),
            Self::Foreign { addr, owner } => {
                write!(f, "kfree: {addr:#010x} belongs to {owner}, not to slab")
            }
            Self::NotAnObject { addr, cache, offset } => {
                write!(f, "kfree: {addr:#010x} is not an object of {cache} (offset {offset})")
            }
            Self::WrongCache { addr, named, owner } => {
                write!(f, "kfree: {addr:#010x} freed to {named} but belongs to {owner}")
            }
            Self::DoubleFree { addr, cache } => write!(f, "kfree: {addr:#010x} of {cache} is already free"),
            Self::Damaged { addr, cache, damage } => {
                write!(f, "kfree: {addr:#010x} of {cache}: {} overwritten", damage.what)
            }
        }
    }
}

/// Why a cache was not destroyed. It goes on working.
#[derive(Debug, PartialEq, Eq)]
pub struct DestroyError {
    /// The handle, handed back.
    pub cache: CacheId,
    /// Objects that are still allocated; each was reported with its address.
    pub objects: u32,
}

impl fmt::Display for DestroyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kmem_cache_destroy: {} objects remain", self.objects)
    }
}
