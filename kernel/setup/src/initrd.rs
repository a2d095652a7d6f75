//! Keeping the initial RAM disk, or dropping it: it is never moved.
//!
//! Source: Linux 6.1 `init/initramfs.c` (`reserve_initrd_mem`).

use dt::Initrd;
use mm::memblock::Memblock;
use types::{PAGE_SIZE, PhysAddr, PhysRange};

/// Reserves the pages that the initrd touches; `None` when there is none, it is not in RAM, or the place is in
/// use. Returns its bytes, not rounded.
pub(crate) fn reserve(memblock: &mut Memblock<'_>, initrd: Option<Initrd>) -> Option<PhysRange> {
    let initrd = initrd?;
    let exact = crate::ram::truncated(initrd.start, initrd.end - initrd.start);
    if exact.is_empty() {
        return None;
    }
    let base = exact.base().align_down(PAGE_SIZE);
    let size = page_round_up(exact.size() + (exact.base().get() - base.get()));
    let pages = PhysRange::new(base, size);
    if !memblock.is_region_memory(pages) {
        say(base, size, format_args!("is not a memory region - disabling initrd"));
        return None;
    }
    if memblock.is_region_reserved(pages) {
        say(base, size, format_args!("overlaps in-use memory region"));
        log::error!(" - disabling initrd");
        return None;
    }
    crate::note(memblock.reserve(pages));
    Some(exact)
}

/// Up to whole pages, wrapping as Linux's 32-bit sum does.
const fn page_round_up(bytes: u32) -> u32 {
    bytes.wrapping_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
}

fn say(base: PhysAddr, size: u32, what: core::fmt::Arguments<'_>) {
    log::error!("INITRD: {base}+{size:#010x} {what}");
}
