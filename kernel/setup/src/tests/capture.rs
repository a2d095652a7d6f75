//! The lines that a thread logs.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;
use std::string::{String, ToString};
use std::sync::Once;
use std::vec::Vec;

std::thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct Capture;

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push((record.level(), record.args().to_string())));
    }

    fn flush(&self) {}
}

/// Runs `test` and returns what it returned and the lines that this thread logged meanwhile.
pub fn capture_with<R>(test: impl FnOnce() -> R) -> (R, Vec<(Level, String)>) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        log::set_logger(&Capture).expect("the only logger of this program");
        log::set_max_level(LevelFilter::Trace);
    });
    LINES.take();
    (test(), LINES.take())
}
