//! Console text on its way to the user: addresses given names, the end of a panic seen.
//!
//! Text is passed on as it comes, so that an interactive line shows each character; only what goes to a line's
//! end waits for that end.

use crate::session::Annotate;

/// The start of the last line of a panic report.
const PANIC_END: &[u8] = b"---[ end Kernel panic";
/// Longer lines are passed on but not looked at as a whole.
const LONGEST: usize = 4096;

/// Follows the lines of a console.
pub struct Lines<'a> {
    annotate: Annotate<'a>,
    line: Vec<u8>,
    panicked: bool,
}

impl<'a> Lines<'a> {
    /// Follows a console from its first line.
    pub fn new(annotate: Annotate<'a>) -> Self {
        Self { annotate, line: Vec::new(), panicked: false }
    }

    /// Takes the next bytes; returns what to show now.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(&mut shown),
                _ => self.character(byte, &mut shown),
            }
        }
        shown
    }

    /// Whether a panic report has ended.
    pub fn panicked(&self) -> bool {
        self.panicked
    }

    fn character(&mut self, byte: u8, shown: &mut Vec<u8>) {
        if byte == b'\r' {
            self.line.clear();
        } else if self.line.len() < LONGEST {
            self.line.push(byte);
        }
        shown.push(byte);
    }

    fn end_line(&mut self, shown: &mut Vec<u8>) {
        let names = (self.annotate)(&String::from_utf8_lossy(&self.line));
        shown.extend(names.unwrap_or_default().bytes());
        shown.push(b'\n');
        self.panicked |= self.line.windows(PANIC_END.len()).any(|part| part == PANIC_END);
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(line: &str) -> Option<String> {
        line.contains("[<c0008000>]").then(|| " start".to_owned())
    }

    #[test]
    fn names_go_before_the_line_end() {
        let mut lines = Lines::new(&name);
        assert_eq!(lines.feed(b" [<c000"), b" [<c000");
        assert_eq!(lines.feed(b"8000>]"), b"8000>]");
        assert_eq!(lines.feed(b"\nnext\n"), b" start\nnext\n");
    }

    #[test]
    fn a_line_written_over_is_another_line() {
        let mut lines = Lines::new(&name);
        assert_eq!(lines.feed(b"[<c0008000>]\rno\n"), b"[<c0008000>]\rno\n");
    }

    #[test]
    fn a_panic_ends_with_its_last_line() {
        let mut lines = Lines::new(&name);
        lines.feed(b"[    1.0] Kernel panic - not syncing: Oops\n");
        assert!(!lines.panicked());
        lines.feed(b"[    1.1] ---[ end Kernel panic - not syncing: Oops ]---");
        assert!(!lines.panicked());
        lines.feed(b"\n");
        assert!(lines.panicked());
    }
}
