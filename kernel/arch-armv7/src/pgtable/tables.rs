//! The two levels of tables as one value: finding entries, and linking and unlinking second-level tables.
//!
//! ```text
//! first level     … | 4k | 4k+1 | 4k+2 | 4k+3 | …      4 MiB of virtual addresses
//!                      |     |      |      |
//! one 4 KiB page    [ 1 KiB | 1 KiB | 1 KiB | 1 KiB ]  each 256 entries of 4 KiB
//! ```
//!
//! The four tables of a page are linked one by one, as they are needed: their neighbours may be sections. A page
//! is found again through any of its linked tables; when the last one is unlinked it goes to the spare pages.
//! Spare pages are chained through their first word, so there may be any number of them.

use super::desc::{self, L1, Leaf};
use super::memory::{ENTRY, Slot, clear_page};
use hal::{Asid, MapError, TlbOps};
use types::{PAGE_SIZE, Pfn, PhysAddr, SECTION_SIZE, VirtAddr};

/// Entries in a second-level table.
pub const L2_ENTRIES: u32 = 256;
/// Bytes in a large page.
pub const LARGE_SIZE: u32 = 64 << 10;
/// Entries that a large page takes.
pub const LARGE_ENTRIES: u32 = LARGE_SIZE / PAGE_SIZE;
const L2_BYTES: u32 = L2_ENTRIES * ENTRY;
/// More pages than this, and dropping everything is cheaper than dropping them one by one.
const FLUSH_EACH_MAX: u32 = 64;
const NO_SPARE: u32 = u32::MAX;

/// Counts the entries in use per page of second-level tables, so that an empty one can be given back.
pub trait Occupancy {
    /// `count` entries of the table page for the 4 MiB numbered `group` came into use.
    fn add(&mut self, group: u32, count: u32);
    /// `count` entries went out of use; whether the page is empty and is to be given back.
    fn remove(&mut self, group: u32, count: u32) -> bool;
}

/// Table pages stay once they are there.
pub struct Keep;

impl Occupancy for Keep {
    fn add(&mut self, _group: u32, _count: u32) {}

    fn remove(&mut self, _group: u32, _count: u32) -> bool {
        false
    }
}

/// See the [module](self).
pub struct Tables<L, T, C> {
    pub lin: L,
    pub tlb: T,
    pub root: PhysAddr,
    /// First-level entries that the table has; it begins at address 0.
    pub l1_entries: u32,
    /// `None` for the kernel, whose entries are global.
    pub asid: Option<Asid>,
    pub used: C,
    spare: u32,
    spares: u32,
}

/// `[virt, virt + len)`, cut at multiples of 1 MiB.
pub fn pieces(virt: VirtAddr, len: u32) -> impl Iterator<Item = (VirtAddr, u32)> {
    let mut at = virt.get();
    let mut left = len;
    core::iter::from_fn(move || {
        let size = left.min(SECTION_SIZE - at % SECTION_SIZE);
        let piece = (VirtAddr::new(at), size);
        at = at.wrapping_add(size);
        left -= size;
        (size > 0).then_some(piece)
    })
}

/// The index of `virt`'s entry in its second-level table.
pub const fn l2_index(virt: VirtAddr) -> u32 {
    virt.get() / PAGE_SIZE % L2_ENTRIES
}

/// `pages` further on; wraps at the end of the space, where no caller looks.
pub const fn page_after(virt: VirtAddr, pages: u32) -> VirtAddr {
    VirtAddr::new(virt.get().wrapping_add(pages * PAGE_SIZE))
}

impl<L: hal::LinearMap, T: TlbOps, C: Occupancy> Tables<L, T, C> {
    pub fn new(lin: L, tlb: T, root: PhysAddr, l1_entries: u32, asid: Option<Asid>, used: C) -> Self {
        Self { lin, tlb, root, l1_entries, asid, used, spare: NO_SPARE, spares: 0 }
    }

    /// Refuses ranges of other than whole pages, and those outside of the table's span.
    pub fn check_range(&self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        let aligned = (virt.get() | len).is_multiple_of(PAGE_SIZE);
        let last = virt.get().checked_add(len.saturating_sub(1));
        match last {
            Some(last) if aligned && last / SECTION_SIZE < self.l1_entries => Ok(()),
            _ => Err(MapError::Misaligned { virt }),
        }
    }

    pub fn l1_slot(&self, virt: VirtAddr) -> Slot {
        Slot::new(self.root, virt.get() / SECTION_SIZE)
    }

    pub fn l1(&self, virt: VirtAddr) -> L1 {
        desc::decode_l1(self.l1_slot(virt).read(&self.lin))
    }

    /// The slot of the page at `virt` in its second-level table, if there is one.
    #[inline]
    pub fn l2_slot(&self, virt: VirtAddr) -> Option<Slot> {
        let table = desc::table_of(self.l1_slot(virt).read(&self.lin))?;
        Some(Slot::new(table, l2_index(virt)))
    }

    /// The entry that translates `virt`, and the bytes it covers.
    pub fn leaf(&self, virt: VirtAddr) -> Option<(Leaf, u32)> {
        match self.l1(virt) {
            L1::Section(leaf) => Some((leaf, SECTION_SIZE)),
            L1::Table(table) => match desc::decode_l2(Slot::new(table, l2_index(virt)).read(&self.lin)) {
                desc::L2::Large(leaf) => Some((leaf, LARGE_SIZE)),
                desc::L2::Small(leaf) => Some((leaf, PAGE_SIZE)),
                desc::L2::Fault(_) | desc::L2::Foreign => None,
            },
            L1::Fault | L1::Foreign => None,
        }
    }

