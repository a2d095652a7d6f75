//! From a device's node to what the DMA API knows of it.

use ::dma::{BusRange, BusRanges, Device, RangesFull};
use core::fmt;
use dt::{AddressError, Node};

/// Why a node tells no bus master.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceError<'a> {
    /// `dma-ranges` can't be read.
    Address(AddressError<'a>),
    /// There are too many of them.
    Ranges(RangesFull),
}

impl fmt::Display for DeviceError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Ranges(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DeviceError<'_> {}

/// The bus master at `node`: its bus's `dma-ranges` and whether it sees the caches (`dma-coherent`). Masks are those of
/// 32 address bits; areas and pools are the caller's to set.
///
/// # Errors
/// [`DeviceError`].
pub fn device<'a, 'd, A: Copy>(node: Node<'a>, name: &'d str) -> Result<Device<'d, A>, DeviceError<'a>> {
    let mut ranges = BusRanges::default();
    for range in node.dma_ranges().map_err(DeviceError::Address)?.into_iter().flatten() {
        let range = BusRange { cpu: range.cpu, bus: range.bus, size: range.size };
        ranges.add(range).map_err(DeviceError::Ranges)?;
    }
    Ok(Device { ranges, coherent: node.is_dma_coherent(), ..Device::new(name) })
}
