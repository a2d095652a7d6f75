//! The end of the road.

use crate::log::Emergency;
use arch_armv7::cpu;
use core::fmt::Write;
use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let reason = info.message();
    // The emergency writer takes every text.
    let _ = writeln!(Emergency, "Kernel panic - not syncing: {reason}");
    let _ = writeln!(Emergency, "---[ end Kernel panic - not syncing: {reason} ]---");
    cpu::stop()
}
