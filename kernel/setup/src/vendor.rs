//! The SSD202 vendor's arguments: memory sizes, windows at fixed offsets, and heaps.
//!
//! ```text
//! PHYS_OFFSET                              0x26c00000      0x27c00000  0x27f00000
//! |------------- RAM (LX_MEM) -------------|-- mma_heap ---|--- fb ----|
//!                              cma 8 MiB   |  16 MiB       |  3 MiB    |
//! ```
//!
//! `LX_MEM=` replaces the memory that the tree describes, as `mem=` does; `LX_MEM2=` and `LX_MEM3=` add banks.
//! `mmap_reserved=` goes to the top of its window, then each `mma_heap=` to the top of its own or of the whole
//! memory interface unit. Offsets count from the start of MIU 0, which is PHYS_OFFSET; there is no other unit
//! here. Sizes are rounded up to pages. A heap is removed from memory with `mma_memblock_remove=1`.
//!
//! The lines are those of the vendor's 4.9 kernel, to the letter of the SSD202 document's log; they appear only
//! when the arguments do. What goes wrong has words of ours, because the vendor's are not known.
//!
//! Source: the SSD202 document (its log and its command line).

use crate::list::List;
use crate::ram::add_given;
use crate::regions::{MAX_VENDOR_REGIONS, Regions, VendorKind, VendorRegion};
use core::fmt;
use dt::{MmaHeap, MmapReserved, OffsetWindow};
use mm::memblock::{Memblock, MemblockError};
use types::{PAGE_SIZE, PhysAddr, PhysRange, align_up};

/// A bank of `LX_MEM*`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bank {
    pub(crate) base: u32,
    pub(crate) size: u32,
}

/// What the vendor's arguments say.
#[derive(Default)]
pub(crate) struct Vendor<'a> {
    /// `LX_MEM`, `LX_MEM2`, `LX_MEM3`.
    pub(crate) banks: [Option<Bank>; 3],
    pub(crate) heaps: List<MmaHeap<'a>, MAX_VENDOR_REGIONS>,
    pub(crate) mmaps: List<MmapReserved<'a>, MAX_VENDOR_REGIONS>,
    pub(crate) remove_heaps: bool,
}

