//! What the tree says about RAM: memory nodes, `/chosen` limits and the initrd.
//!
//! Root cells count for everything here, as in Linux, which reads them once (default 1 and 1). Values stay
//! 64 bits wide: what does not fit the machine is for the reader to refuse, with a message.
//!
//! Source: Linux 6.1 `drivers/of/fdt.c` (`early_init_dt_scan_memory`, `_chosen`, `_check_for_usable_mem_range`).

use crate::flat::{Landmark, Tree};
use crate::node::Node;
use crate::value::{CellCounts, Pairs, number};

/// A range of RAM as a memory node gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryRange {
    /// First byte.
    pub base: u64,
    /// Bytes; never 0.
    pub size: u64,
    /// The node says `hotpluggable`.
    pub hotpluggable: bool,
}

/// Physical bounds of the initial RAM disk, as the boot loader gives them: not rounded, not checked against RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Initrd {
    /// First byte.
    pub start: u64,
    /// The byte after the last; not below `start`.
    pub end: u64,
}

impl<'a> Tree<'a> {
    /// The root's own cell counts, which hold for `/memory` and `/reserved-memory`.
    #[must_use]
    pub fn root_cells(&self) -> CellCounts {
        let root = self.root();
        CellCounts {
            address: root.u32("#address-cells").unwrap_or(1),
            size: root.u32("#size-cells").unwrap_or(1),
        }
    }

    /// `/chosen`.
    #[must_use]
    pub fn chosen(&self) -> Option<Node<'a>> {
        self.landmark(Landmark::Chosen)
    }

    /// The enabled children of the root with `device_type = "memory"`.
    pub fn memory_nodes(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let is_memory = |node: &Node<'a>| node.str("device_type") == Some("memory") && node.is_available();
        self.root().children().filter(is_memory)
    }

    /// All RAM: `linux,usable-memory` in place of `reg` where there is one; pairs of size 0 are left out.
    pub fn memory(&self) -> impl Iterator<Item = MemoryRange> + use<'a> {
        self.memory_except(None)
    }

    /// [`Tree::memory`] without the node whose values a tag list replaces.
    pub(crate) fn memory_except(
        &self,
        replaced: Option<Node<'a>>,
    ) -> impl Iterator<Item = MemoryRange> + use<'a> {
        let cells = self.root_cells();
        let rest = self.memory_nodes().filter(move |node| Some(*node) != replaced);
        rest.flat_map(move |node| ranges_of(node, cells))
    }

    /// `linux,usable-memory-range` of `/chosen`: the first caps memory, the second is added again afterwards.
    pub fn usable_memory(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let property = self.chosen().and_then(|chosen| chosen.property("linux,usable-memory-range"));
        let cells = self.root_cells();
        property.map(|p| p.pairs(cells)).into_iter().flatten().take(2)
    }

    /// The initrd of `/chosen`: both bounds present, each as many cells as its property has, in order.
    #[must_use]
    pub fn initrd(&self) -> Option<Initrd> {
        let bound = |name| self.chosen()?.property(name).map(|p| number(p.value));
        let initrd = Initrd { start: bound("linux,initrd-start")?, end: bound("linux,initrd-end")? };
        (initrd.start <= initrd.end).then_some(initrd)
    }

    /// The raw `bootargs` of `/chosen`, up to its NUL.
    #[must_use]
    pub fn bootargs(&self) -> Option<&'a [u8]> {
        let value = self.chosen()?.property("bootargs")?.value;
        Some(until_nul(value))
    }
}

/// `bytes` up to the first NUL.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

fn ranges_of(node: Node<'_>, cells: CellCounts) -> impl Iterator<Item = MemoryRange> {
    let hotpluggable = node.has("hotpluggable");
    let property = node.property("linux,usable-memory").or_else(|| node.property("reg"));
    let pairs: Option<Pairs<'_>> = property.map(|p| p.pairs(cells));
    let range = move |(base, size)| MemoryRange { base, size, hotpluggable };
    pairs.into_iter().flatten().map(range).filter(|r| r.size != 0)
}
