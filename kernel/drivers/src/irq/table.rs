//! The table of controllers, interrupts and handlers, and `/proc/interrupts`.

use super::{Ack, Controller, Input, Irq, IrqError, Trigger};
use alloc::{boxed::Box, vec::Vec};
use core::fmt;

/// Number of the first interrupt: Linux keeps the ones below for ISA.
const FIRST: u32 = 16;

/// What a device does about its interrupt. It runs with interrupts masked and must not block.
pub type Handler = &'static (dyn Fn() + Sync);

struct Chip {
    controller: Box<dyn Controller>,
    phandle: u32,
    /// The interrupt that this controller itself raises; `None` for the root.
    parent: Option<Irq>,
}

struct Line {
    chip: usize,
    input: Input,
    count: u32,
    action: Option<(&'static str, Handler)>,
}

/// An interrupt on its way: run [`Delivery::handler`], then hand it to [`Irqs::end`].
#[must_use = "the controller waits for the end of the interrupt"]
pub struct Delivery {
    /// What to run; `None` for an interrupt that nobody asked for, which has been disabled.
    pub handler: Option<Handler>,
    /// Its number, and the name that the handler was installed with; for trace events.
    pub line: Option<(Irq, &'static str)>,
    /// The chip and its acknowledgement, from the root inwards.
    acks: [Option<(usize, Ack)>; 2],
}

/// Controllers, interrupts and their handlers.
#[derive(Default)]
pub struct Irqs {
    chips: Vec<Chip>,
    lines: Vec<Line>,
    /// Interrupts without a cause or a handler.
    errors: u32,
}

impl Irqs {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self { chips: Vec::new(), lines: Vec::new(), errors: 0 }
    }

    /// Adds a controller, known to the device tree as `phandle`. The first one is the root, which the CPU asks;
    /// the others raise interrupt `parent` of it.
    ///
    /// # Errors
    /// [`IrqError::NotMapped`] or [`IrqError::Busy`] when `parent` can't be used.
    pub fn add(
        &mut self,
        phandle: u32,
        controller: Box<dyn Controller>,
        parent: Option<Irq>,
    ) -> Result<(), IrqError> {
        if let Some(parent) = parent {
            let taken = self.chips.iter().any(|chip| chip.parent == Some(parent));
            let line = self.line_mut(parent)?;
            if taken || line.action.is_some() {
                return Err(IrqError::Busy(parent));
            }
            let (chip, hwirq) = (line.chip, line.input.hwirq);
            self.chips[chip].controller.enable(hwirq);
        }
        self.chips.push(Chip { controller, phandle, parent });
        Ok(())
    }

    /// The interrupt that a specifier means to the controller `phandle`, with its trigger set.
    ///
    /// # Errors
    /// [`IrqError::NoController`], [`IrqError::Specifier`].
    pub fn map(&mut self, phandle: u32, cells: &[u32]) -> Result<Irq, IrqError> {
        let known = self.chips.iter().position(|chip| chip.phandle == phandle);
        let chip = known.ok_or(IrqError::NoController { phandle })?;
        let controller = &mut self.chips[chip].controller;
        let input = controller.decode(cells)?;
        let same = |line: &Line| line.chip == chip && line.input.hwirq == input.hwirq;
        if let Some(at) = self.lines.iter().position(same) {
            return Ok(Irq(FIRST + at as u32));
        }
        controller.configure(input);
        self.lines.push(Line { chip, input, count: 0, action: None });
        Ok(Irq(FIRST + self.lines.len() as u32 - 1))
    }

    /// Sets the handler of an interrupt and lets it through. `name` is the last column of `/proc/interrupts`.
    ///
    /// # Errors
    /// [`IrqError::NotMapped`], [`IrqError::Busy`].
    pub fn request(&mut self, irq: Irq, name: &'static str, handler: Handler) -> Result<(), IrqError> {
        let chained = self.chips.iter().any(|chip| chip.parent == Some(irq));
        let line = self.line_mut(irq)?;
        if chained || line.action.is_some() {
            return Err(IrqError::Busy(irq));
        }
        line.action = Some((name, handler));
        let (chip, hwirq) = (line.chip, line.input.hwirq);
        self.chips[chip].controller.enable(hwirq);
        Ok(())
    }

