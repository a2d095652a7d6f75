//! Why a call could not be measured.

use core::fmt::{self, Display};
use dma::DmaError;
use mm::AllocError;
use mm::cma::CmaError;
use mm::memblock::MemblockError;
use mm::slab::{DestroyError, FreeError, SlabError};
use mm::space::{FaultOutcome, SpaceError};
use mm::vmalloc::{VfreeError, VmallocError};

/// Why a call could not be measured.
#[derive(Debug)]
pub enum Error {
    /// The memory manager is not up.
    NoMemoryManager,
    /// There are no address spaces.
    NoSpaces,
    /// There is no CMA area.
    NoArea,
    /// Fewer pages than were asked for had to be moved: the area was not full.
    NotFull {
        /// Pages moved.
        moved: u32,
        /// Pages asked for.
        of: u32,
    },
    /// No pages.
    Pages(AllocError),
    /// No object.
    Slab(SlabError),
    /// An object was not taken back.
    Free(FreeError),
    /// A cache has objects left.
    Destroy(DestroyError),
    /// No area of addresses.
    Vmalloc(VmallocError),
    /// An area of addresses was not taken back.
    Vfree(VfreeError),
    /// No contiguous pages.
    Cma(CmaError),
    /// No buffer.
    Dma(DmaError),
    /// No address space, or no region in it.
    Space(SpaceError),
    /// An access to user memory was refused.
    Fault(FaultOutcome),
    /// An allocator that is driven through a workload had nothing left.
    Exhausted,
    /// No early memory.
    Memblock(MemblockError),
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemoryManager => f.write_str("no memory manager"),
            Self::NoSpaces => f.write_str("no address spaces"),
            Self::NoArea => f.write_str("no CMA area"),
            Self::NotFull { moved, of } => write!(f, "only {moved} of {of} pages had to be moved"),
            Self::Pages(error) => error.fmt(f),
            Self::Slab(error) => error.fmt(f),
            Self::Free(error) => error.fmt(f),
            Self::Destroy(error) => error.fmt(f),
            Self::Vmalloc(error) => error.fmt(f),
            Self::Vfree(error) => error.fmt(f),
            Self::Cma(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
            Self::Space(error) => error.fmt(f),
            Self::Fault(outcome) => outcome.fmt(f),
            Self::Exhausted => f.write_str("the allocator had nothing left"),
            Self::Memblock(error) => error.fmt(f),
        }
    }
}
