//! Static branches: code that is skipped at the cost of one NOP until a [`StaticKey`] is switched on.
//!
//! [`static_branch_unlikely!`](crate::static_branch_unlikely!) leaves a NOP in the text and a [`Site`] in the
//! `.jump_table` section. Switching the key replaces each of its NOPs by a branch to the unlikely code, or back.
//!
//! Sites are in Thumb code: the assembly below is refused in ARM state. Each is 32 bits wide and word-aligned, so that
//! one store exchanges it.
//!
//! Source: Linux's `include/linux/jump_label.h`; ARM DDI 0406C, A8.8.18 (B, encoding T4) and A8.8.119 (NOP, T2).

use core::sync::atomic::{AtomicBool, Ordering};

/// One of the two instructions that a static branch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// Goes on.
    Nop,
    /// Branches; made by [`Instruction::branch`].
    Branch {
        /// Bytes from the instruction's own address + 4 to the target; even.
        bytes: i32,
    },
}

impl Instruction {
    /// A branch at `from` to `to`; `None` when it is farther than 16 MiB or an odd number of bytes away.
    #[must_use]
    pub const fn branch(from: u32, to: u32) -> Option<Self> {
        let bytes = to.wrapping_sub(from).wrapping_sub(4) as i32;
        if bytes % 2 != 0 || bytes < -(1 << 24) || bytes >= 1 << 24 {
            return None;
        }
        Some(Self::Branch { bytes })
    }

    /// The Thumb encoding as the word that little-endian memory holds: its first half is the lower one.
    #[must_use]
    pub const fn encoding(self) -> u32 {
        let (first, second) = match self {
            Self::Nop => (0xf3af, 0x8000),
            Self::Branch { bytes } => {
                let offset = bytes as u32;
                let sign = offset >> 24 & 1;
                // The manual's J1 and J2: the two bits below the sign, equal to it unless the branch is long.
                let j1 = !(offset >> 23 ^ sign) & 1;
                let j2 = !(offset >> 22 ^ sign) & 1;
                (
                    0xf000 | sign << 10 | offset >> 12 & 0x3ff,
                    0x9000 | j1 << 13 | j2 << 11 | offset >> 1 & 0x7ff,
                )
            }
        };
        second << 16 | first
    }
}

/// A switch for static branches. Off at first.
#[derive(Debug)]
pub struct StaticKey {
    on: AtomicBool,
}

impl StaticKey {
    /// A key that is off.
    #[must_use]
    pub const fn new() -> Self {
        Self { on: AtomicBool::new(false) }
    }

    /// Whether it was switched on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }
}

impl Default for StaticKey {
    fn default() -> Self {
        Self::new()
    }
}

/// A static branch in the text, as the macro's assembly lays it out.
#[derive(Debug)]
#[repr(C)]
pub struct Site {
    /// Address of the NOP.
    code: u32,
    /// Address of the unlikely code.
    target: u32,
    /// The key.
    key: *const StaticKey,
}

// SAFETY: a site is constant data; its pointer leads to a `StaticKey` that is shared anyway.
unsafe impl Sync for Site {}

impl Site {
    /// What belongs at the site when its key is `on`; `None` for a branch that can't be encoded.
    #[must_use]
    pub const fn instruction(&self, on: bool) -> Option<Instruction> {
        if on { Instruction::branch(self.code, self.target) } else { Some(Instruction::Nop) }
    }

    /// Whether it belongs to `key`.
    #[must_use]
    pub fn is_of(&self, key: &StaticKey) -> bool {
        core::ptr::eq(self.key, key)
    }

    /// Where its instruction is.
    #[must_use]
    pub const fn code(&self) -> types::VirtAddr {
        types::VirtAddr::new(self.code)
    }
}

