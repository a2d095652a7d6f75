//! The fixmap: virtual addresses that are known at link time, whose pages are mapped when they are needed.
//!
//! One static page holds the second-level tables of the last 4 MiB, so a slot can be filled before there is any
//! memory allocator, and keeps its address when the final tables take over (they link the same page).
//!
//! ```text
//! 0xffc0_0000  513 pages  device tree (2 MiB and what its first page adds): appended or long trees
//! 0xffe0_1000  7 x 32     early ioremap
//! 0xffee_1000  16 pages   pages of highmem, mapped for a moment (`kmap_local`)
//! 0xffef_1000             free
//! 0xffef_c000  1 page     text patching (arch-armv7/src/patch.rs)
//! 0xffef_d000  1 page     the code that switches tables (kmap/switch.rs)
//! 0xffef_e000  1 page     free
//! 0xffef_f000  1 page     early console
//! 0xfff0_0000             the end; 0xffff_0000 above it are the vectors
//! ```
//!
//! Portable: the table is a slice of words, the TLB is `hal`'s. Keeps invariant 10, and break-before-make: a slot is
//! emptied, with its TLB entry, before it is filled again. Source: Linux's `arch/arm/include/asm/fixmap.h`.

use crate::pgtable::desc::{self, L2, Leaf};
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use hal::{Asid, MemAttr, Prot, TlbOps};
use types::{PAGE_SIZE, PhysAddr, VirtAddr};

/// First address of the fixmap.
pub const FIXADDR_START: u32 = 0xffc0_0000;
/// The address after its last.
pub const FIXADDR_END: u32 = 0xfff0_0000;
/// Entries in the static page: four second-level tables.
pub const ENTRIES: usize = 1024;
/// Slots of the early ioremap.
pub const IOREMAP_SLOTS: usize = 7;
/// Pages in each of them.
pub const IOREMAP_PAGES: u32 = 32;

/// Pages of highmem that can be mapped at a time.
pub const KMAP_SLOTS: usize = 16;

const DT_PAGES: u32 = 513;
const IOREMAP_START: u32 = FIXADDR_START + DT_PAGES * PAGE_SIZE;
const KMAP_START: u32 = IOREMAP_START + IOREMAP_SLOTS as u32 * IOREMAP_PAGES * PAGE_SIZE;

/// The static page: four second-level tables, aligned as the first-level entries want.
#[repr(C, align(4096))]
pub struct Table(pub [AtomicU32; ENTRIES]);

impl Table {
    /// Without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; ENTRIES])
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

/// What the slots are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// A device tree that the boot sections don't cover.
    DeviceTree,
    /// The page of the early UART's registers.
    EarlyConsole,
    /// A writable alias of a page of kernel text, for as long as it is patched.
    TextPoke,
    /// The code that switches translation tables.
    Switch,
    /// Registers and boot data before there is an ioremap: one of [`IOREMAP_SLOTS`].
    EarlyIoremap(u8),
    /// A page that the linear map does not reach: one of [`KMAP_SLOTS`].
    Kmap(u8),
}

impl Slot {
    /// The first address of the slot.
    #[must_use]
    pub const fn virt(self) -> VirtAddr {
        VirtAddr::new(match self {
            Self::DeviceTree => FIXADDR_START,
            Self::EarlyIoremap(slot) => IOREMAP_START + slot as u32 * IOREMAP_PAGES * PAGE_SIZE,
            Self::Kmap(slot) => KMAP_START + slot as u32 * PAGE_SIZE,
            Self::TextPoke => FIXADDR_END - 4 * PAGE_SIZE,
            Self::Switch => FIXADDR_END - 3 * PAGE_SIZE,
            Self::EarlyConsole => FIXADDR_END - PAGE_SIZE,
        })
    }

    /// Its size.
    #[must_use]
    pub const fn pages(self) -> u32 {
        match self {
            Self::DeviceTree => DT_PAGES,
            Self::EarlyIoremap(_) => IOREMAP_PAGES,
            Self::TextPoke | Self::Switch | Self::EarlyConsole | Self::Kmap(_) => 1,
        }
    }
}

/// Why nothing was mapped or unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FixmapError {
    /// `[phys, phys + len)` needs more pages than the slot has, wraps, or is empty.
    Size {
        /// First byte.
        phys: PhysAddr,
        /// Bytes.
        len: u32,
        /// Pages of the slot.
        pages: u32,
    },
    /// The slot is filled, with the page at `phys`.
    Occupied {
        /// The slot.
        slot: Slot,
        /// What it is filled with.
        phys: PhysAddr,
    },
    /// Every slot for the purpose is filled.
    NoSlot {
        /// First byte of what should have been mapped.
        phys: PhysAddr,
    },
}

impl fmt::Display for FixmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { phys, len, pages } => {
                write!(f, "fixmap: {len} bytes at {phys} do not fit into {pages} pages")
            }
            Self::Occupied { slot, phys } => {
                write!(f, "fixmap: the slot at {} is filled, with {phys}", slot.virt())
            }
            Self::NoSlot { phys } => write!(f, "fixmap: no free slot for {phys}"),
        }
    }
}

impl core::error::Error for FixmapError {}

/// The fixmap over its static page.
pub struct Fixmap<T> {
    table: &'static Table,
    tlb: T,
}

