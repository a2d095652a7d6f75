//! The final tables: what `arch_armv7::kmap` needs, gathered from the image's symbols and the boot data.

use crate::bootdata::Found;
use crate::machine::{self, FIXMAP};
use crate::symbols;
use arch_armv7::exception;
use arch_armv7::kmap::{self, InstallError, Layout, PlanError};
use arch_armv7::linear::Linear;
use arch_armv7::pgtable::{KERNEL_ROOT_SIZE, KernelTable};
use arch_armv7::tlb::Tlb;
use hal::{MapError, MemAttr, PageTable, Prot};
use types::{PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr};

/// The kernel's table.
pub type Table = KernelTable<Linear, Tlb>;

/// Makes the final tables live.
///
/// `lowmem` is the mapped memory below the lowmem limit; `alloc` gives (size, alignment) bytes of it, from whole
/// sections that [`arch_armv7::early::map_lowmem`] has mapped. The last answer of 16 KiB may be freed afterwards:
/// it is returned beside the table.
///
/// # Errors
/// [`PlanError`] with [`InstallError`]. The kernel can't go on then.
///
/// # Safety
/// Called once, on the boot CPU alone, with interrupts masked; what `alloc` gives belongs to nobody else.
pub unsafe fn install(
    linear: Linear,
    found: &Found,
    lowmem: impl Iterator<Item = PhysRange>,
    mut alloc: impl FnMut(u32, u32) -> Option<PhysAddr>,
) -> Result<(Table, PhysRange), PlanError<InstallError>> {
    let parts = symbols::parts();
    let phys = |addr| linear.phys_of(addr).ok_or(PlanError::Row(InstallError::NoMemory));
    let layout = Layout {
        phys_offset: linear.phys_offset(),
        image: symbols::image(&parts),
        vectors: phys(exception::vectors_page())?,
        tree: found.window,
    };
    let no_memory = PlanError::Row(InstallError::NoMemory);
    let scratch = alloc(KERNEL_ROOT_SIZE, KERNEL_ROOT_SIZE).ok_or(no_memory)?;
    let table_page = || alloc(PAGE_SIZE, PAGE_SIZE).map(Pfn::containing);
    let fixmap = &mut FIXMAP.lock();
    // SAFETY: the caller's promises.
    let mut table = unsafe {
        kmap::install(linear, &layout, lowmem, fixmap, machine::fixmap_table(), scratch, table_page)?
    };
    for (first, end) in
        [(symbols::swapper_pg_dir(), symbols::init_begin()), (symbols::init_end(), symbols::end())]
    {
        let kept = table.keep(first, VirtAddr::new(end.get() - 1));
        debug_assert!(kept, "a new table has room for four ranges");
    }
    Ok((table, PhysRange::new(scratch, KERNEL_ROOT_SIZE)))
}

/// Linux's `free_initmem`: makes the image's boot-only part ordinary memory, which the caller gives to the page
/// allocator.
///
/// # Errors
/// [`MapError`] when a table for splitting is lacking; the range stays as it is then.
///
/// # Safety
/// Nothing of `.init` runs or is read any more.
pub unsafe fn free_initmem(linear: Linear, table: &mut Table) -> Result<PhysRange, MapError> {
    let (begin, end) = (symbols::init_begin(), symbols::init_end());
    let size = end.get() - begin.get();
    table.protect(begin, size, MemAttr::Normal, Prot::WRITE)?;
    let phys = linear.phys_of(begin).ok_or(MapError::NotMapped { virt: begin })?;
    Ok(PhysRange::new(phys, size))
}
