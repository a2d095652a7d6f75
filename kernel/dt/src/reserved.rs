//! `/reserved-memory`: what each child asks for, and what is wrong with the request in Linux's own words.
//!
//! Nothing is placed here; the order of passes and the sort are the reader's. All lengths are counted in the
//! root's cells, as Linux does.
//!
//! Source: Linux 6.1 `drivers/of/fdt.c` (`fdt_scan_reserved_mem`) and `drivers/of/of_reserved_mem.c`.

use crate::flat::{Landmark, Tree};
use crate::node::Node;
use crate::value::{CellCounts, Pairs, Strings, number};
use core::fmt;

/// Why a request under `/reserved-memory` is not usable. Displays as the line that Linux prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReservedError<'a> {
    /// The parent's cell counts are not the root's, or it has no `ranges`: the whole node is skipped.
    Format,
    /// `reg` is no whole number of pairs: the child is skipped.
    Reg(&'a str),
    /// `size` is not exactly the root's size cells.
    Size(&'a str),
    /// `alignment` is not exactly the root's address cells.
    Alignment(&'a str),
    /// `alloc-ranges` is no whole number of pairs.
    AllocRanges(&'a str),
}

impl fmt::Display for ReservedError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str("OF: fdt: Reserved memory: unsupported node format, ignoring"),
            Self::Reg(node) => {
                write!(f, "OF: fdt: Reserved memory: invalid reg property in '{node}', skipping node.")
            }
            Self::Size(node) => write!(f, "OF: reserved mem: invalid size property in '{node}' node."),
            Self::Alignment(node) => {
                write!(f, "OF: reserved mem: invalid alignment property in '{node}' node.")
            }
            Self::AllocRanges(node) => {
                write!(f, "OF: reserved mem: invalid alloc-ranges property in '{node}', skipping node.")
            }
        }
    }
}

impl core::error::Error for ReservedError<'_> {}

/// An enabled child of `/reserved-memory`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReservedNode<'a> {
    node: Node<'a>,
    cells: CellCounts,
}

impl<'a> ReservedNode<'a> {
    /// The node itself.
    #[must_use]
    pub fn node(&self) -> Node<'a> {
        self.node
    }

    /// The name with its unit address, which Linux's messages and lists use.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.node.name()
    }

    /// What `memory-region` properties refer to it by.
    #[must_use]
    pub fn phandle(&self) -> Option<u32> {
        self.node.phandle()
    }

    /// The fixed (base, size) pairs of `reg`; `None` when there is no `reg`.
    ///
    /// # Errors
    /// [`ReservedError::Reg`].
    pub fn reg(&self) -> Result<Option<Pairs<'a>>, ReservedError<'a>> {
        self.pairs("reg", ReservedError::Reg(self.name()))
    }

    /// Whether there is a `size`, of any length: without `reg` this makes the node a dynamic one.
    #[must_use]
    pub fn has_size(&self) -> bool {
        self.node.has("size")
    }

    /// Bytes asked for; `None` when there is no `size`.
    ///
    /// # Errors
    /// [`ReservedError::Size`].
    pub fn size(&self) -> Result<Option<u64>, ReservedError<'a>> {
        self.number("size", self.cells.size, ReservedError::Size(self.name()))
    }

    /// Alignment asked for, in bytes; `None` when there is no `alignment`. It may be 0 or no power of two.
    ///
    /// # Errors
    /// [`ReservedError::Alignment`].
    pub fn alignment(&self) -> Result<Option<u64>, ReservedError<'a>> {
        self.number("alignment", self.cells.address, ReservedError::Alignment(self.name()))
    }

    /// The (base, size) windows to allocate from, in order; `None` when there is no `alloc-ranges`.
    ///
    /// # Errors
    /// [`ReservedError::AllocRanges`].
    pub fn alloc_ranges(&self) -> Result<Option<Pairs<'a>>, ReservedError<'a>> {
        self.pairs("alloc-ranges", ReservedError::AllocRanges(self.name()))
    }

    /// `no-map`: not to be in the linear map.
    #[must_use]
    pub fn no_map(&self) -> bool {
        self.node.has("no-map")
    }

    /// `reusable`: the system may use it for movable pages meanwhile.
    #[must_use]
    pub fn reusable(&self) -> bool {
        self.node.has("reusable")
    }

    /// `linux,cma-default`: to be the default CMA area.
    #[must_use]
    pub fn cma_default(&self) -> bool {
        self.node.has("linux,cma-default")
    }

    /// The `compatible` strings.
    #[must_use]
    pub fn compatible(&self) -> Strings<'a> {
        self.node.compatible()
    }

    /// Whether any `compatible` string equals `model`, ignoring case.
    #[must_use]
    pub fn is_compatible(&self, model: &str) -> bool {
        self.node.is_compatible(model)
    }

    fn number(&self, name: &str, cells: u32, e: ReservedError<'a>) -> Result<Option<u64>, ReservedError<'a>> {
        let Some(property) = self.node.property(name) else { return Ok(None) };
        let exact = Some(property.value.len()) == (cells as usize).checked_mul(4);
        if exact { Ok(Some(number(property.value))) } else { Err(e) }
    }

    fn pairs(&self, name: &str, e: ReservedError<'a>) -> Result<Option<Pairs<'a>>, ReservedError<'a>> {
        let Some(property) = self.node.property(name) else { return Ok(None) };
        let bytes = self.cells.pair_bytes().ok_or(e)?;
        if property.value.len().is_multiple_of(bytes) { Ok(Some(property.pairs(self.cells))) } else { Err(e) }
    }
}

impl<'a> Tree<'a> {
    /// The enabled children of `/reserved-memory` in the tree's order; none when there is no such node.
    ///
    /// # Errors
    /// [`ReservedError::Format`]: the node as a whole can't be used.
    pub fn reserved_memory(
        &self,
    ) -> Result<impl Iterator<Item = ReservedNode<'a>> + use<'a>, ReservedError<'a>> {
        let cells = self.root_cells();
        let parent = self.landmark(Landmark::ReservedMemory);
        let usable = |node: &Node<'a>| {
            node.u32("#address-cells") == Some(cells.address)
                && node.u32("#size-cells") == Some(cells.size)
                && node.has("ranges")
        };
        if parent.as_ref().is_some_and(|node| !usable(node)) {
            return Err(ReservedError::Format);
        }
        let children = parent.into_iter().flat_map(|node| node.children());
        Ok(children.filter(Node::is_available).map(move |node| ReservedNode { node, cells }))
    }
}
