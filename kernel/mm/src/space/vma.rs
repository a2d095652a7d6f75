//! The regions of an address space: a sorted array in pages of lowmem.
//!
//! ```text
//! [ 0x10000..0x14000 rw- private | 0x14000..0x15000 r-- private | 0x40000..0x80000 rw- shared #3 +0 ]
//! ```
//!
//! Looking up is a binary search. The block grows by doubling, to 64 KiB: 4,096 regions. (Linux has a maple tree and
//! a limit of 65,530.) Neighbours that differ in nothing but their place are merged.

use super::{SpaceError, memory};
use crate::{Frames, Gfp, PageSource, PageState};
use bitflags::bitflags;
use hal::{LinearMap, Prot};
use types::{Order, PAGE_SIZE, Pfn, VirtAddr};

bitflags! {
    /// What a region allows and is (Linux's `VM_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct VmFlags: u16 {
        /// Loads are allowed.
        const READ = 1;
        /// Stores are allowed.
        const WRITE = 2;
        /// Instructions may be fetched. Never together with [`VmFlags::WRITE`] (invariant 10).
        const EXEC = 4;
        /// Stores are seen by all spaces that have the region; without it, they are the space's own.
        const SHARED = 8;
        /// Resident (`mlock`).
        const LOCKED = 16;
        /// What `mprotect` changes.
        const ACCESS = Self::READ.bits() | Self::WRITE.bits() | Self::EXEC.bits();
    }
}

impl VmFlags {
    /// The rights of an entry that may not be stored through (yet); `None` when nothing is allowed.
    pub(crate) fn read_only(self) -> Option<Prot> {
        let exec = if self.contains(Self::EXEC) { Prot::EXEC } else { Prot::empty() };
        self.intersects(Self::ACCESS).then_some(Prot::USER | exec)
    }
}

/// A region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Vma {
    start: u32,
    end: u32,
    /// For a shared region: where in its object it starts, in bytes.
    pub(crate) offset: u32,
    flags: u16,
    /// For a shared region: the slot of its object.
    pub(crate) object: u16,
}

/// Regions in a page.
const PER_PAGE: u32 = PAGE_SIZE / size_of::<Vma>() as u32;
/// The largest block.
const MAX_ORDER: u8 = 4;

impl Vma {
    pub(crate) const fn new(start: u32, end: u32, flags: VmFlags, object: u16) -> Self {
        Self { start, end, offset: 0, flags: flags.bits(), object }
    }

    /// The first address.
    #[must_use]
    pub const fn start(&self) -> VirtAddr {
        VirtAddr::new(self.start)
    }

    /// The address behind the last.
    #[must_use]
    pub const fn end(&self) -> VirtAddr {
        VirtAddr::new(self.end)
    }

    /// Bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub const fn len(&self) -> u32 {
        self.end - self.start
    }

    /// Rights and kind.
    #[must_use]
    #[inline]
    pub const fn flags(&self) -> VmFlags {
        VmFlags::from_bits_retain(self.flags)
    }

    /// The same region with other flags.
    pub(crate) const fn with_flags(self, flags: VmFlags) -> Self {
        Self { flags: flags.bits(), ..self }
    }

    /// The part of the region in `[from, to)`, which must not be empty.
    pub(crate) fn part(self, from: u32, to: u32) -> Self {
        let start = self.start.max(from);
        let offset =
            if self.flags().contains(VmFlags::SHARED) { self.offset + (start - self.start) } else { 0 };
        Self { start, end: self.end.min(to), offset, ..self }
    }

    /// The same region at another address.
    pub(crate) const fn moved_to(self, start: u32) -> Self {
        Self { start, end: start + self.len(), ..self }
    }

    /// Where in its object `virt` is.
    pub(crate) const fn offset_of(&self, virt: VirtAddr) -> VirtAddr {
        VirtAddr::new(self.offset + (virt.get() - self.start))
    }

    /// Whether `next`, which follows in the list, could be one region with this.
    fn joins(&self, next: &Self) -> bool {
        let same = (self.flags, self.object) == (next.flags, next.object) && self.end == next.start;
        same && (!self.flags().contains(VmFlags::SHARED) || self.offset + self.len() == next.offset)
    }
}

/// The list.
#[derive(Debug)]
pub(crate) struct VmaList {
    at: Pfn,
    order: Order,
    count: u32,
}

