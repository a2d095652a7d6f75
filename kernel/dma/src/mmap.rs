//! Coherent buffers in an address space: `dma_mmap_coherent`.

use crate::{Coherent, DmaError, Pages, Platform};
use hal::{MemAttr, PageTable, Prot, TablePages};
use mm::{Gfp, PageState};
use types::{PAGE_SIZE, PhysAddr, VirtAddr};

impl<B> Coherent<B> {
    /// Maps `len` bytes from `offset` on, whole pages both, at `virt` in `table` for user mode to read and write,
    /// with the memory type that the kernel's mapping has (invariant 5). The mapping must be removed before the
    /// buffer is freed.
    ///
    /// # Errors
    /// [`DmaError::Remap`] with the table's reason, or when the range leaves the buffer;
    /// [`DmaError::NoMemory`] for a page of tables.
    pub fn mmap<P: Platform, T: PageTable + TablePages>(
        &self,
        platform: &mut P,
        table: &mut T,
        virt: VirtAddr,
        offset: u32,
        len: u32,
    ) -> Result<(), DmaError> {
        let inside =
            offset.is_multiple_of(PAGE_SIZE) && offset.checked_add(len).is_some_and(|end| end <= self.size());
        if !inside {
            return Err(DmaError::Remap(hal::MapError::Misaligned { virt }));
        }
        for _ in 0..table.tables_needed(virt, len) {
            table.supply(platform.pages().alloc(Gfp::KERNEL, 1, PageState::PageTable)?.into_raw().0);
        }
        let attr = if self.is_uncached() { MemAttr::NormalNc } else { MemAttr::Normal };
        let phys = PhysAddr::new(self.phys().get() + offset);
        table.map(virt, phys, len, attr, Prot::USER | Prot::WRITE).map_err(DmaError::Remap)
    }
}
