//! Tests inside the kernel image, and the lines that report them.
//!
//! ```text
//! ktest: mm::buddy::pairs ... ok
//! ktest: smp::ipi ... ignored: one CPU
//! ktest: 1 passed; 0 failed; 1 ignored
//! ```
//!
//! The kernel collects [`Test`] values in a linker section; a test that can't run where it is says so and is
//! counted as ignored, never as passed.

use crate::Output;
use alloc::string::String;
use core::fmt;

/// How a test ended, if not well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotOk {
    /// It failed; one line says how.
    Failed(String),
    /// It can't run here; one line says why.
    Ignored(&'static str),
}

/// What a test returns.
pub type TestResult = Result<(), NotOk>;

/// A test inside the image.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// Path-like name, `mm::buddy::pairs`.
    pub name: &'static str,
    /// Runs it.
    pub run: fn() -> TestResult,
}

/// Counts of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Ended well.
    pub passed: usize,
    /// Ended badly.
    pub failed: usize,
    /// Could not run.
    pub ignored: usize,
}

/// The tests that `name` selects: all without one; the one called so; or else those whose names start with it.
pub fn select<'t>(tests: &'t [Test], name: Option<&str>) -> impl Iterator<Item = &'t Test> {
    let exact = tests.iter().any(|test| Some(test.name) == name);
    let name = name.unwrap_or_default();
    tests.iter().filter(move |test| if exact { test.name == name } else { test.name.starts_with(name) })
}

/// Runs `tests` in order and reports each; the closing line is written even when there are none.
///
/// # Errors
/// Those of `out`: Ctrl-C ends the run between two tests.
pub fn run<'t>(tests: impl Iterator<Item = &'t Test>, out: &mut dyn Output) -> Result<Summary, fmt::Error> {
    let mut summary = Summary::default();
    for test in tests {
        // The line is written when the test is through: what the kernel logs meanwhile stands before it, not in it.
        let (result, name) = ((test.run)(), test.name);
        match result {
            Ok(()) => {
                summary.passed += 1;
                writeln!(out, "ktest: {name} ... ok")?;
            }
            Err(NotOk::Failed(reason)) => {
                summary.failed += 1;
                writeln!(out, "ktest: {name} ... FAILED: {reason}")?;
            }
            Err(NotOk::Ignored(reason)) => {
                summary.ignored += 1;
                writeln!(out, "ktest: {name} ... ignored: {reason}")?;
            }
        }
    }
    let Summary { passed, failed, ignored } = summary;
    writeln!(out, "ktest: {passed} passed; {failed} failed; {ignored} ignored")?;
    Ok(summary)
}