/// `true` when the [`StaticKey`] is on, at the cost of a NOP when it is off.
#[cfg(all(target_arch = "arm", target_os = "none"))]
#[macro_export]
macro_rules! static_branch_unlikely {
    ($key:path) => {
        '_branch: {
            // SAFETY: a NOP (nop.w), and a record of it in a section of its own. `patch_text` makes it a branch to the label,
            // which the compiler knows as a possible successor.
            unsafe {
                core::arch::asm!(
                    ".balign 4",
                    "0: .inst.w 0xf3af8000",
                    ".pushsection .jump_table, \"a\", %progbits",
                    ".balign 4",
                    ".word 0b, {taken}, {key}",
                    ".popsection",
                    taken = label { break '_branch true },
                    key = sym $key,
                    options(nomem, nostack, preserves_flags),
                );
            }
            false
        }
    };
}

#[cfg(all(target_arch = "arm", target_os = "none"))]
pub use target::{set, sites};

#[cfg(all(target_arch = "arm", target_os = "none"))]
mod target {
    use super::{Ordering, Site, StaticKey};
    use crate::fixmap::Fixmap;
    use crate::patch::{PatchError, patch_text};
    use crate::tlb::Tlb;

    /// Every static branch of the image.
    #[must_use]
    pub fn sites() -> &'static [Site] {
        unsafe extern "C" {
            static __jump_table_start: u8;
            static __jump_table_end: u8;
        }
        let start = (&raw const __jump_table_start).cast::<Site>();
        let end = (&raw const __jump_table_end).cast::<Site>();
        // SAFETY: the linker script puts the symbols around the section, which holds sites only, in read-only data.
        unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
    }

    /// Switches `key` and patches all of its branches.
    ///
    /// # Errors
    /// [`PatchError`]; branches before the one that failed are switched.
    pub fn set(fixmap: &mut Fixmap<Tlb>, key: &StaticKey, on: bool) -> Result<(), PatchError> {
        key.on.store(on, Ordering::Relaxed);
        for site in sites().iter().filter(|site| site.is_of(key)) {
            let instruction = site.instruction(on).ok_or(PatchError::NotText { addr: site.code() })?;
            // SAFETY: the site is a NOP or a branch to its label by construction (`static_branch_unlikely!`).
            unsafe { patch_text(fixmap, site.code(), instruction)? };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_encoded_as_the_assembler_does() {
        let encode = |from, to| Instruction::branch(from, to).map(Instruction::encoding);
        // What `llvm-mc -triple=thumbv7a --show-encoding` says, as little-endian words.
        assert_eq!(encode(0xc000_8000, 0xc000_8000), Some(0xbffe_f7ff), "b.w .");
        assert_eq!(encode(0xc000_8000, 0xc000_8004), Some(0xb800_f000), "b.w .+4");
        assert_eq!(encode(0xc000_8000, 0xc000_8104), Some(0xb880_f000), "b.w .+0x104");
        assert_eq!(encode(0xc000_8000, 0xc012_3456), Some(0xba29_f11b), "b.w .+0x11b456");
        assert_eq!(encode(0x0100_0000 - 4, 0x01ff_fffe), Some(0x97ff_f3ff), "16 MiB up");
        assert_eq!(encode(0x0100_0000 - 4, 0x0200_0000), None, "more");
        assert_eq!(encode(0x0100_0000 - 4, 0), Some(0x9000_f400), "16 MiB down");
        assert_eq!(encode(0x0100_0000 - 2, 0), None);
        assert_eq!(encode(0xc000_8000, 0xc000_8103), None);
    }

    #[test]
    fn a_site_is_a_nop_or_its_branch() {
        let (mine, other) = (StaticKey::new(), StaticKey::new());
        let site = Site { code: 0xc000_9000, target: 0xc000_9010, key: &raw const mine };
        assert!(site.is_of(&mine) && !site.is_of(&other) && !mine.is_on());
        assert_eq!(site.instruction(false), Some(Instruction::Nop));
        assert_eq!(site.instruction(true), Some(Instruction::Branch { bytes: 12 }));
    }
}
