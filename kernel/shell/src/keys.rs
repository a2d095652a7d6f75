//! From received bytes to keys: UTF-8, control characters and the escape sequences of VT100-like terminals.
//!
//! ```text
//!            ESC            '['             0x40..=0x7e
//!   Ground ──────► Escape ──────► Csi ──────────────────► Key or nothing
//!     ▲  ▲            │ 'O'        │ C0 control: abandon, then treat it as in Ground
//!     │  └── other ◄──┴──► Ss3     └ parameters: only the first number counts, the rest is skipped
//! ```
//!
//! Garbage costs at most the sequence it is in: a control character or ESC always starts afresh, and there is no
//! buffer that could overflow. Source: ECMA-48, 5.4; xterm's control sequences ("PC-Style Function Keys").

/// One thing the user did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// A printable character.
    Char(char),
    /// A C0 control character other than the ones below, as its letter: Ctrl-A is `Control(b'A')`.
    Control(u8),
    /// Return or newline.
    Enter,
    /// Backspace: delete to the left.
    Backspace,
    /// Delete: delete to the right.
    Delete,
    /// Cursor keys.
    Up,
    /// Cursor keys.
    Down,
    /// Cursor keys.
    Left,
    /// Cursor keys.
    Right,
    /// To the start of the line.
    Home,
    /// To the end of the line.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi {
        number: u8,
        first: bool,
    },
    Ss3,
    Utf8 {
        value: u32,
        missing: u8,
        least: u32,
    },
}

/// The state between two bytes.
#[derive(Clone, Default, Debug)]
pub struct Decoder {
    state: State,
    after_return: bool,
}

impl Decoder {
    /// Takes one byte; gives the key that it completes, if any.
    pub fn feed(&mut self, byte: u8) -> Option<Key> {
        let after_return = core::mem::take(&mut self.after_return);
        if after_return && byte == b'\n' {
            return None;
        }
        self.after_return = byte == b'\r';
        match self.state {
            State::Escape if !byte.is_ascii_control() => self.escape(byte),
            State::Csi { number, first } if matches!(byte, 0x20..=0x7e) => self.csi(byte, number, first),
            State::Ss3 if !byte.is_ascii_control() => {
                self.state = State::Ground;
                letter(byte)
            }
            State::Utf8 { value, missing, least } if byte & 0xc0 == 0x80 => {
                self.continuation(byte, value, missing, least)
            }
            _ => self.ground(byte),
        }
    }

    fn ground(&mut self, byte: u8) -> Option<Key> {
        self.state = State::Ground;
        match byte {
            0x1b => self.state = State::Escape,
            0xc2..=0xdf => self.utf8(byte & 0x1f, 1, 0x80),
            0xe0..=0xef => self.utf8(byte & 0x0f, 2, 0x800),
            0xf0..=0xf4 => self.utf8(byte & 0x07, 3, 0x1_0000),
            0x80.. => {}
            _ => return Some(ascii(byte)),
        }
        None
    }

    fn utf8(&mut self, bits: u8, missing: u8, least: u32) {
        self.state = State::Utf8 { value: u32::from(bits), missing, least };
    }

    fn continuation(&mut self, byte: u8, value: u32, missing: u8, least: u32) -> Option<Key> {
        let value = value << 6 | u32::from(byte & 0x3f);
        if missing > 1 {
            self.state = State::Utf8 { value, missing: missing - 1, least };
            return None;
        }
        self.state = State::Ground;
        let overlong = value < least;
        char::from_u32(value).filter(|c| !overlong && !c.is_control()).map(Key::Char)
    }

    fn escape(&mut self, byte: u8) -> Option<Key> {
        self.state = match byte {
            b'[' => State::Csi { number: 0, first: true },
            b'O' => State::Ss3,
            _ => State::Ground,
        };
        None
    }

    fn csi(&mut self, byte: u8, number: u8, first: bool) -> Option<Key> {
        let (number, first) = match byte {
            b'0'..=b'9' if first => (number.saturating_mul(10).saturating_add(byte - b'0'), true),
            0x20..=0x3f => (number, false),
            _ => {
                self.state = State::Ground;
                return if byte == b'~' { tilde(number) } else { letter(byte) };
            }
        };
        self.state = State::Csi { number, first };
        None
    }
}

const fn ascii(byte: u8) -> Key {
    match byte {
        b'\r' | b'\n' => Key::Enter,
        0x08 | 0x7f => Key::Backspace,
        0x00..=0x1f => Key::Control(byte | 0x40),
        _ => Key::Char(byte as char),
    }
}

const fn letter(byte: u8) -> Option<Key> {
    Some(match byte {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        _ => return None,
    })
}

const fn tilde(number: u8) -> Option<Key> {
    Some(match number {
        1 | 7 => Key::Home,
        3 => Key::Delete,
        4 | 8 => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::String, vec, vec::Vec};
    use proptest::prelude::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|&b| decoder.feed(b)).collect()
    }

    #[test]
    fn sequences() {
        assert_eq!(
            keys(b"\x1b[A\x1b[D\x1bOH\x1b[3~\x1b[4~"),
            [Key::Up, Key::Left, Key::Home, Key::Delete, Key::End]
        );
        assert_eq!(keys(b"\x1b[1;5Cx"), [Key::Right, Key::Char('x')]);
        assert_eq!(
            keys(b"\x01\x7f\x08\t"),
            [Key::Control(b'A'), Key::Backspace, Key::Backspace, Key::Control(b'I')]
        );
    }

    #[test]
    fn line_ends_count_once() {
        assert_eq!(keys(b"\r\n\n\r\r"), [Key::Enter; 4]);
        assert_eq!(keys(b"\ra\n"), [Key::Enter, Key::Char('a'), Key::Enter]);
    }

    #[test]
    fn garbage_costs_only_its_own_sequence() {
        assert_eq!(keys(b"\x1b[99999999999999~a"), [Key::Char('a')]);
        assert_eq!(keys(b"\x1b[12\x1b[C"), [Key::Right]);
        assert_eq!(keys(b"\x1b[1\rb"), [Key::Enter, Key::Char('b')]);
        assert_eq!(keys(b"\x1b\x03"), [Key::Control(b'C')]);
        assert_eq!(keys(b"\xc3a\xff\xc0\xafb"), [Key::Char('a'), Key::Char('b')]);
        assert_eq!(keys(b"\xe0\x80\xaf\xed\xa0\x80c"), [Key::Char('c')], "overlong, surrogate");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 512 }) })]

        /// The standard library decodes UTF-8 independently.
        #[test]
        fn text_arrives_as_typed(text in "[^\\x00-\\x1f\\x7f-\\x9f]{0,40}") {
            let typed: String = keys(text.as_bytes()).into_iter().map(|key| match key {
                Key::Char(c) => c,
                other => panic!("{other:?}"),
            }).collect();
            prop_assert_eq!(typed, text);
        }

        #[test]
        fn after_any_garbage_a_control_character_is_understood(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut decoder = Decoder::default();
            for byte in bytes {
                let _ = decoder.feed(byte);
            }
            prop_assert_eq!(decoder.feed(0x03), Some(Key::Control(b'C')));
            prop_assert_eq!(decoder.feed(b'x'), Some(Key::Char('x')));
        }
    }

    #[test]
    fn c1_controls_are_not_text() {
        assert_eq!(keys("\u{9b}x".as_bytes()), vec![Key::Char('x')]);
    }
}
