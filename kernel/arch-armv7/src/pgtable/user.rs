//! The table of an address space.

use super::change::check_prot;
use super::desc::{self, L1, L2, Leaf};
use super::memory::{Slot, clear_page};
use super::tables::{Occupancy, Tables, l2_index};
use hal::{
    Asid, LinearMap, MapError, Mapping, MemAttr, PageEntry, PageTable, Prot, Pte, SoftPte, SpaceTable,
    TablePages, TlbOps,
};
use types::{PAGE_SIZE, Pfn, PhysAddr, SECTION_SIZE, VirtAddr};

/// Entries of the first-level table: TTBCR.N = 2 leaves TTBR0 the lowest GiB.
const ROOT_ENTRIES: u32 = 1024;
const GROUPS: usize = 256;

/// Entries in use of each page of second-level tables: 512 bytes, so that giving back an empty one takes no scan.
struct Counts([u16; GROUPS]);

impl Occupancy for Counts {
    fn add(&mut self, group: u32, count: u32) {
        self.0[group as usize] += count as u16;
    }

    fn remove(&mut self, group: u32, count: u32) -> bool {
        self.0[group as usize] -= count as u16;
        self.0[group as usize] == 0
    }
}

/// The table of TTBR0 for one address space: addresses 0 to 1 GiB, entries that belong to an ASID.
///
/// Its first-level table is one page. Pages of second-level tables come from [`TablePages::supply`] and, when
/// their last entry is emptied, can be had back by [`TablePages::reclaim`].
pub struct UserTable<L, T> {
    tables: Tables<L, T, Counts>,
    asid: Asid,
}

/// An entry that faults.
#[inline]
const fn soft(entry: SoftPte) -> u32 {
    entry.pfn().addr().get() | (entry.kind() as u32) << 2
}

impl<L: LinearMap, T: TlbOps> UserTable<L, T> {
    /// An empty table in the lowmem page `root`, which must be unused.
    pub fn new(lin: L, tlb: T, root: Pfn, asid: Asid) -> Self {
        clear_page(&lin, root);
        let tables = Tables::new(lin, tlb, root.addr(), ROOT_ENTRIES, Some(asid), Counts([0; GROUPS]));
        tables.publish(Slot::new(root.addr(), 0), ROOT_ENTRIES);
        Self { tables, asid }
    }

    /// Whether nothing is mapped and no spare page is left to be reclaimed.
    pub fn is_empty(&self) -> bool {
        let unused = |index| Slot::new(self.tables.root, index).read(&self.tables.lin) == 0;
        !self.tables.has_spare() && (0..ROOT_ENTRIES).all(unused)
    }

    /// Gives up the table for the page of its first level. Pages of a table that [isn't empty](Self::is_empty)
    /// are lost.
    pub fn into_root(self) -> Pfn {
        Pfn::containing(self.tables.root)
    }

    #[inline]
    fn encode(&self, pte: Pte) -> Result<u32, MapError> {
        match pte {
            Pte::None => Ok(0),
            Pte::Soft(entry) => Ok(soft(entry)),
            Pte::Page(PageEntry { pfn, attr, prot, young }) => {
                check_prot(prot)?;
                Ok(desc::small(Leaf { phys: pfn.addr(), attr, prot, young, global: false }))
            }
        }
    }

    #[inline]
    fn decode(raw: u32, virt: VirtAddr) -> Result<Pte, MapError> {
        match desc::decode_l2(raw) {
            L2::Fault(soft) => {
                let soft = SoftPte::new(Pfn::new(soft >> 12), (soft >> 2 & 0x3ff) as u16);
                Ok(soft.map_or(Pte::None, Pte::Soft))
            }
            L2::Small(Leaf { phys, attr, prot, young, .. }) => {
                Ok(Pte::Page(PageEntry { pfn: Pfn::containing(phys), attr, prot, young }))
            }
            L2::Large(_) | L2::Foreign => Err(MapError::Splits { virt: virt.align_down(64 << 10) }),
        }
    }

    /// The slot for `virt` and what it holds; no slot where there is no table.
    #[inline]
    fn lookup(&self, virt: VirtAddr) -> Result<(Option<Slot>, Pte), MapError> {
        self.tables.check_range(virt, PAGE_SIZE)?;
        match self.tables.l1(virt) {
            L1::Fault => Ok((None, Pte::None)),
            L1::Section(_) | L1::Foreign => Err(MapError::Splits { virt: virt.align_down(SECTION_SIZE) }),
            L1::Table(table) => {
                let slot = Slot::new(table, l2_index(virt));
                Ok((Some(slot), Self::decode(slot.read(&self.tables.lin), virt)?))
            }
        }
    }

    #[inline]
    fn write(&self, slot: Slot, raw: u32) {
        slot.write(&self.tables.lin, raw);
        self.tables.publish(slot, 1);
    }
}

/// The place of an entry, and what it was.
#[derive(Clone, Copy, Debug)]
pub struct Suspended {
    slot: Slot,
    raw: u32,
}

impl<L: LinearMap, T: TlbOps> SpaceTable for UserTable<L, T> {
    type Suspended = Suspended;

