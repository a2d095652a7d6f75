//! Captures what the code under test logs, per thread.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static LINES: RefCell<Vec<Vec<(Level, String)>>> = const { RefCell::new(Vec::new()) };
}

struct Capture;

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|stack| {
            if let Some(lines) = stack.last_mut() {
                lines.push((record.level(), record.args().to_string()));
            }
        });
    }

    fn flush(&self) {}
}

/// Runs `test` and returns the lines that this thread logged meanwhile, oldest first. Calls may nest; the inner
/// one gets its lines alone.
pub fn capture(test: impl FnOnce()) -> Vec<(Level, String)> {
    capture_with(test).1
}

/// As [`capture`], with what `test` returned.
pub fn capture_with<R>(test: impl FnOnce() -> R) -> (R, Vec<(Level, String)>) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        log::set_logger(&Capture).expect("testkit's is the only logger of a test program");
        log::set_max_level(LevelFilter::Trace);
    });
    LINES.with_borrow_mut(|stack| stack.push(Vec::new()));
    let depth = LINES.with_borrow(Vec::len);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
    let lines = LINES.with_borrow_mut(|stack| {
        stack.truncate(depth);
        stack.pop().unwrap_or_default()
    });
    match result {
        Ok(result) => (result, lines),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_by_thread_and_nesting() {
        let lines = capture(|| {
            log::warn!("one {}", 1);
            std::thread::spawn(|| log::error!("elsewhere")).join().unwrap();
            assert_eq!(capture(|| log::debug!("inner")), [(Level::Debug, "inner".into())]);
            log::info!("two");
        });
        assert_eq!(lines, [(Level::Warn, "one 1".into()), (Level::Info, "two".into())]);
        log::info!("nobody listens");
        assert!(capture(|| {}).is_empty());
    }

    #[test]
    fn a_panic_leaves_no_capture_behind() {
        let caught = std::panic::catch_unwind(|| capture(|| panic!("as planned")));
        assert!(caught.is_err());
        assert_eq!(capture(|| log::info!("later")).len(), 1);
    }
}
