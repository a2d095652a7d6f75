//! The kernel's table, `swapper_pg_dir`.

use super::desc::Leaf;
use super::protect::Kept;
use super::tables::{Keep, Tables};
use hal::{LinearMap, MapError, Mapping, MemAttr, PageTable, Prot, TablePages, TlbOps};
use types::{Pfn, PhysAddr, VirtAddr};

/// Bytes in the kernel's first-level table; it is aligned to as many.
pub const KERNEL_ROOT_SIZE: u32 = 16 << 10;
const KEPT_RANGES: usize = 4;

/// The table of TTBR1: 4,096 entries for all 4 GiB, global mappings.
///
/// All address spaces use it, so its second-level tables need no copying around; they are not given back, except
/// where a section takes the place of an empty one.
pub struct KernelTable<L, T> {
    tables: Tables<L, T, Keep>,
    keep: [Kept; KEPT_RANGES],
    kept: usize,
}

impl<L: LinearMap, T: TlbOps> KernelTable<L, T> {
    /// The table at `root`, in lowmem, with whatever entries it has. Nobody else changes it from now on
    /// (invariant 2). Second-level tables linked by others are respected, whatever their place.
    pub fn new(lin: L, tlb: T, root: PhysAddr) -> Self {
        let none = (VirtAddr::new(u32::MAX), VirtAddr::new(0));
        Self { tables: Tables::new(lin, tlb, root, 4096, None, Keep), keep: [none; KEPT_RANGES], kept: 0 }
    }

    /// Declares that `[first, last]` is never to be unmapped, not for a moment: the kernel image, its stacks, the
    /// first-level table, and what interrupt handlers use. At most four ranges; whether there was room.
    pub fn keep(&mut self, first: VirtAddr, last: VirtAddr) -> bool {
        match self.keep.get_mut(self.kept) {
            Some(range) => {
                *range = (first, last);
                self.kept += 1;
                true
            }
            None => false,
        }
    }

    /// The first-level table.
    pub fn root(&self) -> PhysAddr {
        self.tables.root
    }
}

impl<L: LinearMap, T: TlbOps> PageTable for KernelTable<L, T> {
    fn map(
        &mut self,
        virt: VirtAddr,
        phys: PhysAddr,
        len: u32,
        attr: MemAttr,
        prot: Prot,
    ) -> Result<(), MapError> {
        self.tables.map(virt, len, Leaf { phys, attr, prot, young: true, global: true })
    }

    fn unmap(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        self.tables.unmap(virt, len)?;
        self.tables.flush(virt, len);
        Ok(())
    }

    fn unmap_lazily(&mut self, virt: VirtAddr, len: u32) -> Result<(), MapError> {
        self.tables.unmap(virt, len)
    }

    #[inline]
    fn map_page(&mut self, virt: VirtAddr, phys: PhysAddr, attr: MemAttr, prot: Prot) -> bool {
        self.tables.map_page(virt, Leaf { phys, attr, prot, young: true, global: true })
    }

    #[inline]
    fn unmap_page_lazily(&mut self, virt: VirtAddr) -> bool {
        self.tables.unmap_page(virt)
    }

    fn protect(&mut self, virt: VirtAddr, len: u32, attr: MemAttr, prot: Prot) -> Result<(), MapError> {
        self.tables.protect(virt, len, attr, prot, &self.keep[..self.kept])
    }

    #[inline]
    fn protect_pages(&mut self, virt: VirtAddr, len: u32, attr: MemAttr, prot: Prot) -> bool {
        self.tables.protect_pages(virt, len, attr, prot, &self.keep[..self.kept])
    }

    fn translate(&self, virt: VirtAddr) -> Option<Mapping> {
        self.tables.translate(virt)
    }
}

impl<L: LinearMap, T: TlbOps> TablePages for KernelTable<L, T> {
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
