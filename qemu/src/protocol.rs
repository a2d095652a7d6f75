//! What the bytes on the serial line mean.
//!
//! Between boot and power-off the guest's bytes are plain console text, with a few control bytes in it that the
//! kernel's shell and the runner agree on; no terminal shows them:
//!
//! ```text
//! guest   boot log … ENQ "# "                              ready for commands
//! runner  SYN COMMAND \n                                   not echoed, no prompt
//! guest   STX  what the command prints  ETX STATUS \n      one answer a command
//! ```
//! Within a command's output the bytes above and a carriage return of its own come as DLE and the byte XOR 0x40,
//! so that binary files arrive whole; any other carriage return before a line end is the console driver's and is
//! taken out. The decoder takes any bytes in any pieces; a stray control byte is dropped and changes nothing.

/// Starts a command line of the runner's.
pub const SYN: u8 = 0x16;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const ENQ: u8 = 0x05;
const DLE: u8 = 0x10;

/// A piece of what the guest said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The shell takes commands now.
    Ready,
    /// A command started.
    Started,
    /// Text, printed by a command or by anything else.
    Text {
        /// Whether it came while a command ran.
        by_command: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The command ended with this status.
    Finished(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Console,
    Command,
    /// After DLE.
    Escaped,
    Status(u32),
}

/// Turns bytes into events.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    /// A carriage return that waits for what follows it.
    carriage_return: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Console, carriage_return: false }
    }
}

impl Decoder {
    /// Takes the next bytes, in order; returns what they mean.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        bytes.iter().for_each(|&byte| self.byte(byte, &mut events));
        events
    }

    fn byte(&mut self, byte: u8, events: &mut Vec<Event>) {
        match (&mut self.state, byte) {
            (State::Status(status), b'0'..=b'9') => {
                *status = status.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
            }
            (State::Status(_), b'\r') => {}
            (State::Status(status), _) => {
                events.push(Event::Finished(*status));
                self.state = State::Console;
                if byte != b'\n' {
                    self.byte(byte, events);
                }
            }
            (State::Console, ENQ) => events.push(Event::Ready),
            (State::Console, STX) => {
                self.state = State::Command;
                events.push(Event::Started);
            }
            (State::Command, ETX) => self.state = State::Status(0),
            (State::Command, DLE) => self.state = State::Escaped,
            (State::Escaped, _) => {
                self.state = State::Command;
                text(events, true, byte ^ 0x40);
            }
            (_, ENQ | STX | ETX | SYN) => {}
            (_, byte) => self.text(byte, events),
        }
    }

    fn text(&mut self, byte: u8, events: &mut Vec<Event>) {
        let by_command = self.state == State::Command;
        if std::mem::replace(&mut self.carriage_return, byte == b'\r') && byte != b'\n' {
            text(events, by_command, b'\r');
        }
        if byte != b'\r' {
            text(events, by_command, byte);
        }
    }
}

fn text(events: &mut Vec<Event>, by_command: bool, byte: u8) {
    match events.last_mut() {
        Some(Event::Text { by_command: before, bytes }) if *before == by_command => bytes.push(byte),
        _ => events.push(Event::Text { by_command, bytes: vec![byte] }),
    }
}

/// The bytes that run `command`.
pub fn request(command: &str) -> Vec<u8> {
    [&[SYN], command.as_bytes(), b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALK: &[u8] = b"log\n\x05# \x02MemTotal\n\x030\n\x02cat: no\n\x0317\r\ndone";

    fn said(by_command: bool, text: &str) -> Event {
        Event::Text { by_command, bytes: text.as_bytes().to_vec() }
    }

    fn merged(events: Vec<Event>) -> Vec<Event> {
        let mut all: Vec<Event> = Vec::new();
        for event in events {
            match (all.last_mut(), event) {
                (Some(Event::Text { by_command: a, bytes }), Event::Text { by_command: b, bytes: more })
                    if *a == b =>
                {
                    bytes.extend(more)
                }
                (_, event) => all.push(event),
            }
        }
        all
    }

    #[test]
    fn a_talk_is_understood_in_any_pieces() {
        let expected = [
            said(false, "log\n"),
            Event::Ready,
            said(false, "# "),
            Event::Started,
            said(true, "MemTotal\n"),
            Event::Finished(0),
            Event::Started,
            said(true, "cat: no\n"),
            Event::Finished(17),
            said(false, "done"),
        ];
        assert_eq!(Decoder::default().feed(TALK), expected);
        for size in 1..TALK.len() {
            let mut decoder = Decoder::default();
            let events = TALK.chunks(size).flat_map(|piece| decoder.feed(piece)).collect();
            assert_eq!(merged(events), expected, "pieces of {size}");
        }
    }

    #[test]
    fn stray_bytes_change_nothing() {
        let events = Decoder::default().feed(b"\x03a\x02b\x02\x05c\x03x\x99999999999999\n");
        let expected = [
            said(false, "a"),
            Event::Started,
            said(true, "bc"),
            Event::Finished(0),
            Event::Text { by_command: false, bytes: b"x\x99999999999999\n".to_vec() },
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn binary_output_arrives_whole() {
        let bytes = Decoder::default().feed(b"\x02a\x10\x42\x10\x4d\n\x10\x50\r\n\x10\x43\x030\n");
        assert_eq!(bytes[1], said(true, "a\x02\r\n\x10\n\x03"));
    }

    #[test]
    fn only_the_drivers_carriage_returns_go() {
        assert_eq!(Decoder::default().feed(b"50%\r100%\r\r\n\r"), [said(false, "50%\r100%\r\n")]);
    }

    #[test]
    fn a_huge_status_stays_a_failure() {
        let events = Decoder::default().feed(b"\x02\x0399999999999999\n");
        assert_eq!(events.last(), Some(&Event::Finished(u32::MAX)));
    }

    #[test]
    fn a_request_is_one_marked_line() {
        assert_eq!(request("cat /proc/iomem"), b"\x16cat /proc/iomem\n");
    }
}
