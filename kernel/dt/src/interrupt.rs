//! A device's interrupts: which controller, and what it is told.
//!
//! ```text
//! device: interrupts <5>      parent bus: interrupt-map <.. 5 &gic 0 5 4>      gic: interrupt-controller
//!         cells [5]        ->             nexus                            ->       cells [0, 5, 4]
//! ```
//!
//! `interrupts-extended` wins over `interrupts`. Chains of nexus nodes are followed up to a fixed length, so a
//! tree whose phandles form a ring ends in an error.
//!
//! Source: Devicetree Specification 0.4, section 2.4; Linux 6.1 `drivers/of/irq.c`.

use crate::flat::be32;
use crate::node::Node;
use core::fmt;

/// Most cells of an interrupt specifier; Linux's `MAX_PHANDLE_ARGS`.
pub const MAX_INTERRUPT_CELLS: usize = 16;
/// More nexus nodes or parents than any real tree chains.
const MAX_HOPS: usize = 64;

/// An interrupt, as its controller's driver wants it told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupt<'a> {
    /// The controller.
    pub controller: Node<'a>,
    cells: [u32; MAX_INTERRUPT_CELLS],
    len: usize,
}

impl Interrupt<'_> {
    /// The specifier: as many cells as the controller's `#interrupt-cells`.
    #[must_use]
    pub fn cells(&self) -> &[u32] {
        &self.cells[..self.len]
    }

    /// The controller's phandle.
    #[must_use]
    pub fn phandle(&self) -> Option<u32> {
        self.controller.phandle()
    }
}

/// Why an interrupt can't be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterruptError<'a> {
    /// The device has no such interrupt.
    NoEntry {
        /// The device.
        node: Node<'a>,
        /// The interrupt asked for.
        index: usize,
    },
    /// No interrupt parent, or a phandle that leads nowhere.
    NoParent {
        /// The device or nexus.
        node: Node<'a>,
    },
    /// `#interrupt-cells` is absent or above [`MAX_INTERRUPT_CELLS`].
    Cells {
        /// The controller or nexus.
        node: Node<'a>,
    },
    /// The nexus has no entry for this interrupt, or a broken one.
    NotMapped {
        /// The nexus.
        node: Node<'a>,
    },
    /// The chain of nexus nodes has no end.
    Ring {
        /// A node of it.
        node: Node<'a>,
    },
}

impl fmt::Display for InterruptError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntry { node, index } => write!(f, "OF: {}: no interrupt {index}", node.path()),
            Self::NoParent { node } => write!(f, "OF: {}: no interrupt parent", node.path()),
            Self::Cells { node } => write!(f, "OF: {}: bad #interrupt-cells", node.path()),
            Self::NotMapped { node } => write!(f, "OF: {}: interrupt is not in interrupt-map", node.path()),
            Self::Ring { node } => write!(f, "OF: {}: interrupt parents form a ring", node.path()),
        }
    }
}

impl core::error::Error for InterruptError<'_> {}

fn cell_count<'a>(node: Node<'a>) -> Result<usize, InterruptError<'a>> {
    let cells = node.u32("#interrupt-cells").map(|n| n as usize);
    cells.filter(|&n| n <= MAX_INTERRUPT_CELLS).ok_or(InterruptError::Cells { node })
}

/// The nearest node, through `interrupt-parent` or upwards, that says what its specifiers look like.
fn interrupt_parent<'a>(node: Node<'a>) -> Result<Node<'a>, InterruptError<'a>> {
    let mut at = node;
    for _ in 0..MAX_HOPS {
        let next = match at.u32("interrupt-parent") {
            Some(phandle) => at.tree().by_phandle(phandle),
            None => at.parent(),
        };
        at = next.ok_or(InterruptError::NoParent { node })?;
        if at.has("#interrupt-cells") {
            return Ok(at);
        }
    }
    Err(InterruptError::Ring { node })
}

/// What an entry of an `interrupt-map` leads to.
#[derive(Clone, Copy)]
struct Target<'a> {
    node: Node<'a>,
    unit_bytes: usize,
    cell_bytes: usize,
}

impl<'a> Target<'a> {
    fn of(nexus: Node<'a>, phandle: u32) -> Result<Self, InterruptError<'a>> {
        let node = nexus.tree().by_phandle(phandle).ok_or(InterruptError::NoParent { node: nexus })?;
        let unit_cells = node.u32("#address-cells").unwrap_or(0) as usize;
        let unit_bytes = unit_cells.checked_mul(4).ok_or(InterruptError::NotMapped { node: nexus })?;
        Ok(Self { node, unit_bytes, cell_bytes: cell_count(node)? * 4 })
    }
}

impl<'a> Interrupt<'a> {
    fn read(controller: Node<'a>, cells: &[u8]) -> Self {
        let mut interrupt = Self { controller, cells: [0; MAX_INTERRUPT_CELLS], len: 0 };
        for (slot, word) in interrupt.cells.iter_mut().zip(cells.as_chunks().0) {
            *slot = u32::from_be_bytes(*word);
            interrupt.len += 1;
        }
        interrupt
    }