    fn root(&self) -> PhysAddr {
        self.tables.root
    }

    fn asid(&self) -> Asid {
        self.asid
    }

    fn set_asid(&mut self, asid: Asid) {
        self.asid = asid;
        self.tables.asid = Some(asid);
    }

    fn pte(&self, virt: VirtAddr) -> Result<Pte, MapError> {
        match self.lookup(virt) {
            Ok((_, pte)) => Ok(pte),
            Err(MapError::Misaligned { .. }) => Ok(Pte::None),
            Err(error) => Err(error),
        }
    }

    #[inline]
    fn replace_pte(&mut self, virt: VirtAddr, new: Pte) -> Result<Pte, MapError> {
        self.update_pte(virt, |_| Some(new))
    }

    #[inline]
    fn update_pte(
        &mut self,
        virt: VirtAddr,
        change: impl FnOnce(Pte) -> Option<Pte>,
    ) -> Result<Pte, MapError> {
        let (slot, old) = self.lookup(virt)?;
        let Some(new) = change(old) else { return Ok(old) };
        let raw = self.encode(new)?;
        let slot = match slot {
            Some(slot) => slot,
            None if new == Pte::None => return Ok(old),
            None => self.tables.l2_slot_or_link(virt)?,
        };
        if let Pte::Page(_) = old {
            self.write(slot, if raw & 3 == 0 { raw } else { 0 });
            self.tables.flush(virt, PAGE_SIZE);
        }
        if raw & 3 != 0 || !matches!(old, Pte::Page(_)) {
            self.write(slot, raw);
        }
        match (old == Pte::None, raw == 0) {
            (true, false) => self.tables.use_entries(virt, 1),
            (false, true) => self.tables.release_entries(virt, 1),
            _ => {}
        }
        Ok(old)
    }

    #[inline]
    fn suspend(
        &mut self,
        virt: VirtAddr,
        waiting: impl FnOnce(PageEntry) -> Option<SoftPte>,
    ) -> Option<Suspended> {
        if virt.get() >= ROOT_ENTRIES * SECTION_SIZE {
            return None;
        }
        let slot = self.tables.l2_slot(virt)?;
        let raw = slot.read(&self.tables.lin);
        let (prot, young) = desc::data_page(raw)?;
        let pfn = Pfn::containing(PhysAddr::new(raw));
        let waiting = waiting(PageEntry { pfn, attr: MemAttr::Normal, prot, young })?;
        self.write(slot, soft(waiting));
        self.tables.tlb.flush_page(virt, self.asid);
        Some(Suspended { slot, raw })
    }

    #[inline]
    fn resume(&mut self, Suspended { slot, raw }: Suspended, to: Pfn) -> bool {
        self.write(slot, desc::with_page(raw, to.addr()));
        desc::data_page(raw).is_some_and(|(_, young)| young)
    }

    fn take_pte_lazily(&mut self, virt: VirtAddr) -> Result<Pte, MapError> {
        let (slot, old) = self.lookup(virt)?;
        if let Some(slot) = slot
            && old != Pte::None
        {
            self.write(slot, 0);
            self.tables.release_entries(virt, 1);
        }
        Ok(old)
    }

    fn next_used(&self, from: VirtAddr, end: VirtAddr) -> Option<VirtAddr> {
        let mut at = from.align_down(PAGE_SIZE).get();
        let end = end.get().min(ROOT_ENTRIES * SECTION_SIZE);
        while at < end {
            let virt = VirtAddr::new(at);
            match self.tables.l1(virt) {
                L1::Fault => at = (at | (SECTION_SIZE - 1)) + 1,
                L1::Table(_) if self.tables.l2_slot(virt)?.read(&self.tables.lin) == 0 => at += PAGE_SIZE,
                _ => return Some(virt),
            }
        }
        None
    }
}

impl<L: LinearMap, T: TlbOps> PageTable for UserTable<L, T> {
    fn map(
        &mut self,
        virt: VirtAddr,
        phys: PhysAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
    ) -> Result<(), MapError> {
        self.tables.map(virt, len, Leaf { phys, attr, prot, young: true, global: false })
    }

    fn unmap(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        self.tables.unmap(virt, len)?;
        self.tables.flush(virt, len);
        Ok(())
    }

    fn unmap_lazily(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        self.tables.unmap(virt, len)
    }

    fn protect(&mut self, virt: VirtAddr, len: u32, attr: MemAttr, prot: Prot) -> Result<(), MapError> {
        self.tables.protect(virt, len, attr, prot, &[])
    }

    fn translate(&self, virt: VirtAddr) -> Option<Mapping> {
        self.tables.translate(virt)
    }
}

impl<L: LinearMap, T: TlbOps> TablePages for UserTable<L, T> {
    fn tables_needed(&self, virt: VirtAddr, len: u32) -> u32 {
        self.tables.tables_needed(virt, len)
    }

    fn supply(&mut self, page: Pfn) {
        self.tables.put_spare(page);
    }

    fn reclaim(&mut self) -> Option<Pfn> {
        self.tables.pop_spare()
    }
}
