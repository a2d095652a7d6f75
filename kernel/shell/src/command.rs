//! Commands and what they are run with.

use crate::{Capture, FsError, Output, System, Vfs};
use alloc::{collections::VecDeque, string::String};
use core::fmt::{self, Write};

/// Bytes of output that a redirection can collect before the file gets them.
const MAX_REDIRECT: usize = 64 * 1024;
/// Received bytes kept while a command runs; what is typed beyond is lost.
const MAX_TYPE_AHEAD: usize = 4096;
/// Ctrl-C.
pub(crate) const INTERRUPT: u8 = 0x03;

/// A command of the console.
#[derive(Clone, Copy)]
pub struct Command {
    /// The word that runs it.
    pub name: &'static str,
    /// Its arguments, as `help` and a wrong call show them: `PATH...`; empty without any.
    pub usage: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
    /// Runs it. What it reports with [`Context::report`] or returns becomes one line and a status.
    pub run: fn(&mut Context<'_>) -> Result<(), Failure>,
}

/// Why a command failed. Each becomes one line, `NAME: ARGUMENT: REASON`, and a status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Wrong arguments: the usage is shown. Status 2.
    Usage,
    /// One argument is to blame. Status 1.
    Argument(String, FsError),
    /// It can't be done. Status 1.
    Failed(FsError),
    /// Everything has been said; this is the status.
    Status(u8),
    /// Ctrl-C. Status 130.
    Interrupted,
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Interrupted => Self::Interrupted,
            error => Self::Failed(error),
        }
    }
}

impl From<fmt::Error> for Failure {
    /// The console takes all text, until Ctrl-C.
    fn from(_: fmt::Error) -> Self {
        Self::Interrupted
    }
}

/// What a running command has at hand. It is an [`Output`] itself: what is written to it goes to the console, or to
/// the redirection. Every line written looks for Ctrl-C; after one, writing fails and the command ends.
pub struct Context<'a> {
    /// The words behind the command's name.
    pub args: &'a [String],
    /// The files.
    pub vfs: &'a Vfs,
    /// The machine.
    pub system: &'a mut dyn System,
    /// All commands, for `help`.
    pub commands: &'a [Command],
    pub(crate) name: &'a str,
    pub(crate) console: &'a mut dyn Output,
    pub(crate) redirect: Option<Capture>,
    pub(crate) overflow: bool,
    pub(crate) typeahead: &'a mut VecDeque<u8>,
    pub(crate) interrupted: bool,
}

impl Context<'_> {
    /// Prints `NAME: subject: reason` on the console, whatever the redirection.
    pub fn report(&mut self, subject: &str, reason: &dyn fmt::Display) {
        // A console that takes no text leaves nobody to tell.
        let _ = writeln!(self.console, "{}: {}: {}", self.name, subject, reason);
    }

    /// Whether Ctrl-C has been pressed since the command began. Long commands ask this; other keys typed meanwhile
    /// are kept for the next prompt.
    pub fn interrupted(&mut self) -> bool {
        while let Some(byte) = self.system.read_byte() {
            if byte == INTERRUPT {
                self.typeahead.clear();
                self.interrupted = true;
            } else if self.typeahead.len() < MAX_TYPE_AHEAD {
                self.typeahead.push_back(byte);
            }
        }
        self.interrupted
    }
}

impl Write for Context<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

impl Output for Context<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        match &mut self.redirect {
            None => self.console.write_bytes(bytes)?,
            Some(capture) if capture.0.len() + bytes.len() <= MAX_REDIRECT => capture.write_bytes(bytes)?,
            Some(_) => {
                self.overflow = true;
                return Err(fmt::Error);
            }
        }
        let line_ended = bytes.contains(&b'\n');
        if line_ended && self.interrupted() { Err(fmt::Error) } else { Ok(()) }
    }
}