    /// Follows `interrupt-map` until a controller; `unit` is the device's address on its bus, in cells.
    fn resolve(mut self, mut unit: &'a [u8]) -> Result<Self, InterruptError<'a>> {
        for _ in 0..MAX_HOPS {
            if self.controller.has("interrupt-controller") {
                return Ok(self);
            }
            if self.controller.has("interrupt-map") {
                (self, unit) = self.mapped(unit)?;
            } else {
                // A parent in name only: Linux asks the next one with the same specifier.
                self.controller = interrupt_parent(self.controller)?;
            }
        }
        Err(InterruptError::Ring { node: self.controller })
    }

    /// The entry of the nexus for this interrupt of the device at `unit`, and that entry's unit address.
    fn mapped(&self, unit: &[u8]) -> Result<(Self, &'a [u8]), InterruptError<'a>> {
        let node = self.controller;
        let not_mapped = InterruptError::NotMapped { node };
        let map = node.property("interrupt-map").ok_or(not_mapped)?.value;
        let mask = node.property("interrupt-map-mask").map(|p| p.value);
        let address_cells = node.lineage().upwards().find_map(|n| n.u32("#address-cells")).unwrap_or(2);
        let address_cells = Some(address_cells as usize).filter(|&n| n <= 4).ok_or(not_mapped)?;
        let key_cells = address_cells + self.len;
        let wanted = |i: usize| match i.checked_sub(address_cells) {
            Some(cell) => self.cells[cell],
            None => be32(unit, i * 4).unwrap_or(0),
        };
        let mask_at = |i: usize| mask.map_or(u32::MAX, |m| be32(m, i * 4).unwrap_or(0));
        let same = |key, i| (wanted(i) ^ be32(key, i * 4).unwrap_or(0)) & mask_at(i) == 0;
        // Entries of one map mostly name one parent, and a phandle takes a walk through the tree to find.
        let mut last: Option<(u32, Target<'a>)> = None;
        let mut rest = map;
        while !rest.is_empty() {
            let (key, tail) = rest.split_at_checked(key_cells * 4).ok_or(not_mapped)?;
            let phandle = be32(tail, 0).ok_or(not_mapped)?;
            let target = match last {
                Some((known, target)) if known == phandle => target,
                _ => Target::of(node, phandle)?,
            };
            last = Some((phandle, target));
            let (new_unit, tail) = tail[4..].split_at_checked(target.unit_bytes).ok_or(not_mapped)?;
            let (cells, tail) = tail.split_at_checked(target.cell_bytes).ok_or(not_mapped)?;
            if (0..key_cells).all(|i| same(key, i)) {
                return Ok((Self::read(target.node, cells), new_unit));
            }
            rest = tail;
        }
        Err(not_mapped)
    }
}

impl<'a> Node<'a> {
    /// Interrupt `index` of this device.
    ///
    /// # Errors
    /// Says which node on the way is wrong.
    pub fn interrupt(&self, index: usize) -> Result<Interrupt<'a>, InterruptError<'a>> {
        let unit = self.property("reg").map_or(&[][..], |p| p.value);
        let own = match self.extended_interrupt(index) {
            Some(interrupt) => interrupt?,
            None => self.plain_interrupt(index)?,
        };
        own.resolve(unit)
    }

    /// All interrupts of this device, in order, up to the first that can't be told.
    pub fn interrupts(&self) -> impl Iterator<Item = Result<Interrupt<'a>, InterruptError<'a>>> + use<'a> {
        let node = *self;
        let mut failed = false;
        (0..).map_while(move |index| {
            let interrupt = if failed { return None } else { node.interrupt(index) };
            failed = interrupt.is_err();
            let end = matches!(interrupt, Err(InterruptError::NoEntry { .. }));
            (!end).then_some(interrupt)
        })
    }

    fn plain_interrupt(&self, index: usize) -> Result<Interrupt<'a>, InterruptError<'a>> {
        let missing = InterruptError::NoEntry { node: *self, index };
        let property = self.property("interrupts").ok_or(missing)?;
        let parent = interrupt_parent(*self)?;
        let bytes = cell_count(parent)? * 4;
        if bytes == 0 {
            return Err(InterruptError::Cells { node: parent });
        }
        let cells = property.value.chunks_exact(bytes).nth(index).ok_or(missing)?;
        Ok(Interrupt::read(parent, cells))
    }

    /// `None` when there is no `interrupts-extended`.
    fn extended_interrupt(&self, index: usize) -> Option<Result<Interrupt<'a>, InterruptError<'a>>> {
        let mut rest = self.property("interrupts-extended")?.value;
        let missing = InterruptError::NoEntry { node: *self, index };
        for at in 0..=index {
            let Some(phandle) = be32(rest, 0) else { return Some(Err(missing)) };
            let Some(controller) = self.tree().by_phandle(phandle) else {
                return Some(Err(InterruptError::NoParent { node: *self }));
            };
            let bytes = match cell_count(controller) {
                Ok(cells) => cells * 4,
                Err(e) => return Some(Err(e)),
            };
            let Some((cells, tail)) = rest[4..].split_at_checked(bytes) else { return Some(Err(missing)) };
            if at == index {
                return Some(Ok(Interrupt::read(controller, cells)));
            }
            rest = tail;
        }
        Some(Err(missing))
    }
}
