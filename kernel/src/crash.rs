//! Ways to die, for the console's `crash` command: they show that the report works.

use core::hint::black_box;

/// `crash panic`.
pub fn panic() -> ! {
    panic!("crash")
}

/// `crash abort`: a store to address 0, where nothing is mapped.
pub fn abort() {
    let null = core::ptr::without_provenance_mut::<u32>(black_box(0));
    // SAFETY: there is none: the store faults, and the data abort's report ends the kernel.
    unsafe { core::arch::asm!("str {0}, [{0}]", in(reg) null) };
}

/// `crash undef`: an instruction that is undefined for good.
#[inline(never)]
pub fn undef() {
    // SAFETY: the exception's report ends the kernel.
    unsafe { core::arch::asm!("udf #0") };
}

/// `crash stack`: calls itself until the guard page below the stack ends it.
pub fn stack() {
    recurse(black_box(1));
}

#[inline(never)]
fn recurse(depth: u32) -> u32 {
    let frame = black_box([depth; 16]);
    if depth == 0 { 0 } else { recurse(frame[3].wrapping_add(1)) + black_box(frame)[1] }
}
