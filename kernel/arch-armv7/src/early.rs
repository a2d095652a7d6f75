//! The early table: `swapper_pg_dir` as start.S left it, and what is added to it while it is live.
//!
//! Adding is all that happens: an invalid entry becomes valid, which needs a DSB and an ISB but no TLB maintenance
//! (ARM DDI 0406C, B3.10.1). Everything else waits for the final tables (`kmap`).

use crate::fixmap::{FIXADDR_START, Fixmap, Table};
use crate::tlb::Tlb;
use boot::layout::{PAGE_OFFSET, PG_DIR_OFFSET};
use boot::section::{self, entry_offset};
use hal::TlbOps;
use types::{PhysAddr, PhysRange, SECTION_SIZE};

/// Where the kernel sees the first-level table's entry for `virt`.
fn swapper(virt: u32) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut((PAGE_OFFSET + PG_DIR_OFFSET + entry_offset(virt)) as usize)
}

/// Fills the entry for `virt` if it is empty.
fn fill(virt: u32, entry: u32) {
    // SAFETY: the table has an entry for every address, and start.S and the final tables map it here; only the
    // boot CPU is running, and it fills invalid entries only.
    unsafe {
        if swapper(virt).read_volatile() == 0 {
            swapper(virt).write_volatile(entry);
        }
    }
}

/// Links the fixmap's static page into `swapper_pg_dir`. Before the first use of the fixmap.
pub fn link_fixmap(phys_offset: PhysAddr, table: &'static Table) {
    let phys = (core::ptr::from_ref(table).addr() as u32).wrapping_sub(PAGE_OFFSET) + phys_offset.get();
    for (quarter, link) in (0..).zip(Fixmap::<Tlb>::links(PhysAddr::new(phys))) {
        fill(FIXADDR_START + quarter * SECTION_SIZE, link);
    }
    Tlb.publish(swapper(FIXADDR_START).cast(), 16);
}

/// Maps the whole sections of `range`, a piece of lowmem without no-map regions, read-write: memory that memblock
/// gives from them can be used at once, and the final tables can be built in it. Parts of a section are left out,
/// so nothing outside of `range` becomes reachable.
pub fn map_lowmem(phys_offset: PhysAddr, range: PhysRange) {
    let Some(first) = range.base().align_up(SECTION_SIZE) else { return };
    for phys in (first.get()..range.end().align_down(SECTION_SIZE).get()).step_by(SECTION_SIZE as usize) {
        fill(phys - phys_offset.get() + PAGE_OFFSET, section::entry(phys, section::NORMAL_XN));
    }
    Tlb.publish(swapper(PAGE_OFFSET).cast(), 4);
}
