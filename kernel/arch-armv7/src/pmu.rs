//! The performance monitors' cycle counter (ARM DDI 0406C, C12).
//!
//! Under QEMU's `-icount shift=0` a cycle is an instruction.

use aarch32_cpu::asm;
use aarch32_cpu::register::{Pmccntr, Pmcntenset, Pmcr};

/// PMCR.E, with C, which sets the cycle counter to 0.
const ENABLE_AND_RESET: u32 = 1 << 0 | 1 << 2;
/// PMCR.D, which counts only each 64th cycle, and DP, which counts none in Secure state: whatever firmware left there.
const DIVIDE_OR_PROHIBIT: u32 = 1 << 3 | 1 << 5;
/// PMCNTENSET.C.
const CYCLES: u32 = 1 << 31;

/// Starts the cycle counter of this CPU.
pub fn start() {
    // SAFETY: counting changes nothing but the counter; no overflow interrupt is enabled.
    unsafe {
        Pmcr::write(Pmcr(Pmcr::read().0 & !DIVIDE_OR_PROHIBIT | ENABLE_AND_RESET));
        Pmcntenset::write(Pmcntenset(CYCLES));
    }
    asm::isb();
}

/// Cycles since [`start`], modulo 2^32. What comes before in the program is counted, what comes behind is not.
#[inline(always)]
#[must_use]
pub fn cycles() -> u32 {
    asm::isb();
    let cycles = Pmccntr::read().0;
    asm::isb();
    cycles
}
