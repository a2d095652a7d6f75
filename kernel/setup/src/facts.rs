//! What early memory setup is told, and the fixed numbers of the virtual layout.
//!
//! ```text
//! 0xbf80_0000 modules | 0xc000_0000 lowmem .. high_memory | hole | vmalloc .. 0xff80_0000 | fixmap | vectors
//! ```
//!
//! Source: Linux 6.1 `arch/arm/include/asm/memory.h`, `pgtable.h`, `fixmap.h`.

use dt::{BootData, CommandLine};
use types::{PhysAddr, PhysRange};

/// Where lowmem starts in the kernel's address space: the 3G/1G split.
pub const PAGE_OFFSET: u32 = 0xc000_0000;
/// The end of the vmalloc area.
pub const VMALLOC_END: u32 = 0xff80_0000;
/// The largest hole between lowmem and the vmalloc area.
pub const VMALLOC_OFFSET: u32 = 8 << 20;
/// Bytes kept for the vmalloc area when `vmalloc=` does not say otherwise.
pub const VMALLOC_SIZE: u32 = 240 << 20;
/// What Linux calls a pmd without LPAE: a pair of first-level entries.
pub const PMD_SIZE: u32 = 2 << 20;
/// `swapper_pg_dir` relative to PHYS_OFFSET.
pub const SWAPPER_OFFSET: u32 = 0x4000;
/// Bytes of `swapper_pg_dir`.
pub const SWAPPER_SIZE: u32 = 0x4000;

/// What is known of the machine when early memory setup starts.
#[derive(Clone, Copy, Debug)]
pub struct BootFacts<'a> {
    /// The physical address of PAGE_OFFSET, from where the image runs, not from the tree.
    pub phys_offset: PhysAddr,
    /// The image, `_stext` to `_end`.
    pub kernel: PhysRange,
    /// The device tree blob; `None` when it is part of the image.
    pub dtb: Option<PhysRange>,
    /// What the boot loader says.
    pub boot: BootData<'a>,
    /// The kernel command line.
    pub command_line: CommandLine<'a>,
    /// Whether RAM beyond lowmem is kept, as highmem, or dropped (`CONFIG_HIGHMEM`).
    pub highmem: bool,
    /// Bytes of the default CMA area when neither the command line nor the tree asks for one
    /// (`CONFIG_CMA_SIZE_MBYTES`); 0 for none.
    pub cma_size: u32,
}

/// `CONFIG_CMA_SIZE_MBYTES` as Linux has it by default, in bytes.
pub const DEFAULT_CMA_SIZE: u32 = 16 << 20;
