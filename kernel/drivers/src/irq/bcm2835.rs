//! The interrupt controller of the BCM2835's GPU side ("ARMCTRL"), behind the per-CPU one on a BCM2836.
//!
//! Three banks: 0 holds eight interrupts of the ARM side, 1 and 2 hold 32 each of the GPU. The basic pending
//! register tells where to look: its own eight, a bit for either bank, and shortcuts for some of the banks' inputs,
//! which then do not set the bank's bit.
//!
//! Source: "BCM2835 ARM Peripherals", 7; the errata at elinux.org/BCM2835_datasheet_errata; Linux 6.1
//! `drivers/irqchip/irq-bcm2835.c`.

use super::{Ack, Controller, Input, IrqError, Trigger};
use crate::mmio::Registers;

const PENDING_BASIC: u32 = 0x00;
const PENDING: [u32; 3] = [PENDING_BASIC, 0x04, 0x08];
const FIQ_CONTROL: u32 = 0x0c;
const ENABLE: [u32; 3] = [0x18, 0x10, 0x14];
const DISABLE: [u32; 3] = [0x24, 0x1c, 0x20];
/// In the basic pending register: bank 0 itself; the bits that lead to banks 1 and 2.
const LEADS_TO: [u32; 3] = [0xff, 1 << 8 | 0x7c00, 1 << 9 | 0x1f_8000];
/// Inputs of the banks.
const INPUTS: [u32; 3] = [8, 32, 32];

/// The controller. A hardware number is `bank << 5 | input`.
pub struct ArmCtrl<R> {
    registers: R,
}

impl<R: Registers> ArmCtrl<R> {
    /// Takes over the controller, everything disabled.
    pub fn new(registers: R) -> Self {
        registers.write(FIQ_CONTROL, 0);
        DISABLE.iter().for_each(|register| registers.write(*register, u32::MAX));
        Self { registers }
    }
}

impl<R: Registers + Send> Controller for ArmCtrl<R> {
    fn name(&self) -> &'static str {
        "ARMCTRL-level"
    }

    fn decode(&self, cells: &[u32]) -> Result<Input, IrqError> {
        let error = IrqError::specifier(cells);
        let &[bank, input] = cells else { return Err(error) };
        let known = INPUTS.get(bank as usize).is_some_and(|inputs| input < *inputs);
        known.then_some(Input { hwirq: bank << 5 | input, trigger: Trigger::Level }).ok_or(error)
    }

    fn configure(&mut self, _input: Input) {}

    fn enable(&mut self, hwirq: u32) {
        self.registers.write(ENABLE[(hwirq >> 5) as usize], 1 << (hwirq & 31));
    }

    fn disable(&mut self, hwirq: u32) {
        self.registers.write(DISABLE[(hwirq >> 5) as usize], 1 << (hwirq & 31));
    }

    fn acknowledge(&mut self) -> Option<Ack> {
        let basic = self.registers.read(PENDING_BASIC);
        let bank = LEADS_TO.iter().position(|bits| basic & bits != 0)?;
        let pending = if bank == 0 { basic & LEADS_TO[0] } else { self.registers.read(PENDING[bank]) };
        (pending != 0).then(|| Ack { hwirq: (bank as u32) << 5 | pending.trailing_zeros(), token: 0 })
    }

    fn end(&mut self, _ack: Ack) {}
}
