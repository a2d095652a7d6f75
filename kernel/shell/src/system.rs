//! What the console needs from the kernel.

use crate::{FsError, dmesg::Record, selftest::Test};
use alloc::string::String;

/// A way to make the kernel fall over, to show that its report works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashKind {
    /// A Rust panic.
    Panic,
    /// A data abort.
    Abort,
    /// An undefined instruction.
    Undef,
    /// Recursion into the guard page.
    Stack,
    /// A page given back twice.
    DoubleFree,
    /// An object given back twice.
    ObjectDoubleFree,
    /// A write to a page after it was given back.
    PageAfterFree,
    /// A write to an object after it was given back.
    ObjectAfterFree,
    /// A write past the end of an object.
    ObjectOverrun,
}

impl CrashKind {
    /// All of them, by the names that `crash` takes.
    pub const ALL: [(&'static str, Self); 9] = [
        ("panic", Self::Panic),
        ("abort", Self::Abort),
        ("undef", Self::Undef),
        ("stack", Self::Stack),
        ("double-free", Self::DoubleFree),
        ("object-double-free", Self::ObjectDoubleFree),
        ("page-after-free", Self::PageAfterFree),
        ("object-after-free", Self::ObjectAfterFree),
        ("object-overrun", Self::ObjectOverrun),
    ];
}

/// The machine under the console.
pub trait System {
    /// The next byte received on the console; `None` when there is none yet. Never waits.
    fn read_byte(&mut self) -> Option<u8>;

    /// Switches the machine off. Returns only when that is impossible, with the reason.
    fn poweroff(&mut self) -> FsError;

    /// Restarts the machine. Returns only when that is impossible, with the reason.
    fn reboot(&mut self) -> FsError;

    /// Crashes. Returns, with the reason, only when the kernel refused and lives on.
    fn crash(&mut self, kind: CrashKind) -> FsError;

    /// The first kernel log record whose sequence number is at least `seq`, its text in `text` (cleared first).
    fn log_record(&mut self, seq: u64, text: &mut String) -> Option<Record>;

    /// A command has ended: time for what the machine does beside. What the next one shows is after that.
    fn rest(&mut self) {}

    /// Why the tests can't be run on this machine.
    fn lacking(&self) -> Option<String> {
        None
    }

    /// The tests in the image.
    fn tests(&self) -> &'static [Test];
}
