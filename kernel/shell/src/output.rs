//! Where text goes, and the bytes that frame it for a program at the other end of the line.
//!
//! The machine protocol (the runner in `qemu/` speaks the other side):
//!
//! ```text
//! runner: SYN command line \n
//! shell:                      STX output ETX status \n
//! ```
//!
//! Inside the frame the bytes STX, ETX, ENQ, SYN, DLE and carriage return of the output itself are sent as DLE
//! and the byte XOR 0x40 (as HDLC stuffs its flags), so that a binary file such as a device tree property can
//! neither end the frame nor be changed by the line's `\n` to `\r\n` translation. Text is never affected.

use alloc::vec::Vec;
use core::fmt;

/// Start of a command's output.
pub const STX: u8 = 0x02;
/// End of a command's output; the decimal status and a newline follow.
pub const ETX: u8 = 0x03;
/// The console is ready: sent once, before the first prompt.
pub const ENQ: u8 = 0x05;
/// Escapes the next byte inside a frame.
pub const DLE: u8 = 0x10;
/// Starts a command line that a program sends.
pub const SYN: u8 = 0x16;

/// A stream of text and, for binary files, bytes. `\n` ends a line; the console's driver adds the `\r`.
pub trait Output: fmt::Write {
    /// Writes bytes that need not be UTF-8.
    ///
    /// # Errors
    /// When the stream takes no more, for example because the user pressed Ctrl-C.
    fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result;
}

/// Collects output in memory, for redirections and tests.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Capture(
    /// What was written.
    pub Vec<u8>,
);

impl fmt::Write for Capture {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

impl Output for Capture {
    fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Escapes the protocol's own bytes on their way to `inner`.
pub(crate) struct Stuffed<'a>(pub(crate) &'a mut dyn Output);

impl fmt::Write for Stuffed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

impl Output for Stuffed<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|&byte| is_special(byte)) {
            self.0.write_bytes(&rest[..at])?;
            self.0.write_bytes(&[DLE, rest[at] ^ 0x40])?;
            rest = &rest[at + 1..];
        }
        self.0.write_bytes(rest)
    }
}

const fn is_special(byte: u8) -> bool {
    matches!(byte, STX | ETX | ENQ | DLE | SYN | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// The other side of the line, written from the protocol's description.
    fn unstuff(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut escaped = false;
        for &byte in bytes {
            match (escaped, byte) {
                (false, DLE) => escaped = true,
                (false, _) => out.push(byte),
                (true, _) => {
                    out.push(byte ^ 0x40);
                    escaped = false;
                }
            }
        }
        out
    }

    #[test]
    fn every_byte_survives_and_no_control_byte_leaks() {
        let all: Vec<u8> = (0..=255).collect();
        let mut sent = Capture::default();
        Stuffed(&mut sent).write_bytes(&all).unwrap();
        assert!(!sent.0.iter().any(|&b| matches!(b, STX | ETX | ENQ | SYN | b'\r')));
        assert_eq!(unstuff(&sent.0), all);
    }

    #[test]
    fn text_is_untouched() {
        let mut sent = Capture::default();
        fmt::Write::write_str(&mut Stuffed(&mut sent), "a line\n\tö\n").unwrap();
        assert_eq!(sent.0, "a line\n\tö\n".as_bytes());
        let mut one = Capture::default();
        Stuffed(&mut one).write_bytes(&[ETX]).unwrap();
        assert_eq!(one.0, vec![DLE, 0x43]);
    }
}
