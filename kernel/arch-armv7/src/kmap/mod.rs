//! The kernel's final mappings: what is mapped where with which rights ([`plan`], portable), and how the live tables
//! are exchanged for them (`install`, on the target).
//!
//! ```text
//! 0xc000_0000 ┌───────────────────────────┐ PAGE_OFFSET = PHYS_OFFSET
//!             │ lowmem                    │ read-write, sections where alignment allows
//! 0xc000_4000 │   swapper_pg_dir          │ read-write pages
//! 0xc000_8000 │   text                    │ read, execute
//!             │   rodata                  │ read
//!             │   init text               │ read, execute (until it is given back)
//!             │   init data, data, bss    │ read-write; the page below each stack is not mapped
//!             │ lowmem                    │ no-map regions and removed heaps are holes
//! high_memory ├───────────────────────────┤ at most 760 MiB of lowmem with the default vmalloc=240M
//!             │ hole of up to 8 MiB       │
//! vmalloc_start│ vmalloc, ioremap         │ filled later, by mm
//! 0xff80_0000 ├───────────────────────────┤ VMALLOC_END = DT_WINDOW
//!             │ the boot loader's tree    │ read, its pages only
//! 0xffc0_0000 │ fixmap                    │ arch-armv7/src/fixmap.rs
//! 0xffff_0000 │ vectors                   │ read, execute
//!             └───────────────────────────┘
//! ```
//!
//! Keeps invariants 5 (one set of attributes: all RAM is Normal write-back here) and 10. Attributes of lowmem that
//! change later (DMA buffers in CMA areas) are changed page by page: `pgtable` splits a live section with
//! break-before-make, so nothing needs small pages from the start.
//!
//! Source: Linux's `arch/arm/mm/mmu.c` (`map_lowmem`, `map_kernel`, `devicemaps_init`).

#[cfg(all(target_arch = "arm", target_os = "none"))]
mod install;
mod plan;
#[cfg(test)]
mod tests;

#[cfg(all(target_arch = "arm", target_os = "none"))]
pub use install::{InstallError, TTBCR_N2, TTBCR_PD0, install};
pub use plan::{Image, Layout, Part, PlanError, Row, plan};

/// Where the vectors are, once the final tables are live.
pub const VECTORS: u32 = 0xffff_0000;
/// The end of the vmalloc area.
pub const VMALLOC_END: u32 = 0xff80_0000;
/// The hole between lowmem and the vmalloc area catches stray accesses; it is at most this large.
pub const VMALLOC_OFFSET: u32 = 8 << 20;

/// The start of the vmalloc area behind lowmem that ends at `high_memory`.
#[must_use]
pub const fn vmalloc_start(high_memory: u32) -> u32 {
    (high_memory + VMALLOC_OFFSET) & !(VMALLOC_OFFSET - 1)
}
