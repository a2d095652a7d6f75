//! A PL011 that only sends, and never waits: as much as its FIFO takes, then it asks for an interrupt.
//!
//! Source: ARM DDI 0183G, 2.8.2 (the transmit interrupt follows the FIFO's level).

use arm_pl011_uart::{FifoLevel, Interrupts, Uart};

/// Bytes that an empty FIFO takes for sure: 16 up to revision r1p4, 32 after.
const FIFO: usize = 16;

/// Looks at a port that doesn't send before it is given up: many times what a FIFO takes at 9,600 baud.
pub const PATIENCE: u32 = 1 << 22;

/// The sending half of a port.
pub struct Pl011Sender {
    uart: Uart<'static>,
}

impl Pl011Sender {
    pub(super) fn new(mut uart: Uart<'static>) -> Self {
        uart.set_interrupt_masks(Interrupts::empty());
        uart.set_interrupt_fifo_levels(FifoLevel::Bytes16, FifoLevel::Bytes4);
        Self { uart }
    }

    /// Sends as many of the bytes as fit; how many. An empty FIFO is filled without further looks.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        for piece in bytes.chunks(FIFO) {
            if !self.uart.is_tx_fifo_empty() {
                return sent + self.send_one_by_one(piece);
            }
            piece.iter().for_each(|&byte| self.uart.write_word(byte));
            sent += piece.len();
        }
        sent
    }

    fn send_one_by_one(&mut self, bytes: &[u8]) -> usize {
        for (sent, &byte) in bytes.iter().enumerate() {
            if self.uart.is_tx_fifo_full() {
                return sent;
            }
            self.uart.write_word(byte);
        }
        bytes.len()
    }

    /// Lets the port raise its interrupt when the FIFO has run almost empty, or keeps it from that.
    pub fn let_interrupt(&mut self, on: bool) {
        self.uart.set_interrupt_masks(if on { Interrupts::TXI } else { Interrupts::empty() });
    }

    /// Waits until the last bit has left; for ever if the port stands still, so only so many looks.
    pub fn flush(&self) {
        for _ in 0..PATIENCE {
            if !self.uart.is_busy() {
                return;
            }
        }
    }
}
