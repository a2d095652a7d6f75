//! Mapping and unmapping of ranges.

use super::desc::{self, L1, Leaf};
use super::memory::Slot;
use super::tables::{L2_ENTRIES, LARGE_ENTRIES, LARGE_SIZE, Occupancy, Tables, l2_index, page_after, pieces};
use hal::{LinearMap, MapError, Prot, TlbOps};
use types::{PAGE_SIZE, PhysAddr, SECTION_SIZE, VirtAddr};

/// Refuses writable and executable (invariant 10).
pub fn check_prot(prot: Prot) -> Result<(), MapError> {
    if prot.contains(Prot::WRITE | Prot::EXEC) { Err(MapError::WriteExec) } else { Ok(()) }
}

/// `leaf` with its memory `bytes` further on.
pub const fn leaf_after(leaf: Leaf, bytes: u32) -> Leaf {
    Leaf { phys: PhysAddr::new(leaf.phys.get().wrapping_add(bytes)), ..leaf }
}

/// Whether no border between sections lies inside of the range, which is not empty.
pub const fn in_one_section(virt: VirtAddr, len: u32) -> bool {
    len > 0 && len <= SECTION_SIZE - virt.get() % SECTION_SIZE
}

impl<L: LinearMap, T: TlbOps, C: Occupancy> Tables<L, T, C> {
    /// Maps `len` bytes from `virt` on to the memory from `leaf.phys` on.
    pub fn map(&mut self, virt: VirtAddr, len: u32, leaf: Leaf) -> Result<(), MapError> {
        self.check_range(virt, len)?;
        check_prot(leaf.prot)?;
        let last = leaf.phys.get().checked_add(len.saturating_sub(1));
        if !leaf.phys.is_aligned(PAGE_SIZE) || last.is_none() {
            return Err(MapError::Misaligned { virt });
        }
        if in_one_section(virt, len) {
            return self.map_piece(virt, len, leaf);
        }
        self.map_pieces(virt, len, leaf)
    }

    /// The usual case of one page: its table is linked, and there is nothing in the way. Otherwise `false`, and nothing has
    /// changed.
    #[inline(always)]
    pub fn map_page(&mut self, virt: VirtAddr, leaf: Leaf) -> bool {
        let whole = (virt.get() | leaf.phys.get()).is_multiple_of(PAGE_SIZE);
        if !whole || check_prot(leaf.prot).is_err() || virt.get() / SECTION_SIZE >= self.l1_entries {
            return false;
        }
        let Some(slot) = self.l2_slot(virt).filter(|slot| slot.read(&self.lin) == 0) else { return false };
        slot.write(&self.lin, desc::small(leaf));
        self.publish(slot, 1);
        self.use_entries(virt, 1);
        true
    }

    fn map_pieces(&mut self, virt: VirtAddr, len: u32, leaf: Leaf) -> Result<(), MapError> {
        for (at, size) in pieces(virt, len) {
            let done = at.get() - virt.get();
            if let Err(error) = self.map_piece(at, size, leaf_after(leaf, done)) {
                self.remove_range(virt, done);
                self.flush(virt, done);
                return Err(error);
            }
        }
        Ok(())
    }

    #[inline]
    fn map_piece(&mut self, virt: VirtAddr, size: u32, leaf: Leaf) -> Result<(), MapError> {
        if size == SECTION_SIZE && leaf.phys.is_aligned(SECTION_SIZE) {
            self.map_section(virt, leaf)
        } else {
            self.map_pages(virt, size / PAGE_SIZE, leaf)
        }
    }

    #[inline(never)]
    fn map_section(&mut self, virt: VirtAddr, leaf: Leaf) -> Result<(), MapError> {
        if self.l1(virt) != L1::Fault {
            let table = self.l2_slot_or_link(virt)?;
            self.check_empty(virt, table, L2_ENTRIES)?;
            self.unlink(virt);
        }
        let slot = self.l1_slot(virt);
        slot.write(&self.lin, desc::section(leaf));
        self.publish(slot, 1);
        Ok(())
    }

    fn map_pages(&mut self, virt: VirtAddr, pages: u32, leaf: Leaf) -> Result<(), MapError> {
        let first = self.l2_slot_or_link(virt)?;
        self.check_empty(virt, first, pages)?;
        self.write_pages(virt, first, pages, leaf);
        self.publish(first, pages);
        self.use_entries(virt, pages);
        Ok(())
    }

    /// Writes entries over empty ones, with large pages wherever both alignments allow; doesn't publish.
    pub fn write_pages(&self, virt: VirtAddr, first: Slot, pages: u32, leaf: Leaf) {
        let small = desc::small(leaf);
        let alike = (virt.get() ^ leaf.phys.get()).is_multiple_of(LARGE_SIZE);
        let before = virt.get().wrapping_neg() % LARGE_SIZE / PAGE_SIZE;
        if !alike || pages < before + LARGE_ENTRIES {
            return first.fill(&self.lin, pages, small, PAGE_SIZE);
        }
        first.fill(&self.lin, before, small, PAGE_SIZE);
        let mut page = before;
        while pages - page >= LARGE_ENTRIES {
            let raw = desc::large(leaf_after(leaf, page * PAGE_SIZE));
            first.add(page).fill(&self.lin, LARGE_ENTRIES, raw, 0);
            page += LARGE_ENTRIES;
        }
        first.add(page).fill(&self.lin, pages - page, small.wrapping_add(page * PAGE_SIZE), PAGE_SIZE);
    }

