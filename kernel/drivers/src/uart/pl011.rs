//! The PL011 UART: polled output, input by interrupt.
//!
//! The registers are the `arm-pl011-uart` crate's. Output waits for room in the FIFO: it must work in a panic and
//! with interrupts off. Input raises an interrupt when the FIFO is part full and, so that a single key counts, when
//! the line has been idle for 32 bit times; the handler empties the FIFO into a ring.
//!
//! Source: ARM DDI 0183G, 3.3 (registers), 2.8 (interrupts).

use super::{Pl011Sender, Received, RxRing};
use crate::mmio::Mmio;
use arm_pl011_uart::{
    DataBits, Error, FifoLevel, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart,
    UniqueMmioPointer,
};
use core::fmt;

/// A port and its received bytes.
pub struct Pl011 {
    uart: Uart<'static>,
    ring: RxRing,
}

impl Pl011 {
    /// The port with these registers, as the boot loader has left it: output works at once. `None` when the block
    /// is too short for a PL011.
    #[must_use]
    pub fn new(registers: Mmio) -> Option<Self> {
        if registers.len() < size_of::<PL011Registers>() {
            return None;
        }
        // SAFETY: an `Mmio` is mapped for good, aligned and the only owner of its registers, and it is long enough;
        // it is given up here.
        #[allow(unsafe_code)]
        let registers = unsafe { UniqueMmioPointer::new(registers.into_ptr().cast()) };
        Some(Self { uart: Uart::new(registers), ring: RxRing::new() })
    }

    /// Gives up receiving.
    #[must_use]
    pub fn into_sender(self) -> Pl011Sender {
        Pl011Sender::new(self.uart)
    }

    /// Sets 8N1 at `baud` from a clock of `clock` Hz, and switches the FIFOs on. Without it the boot loader's
    /// setting stays.
    ///
    /// # Errors
    /// When the divisor doesn't exist; nothing has changed then.
    pub fn configure(&mut self, baud: u32, clock: u32) -> Result<(), Error> {
        self.flush();
        let config =
            LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
        self.uart.enable(config, baud, clock)
    }

    /// Lets received bytes raise the port's interrupt. What was received before is kept.
    pub fn start_receive(&mut self) {
        self.uart.set_interrupt_fifo_levels(FifoLevel::Bytes8, FifoLevel::Bytes16);
        self.interrupt();
        self.uart.set_interrupt_masks(Interrupts::RXI | Interrupts::RTI | Interrupts::OEI);
    }

    /// The port's interrupt handler. The status is cleared before the FIFO is emptied: what arrives in between
    /// raises the interrupt anew.
    pub fn interrupt(&mut self) {
        self.uart.clear_interrupts(Interrupts::all());
        let uart = &mut self.uart;
        self.ring.fill(|| match uart.read_word() {
            Ok(Some(byte)) => Received::Byte(byte),
            Ok(None) => Received::Empty,
            Err(Error::Overrun) => Received::Overrun,
            Err(_) => Received::Broken,
        });
    }

    /// Whether [`Pl011::read_byte`] has something. Look before waiting for an interrupt, with interrupts masked.
    #[must_use]
    pub fn has_input(&self) -> bool {
        !self.ring.is_empty()
    }

    /// The oldest received byte.
    pub fn read_byte(&mut self) -> Option<u8> {
        self.ring.pop()
    }

    /// How often received bytes were lost since the last call.
    pub fn take_lost(&mut self) -> u32 {
        self.ring.take_lost()
    }

    /// Sends bytes, with a carriage return before every newline.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
    }

    fn put(&mut self, byte: u8) {
        while self.uart.is_tx_fifo_full() {
            core::hint::spin_loop();
        }
        self.uart.write_word(byte);
    }

    /// Waits until the last bit has left.
    pub fn flush(&self) {
        while self.uart.is_busy() {
            core::hint::spin_loop();
        }
    }

    /// The revision that the identification registers tell; `None` for something else than ARM's PL011.
    #[must_use]
    pub fn revision(&self) -> Option<u8> {
        let id = self.uart.read_identification();
        id.is_valid().then_some(id.revision_number)
    }
}

impl fmt::Write for Pl011 {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use core::ptr::NonNull;

    const DR: usize = 0;
    const FR: usize = 0x18 / 4;
    const IBRD: usize = 0x24 / 4;
    const LCR_H: usize = 0x2c / 4;
    const CR: usize = 0x30 / 4;
    const IMSC: usize = 0x38 / 4;
    const ICR: usize = 0x44 / 4;
    const RX_EMPTY: u32 = 1 << 4;
    const TX_FULL: u32 = 1 << 5;
    const TX_EMPTY: u32 = 1 << 7;

    /// Plain memory in place of registers, freed at the end of the test.
    struct Block(NonNull<[u32; 1024]>);

    impl Block {
        fn read(&self, index: usize) -> u32 {
            // SAFETY: the memory lives as long as `self`, and the port does not access it meanwhile.
            unsafe { self.0.cast::<u32>().add(index).read_volatile() }
        }

        fn write(&self, index: usize, value: u32) {
            // SAFETY: as above.
            unsafe { self.0.cast::<u32>().add(index).write_volatile(value) }
        }
    }

    impl Drop for Block {
        fn drop(&mut self) {
            // SAFETY: it came out of a `Box`, and the port is not used any more.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }

    fn port() -> (Block, Pl011) {
        let mut registers = [0; 1024];
        registers[FR] = RX_EMPTY;
        let block = Block(NonNull::from(Box::leak(Box::new(registers))));
        // SAFETY: the test keeps the block longer than the port, and reads it only between the port's accesses.
        let mmio = unsafe { Mmio::new(block.0.cast(), 4096) };
        (block, Pl011::new(mmio).unwrap())
    }

    #[test]
    fn receive_by_interrupt() {
        let (block, mut port) = port();
        port.start_receive();
        assert_eq!(block.read(IMSC), 1 << 4 | 1 << 6 | 1 << 10);
        assert_eq!(block.read(ICR), 0x7ff);
        assert_eq!(port.read_byte(), None);
    }

    #[test]
    fn a_sender_fills_the_fifo_and_waits_for_room() {
        let (block, port) = port();
        let mut sender = port.into_sender();
        assert_eq!(block.read(IMSC), 0);
        sender.let_interrupt(true);
        assert_eq!(block.read(IMSC), 1 << 5);
        block.write(FR, RX_EMPTY | TX_EMPTY);
        assert_eq!((sender.send(&[b'a'; 40]), block.read(DR)), (40, u32::from(b'a')));
        block.write(FR, RX_EMPTY);
        assert_eq!(sender.send(b"bc"), 2, "there is room");
        block.write(FR, RX_EMPTY | TX_FULL);
        assert_eq!((sender.send(b"de"), block.read(DR)), (0, u32::from(b'c')));
        sender.let_interrupt(false);
        assert_eq!(block.read(IMSC), 0);
    }

    #[test]
    fn line_settings() {
        let (block, mut port) = port();
        port.configure(115_200, 24_000_000).unwrap();
        assert_eq!((block.read(IBRD), block.read(LCR_H), block.read(CR)), (13, 0x70, 0x301));
        assert!(port.configure(0, 24_000_000).is_err());
        port.write(b"x");
        assert_eq!(block.read(DR), u32::from(b'x'));
    }

    #[test]
    fn a_block_that_is_too_short() {
        let mut block = [0u32; 4];
        // SAFETY: the port refuses the block and never touches it.
        let mmio = unsafe { Mmio::new(NonNull::from(&mut block).cast(), 16) };
        assert!(Pl011::new(mmio).is_none());
    }
}