    /// Makes `count` entries from `slot` on visible to table walks.
    pub fn publish(&self, slot: Slot, count: u32) {
        self.tlb.publish(slot.ptr(&self.lin).cast_const().cast(), (count * ENTRY) as usize);
    }

    /// Drops the TLB entries for a range of which the table entries are invalid and published.
    pub fn flush(&self, virt: VirtAddr, len: u32) {
        let pages = len / PAGE_SIZE;
        if pages <= FLUSH_EACH_MAX {
            let asid = self.asid.unwrap_or(Asid(0));
            self.tlb.flush_pages(virt, pages, asid);
        } else {
            self.asid.map_or_else(|| self.tlb.flush_all(), |asid| self.tlb.flush_asid(asid));
        }
    }

    /// The page that holds the second-level tables around `virt`, found through a linked one.
    fn group_page(&self, virt: VirtAddr) -> Option<Pfn> {
        let first = virt.align_down(4 * SECTION_SIZE);
        (0..4).find_map(|quarter| match self.l1(page_after(first, quarter * L2_ENTRIES)) {
            L1::Table(table) if table.get() % PAGE_SIZE == quarter * L2_BYTES => Some(Pfn::containing(table)),
            _ => None,
        })
    }

    /// The slot of the page at `virt`, in a table that is linked now if it wasn't.
    #[inline]
    pub fn l2_slot_or_link(&mut self, virt: VirtAddr) -> Result<Slot, MapError> {
        match self.l2_slot(virt) {
            Some(slot) => Ok(slot),
            None => self.link_at(virt),
        }
    }

    #[cold]
    #[inline(never)]
    fn link_at(&mut self, virt: VirtAddr) -> Result<Slot, MapError> {
        match self.l1(virt) {
            L1::Table(table) => Ok(Slot::new(table, l2_index(virt))),
            L1::Fault => Ok(Slot::new(self.link(virt)?, l2_index(virt))),
            L1::Section(leaf) => {
                let phys = leaf.phys.get() + virt.get() % SECTION_SIZE;
                Err(MapError::Occupied { virt, phys: PhysAddr::new(phys) })
            }
            L1::Foreign => Err(MapError::Splits { virt: virt.align_down(SECTION_SIZE) }),
        }
    }

    /// Links an empty table at the empty first-level entry for `virt`.
    fn link(&mut self, virt: VirtAddr) -> Result<PhysAddr, MapError> {
        let table = self.new_table(virt)?;
        let slot = self.l1_slot(virt);
        slot.write(&self.lin, desc::table(table));
        self.publish(slot, 1);
        Ok(table)
    }

    /// An empty second-level table for the MiB that holds `virt`, not linked.
    pub fn new_table(&mut self, virt: VirtAddr) -> Result<PhysAddr, MapError> {
        let page = match self.group_page(virt) {
            Some(page) => page,
            None => self.take_spare().ok_or(MapError::NoTable)?,
        };
        let quarter = virt.get() / SECTION_SIZE % 4;
        Ok(PhysAddr::new(page.addr().get() + quarter * L2_BYTES))
    }

    /// Unlinks the empty table for `virt`'s MiB; its page becomes spare when no other quarter is linked.
    pub fn unlink(&mut self, virt: VirtAddr) {
        let page = self.group_page(virt);
        let slot = self.l1_slot(virt);
        slot.write(&self.lin, 0);
        self.publish(slot, 1);
        // One page stands for the MiB: what goes stale with it is the walker's copy of the first-level entry.
        self.flush(virt.align_down(SECTION_SIZE), PAGE_SIZE);
        if let Some(page) = page
            && self.group_page(virt).is_none()
        {
            self.put_spare(page);
        }
    }

    /// Notes that `count` entries of the MiB at `virt` are empty now; gives the page back with its last one.
    pub fn release_entries(&mut self, virt: VirtAddr, count: u32) {
        let first = virt.align_down(4 * SECTION_SIZE);
        if self.used.remove(first.get() / (4 * SECTION_SIZE), count) {
            for quarter in 0..4 {
                let virt = page_after(first, quarter * L2_ENTRIES);
                if matches!(self.l1(virt), L1::Table(_)) {
                    self.unlink(virt);
                }
            }
        }
    }

    /// Notes that `count` entries of the MiB at `virt` are in use now.
    pub fn use_entries(&mut self, virt: VirtAddr, count: u32) {
        self.used.add(virt.get() / (4 * SECTION_SIZE), count);
    }

    pub fn tables_needed(&self, virt: VirtAddr, len: u32) -> u32 {
        if len == 0 {
            return 0;
        }
        let first = virt.get() / (4 * SECTION_SIZE);
        let last = virt.get().saturating_add(len - 1) / (4 * SECTION_SIZE);
        let base = |group: u32| VirtAddr::new(group * 4 * SECTION_SIZE);
        let missing = (first..=last).filter(|&group| self.group_page(base(group)).is_none()).count() as u32;
        missing.saturating_sub(self.spares)
    }

    pub fn put_spare(&mut self, page: Pfn) {
        Slot::new(page.addr(), 0).write(&self.lin, self.spare);
        self.spare = page.get();
        self.spares += 1;
    }

    pub fn has_spare(&self) -> bool {
        self.spares > 0
    }

    /// A page out of the spare ones, contents unspecified.
    pub fn pop_spare(&mut self) -> Option<Pfn> {
        let page = (self.spare != NO_SPARE).then(|| Pfn::new(self.spare))?;
        self.spare = Slot::new(page.addr(), 0).read(&self.lin);
        self.spares -= 1;
        Some(page)
    }

    fn take_spare(&mut self) -> Option<Pfn> {
        let page = self.pop_spare()?;
        clear_page(&self.lin, page);
        self.publish(Slot::new(page.addr(), 0), PAGE_SIZE / ENTRY);
        Some(page)
    }
}
