//! Registering RAM: the tree's memory nodes, and ranges that the command line gives.
//!
//! The two ways differ, as in Linux 6.1: the tree's ranges go through `early_init_dt_add_memory_arch`
//! (`drivers/of/fdt.c`), the command line's through `arm_add_memory` (`arch/arm/kernel/setup.c`). Both round
//! inwards to pages and drop what lies below PHYS_OFFSET, with different words. Era: 6.1 (which of the two the
//! tree's memory took in 4.9 is not known).
//!
//! All arithmetic is in 64 bits until memblock, which clamps to a last address of 0xfffffffe.

use crate::note;
use dt::BootData;
use mm::memblock::{FlagChange, Memblock};
use types::{PAGE_SIZE, PhysAddr, PhysRange};

const PAGE: u64 = PAGE_SIZE as u64;
/// The end of what 32 bits address.
const END: u64 = 1 << 32;

/// `[base, base + size)` of 64-bit values, each cut to 32 bits as Linux stores them.
pub(crate) const fn truncated(base: u64, size: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(base as u32), size as u32)
}

/// All memory that the boot loader describes, then `linux,usable-memory-range`.
#[inline(never)]
pub(crate) fn add_described(memblock: &mut Memblock<'_>, boot: &BootData<'_>, phys_offset: PhysAddr) {
    for range in boot.memory() {
        add_tree_range(memblock, range.base, range.size, phys_offset);
        if range.hotpluggable {
            note(memblock.change_hotplug(truncated(range.base, range.size), FlagChange::Mark));
        }
    }
    let mut usable = boot.tree.usable_memory();
    if let Some((base, size)) = usable.next() {
        note(memblock.cap_memory_range(truncated(base, size)));
    }
    if let Some((base, size)) = usable.next() {
        note(memblock.add(truncated(base, size)));
    }
}

fn add_tree_range(memblock: &mut Memblock<'_>, base: u64, size: u64, phys_offset: PhysAddr) {
    if let Some((base, size)) = clip_tree_range(base, size, u64::from(phys_offset.get())) {
        note(memblock.add(clamped(base, size)));
    }
}

/// Memblock's own clamp, for a size of up to 4 GiB.
fn clamped(base: u64, size: u64) -> PhysRange {
    PhysRange::new(PhysAddr::new(base as u32), u32::try_from(size).unwrap_or(u32::MAX))
}

fn clip_tree_range(base: u64, size: u64, phys_offset: u64) -> Option<(u64, u64)> {
    let ignore = |base: u64, size: u64| {
        log::warn!("OF: fdt: Ignoring memory block {base:#x} - {:#x}", base.wrapping_add(size));
        None
    };
    let to_page = PAGE - base % PAGE;
    if size < to_page {
        return ignore(base, size);
    }
    let (mut base, mut size) =
        if to_page < PAGE { (base.wrapping_add(to_page), size - to_page) } else { (base, size) };
    size -= size % PAGE;
    if base >= END {
        return ignore(base, size);
    }
    if base.wrapping_add(size).wrapping_sub(1) >= END {
        log::warn!("OF: fdt: Ignoring memory range {END:#x} - {:#x}", base.wrapping_add(size));
        size = END - base;
    }
    if base.wrapping_add(size) < phys_offset {
        return ignore(base, size);
    }
    if base < phys_offset {
        log::warn!("OF: fdt: Ignoring memory range {base:#x} - {phys_offset:#x}");
        size -= phys_offset - base;
        base = phys_offset;
    }
    Some((base, size))
}

/// Adds a range that the command line gives.
pub(crate) fn add_given(memblock: &mut Memblock<'_>, start: u64, size: u64, phys_offset: PhysAddr) {
    if let Some((base, size)) = clip_given(start, size, u64::from(phys_offset.get())) {
        note(memblock.add(clamped(base, size)));
    }
}

fn clip_given(start: u64, size: u64, phys_offset: u64) -> Option<(u64, u64)> {
    let last = u64::from(u32::MAX);
    let mut base = start.wrapping_add(PAGE - 1) & !(PAGE - 1);
    let end = start.wrapping_add(size);
    let mut size = end.saturating_sub(base);
    if base > last {
        log::error!("Ignoring memory at {start:#010x} outside 32-bit physical address space");
        return None;
    }
    if base.wrapping_add(size) > last {
        log::error!("Truncating memory at {start:#010x} to fit in 32-bit physical address space");
        size = last - base;
    }
    if base < phys_offset {
        let end = (base + size).min(phys_offset);
        log::info!("Ignoring memory below PHYS_OFFSET: {base:#010x}-{end:#010x}");
        size = (base + size).checked_sub(phys_offset)?;
        base = phys_offset;
    }
    size &= !(PAGE - 1);
    (size > 0).then_some((base, size))
}
