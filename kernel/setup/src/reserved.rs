//! `/memreserve/` and `/reserved-memory`, in Linux 6.1's two passes.
//!
//! ```text
//! pass 1, tree order:   reg nodes are reserved (or marked NOMAP) and recorded; size nodes only recorded
//! sort by (base, size): the ones without an address come first, in the heapsort's order
//! pass 2:               each gets memory if it has none, then whoever matches `compatible` takes it
//! ```
//!
//! Era: 6.1. no-map is a flag of RAM, not its removal, and is refused over what is reserved; a start of an
//! alloc-range bounds the search; what nobody could use is given back; `cma=` beats `linux,cma-default`.
//! 4.9 differs in each of these.
//!
//! Unlike in Linux, a node whose fixed place is also somebody else's is nobody's: as a pool or given back it would take
//! the kernel's own memory, or another device's (invariant 12).
//!
//! Ranges are cut a byte short of the end of the space at once, where Linux keeps the size that the tree gave;
//! so a region that reaches the end of the space can't become a CMA area.
//!
//! Source: Linux 6.1 `drivers/of/fdt.c`, `drivers/of/of_reserved_mem.c`, `kernel/dma/contiguous.c`
//! (`rmem_cma_setup`), `kernel/dma/coherent.c` (`rmem_dma_setup`).

use crate::cma::{CMA_ALIGNMENT, CmaAreas};
use crate::note;
use crate::ram::truncated;
use crate::regions::{NodeRegion, NodeUse, Regions};
use crate::sort::heapsort;
use dt::{ReservedNode, Tree};
use mm::memblock::{ANYWHERE, Memblock, MemblockError, Region, RegionFlags};
use types::{PhysAddr, PhysRange};

const POOL: &str = "shared-dma-pool";
const CACHE_LINE: u32 = 64;

/// Reserves what the tree asks for and hands it to those who match.
pub(crate) struct Reservations<'s, 'm, 'a> {
    pub(crate) memblock: &'s mut Memblock<'m>,
    pub(crate) regions: &'s mut Regions<'a>,
    pub(crate) cma: &'s mut CmaAreas<'a>,
    /// Whether `cma=` was given.
    pub(crate) cma_given: bool,
}

/// A node that matched, but can't be served.
struct Refused;

/// Why a node gets no memory; logged where it is found.
struct NoMemory;

impl<'a> Reservations<'_, '_, 'a> {
    pub(crate) fn run(&mut self, tree: &Tree<'a>) {
        for (base, size) in tree.reservations() {
            let range = truncated(base, size);
            self.share(range, 0);
            note(self.memblock.reserve(range));
        }
        match tree.reserved_memory() {
            Ok(nodes) => nodes.for_each(|node| self.record(node)),
            Err(error) => log::error!("{error}"),
        }
        self.sort();
        (0..self.regions.nodes.len()).for_each(|i| self.serve(i));
    }

    /// Pass 1 for one node.
    fn record(&mut self, node: ReservedNode<'a>) {
        match node.reg() {
            Err(error) => log::error!("{error}"),
            Ok(None) if node.has_size() => self.save(node, PhysRange::default(), false),
            Ok(None) => {}
            Ok(Some(pairs)) => {
                let before = self.regions.nodes.len();
                for (i, (base, size)) in pairs.enumerate() {
                    let range = Wide { base: base as u32, size: size as u32 };
                    let shared = self.reserve_static(node, range, before);
                    if i == 0 {
                        self.save(node, truncated(base, size), shared);
                    }
                }
            }
        }
    }

    fn save(&mut self, node: ReservedNode<'a>, range: PhysRange, shared: bool) {
        let shared = shared && !range.is_empty();
        let region = NodeRegion { node, range, phandle: None, used: NodeUse::Plain, shared };
        if self.regions.nodes.push(region).is_err() {
            log::error!("OF: reserved mem: not enough space for all defined regions.");
        }
    }

