//! Allocators of objects: the trait, and who implements it.
//!
//! Every instance has one [`Arena`] of 4 MiB. `unsafe` here and in the modules below: allocators deal in raw memory.
#![allow(unsafe_code)]

mod arena;
mod buddy;
mod contig;
mod dl;
mod footprint;
mod linked_list;
mod store;
mod talc;
mod tlsf;
mod trace;
mod work;

pub use arena::{ARENA_SIZE, Arena};
pub use footprint::{Footprint, Peak};
pub use store::{Exhausted, Store};
pub use trace::{TRACE, TraceOp, pack, unpack};
pub use work::{HeapMeasured, HeapWork};

use buddy::BuddySystem;
use contig::Contig;
use core::alloc::Layout;
use core::ptr::NonNull;
use dl::DlMalloc;
use linked_list::LinkedList;
use talc::TalcHeap;
use tlsf::Rlsf;

/// Gives out memory for layouts of a size above 0.
///
/// # Safety
/// What is given out fits its layout, is valid for reads and writes, and overlaps nothing else that is.
pub unsafe trait Heap {
    /// Memory for `layout`.
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes memory back.
    ///
    /// # Safety
    /// `ptr` is of this heap, for this layout, and nobody's from now on.
    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout);

    /// Memory of `new_size` bytes with the contents of `ptr`, which is then given back; `None`: it is still there.
    ///
    /// # Safety
    /// As for [`Heap::free`]; `new_size` is above 0 and makes a layout with the alignment of `layout`.
    unsafe fn realloc(&mut self, ptr: NonNull<u8>, layout: Layout, new_size: usize) -> Option<NonNull<u8>> {
        let new_layout = Layout::from_size_align(new_size, layout.align()).ok()?;
        let new = self.alloc(new_layout)?;
        // SAFETY: both are as large as the smaller of the two sizes, and don't overlap; the old one is the caller's.
        unsafe {
            new.as_ptr().copy_from_nonoverlapping(ptr.as_ptr(), layout.size().min(new_size));
            self.free(ptr, layout);
        }
        Some(new)
    }

    /// Bytes of the arena that it holds now, where it can tell; otherwise the pages that were touched count.
    fn held(&self) -> Option<usize> {
        None
    }
}

/// What can be done with any heap.
pub trait HeapVisitor {
    /// Does it, on a fresh instance.
    fn visit<H: Heap>(&mut self, heap: &mut H);
}

/// Who takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeapPeer {
    /// Contig's slab over Contig's page allocator.
    Contig,
    /// `buddy_system_allocator::Heap`.
    BuddySystem,
    /// `linked_list_allocator::Heap`.
    LinkedList,
    /// `talc::base::Talc`.
    Talc,
    /// `rlsf::Tlsf`.
    Rlsf,
    /// `dlmalloc::Dlmalloc`.
    DlMalloc,
}

impl HeapPeer {
    /// Everyone, Contig first.
    pub const ALL: [Self; 6] =
        [Self::Contig, Self::BuddySystem, Self::LinkedList, Self::Talc, Self::Rlsf, Self::DlMalloc];

    /// The name of the crate.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contig => "contig",
            Self::BuddySystem => "buddy_system_allocator",
            Self::LinkedList => "linked_list_allocator",
            Self::Talc => "talc",
            Self::Rlsf => "rlsf",
            Self::DlMalloc => "dlmalloc",
        }
    }

    /// Hands a fresh instance over `arena` to `visitor`.
    pub fn visit(self, arena: &mut Arena, visitor: &mut impl HeapVisitor) {
        match self {
            Self::Contig => Contig::with(arena, |heap| visitor.visit(heap)),
            Self::BuddySystem => visitor.visit(&mut BuddySystem::new(arena)),
            Self::LinkedList => visitor.visit(&mut LinkedList::new(arena)),
            Self::Talc => visitor.visit(&mut TalcHeap::new(arena)),
            Self::Rlsf => visitor.visit(&mut Rlsf::new(arena)),
            Self::DlMalloc => visitor.visit(&mut DlMalloc::new(arena)),
        }
    }
}
