//! What `loglevel=8` adds to the log: every data abort, as the exception code's static branches report it.
//!
//! Off, they cost a NOP each; on, the NOPs in the read-only text are branches (`arch_armv7::jump_label`).

use crate::log as kernel_log;
use crate::machine::FIXMAP;
use arch_armv7::exception::{self, TraceEvent};

/// `loglevel=LEVEL`: sets the console's level; above 7, data aborts are logged.
pub fn set_loglevel(level: u32) {
    kernel_log::set_console_loglevel(u8::try_from(level).unwrap_or(u8::MAX));
    let tracer = kernel_log::prints_debug().then_some(report as exception::TraceHandler);
    if let Err(error) = exception::set_tracer(&mut FIXMAP.lock(), tracer) {
        log::error!("{error}");
    }
}

/// Logs an abort, unless the log itself is what was interrupted.
fn report(event: TraceEvent) {
    if let TraceEvent::DataAbort { addr, status, pc } = event
        && !kernel_log::is_busy()
    {
        log::debug!("data abort at {addr}, pc {pc}, DFSR {status}");
    }
}