    /// Whether some of it was somebody's before, or it could not be reserved, so that anybody can get it.
    fn reserve_static(&mut self, node: ReservedNode<'a>, Wide { base, size }: Wide, before: usize) -> bool {
        let range = PhysRange::new(PhysAddr::new(base), size);
        let shared = self.is_taken(range) | self.share(range, before);
        let (name, mib) = (node.name(), size >> 20);
        let reserved = size != 0 && self.take(range, node.no_map());
        if reserved {
            log::debug!(
                "OF: fdt: Reserved memory: reserved region for node '{name}': base {base:#010x}, size {mib} MiB"
            );
        } else {
            log::error!(
                "OF: fdt: Reserved memory: failed to reserve memory for node '{name}': base {base:#010x}, size {mib} MiB"
            );
        }
        shared || !reserved
    }

    /// Whether memblock has some of it for somebody.
    fn is_taken(&self, range: PhysRange) -> bool {
        let mut regions = self.memblock.memory().regions().iter();
        let nomap = |r: &Region| r.flags().contains(RegionFlags::NOMAP) && r.range().overlaps(range);
        self.memblock.is_region_reserved(range) || regions.any(nomap)
    }

    /// Notes which of the first `nodes_before` nodes and of the other regions overlap a range; whether any do.
    fn share(&mut self, range: PhysRange, nodes_before: usize) -> bool {
        let Regions { nodes, vendor, .. } = &mut *self.regions;
        let nodes = nodes.iter_mut().take(nodes_before).map(|region| (region.range, &mut region.shared));
        let vendor = vendor.iter_mut().map(|region| (region.range, &mut region.shared));
        let shared = nodes.chain(vendor).filter(|(other, _)| other.intersection(range).is_some());
        shared.map(|(_, shared)| *shared = true).count() > 0
    }

    /// A region without no-map overlaps whatever is there already; with it, RAM in use is refused.
    fn take(&mut self, range: PhysRange, no_map: bool) -> bool {
        let m = &mut *self.memblock;
        if !no_map {
            return noted(m.reserve(range));
        }
        let busy = m.overlaps_memory(range) && m.is_region_reserved(range);
        !busy && noted(m.mark_nomap(range))
    }

    fn sort(&mut self) {
        let nodes = &mut self.regions.nodes;
        let key = |nodes: &crate::list::List<NodeRegion<'_>, _>, i| {
            nodes.get(i).map(|r: &NodeRegion<'_>| (r.range.base(), r.range.size()))
        };
        heapsort(
            nodes.len(),
            nodes,
            |nodes, i, j| key(nodes, i) >= key(nodes, j),
            |nodes, i, j| nodes.swap(i, j),
        );
        for (this, next) in nodes.iter().zip(nodes.iter().skip(1)) {
            if this.range.end() > next.range.base() {
                log::error!("OF: reserved mem: OVERLAP DETECTED!");
                log::error!("{} overlaps with {}", Extent(this), Extent(next));
            }
        }
    }

    /// Pass 2 for one entry.
    fn serve(&mut self, i: usize) {
        let Some(mut region) = self.regions.nodes.get(i).copied() else { return };
        region.phandle = region.node.phandle();
        if region.range.is_empty() {
            match self.allocate(&region.node) {
                Ok(range) => region.range = range,
                Err(NoMemory) => region.used = NodeUse::Failed,
            }
        }
        if region.used == NodeUse::Plain {
            region.used = self.hand_over(&region);
        }
        if let Some(slot) = self.regions.nodes.get_mut(i) {
            *slot = region;
        }
    }

    fn hand_over(&mut self, region: &NodeRegion<'a>) -> NodeUse {
        self.match_pool(region).unwrap_or_else(|Refused| {
            log::info!("OF: reserved mem: node {} compatible matching fail", region.node.name());
            let back = if region.node.no_map() {
                self.memblock.clear_nomap(region.range)
            } else {
                self.memblock.free(region.range)
            };
            note(back);
            NodeUse::GivenBack
        })
    }

    /// CMA is asked first, then the coherent pools; the first that takes it wins.
    fn match_pool(&mut self, region: &NodeRegion<'a>) -> Result<NodeUse, Refused> {
        if !region.node.is_compatible(POOL) {
            return Ok(NodeUse::Plain);
        }
        if region.shared {
            let name = region.node.name();
            log::error!("OF: reserved mem: node {name} not used: some of it is somebody else's too");
            return Ok(NodeUse::Plain);
        }
        let used = self.as_cma(region).or_else(|Refused| as_coherent_pool(region))?;
        log::info!("OF: reserved mem: initialized node {}, compatible id {POOL}", region.node.name());
        Ok(used)
    }

