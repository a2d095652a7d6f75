//! Attribute changes of live mappings, and the splitting that they need.
//!
//! Each change is break-before-make (ARM DDI 0406C, B3.10.1), a range at a time: all entries are made invalid but
//! keep their address, the TLB is cleaned, all entries are made again. Between the two the range is unmapped.
//! So a range can't be changed, nor a section or large page split, when it holds what the change itself needs:
//! this code, its stack, the tables and the data of interrupt handlers. The kernel names those with `keep`, and
//! a change that would break one of them gives [`MapError::InUse`]. Everything else in a split section is
//! unreachable for a few hundred instructions: the caller has interrupts off, and no other CPU uses the range.

use super::change::{check_prot, in_one_section, leaf_after};
use super::desc::{self, L1, Leaf};
use super::memory::Slot;
use super::tables::{L2_ENTRIES, LARGE_ENTRIES, LARGE_SIZE, Occupancy, Tables, pieces};
use hal::{LinearMap, MapError, MemAttr, Prot, TlbOps};
use types::{PAGE_SIZE, PhysAddr, SECTION_SIZE, VirtAddr};

/// Marks of an invalid second-level entry in the middle of a change: was part of a large page; was young, the access
/// flag one place further down.
const BROKEN_LARGE: u32 = 1 << 2;
const BROKEN_YOUNG: u32 = 1 << 3;

/// A range of virtual addresses, first and last byte, that is never unmapped.
pub type Kept = (VirtAddr, VirtAddr);

/// A valid second-level entry made invalid, with all that is needed to make it again with other attributes.
const fn broken(raw: u32) -> u32 {
    if desc::is_small(raw) {
        return broken_small(raw);
    }
    raw & 0xffff_0000 | BROKEN_LARGE | raw >> 1 & BROKEN_YOUNG
}

/// The same for a small page's.
const fn broken_small(raw: u32) -> u32 {
    raw & 0xffff_f000 | raw >> 1 & BROKEN_YOUNG
}

/// Refuses when `[first, last]` touches a kept range.
#[inline]
fn check_apart(first: VirtAddr, last: VirtAddr, keep: &[Kept]) -> Result<(), MapError> {
    match keep.iter().find(|(from, to)| *from <= last && *to >= first) {
        Some(&(from, _)) => Err(MapError::InUse { virt: from.max(first) }),
        None => Ok(()),
    }
}

impl<L: LinearMap, T: TlbOps, C: Occupancy> Tables<L, T, C> {
    /// Gives `[virt, virt + len)` other attributes and rights.
    pub fn protect(
        &mut self,
        virt: VirtAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
        keep: &[Kept],
    ) -> Result<(), MapError> {
        if self.protect_pages(virt, len, attr, prot, keep) {
            return Ok(());
        }
        self.check_range(virt, len)?;
        check_prot(prot)?;
        self.protect_any(virt, len, attr, prot, keep)
    }

    /// The same where small pages of one table map the whole range; `false`, and nothing has changed, where that is not
    /// so or not allowed.
    #[inline]
    pub fn protect_pages(
        &mut self,
        virt: VirtAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
        keep: &[Kept],
    ) -> bool {
        if self.check_range(virt, len).is_err() || check_prot(prot).is_err() {
            return false;
        }
        let Some(first) = self.all_small(virt, len) else { return false };
        if check_apart(virt, VirtAddr::new(virt.get() + (len - 1)), keep).is_err() {
            return false;
        }
        self.change_small(virt, first, len, attr, prot);
        true
    }

    /// The first entry, if small pages of one table map the whole range.
    #[inline]
    fn all_small(&self, virt: VirtAddr, len: u32) -> Option<Slot> {
        let first = in_one_section(virt, len).then(|| self.l2_slot(virt))??;
        let other = first.position(&self.lin, len / PAGE_SIZE, |raw| !desc::is_small(raw));
        other.is_none().then_some(first)
    }

    #[inline]
    fn change_small(&self, virt: VirtAddr, first: Slot, len: u32, attr: MemAttr, prot: Prot) {
        let pages = len / PAGE_SIZE;
        let leaf = Leaf { phys: PhysAddr::new(0), attr, prot, young: false, global: self.asid.is_none() };
        let old = desc::small(leaf);
        first.update(&self.lin, pages, broken_small);
        self.publish(first, pages);
        self.flush(virt, len);
        first.update(&self.lin, pages, |raw| raw & 0xffff_f000 | old | (raw & BROKEN_YOUNG) << 1);
        self.publish(first, pages);
    }

    #[inline(never)]
    fn protect_any(
        &mut self,
        virt: VirtAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
        keep: &[Kept],
    ) -> Result<(), MapError> {
        self.check_mapped(virt, len)?;
        if len == 0 {
            return Ok(());
        }
        let end = VirtAddr::new(virt.get().wrapping_add(len));
        self.check_kept(virt, end, keep)?;
        self.split_at(virt)?;
        self.split_at(end)?;
        pieces(virt, len).for_each(|(at, size)| self.break_piece(at, size));
        self.flush(virt, len);
        pieces(virt, len).for_each(|(at, size)| self.make_piece(at, size, attr, prot));
        Ok(())
    }

