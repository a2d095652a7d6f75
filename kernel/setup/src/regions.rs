//! Reserved regions that are known by name, for drivers to claim later.
//!
//! Two kinds: what the vendor's arguments reserve (`mmap_reserved=`, `mma_heap=`), and the children of
//! `/reserved-memory`. A region has one owner at most: claiming gives a token that is neither `Copy` nor `Clone`
//! (invariant 2).

use crate::list::List;
use dt::ReservedNode;
use types::PhysRange;

/// How many children of `/reserved-memory` are known by name; more stay reserved without being known.
pub const MAX_RESERVED_REGIONS: usize = 64;
/// How many vendor regions there can be.
pub const MAX_VENDOR_REGIONS: usize = 16;

/// Which argument a vendor region comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VendorKind {
    /// `mmap_reserved=`: stays RAM, reserved.
    Mmap,
    /// `mma_heap=`: reserved.
    Heap,
    /// `mma_heap=` with `mma_memblock_remove=1`: no RAM any more, so not in the linear map.
    RemovedHeap,
}

/// A region of the vendor's arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VendorRegion<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is.
    pub range: PhysRange,
    /// What it comes from.
    pub kind: VendorKind,
    /// Some of it is also a node's, or a `/memreserve/` entry's.
    pub shared: bool,
}

/// What became of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeUse {
    /// Reserved, and nobody's: nothing matched, or it is shared.
    Plain,
    /// The CMA area of this index.
    Cma(usize),
    /// A pool for one device's coherent allocations (`shared-dma-pool` with `no-map`).
    CoherentPool,
    /// Its `compatible` matched but could not be served; the memory was given back.
    GivenBack,
    /// No memory was found for it.
    Failed,
}

/// A child of `/reserved-memory`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeRegion<'a> {
    /// The node.
    pub node: ReservedNode<'a>,
    /// Where it is: the first tuple of `reg`, or what was allocated; empty at 0 for none.
    pub range: PhysRange,
    /// What `memory-region` properties refer to it by.
    pub phandle: Option<u32>,
    /// What became of it.
    pub used: NodeUse,
    /// Some of it is also somebody else's: the kernel's, the blob's, another region's; or not to be reserved. Of a node's
    /// further places only those in RAM count.
    pub shared: bool,
}

/// The right to use a named region; there is one at most for each.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping the claim does not give the region back"]
pub struct Claim {
    range: PhysRange,
    mapped: bool,
    /// Its bit in [`Regions::claimed`].
    bit: usize,
}

impl Claim {
    /// Where.
    #[must_use]
    pub const fn range(&self) -> PhysRange {
        self.range
    }

    /// Whether the linear map covers it.
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        self.mapped
    }
}

/// Why a region can't be claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimError {
    /// There is no region of this name.
    Unknown,
    /// Somebody has it.
    Taken(PhysRange),
    /// A CMA area, or memory that was given back or never found: nothing to own.
    NotOwnable(PhysRange),
    /// Some of it is somebody else's too.
    Shared(PhysRange),
}

impl core::fmt::Display for ClaimError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unknown => f.write_str("reserved region: no such name"),
            Self::Taken(range) => write!(f, "reserved region {range}: already claimed"),
            Self::NotOwnable(range) => write!(f, "reserved region {range}: not to be claimed"),
            Self::Shared(range) => write!(f, "reserved region {range}: some of it is somebody else's too"),
        }
    }
}

impl core::error::Error for ClaimError {}

/// All named regions of a boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Regions<'a> {
    pub(crate) nodes: List<NodeRegion<'a>, MAX_RESERVED_REGIONS>,
    pub(crate) vendor: List<VendorRegion<'a>, MAX_VENDOR_REGIONS>,
    /// A bit an entry: the vendor's, then the nodes.
    claimed: u128,
}

impl<'a> Regions<'a> {
    /// No regions.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: List::new(), vendor: List::new(), claimed: 0 }
    }

    /// The children of `/reserved-memory`, in the order in which Linux handles them.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = &NodeRegion<'a>> {
        self.nodes.iter()
    }

    /// The vendor's regions, in the order of their reservation.
    pub fn vendor(&self) -> impl DoubleEndedIterator<Item = &VendorRegion<'a>> {
        self.vendor.iter()
    }

    /// The node that a `memory-region` property refers to.
    #[must_use]
    pub fn by_phandle(&self, phandle: u32) -> Option<&NodeRegion<'a>> {
        self.nodes().find(|region| region.phandle == Some(phandle))
    }

    /// Claims a vendor region, or a node by its name with unit address, until [`Regions::unclaim`].
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim(&mut self, name: &str) -> Result<Claim, ClaimError> {
        let vendor = self.vendor().enumerate().find(|(_, region)| region.name == name);
        if let Some((i, &VendorRegion { range, kind, shared, .. })) = vendor {
            let mapped = kind != VendorKind::RemovedHeap;
            return self.claim_entry(Claim { range, mapped, bit: i }, shared);
        }
        let node = self.nodes().enumerate().find(|(_, region)| region.node.name() == name);
        let (i, &NodeRegion { node, range, used, shared, .. }) = node.ok_or(ClaimError::Unknown)?;
        if !matches!(used, NodeUse::Plain | NodeUse::CoherentPool) || range.is_empty() {
            return Err(ClaimError::NotOwnable(range));
        }
        self.claim_entry(Claim { range, mapped: !node.no_map(), bit: MAX_VENDOR_REGIONS + i }, shared)
    }

    fn claim_entry(&mut self, claim: Claim, shared: bool) -> Result<Claim, ClaimError> {
        let bit = 1 << claim.bit;
        if shared {
            Err(ClaimError::Shared(claim.range))
        } else if self.claimed & bit != 0 {
            Err(ClaimError::Taken(claim.range))
        } else {
            self.claimed |= bit;
            Ok(claim)
        }
    }

    /// Gives up a claim: the region can be claimed again.
    pub fn unclaim(&mut self, claim: Claim) {
        self.claimed &= !(1 << claim.bit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::PhysAddr;

    #[test]
    fn of_equal_ranges_each_has_its_own_claim() {
        let mut regions = Regions::new();
        let range = PhysRange::new(PhysAddr::new(0x8400_0000), 0x1000);
        for name in ["a", "b"] {
            let region = VendorRegion { name, range, kind: VendorKind::Heap, shared: false };
            assert!(regions.vendor.push(region).is_ok());
        }
        let (_a, b) = (regions.claim("a").unwrap(), regions.claim("b").unwrap());
        regions.unclaim(b);
        assert_eq!(regions.claim("a"), Err(ClaimError::Taken(range)));
        assert!(regions.claim("b").is_ok());
    }
}