impl<T: TlbOps> Fixmap<T> {
    /// The fixmap that `table` holds. One value at a time manages it (invariant 2).
    pub const fn new(table: &'static Table, tlb: T) -> Self {
        Self { table, tlb }
    }

    /// First-level entries for the four MiB from [`FIXADDR_START`] on, when the table lies at `phys`.
    #[must_use]
    pub fn links(phys: PhysAddr) -> [u32; 4] {
        let at = |quarter: u32| desc::table(PhysAddr::new(phys.get() + quarter * 0x400));
        [at(0), at(1), at(2), at(3)]
    }

    /// Fills a slot with the pages that `[phys, phys + len)` touches; the address of `phys` in it.
    ///
    /// # Errors
    /// [`FixmapError::Size`], [`FixmapError::Occupied`].
    pub fn map(
        &mut self,
        slot: Slot,
        phys: PhysAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
    ) -> Result<VirtAddr, FixmapError> {
        let size = FixmapError::Size { phys, len, pages: slot.pages() };
        let within = phys.get() % PAGE_SIZE;
        let pages = within.checked_add(len).ok_or(size)?.div_ceil(PAGE_SIZE);
        if len == 0 || pages > slot.pages() || phys.checked_add(len - 1).is_none() {
            return Err(size);
        }
        if let Some(phys) = self.first_page(slot) {
            return Err(FixmapError::Occupied { slot, phys });
        }
        let first = phys.align_down(PAGE_SIZE).get();
        for (page, entry) in self.entries(slot).iter().take(pages as usize).enumerate() {
            let phys = PhysAddr::new(first + page as u32 * PAGE_SIZE);
            entry.store(desc::small(Leaf { phys, attr, prot, young: true, global: true }), Ordering::Relaxed);
        }
        self.publish(slot);
        Ok(VirtAddr::new(slot.virt().get() + within))
    }

    /// Empties a slot, with its TLB entries. An empty one stays empty.
    pub fn unmap(&mut self, slot: Slot) {
        let mut pages = 0;
        for entry in self.entries(slot).iter().take_while(|entry| entry.load(Ordering::Relaxed) != 0) {
            entry.store(0, Ordering::Relaxed);
            pages += 1;
        }
        self.publish(slot);
        (0..pages).for_each(|page| {
            self.tlb.flush_page(VirtAddr::new(slot.virt().get() + page * PAGE_SIZE), Asid(0));
        });
    }

    /// Maps up to 32 pages into a free early ioremap slot.
    ///
    /// # Errors
    /// [`FixmapError::NoSlot`], [`FixmapError::Size`].
    pub fn early_ioremap(
        &mut self,
        phys: PhysAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
    ) -> Result<EarlyMapping, FixmapError> {
        let slots = (0..IOREMAP_SLOTS as u8).map(Slot::EarlyIoremap);
        self.map_free(slots, phys, len, attr, prot)
    }

    fn map_free(
        &mut self,
        mut slots: impl Iterator<Item = Slot>,
        phys: PhysAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
    ) -> Result<EarlyMapping, FixmapError> {
        let free = slots.find(|&slot| self.first_page(slot).is_none()).ok_or(FixmapError::NoSlot { phys })?;
        let virt = self.map(free, phys, len, attr, prot)?;
        Ok(EarlyMapping { slot: free, virt, len })
    }

    /// Maps a page for a moment, writable (`kmap_local_page`); up to [`KMAP_SLOTS`] at a time.
    ///
    /// # Errors
    /// [`FixmapError::NoSlot`].
    pub fn kmap_local(&mut self, phys: PhysAddr) -> Result<EarlyMapping, FixmapError> {
        let slots = (0..KMAP_SLOTS as u8).map(Slot::Kmap);
        self.map_free(slots, phys, PAGE_SIZE, MemAttr::Normal, Prot::WRITE)
    }

    /// Ends what [`Fixmap::early_ioremap`] or [`Fixmap::kmap_local`] mapped.
    pub fn end(&mut self, mapping: EarlyMapping) {
        self.unmap(mapping.slot);
    }

    /// The physical address of a slot's first page, when it is filled.
    #[must_use]
    pub fn first_page(&self, slot: Slot) -> Option<PhysAddr> {
        match desc::decode_l2(self.entries(slot)[0].load(Ordering::Relaxed)) {
            L2::Small(leaf) => Some(leaf.phys),
            _ => None,
        }
    }

    fn entries(&self, slot: Slot) -> &'static [AtomicU32] {
        let first = ((slot.virt().get() - FIXADDR_START) / PAGE_SIZE) as usize;
        &self.table.0[first..first + slot.pages() as usize]
    }

    fn publish(&self, slot: Slot) {
        let entries = self.entries(slot);
        self.tlb.publish(entries.as_ptr().cast(), size_of_val(entries));
    }
}

/// What [`Fixmap::early_ioremap`] or [`Fixmap::kmap_local`] mapped; [`Fixmap::end`] takes it
/// back.
#[must_use]
#[derive(PartialEq, Eq, Debug)]
pub struct EarlyMapping {
    slot: Slot,
    virt: VirtAddr,
    len: u32,
}

impl EarlyMapping {
    /// Where its first byte is.
    #[must_use]
    pub const fn virt(&self) -> VirtAddr {
        self.virt
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.len
    }
}

#[cfg(test)]
mod tests;
