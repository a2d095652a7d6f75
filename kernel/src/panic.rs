//! The end of the road: the report of a panic or of an exception that nobody handled.
//!
//! The text is the contract with the runner (`qemu/`): it turns the addresses into names and lines, and ends QEMU at
//! the last line. It is written around the log's lock, so it also works for a panic inside of the log.

use crate::log::Emergency;
use arch_armv7::cpu;
use arch_armv7::exception::{self, Fault, Frame};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

/// The report has begun; what goes wrong from here on must not begin another.
static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let frame = exception::capture();
    begin();
    if let Some(location) = info.location() {
        line(format_args!("kernel BUG at {}:{}!", location.file(), location.line()));
    }
    report(format_args!("{}", info.message()), &frame, false)
}

/// Reports an exception that nobody handled: the hook for
/// [`set_fatal_handler`](arch_armv7::exception::set_fatal_handler).
pub fn fatal_exception(frame: &Frame, fault: Fault) -> ! {
    begin();
    line(format_args!("{fault}"));
    let reason = match fault {
        Fault::StackOverflow { .. } => "kernel stack overflow",
        _ => "Fatal exception",
    };
    report(format_args!("{reason}"), frame, true)
}

/// Masks interrupts; stops here when a report goes wrong itself.
fn begin() {
    core::mem::forget(cpu::IrqGuard::new());
    if PANICKING.swap(true, Ordering::Relaxed) {
        line(format_args!("---[ end Kernel panic - not syncing: error in the report of an error ]---"));
        cpu::stop();
    }
}

fn report(reason: fmt::Arguments<'_>, frame: &Frame, at_pc: bool) -> ! {
    line(format_args!("Kernel panic - not syncing: {reason}"));
    line(format_args!("CPU: {}", cpu::id()));
    line(format_args!("{frame}"));
    line(format_args!("Backtrace:"));
    if at_pc {
        // Not a return address, as the others are.
        line(format_args!(" [<{:08x}>] (pc)", frame.pc));
    }
    exception::backtrace(frame).for_each(|address| line(format_args!(" [<{address:08x}>]")));
    crate::tracing::port::flush();
    line(format_args!("---[ end Kernel panic - not syncing: {reason} ]---"));
    cpu::stop()
}

fn line(text: fmt::Arguments<'_>) {
    // The emergency console takes every text.
    let _ = writeln!(Emergency, "{text}");
}
