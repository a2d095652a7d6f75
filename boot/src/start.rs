//! Expands `start.S` with the constants of the other modules.

use crate::{info, layout, place, section};
use core::arch::global_asm;

/// Offset from `_start` of the vectors that hold until the kernel installs its own; VBAR wants a multiple of 32.
const EARLY_VECTORS: u32 = 0x700;
/// Offset from `_start` of the end of the stack that holds until the MMU is on.
const EARLY_STACK_TOP: u32 = 0x900;

global_asm!(
    include_str!("start.S"),
    ZIMAGE_MAGIC = const layout::ZIMAGE_MAGIC,
    ZIMAGE_ENDIAN = const layout::ZIMAGE_ENDIAN,
    DTB_MAGIC = const layout::DTB_MAGIC,
    ATAG_CORE = const layout::ATAG_CORE,
    ATAG_LIMIT = const layout::ATAG_LIMIT,
    MARKER0 = const layout::MARKER[0],
    MARKER1 = const layout::MARKER[1],
    MARKER2 = const layout::MARKER[2],
    MARKER_SIZE = const layout::MARKER_SIZE,
    TREE_LIMIT = const layout::TREE_LIMIT,
    EARLY_VECTORS = const EARLY_VECTORS,
    EARLY_STACK_TOP = const EARLY_STACK_TOP,
    TEXT_OFFSET = const layout::TEXT_OFFSET,
    PG_DIR_OFFSET = const layout::PG_DIR_OFFSET,
    PG_DIR_SIZE = const layout::PG_DIR_SIZE,
    PAGE_OFFSET = const layout::PAGE_OFFSET,
    MACH_VEXPRESS = const layout::MACH_VEXPRESS,
    UART_VEXPRESS = const layout::UART_VEXPRESS,
    MACH_BCM2709 = const layout::MACH_BCM2709,
    UART_BCM2709 = const layout::UART_BCM2709,
    UART_ENTRY = const section::entry_offset(layout::UART_WINDOW),
    DT_ENTRY = const section::entry_offset(layout::DT_WINDOW),
    KERNEL_ENTRY = const section::entry_offset(layout::PAGE_OFFSET),
    SECT_NORMAL = const section::NORMAL,
    SECT_NORMAL_XN = const section::NORMAL_XN,
    SECT_DEVICE = const section::DEVICE,
    TTBR_FLAGS = const section::TTBR_FLAGS,
    DACR = const section::DACR,
    SCTLR_OFF = const section::SCTLR_OFF,
    SCTLR_CLEAR = const section::SCTLR_CLEAR,
    SCTLR_SET = const section::SCTLR_SET,
    SCRATCH_SIZE = const place::SCRATCH_SIZE,
    NO_PLACE = const place::NO_PLACE,
    KIND_TREE = const info::KIND_TREE,
    KIND_ATAGS = const info::KIND_ATAGS,
    MODE_HYP = const info::MODE_HYP,
);
