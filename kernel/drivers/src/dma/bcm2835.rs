//! The BCM2835's DMA engine: up to 15 channels in one block, each with a chain of control blocks in memory.
//!
//! ```text
//!  channel n at 0x100 * n:  CS | CONBLK_AD | (TI SOURCE_AD DEST_AD TXFR_LEN STRIDE NEXTCONBK: the loaded block) | DEBUG
//!
//!  control block, 8 words, 32 bytes aligned:  TI | source | destination | length | stride | next | 0 | 0
//! ```
//!
//! All addresses are the engine's own: RAM is at 0xc0000000 on its bus, past the VideoCore's cache (`dma-ranges`).
//! Channels that say LITE in DEBUG count their lengths in 16 bits. Addresses and lengths are kept multiples of four:
//! the engine moves words, and QEMU's knows nothing else.
//!
//! Source: BCM2835 ARM Peripherals, chapter 4 and its errata; binding `brcm,bcm2835-dma.txt`.

use super::{Caps, Directions, DmaRegisters, Event, Hardware, Segment, TransferError};
use crate::irq::Irq;
use crate::mmio::Mmio;
use ::dma::{DmaAddr, PoolBlock};
use alloc::vec::Vec;
use types::PhysRange;

const CS: u32 = 0x00;
const CONBLK_AD: u32 = 0x04;
const TXFR_LEN: u32 = 0x14;
const DEBUG: u32 = 0x20;

const CS_ACTIVE: u32 = 1 << 0;
const CS_END: u32 = 1 << 1;
const CS_INT: u32 = 1 << 2;
const CS_WAITING_FOR_WRITES: u32 = 1 << 6;
const CS_ERROR: u32 = 1 << 8;
/// The engine reports the end only after the last write was answered.
const CS_WAIT_FOR_WRITES: u32 = 1 << 28;
const CS_RESET: u32 = 1 << 31;
/// Priority 8 of 15 on the bus, 15 when a device would starve.
const CS_PRIORITIES: u32 = 8 << 16 | 15 << 20;

const TI_INTEN: u32 = 1 << 0;
const TI_WAIT_RESP: u32 = 1 << 3;
const TI_DEST_INC: u32 = 1 << 4;
const TI_SRC_INC: u32 = 1 << 8;

const DEBUG_READ_LAST_NOT_SET: u32 = 1 << 0;
const DEBUG_FIFO: u32 = 1 << 1;
const DEBUG_READ: u32 = 1 << 2;
const DEBUG_LITE: u32 = 1 << 28;

/// Bytes of a channel's registers.
pub const CHANNEL_SIZE: u32 = 0x100;
/// Channels in the block; a sixteenth is elsewhere, and the VideoCore's.
const CHANNELS: u32 = 15;
/// Longest transfer of a full channel: 30 bits, in multiples of a page so that the next segment stays aligned.
const MAX_FULL: u32 = 1 << 29;
const MAX_LITE: u32 = 0xf000;
/// Polls of the outstanding writes before a channel is reset all the same.
const ABORT_POLLS: u32 = 10_000;

/// One channel.
#[derive(Debug)]
pub struct Bcm2835<R> {
    registers: R,
    lite: bool,
}

impl<R: DmaRegisters> Bcm2835<R> {
    /// The channel at `registers`, reset: the firmware may have used it.
    #[must_use]
    pub fn new(registers: R) -> Self {
        let lite = registers.read(DEBUG) & DEBUG_LITE != 0;
        registers.write(CS, CS_RESET);
        registers.write(CS, CS_INT | CS_END);
        Self { registers, lite }
    }

    /// The registers.
    pub fn into_registers(self) -> R {
        self.registers
    }

