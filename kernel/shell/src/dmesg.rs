//! The kernel log: a ring of bytes that holds the newest records.
//!
//! ```text
//!      tail (oldest record)                         head (next write)
//!        ▼                                            ▼
//! │ ... │ time 8 │ level 1 │ length 2 │ text │ time … │ free or overwritten │
//! ```
//!
//! Positions count bytes since boot and are reduced modulo the size, a power of two, only when memory is touched, so "has
//! this been overwritten" is one comparison. Records wrap anywhere and need no alignment. Nothing here allocates; who has
//! memory gives it ([`Ring::grow`]).

use core::fmt::{self, Write};

/// Bytes before a record's text: nanoseconds, level, text length.
const HEADER: u64 = 8 + 1 + 2;
/// Longest text of a record; the rest is cut off at a character (Linux's `LOG_LINE_MAX` is about as long).
pub const MAX_TEXT: usize = 1024;

/// What belongs to a record besides its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Number of records before it, since boot.
    pub seq: u64,
    /// Time since boot.
    pub nanoseconds: u64,
    /// `KERN_ERR` is 3, `KERN_DEBUG` 7.
    pub level: u8,
}

/// The time in front of a log line: `[    0.000000] `.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamp(
    /// Nanoseconds since boot.
    pub u64,
);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microseconds = self.0 / 1000;
        write!(f, "[{:5}.{:06}] ", microseconds / 1_000_000, microseconds % 1_000_000)
    }
}

/// The log, in `N` bytes until [`Ring::grow`] gives it more. `N` is a power of two and at least twice the largest record.
pub struct Ring<const N: usize> {
    first_bytes: [u8; N],
    /// What is used instead, once there is memory.
    more_bytes: Option<&'static mut [u8]>,
    head: u64,
    tail: u64,
    /// Sequence number of the record at `tail`.
    first: u64,
    /// Sequence number of the next record.
    next: u64,
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Ring<N> {
    const LARGE_ENOUGH: () = assert!(
        N.is_power_of_two() && N >= 2 * (HEADER as usize + MAX_TEXT),
        "a record would overwrite itself"
    );

    /// An empty log.
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::LARGE_ENOUGH;
        Self { first_bytes: [0; N], more_bytes: None, head: 0, tail: 0, first: 0, next: 0 }
    }

    /// Goes on in `bytes`, with every record that there is. Fewer than now, or no power of two, are not taken.
    pub fn grow(&mut self, bytes: &'static mut [u8]) {
        if bytes.len() <= self.size() || !bytes.len().is_power_of_two() {
            return;
        }
        for at in self.tail..self.head {
            bytes[at as usize & (bytes.len() - 1)] = self.byte(at);
        }
        self.more_bytes = Some(bytes);
    }

    fn bytes(&self) -> &[u8] {
        self.more_bytes.as_deref().unwrap_or(&self.first_bytes)
    }

    fn size(&self) -> usize {
        self.bytes().len()
    }

    /// Writes at `at`, which is below `head` or, with room made, from there on.
    fn set(&mut self, at: u64, bytes: &[u8]) {
        let index = self.index(at);
        let ring = self.more_bytes.as_deref_mut().unwrap_or(&mut self.first_bytes);
        let (first, rest) = bytes.split_at(bytes.len().min(ring.len() - index));
        ring[index..index + first.len()].copy_from_slice(first);
        ring[..rest.len()].copy_from_slice(rest);
    }

    /// Adds a record, at the cost of the oldest ones. The text may hold newlines; it should not end in one.
    pub fn push(&mut self, nanoseconds: u64, level: u8, text: fmt::Arguments<'_>) {
        let start = self.head;
        self.append(&nanoseconds.to_le_bytes());
        self.append(&[level, 0, 0]);
        let mut writer = Text { ring: self, length: 0, full: false };
        // Only a Display implementation of the caller can fail here; what it wrote before stays.
        let _ = writer.write_fmt(text);
        let length = writer.length as u16;
        self.set(start + HEADER - 2, &length.to_le_bytes());
        self.next += 1;
    }

    /// The first record whose number is at least `seq`; its text goes to `out` in one or two parts. `None` when
    /// there is no such record yet.
    pub fn read(&self, seq: u64, out: &mut impl FnMut(&[u8])) -> Option<Record> {
        let (mut at, mut current) = (self.tail, self.first);
        while current < seq.min(self.next) {
            at += HEADER + u64::from(self.length(at));
            current += 1;
        }
        if current == self.next {
            return None;
        }
        let nanoseconds = u64::from_le_bytes(core::array::from_fn(|n| self.byte(at + n as u64)));
        let level = self.byte(at + 8);
        self.text(at + HEADER, usize::from(self.length(at)), out);
        Some(Record { seq: current, nanoseconds, level })
    }

