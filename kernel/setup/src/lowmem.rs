//! Where lowmem ends, and how far memory may be allocated before it is mapped.
//!
//! ```text
//! PHYS_OFFSET          memblock limit (first point not 2 MiB aligned, rounded down)
//! |#########################|####|                     |########
//!                                arm_lowmem_limit      highmem: beyond what fits below the vmalloc area
//! ```
//!
//! Source: Linux 6.1 `arch/arm/mm/mmu.c` (`early_vmalloc`, `adjust_lowmem_bounds`), `pgtable.h`
//! (`VMALLOC_START`).

use crate::facts::{PAGE_OFFSET, PMD_SIZE, VMALLOC_END, VMALLOC_OFFSET, VMALLOC_SIZE};
use crate::note;
use mm::memblock::Memblock;
use types::{PhysAddr, PhysRange, VirtAddr, align_down};

/// The bounds of lowmem and of the vmalloc area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lowmem {
    phys_offset: PhysAddr,
    limit: PhysAddr,
    /// `vmalloc=`; 0 before it.
    vmalloc_size: u32,
}

impl Lowmem {
    /// Before any RAM is known.
    pub(crate) const fn new(phys_offset: PhysAddr) -> Self {
        Self { phys_offset, limit: phys_offset, vmalloc_size: 0 }
    }

    /// The end of RAM that the linear map covers (`arm_lowmem_limit`).
    #[must_use]
    pub const fn limit(&self) -> PhysAddr {
        self.limit
    }

    /// The end of lowmem in the kernel's address space.
    #[must_use]
    pub const fn high_memory(&self) -> VirtAddr {
        let bytes = self.limit.get().wrapping_sub(self.phys_offset.get());
        VirtAddr::new(PAGE_OFFSET.wrapping_add(bytes))
    }

    /// The start of the vmalloc area: the next multiple of 8 MiB, so that a hole of up to 8 MiB lies before it.
    #[must_use]
    pub const fn vmalloc_start(&self) -> VirtAddr {
        let above = self.high_memory().get().wrapping_add(VMALLOC_OFFSET);
        VirtAddr::new(align_down(above, VMALLOC_OFFSET))
    }

    /// `vmalloc=`: how much address space to keep for the vmalloc area, within 16 MiB and what leaves 32 MiB.
    pub(crate) fn set_vmalloc_size(&mut self, bytes: u32) {
        const SMALLEST: u32 = 16 << 20;
        const LARGEST: u32 = VMALLOC_END - (PAGE_OFFSET + (32 << 20) + VMALLOC_OFFSET);
        self.vmalloc_size = bytes.clamp(SMALLEST, LARGEST);
        let adjective = match bytes {
            0..SMALLEST => "small",
            bytes if bytes > LARGEST => "big",
            _ => return,
        };
        log::warn!("vmalloc area is too {adjective}, limiting to {}MiB", self.vmalloc_size >> 20);
    }

    /// Recomputes the bounds from what is RAM now; twice in a boot, as in Linux, because reservations change it.
    pub(crate) fn adjust(&mut self, memblock: &mut Memblock<'_>, highmem: bool) {
        hide_unaligned_start(memblock);
        let vmalloc_size = if self.vmalloc_size == 0 { VMALLOC_SIZE } else { self.vmalloc_size };
        let most = VMALLOC_END - vmalloc_size - VMALLOC_OFFSET - PAGE_OFFSET;
        let vmalloc_limit = u64::from(self.phys_offset.get()) + u64::from(most);
        let (limit, unaligned) = bounds(memblock, vmalloc_limit);
        self.limit = PhysAddr::new(limit);
        let memblock_limit = align_down(if unaligned == 0 { limit } else { unaligned }, PMD_SIZE);
        if !highmem {
            drop_highmem(memblock, limit, memblock_limit);
        }
        memblock.set_current_limit(PhysAddr::new(memblock_limit));
    }

    /// What page tables cover as lowmem, lowest first: RAM but NOMAP, up to the limit.
    pub fn ranges<'m>(&self, memblock: &'m Memblock<'_>) -> impl Iterator<Item = PhysRange> + use<'m> {
        let lowmem = PhysRange::from_bounds(PhysAddr::new(0), self.limit);
        memblock.mapped_ranges().filter_map(move |range| range.intersection(lowmem))
    }

    /// RAM above the limit, lowest first, without NOMAP.
    pub fn highmem_ranges<'m>(
        &self,
        memblock: &'m Memblock<'_>,
    ) -> impl Iterator<Item = PhysRange> + use<'m> {
        let highmem = PhysRange::from_bounds(self.limit, PhysAddr::new(u32::MAX));
        memblock.mapped_ranges().filter_map(move |range| range.intersection(highmem))
    }

    /// Once lowmem is mapped to its end, memory may be allocated up to there.
    pub fn mapped(&self, memblock: &mut Memblock<'_>) {
        memblock.set_current_limit(self.limit);
    }
}

/// Mapping works in pairs of sections, so the first one must be whole: its head is hidden.
fn hide_unaligned_start(memblock: &mut Memblock<'_>) {
    let Some(first) = memblock.mapped_ranges().next() else { return };
    let head = first.base().get().wrapping_neg() % PMD_SIZE;
    if head != 0 {
        note(memblock.mark_nomap(PhysRange::new(first.base(), head)));
    }
}

/// The end of lowmem, and the first point that is not 2 MiB aligned (0 for none).
fn bounds(memblock: &Memblock<'_>, vmalloc_limit: u64) -> (u32, u32) {
    let (mut limit, mut unaligned) = (0, 0);
    let below = |range: &PhysRange| u64::from(range.base().get()) < vmalloc_limit;
    for range in memblock.mapped_ranges().filter(below) {
        let end = range.end().get();
        if end > limit {
            limit = vmalloc_limit.min(u64::from(end)) as u32;
        }
        if unaligned == 0 {
            if !range.base().is_aligned(PMD_SIZE) {
                unaligned = range.base().get();
            } else if !range.end().is_aligned(PMD_SIZE) {
                unaligned = limit;
            }
        }
    }
    (limit, unaligned)
}

fn drop_highmem(memblock: &mut Memblock<'_>, limit: u32, memblock_limit: u32) {
    let end = memblock.end_of_dram();
    if end.get() > limit {
        log::info!("Ignoring RAM at {memblock_limit:#010x}-{end}");
        log::info!("Consider using a HIGHMEM enabled kernel.");
        note(memblock.remove(PhysRange::from_bounds(PhysAddr::new(memblock_limit), end)));
    }
}
