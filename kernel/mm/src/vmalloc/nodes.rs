//! Records of areas, in one block of pages that is replaced by one of twice the size when it is full.
//!
//! `unsafe`: a record is reached through the linear map. The block is taken from the page allocator (state `Kernel`) and
//! nobody else knows it, and all of it is initialized as soon as it is ours (invariants 1 and 2).

#![allow(unsafe_code)]

use super::VmallocError;
use crate::{Frames, Gfp, PageSource, PageState};
use hal::LinearMap;
use types::{Order, PAGE_SIZE, Pfn, PhysAddr};

/// Records in a page.
const PER_PAGE: usize = PAGE_SIZE as usize / size_of::<Area>();
/// The largest block: 8,192 areas.
const MAX_ORDER: u8 = 7;

const _: () = assert!(size_of::<Area>() == 64);

/// The number of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Id(u16);

impl Id {
    /// No record.
    pub const NIL: Self = Self(u16::MAX);
}

/// What made an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// `vmalloc`: the pages behind it are its own.
    Vmalloc,
    /// `vmap`.
    Vmap,
    /// `ioremap`.
    Ioremap,
}

impl Kind {
    /// The word in `/proc/vmallocinfo`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vmalloc => "vmalloc",
            Self::Vmap => "vmap",
            Self::Ioremap => "ioremap",
        }
    }
}

/// An area. Sizes in bytes; its guard page follows.
#[repr(C, align(64))]
pub(super) struct Area {
    pub start: u32,
    pub size: u32,
    /// Of these, how many are mapped, from the start.
    pub mapped: u32,
    /// Unused bytes before it.
    pub gap: u32,
    /// The largest `gap` in its subtree.
    pub largest: u32,
    /// Larger than that of its children.
    pub priority: u32,
    pub left: Id,
    pub right: Id,
    /// In the list of unused records, of stale or of ready areas.
    pub next: Id,
    pub kind: Kind,
    /// Unmapped, and waits for a TLB flush.
    pub stale: bool,
    /// The code that asked.
    pub caller: u32,
    /// Where `ioremap` and `vmap_range` map to.
    pub phys: u32,
    /// Pages that it maps, if they are counted.
    pub pages: u32,
    /// The first block of its own memory.
    pub block: u32,
}

impl Area {
    /// An area that is in no tree yet.
    pub fn new(start: u32, size: u32, kind: Kind, caller: u32, priority: u32) -> Self {
        let (left, right, next) = (Id::NIL, Id::NIL, Id::NIL);
        let (mapped, gap, largest, phys, pages) = (0, 0, 0, 0, 0);
        let (stale, block) = (false, super::build::NO_BLOCK);
        Self {
            start,
            size,
            mapped,
            gap,
            largest,
            priority,
            left,
            right,
            next,
            kind,
            stale,
            caller,
            phys,
            pages,
            block,
        }
    }

    /// The byte after its guard page.
    pub fn end(&self) -> u32 {
        self.start + self.size + PAGE_SIZE
    }
}

/// All records. Of no particular linear map, so that all that works with them is compiled once.
pub(super) struct Nodes {
    base: PhysAddr,
    /// Where `base` is.
    first: *mut Area,
    order: Order,
    count: usize,
    unused: Id,
}

impl Nodes {
    /// No records, and no memory for any.
    pub const fn new() -> Self {
        let (base, first) = (PhysAddr::new(0), core::ptr::null_mut());
        Self { base, first, order: Order::ZERO, count: 0, unused: Id::NIL }
    }

    #[inline]
    fn ptr(&self, index: usize) -> *mut Area {
        self.first.wrapping_add(index)
    }

    #[inline]
    fn checked(&self, id: Id) -> *mut Area {
        let index = id.0 as usize;
        assert!(index < self.count, "a record that was never made");
        self.ptr(index)
    }

    /// The record `id`.
    #[inline]
    pub fn get(&self, id: Id) -> &Area {
        // SAFETY: invariant 2: a record in our block, initialized by `grow`; `&self` keeps writers out.
        unsafe { &*self.checked(id) }
    }

    /// The record `id`, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: Id) -> &mut Area {
        // SAFETY: as in `get`; `&mut self` keeps everybody else out.
        unsafe { &mut *self.checked(id) }
    }

    /// Makes `area` a record.
    pub fn insert<S: PageSource>(
        &mut self,
        pages: &mut S,
        linear: &impl LinearMap,
        area: Area,
    ) -> Result<Id, VmallocError> {
        if self.unused == Id::NIL {
            self.grow(pages, linear)?;
        }
        let id = self.unused;
        let record = self.get_mut(id);
        let next = record.next;
        *record = area;
        self.unused = next;
        Ok(id)
    }

    /// The record may be used for another area.
    pub fn remove(&mut self, id: Id) {
        let unused = self.unused;
        self.get_mut(id).next = unused;
        self.unused = id;
    }

    /// Twice the room; the records keep their numbers.
    #[cold]
    fn grow<S: PageSource>(&mut self, pages: &mut S, linear: &impl LinearMap) -> Result<(), VmallocError> {
        let larger = if self.count == 0 { 0 } else { self.order.get() + 1 };
        let order = Order::new(larger).filter(|order| order.get() <= MAX_ORDER);
        let order = order.ok_or(VmallocError::TableFull)?;
        let frames =
            pages.alloc_pages(Gfp::KERNEL, order, PageState::Kernel).map_err(VmallocError::NoPages)?;
        let (old, from, old_order, old_count) = (self.base, self.first, self.order, self.count);
        let (pfn, _) = frames.into_raw();
        (self.base, self.order) = (pfn.addr(), order);
        self.first = linear.ptr(self.base).cast();
        self.count = PER_PAGE << order.get();
        for index in (old_count..self.count).rev() {
            let empty = Area { next: self.unused, ..Area::new(0, 0, Kind::Vmap, 0, 0) };
            // SAFETY: invariant 2: the block was just taken; 64-byte records from a page boundary on are aligned.
            unsafe { self.ptr(index).write(empty) };
            self.unused = Id(index as u16);
        }
        if old_count > 0 {
            // SAFETY: invariant 2: both blocks are ours, and they are two.
            unsafe { self.ptr(0).copy_from_nonoverlapping(from, old_count) };
            pages.free_pages(Frames::from_raw(Pfn::containing(old), old_order));
        }
        Ok(())
    }

    /// Pages that the records take.
    pub fn pages(&self) -> u32 {
        self.order.pages()
    }
}
