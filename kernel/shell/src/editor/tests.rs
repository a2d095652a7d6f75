//! The editor against a terminal that does only what ECMA-48 says.

use super::*;
use crate::{Capture, Decoder};
use alloc::{format, vec, vec::Vec};
use proptest::prelude::*;

/// One row of a terminal. Writing past the last column is an error: a real one would wrap.
struct Terminal {
    row: Vec<char>,
    column: usize,
}

impl Terminal {
    fn new() -> Self {
        Self { row: vec![' '; COLUMNS], column: 0 }
    }

    fn show(&mut self, bytes: &[u8]) {
        let text = core::str::from_utf8(bytes).expect("the editor writes UTF-8");
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => self.column = 0,
                '\n' => *self = Self::new(),
                '\x07' => {}
                '\x1b' => self.escape(&mut chars),
                _ => {
                    assert!(self.column < COLUMNS - 1, "the line would wrap");
                    self.row[self.column] = c;
                    self.column += 1;
                }
            }
        }
    }

    fn escape(&mut self, chars: &mut core::str::Chars<'_>) {
        assert_eq!(chars.next(), Some('['));
        let mut number = 0;
        for c in chars.by_ref() {
            match c {
                '0'..='9' => number = number * 10 + c.to_digit(10).unwrap() as usize,
                'C' => return self.column += number,
                'K' => return self.row[self.column..].fill(' '),
                'H' => return self.column = 0,
                'J' => return self.row.fill(' '),
                _ => panic!("CSI {c}"),
            }
        }
    }

    fn text(&self) -> String {
        self.row.iter().collect::<String>().trim_end().into()
    }
}

fn type_in(editor: &mut Editor, terminal: &mut Terminal, bytes: &[u8]) -> Vec<Event> {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    for &byte in bytes {
        let mut sent = Capture::default();
        if let Some(key) = decoder.feed(byte) {
            match editor.key(key, &mut sent).unwrap() {
                Event::Editing => {}
                event => events.push(event),
            }
        }
        terminal.show(&sent.0);
        if events.last().is_some_and(|_| sent.0.ends_with(b"\n")) {
            let mut prompt = Capture::default();
            editor.show(&mut prompt).unwrap();
            terminal.show(&prompt.0);
        }
    }
    events
}

fn started() -> (Editor, Terminal) {
    let (editor, mut terminal, mut sent) = (Editor::new("# "), Terminal::new(), Capture::default());
    editor.show(&mut sent).unwrap();
    terminal.show(&sent.0);
    (editor, terminal)
}

#[test]
fn edits_in_the_middle() {
    let (mut editor, mut terminal) = started();
    type_in(&mut editor, &mut terminal, b"cat /rpoc\x1b[D\x1b[D\x1b[D\x08\x08/p\x1b[3~r");
    assert_eq!(terminal.text(), "# cat /proc");
    assert_eq!(type_in(&mut editor, &mut terminal, b"\r"), [Event::Line("cat /proc".into())]);
    assert_eq!(terminal.text(), "#");
}

#[test]
fn history_and_abandoned_lines() {
    let (mut editor, mut terminal) = started();
    let events = type_in(&mut editor, &mut terminal, b"one\rtwo\rhalf\x03\x1b[A\x1b[A\x1b[B\r");
    let line = |text: &str| Event::Line(text.into());
    assert_eq!(events, [line("one"), line("two"), Event::Abandoned, line("two")]);
}

#[test]
fn ctrl_l_clears_and_keeps_the_line() {
    let (mut editor, mut terminal) = started();
    type_in(&mut editor, &mut terminal, b"dmesg\x0c");
    assert_eq!((terminal.text().as_str(), terminal.column), ("# dmesg", 7));
}

#[test]
fn a_full_line_rings_the_bell() {
    let (mut editor, _) = started();
    editor.line.set(&"x".repeat(crate::MAX_LINE));
    let mut sent = Capture::default();
    editor.key(Key::Char('y'), &mut sent).unwrap();
    assert_eq!(sent.0, b"\x07");
}

fn keystrokes() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(vec![
        "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[H", "\x1b[F", "\x1b[3~", "\x01", "\x05", "\x0b",
        "\x15", "\x17", "\x7f", "\x0c", "\r", "\x03",
    ]);
    let stroke = prop_oneof![
        6 => "[a-z ]{1,30}".prop_map(String::into_bytes),
        6 => special.prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(stroke, 0..if cfg!(miri) { 6 } else { 60 }).prop_map(|strokes| strokes.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 256 }) })]

    /// After every keystroke the row shows the part of the line around the cursor, and the cursor is there.
    #[test]
    fn the_screen_shows_the_line(bytes in keystrokes()) {
        let (mut editor, mut terminal) = started();
        type_in(&mut editor, &mut terminal, &bytes);
        let column = terminal.column.checked_sub(2).expect("behind the prompt");
        let shown: Vec<char> = terminal.row[2..].to_vec();
        let line = &editor.line;
        prop_assert!(column <= line.cursor());
        let first = line.cursor() - column;
        let expected: String = line.chars()[first..].iter().take(COLUMNS - 5).collect();
        prop_assert_eq!(&terminal.row[..2], &['#', ' ']);
        let shown: String = shown.iter().collect();
        prop_assert_eq!(shown.trim_end(), expected.trim_end(), "{}", format!("{line:?}"));
    }
}
