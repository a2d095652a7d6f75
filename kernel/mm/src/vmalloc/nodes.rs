//! Records of areas, in pages that are taken as they are needed.
//!
//! `unsafe`: a record is reached through the linear map. A page of records is taken from the page allocator (state `Kernel`) and kept
//! as long as the allocator lives, so a record, once made, stays valid (invariants 1 and 2).

#![allow(unsafe_code)]

use super::VmallocError;
use crate::{Gfp, PageSource, PageState};
use hal::LinearMap;
use types::{Order, PAGE_SIZE, Pfn, PhysAddr};

/// Records in a page.
const PER_PAGE: usize = PAGE_SIZE as usize / size_of::<Area>();
/// Pages of records there can be: 8,192 areas.
const MAX_PAGES: usize = 128;

const _: () = assert!(size_of::<Area>() == 64 && PER_PAGE.is_power_of_two());

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
    /// In the list of unused records, or of stale areas.
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

/// All records.
pub(super) struct Nodes<L> {
    linear: L,
    pages: [u32; MAX_PAGES],
    count: usize,
    unused: Id,
}

impl<L: LinearMap> Nodes<L> {
    pub fn new(linear: L) -> Self {
        Self { linear, pages: [0; MAX_PAGES], count: 0, unused: Id::NIL }
    }

    fn ptr(&self, id: Id) -> *mut Area {
        let (page, index) = (id.0 as usize / PER_PAGE, id.0 as usize % PER_PAGE);
        assert!(page < self.count, "a record that was never made");
        let base = Pfn::new(self.pages[page]).addr().get();
        self.linear.ptr(PhysAddr::new(base + (index * size_of::<Area>()) as u32)).cast()
    }

    /// The record `id`.
    pub fn get(&self, id: Id) -> &Area {
        // SAFETY: invariant 2: a record in a page of ours, initialized by `grow`; `&self` keeps writers out.
        unsafe { &*self.ptr(id) }
    }

    /// The record `id`, to be changed.
    pub fn get_mut(&mut self, id: Id) -> &mut Area {
        // SAFETY: as in `get`; `&mut self` keeps everybody else out.
        unsafe { &mut *self.ptr(id) }
    }

    /// Makes `area` a record.
    pub fn insert<S: PageSource>(&mut self, pages: &mut S, area: Area) -> Result<Id, VmallocError> {
        if self.unused == Id::NIL {
            self.grow(pages)?;
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

    fn grow<S: PageSource>(&mut self, pages: &mut S) -> Result<(), VmallocError> {
        if self.count == MAX_PAGES {
            return Err(VmallocError::TableFull);
        }
        let frames =
            pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::Kernel).map_err(VmallocError::NoPages)?;
        let (pfn, _) = frames.into_raw();
        self.pages[self.count] = pfn.get();
        self.count += 1;
        let first = (self.count - 1) * PER_PAGE;
        for index in (first..first + PER_PAGE).rev() {
            let id = Id(index as u16);
            let empty = Area { next: self.unused, ..Area::new(0, 0, Kind::Vmap, 0, 0) };
            // SAFETY: invariant 2: the page was just taken; 64-byte records at multiples of 64 are aligned.
            unsafe { self.ptr(id).write(empty) };
            self.unused = id;
        }
        Ok(())
    }

    /// Pages that the records take.
    pub fn pages(&self) -> u32 {
        self.count as u32
    }
}
