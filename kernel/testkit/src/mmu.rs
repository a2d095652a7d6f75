//! The translation table walk of ARMv7-A, short-descriptor format: ARM DDI 0406C, B3.5.5 (`TranslationTableWalkSD`
//! in B3.19), with SCTLR.AFE = 1 and TRE = 0 and domains as clients. Written from the manual's tables alone.

use types::{PhysAddr, VirtAddr};

/// Memory types by TEX, C and B (table B3-10). Anything that Contig has no business to use is refused by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryType {
    /// TEX 000, C 0, B 0.
    StronglyOrdered,
    /// TEX 000, C 0, B 1.
    ShareableDevice,
    /// TEX 001, C 0, B 0.
    NormalNonCacheable,
    /// TEX 001, C 1, B 1: write-back, write-allocate.
    NormalWriteBackWriteAllocate,
    /// Another encoding, as `TEX << 2 | C << 1 | B`.
    Other(u8),
}

/// A successful walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The first virtual address that the entry translates.
    pub virt: VirtAddr,
    /// The first physical address.
    pub phys: PhysAddr,
    /// Bytes.
    pub size: u32,
    /// Memory type.
    pub memory: MemoryType,
    /// S bit.
    pub shareable: bool,
    /// The kernel may store.
    pub writable: bool,
    /// User mode may access.
    pub user: bool,
    /// Instructions may be fetched.
    pub executable: bool,
    /// Matches all ASIDs.
    pub global: bool,
}

impl Translation {
    /// Where `virt`, which the entry must cover, goes.
    #[must_use]
    pub const fn phys_of(&self, virt: VirtAddr) -> PhysAddr {
        PhysAddr::new(self.phys.get() + (virt.get() - self.virt.get()))
    }

    /// Whether the entry translates `virt`.
    #[must_use]
    pub const fn covers(&self, virt: VirtAddr) -> bool {
        virt.get() & !(self.size - 1) == self.virt.get()
    }
}

/// What went wrong (table B3-23).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// An invalid descriptor.
    Translation,
    /// Access flag clear.
    AccessFlag,
    /// The access isn't allowed.
    Permission,
}

/// A fault, and the level of the table at which it arose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// 1 or 2.
    pub level: u8,
}

/// An access to be checked against a translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Fetch,
}

impl Translation {
    /// Checks an access by the kernel, or by user mode.
    ///
    /// # Errors
    /// A permission fault.
    pub const fn check(&self, access: Access, user: bool) -> Result<(), Fault> {
        let allowed = match access {
            Access::Read => true,
            Access::Write => self.writable,
            Access::Fetch => self.executable,
        };
        let level = if self.size == 1 << 20 { 1 } else { 2 };
        if allowed && (self.user || !user) {
            Ok(())
        } else {
            Err(Fault { kind: FaultKind::Permission, level })
        }
    }
}

const fn bit(word: u32, n: u32) -> bool {
    word >> n & 1 == 1
}

const fn field(word: u32, high: u32, low: u32) -> u32 {
    word >> low & ((1 << (high - low + 1)) - 1)
}

const fn memory_type(tex: u32, c: bool, b: bool) -> MemoryType {
    match (tex, c, b) {
        (0b000, false, false) => MemoryType::StronglyOrdered,
        (0b000, false, true) => MemoryType::ShareableDevice,
        (0b001, false, false) => MemoryType::NormalNonCacheable,
        (0b001, true, true) => MemoryType::NormalWriteBackWriteAllocate,
        _ => MemoryType::Other((tex << 2 | (c as u32) << 1 | b as u32) as u8),
    }
}

/// Reads the first-level descriptor for `virt` and the tables below it, by `read`.
///
/// `l1` is the descriptor that the walker found, or remembers, for `virt`.
///
/// # Errors
/// Translation and access flag faults.
pub fn walk(l1: u32, virt: VirtAddr, read: impl FnOnce(PhysAddr) -> u32) -> Result<Translation, Fault> {
    let va = virt.get();
    match field(l1, 1, 0) {
        0b01 => walk_level2(read(PhysAddr::new(field(l1, 31, 10) << 10 | field(va, 19, 12) << 2)), va),
        0b10 if bit(l1, 18) => panic!("supersection descriptor {l1:#010x} for {virt}"),
        0b10 => {
            assert!(field(l1, 8, 5) == 0 && !bit(l1, 19), "section descriptor {l1:#010x}: domain or NS");
            let entry = Attributes {
                memory: memory_type(field(l1, 14, 12), bit(l1, 3), bit(l1, 2)),
                ap: (bit(l1, 15) as u32) << 2 | field(l1, 11, 10),
                xn: bit(l1, 4),
                shareable: bit(l1, 16),
                not_global: bit(l1, 17),
            };
            entry.translation(va, field(l1, 31, 20) << 20, 1 << 20, 1)
        }
        0b11 => panic!("first-level descriptor {l1:#010x} for {virt}: reserved, or PXN"),
        _ => Err(Fault { kind: FaultKind::Translation, level: 1 }),
    }
}