    fn text(&self, at: u64, length: usize, out: &mut impl FnMut(&[u8])) {
        let (start, bytes) = (self.index(at), self.bytes());
        let first = length.min(bytes.len() - start);
        out(&bytes[start..start + first]);
        if first < length {
            out(&bytes[..length - first]);
        }
    }

    fn index(&self, at: u64) -> usize {
        at as usize & (self.size() - 1)
    }

    fn byte(&self, at: u64) -> u8 {
        self.bytes()[self.index(at)]
    }

    fn length(&self, record: u64) -> u16 {
        u16::from_le_bytes([self.byte(record + HEADER - 2), self.byte(record + HEADER - 1)])
    }

    fn append(&mut self, bytes: &[u8]) {
        while self.head + bytes.len() as u64 - self.tail > self.size() as u64 {
            self.tail += HEADER + u64::from(self.length(self.tail));
            self.first += 1;
        }
        self.set(self.head, bytes);
        self.head += bytes.len() as u64;
    }
}

/// Writes a record's text into the ring.
struct Text<'a, const N: usize> {
    ring: &'a mut Ring<N>,
    length: usize,
    /// Something did not fit: later, shorter parts must not follow a gap.
    full: bool,
}

impl<const N: usize> Write for Text<'_, N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = if self.full { 0 } else { MAX_TEXT - self.length };
        let fitting = &text[..text.floor_char_boundary(room)];
        self.full |= fitting.len() < text.len();
        self.length += fitting.len();
        self.ring.append(fitting.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{collections::VecDeque, format, string::String, vec::Vec};
    use core::sync::atomic::{AtomicPtr, Ordering};
    use proptest::prelude::*;

    const SIZE: usize = 4096;

    fn get<const N: usize>(ring: &Ring<N>, seq: u64) -> Option<(Record, String)> {
        let mut bytes = Vec::new();
        let record = ring.read(seq, &mut |part| bytes.extend_from_slice(part))?;
        Some((record, String::from_utf8(bytes).expect("whole characters")))
    }

    #[test]
    fn timestamps() {
        assert_eq!(format!("{}", Timestamp(0)), "[    0.000000] ");
        assert_eq!(format!("{}", Timestamp(3_992_269_833_999)), "[ 3992.269833] ");
        assert_eq!(format!("{}", Timestamp(123_456_000_000_000)), "[123456.000000] ");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let mut ring = Ring::<SIZE>::new();
        ring.push(1, 6, format_args!("{}é{}", "x".repeat(MAX_TEXT - 1), "tail"));
        ring.push(2, 6, format_args!("next"));
        assert_eq!(get(&ring, 0).unwrap().1, "x".repeat(MAX_TEXT - 1));
        assert_eq!(get(&ring, 1).unwrap().1, "next");
    }

    static SMALL: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
    static ODD: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
    static LARGE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

    /// Memory that is never freed, and known to `place`, so that Miri doesn't take it for lost.
    fn for_good(place: &AtomicPtr<u8>, size: usize) -> &'static mut [u8] {
        let bytes = alloc::vec![0; size].leak();
        place.store(bytes.as_mut_ptr(), Ordering::Relaxed);
        bytes
    }

    #[test]
    fn nothing_is_lost_when_it_grows() {
        let mut ring = Ring::<SIZE>::new();
        (0..300).for_each(|n| ring.push(n, 6, format_args!("before {n}")));
        let oldest = get(&ring, 0).unwrap().0.seq;
        ring.grow(for_good(&SMALL, SIZE / 2));
        ring.grow(for_good(&ODD, 3 * SIZE));
        assert_eq!(ring.size(), SIZE);
        ring.grow(for_good(&LARGE, 4 * SIZE));
        (300..350).for_each(|n| ring.push(n, 6, format_args!("after {n}")));
        for seq in oldest..350 {
            let word = if seq < 300 { "before" } else { "after" };
            assert_eq!(get(&ring, seq).unwrap().1, format!("{word} {seq}"));
        }
        assert!(oldest > 0 && get(&ring, 350).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 64 }) })]

        /// The model keeps whole records and drops the oldest while their sizes add up to more than the ring.
        #[test]
        fn keeps_the_newest_records(records in prop::collection::vec((any::<u64>(), 0u8..8, "[a-zé]{0,60}"), 0..200)) {
            let mut ring = Ring::<SIZE>::new();
            let mut model = VecDeque::new();
            for (seq, (time, level, text)) in records.into_iter().enumerate() {
                ring.push(time, level, format_args!("{text}"));
                model.push_back((Record { seq: seq as u64, nanoseconds: time, level }, text));
                while model.iter().map(|(_, text)| text.len() + 11).sum::<usize>() > SIZE {
                    model.pop_front();
                }
            }
            let mut seq = 0;
            for expected in model {
                let found = get(&ring, seq);
                seq = expected.0.seq + 1;
                prop_assert_eq!(found, Some(expected));
            }
            prop_assert_eq!(get(&ring, seq), None);
            prop_assert_eq!(get(&ring, u64::MAX), None);
        }
    }
}
