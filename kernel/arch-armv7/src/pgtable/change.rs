//! Mapping and unmapping of ranges.

use super::desc::{self, L1, L2, Leaf};
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

impl<L: LinearMap, T: TlbOps, C: Occupancy> Tables<L, T, C> {
    /// Maps `len` bytes from `virt` on to the memory from `leaf.phys` on.
    pub fn map(&mut self, virt: VirtAddr, len: u32, leaf: Leaf) -> Result<(), MapError> {
        self.check_range(virt, len)?;
        check_prot(leaf.prot)?;
        if !leaf.phys.is_aligned(PAGE_SIZE) || u64::from(leaf.phys.get()) + u64::from(len) > 1 << 32 {
            return Err(MapError::Misaligned { virt });
        }
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

    fn map_piece(&mut self, virt: VirtAddr, size: u32, leaf: Leaf) -> Result<(), MapError> {
        if size == SECTION_SIZE && leaf.phys.is_aligned(SECTION_SIZE) {
            self.map_section(virt, leaf)
        } else {
            self.map_pages(virt, size / PAGE_SIZE, leaf)
        }
    }

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
        let mut page = 0;
        while page < pages {
            let leaf = leaf_after(leaf, page * PAGE_SIZE);
            let fits = pages - page >= LARGE_ENTRIES && leaf.phys.is_aligned(LARGE_SIZE);
            if fits && page_after(virt, page).is_aligned(LARGE_SIZE) {
                let raw = desc::large(leaf);
                (0..LARGE_ENTRIES).for_each(|copy| first.add(page + copy).write(&self.lin, raw));
                page += LARGE_ENTRIES;
            } else {
                first.add(page).write(&self.lin, desc::small(leaf));
                page += 1;
            }
        }
    }

    fn check_empty(&self, virt: VirtAddr, first: Slot, pages: u32) -> Result<(), MapError> {
        match (0..pages).find(|&page| first.add(page).read(&self.lin) != 0) {
            None => Ok(()),
            Some(page) => {
                let raw = first.add(page).read(&self.lin);
                let in_large = matches!(desc::decode_l2(raw), L2::Large(_));
                let virt = page_after(virt, page);
                let phys = if in_large { raw & !0xffff | virt.get() & 0xf000 } else { raw & !0xfff };
                Err(MapError::Occupied { virt, phys: PhysAddr::new(phys) })
            }
        }
    }

    /// Unmaps; the TLB is left to the caller.
    pub fn unmap(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        self.check_range(virt, len)?;
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
                    (0..size / PAGE_SIZE).find(|&page| first.add(page).read(&self.lin) & 3 == 0)
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
        let (_, size) = self.leaf(virt)?;
        (!virt.is_aligned(size)).then(|| (virt.align_down(size), size))
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
        (0..pages).for_each(|page| first.add(page).write(&self.lin, 0));
        self.publish(first, pages);
        self.release_entries(virt, pages);
    }
}
