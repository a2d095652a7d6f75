//! Cuts a copy between two scatter-gather lists into segments that an engine takes.
//!
//! ```text
//!  src   |-------a-------|--b--|------c------|
//!  dst   |----x----|-------------y-----------|
//!  out   |----1----|--2--|--3--|------4------|      and each cut again at max_segment
//! ```

use super::Caps;
use ::dma::{DmaAddr, SgEntry};
use core::fmt;

/// Bytes that are in one piece on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where they are.
    pub src: DmaAddr,
    /// Where they go.
    pub dst: DmaAddr,
    /// How many.
    pub len: u32,
}

/// Why an engine can't make a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlanError {
    /// There is nothing to copy, or an entry is empty.
    Empty,
    /// The two lists differ in length.
    Lengths {
        /// Bytes of the source.
        src: u64,
        /// Bytes of the destination.
        dst: u64,
    },
    /// An address or a length is not a multiple of what the engine asks for.
    Misaligned {
        /// The entry's address.
        addr: DmaAddr,
        /// Its length.
        len: u32,
        /// What they should be multiples of.
        align: u32,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing to copy, or an empty entry"),
            Self::Lengths { src, dst } => write!(f, "source of {src} bytes, destination of {dst}"),
            Self::Misaligned { addr, len, align } => {
                write!(f, "{len} bytes at {addr} are not aligned to {align}")
            }
        }
    }
}

impl core::error::Error for PlanError {}

fn check(caps: Caps, list: impl Iterator<Item = (DmaAddr, u32)>) -> Result<u64, PlanError> {
    let mut total = 0;
    for (addr, len) in list {
        if len == 0 {
            return Err(PlanError::Empty);
        }
        if (addr.get() | len) & (caps.align - 1) != 0 {
            return Err(PlanError::Misaligned { addr, len, align: caps.align });
        }
        total += u64::from(len);
    }
    if total == 0 { Err(PlanError::Empty) } else { Ok(total) }
}

/// The segments of a copy in one piece.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    caps: Caps,
    dst: DmaAddr,
    src: DmaAddr,
    len: u32,
) -> Result<impl Iterator<Item = Segment>, PlanError> {
    check(caps, [(src, len), (dst, len)].into_iter())?;
    let whole = move |at| Segment { src: src.add(at), dst: dst.add(at), len: caps.max_segment.min(len - at) };
    let mut at = 0;
    Ok(core::iter::from_fn(move || {
        let segment = (at < len).then(|| whole(at))?;
        at += segment.len;
        Some(segment)
    }))
}

/// The segments of a copy from one mapped list to another.
///
/// # Errors
/// [`PlanError`].
pub fn plan_sg<'l>(caps: Caps, dst: &'l [SgEntry], src: &'l [SgEntry]) -> Result<Plan<'l>, PlanError> {
    let pairs = |list: &'l [SgEntry]| list.iter().map(|entry| (entry.addr, entry.len));
    let (from, to) = (check(caps, pairs(src))?, check(caps, pairs(dst))?);
    if from != to {
        return Err(PlanError::Lengths { src: from, dst: to });
    }
    Ok(Plan { caps, dst: Side { list: dst, done: 0 }, src: Side { list: src, done: 0 } })
}

/// A list, and how far its first entry is used up.
#[derive(Clone, Copy, Debug)]
struct Side<'l> {
    list: &'l [SgEntry],
    done: u32,
}

impl Side<'_> {
    fn next(&self) -> Option<(DmaAddr, u32)> {
        let entry = self.list.first()?;
        Some((entry.addr.add(self.done), entry.len - self.done))
    }

    fn advance(&mut self, len: u32) {
        self.done += len;
        if self.list.first().is_some_and(|entry| entry.len == self.done) {
            *self = Self { list: &self.list[1..], done: 0 };
        }
    }
}

/// See [`plan_sg`].
#[derive(Clone, Debug)]
pub struct Plan<'l> {
    caps: Caps,
    dst: Side<'l>,
    src: Side<'l>,
}

impl Iterator for Plan<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let ((src, from), (dst, to)) = (self.src.next()?, self.dst.next()?);
        let len = from.min(to).min(self.caps.max_segment);
        self.src.advance(len);
        self.dst.advance(len);
        Some(Segment { src, dst, len })
    }
}
