//! Page tables and TLBs.

use bitflags::bitflags;
use core::fmt;
use types::{PAGE_SIZE, PhysAddr, VirtAddr};

/// Memory type of a mapping (ARM DDI 0406C, A3.5). A physical range has one of them at a time (invariant 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum MemAttr {
    /// Normal, inner and outer write-back write-allocate.
    Normal,
    /// Normal, non-cacheable and bufferable: coherent DMA memory, write-combining.
    NormalNc,
    /// Device: accesses keep their number, size and order.
    Device,
    /// Strongly-ordered.
    StronglyOrdered,
}

bitflags! {
    /// Access rights of a mapping; reading is always allowed to the kernel.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct Prot: u8 {
        /// Stores are allowed.
        const WRITE = 1;
        /// Instructions may be fetched. Never together with [`Prot::WRITE`] (invariant 10).
        const EXEC = 2;
        /// User mode has the same rights as the kernel.
        const USER = 4;
    }
}

/// Address space identifier: 8 bits, 0 is the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Asid(pub u8);

/// What a virtual address translates to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The physical address that the virtual address itself reaches.
    pub phys: PhysAddr,
    /// Memory type.
    pub attr: MemAttr,
    /// Access rights.
    pub prot: Prot,
    /// Bytes that the translation entry covers: 4 KiB, 64 KiB or 1 MiB.
    pub size: u32,
}

/// Why a mapping was not made or not removed. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// `virt` is mapped already, to `phys`: a valid entry is never overwritten (break-before-make).
    Occupied {
        /// The first address in the way.
        virt: VirtAddr,
        /// What it is mapped to.
        phys: PhysAddr,
    },
    /// Nothing is mapped at `virt`.
    NotMapped {
        /// The first address without a mapping.
        virt: VirtAddr,
    },
    /// The range would cut the large page or section that holds `virt` in two.
    Splits {
        /// The address of the entry.
        virt: VirtAddr,
    },
    /// An address or length is not a multiple of the page size, or the range leaves the table's span.
    Misaligned {
        /// The offending address.
        virt: VirtAddr,
    },
    /// Both writable and executable (invariant 10).
    WriteExec,
    /// The change would unmap, for a moment, something that the kernel needs to make the change.
    InUse {
        /// The first such address.
        virt: VirtAddr,
    },
    /// No memory for a second-level table.
    NoTable,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Occupied { virt, phys } => write!(f, "{virt} is mapped already, to {phys}"),
            Self::NotMapped { virt } => write!(f, "nothing is mapped at {virt}"),
            Self::Splits { virt } => write!(f, "the range would cut the mapping at {virt} in two"),
            Self::Misaligned { virt } => write!(f, "{virt} is misaligned or out of the table's span"),
            Self::WriteExec => f.write_str("a mapping can't be both writable and executable"),
            Self::InUse { virt } => write!(f, "{virt} is needed while page tables change"),
            Self::NoTable => f.write_str("no page for a second-level table"),
        }
    }
}

/// One translation table and its second-level tables, as a value.
///
/// A change to a valid entry is always "break before make": the entry is made invalid, the TLB entry is dropped,
/// then the new one is written, each step ordered by barriers (ARM DDI 0406C, B3.10.1). `map` publishes entries
/// with a DSB; `unmap` returns with the entries cleared and **the TLB already clean** unless the method says
/// otherwise.
pub trait PageTable {
    /// Maps `[virt, virt + len)` to `[phys, phys + len)` with the largest pages that the alignment of both
    /// allows. All multiples of the page size.
    ///
    /// # Errors
    /// See [`MapError`]; on error no entry is left behind.
    fn map(
        &mut self,
        virt: VirtAddr,
        phys: PhysAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
    ) -> Result<(), MapError>;

    /// Removes the mappings of `[virt, virt + len)`, which must all exist.
    ///
    /// # Errors
    /// [`MapError::NotMapped`], [`MapError::Splits`], [`MapError::Misaligned`].
    fn unmap(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError>;

    /// As [`PageTable::unmap`], but leaves stale TLB entries behind: the caller flushes the TLB before the
    /// virtual or the physical range is used again.
    ///
    /// # Errors
    /// As [`PageTable::unmap`].
    fn unmap_lazily(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError>;

    /// As [`PageTable::map`] for one page; `false`, and nothing has changed, also when it takes more than writing the entry.
    fn map_page(&mut self, virt: VirtAddr, phys: PhysAddr, attr: MemAttr, prot: Prot) -> bool {
        self.map(virt, phys, PAGE_SIZE, attr, prot).is_ok()
    }

    /// As [`PageTable::unmap_lazily`] for one page; `false`, and nothing has changed, also when it takes more than clearing
    /// the entry.
    fn unmap_page_lazily(&mut self, virt: VirtAddr) -> bool {
        self.unmap_lazily(virt, PAGE_SIZE).is_ok()
    }

    /// Changes attributes and rights of an existing mapping, break-before-make.
    ///
    /// # Errors
    /// As [`PageTable::unmap`], and [`MapError::WriteExec`].
    fn protect(&mut self, virt: VirtAddr, len: u32, attr: MemAttr, prot: Prot) -> Result<(), MapError>;

    /// As [`PageTable::protect`] where small pages of one second-level table map the whole range, in few instructions;
    /// `false`, and nothing has changed, where that is not so or not allowed.
    fn protect_pages(&mut self, virt: VirtAddr, len: u32, attr: MemAttr, prot: Prot) -> bool {
        let _ = (virt, len, attr, prot);
        false
    }

    /// What `virt` translates to now, by a walk of the tables. The access flag is not looked at: the next access
    /// to an old page faults all the same.
    fn translate(&self, virt: VirtAddr) -> Option<Mapping>;
}

/// TLB maintenance. Each call is complete, with its barriers, when it returns.
pub trait TlbOps {
    /// Drops the entry for the page at `virt` in `asid`, and global entries for it.
    fn flush_page(&self, virt: VirtAddr, asid: Asid);
    /// As [`TlbOps::flush_page`], for `pages` pages from `virt` on.
    fn flush_pages(&self, virt: VirtAddr, pages: u32, asid: Asid) {
        (0..pages).for_each(|page| {
            self.flush_page(VirtAddr::new(virt.get().wrapping_add(page * PAGE_SIZE)), asid);
        });
    }

    /// Drops every non-global entry of `asid`.
    fn flush_asid(&self, asid: Asid);
    /// Drops everything.
    fn flush_all(&self);
    /// Makes earlier stores to translation tables visible to the table walker (DSB, ISB; with a cache clean
    /// where walks don't look into the data cache).
    fn publish(&self, table: *const u8, len: usize);
}

impl<T: TlbOps + ?Sized> TlbOps for &T {
    fn flush_page(&self, virt: VirtAddr, asid: Asid) {
        (**self).flush_page(virt, asid);
    }

    fn flush_pages(&self, virt: VirtAddr, pages: u32, asid: Asid) {
        (**self).flush_pages(virt, pages, asid);
    }

    fn flush_asid(&self, asid: Asid) {
        (**self).flush_asid(asid);
    }

    fn flush_all(&self) {
        (**self).flush_all();
    }

    fn publish(&self, table: *const u8, len: usize) {
        (**self).publish(table, len);
    }
}
