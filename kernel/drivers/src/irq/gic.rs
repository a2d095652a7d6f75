//! The ARM Generic Interrupt Controller, version 2 (GIC-400 and the ones in Cortex-A7, A9 and A15 clusters).
//!
//! Interrupts stay in the group they are found in, and only bit 0 of the two control registers is used. That works
//! in both worlds: a Secure kernel (vexpress) sees Group 0 there, resets all interrupts to Group 0 and takes them as
//! IRQ, because FIQEn is clear; a Non-secure kernel (virt, or behind a Secure monitor) sees its own Group 1 under
//! the same bit and can't touch the groups. A controller without the Security Extensions has one group and the same
//! bit.
//!
//! Source: ARM IHI 0048B, 4.3 (distributor), 4.4 (CPU interface), 3.9 (groups and the two views).

use super::{Ack, Controller, Input, IrqError, Trigger};
use crate::mmio::Registers;

mod dist {
    pub const CTLR: u32 = 0x000;
    pub const TYPER: u32 = 0x004;
    pub const ISENABLER: u32 = 0x100;
    pub const ICENABLER: u32 = 0x180;
    pub const IPRIORITYR: u32 = 0x400;
    pub const ITARGETSR: u32 = 0x800;
    pub const ICFGR: u32 = 0xc00;
}

mod cpu {
    pub const CTLR: u32 = 0x00;
    pub const PMR: u32 = 0x04;
    pub const IAR: u32 = 0x0c;
    pub const EOIR: u32 = 0x10;
}

/// Interrupts up to here are private to a CPU: 16 software generated ones, then 16 peripherals.
const FIRST_SPI: u32 = 32;
const FIRST_PPI: u32 = 16;
/// IAR values from here on mean "none".
const FIRST_SPECIAL: u32 = 1020;
/// All interrupts get the same priority, in the middle: below the mask that lets them pass, in both views.
const PRIORITY: u32 = 0xa0a0_a0a0;
const PRIORITY_MASK: u32 = 0xf0;

/// A GICv2.
pub struct Gic<R> {
    dist: R,
    cpu: R,
    /// Number of interrupts, a multiple of 32.
    lines: u32,
}

impl<R: Registers> Gic<R> {
    /// Takes over the controller: everything disabled and aimed at this CPU, then forwarding on.
    pub fn new(dist: R, cpu: R) -> Self {
        let lines = (32 * ((dist.read(dist::TYPER) & 0x1f) + 1)).min(FIRST_SPECIAL);
        let mut gic = Self { dist, cpu, lines };
        gic.init_dist();
        gic.init_own();
        gic
    }

    /// Number of interrupts.
    #[must_use]
    pub fn lines(&self) -> u32 {
        self.lines
    }

    fn init_dist(&mut self) {
        self.dist.write(dist::CTLR, 0);
        let target = self.own_mask();
        for word in FIRST_SPI / 4..self.lines / 4 {
            self.dist.write(dist::ITARGETSR + 4 * word, target);
            self.dist.write(dist::IPRIORITYR + 4 * word, PRIORITY);
        }
        for word in FIRST_SPI / 16..self.lines / 16 {
            self.dist.write(dist::ICFGR + 4 * word, 0);
        }
        for word in FIRST_SPI / 32..self.lines / 32 {
            self.dist.write(dist::ICENABLER + 4 * word, u32::MAX);
        }
        self.dist.write(dist::CTLR, 1);
    }

    /// Private interrupts and the CPU interface of the CPU that calls it.
    fn init_own(&mut self) {
        self.dist.write(dist::ICENABLER, 0xffff_0000);
        self.dist.write(dist::ISENABLER, 0x0000_ffff);
        (0..FIRST_SPI / 4).for_each(|word| self.dist.write(dist::IPRIORITYR + 4 * word, PRIORITY));
        self.cpu.write(cpu::PMR, PRIORITY_MASK);
        let bypass = self.cpu.read(cpu::CTLR) & 0x1e0;
        self.cpu.write(cpu::CTLR, bypass | 1);
    }

    /// This CPU as a target, in all four bytes. The private interrupts' targets read as the CPU itself; a
    /// uniprocessor reads zeros and ignores what is written.
    fn own_mask(&self) -> u32 {
        let words = (0..FIRST_SPI / 4).map(|word| self.dist.read(dist::ITARGETSR + 4 * word));
        let mask = words.fold(0, |all, word| all | word | word >> 16);
        0x0101_0101 * ((mask | mask >> 8) & 0xff)
    }
}

impl<R: Registers + Send> Controller for Gic<R> {
    fn name(&self) -> &'static str {
        "GIC-0"
    }

    fn decode(&self, cells: &[u32]) -> Result<Input, IrqError> {
        let error = IrqError::specifier(cells);
        let &[kind, number, flags] = cells else { return Err(error) };
        let hwirq = match kind {
            0 => number.checked_add(FIRST_SPI).filter(|n| *n < self.lines),
            1 => number.checked_add(FIRST_PPI).filter(|n| *n < FIRST_SPI),
            _ => None,
        };
        Ok(Input { hwirq: hwirq.ok_or(error)?, trigger: Trigger::from_flags(flags) })
    }

    fn configure(&mut self, Input { hwirq, trigger }: Input) {
        if hwirq < FIRST_SPI {
            return;
        }
        let (register, bit) = (dist::ICFGR + hwirq / 16 * 4, 2 << (hwirq % 16 * 2));
        let old = self.dist.read(register);
        let new = if trigger == Trigger::Edge { old | bit } else { old & !bit };
        self.dist.write(register, new);
    }

    fn enable(&mut self, hwirq: u32) {
        self.dist.write(dist::ISENABLER + hwirq / 32 * 4, 1 << (hwirq % 32));
    }

    fn disable(&mut self, hwirq: u32) {
        self.dist.write(dist::ICENABLER + hwirq / 32 * 4, 1 << (hwirq % 32));
    }

    fn acknowledge(&mut self) -> Option<Ack> {
        let token = self.cpu.read(cpu::IAR);
        let hwirq = token & 0x3ff;
        (hwirq < FIRST_SPECIAL).then_some(Ack { hwirq, token })
    }

    fn end(&mut self, ack: Ack) {
        // The whole value: for a software generated interrupt it names the CPU that sent it.
        self.cpu.write(cpu::EOIR, ack.token);
    }

    fn init_cpu(&mut self) {
        self.init_own();
    }
}