    /// Refuses when the range, widened to whole mappings, touches a kept one.
    fn check_kept(&self, virt: VirtAddr, end: VirtAddr, keep: &[Kept]) -> Result<(), MapError> {
        let first = self.cut_at(virt).map_or(virt, |(start, _)| start).get();
        let last = match self.cut_at(end) {
            Some((start, size)) => start.get() + (size - 1),
            None => end.get().wrapping_sub(1),
        };
        check_apart(VirtAddr::new(first), VirtAddr::new(last), keep)
    }

    /// Makes `virt` a border between mappings.
    fn split_at(&mut self, virt: VirtAddr) -> Result<(), MapError> {
        while let Some((start, size)) = self.cut_at(virt) {
            if size == SECTION_SIZE { self.split_section(start)? } else { self.split_large(start)? }
        }
        Ok(())
    }

    /// Replaces a section by a table that maps the same memory in small pages. Not in large ones: the table may lie
    /// in the section itself, and a large page that holds the table of its own entries could never be split.
    fn split_section(&mut self, virt: VirtAddr) -> Result<(), MapError> {
        let slot = self.l1_slot(virt);
        let L1::Section(leaf) = self.l1(virt) else { return Ok(()) };
        let table = self.new_table(virt)?;
        let first = Slot::new(table, 0);
        for page in 0..L2_ENTRIES {
            first.add(page).write(&self.lin, desc::small(leaf_after(leaf, page * PAGE_SIZE)));
        }
        self.publish(first, L2_ENTRIES);
        slot.write(&self.lin, 0);
        self.publish(slot, 1);
        self.flush(virt, SECTION_SIZE);
        slot.write(&self.lin, desc::table(table));
        self.publish(slot, 1);
        self.use_entries(virt, L2_ENTRIES);
        Ok(())
    }

    /// Replaces a large page by 16 small ones, unless it maps the table that its entries are in: between break and
    /// make nobody could write them.
    fn split_large(&mut self, virt: VirtAddr) -> Result<(), MapError> {
        let (Some(first), Some((leaf, _))) = (self.l2_slot(virt), self.leaf(virt)) else { return Ok(()) };
        if let L1::Table(table) = self.l1(virt)
            && table.align_down(LARGE_SIZE) == leaf.phys.align_down(LARGE_SIZE)
        {
            return Err(MapError::InUse { virt });
        }
        self.break_piece(virt, LARGE_SIZE);
        self.flush(virt, LARGE_SIZE);
        for page in 0..LARGE_ENTRIES {
            first.add(page).write(&self.lin, desc::small(leaf_after(leaf, page * PAGE_SIZE)));
        }
        self.publish(first, LARGE_ENTRIES);
        Ok(())
    }

    fn break_piece(&self, virt: VirtAddr, size: u32) {
        let (slot, count) = self.l2_slot(virt).map_or((self.l1_slot(virt), 1), |s| (s, size / PAGE_SIZE));
        let section = matches!(self.l1(virt), L1::Section(_));
        for entry in 0..count {
            let slot = slot.add(entry);
            let raw = slot.read(&self.lin);
            slot.write(&self.lin, if section { raw & !(SECTION_SIZE - 1) } else { broken(raw) });
        }
        self.publish(slot, count);
    }

    fn make_piece(&self, virt: VirtAddr, size: u32, attr: MemAttr, prot: Prot) {
        let global = self.asid.is_none();
        let leaf = |phys, young| Leaf { phys: PhysAddr::new(phys), attr, prot, young, global };
        let Some(first) = self.l2_slot(virt) else {
            let slot = self.l1_slot(virt);
            slot.write(&self.lin, desc::section(leaf(slot.read(&self.lin), true)));
            return self.publish(slot, 1);
        };
        let small = [false, true].map(|young| desc::small(leaf(0, young)));
        let large = [false, true].map(|young| desc::large(leaf(0, young)));
        for page in 0..size / PAGE_SIZE {
            let slot = first.add(page);
            let raw = slot.read(&self.lin);
            let bits = if raw & BROKEN_LARGE != 0 { large } else { small };
            slot.write(&self.lin, raw & 0xffff_f000 | bits[usize::from(raw & BROKEN_YOUNG != 0)]);
        }
        self.publish(first, size / PAGE_SIZE);
    }

    /// The address, within the mapping that holds `virt`, that `virt` itself reaches.
    pub fn translate(&self, virt: VirtAddr) -> Option<hal::Mapping> {
        if self.check_range(virt.align_down(PAGE_SIZE), PAGE_SIZE).is_err() {
            return None;
        }
        let (leaf, size) = self.leaf(virt)?;
        let phys = leaf_after(leaf, virt.get() % size).phys;
        Some(hal::Mapping { phys, attr: leaf.attr, prot: leaf.prot, size })
    }
}
