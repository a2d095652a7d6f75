//! Streaming mappings by address: `dma_map_single`, `dma_map_page`, unmap and sync.
//!
//! This is the layer for drivers that keep addresses themselves; [`crate::DmaStream`] adds ownership in types. Like
//! Linux's, it takes buffers that don't fill their cache lines; what shares those lines must then not be touched
//! while the device owns the buffer.

use crate::{CpuView, Device, DmaAddr, DmaDirection, DmaError, Mappings, sync};
use core::ptr::NonNull;
use hal::LinearMap;
use types::{Pfn, PhysAddr};

/// [`Streaming`] as drivers call it for each transfer: a kernel chooses here how that is compiled.
pub trait Mapper<A: Copy>: CpuView + Sized {
    /// [`Streaming::map_single`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    fn map_single(
        streaming: &mut Streaming<'_>,
        cpu: &Self,
        device: &Device<'static, A>,
        start: NonNull<u8>,
        len: u32,
        direction: DmaDirection,
    ) -> Result<DmaAddr, DmaError> {
        streaming.map_single(cpu, device, start, len, direction)
    }

    /// [`Streaming::unmap`].
    fn unmap_single(
        streaming: &mut Streaming<'_>,
        cpu: &Self,
        device: &Device<'static, A>,
        addr: DmaAddr,
        len: u32,
        direction: DmaDirection,
    ) {
        streaming.unmap(cpu, device, addr, len, direction);
    }
}

/// The streaming side of the DMA API.
#[derive(Debug)]
pub struct Streaming<'a> {
    mappings: Mappings<'a>,
    warned: bool,
}

impl<'a> Streaming<'a> {
    /// Without mappings yet.
    #[must_use]
    pub const fn new(mappings: Mappings<'a>) -> Self {
        Self { mappings, warned: false }
    }

    /// What is mapped.
    #[must_use]
    pub const fn mappings(&self) -> &Mappings<'a> {
        &self.mappings
    }

    /// What is mapped, for its checks.
    pub const fn mappings_mut(&mut self) -> &mut Mappings<'a> {
        &mut self.mappings
    }

    /// Hands the `len` bytes at `start`, in lowmem, to the device.
    ///
    /// # Errors
    /// [`DmaError::Empty`], [`DmaError::NotLinear`], [`DmaError::Unreachable`]; the last one is logged, once.
    #[track_caller]
    pub fn map_single<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        start: NonNull<u8>,
        len: u32,
        direction: DmaDirection,
    ) -> Result<DmaAddr, DmaError> {
        let phys = cpu.linear().phys(start.as_ptr()).ok_or(DmaError::NotLinear { phys: PhysAddr::new(0) })?;
        self.map_phys(cpu, device, phys, len, direction)
    }

    /// Hands `len` bytes from `offset` on in the page `pfn` (and the pages after it) to the device; highmem will do.
    ///
    /// # Errors
    /// As [`Streaming::map_single`].
    #[track_caller]
    pub fn map_page<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        (pfn, offset): (Pfn, u32),
        len: u32,
        direction: DmaDirection,
    ) -> Result<DmaAddr, DmaError> {
        let phys = pfn.addr().checked_add(offset).ok_or(DmaError::TooLarge { size: len })?;
        self.map_phys(cpu, device, phys, len, direction)
    }

    #[track_caller]
    #[inline]
    pub(crate) fn map_phys<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        phys: PhysAddr,
        len: u32,
        direction: DmaDirection,
    ) -> Result<DmaAddr, DmaError> {
        if len == 0 {
            return Err(DmaError::Empty);
        }
        let addr = device
            .reach(phys, len, device.dma_mask)
            .inspect_err(|error| self.warn_once(device.name, error))?;
        if !device.coherent {
            sync::for_device(cpu, phys, len, direction);
        }
        self.mappings.add(device.name, addr, len, direction);
        trace::dma_map(device.name, direction as u8, addr.get(), len, phys.get());
        Ok(addr)
    }

    #[cold]
    fn warn_once(&mut self, device: &str, error: &DmaError) {
        if !core::mem::replace(&mut self.warned, true) {
            log::warn!("{device}: {error}");
        }
    }

    /// Takes the buffer back from the device, for good.
    pub fn unmap<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        addr: DmaAddr,
        len: u32,
        direction: DmaDirection,
    ) {
        trace::dma_unmap(direction as u8, addr.get(), len);
        self.mappings.remove(device.name, addr, len, direction);
        Self::to_cpu(cpu, device, addr, len, direction);
    }

    /// Takes a part of a mapped buffer back, for the CPU to look at.
    pub fn sync_for_cpu<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        addr: DmaAddr,
        len: u32,
        direction: DmaDirection,
    ) {
        trace::dma_sync(direction as u8, addr.get(), len, false);
        self.mappings.check_sync(device.name, addr, len, direction);
        Self::to_cpu(cpu, device, addr, len, direction);
    }

    /// Hands a part of a mapped buffer to the device again.
    pub fn sync_for_device<A: Copy>(
        &mut self,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        addr: DmaAddr,
        len: u32,
        direction: DmaDirection,
    ) {
        trace::dma_sync(direction as u8, addr.get(), len, true);
        self.mappings.check_sync(device.name, addr, len, direction);
        if let Some(phys) = device.dma_to_phys(addr).filter(|_| !device.coherent) {
            sync::for_device(cpu, phys, len, direction);
        }
    }

    #[inline]
    fn to_cpu<A: Copy>(
        cpu: &impl CpuView,
        device: &Device<'static, A>,
        addr: DmaAddr,
        len: u32,
        direction: DmaDirection,
    ) {
        if device.coherent || !direction.device_writes() {
            return;
        }
        if let Some(phys) = device.dma_to_phys(addr) {
            sync::for_cpu(cpu, phys, len);
        }
    }
}
