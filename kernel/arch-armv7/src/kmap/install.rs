//! Exchanges start.S's tables for the planned ones.
//!
//! The final table has to be `swapper_pg_dir`, which is live, and its entries differ from the live ones in size and
//! rights under the very code that would change them. So, without ever changing a live entry:
//!
//! 1. the live table is copied, and the copy is switched to: the same translations, from another place;
//! 2. `swapper_pg_dir`, now not live, is built anew from the plan;
//! 3. code in the fixmap, which both tables share, switches to it and empties the TLB (switch.S).
//!
//! After that TTBCR.N is 2: TTBR0 translates the first GiB, with TTBCR.PD0 saying that nothing is there until an address
//! space is; TTBR1 the rest; the vectors are at 0xffff0000; SCTLR.WXN makes the hardware refuse to execute what is
//! writable (invariant 10).

use super::{Layout, PlanError, Row, plan};
use crate::fixmap::{Fixmap, FixmapError, Slot, Table};
use crate::linear::Linear;
use crate::pgtable::KernelTable;
use crate::tlb::Tlb;
use crate::{cpu, early};
use aarch32_cpu::register::Sctlr;
use boot::layout::{PAGE_OFFSET, PG_DIR_OFFSET, PG_DIR_SIZE};
use boot::section::TTBR_FLAGS;
use core::arch::global_asm;
use core::fmt;
use hal::{LinearMap, MapError, MemAttr, PageTable, Prot, TablePages, TlbOps};
use types::{Pfn, PhysAddr, PhysRange};

global_asm!(include_str!("switch.S"));

unsafe extern "C" {
    fn kmap_switch(ttbr1: u32, ttbr0: u32, ttbcr: u32, sctlr: u32);
}

type SwitchFn = unsafe extern "C" fn(u32, u32, u32, u32);

/// TTBCR: TTBR0 translates the first GiB.
pub const TTBCR_N2: u32 = 2;
/// TTBCR: an access to what TTBR0 translates is a translation fault, and no table is read for it.
pub const TTBCR_PD0: u32 = 1 << 4;
const SCTLR_V: u32 = 1 << 13;
const SCTLR_WXN: u32 = 1 << 19;
const SCTLR_UWXN: u32 = 1 << 20;

/// Why the early tables are still live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InstallError {
    /// No memory for a table.
    NoMemory,
    /// A row of the plan could not be mapped.
    Map {
        /// The row.
        row: Row,
        /// Why.
        error: MapError,
    },
    /// The switch slot is not free.
    Fixmap(FixmapError),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("kmap: no memory for a translation table"),
            Self::Map { row, error } => {
                write!(f, "kmap: {} bytes at {} not mapped: {error}", row.len, row.virt)
            }
            Self::Fixmap(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for InstallError {}

impl From<FixmapError> for PlanError<InstallError> {
    fn from(error: FixmapError) -> Self {
        Self::Row(InstallError::Fixmap(error))
    }
}

/// Makes the planned tables the live ones and returns them.
///
/// `scratch` is 16 KiB, aligned to as much, and free again afterwards. `table_page` gives pages for second-level
/// tables, for good. Both lie in lowmem that [`early::map_lowmem`] has mapped.
///
/// # Errors
/// [`PlanError`] with [`InstallError`]: the early tables stay live, in `scratch`, and `swapper_pg_dir` is not usable.
///
/// # Safety
/// Called once, on the boot CPU alone, with interrupts masked. `fixmap_table` is linked into the live table.
/// Nobody uses the identity map, the early UART window, or lowmem that `lowmem` leaves out, from now on.
pub unsafe fn install(
    linear: Linear,
    layout: &Layout<'_>,
    lowmem: impl Iterator<Item = PhysRange>,
    fixmap: &mut Fixmap<Tlb>,
    fixmap_table: &'static Table,
    scratch: PhysAddr,
    mut table_page: impl FnMut() -> Option<Pfn>,
) -> Result<KernelTable<Linear, Tlb>, PlanError<InstallError>> {
    let root = PhysAddr::new(layout.phys_offset.get() + PG_DIR_OFFSET);
    // SAFETY: the caller's promises about scratch and about being alone.
    unsafe { step_aside(&linear, root, scratch) };
    early::link_fixmap(layout.phys_offset, fixmap_table);
    let mut table = KernelTable::new(linear, Tlb, root);
    plan(layout, lowmem, |row| map_row(&mut table, row, &mut table_page))?;
    // SAFETY: the new table maps all that the kernel uses (the plan); the caller's promises cover the rest.
    unsafe { switch(fixmap, layout.phys_offset, root)? };
    Ok(table)
}

/// Copies the live table to `scratch`, makes the copy live, and empties the original.
unsafe fn step_aside(linear: &Linear, root: PhysAddr, scratch: PhysAddr) {
    let words = (PG_DIR_SIZE / 4) as usize;
    let (from, to) = (linear.ptr(root).cast::<u32>(), linear.ptr(scratch).cast::<u32>());
    // SAFETY: both are 16 KiB of mapped lowmem, apart from each other; nobody else changes the live table.
    unsafe { core::ptr::copy_nonoverlapping(from, to, words) };
    Tlb.publish(to.cast(), PG_DIR_SIZE as usize);
    let ttbr = scratch.get() | TTBR_FLAGS;
    // SAFETY: the copy translates everything as before, so it doesn't matter from which one a TLB entry comes.
    unsafe { kmap_switch(ttbr, ttbr, 0, Sctlr::read().raw_value()) };
    // SAFETY: the original is not live any more and belongs to us.
    unsafe { from.write_bytes(0, words) };
}

fn map_row(
    table: &mut KernelTable<Linear, Tlb>,
    row: Row,
    table_page: &mut impl FnMut() -> Option<Pfn>,
) -> Result<(), InstallError> {
    for _ in 0..table.tables_needed(row.virt, row.len) {
        table.supply(table_page().ok_or(InstallError::NoMemory)?);
    }
    table
        .map(row.virt, row.phys, row.len, row.attr, row.prot)
        .map_err(|error| InstallError::Map { row, error })
}

/// Runs switch.S from its fixmap slot.
unsafe fn switch(fixmap: &mut Fixmap<Tlb>, phys_offset: PhysAddr, root: PhysAddr) -> Result<(), FixmapError> {
    let phys = |ptr: *const u8| PhysAddr::new(ptr.addr() as u32 - PAGE_OFFSET + phys_offset.get());
    let code = phys(kmap_switch as SwitchFn as *const u8);
    let virt = fixmap.map(Slot::Switch, code, 64, MemAttr::Normal, Prot::EXEC)?;
    let sctlr = Sctlr::read().raw_value() | SCTLR_V | SCTLR_WXN | SCTLR_UWXN;
    // SAFETY: the slot maps the code of `kmap_switch`, which is position-independent and aligned to its size.
    let run: SwitchFn = unsafe { core::mem::transmute(virt.get() as usize as *const u8) };
    {
        let _irq = cpu::IrqGuard::new();
        // SAFETY: see `install`.
        unsafe { run(root.get() | TTBR_FLAGS, TTBR_FLAGS, TTBCR_N2 | TTBCR_PD0, sctlr) };
    }
    fixmap.unmap(Slot::Switch);
    Ok(())
}
