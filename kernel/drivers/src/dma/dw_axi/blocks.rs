//! Cuts a copy into blocks that a channel takes.
//!
//! A block moves up to `block-size` items of one width, and an address must be a multiple of the width on both sides.
//! Where source and destination are equally misaligned, narrow blocks lead up to a boundary of the widest item and
//! finish behind the last one, so that all but a few bytes move in wide items:
//!
//! ```text
//!  0x1003 .. 0x2016, 64 bit:   1 byte | 4 bytes | 8-byte items ... | 4 bytes | 2 bytes
//! ```

use super::Config;
use crate::dma::Segment;
use ::dma::DmaAddr;

/// One block transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Where the bytes are.
    pub src: DmaAddr,
    /// Where they go.
    pub dst: DmaAddr,
    /// Width of an item, as a power of two of bytes (`SRC_TR_WIDTH`, `DST_TR_WIDTH`).
    pub width: u32,
    /// Items (`BLOCK_TS`).
    pub items: u32,
    /// Items in a burst (`SRC_MSIZE`, `DST_MSIZE`): one of 1, 4, 8, 16 … 256.
    pub burst: u32,
}

impl Block {
    /// The same in bytes.
    #[must_use]
    pub const fn segment(&self) -> Segment {
        Segment { src: self.src, dst: self.dst, len: self.items << self.width }
    }
}

/// See [`Config::plan`].
#[derive(Clone, Debug)]
pub struct Blocks {
    rest: Segment,
    block_size: u32,
    data_width: u32,
    max_burst: u32,
}

impl Config {
    /// The blocks in which `channel` makes a copy; `None` without such a channel.
    #[must_use]
    pub fn plan(&self, channel: usize, copy: Segment) -> Option<Blocks> {
        Some(Blocks {
            rest: copy,
            block_size: self.block_size(channel)?,
            data_width: self.data_width,
            max_burst: self.max_burst.unwrap_or(256),
        })
    }
}

impl Iterator for Blocks {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        let Segment { src, dst, len } = self.rest;
        if len == 0 {
            return None;
        }
        // The widest item that both addresses will ever share, and the one that they share now.
        let common = (src.get() ^ dst.get()).trailing_zeros().min(self.data_width);
        let now = src.get().trailing_zeros().min(common).min(len.ilog2());
        let up_to_boundary = if now < common { src.get().wrapping_neg() & ((1 << common) - 1) } else { len };
        // Towards the boundary the alignment rises with each bit that is made up for: one item a step.
        let climbing = now < common && up_to_boundary < len;
        let items = if climbing { 1 } else { len >> now }.min(self.block_size);
        let block = Block { src, dst, width: now, items, burst: burst(items, self.max_burst) };
        let done = items << now;
        self.rest = Segment { src: src.add(done), dst: dst.add(done), len: len - done };
        Some(block)
    }
}

/// The longest burst that neither the bus nor the block is too short for.
fn burst(items: u32, max: u32) -> u32 {
    let limit = items.min(max);
    if limit < 4 { 1 } else { 1 << limit.ilog2() }
}
