//! The BCM2835's power management block: its watchdog resets the chip, and the boot code halts when it finds a
//! certain partition number afterwards.
//!
//! Source: Linux 6.1 `drivers/watchdog/bcm2835_wdt.c`; the block is not in the "ARM Peripherals" manual.

use super::Power;
use crate::mmio::Registers;

const RSTC: u32 = 0x1c;
const RSTS: u32 = 0x20;
const WDOG: u32 = 0x24;
/// Every write carries it in the top byte.
const PASSWORD: u32 = 0x5a00_0000;
const RSTC_CONFIG_MASK: u32 = 0x30;
const RSTC_FULL_RESET: u32 = 0x20;
/// The boot partition's number, spread over every other bit: 63 means "halt".
const RSTS_PARTITION: u32 = 0x555;
/// Ticks of 1/65536 s.
const TIMEOUT: u32 = 10;

/// The power management block.
pub struct Bcm2835Pm<R>(
    /// The registers.
    pub R,
);

impl<R: Registers> Bcm2835Pm<R> {
    fn reset(&mut self, partition: u32) {
        let status = self.0.read(RSTS) & 0x00ff_ffff & !RSTS_PARTITION;
        self.0.write(RSTS, PASSWORD | status | partition);
        self.0.write(WDOG, PASSWORD | TIMEOUT);
        let control = self.0.read(RSTC) & 0x00ff_ffff & !RSTC_CONFIG_MASK;
        self.0.write(RSTC, PASSWORD | control | RSTC_FULL_RESET);
    }
}

impl<R: Registers + Send> Power for Bcm2835Pm<R> {
    fn name(&self) -> &'static str {
        "bcm2835-pm"
    }

    fn poweroff(&mut self) {
        self.reset(RSTS_PARTITION);
    }

    fn reboot(&mut self) {
        self.reset(0);
    }
}
