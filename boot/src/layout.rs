//! The virtual layout that holds before the final tables exist, and that they keep.
//!
//! ```text
//! 0xc000_0000  PAGE_OFFSET        = PHYS_OFFSET
//! 0xc000_4000  swapper_pg_dir     16 KiB
//! 0xc000_8000  the image          TEXT_OFFSET
//! 0xff80_0000  DT_WINDOW          two sections around the device tree that r2 points to
//! 0xffa0_0000  UART_WINDOW        one section around the early UART, where the machine number tells it
//! 0xffc0_0000  fixmap             one static second-level table (arch-armv7)
//! ```
//!
//! Source: Linux's `Documentation/arm/memory.rst` and `Documentation/arm/booting.rst`.

/// Virtual address of the first byte of lowmem.
pub const PAGE_OFFSET: u32 = 0xc000_0000;
/// The image starts this far above `PHYS_OFFSET`.
pub const TEXT_OFFSET: u32 = 0x8000;
/// `swapper_pg_dir` lies this far above `PHYS_OFFSET`.
pub const PG_DIR_OFFSET: u32 = 0x4000;
/// Bytes in a full first-level table.
pub const PG_DIR_SIZE: u32 = 0x4000;
/// `PHYS_OFFSET` is a multiple of this.
pub const PHYS_ALIGN: u32 = 2 << 20;
/// Virtual address of the window of two sections onto the boot loader's device tree.
pub const DT_WINDOW: u32 = 0xff80_0000;
/// Virtual address of the section that holds the early UART.
pub const UART_WINDOW: u32 = 0xffa0_0000;

/// Magic number of the zImage header, at 0x24.
pub const ZIMAGE_MAGIC: u32 = 0x016f_2818;
/// Says at 0x30 of the zImage header that the image is little-endian.
pub const ZIMAGE_ENDIAN: u32 = 0x0403_0201;
/// First word of a device tree blob, as a little-endian load reads it.
pub const DTB_MAGIC: u32 = 0xd00d_feed_u32.swap_bytes();
/// Tag of the first ATAG.
pub const ATAG_CORE: u32 = 0x5441_0001;
/// Longest believable ATAG list, in bytes; a longer one is cut there.
pub const ATAG_LIMIT: u32 = 1 << 20;
/// How much of an ATAG list the kernel reads: what an early ioremap slot holds wherever the list begins in a page.
pub const ATAG_SHOWN: u32 = 31 << 12;
/// Longest device tree, in bytes: the boot protocol's limit.
pub const TREE_LIMIT: u32 = 2 << 20;
/// Bytes of the marker in front of an appended device tree; its last word is the blob's size.
pub const MARKER_SIZE: u32 = 16;
/// The marker's text, `CONTIGDTB\0\0\0`, as three little-endian words.
pub const MARKER: [u32; 3] =
    [u32::from_le_bytes(*b"CONT"), u32::from_le_bytes(*b"IGDT"), u32::from_le_bytes(*b"B\0\0\0")];

/// Machine number of the Versatile Express.
pub const MACH_VEXPRESS: u32 = 0x8e0;
/// Machine number of the BCM2709 (Raspberry Pi 2).
pub const MACH_BCM2709: u32 = 0xc42;

/// Physical address of the PL011 of a machine, for a console before there is a device tree.
#[must_use]
pub const fn machine_uart(machine: u32) -> Option<u32> {
    match machine {
        MACH_VEXPRESS => Some(UART_VEXPRESS),
        MACH_BCM2709 => Some(UART_BCM2709),
        _ => None,
    }
}

/// First PL011 of the Versatile Express with Cortex-A series memory map.
pub const UART_VEXPRESS: u32 = 0x1c09_0000;
/// PL011 of the BCM2709.
pub const UART_BCM2709: u32 = 0x3f20_1000;
