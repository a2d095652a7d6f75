//! Static branches: code that is skipped at the cost of one NOP until a [`StaticKey`] is switched on.
//!
//! [`static_branch_unlikely!`](crate::static_branch_unlikely!) leaves a NOP in the text and a [`Site`] in the
//! `.jump_table` section. Switching the key replaces each of its NOPs by a branch to the unlikely code, or back.
//!
//! Source: Linux's `include/linux/jump_label.h`; ARM DDI 0406C, A8.8.18 (B) and A8.8.119 (NOP).

use core::sync::atomic::{AtomicBool, Ordering};

/// One of the two instructions that a static branch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// Goes on.
    Nop,
    /// Branches; made by [`Instruction::branch`].
    Branch {
        /// Words from the instruction's own address + 8 to the target.
        words: i32,
    },
}

impl Instruction {
    /// A branch at `from` to `to`; `None` when it is farther than 32 MiB or not a multiple of four away.
    #[must_use]
    pub const fn branch(from: u32, to: u32) -> Option<Self> {
        let bytes = to.wrapping_sub(from).wrapping_sub(8) as i32;
        if bytes % 4 != 0 || bytes < -(1 << 25) || bytes >= 1 << 25 {
            return None;
        }
        Some(Self::Branch { words: bytes / 4 })
    }

    /// The ARM encoding, condition AL.
    #[must_use]
    pub const fn encoding(self) -> u32 {
        match self {
            Self::Nop => 0xe320_f000,
            Self::Branch { words } => 0xea00_0000 | words as u32 & 0x00ff_ffff,
        }
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
            // SAFETY: a NOP, and a record of it in a section of its own. `patch_text` makes it a branch to the label,
            // which the compiler knows as a possible successor.
            unsafe {
                core::arch::asm!(
                    "0: nop",
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
        // `b .` is eafffffe, `b .+8` is ea000000, `b .+0x100` is ea00003e.
        assert_eq!(encode(0xc000_8000, 0xc000_8000), Some(0xeaff_fffe));
        assert_eq!(encode(0xc000_8000, 0xc000_8008), Some(0xea00_0000));
        assert_eq!(encode(0xc000_8000, 0xc000_8100), Some(0xea00_003e));
        assert_eq!(encode(0x0200_0000 - 8, 0x03ff_fffc), Some(0xea7f_ffff));
        assert_eq!(encode(0x0200_0000 - 8, 0x0400_0000), None, "32 MiB up");
        assert_eq!(encode(0x0200_0000 - 8, 0), Some(0xea80_0000), "32 MiB down");
        assert_eq!(encode(0x0200_0000 - 4, 0), None);
        assert_eq!(encode(0xc000_8000, 0xc000_8102), None);
    }

    #[test]
    fn a_site_is_a_nop_or_its_branch() {
        let (mine, other) = (StaticKey::new(), StaticKey::new());
        let site = Site { code: 0xc000_9000, target: 0xc000_9010, key: &raw const mine };
        assert!(site.is_of(&mine) && !site.is_of(&other) && !mine.is_on());
        assert_eq!(site.instruction(false), Some(Instruction::Nop));
        assert_eq!(site.instruction(true), Some(Instruction::Branch { words: 2 }));
    }
}
