//! The user's terminal: raw while the console has it, and Ctrl-A X to leave.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::Sender;
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};

use crate::session::{Input, Outcome, View};

const CTRL_A: u8 = 0x01;

/// The terminal is raw as long as this lives.
#[derive(Debug)]
pub struct RawMode(Termios);

impl RawMode {
    /// Makes the terminal on stdin raw; `None` if there is none.
    pub fn enter() -> Option<Self> {
        let stdin = io::stdin();
        let saved = stdin.is_terminal().then(|| tcgetattr(&stdin).ok()).flatten()?;
        let mut raw = saved.clone();
        raw.make_raw();
        // A line end from the guest still moves to the first column.
        raw.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        raw.local_modes -= LocalModes::ISIG;
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self(saved))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Finds Ctrl-A X in what is typed; Ctrl-A Ctrl-A stands for one Ctrl-A.
#[derive(Debug, Default)]
pub struct Escape {
    armed: bool,
}

impl Escape {
    /// The bytes that are for the guest, and whether the user wants to leave.
    pub fn feed(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut guest = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            match (std::mem::take(&mut self.armed), byte) {
                (true, b'x' | b'X') => return (guest, true),
                (true, _) => guest.push(byte),
                (false, CTRL_A) => self.armed = true,
                (false, _) => guest.push(byte),
            }
        }
        (guest, false)
    }
}

/// Sends what the user types to a session, from a thread of its own.
pub fn forward_stdin(inputs: Sender<Input>) {
    thread::spawn(move || {
        let mut escape = Escape::default();
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = io::stdin().lock().read(&mut buffer) {
            let (guest, leave) = escape.feed(&buffer[..count]);
            let next = if leave { Input::Leave } else { Input::User(guest) };
            if inputs.send(next).is_err() {
                return;
            }
        }
        // The session may have ended meanwhile.
        let _ = inputs.send(Input::UserEnd);
    });
}

/// Shows a run on stdout; the reason for a bad end goes to stderr.
#[derive(Debug, Default)]
pub struct Screen {
    quiet: bool,
    /// What `quiet` kept back, for the case that it is needed.
    kept: Vec<u8>,
}

impl Screen {
    /// `quiet` shows only what commands print.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, kept: Vec::new() }
    }

    fn print(bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        // A closed pipe, as in `| head`, must not end the run half way.
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }
}

impl View for Screen {
    fn console(&mut self, bytes: &[u8]) {
        if self.quiet { self.kept.extend(bytes) } else { Self::print(bytes) }
    }

    fn output(&mut self, bytes: &[u8]) {
        Self::print(bytes);
    }

    fn command(&mut self, line: &str) {
        self.console(line.as_bytes());
    }

    fn end(&mut self, outcome: &Outcome) {
        if outcome.status() != 0 && !matches!(outcome, Outcome::Failed { .. }) {
            // The report of a panic, or how far the boot came, is needed however quiet it was to be.
            let _ = io::stderr().lock().write_all(&self.kept);
        }
        let line = outcome.to_string();
        if !line.is_empty() {
            eprintln!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_a_x_leaves_and_all_else_passes() {
        let mut escape = Escape::default();
        assert_eq!(escape.feed(b"ls\r\x03"), (b"ls\r\x03".to_vec(), false));
        assert_eq!(escape.feed(b"\x01\x01\x01b"), (b"\x01b".to_vec(), false));
        assert_eq!(escape.feed(b"a\x01"), (b"a".to_vec(), false));
        assert_eq!(escape.feed(b"xyz"), (b"".to_vec(), true));
    }
}
