//! Calls to the firmware, by the SMC calling convention (ARM DEN 0028): function and arguments in r0 to r3, the
//! result in r0; r4 to r11 survive.

use core::arch::asm;

/// Calls the secure monitor.
#[must_use]
pub fn smc(args: [u32; 4]) -> u32 {
    let result;
    // SAFETY: the convention's registers are given; firmware may write any memory of its own, so no `nomem`.
    unsafe {
        asm!(".arch_extension sec", "smc #0", inout("r0") args[0] => result, inout("r1") args[1] => _,
            inout("r2") args[2] => _, inout("r3") args[3] => _, out("r12") _, out("lr") _, options(nostack));
    }
    result
}

/// Calls the hypervisor.
#[must_use]
pub fn hvc(args: [u32; 4]) -> u32 {
    let result;
    // SAFETY: as in `smc`.
    unsafe {
        asm!(".arch_extension virt", "hvc #0", inout("r0") args[0] => result, inout("r1") args[1] => _,
            inout("r2") args[2] => _, inout("r3") args[3] => _, out("r12") _, out("lr") _, options(nostack));
    }
    result
}