impl VmaList {
    pub(crate) fn new<S: PageSource>(pages: &mut S) -> Result<Self, SpaceError> {
        let (at, order) = pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::Kernel)?.into_raw();
        Ok(Self { at, order, count: 0 })
    }

    /// Gives the memory back.
    pub(crate) fn free<S: PageSource>(self, pages: &mut S) {
        pages.free_pages(Frames::from_raw(self.at, self.order));
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    #[inline]
    pub(crate) fn all<'a, L: LinearMap>(&'a self, linear: &'a L) -> &'a [Vma] {
        memory::vmas(linear, self.at, self.count)
    }

    /// The index of the first region that ends above `addr`.
    #[inline]
    pub(crate) fn first_above<L: LinearMap>(&self, linear: &L, addr: u32) -> u32 {
        self.all(linear).partition_point(|vma| vma.end <= addr) as u32
    }

    pub(crate) fn get<L: LinearMap>(&self, linear: &L, index: u32) -> Option<Vma> {
        self.all(linear).get(index as usize).copied()
    }

    /// The region that holds `addr`.
    #[inline]
    pub(crate) fn find<L: LinearMap>(&self, linear: &L, addr: u32) -> Option<Vma> {
        self.get(linear, self.first_above(linear, addr)).filter(|vma| vma.start <= addr)
    }

    /// Makes room for `extra` more regions.
    pub(crate) fn reserve<L: LinearMap, S: PageSource>(
        &mut self,
        linear: &L,
        pages: &mut S,
        extra: u32,
    ) -> Result<(), SpaceError> {
        while self.count + extra > PER_PAGE << self.order.get() {
            let larger = Order::new(self.order.get() + 1).filter(|order| order.get() <= MAX_ORDER);
            let order = larger.ok_or(SpaceError::TooManyRegions)?;
            let (at, _) = pages.alloc_pages(Gfp::KERNEL, order, PageState::Kernel)?.into_raw();
            memory::move_vmas(linear, self.at, at, self.count);
            pages.free_pages(Frames::from_raw(self.at, self.order));
            (self.at, self.order) = (at, order);
        }
        Ok(())
    }

    fn open<L: LinearMap>(&mut self, linear: &L, index: u32, vma: Vma) {
        memory::shift_vmas(linear, self.at, index, index + 1, self.count - index);
        memory::set_vma(linear, self.at, index, vma);
        self.count += 1;
    }

    fn close<L: LinearMap>(&mut self, linear: &L, index: u32) {
        memory::shift_vmas(linear, self.at, index + 1, index, self.count - index - 1);
        self.count -= 1;
    }

    /// Puts `vma`, which overlaps no other, in its place. Room has been reserved.
    pub(crate) fn insert<L: LinearMap>(&mut self, linear: &L, vma: Vma) {
        let index = self.first_above(linear, vma.start);
        self.open(linear, index, vma);
        self.merge_at(linear, index + 1);
        self.merge_at(linear, index);
    }

    /// Makes one region of those at `index - 1` and `index`, if they differ in nothing but their place.
    fn merge_at<L: LinearMap>(&mut self, linear: &L, index: u32) {
        if let Some(before) = index.checked_sub(1)
            && let (Some(left), Some(right)) = (self.get(linear, before), self.get(linear, index))
            && left.joins(&right)
        {
            memory::set_vma(linear, self.at, before, Vma { end: right.end, ..left });
            self.close(linear, index);
        }
    }

    /// Cuts the region that holds both sides of `addr` in two there. Room has been reserved.
    pub(crate) fn cut<L: LinearMap>(&mut self, linear: &L, addr: u32) {
        let index = self.first_above(linear, addr);
        if let Some(vma) = self.get(linear, index).filter(|vma| vma.start < addr) {
            memory::set_vma(linear, self.at, index, vma.part(0, addr));
            self.open(linear, index + 1, vma.part(addr, u32::MAX));
        }
    }

    /// Removes the regions in `[start, end)`, at whose ends nothing is cut.
    pub(crate) fn remove<L: LinearMap>(&mut self, linear: &L, start: u32, end: u32) {
        let first = self.first_above(linear, start);
        let last = self.all(linear).partition_point(|vma| vma.start < end) as u32;
        memory::shift_vmas(linear, self.at, last, first, self.count - last);
        self.count -= last - first;
    }

    /// Changes the flags of the regions in `[start, end)`, at whose ends nothing is cut, and merges.
    pub(crate) fn change<L: LinearMap>(
        &mut self,
        linear: &L,
        (start, end): (u32, u32),
        change: impl Fn(VmFlags) -> VmFlags,
    ) {
        let first = self.first_above(linear, start);
        let last = self.all(linear).partition_point(|vma| vma.start < end) as u32;
        for index in first..last {
            if let Some(vma) = self.get(linear, index) {
                memory::set_vma(linear, self.at, index, vma.with_flags(change(vma.flags())));
            }
        }
        (first..=last).rev().for_each(|index| self.merge_at(linear, index));
    }

    /// The lowest gap of `len` bytes in `[low, high)`.
    pub(crate) fn gap<L: LinearMap>(&self, linear: &L, len: u32, low: u32, high: u32) -> Option<u32> {
        let mut at = low;
        for vma in self.all(linear) {
            if vma.start >= at && vma.start - at >= len {
                break;
            }
            at = at.max(vma.end);
        }
        (at <= high && high - at >= len).then_some(at)
    }
}
