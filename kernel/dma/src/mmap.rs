//! Coherent buffers in an address space: `dma_mmap_coherent`, and the end of that.

use crate::{Coherent, DmaError, Pages, Platform};
use hal::{MemAttr, PageTable, Prot, TablePages};
use mm::pages::PageRun;
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

    /// Removes a mapping of [`Coherent::mmap`], and gives pages of tables back that nothing else is in.
    ///
    /// # Errors
    /// [`DmaError::Remap`]; nothing has changed then.
    pub fn munmap<P: Platform, T: PageTable + TablePages>(
        &self,
        platform: &mut P,
        table: &mut T,
        virt: VirtAddr,
        len: u32,
    ) -> Result<(), DmaError> {
        for page in (virt.get()..virt.get().saturating_add(len)).step_by(PAGE_SIZE as usize) {
            let virt = VirtAddr::new(page);
            let there = table.translate(virt).map(|mapping| mapping.phys.get());
            if there.and_then(|phys| phys.checked_sub(self.phys().get())).is_none_or(|at| at >= self.size()) {
                return Err(DmaError::Remap(hal::MapError::NotMapped { virt }));
            }
        }
        table.unmap(virt, len).map_err(DmaError::Remap)?;
        while let Some(page) = table.reclaim() {
            platform.pages().free(PageRun::from_raw(page, 1));
        }
        Ok(())
    }
}
