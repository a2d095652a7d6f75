//! The live early table: `swapper_pg_dir` as start.S left it.

use crate::fixmap::{FIXADDR_START, Fixmap, Table};
use crate::tlb::Tlb;
use boot::layout::{PAGE_OFFSET, PG_DIR_OFFSET};
use boot::section::entry_offset;
use hal::TlbOps;
use types::PhysAddr;

/// Where the kernel sees the first-level table.
fn swapper() -> *mut u32 {
    core::ptr::with_exposed_provenance_mut((PAGE_OFFSET + PG_DIR_OFFSET) as usize)
}

/// Links the fixmap's static page into the live table. Once, before the first use of the fixmap.
pub fn plug_fixmap(phys_offset: PhysAddr, table: &'static Table) {
    let phys = (core::ptr::from_ref(table).addr() as u32).wrapping_sub(PAGE_OFFSET) + phys_offset.get();
    let first = entry_offset(FIXADDR_START) as usize / 4;
    for (quarter, link) in Fixmap::<Tlb>::links(PhysAddr::new(phys)).into_iter().enumerate() {
        // SAFETY: the table has 4,096 entries, is mapped here by start.S, and these four are empty: filling an
        // invalid entry needs no TLB maintenance.
        unsafe { swapper().add(first + quarter).write_volatile(link) };
    }
    Tlb.publish(swapper().cast(), 16);
}
