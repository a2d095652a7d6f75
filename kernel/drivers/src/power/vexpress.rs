//! The system registers of ARM's Versatile Express motherboard: requests to its configuration controller.
//!
//! Source: ARM DUI 0447J (Motherboard Express µATX), 4.3.14 to 4.3.16; `arm,vexpress-sysreg` binding.

use super::Power;
use crate::mmio::Registers;

const CFGDATA: u32 = 0xa0;
const CFGCTRL: u32 = 0xa4;
const CFGSTAT: u32 = 0xa8;
const START: u32 = 1 << 31;
const WRITE: u32 = 1 << 30;
/// Functions, in bits 25 to 20.
const SHUTDOWN: u32 = 8;
const REBOOT: u32 = 9;

/// The motherboard's system registers.
pub struct VexpressSysreg<R>(
    /// The registers.
    pub R,
);

impl<R: Registers> VexpressSysreg<R> {
    /// A write of 0 to a function of the motherboard itself (site, position and device 0).
    fn request(&mut self, function: u32) {
        self.0.write(CFGSTAT, 0);
        self.0.write(CFGDATA, 0);
        self.0.write(CFGCTRL, START | WRITE | function << 20);
    }
}

impl<R: Registers + Send> Power for VexpressSysreg<R> {
    fn name(&self) -> &'static str {
        "vexpress-sysreg"
    }

    fn poweroff(&mut self) {
        self.request(SHUTDOWN);
    }

    fn reboot(&mut self) {
        self.request(REBOOT);
    }
}
