//! Interrupts: controllers, numbers and handlers.
//!
//! ```text
//!   CPU irq ◄── root controller ◄── 8 ── chained controller ◄── 57 ── uart
//!               (BCM2836 L1)             (BCM2835 ARMCTRL)
//!
//!   begin(): root.acknowledge() -> 8 -> chained.acknowledge() -> 57 -> Irq 17, counted, handler handed out
//!   the caller runs the handler without holding the table
//!   end(): chained.end(57), root.end(8)
//! ```
//!
//! A controller numbers its inputs itself (`hwirq`); the table gives every input in use one number of its own,
//! [`Irq`], from 16 on as Linux does. `begin` and `end` are two steps so that the kernel's lock around the table is
//! free while a handler runs (invariant 11): handlers may enable, disable and request interrupts.

mod bcm2835;
mod bcm2836;
mod gic;
mod table;

pub use bcm2835::ArmCtrl;
pub use bcm2836::L1Intc;
pub use gic::Gic;
pub use table::{Delivery, Handler, Irqs};

use core::fmt;

/// An interrupt of the system: the number in the first column of `/proc/interrupts`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Irq(pub u32);

impl fmt::Display for Irq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// When an input counts as active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// As long as the line is at its level.
    Level,
    /// Once per edge.
    Edge,
}

impl Trigger {
    /// From the flags cell of an interrupt specifier: 1 and 2 are edges, 4 and 8 levels, 0 is left to the driver
    /// (`include/dt-bindings/interrupt-controller/irq.h`).
    #[must_use]
    pub const fn from_flags(flags: u32) -> Self {
        if flags & 3 != 0 { Self::Edge } else { Self::Level }
    }

    /// As `/proc/interrupts` names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Level => "Level",
            Self::Edge => "Edge",
        }
    }
}

/// An input of a controller, decoded from the cells of an interrupt specifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Input {
    /// The controller's own number.
    pub hwirq: u32,
    /// How it is triggered.
    pub trigger: Trigger,
}

/// An interrupt that a controller has handed to the CPU and that has to be ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the controller waits for the end of the interrupt"]
pub struct Ack {
    /// The input.
    pub hwirq: u32,
    /// What the controller wants back at the end.
    pub token: u32,
}

/// An interrupt controller. `hwirq` arguments are numbers that [`Controller::decode`] or
/// [`Controller::acknowledge`] gave.
pub trait Controller: Send {
    /// The chip's name in `/proc/interrupts`.
    fn name(&self) -> &'static str;

    /// The input that an interrupt specifier means.
    ///
    /// # Errors
    /// [`IrqError::Specifier`] when the controller has no such input.
    fn decode(&self, cells: &[u32]) -> Result<Input, IrqError>;

    /// Sets the trigger of an input, where it can be set.
    fn configure(&mut self, input: Input);

    /// Lets an input through.
    fn enable(&mut self, hwirq: u32);

    /// Holds an input back.
    fn disable(&mut self, hwirq: u32);

    /// Takes the most urgent active input; `None` when there is none (any more): a spurious interrupt.
    fn acknowledge(&mut self) -> Option<Ack>;

    /// Tells the controller that the handler is through.
    fn end(&mut self, ack: Ack);

    /// Sets up what belongs to the CPU that calls it. The first CPU's part is done when the driver starts.
    fn init_cpu(&mut self) {}
}

/// What can go wrong when interrupts are set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IrqError {
    /// No controller with this phandle has been found.
    NoController {
        /// The phandle, 0 when the tree gives none.
        phandle: u32,
    },
    /// The controller has no input for these cells.
    Specifier {
        /// The first three cells, 0 where there are fewer.
        cells: [u32; 3],
        /// How many there are.
        count: usize,
    },
    /// There is no such interrupt.
    NotMapped(
        /// Its number.
        Irq,
    ),
    /// Somebody handles this interrupt already.
    Busy(
        /// Its number.
        Irq,
    ),
}

impl IrqError {
    /// [`IrqError::Specifier`] of these cells.
    #[must_use]
    pub fn specifier(cells: &[u32]) -> Self {
        let cell = |n| cells.get(n).copied().unwrap_or(0);
        Self::Specifier { cells: [cell(0), cell(1), cell(2)], count: cells.len() }
    }
}

impl fmt::Display for IrqError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoController { phandle } => write!(f, "irq: no controller with phandle {phandle:#x}"),
            Self::Specifier { cells, count } => {
                write!(f, "irq: no input for {count} cells")?;
                cells.iter().take(*count).try_for_each(|cell| write!(f, " {cell}"))
            }
            Self::NotMapped(irq) => write!(f, "irq: {irq} is not mapped"),
            Self::Busy(irq) => write!(f, "irq: {irq} has a handler already"),
        }
    }
}

impl core::error::Error for IrqError {}

#[cfg(test)]
mod tests;
