//! Rewriting kernel text that is mapped read-only.
//!
//! The word is stored through a writable, never executable alias in the fixmap, which exists only meanwhile, so text
//! itself is never writable (invariant 10). Then the data cache is cleaned to the point of unification and
//! instruction caches and branch predictors are invalidated (ARM DDI 0406C, A3.5.4). Interrupts are masked meanwhile:
//! NOP.W and B.W are not among the instructions that may be exchanged while they are executed, and there is one CPU.

use crate::fixmap::{Fixmap, FixmapError, Slot};
use crate::jump_label::Instruction;
use crate::tlb::Tlb;
use crate::{cache, cpu};
use core::fmt;
use hal::{MemAttr, Prot};
use types::VirtAddr;

/// Why text was not patched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PatchError {
    /// No instruction is mapped there.
    NotText {
        /// The address.
        addr: VirtAddr,
    },
    /// The alias could not be made.
    Fixmap(FixmapError),
}

impl fmt::Display for PatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText { addr } => write!(f, "patch_text: nothing is mapped at {addr}"),
            Self::Fixmap(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PatchError {}

/// Puts `instruction` at `addr`.
///
/// # Errors
/// [`PatchError`]; nothing has changed then.
///
/// # Safety
/// The code at `addr` stays correct with the new instruction, at whatever moment it is seen.
pub unsafe fn patch_text(
    fixmap: &mut Fixmap<Tlb>,
    addr: VirtAddr,
    instruction: Instruction,
) -> Result<(), PatchError> {
    let _irq = cpu::IrqGuard::new();
    let aligned = addr.is_aligned(4);
    let phys = cpu::translate(addr).filter(|_| aligned).ok_or(PatchError::NotText { addr })?;
    let alias =
        fixmap.map(Slot::TextPoke, phys, 4, MemAttr::Normal, Prot::WRITE).map_err(PatchError::Fixmap)?;
    let word = core::ptr::with_exposed_provenance_mut::<u32>(alias.get() as usize);
    // SAFETY: the slot maps the word, writable; the caller vouches for its meaning.
    unsafe { word.write_volatile(instruction.encoding()) };
    cache::sync_instructions(word.cast(), 4);
    fixmap.unmap(Slot::TextPoke);
    Ok(())
}