/// Why a region of the vendor's arguments is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlaceError {
    /// No memory interface unit of this number.
    NoMiu(u32),
    /// No free RAM of this size in the window.
    NoRoom {
        /// Bytes, rounded to pages.
        size: u32,
        /// Where it was looked for.
        window: PhysRange,
    },
    /// Another region has this name.
    NameTaken,
    /// There are [`MAX_VENDOR_REGIONS`] already.
    TooMany,
    /// memblock could not record it.
    Memblock(MemblockError),
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMiu(miu) => write!(f, "there is no miu {miu}"),
            Self::NoRoom { size, window } => write!(f, "no free {size:#x} bytes in {window}"),
            Self::NameTaken => f.write_str("the name is taken, the first counts"),
            Self::TooMany => write!(f, "more than {MAX_VENDOR_REGIONS} regions"),
            Self::Memblock(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PlaceError {}

impl<'a> Vendor<'a> {
    /// Registers the banks and says so. `mem=` has precedence over `LX_MEM` in replacing the tree's memory.
    pub(crate) fn add_banks(&self, memblock: &mut Memblock<'_>, phys_offset: PhysAddr, mem_given: bool) {
        if self.banks.iter().all(Option::is_none) {
            return;
        }
        let size = self.banks[0].map_or(0, |bank| bank.size);
        log::info!("LXmem is {size:#x} PHYS_OFFSET is {phys_offset:#x}", phys_offset = phys_offset.get());
        if size < PAGE_SIZE {
            log::warn!("LX_MEM={size:#x}: less than a page, the memory described otherwise stays");
        } else if !mem_given {
            let dram = PhysRange::from_bounds(memblock.start_of_dram(), memblock.end_of_dram());
            crate::note(memblock.remove(dram));
        }
        for bank in self.banks.iter().flatten().filter(|bank| bank.size != 0) {
            log::info!("Add mem start {:#x} size {:#x}!!!!", bank.base, bank.size);
            add_given(memblock, u64::from(bank.base), u64::from(bank.size), phys_offset);
        }
        self.say_banks(phys_offset);
    }

    fn say_banks(&self, phys_offset: PhysAddr) {
        let first = Bank { base: phys_offset.get(), size: 0 };
        let defaults = [first, Bank::default(), Bank::default()];
        log::info!("");
        for (name, (bank, default)) in
            ["LX_MEM", "LX_MEM2", "LX_MEM3"].iter().zip(self.banks.iter().zip(defaults))
        {
            let Bank { base, size } = bank.unwrap_or(default);
            log::info!("{name} = {base:#x}, {size:#x}");
        }
        log::info!("EMAC_LEN= 0x0");
        log::info!("DRAM_LEN= 0x0");
    }

    /// The machine's reservations: all of `mmap_reserved=`, then all of `mma_heap=`.
    pub(crate) fn reserve(
        &self,
        memblock: &mut Memblock<'_>,
        regions: &mut Regions<'a>,
        phys_offset: PhysAddr,
    ) {
        for (i, mmap) in self.mmaps.iter().enumerate() {
            let MmapReserved { name, miu, size, window } = *mmap;
            let wanted = Wanted { name, miu, size, window: Some(window), kind: VendorKind::Mmap };
            match wanted.place(memblock, regions, phys_offset) {
                Ok(base) => {
                    say_placed("deal_with_reserved_mmap", "mmap_reserved_config", i, base);
                    log::info!("");
                }
                Err(error) => log::error!("mmap_reserved {name}: {error}"),
            }
        }
        let kind = if self.remove_heaps { VendorKind::RemovedHeap } else { VendorKind::Heap };
        for (i, heap) in self.heaps.iter().enumerate() {
            let MmaHeap { name, miu, size, window } = *heap;
            match (Wanted { name, miu, size, window, kind }).place(memblock, regions, phys_offset) {
                Ok(base) => say_placed("deal_with_reserve_mma_heap", "mma_config", i, base),
                Err(error) => log::error!("mma_heap {name}: {error}"),
            }
        }
    }
}

/// Two lines, because the vendor's text has a line break in it.
fn say_placed(function: &str, table: &str, i: usize, base: PhysAddr) {
    log::info!("{function} memblock_reserve success {table}[{i}].reserved_start=");
    log::info!("{base}");
}

/// A region to be placed.
struct Wanted<'a> {
    name: &'a str,
    miu: u32,
    size: u32,
    window: Option<OffsetWindow>,
    kind: VendorKind,
}

impl<'a> Wanted<'a> {
    /// Finds room from the top of the window, page-aligned, and takes it.
    fn place(
        &self,
        memblock: &mut Memblock<'_>,
        regions: &mut Regions<'a>,
        phys_offset: PhysAddr,
    ) -> Result<PhysAddr, PlaceError> {
        self.check(regions)?;
        let window = self.physical_window(phys_offset);
        let no_room = PlaceError::NoRoom { size: self.size, window };
        let size = align_up(self.size, PAGE_SIZE).filter(|&size| size <= window.size()).ok_or(no_room)?;
        let (start, end) = (window.base().get(), window.end().get());
        let base = memblock.find_in_range(start, end, size, PAGE_SIZE);
        let range = PhysRange::new(base.ok_or(PlaceError::NoRoom { size, window })?, size);
        let taken = match self.kind {
            VendorKind::RemovedHeap => memblock.remove(range),
            VendorKind::Mmap | VendorKind::Heap => memblock.reserve(range),
        };
        taken.map_err(PlaceError::Memblock)?;
        let region = VendorRegion { name: self.name, range, kind: self.kind, shared: false };
        regions.vendor.push(region).map_err(|_| PlaceError::TooMany)?;
        Ok(range.base())
    }

    fn check(&self, regions: &Regions<'_>) -> Result<(), PlaceError> {
        if self.miu != 0 {
            return Err(PlaceError::NoMiu(self.miu));
        }
        if regions.vendor.is_full() {
            return Err(PlaceError::TooMany);
        }
        let taken = regions.vendor().any(|region| region.name == self.name);
        if taken { Err(PlaceError::NameTaken) } else { Ok(()) }
    }

    fn physical_window(&self, phys_offset: PhysAddr) -> PhysRange {
        let at = |offset: u32| PhysAddr::new(phys_offset.get().saturating_add(offset));
        match self.window {
            Some(window) => PhysRange::from_bounds(at(window.start), at(window.end)),
            None => PhysRange::from_bounds(phys_offset, PhysAddr::new(u32::MAX)),
        }
    }
}
