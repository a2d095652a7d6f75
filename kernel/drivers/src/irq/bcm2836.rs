//! The per-CPU interrupt controller of the BCM2836: core timers, mailboxes and, as input 8, the GPU's controller.
//!
//! An input is active as long as its device says so; there is nothing to acknowledge or to end.
//!
//! Source: BCM2836 "QA7_rev3.4", 4.6 to 4.10; Linux 6.1 `drivers/irqchip/irq-bcm2836.c`.

use super::{Ack, Controller, Input, IrqError, Trigger};
use crate::mmio::Registers;

const CONTROL: u32 = 0x00;
const PRESCALER: u32 = 0x08;
const GPU_ROUTING: u32 = 0x0c;
const PMU_ROUTING_SET: u32 = 0x10;
const PMU_ROUTING_CLEAR: u32 = 0x14;
const TIMER_CONTROL: u32 = 0x40;
const MAILBOX_CONTROL: u32 = 0x50;
const SOURCE: u32 = 0x60;

const LAST_TIMER: u32 = 3;
const GPU: u32 = 8;
const PMU: u32 = 9;

/// The controller, as the first CPU uses it.
pub struct L1Intc<R> {
    registers: R,
}

impl<R: Registers> L1Intc<R> {
    /// Takes over the controller: the core timers count the crystal, the GPU interrupts CPU 0, all else is off.
    pub fn new(registers: R) -> Self {
        registers.write(CONTROL, 0);
        registers.write(PRESCALER, 0x8000_0000);
        registers.write(GPU_ROUTING, 0);
        registers.write(PMU_ROUTING_CLEAR, 0xff);
        registers.write(TIMER_CONTROL, 0);
        registers.write(MAILBOX_CONTROL, 0);
        Self { registers }
    }

    fn change(&mut self, register: u32, bit: u32, on: bool) {
        let old = self.registers.read(register);
        self.registers.write(register, if on { old | bit } else { old & !bit });
    }

    fn switch(&mut self, hwirq: u32, on: bool) {
        match hwirq {
            0..=LAST_TIMER => self.change(TIMER_CONTROL, 1 << hwirq, on),
            // The GPU's controller has masks of its own.
            GPU => {}
            PMU if on => self.registers.write(PMU_ROUTING_SET, 1),
            PMU => self.registers.write(PMU_ROUTING_CLEAR, 1),
            mailbox => self.change(MAILBOX_CONTROL, 1 << (mailbox - LAST_TIMER - 1), on),
        }
    }
}

impl<R: Registers + Send> Controller for L1Intc<R> {
    fn name(&self) -> &'static str {
        "bcm2836-timer"
    }

    fn decode(&self, cells: &[u32]) -> Result<Input, IrqError> {
        let (hwirq, flags) = match *cells {
            [hwirq] => (hwirq, 0),
            [hwirq, flags] => (hwirq, flags),
            _ => return Err(IrqError::specifier(cells)),
        };
        let known = hwirq <= PMU;
        known
            .then_some(Input { hwirq, trigger: Trigger::from_flags(flags) })
            .ok_or(IrqError::specifier(cells))
    }

    fn configure(&mut self, _input: Input) {}

    fn enable(&mut self, hwirq: u32) {
        self.switch(hwirq, true);
    }

    fn disable(&mut self, hwirq: u32) {
        self.switch(hwirq, false);
    }

    fn acknowledge(&mut self) -> Option<Ack> {
        let active = self.registers.read(SOURCE) & ((1 << (PMU + 1)) - 1);
        (active != 0).then(|| Ack { hwirq: active.trailing_zeros(), token: 0 })
    }

    fn end(&mut self, _ack: Ack) {}
}