fn walk_level2(l2: u32, va: u32) -> Result<Translation, Fault> {
    let common = |tex, xn| Attributes {
        memory: memory_type(tex, bit(l2, 3), bit(l2, 2)),
        ap: (bit(l2, 9) as u32) << 2 | field(l2, 5, 4),
        xn,
        shareable: bit(l2, 10),
        not_global: bit(l2, 11),
    };
    if bit(l2, 1) {
        common(field(l2, 8, 6), bit(l2, 0)).translation(va, field(l2, 31, 12) << 12, 1 << 12, 2)
    } else if bit(l2, 0) {
        assert!(field(l2, 8, 6) == 0, "large page descriptor {l2:#010x}: bits 8 to 6 should be zero");
        common(field(l2, 14, 12), bit(l2, 15)).translation(va, field(l2, 31, 16) << 16, 1 << 16, 2)
    } else {
        Err(Fault { kind: FaultKind::Translation, level: 2 })
    }
}

struct Attributes {
    memory: MemoryType,
    /// AP[2:0].
    ap: u32,
    xn: bool,
    shareable: bool,
    not_global: bool,
}

impl Attributes {
    /// Table B3-8: AP[2:1] with the access flag in AP[0].
    fn translation(self, va: u32, phys: u32, size: u32, level: u8) -> Result<Translation, Fault> {
        if !bit(self.ap, 0) {
            return Err(Fault { kind: FaultKind::AccessFlag, level });
        }
        Ok(Translation {
            virt: VirtAddr::new(va & !(size - 1)),
            phys: PhysAddr::new(phys),
            size,
            memory: self.memory,
            shareable: self.shareable,
            writable: !bit(self.ap, 2),
            user: bit(self.ap, 1),
            executable: !self.xn,
            global: !self.not_global,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never(_: PhysAddr) -> u32 {
        panic!("no second level here")
    }

    /// `0xc0011c0e | XN` by hand: Linux's `MT_MEMORY_RW` section on an SMP ARMv7, with AFE.
    #[test]
    fn a_section() {
        let virt = VirtAddr::new(0xc012_3456);
        let seen = walk(0x8011_141e, virt, never).unwrap();
        assert_eq!(seen.phys_of(virt), PhysAddr::new(0x8012_3456));
        assert_eq!(seen.memory, MemoryType::NormalWriteBackWriteAllocate);
        assert!(seen.shareable && seen.writable && seen.global && !seen.user && !seen.executable);
        assert_eq!(walk(0x8011_101e, virt, never), Err(Fault { kind: FaultKind::AccessFlag, level: 1 }));
        assert_eq!(walk(0, virt, never), Err(Fault { kind: FaultKind::Translation, level: 1 }));
    }

    #[test]
    fn pages() {
        let virt = VirtAddr::new(0x0012_3456);
        let read = |word| {
            move |pa| {
                assert_eq!(pa, PhysAddr::new(0x8000_7400 + 0x23 * 4));
                word
            }
        };
        let small = walk(0x8000_7401, virt, read(0x8100_0e7f)).unwrap();
        assert_eq!(small.phys_of(virt), PhysAddr::new(0x8100_0456));
        assert!(!small.writable && small.user && !small.global && !small.executable);
        let large = walk(0x8000_7401, virt, read(0x8101_001d & !0xc | 0x1000)).unwrap();
        assert_eq!((large.size, large.phys_of(virt)), (0x1_0000, PhysAddr::new(0x8101_3456)));
        assert_eq!(large.memory, MemoryType::NormalNonCacheable);
        let fault = walk(0x8000_7401, virt, read(0xffff_fffc));
        assert_eq!(fault, Err(Fault { kind: FaultKind::Translation, level: 2 }));
    }
}