    /// Holds an interrupt back and forgets its handler.
    ///
    /// # Errors
    /// [`IrqError::NotMapped`].
    pub fn free(&mut self, irq: Irq) -> Result<(), IrqError> {
        let line = self.line_mut(irq)?;
        line.action = None;
        let (chip, hwirq) = (line.chip, line.input.hwirq);
        self.chips[chip].controller.disable(hwirq);
        Ok(())
    }

    /// Takes the next active interrupt. The caller goes on until there is none.
    pub fn begin(&mut self) -> Option<Delivery> {
        let root = self.chips.first_mut()?.controller.acknowledge()?;
        let mut acks = [Some((0, root)), None];
        let mut line = self.find(0, root.hwirq);
        if let Some(chip) = line.and_then(|at| self.chained(at)) {
            let inner = self.chips[chip].controller.acknowledge();
            acks[1] = inner.map(|ack| (chip, ack));
            line = inner.and_then(|ack| self.find(chip, ack.hwirq));
        }
        let handler = line.and_then(|at| {
            self.lines[at].count = self.lines[at].count.wrapping_add(1);
            self.lines[at].action.map(|(_, handler)| handler)
        });
        if handler.is_none() {
            self.reject(acks);
        }
        let name = line.and_then(|at| self.lines[at].action).map(|(name, _)| name);
        let line = line.zip(name).map(|(at, name)| (Irq(FIRST + at as u32), name));
        Some(Delivery { handler, line, acks })
    }

    /// Tells the controllers that the handler is through.
    pub fn end(&mut self, delivery: Delivery) {
        for (chip, ack) in delivery.acks.into_iter().rev().flatten() {
            self.chips[chip].controller.end(ack);
        }
    }

    /// Holds back the input that nobody handles: a level would otherwise never let the CPU go.
    fn reject(&mut self, acks: [Option<(usize, Ack)>; 2]) {
        self.errors = self.errors.wrapping_add(1);
        let Some((chip, ack)) = acks.into_iter().flatten().last() else { return };
        if self.find(chip, ack.hwirq).and_then(|at| self.chained(at)).is_none() {
            self.chips[chip].controller.disable(ack.hwirq);
        }
    }

    /// Lets the CPU that calls it take interrupts. Every CPU but the first does, before it unmasks them.
    pub fn init_cpu(&mut self) {
        self.chips.iter_mut().for_each(|chip| chip.controller.init_cpu());
    }

    fn find(&self, chip: usize, hwirq: u32) -> Option<usize> {
        self.lines.iter().position(|line| line.chip == chip && line.input.hwirq == hwirq)
    }

    /// The controller behind a line.
    fn chained(&self, line: usize) -> Option<usize> {
        let irq = Irq(FIRST + line as u32);
        self.chips.iter().position(|chip| chip.parent == Some(irq))
    }

    fn line_mut(&mut self, irq: Irq) -> Result<&mut Line, IrqError> {
        let at = irq.0.checked_sub(FIRST).ok_or(IrqError::NotMapped(irq))?;
        self.lines.get_mut(at as usize).ok_or(IrqError::NotMapped(irq))
    }

    /// Times that an interrupt was delivered.
    ///
    /// # Errors
    /// [`IrqError::NotMapped`].
    pub fn count(&self, irq: Irq) -> Result<u32, IrqError> {
        let at = irq.0.checked_sub(FIRST).ok_or(IrqError::NotMapped(irq))?;
        self.lines.get(at as usize).map(|line| line.count).ok_or(IrqError::NotMapped(irq))
    }
}

impl fmt::Display for Irqs {
    /// `/proc/interrupts` of a machine with one CPU. Source: Linux 6.1 `kernel/irq/proc.c` (`show_interrupts`)
    /// and `arch/arm/kernel/irq.c`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:11}CPU0       ", "")?;
        for (at, line) in self.lines.iter().enumerate() {
            let Some((name, _)) = line.action else { continue };
            let Line { chip, input: Input { hwirq, trigger }, count, .. } = line;
            let chip = self.chips[*chip].controller.name();
            let (irq, trigger) = (FIRST + at as u32, Trigger::name(*trigger));
            writeln!(f, "{irq:3}: {count:10}  {chip:>8} {hwirq:3} {trigger:<8}  {name}")?;
        }
        writeln!(f, "Err: {:10}", self.errors)
    }
}