    fn check_empty(&self, virt: VirtAddr, first: Slot, pages: u32) -> Result<(), MapError> {
        match first.position(&self.lin, pages, |raw| raw != 0) {
            None => Ok(()),
            Some(page) => Err(self.occupied(page_after(virt, page), first.add(page))),
        }
    }

    #[cold]
    fn occupied(&self, virt: VirtAddr, slot: Slot) -> MapError {
        let raw = slot.read(&self.lin);
        let phys = if desc::is_large(raw) { raw & !0xffff | virt.get() & 0xf000 } else { raw & !0xfff };
        MapError::Occupied { virt, phys: PhysAddr::new(phys) }
    }

    /// Unmaps; the TLB is left to the caller.
    pub fn unmap(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        self.check_range(virt, len)?;
        let table = if in_one_section(virt, len) { self.l2_slot(virt) } else { None };
        let Some(first) = table else { return self.unmap_pieces(virt, len) };
        let pages = len / PAGE_SIZE;
        if let Some(page) = first.position(&self.lin, pages, |raw| raw & 3 == 0) {
            return Err(MapError::NotMapped { virt: page_after(virt, page) });
        }
        // A border of sections is one of large pages too, so the entry behind the range is in the same table.
        let end = page_after(virt, pages);
        let cut =
            |at: VirtAddr, slot: Slot| !at.is_aligned(LARGE_SIZE) && desc::is_large(slot.read(&self.lin));
        if cut(virt, first) || cut(end, first.add(pages)) {
            return self.check_ends(virt, len);
        }
        self.remove_pages(virt, first, pages);
        Ok(())
    }

    /// The usual case of one page: a small page maps it; the TLB is left to the caller. Otherwise `false`, and nothing has
    /// changed.
    #[inline(always)]
    pub fn unmap_page(&mut self, virt: VirtAddr) -> bool {
        if !virt.is_aligned(PAGE_SIZE) || virt.get() / SECTION_SIZE >= self.l1_entries {
            return false;
        }
        let small = |slot: &Slot| desc::is_small(slot.read(&self.lin));
        let Some(slot) = self.l2_slot(virt).filter(small) else { return false };
        slot.write(&self.lin, 0);
        self.publish(slot, 1);
        self.release_entries(virt, 1);
        true
    }

    #[inline(never)]
    fn unmap_pieces(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        self.check_mapped(virt, len)?;
        self.check_ends(virt, len)?;
        self.remove_range(virt, len);
        Ok(())
    }

    /// Refuses a range in which something isn't mapped.
    pub fn check_mapped(&self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        for (at, size) in pieces(virt, len) {
            let hole = match self.l1(at) {
                L1::Section(_) => None,
                L1::Table(table) => {
                    let first = Slot::new(table, l2_index(at));
                    first.position(&self.lin, size / PAGE_SIZE, |raw| raw & 3 == 0)
                }
                L1::Fault | L1::Foreign => Some(0),
            };
            if let Some(page) = hole {
                return Err(MapError::NotMapped { virt: page_after(at, page) });
            }
        }
        Ok(())
    }

    /// Refuses a mapped range that begins or ends inside a section or large page.
    fn check_ends(&self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        match [virt, VirtAddr::new(virt.get().wrapping_add(len))].into_iter().find_map(|at| self.cut_at(at)) {
            Some((virt, _)) if len > 0 => Err(MapError::Splits { virt }),
            _ => Ok(()),
        }
    }

    /// The section or large page, with its size, that a border at `virt` cuts in two.
    pub fn cut_at(&self, virt: VirtAddr) -> Option<(VirtAddr, u32)> {
        if virt.is_aligned(SECTION_SIZE) {
            return None;
        }
        match self.l2_slot(virt) {
            Some(slot) => {
                let cut = !virt.is_aligned(LARGE_SIZE) && desc::is_large(slot.read(&self.lin));
                cut.then(|| (virt.align_down(LARGE_SIZE), LARGE_SIZE))
            }
            None => {
                let section = matches!(self.l1(virt), L1::Section(_));
                section.then(|| (virt.align_down(SECTION_SIZE), SECTION_SIZE))
            }
        }
    }

    /// Empties the entries of a range made of whole mappings; publishes, and leaves the TLB to the caller.
    fn remove_range(&mut self, virt: VirtAddr, len: u32) {
        for (at, size) in pieces(virt, len) {
            match self.l1(at) {
                L1::Table(table) => self.remove_pages(at, Slot::new(table, l2_index(at)), size / PAGE_SIZE),
                _ => {
                    let slot = self.l1_slot(at);
                    slot.write(&self.lin, 0);
                    self.publish(slot, 1);
                }
            }
        }
    }

    fn remove_pages(&mut self, virt: VirtAddr, first: Slot, pages: u32) {
        first.fill(&self.lin, pages, 0, 0);
        self.publish(first, pages);
        self.release_entries(virt, pages);
    }
}
