//! Descriptors of the ARMv7 short-descriptor format (ARM DDI 0406C, B3.5.1), as numbers.
//!
//! ```text
//!           31          20 19 18 17 16 15  14-12 11-10  9  8-5    4  3 2 1 0
//! section   | base        | 0  0 nG S AP2 | TEX | AP  | 0| dom |XN| C B 1 0 |
//! table     | base, bits 31 to 10               | 0 | 0| dom | 0| 0 0 0 1 |
//!           31       16 15  14-12 11 10 9   8-6   5-4  3 2 1 0
//! large     | base     | XN| TEX | nG S AP2| 0   | AP | C B 0 1 |
//! small     | base, 31 to 12     | nG S AP2| TEX | AP | C B 1 XN |
//! ```
//!
//! SCTLR.AFE is 1: AP\[2\] is read-only, AP\[1\] user access, AP\[0\] the access flag. SCTLR.TRE is 0: TEX, C
//! and B encode the memory type directly. Domain 0 throughout.

use hal::{MemAttr, Prot};
use types::PhysAddr;

const SECTION: u32 = 0b10;
const TABLE: u32 = 0b01;
const LARGE: u32 = 0b01;
const SMALL: u32 = 0b10;

/// What an entry that translates says, whatever its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The first byte of the memory; a multiple of the entry's size.
    pub phys: PhysAddr,
    /// Memory type.
    pub attr: MemAttr,
    /// Access rights.
    pub prot: Prot,
    /// Access flag.
    pub young: bool,
    /// Matches every address space; user entries don't.
    pub global: bool,
}

/// A first-level entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L1 {
    /// Faults.
    Fault,
    /// Points to a second-level table of 256 entries (1 KiB).
    Table(PhysAddr),
    /// Translates 1 MiB.
    Section(Leaf),
    /// Valid, but of a kind that this module never writes: a supersection, or another memory type.
    Foreign,
}

/// A second-level entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L2 {
    /// Faults; the upper 30 bits are software's, 0 when the entry is empty.
    Fault(u32),
    /// One of the 16 equal entries of a 64 KiB page.
    Large(Leaf),
    /// Translates 4 KiB.
    Small(Leaf),
    /// Valid, but with a memory type that this module never writes.
    Foreign,
}

/// Attribute bits where the small page has them: S nG at 11-10, AP\[2\] at 9, TEX at 8-6, AP\[1:0\] at 5-4, C, B.
#[inline]
const fn bits(leaf: Leaf) -> u32 {
    let kind = match leaf.attr {
        MemAttr::Normal => 1 << 10 | 0b001 << 6 | 0b11 << 2,
        MemAttr::NormalNc => 1 << 10 | 0b001 << 6,
        MemAttr::Device => 0b01 << 2,
        MemAttr::StronglyOrdered => 0,
    };
    let read_only = !leaf.prot.contains(Prot::WRITE) as u32;
    let user = leaf.prot.contains(Prot::USER) as u32;
    kind | (!leaf.global as u32) << 11 | read_only << 9 | user << 5 | (leaf.young as u32) << 4
}

const fn never_exec(leaf: Leaf) -> u32 {
    !leaf.prot.contains(Prot::EXEC) as u32
}

/// A small page; `leaf.phys` a multiple of 4 KiB.
#[must_use]
#[inline]
pub const fn small(leaf: Leaf) -> u32 {
    leaf.phys.get() | bits(leaf) | SMALL | never_exec(leaf)
}

/// Each of the 16 entries of a large page; `leaf.phys` a multiple of 64 KiB.
#[must_use]
pub const fn large(leaf: Leaf) -> u32 {
    let bits = bits(leaf);
    let tex = bits >> 6 & 7;
    leaf.phys.get() | bits & !(7 << 6) | tex << 12 | never_exec(leaf) << 15 | LARGE
}

/// A section; `leaf.phys` a multiple of 1 MiB.
#[must_use]
pub const fn section(leaf: Leaf) -> u32 {
    let bits = bits(leaf);
    let upper = bits >> 4 << 10;
    leaf.phys.get() | upper & 0x3_fc00 | bits & 0b1100 | never_exec(leaf) << 4 | SECTION
}

/// A pointer to the second-level table at `phys`, a multiple of 1 KiB.
#[must_use]
pub const fn table(phys: PhysAddr) -> u32 {
    phys.get() | TABLE
}

/// The second-level table that a first-level entry points to, if it does.
#[must_use]
#[inline]
pub const fn table_of(raw: u32) -> Option<PhysAddr> {
    if raw & 3 == TABLE { Some(PhysAddr::new(raw & !0x3ff)) } else { None }
}

/// Whether a second-level entry is one of a large page's.
#[must_use]
#[inline]
pub const fn is_large(raw: u32) -> bool {
    raw & 3 == LARGE
}

/// Whether a second-level entry translates a small page.
#[must_use]
#[inline]
pub const fn is_small(raw: u32) -> bool {
    raw & SMALL != 0
}

/// The rights and the access flag of a small page of normal memory that is never executed; `None` for any other entry.
#[must_use]
#[inline]
pub const fn data_page(raw: u32) -> Option<(Prot, bool)> {
    const KIND: u32 = 7 << 6 | 0b11 << 2 | SMALL | 1;
    const DATA: u32 = 0b001 << 6 | 0b11 << 2 | SMALL | 1;
    if raw & KIND != DATA {
        return None;
    }
    let write = if raw & 1 << 9 == 0 { Prot::WRITE } else { Prot::empty() };
    let user = if raw & 1 << 5 != 0 { Prot::USER } else { Prot::empty() };
    Some((write.union(user), raw & 1 << 4 != 0))
}

