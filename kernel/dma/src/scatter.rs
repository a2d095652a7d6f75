//! Scatter-gather lists: `dma_map_sg` and its relatives. Without an IOMMU each entry stays one of its own.

use crate::{CpuView, Device, DmaAddr, DmaDirection, DmaError, Streaming};
use types::PhysAddr;

/// A stretch of memory, and where the device sees it once it is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SgEntry {
    /// The memory.
    pub phys: PhysAddr,
    /// Bytes.
    pub len: u32,
    /// For the device; set by [`Streaming::map_sg`].
    pub addr: DmaAddr,
}

impl SgEntry {
    /// An entry that isn't mapped.
    #[must_use]
    pub const fn new(phys: PhysAddr, len: u32) -> Self {
        Self { phys, len, addr: DmaAddr::new(u32::MAX) }
    }
}

impl Streaming<'_> {
    /// Hands all entries to the device and fills in their device addresses.
    ///
    /// # Errors
    /// As [`Streaming::map_single`]; no entry is mapped then.
    #[track_caller]
    pub fn map_sg<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        list: &mut [SgEntry],
        direction: DmaDirection,
    ) -> Result<(), DmaError> {
        for at in 0..list.len() {
            match self.map_phys(cpu, device, list[at].phys, list[at].len, direction) {
                Ok(addr) => list[at].addr = addr,
                Err(error) => {
                    self.unmap_sg(cpu, device, &list[..at], direction);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes all entries back.
    pub fn unmap_sg<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        list: &[SgEntry],
        direction: DmaDirection,
    ) {
        list.iter().for_each(|entry| self.unmap(cpu, device, entry.addr, entry.len, direction));
    }

    /// Takes all entries back for the CPU to look at.
    pub fn sync_sg_for_cpu<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        list: &[SgEntry],
        direction: DmaDirection,
    ) {
        list.iter().for_each(|entry| self.sync_for_cpu(cpu, device, entry.addr, entry.len, direction));
    }

    /// Hands all entries to the device again.
    pub fn sync_sg_for_device<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        list: &[SgEntry],
        direction: DmaDirection,
    ) {
        list.iter().for_each(|entry| self.sync_for_device(cpu, device, entry.addr, entry.len, direction));
    }
}