    fn fail(&mut self) -> TransferError {
        let at = DmaAddr::new(self.registers.read(CONBLK_AD));
        let debug = self.registers.read(DEBUG);
        let causes = debug & (DEBUG_READ_LAST_NOT_SET | DEBUG_FIFO | DEBUG_READ);
        self.registers.write(DEBUG, causes);
        self.abort();
        TransferError {
            at,
            read: debug & (DEBUG_READ | DEBUG_READ_LAST_NOT_SET) != 0,
            fifo: debug & DEBUG_FIFO != 0,
        }
    }
}

impl<R: DmaRegisters> Hardware for Bcm2835<R> {
    const DESCRIPTOR_SIZE: u32 = 32;
    const DESCRIPTOR_ALIGN: u32 = 32;

    fn caps(&self) -> Caps {
        let max_segment = if self.lite { MAX_LITE } else { MAX_FULL };
        Caps { align: 4, max_segment, directions: Directions { mem_to_mem: true, slave: false } }
    }

    fn fill(&self, block: &mut PoolBlock, segment: Segment, next: Option<DmaAddr>) {
        let last = if next.is_none() { TI_INTEN } else { 0 };
        let info = TI_SRC_INC | TI_DEST_INC | TI_WAIT_RESP | last;
        let next = next.map_or(0, DmaAddr::get);
        let words = [info, segment.src.get(), segment.dst.get(), segment.len, 0, next, 0, 0];
        words.into_iter().enumerate().for_each(|(n, word)| block.write_u32(n * 4, word));
    }

    fn start(&mut self, first: DmaAddr) {
        self.registers.wmb();
        self.registers.write(CONBLK_AD, first.get());
        self.registers.write(CS, CS_WAIT_FOR_WRITES | CS_PRIORITIES | CS_ACTIVE);
    }

    /// Only the last block of a chain interrupts, so an interrupt without an error means the end.
    fn acknowledge(&mut self) -> Event {
        let cs = self.registers.read(CS);
        if cs & CS_ERROR != 0 {
            return Event::Failed(self.fail());
        }
        if cs & CS_INT == 0 {
            return Event::None;
        }
        self.registers.write(CS, CS_INT | CS_END);
        self.registers.rmb();
        Event::Done
    }

    fn position(&self) -> Option<(DmaAddr, u32)> {
        let at = self.registers.read(CONBLK_AD);
        (at != 0).then(|| (DmaAddr::new(at), self.registers.read(TXFR_LEN)))
    }

    /// Pauses, waits for the writes on their way, and resets.
    fn abort(&mut self) {
        self.registers.write(CS, 0);
        let writing = |_: &u32| self.registers.read(CS) & CS_WAITING_FOR_WRITES != 0;
        if (0..ABORT_POLLS).take_while(writing).count() as u32 == ABORT_POLLS {
            log::error!("bcm2835-dma: failed to complete outstanding writes");
        }
        self.registers.write(CS, CS_RESET);
        self.registers.write(CS, CS_INT | CS_END);
        self.registers.rmb();
    }
}

/// A channel that the tree leaves to this kernel.
#[derive(Debug)]
pub struct FoundChannel {
    /// Its number.
    pub number: u32,
    /// Its registers.
    pub registers: Mmio,
    /// Its interrupt; several channels may share one.
    pub irq: Irq,
}

/// The channels that a mask allows (`brcm,dma-channel-mask`), with their shares of the block `registers` and their
/// interrupts. Channels without registers or interrupt are left out.
pub fn channels(
    mut registers: Mmio,
    mask: u32,
    mut irq: impl FnMut(u32) -> Option<Irq>,
) -> Vec<FoundChannel> {
    let mut found = Vec::new();
    for number in 0..CHANNELS {
        let Some((own, rest)) = registers.split_at(CHANNEL_SIZE as usize) else { break };
        registers = rest;
        if let Some(irq) = irq(number).filter(|_| mask & 1 << number != 0) {
            found.push(FoundChannel { number, registers: own, irq });
        }
    }
    found
}

/// An engine that was found.
#[derive(Debug)]
pub struct FoundEngine {
    /// Its block.
    pub range: PhysRange,
    /// Its channels.
    pub channels: Vec<FoundChannel>,
}
