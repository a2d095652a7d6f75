//! The ring of frames, and what its reader must know of it.
//!
//! ```text
//! buffer   │ ..free.. │ frame │ frame │ frame │ ..free.. │ slack │
//!          0          tail                    head       size
//! ```
//!
//! `head` and `tail` count bytes ever written and ever read, modulo 2^32; the size is a power of two. A frame is written
//! in one piece, so it may run from the end of the ring into the slack; [`Control::commit`] says how much of it has then
//! to be copied to the start, so that readers need not know. A frame begins only when there is room for the longest one;
//! otherwise it is dropped, and counted.
//!
//! There is one writer at a time, and one reader: the kernel's UART driver, or the runner, which finds [`Control`] by its
//! symbol `TRACE_RING` in the ELF file and its content in the guest's memory.

use core::sync::atomic::{AtomicU32, Ordering};

/// The first word of a [`Control`].
pub const MAGIC: u32 = 0x4352_5443;
/// Bytes of the longest frame.
pub const MAX_FRAME: u32 = 128;

/// What writer and reader share. The layout is known to the runner.
#[derive(Debug)]
#[repr(C)]
pub struct Control {
    magic: u32,
    /// Physical address of the buffer.
    phys: AtomicU32,
    /// Bytes of the ring, a power of two; the buffer has [`MAX_FRAME`] more. 0: no buffer.
    size: AtomicU32,
    head: AtomicU32,
    tail: AtomicU32,
    dropped: AtomicU32,
}

/// A copy of a [`Control`], as a reader of the guest's memory sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Physical address of the buffer.
    pub phys: u32,
    /// Bytes of the ring.
    pub size: u32,
    /// Bytes ever written.
    pub head: u32,
    /// Bytes ever read.
    pub tail: u32,
    /// Frames dropped so far.
    pub dropped: u32,
}

impl Snapshot {
    /// Bytes of a [`Control`] in memory.
    pub const BYTES: usize = size_of::<Control>();
    /// Where in it the reader writes how much it has read.
    pub const TAIL_OFFSET: usize = core::mem::offset_of!(Control, tail);

    /// Reads a [`Control`]; `None` when these bytes are none, or no possible one.
    #[must_use]
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let found = Self { phys: word(4), size: word(8), head: word(12), tail: word(16), dropped: word(20) };
        let sound = word(0) == MAGIC
            && (found.size == 0 || found.size.is_power_of_two())
            && found.head.wrapping_sub(found.tail) <= found.size;
        sound.then_some(found)
    }

    /// The next bytes to be read that lie in one piece: from where in the buffer, and how many.
    #[must_use]
    pub const fn readable(&self) -> (u32, u32) {
        readable(self.head, self.tail, self.size)
    }
}