/// The entry of a small page, for another page.
#[must_use]
#[inline]
pub const fn with_page(raw: u32, phys: PhysAddr) -> u32 {
    raw & 0xfff | phys.get()
}

/// What `bits` (in the small page's places) and the XN bit say.
fn leaf(phys: u32, bits: u32, never_exec: bool) -> Option<Leaf> {
    let attr = match (bits >> 6 & 7, bits >> 2 & 3) {
        (0b001, 0b11) => MemAttr::Normal,
        (0b001, 0b00) => MemAttr::NormalNc,
        (0b000, 0b01) => MemAttr::Device,
        (0b000, 0b00) => MemAttr::StronglyOrdered,
        _ => return None,
    };
    let mut prot = Prot::empty();
    prot.set(Prot::WRITE, bits & 1 << 9 == 0);
    prot.set(Prot::USER, bits & 1 << 5 != 0);
    prot.set(Prot::EXEC, !never_exec);
    Some(Leaf {
        phys: PhysAddr::new(phys),
        attr,
        prot,
        young: bits & 1 << 4 != 0,
        global: bits & 1 << 11 == 0,
    })
}

/// Reads a first-level entry.
#[must_use]
#[inline]
pub fn decode_l1(raw: u32) -> L1 {
    match raw & 3 {
        0 => L1::Fault,
        TABLE => L1::Table(PhysAddr::new(raw & !0x3ff)),
        SECTION if raw & 1 << 18 == 0 => {
            let bits = raw >> 10 << 4 & 0xff0 | raw & 0b1100;
            leaf(raw & 0xfff0_0000, bits, raw & 1 << 4 != 0).map_or(L1::Foreign, L1::Section)
        }
        _ => L1::Foreign,
    }
}

/// Reads a second-level entry.
#[must_use]
#[inline]
pub fn decode_l2(raw: u32) -> L2 {
    match raw & 3 {
        0 => L2::Fault(raw),
        LARGE => {
            let bits = raw & 0xe3c | (raw >> 12 & 7) << 6;
            leaf(raw & 0xffff_0000, bits, raw & 1 << 15 != 0).map_or(L2::Foreign, L2::Large)
        }
        _ => leaf(raw & 0xffff_f000, raw, raw & 1 != 0).map_or(L2::Foreign, L2::Small),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: Leaf = Leaf {
        phys: PhysAddr::new(0x8010_0000),
        attr: MemAttr::Normal,
        prot: Prot::WRITE,
        young: true,
        global: true,
    };

    /// Worked out by hand from the manual's figures B3-4 and B3-5.
    #[test]
    fn known_descriptors() {
        assert_eq!(section(LEAF), 0x8011_141e);
        assert_eq!(small(LEAF), 0x8010_045f);
        assert_eq!(large(LEAF), 0x8010_941d);
        let text = Leaf { prot: Prot::EXEC, ..LEAF };
        assert_eq!(section(text), 0x8011_940e);
        assert_eq!(small(text), 0x8010_065e);
        let user = Leaf { prot: Prot::USER | Prot::WRITE, global: false, young: false, ..LEAF };
        assert_eq!(small(user), 0x8010_0c6f);
        assert_eq!(section(user), 0x8013_181e);
        let device = Leaf { attr: MemAttr::Device, ..LEAF };
        assert_eq!(section(device), 0x8010_0416);
        assert_eq!(table(PhysAddr::new(0x8000_7400)), 0x8000_7401);
    }

    #[test]
    fn every_leaf_reads_back() {
        use MemAttr::{Device, Normal, NormalNc, StronglyOrdered};
        for attr in [Normal, NormalNc, Device, StronglyOrdered] {
            for rights in 0..8 {
                for flags in 0..4 {
                    let prot = Prot::from_bits_truncate(rights);
                    let leaf = Leaf { attr, prot, young: flags & 1 != 0, global: flags & 2 != 0, ..LEAF };
                    assert_eq!(decode_l1(section(leaf)), L1::Section(leaf));
                    assert_eq!(decode_l2(large(leaf)), L2::Large(leaf));
                    assert_eq!(decode_l2(small(leaf)), L2::Small(leaf));
                }
            }
        }
    }

    /// [`data_page`] says what [`decode_l2`] says, of every entry with any attributes.
    #[test]
    fn data_pages_are_those_that_are_never_executed() {
        for low in 0..1 << 12 {
            let raw = 0x8010_0000 | low;
            let expected = match decode_l2(raw) {
                L2::Small(leaf) if leaf.attr == MemAttr::Normal && !leaf.prot.contains(Prot::EXEC) => {
                    Some((leaf.prot, leaf.young))
                }
                _ => None,
            };
            assert_eq!(data_page(raw), expected, "{raw:#x}");
            assert_eq!(with_page(raw, PhysAddr::new(0x9000_f000)), 0x9000_f000 | low);
        }
    }

    #[test]
    fn strangers_are_not_decoded() {
        assert_eq!(decode_l1(section(LEAF) | 1 << 18), L1::Foreign);
        assert_eq!(decode_l1(0x8000_0c0e), L1::Foreign);
        assert_eq!(decode_l2(0x8000_003e), L2::Foreign);
    }
}
