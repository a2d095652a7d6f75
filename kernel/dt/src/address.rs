//! From a device's `reg` to the CPU's address space, and from a bus master's view to it.
//!
//! ```text
//! /soc/serial: reg <0x7e201000 0x1000> --ranges of /soc <0x7e000000 0x3f000000 ..>--> 0x3f201000
//! /soc/dma:    bus 0xc0000000          --dma-ranges of /soc <0xc0000000 0 ..>-------> 0x00000000
//! ```
//!
//! Cell counts come from the nearest ancestor that states them, else 1, as in Linux. Addresses of three and
//! four cells (PCI) match on their upper cells exactly and are translated in their lower 64 bits.
//!
//! Source: Linux 6.1 `drivers/of/address.c` (`__of_translate_address`, `of_dma_get_range`,
//! `of_dma_is_coherent`, `of_dma_get_max_cpu_address`).

use crate::flat::Tree;
use crate::node::{Lineage, Node};
use crate::value::{CellCounts, Pairs, Property};
use core::fmt;
use types::{PhysAddr, PhysRange};

/// Why a device's address can't be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressError<'a> {
    /// The property is absent or has no such entry.
    NoEntry {
        /// The device.
        node: Node<'a>,
        /// The entry asked for.
        index: usize,
    },
    /// Cell counts that no address can have: 0 or above 4 for an address, 0 or above 2 for a size.
    Cells {
        /// The bus that has them.
        bus: Node<'a>,
        /// The counts.
        cells: CellCounts,
    },
    /// The bus has no `ranges`: what is on it is not in the CPU's address space.
    NoRanges {
        /// The bus.
        bus: Node<'a>,
    },
    /// No entry of the bus's ranges holds the address.
    NotMapped {
        /// The bus.
        bus: Node<'a>,
        /// The address on that bus.
        address: u64,
    },
    /// The region is empty or does not lie below 4 GiB.
    NotReachable {
        /// First byte.
        base: u64,
        /// Bytes.
        size: u64,
    },
}

impl fmt::Display for AddressError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntry { node, index } => write!(f, "OF: {}: no address {index}", node.path()),
            Self::Cells { bus, cells } => {
                write!(f, "OF: {}: bad cell count {}/{}", bus.path(), cells.address, cells.size)
            }
            Self::NoRanges { bus } => write!(f, "OF: {}: no ranges, can't translate", bus.path()),
            Self::NotMapped { bus, address } => {
                write!(f, "OF: {}: address {address:#x} is in none of its ranges", bus.path())
            }
            Self::NotReachable { base, size } => {
                write!(f, "OF: region {base:#x} size {size:#x} is out of the CPU's reach")
            }
        }
    }
}

impl core::error::Error for AddressError<'_> {}

/// A part of a bus's address space that a bus master on it can reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaRange {
    /// Where the master sees it.
    pub bus: u64,
    /// Where the CPU sees it.
    pub cpu: u64,
    /// Bytes.
    pub size: u64,
}

impl DmaRange {
    /// Its last byte as the CPU sees it; `None` when it is empty.
    fn last(&self) -> Option<u64> {
        Some(self.cpu.saturating_add(self.size.checked_sub(1)?))
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Cpu,
    Dma,
}

impl Direction {
    fn property(self) -> &'static str {
        match self {
            Self::Cpu => "ranges",
            Self::Dma => "dma-ranges",
        }
    }
}

/// Up to four cells as one number.
fn wide(cells: &[u8]) -> u128 {
    cells.as_chunks().0.iter().fold(0, |n, word| n << 32 | u128::from(u32::from_be_bytes(*word)))
}

/// The entries of a bus's ranges, as (address on the bus, address on its parent bus, size).
fn entries<'a>(
    p: Property<'a>,
    child: CellCounts,
    parent: CellCounts,
) -> impl Iterator<Item = (u128, u128, u64)> + use<'a> {
    let (a, b, c) = (child.address as usize * 4, parent.address as usize * 4, child.size as usize * 4);
    p.value.chunks_exact(a + b + c).map(move |entry| {
        let ((bus, rest), size) = (entry.split_at(a), &entry[a + b..]);
        (wide(bus), wide(&rest[..b]), wide(size) as u64)
    })
}

