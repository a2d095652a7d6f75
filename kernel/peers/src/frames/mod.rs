//! Allocators of page frames: the trait, and who implements it.
//!
//! Every instance manages [`FRAMES`] frames from 0 on, all free, 256 MiB at 4 KiB each. Only [`Contig`] has a record a
//! frame; it has [`CMA_FRAMES`] of the frames in a CMA area, from which its large exact runs come.

mod bitmap;
mod buddy;
mod contig;
mod free_list;
mod work;

pub use bitmap::Bitmap;
pub use buddy::BuddySystem;
pub use contig::Contig;
pub use free_list::FreeList;
pub use work::{FramesMeasured, FramesWork};

/// Frames that an allocator manages.
pub const FRAMES: u32 = 65_536;
/// The part of them that Contig has in a CMA area: 64 MiB.
pub const CMA_FRAMES: u32 = 16_384;
/// Frames of the large exact run: 48 MiB.
pub const RUN: u32 = 12_288;

/// Gives out runs of page frames.
pub trait Frames {
    /// How many frames the workloads with random frees take: fewer where their cost grows with the square.
    const MANY: u32 = 32_768;

    /// The first of 2^`order` frames, aligned to their number.
    fn alloc(&mut self, order: u8) -> Option<u32>;

    /// Takes back what [`Frames::alloc`] gave.
    fn free(&mut self, first: u32, order: u8);

    /// The first of [`RUN`] frames.
    fn alloc_run(&mut self) -> Option<u32>;

    /// Takes back what [`Frames::alloc_run`] gave.
    fn free_run(&mut self, first: u32);
}

/// What can be done with any allocator of page frames.
pub trait FramesVisitor {
    /// Does it, on a fresh instance.
    fn visit<F: Frames>(&mut self, frames: &mut F);
}

/// Who takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FramesPeer {
    /// Contig's page allocator, and its CMA for the large runs.
    Contig,
    /// `buddy_system_allocator::FrameAllocator`.
    BuddySystem,
    /// `bitmap_allocator::BitAlloc64K`.
    Bitmap,
    /// `free_list::FreeList`.
    FreeList,
}

impl FramesPeer {
    /// Everyone, Contig first.
    pub const ALL: [Self; 4] = [Self::Contig, Self::BuddySystem, Self::Bitmap, Self::FreeList];

    /// The name of the crate.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contig => "contig",
            Self::BuddySystem => "buddy_system_allocator",
            Self::Bitmap => "bitmap-allocator",
            Self::FreeList => "free-list",
        }
    }

    /// Hands a fresh instance to `visitor`.
    pub fn visit(self, visitor: &mut impl FramesVisitor) {
        match self {
            Self::Contig => Contig::with(|frames| visitor.visit(frames)),
            Self::BuddySystem => visitor.visit(&mut BuddySystem::new()),
            Self::Bitmap => visitor.visit(&mut Bitmap::new()),
            Self::FreeList => visitor.visit(&mut FreeList::new()),
        }
    }
}