    fn as_cma(&mut self, region: &NodeRegion<'a>) -> Result<NodeUse, Refused> {
        let NodeRegion { node, range, .. } = *region;
        if self.cma_given && node.cma_default() {
            log::info!("Reserved memory: bypass {} node, using cmdline CMA params instead", node.name());
            return Err(Refused);
        }
        if !node.reusable() || node.no_map() {
            return Err(Refused);
        }
        if !(range.base().get() | range.size()).is_multiple_of(CMA_ALIGNMENT) {
            log::error!("Reserved memory: incorrect alignment of CMA region");
            return Err(Refused);
        }
        let index =
            self.cma.init_reserved(self.memblock, range, range.size(), node.name()).map_err(|_| {
                log::error!("Reserved memory: unable to setup CMA region");
                Refused
            })?;
        if node.cma_default() {
            self.cma.set_default(index);
        }
        log::info!(
            "Reserved memory: created CMA memory pool at {}, size {} MiB",
            range.base(),
            range.size() >> 20
        );
        Ok(NodeUse::Cma(index))
    }

    /// Memory for a node that has no address.
    fn allocate(&mut self, node: &ReservedNode<'a>) -> Result<PhysRange, NoMemory> {
        let size = say_err(node.size())?.ok_or(NoMemory)? as u32;
        let mut align = say_err(node.alignment())?.unwrap_or(0) as u32;
        let no_map = node.no_map();
        if node.is_compatible(POOL) && node.reusable() && !no_map {
            align = align.max(CMA_ALIGNMENT);
        }
        let align = if align == 0 { CACHE_LINE } else { align };
        let mut take = |start, end| self.allocate_in(size, align, start, end, no_map);
        let found = match say_err(node.alloc_ranges())? {
            None => take(0, ANYWHERE),
            Some(mut ranges) => ranges.find_map(|(start, len)| {
                let (start, end) = (start as u32, (start as u32).wrapping_add(len as u32));
                take(start, if end == 0 { ANYWHERE } else { end })
            }),
        };
        let (name, mib) = (node.name(), size >> 20);
        let Some(range) = found else {
            log::error!("OF: reserved mem: failed to allocate memory for node '{name}': size {mib} MiB");
            return Err(NoMemory);
        };
        let base = range.base();
        log::debug!("OF: reserved mem: allocated memory for '{name}' node: base {base}, size {mib} MiB");
        Ok(range)
    }

    fn allocate_in(
        &mut self,
        size: u32,
        align: u32,
        start: u32,
        end: u32,
        no_map: bool,
    ) -> Option<PhysRange> {
        let range = match self.memblock.phys_alloc_range(size, align, start, end) {
            Ok(range) => range,
            Err(error @ MemblockError::TableFull { .. }) => {
                note(Err(error));
                return None;
            }
            Err(MemblockError::NoSpace { .. }) => return None,
        };
        if no_map && !noted(self.memblock.mark_nomap(range)) {
            note(self.memblock.free(range));
            return None;
        }
        Some(range)
    }
}

fn as_coherent_pool(region: &NodeRegion<'_>) -> Result<NodeUse, Refused> {
    if region.node.reusable() {
        return Err(Refused);
    }
    if !region.node.no_map() {
        log::error!("Reserved memory: regions without no-map are not yet supported");
        return Err(Refused);
    }
    let range = region.range;
    log::info!(
        "Reserved memory: created DMA memory pool at {}, size {} MiB",
        range.base(),
        range.size() >> 20
    );
    Ok(NodeUse::CoherentPool)
}

fn noted(result: Result<(), MemblockError>) -> bool {
    let ok = result.is_ok();
    note(result);
    ok
}

fn say_err<T>(result: Result<T, dt::ReservedError<'_>>) -> Result<T, NoMemory> {
    result.map_err(|error| {
        log::error!("{error}");
        NoMemory
    })
}

/// A tuple cut to 32 bits but not clamped, as messages show it.
struct Wide {
    base: u32,
    size: u32,
}

/// `name (start--end)`.
struct Extent<'r, 'a>(&'r NodeRegion<'a>);

impl core::fmt::Display for Extent<'_, '_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let range = self.0.range;
        write!(f, "{} ({}--{})", self.0.node.name(), range.base(), range.end())
    }
}
