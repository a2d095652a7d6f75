//! Entries of the early first-level table: short-descriptor sections (ARM DDI 0406C, B3.5.1).
//!
//! start.S only adds these constants to addresses; `SCTLR.AFE` is set and `SCTLR.TRE` clear, so `AP[0]` is the
//! access flag and TEX, C, B say the memory type. The early tables are writable and executable, for the few
//! thousand instructions until the final ones replace them.

use types::SECTION_SIZE;

const TYPE: u32 = 0b10;
const B: u32 = 1 << 2;
const C: u32 = 1 << 3;
const XN: u32 = 1 << 4;
const ACCESSED: u32 = 1 << 10;
const TEX0: u32 = 1 << 12;
const SHARED: u32 = 1 << 16;

/// Flags of a section of Normal memory, inner and outer write-back write-allocate, shareable.
pub const NORMAL: u32 = TYPE | B | C | ACCESSED | TEX0 | SHARED;
/// The same, without the right to execute: for the device tree.
pub const NORMAL_XN: u32 = NORMAL | XN;
/// Flags of a section of Device memory, never executable.
pub const DEVICE: u32 = TYPE | B | XN | ACCESSED | SHARED;

/// Both translation table base registers: walks are inner and outer write-back write-allocate, shareable.
pub const TTBR_FLAGS: u32 = 1 << 6 | 1 << 5 | 1 << 3 | 1 << 1;
/// DACR: domain 0 is a client, so that access rights count; no access through any other.
pub const DACR: u32 = 1;

/// SCTLR bits that must be clear when the MMU goes on: A, V, WXN, UWXN, EE, TRE, TE.
pub const SCTLR_CLEAR: u32 = 1 << 1 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 25 | 1 << 28 | 1 << 30;
/// SCTLR bits to set: M, C, Z, I, AFE.
pub const SCTLR_SET: u32 = 1 | 1 << 2 | 1 << 11 | 1 << 12 | 1 << 29;
/// SCTLR bits that must be clear from the first instruction on: M, C, I, V.
pub const SCTLR_OFF: u32 = 1 | 1 << 2 | 1 << 12 | 1 << 13;

/// Byte offset in the table of the entry that translates `virt`.
#[must_use]
pub const fn entry_offset(virt: u32) -> u32 {
    (virt >> 20) << 2
}

/// The entry that maps a section to the one that holds `phys`.
#[must_use]
pub const fn entry(phys: u32, flags: u32) -> u32 {
    phys & !(SECTION_SIZE - 1) | flags
}

/// How many kernel sections reach from `PAGE_OFFSET` through the one that holds the byte before `end`.
#[must_use]
pub const fn kernel_sections(end: u32) -> u32 {
    (end - 1 - crate::layout::PAGE_OFFSET) / SECTION_SIZE + 1
}

/// Where in the two-section window at [`DT_WINDOW`](crate::layout::DT_WINDOW) the byte at `phys` appears.
#[must_use]
pub const fn dt_window_addr(phys: u32) -> u32 {
    crate::layout::DT_WINDOW + (phys & (SECTION_SIZE - 1))
}

/// Whether `len` bytes from `phys` lie inside of the two-section window around `phys`.
#[must_use]
pub const fn dt_window_holds(phys: u32, len: u32) -> bool {
    len <= 2 * SECTION_SIZE - (phys & (SECTION_SIZE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{DT_WINDOW, PAGE_OFFSET};

    /// Decodes a section as the architecture manual's figure B3-4 lays it out, field by field.
    fn decode(entry: u32) -> (u32, u32, u32, bool, u32, bool) {
        let bits = |high: u32, low: u32| entry >> low & ((1 << (high - low + 1)) - 1);
        assert_eq!(bits(1, 0), 2, "a section");
        assert_eq!(bits(18, 18), 0, "not a supersection");
        assert_eq!(bits(8, 5), 0, "domain 0");
        let memory_type = bits(14, 12) << 2 | bits(3, 3) << 1 | bits(2, 2);
        (bits(31, 20), memory_type, bits(15, 15) << 2 | bits(11, 10), bits(4, 4) == 1, bits(16, 16), true)
    }

    #[test]
    fn flags_say_what_the_manual_says() {
        // TEX:C:B 001:1:1 is write-back write-allocate, 000:0:1 shareable Device; AP[0] alone: kernel read-write.
        assert_eq!(decode(entry(0x8012_3456, NORMAL)), (0x801, 0b00111, 0b001, false, 1, true));
        assert_eq!(decode(entry(0x8fff_ffff, NORMAL_XN)), (0x8ff, 0b00111, 0b001, true, 1, true));
        assert_eq!(decode(entry(0x1c09_0000, DEVICE)), (0x1c0, 0b00001, 0b001, true, 1, true));
    }

    #[test]
    fn entries_sit_where_the_walker_looks() {
        // The walker takes VA[31:20] as index of 32-bit words.
        for virt in [0, PAGE_OFFSET, 0xc00f_ffff, DT_WINDOW, u32::MAX] {
            assert_eq!(entry_offset(virt), virt / SECTION_SIZE * 4);
        }
        assert_eq!(entry_offset(PAGE_OFFSET), 0x3000);
    }

    #[test]
    fn sections_cover_the_image_and_no_more() {
        assert_eq!(kernel_sections(PAGE_OFFSET + 0x8001), 1);
        assert_eq!(kernel_sections(PAGE_OFFSET + SECTION_SIZE), 1);
        assert_eq!(kernel_sections(PAGE_OFFSET + SECTION_SIZE + 1), 2);
    }

    #[test]
    fn the_window_moves_with_the_tree() {
        assert_eq!(dt_window_addr(0x8800_0000), DT_WINDOW);
        assert_eq!(dt_window_addr(0x87f1_2340), DT_WINDOW + 0x1_2340);
        assert!(dt_window_holds(0x87f0_0000, 2 << 20));
        assert!(!dt_window_holds(0x87f0_0004, 2 << 20));
        assert!(dt_window_holds(0x87ff_fff8, 0x10_0008));
        assert!(!dt_window_holds(0x87ff_fff8, 0x10_0009));
    }
}