/// What lies in one piece from `tail` on.
const fn readable(head: u32, tail: u32, size: u32) -> (u32, u32) {
    let (used, at) = (head.wrapping_sub(tail), tail & size.wrapping_sub(1));
    let to_end = size.wrapping_sub(at);
    if size == 0 {
        (0, 0)
    } else if used < to_end {
        (at, used)
    } else {
        (at, to_end)
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// Without a buffer: every frame is dropped.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            magic: MAGIC,
            phys: AtomicU32::new(0),
            size: AtomicU32::new(0),
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            dropped: AtomicU32::new(0),
        }
    }

    /// Takes another buffer, of `size` bytes and [`MAX_FRAME`] more, at `phys`. What is not read yet has to be there
    /// already, from offset `tail & (size - 1)` on, cyclically.
    pub fn attach(&self, phys: u32, size: u32) {
        // Whoever reads the guest's memory may see one's address with the other's size, so the runner looks again after a
        // read, and takes it only if both are still the same.
        self.size.store(0, Ordering::Relaxed);
        self.phys.store(phys, Ordering::Release);
        self.size.store(size, Ordering::Release);
    }

    /// Bytes ever read.
    #[must_use]
    pub fn tail(&self) -> u32 {
        self.tail.load(Ordering::Relaxed)
    }

    /// Bytes of the ring.
    #[inline(always)]
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size.load(Ordering::Relaxed)
    }

    /// Where in the buffer the next frame begins; `None` when there is no room for it.
    #[inline(always)]
    #[must_use]
    pub fn begin(&self) -> Option<u32> {
        let (head, size) = (self.head.load(Ordering::Relaxed), self.size());
        // The store of a frame depends on this value, so it can't come before the load.
        let used = head.wrapping_sub(self.tail.load(Ordering::Relaxed));
        (size.wrapping_sub(used) as i32 >= MAX_FRAME as i32).then_some(head & size.wrapping_sub(1))
    }

    /// How many bytes of a frame of `len` bytes that begins at `at` lie in the slack, and have to be copied to the start
    /// of the buffer before [`Control::commit`].
    #[inline(always)]
    #[must_use]
    pub fn overrun(&self, at: u32, len: u32) -> u32 {
        (at + len).saturating_sub(self.size())
    }

    /// The frame of `len` bytes is complete. Returns the bytes that wait to be read.
    #[inline(always)]
    pub fn commit(&self, len: u32) -> u32 {
        let head = self.head.load(Ordering::Relaxed).wrapping_add(len);
        self.head.store(head, Ordering::Release);
        head.wrapping_sub(self.tail.load(Ordering::Relaxed))
    }

    /// Counts a frame that did not fit.
    pub fn count_dropped(&self) {
        self.dropped.store(self.dropped().wrapping_add(1), Ordering::Relaxed);
    }

    /// Frames dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes that wait to be read.
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.head.load(Ordering::Acquire).wrapping_sub(self.tail.load(Ordering::Relaxed))
    }

    /// The next bytes to be read that lie in one piece: from where in the buffer, and how many.
    #[must_use]
    pub fn readable(&self) -> (u32, u32) {
        readable(self.head.load(Ordering::Acquire), self.tail.load(Ordering::Relaxed), self.size())
    }

    /// `len` bytes have been read.
    pub fn consume(&self, len: u32) {
        self.tail.store(self.tail.load(Ordering::Relaxed).wrapping_add(len), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that the runner would find.
    fn bytes(control: &Control) -> [u8; Snapshot::BYTES] {
        let words = [
            control.magic,
            control.phys.load(Ordering::Relaxed),
            control.size(),
            control.head.load(Ordering::Relaxed),
            control.tail.load(Ordering::Relaxed),
            control.dropped(),
        ];
        let mut bytes = [0; Snapshot::BYTES];
        bytes.chunks_exact_mut(4).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
        bytes
    }

    /// Writes a frame as the kernel does; whether there was room.
    fn write(control: &Control, buffer: &mut [u8], frame: &[u8]) -> bool {
        let Some(at) = control.begin() else {
            control.count_dropped();
            return false;
        };
        let (start, len) = (at as usize, frame.len());
        buffer[start..start + len].copy_from_slice(frame);
        let (size, over) = (control.size() as usize, control.overrun(at, len as u32) as usize);
        buffer.copy_within(size..size + over, 0);
        control.commit(len as u32);
        true
    }

    /// Reads through a snapshot, as the runner does.
    fn read(control: &Control, buffer: &[u8]) -> Vec<u8> {
        let found = Snapshot::parse(&bytes(control)).expect("a sound ring");
        assert_eq!(found.readable(), control.readable());
        let (at, len) = found.readable();
        control.consume(len);
        buffer[at as usize..(at + len) as usize].to_vec()
    }

    #[test]
    fn like_a_queue_of_bytes_that_drops_what_does_not_fit() {
        const SIZE: u32 = 512;
        let (control, mut buffer) = (Control::new(), vec![0u8; (SIZE + MAX_FRAME) as usize]);
        // Near the end of the counters, so that they wrap.
        control.head.store(u32::MAX - 700, Ordering::Relaxed);
        control.tail.store(u32::MAX - 700, Ordering::Relaxed);
        control.attach(0x8000_0000, SIZE);
        let (mut model, mut out, mut dropped, mut random) = (Vec::new(), Vec::new(), 0, 12345u32);
        for round in 0..if cfg!(miri) { 200 } else { 20_000u32 } {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let len = random >> 16 & (MAX_FRAME - 1) | 1;
            if random >> 28 < 9 {
                let frame: Vec<u8> = (0..len).map(|n| (round + n) as u8).collect();
                let fits = SIZE as usize - (model.len() - out.len()) >= MAX_FRAME as usize;
                assert_eq!(write(&control, &mut buffer, &frame), fits);
                if fits { model.extend(frame) } else { dropped += 1 }
            } else {
                out.extend(read(&control, &buffer));
            }
            assert_eq!(control.pending() as usize, model.len() - out.len());
        }
        while control.pending() > 0 {
            out.extend(read(&control, &buffer));
        }
        assert!(out == model && dropped > 0);
        assert_eq!(control.dropped(), dropped);
    }

    #[test]
    fn without_a_buffer_everything_is_dropped() {
        let control = Control::new();
        assert_eq!((control.begin(), control.readable()), (None, (0, 0)));
    }

    #[test]
    fn what_is_no_ring_is_not_taken_for_one() {
        let control = Control::new();
        control.attach(0x1000, 64);
        let good = bytes(&control);
        assert!(Snapshot::parse(&good).is_some());
        for (at, value) in [(0, 1), (8, 48), (12, 65)] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Snapshot::parse(&bad), None, "byte {at}");
        }
    }
}
