//! Received bytes on their way from the interrupt to the reader.

use alloc::{vec, vec::Vec};

/// Bytes kept: several lines of a pasted text, and more than arrives while one interrupt is masked.
const SIZE: usize = 4096;
/// Bytes taken in one interrupt; a line that never runs dry must not keep the CPU (Linux's `pl011` has the same).
const BURST: usize = 256;

/// What the receiver had to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// A byte.
    Byte(u8),
    /// The hardware's FIFO was full: bytes are lost.
    Overrun,
    /// A byte with wrong parity or stop bit, or a break.
    Broken,
    /// Nothing is left.
    Empty,
}

/// A ring of received bytes. What doesn't fit is counted, and dropped: the newest, so that a line that has begun
/// stays whole.
#[derive(Debug)]
pub struct RxRing {
    bytes: Vec<u8>,
    /// Bytes ever put in, and ever taken out, modulo 2^32.
    head: u32,
    tail: u32,
    lost: u32,
}

impl Default for RxRing {
    fn default() -> Self {
        Self::new()
    }
}

impl RxRing {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; SIZE], head: 0, tail: 0, lost: 0 }
    }

    /// Takes what the receiver has, up to one burst.
    pub fn fill(&mut self, mut receive: impl FnMut() -> Received) {
        for _ in 0..BURST {
            match receive() {
                Received::Byte(byte) => self.push(byte),
                Received::Overrun => self.lost = self.lost.saturating_add(1),
                Received::Broken => {}
                Received::Empty => break,
            }
        }
    }

    fn push(&mut self, byte: u8) {
        if self.head.wrapping_sub(self.tail) as usize == SIZE {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        self.bytes[self.head as usize % SIZE] = byte;
        self.head = self.head.wrapping_add(1);
    }

    /// Whether there is nothing to take.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// The oldest byte.
    pub fn pop(&mut self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        let byte = self.bytes[self.tail as usize % SIZE];
        self.tail = self.tail.wrapping_add(1);
        Some(byte)
    }

    /// How often bytes were lost since the last call.
    pub fn take_lost(&mut self) -> u32 {
        core::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 64 }) })]

        #[test]
        fn like_a_bounded_queue(bursts in prop::collection::vec((0usize..250, 0usize..200), 0..60)) {
            let (mut ring, mut model, mut lost, mut next) = (RxRing::new(), VecDeque::new(), 0, 0u8);
            for (arriving, taken) in bursts {
                let bytes: Vec<u8> = (0..arriving).map(|_| { next = next.wrapping_add(7); next }).collect();
                let mut left = bytes.iter();
                ring.fill(|| left.next().map_or(Received::Empty, |b| Received::Byte(*b)));
                for byte in bytes {
                    if model.len() < SIZE { model.push_back(byte) } else { lost += 1 }
                }
                for _ in 0..taken {
                    prop_assert_eq!(ring.is_empty(), model.is_empty());
                    prop_assert_eq!(ring.pop(), model.pop_front());
                }
            }
            prop_assert_eq!(ring.take_lost(), lost);
            prop_assert_eq!(ring.take_lost(), 0);
        }
    }

    #[test]
    fn a_receiver_that_never_runs_dry_is_left_after_a_burst() {
        let mut ring = RxRing::new();
        ring.fill(|| Received::Byte(b'x'));
        assert_eq!(core::iter::from_fn(|| ring.pop()).count(), BURST);
    }

    #[test]
    fn errors_are_not_data() {
        let script =
            [Received::Byte(1), Received::Overrun, Received::Broken, Received::Byte(2), Received::Empty];
        let (mut ring, mut script) = (RxRing::new(), script.into_iter());
        ring.fill(|| script.next().expect("stops at Empty"));
        assert_eq!((ring.pop(), ring.pop(), ring.pop(), ring.take_lost()), (Some(1), Some(2), None, 1));
    }
}
