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

/// What is done to each line.
#[derive(Clone, Copy)]
enum Maintenance {
    Clean,
    Invalidate,
}

impl Maintenance {
    #[inline]
    fn of(self, cache: &impl CacheOps, start: *const u8, len: usize) {
        match self {
            Self::Clean => cache.clean(start, len),
            Self::Invalidate => cache.invalidate(start, len),
        }
    }
}

/// Maintains all of `[phys, phys + len)`.
#[inline]
fn maintain<V: CpuView>(cpu: &V, phys: PhysAddr, len: u32, what: Maintenance) {
    match cpu.linear_ptr(phys, len) {
        Some(start) => what.of(cpu.cache(), start, len as usize),
        None => maintain_highmem(cpu, phys, len, what),
    }
}

/// The same for what ends in highmem, page by page.
#[cold]
#[inline(never)]
fn maintain_highmem<V: CpuView>(cpu: &V, phys: PhysAddr, len: u32, what: Maintenance) {
    let mut done = 0;
    while done < len {
        let at = PhysAddr::new(phys.get() + done);
        let offset = at.get() % PAGE_SIZE;
        let size = (PAGE_SIZE - offset).min(len - done);
        if cpu.linear_virt(at).is_some() {
            what.of(cpu.cache(), cpu.linear().ptr(at), size as usize);
        } else {
            cpu.with_highmem(Pfn::containing(at), &mut |page| {
                what.of(cpu.cache(), page.wrapping_add(offset as usize), size as usize);
            });
        }
        done += size;
    }
}

/// The device gets the buffer.
#[inline]
pub(crate) fn for_device<V: CpuView>(cpu: &V, phys: PhysAddr, len: u32, direction: DmaDirection) {
    let what = match direction {
        DmaDirection::ToDevice | DmaDirection::Bidirectional => Maintenance::Clean,
        DmaDirection::FromDevice => Maintenance::Invalidate,
    };
    maintain(cpu, phys, len, what);
}

/// The CPU gets a buffer that the device may have written.
#[inline]
pub(crate) fn for_cpu<V: CpuView>(cpu: &V, phys: PhysAddr, len: u32) {
    maintain(cpu, phys, len, Maintenance::Invalidate);
}
