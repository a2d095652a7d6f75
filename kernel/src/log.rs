//! The `log` facade's backend: stamps records, keeps them for `dmesg`, prints them.
//!
//! ```text
//! log::info!(..) ─▶ ns since boot, level, text ─┬─▶ shell's Ring, always
//!                                               └─▶ console, when level < console_loglevel
//! ```
//!
//! The ring is static at first, so it works from the first line on, and grows when there is memory. The lock is the innermost of all (invariant 11); a panic
//! goes around it. Source: Linux's `kernel/printk/printk.c` (levels, `console_loglevel`).

use arch_armv7::{cpu::IrqLock, timer};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use log::{Level, LevelFilter};
use shell::dmesg::{Record, Ring, Timestamp};

/// Bytes of log that `dmesg` can show.
const LOG_BUF_LEN: usize = 16 << 10;
/// Bytes of log before there is memory to allocate.
const EARLY_LOG_BUF_LEN: usize = 4 << 10;
/// Linux's `CONSOLE_LOGLEVEL_DEFAULT`: everything but debug messages is printed.
pub const CONSOLE_LOGLEVEL_DEFAULT: u8 = 7;

/// A console that takes bytes; it may be called with interrupts off and from a panic.
pub type Console = fn(&[u8]);

struct State {
    ring: Ring<EARLY_LOG_BUF_LEN>,
    /// The early console until there is another; a static of zeros takes no room in the image file.
    console: Option<Console>,
    boot_ticks: u64,
}

static STATE: IrqLock<State> = IrqLock::new(State { ring: Ring::new(), console: None, boot_ticks: 0 });
static CONSOLE_LOGLEVEL: AtomicU8 = AtomicU8::new(CONSOLE_LOGLEVEL_DEFAULT);
/// Ticks a second of the counter; 0 while it is not known.
static FREQUENCY: AtomicU32 = AtomicU32::new(0);

struct Logger;
static LOGGER: Logger = Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        // What the crate says about each device is for those who debug it.
        let chatter = record.level() >= Level::Info && record.target().starts_with("virtio_drivers");
        if chatter && !prints_debug() {
            return;
        }
        let level = kern_level(record.level());
        STATE.lock().emit(level, *record.args());
    }

    fn flush(&self) {}
}

impl State {
    fn console(&self) -> Console {
        self.console.unwrap_or(crate::earlycon::write)
    }

    fn emit(&mut self, level: u8, text: fmt::Arguments<'_>) {
        let nanoseconds = nanoseconds(timer::now() - self.boot_ticks);
        self.ring.push(nanoseconds, level, text);
        if level < CONSOLE_LOGLEVEL.load(Ordering::Relaxed) {
            // The console takes every text.
            let _ = writeln!(Raw(self.console()), "{}{text}", Timestamp(nanoseconds));
        }
    }
}

/// Linux's number of a level: `KERN_ERR` 3, `KERN_WARNING` 4, `KERN_INFO` 6, `KERN_DEBUG` 7.
const fn kern_level(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Time that `ticks` of the counter take; 0 while the frequency is not known.
fn nanoseconds(ticks: u64) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    match u64::from(FREQUENCY.load(Ordering::Relaxed)) {
        0 => 0,
        frequency => ticks / frequency * SECOND + ticks % frequency * SECOND / frequency,
    }
}

struct Raw(Console);

impl Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.0)(text.as_bytes());
        Ok(())
    }
}

/// Starts the clock of the stamps and takes the `log` crate's messages.
pub fn init() {
    set_frequency(timer::frequency());
    STATE.lock().boot_ticks = timer::now();
    // It fails only when called twice, and then the logger is this one.
    let _ = log::set_logger(&LOGGER);
    set_console_loglevel(CONSOLE_LOGLEVEL_DEFAULT);
}

/// There is memory now: the log keeps more from here on. For good.
pub fn grow() {
    let bytes = alloc::vec![0; LOG_BUF_LEN].leak();
    STATE.lock().ring.grow(bytes);
}

/// Ticks a second of the counter, where the firmware left CNTFRQ empty and the device tree knows.
pub fn set_frequency(frequency: u32) {
    FREQUENCY.store(frequency, Ordering::Relaxed);
}

/// Ticks a second of the counter; 0 while it is not known.
#[must_use]
pub fn frequency() -> u32 {
    FREQUENCY.load(Ordering::Relaxed)
}

/// `loglevel=`: records of a lower level are printed. Debug records are made only when they are to be printed.
pub fn set_console_loglevel(level: u8) {
    CONSOLE_LOGLEVEL.store(level, Ordering::Relaxed);
    log::set_max_level(if level > kern_level(Level::Debug) { LevelFilter::Debug } else { LevelFilter::Info });
}

/// Whether debug records are printed.
#[must_use]
pub fn prints_debug() -> bool {
    log::max_level() >= LevelFilter::Debug
}

/// Whether somebody is logging now, maybe the very code that was interrupted.
#[must_use]
pub fn is_busy() -> bool {
    STATE.try_lock().is_none()
}

/// Nanoseconds since boot; 0 while the counter's frequency is not known.
#[must_use]
pub fn now() -> u64 {
    nanoseconds(timer::now() - boot_ticks())
}

/// The counter's value that log stamps call 0.
#[must_use]
pub fn boot_ticks() -> u64 {
    STATE.lock().boot_ticks
}

/// Prints to `console` from now on, instead of the early console.
pub fn set_console(console: Console) {
    STATE.lock().console = Some(console);
}

/// The first record whose number is at least `seq`; its text goes to `out` in one or two parts, under the log's
/// lock, so `out` must not log.
pub fn read(seq: u64, out: &mut impl FnMut(&[u8])) -> Option<Record> {
    STATE.lock().ring.read(seq, out)
}

/// A writer for panic reports: to the console when the log's lock is free, straight to the early console when the
/// panic hit its holder.
pub struct Emergency;

impl Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let console = STATE.try_lock().map_or(crate::earlycon::write as Console, |state| state.console());
        console(text.as_bytes());
        Ok(())
    }
}