impl<'a> Lineage<'a> {
    fn node(&self) -> Node<'a> {
        self.upwards().next().unwrap_or_else(|| self.root())
    }

    /// The cell counts of addresses on this bus.
    fn cells(&self) -> CellCounts {
        CellCounts { address: self.inherited_u32("#address-cells"), size: self.inherited_u32("#size-cells") }
    }

    fn checked_cells(&self) -> Result<CellCounts, AddressError<'a>> {
        let cells = self.cells();
        let sane = (1..=4).contains(&cells.address) && (1..=2).contains(&cells.size);
        if sane { Ok(cells) } else { Err(AddressError::Cells { bus: self.node(), cells }) }
    }

    /// Translates an address on this bus towards the root.
    fn translate(mut self, mut address: u128, direction: Direction) -> Result<u64, AddressError<'a>> {
        while let Some(above) = self.above() {
            let bus = self.node();
            address = match (bus.property(direction.property()), direction) {
                (None, Direction::Cpu) => return Err(AddressError::NoRanges { bus }),
                (None, Direction::Dma) => address,
                (Some(p), _) if p.value.is_empty() => address,
                (Some(p), _) => entries(p, self.checked_cells()?, above.checked_cells()?)
                    .find_map(|(from, to, size)| {
                        let offset = address.checked_sub(from).filter(|&o| o < u128::from(size))?;
                        (address >> 64 == from >> 64).then(|| to.wrapping_add(offset))
                    })
                    .ok_or(AddressError::NotMapped { bus, address: address as u64 })?,
            };
            self = above;
        }
        Ok(address as u64)
    }

    /// The entries of this bus's `dma-ranges`, those left out that don't translate.
    fn dma_entries(
        self,
        p: Property<'a>,
    ) -> Result<impl Iterator<Item = DmaRange> + use<'a>, AddressError<'a>> {
        let parent = self.above().unwrap_or(self);
        let ranges = entries(p, self.checked_cells()?, parent.checked_cells()?);
        Ok(ranges.filter_map(move |(from, to, size)| {
            let cpu = parent.translate(to, Direction::Dma).ok()?;
            Some(DmaRange { bus: from as u64, cpu, size })
        }))
    }
}

impl<'a> Tree<'a> {
    /// The last byte, as the CPU sees it, that each bus with `dma-ranges` lets its masters reach. Buses that are
    /// disabled, or below one that is, don't count, nor those none of whose entries translate.
    pub fn dma_limits(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.nodes().filter_map(|node| {
            let p = node.property("dma-ranges")?;
            let bus = node.lineage();
            let enabled = bus.upwards().all(|node| node.is_available());
            let ranges = bus.dma_entries(p).ok().filter(|_| enabled)?;
            ranges.filter_map(|range| range.last()).max()
        })
    }
}

impl<'a> Node<'a> {
    /// The (address, size) pairs of `reg` as they stand there: on the parent's bus, not translated.
    #[must_use]
    pub fn reg(&self) -> Pairs<'a> {
        let cells = self.lineage().above().map_or(CellCounts { address: 1, size: 1 }, |bus| bus.cells());
        self.property("reg").map_or(Pairs::NONE, |p| p.pairs(cells))
    }

    /// Entry `index` of `reg` as the CPU addresses it: (base, size), 64 bits wide.
    ///
    /// # Errors
    /// Says which bus on the way has no translation for it.
    pub fn region(&self, index: usize) -> Result<(u64, u64), AddressError<'a>> {
        let missing = AddressError::NoEntry { node: *self, index };
        let bus = self.lineage().above().ok_or(missing)?;
        let cells = bus.checked_cells()?;
        let (address_bytes, bytes) = (cells.address as usize * 4, (cells.address + cells.size) as usize * 4);
        let reg = self.property("reg").ok_or(missing)?;
        let entry = reg.value.chunks_exact(bytes).nth(index).ok_or(missing)?;
        let (address, size) = entry.split_at(address_bytes);
        Ok((bus.translate(wide(address), Direction::Cpu)?, wide(size) as u64))
    }

    /// Entry `index` of `reg` as a range of the 32-bit physical address space.
    ///
    /// # Errors
    /// As [`Node::region`]; also when it does not lie below 4 GiB.
    pub fn mmio(&self, index: usize) -> Result<PhysRange, AddressError<'a>> {
        let (base, size) = self.region(index)?;
        let error = AddressError::NotReachable { base, size };
        let end = base.checked_add(size).filter(|&end| end <= 1 << 32 && size > 0).ok_or(error)?;
        // The range clamps the last byte of the space away, so both halves fit 32 bits.
        let size = (end - base).min(u32::MAX.into());
        Ok(PhysRange::new(PhysAddr::new(base as u32), size as u32))
    }

    /// What a bus master at this node can reach, and where: the entries of the nearest `dma-ranges` above it
    /// that is not empty. `None` when there is none, which means that bus addresses are CPU addresses. As in
    /// Linux, a bus without the property ends the search once another bus has been passed. Entries that
    /// don't translate are left out.
    ///
    /// # Errors
    /// [`AddressError::Cells`].
    pub fn dma_ranges(&self) -> Result<Option<impl Iterator<Item = DmaRange> + use<'a>>, AddressError<'a>> {
        let mut passed_one = false;
        let mut next = self.lineage().above();
        while let Some(bus) = next {
            let above = bus.above();
            match bus.node().property("dma-ranges") {
                Some(p) if !p.value.is_empty() => return bus.dma_entries(p).map(Some),
                None if passed_one => return Ok(None),
                _ => passed_one = true,
            }
            next = above;
        }
        Ok(None)
    }

    /// Whether the CPU's caches see what it reads and writes: it or a bus above says `dma-coherent`.
    #[must_use]
    pub fn is_dma_coherent(&self) -> bool {
        self.lineage().upwards().any(|node| node.has("dma-coherent"))
    }

    /// The nodes that `memory-region` names, in order; `None` for a phandle that leads nowhere.
    pub fn memory_regions(&self) -> impl Iterator<Item = Option<Node<'a>>> + use<'a> {
        let tree = self.tree();
        let phandles = self.property("memory-region").map(|p| p.cells());
        phandles.into_iter().flatten().map(move |phandle| tree.by_phandle(phandle))
    }
}
