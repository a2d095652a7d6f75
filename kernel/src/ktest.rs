//! Tests that run inside the kernel, on the console command `selftest`.
//!
//! [`ktest!`](crate::ktest!) puts a [`Test`] into the `.ktest` section; the linker script keeps it, and [`all`] finds
//! it there.

use crate::memory::{self, Mm};
use alloc::format;
use core::fmt::Display;
pub use shell::selftest::{NotOk, Test, TestResult};

/// Registers a `fn() -> TestResult` as a test: `ktest!("fixmap::maps", maps);`.
#[macro_export]
macro_rules! ktest {
    ($name:literal, $run:expr) => {
        const _: () = {
            #[used]
            // SAFETY: the section holds values of this type only (linker.ld).
            #[unsafe(link_section = ".ktest")]
            static TEST: $crate::ktest::Test = $crate::ktest::Test { name: $name, run: $run };
        };
    };
}

/// Every registered test.
#[must_use]
pub fn all() -> &'static [Test] {
    unsafe extern "C" {
        static __ktest_start: u8;
        static __ktest_end: u8;
    }
    let start = (&raw const __ktest_start).cast::<Test>();
    let end = (&raw const __ktest_end).cast::<Test>();
    // SAFETY: the linker script puts the two symbols around the section, which holds `Test` values only; both are
    // in the read-only part of the image, for good.
    unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}

/// A test fails, and says why.
pub fn failed(why: impl Display) -> NotOk {
    failed_for(&why)
}

#[cold]
#[inline(never)]
fn failed_for(why: &dyn Display) -> NotOk {
    NotOk::Failed(format!("{why}"))
}

/// Something has to be so.
///
/// # Errors
/// [`NotOk::Failed`].
pub fn check(good: bool, otherwise: &str) -> TestResult {
    if good { Ok(()) } else { Err(failed_for(&otherwise)) }
}

/// Runs `f` on the memory manager.
///
/// # Errors
/// [`NotOk::Ignored`] before there is one.
pub fn with<R>(f: impl FnOnce(&mut Mm) -> R) -> Result<R, NotOk> {
    memory::with(f).ok_or(NotOk::Ignored("no memory manager"))
}

/// Everything recounted from scratch.
///
/// # Errors
/// [`NotOk::Failed`]: what is wrong.
pub fn validate() -> TestResult {
    with(|mm| -> TestResult {
        mm.pages.buddy().validate().map_err(|wrong| failed(format_args!("pages: {wrong}")))?;
        mm.slab.validate(mm.pages).map_err(|wrong| failed(format_args!("{wrong}")))
    })?
}
