//! Cache maintenance at a change of ownership: the table of `dma-mapping.c` (`__dma_page_cpu_to_dev` and back).
//!
//! | | to device | from device | bidirectional |
//! |---|---|---|---|
//! | the device gets the buffer | clean | invalidate | clean |
//! | the CPU gets it back | - | invalidate | invalidate |
//!
//! The first invalidate keeps dirty lines from being written over the device's data; the second one drops what the
//! CPU fetched speculatively meanwhile. Partial lines at the ends are cleaned first ([`CacheOps::invalidate`]).

use crate::{CpuView, DmaDirection};
use hal::{CacheOps, LinearMap};
use types::{PAGE_SIZE, Pfn, PhysAddr};

/// Calls `work` with pointers to all of `[phys, phys + len)`; highmem comes page by page.
fn each_piece<V: CpuView>(
    cpu: &V,
    phys: PhysAddr,
    len: u32,
    mut work: impl FnMut(&V::Cache, *mut u8, usize),
) {
    let last = PhysAddr::new(phys.get().wrapping_add(len.saturating_sub(1)));
    if cpu.linear_virt(last).is_some() {
        return work(cpu.cache(), cpu.linear().ptr(phys), len as usize);
    }
    let mut done = 0;
    while done < len {
        let at = PhysAddr::new(phys.get() + done);
        let offset = at.get() % PAGE_SIZE;
        let size = (PAGE_SIZE - offset).min(len - done);
        if cpu.linear_virt(at).is_some() {
            work(cpu.cache(), cpu.linear().ptr(at), size as usize);
        } else {
            cpu.with_highmem(Pfn::containing(at), &mut |page| {
                work(cpu.cache(), page.wrapping_add(offset as usize), size as usize);
            });
        }
        done += size;
    }
}

/// The device gets the buffer.
pub(crate) fn for_device<V: CpuView>(cpu: &V, phys: PhysAddr, len: u32, direction: DmaDirection) {
    each_piece(cpu, phys, len, |cache, start, len| match direction {
        DmaDirection::ToDevice | DmaDirection::Bidirectional => cache.clean(start, len),
        DmaDirection::FromDevice => cache.invalidate(start, len),
    });
}

/// The CPU gets the buffer.
pub(crate) fn for_cpu<V: CpuView>(cpu: &V, phys: PhysAddr, len: u32, direction: DmaDirection) {
    if direction.device_writes() {
        each_piece(cpu, phys, len, |cache, start, len| cache.invalidate(start, len));
    }
}
