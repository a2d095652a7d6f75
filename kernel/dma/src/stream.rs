//! A streaming buffer whose owner and direction are in its type (invariant 6).
//!
//! ```text
//! map(&mut [u8]) --> DmaStream<.., ByDevice> --sync_for_cpu--> DmaStream<.., ByCpu>  derefs to [u8]
//!                            ^  \                    /  |
//!                            |   '----- unmap <-----'   |
//!                            '------ sync_for_device ---'
//! ```
//!
//! While the device owns it there is no reference to the memory, only an address; the borrow of the caller's slice
//! keeps everybody else out. A stream that is dropped without `unmap` is reported with the place of its mapping; the
//! slice must then be taken for lost, because the device may still write it.
//!
//! The CPU can't touch what the device owns; this does not compile:
//!
//! ```compile_fail,E0608
//! fn peek(stream: dma::DmaStream<'_, dma::FromDevice, dma::ByDevice>) -> u8 {
//!     stream[0]
//! }
//! ```
//!
//! This does:
//!
//! ```
//! fn peek(stream: &dma::DmaStream<'_, dma::FromDevice, dma::ByCpu>) -> u8 {
//!     stream[0]
//! }
//! ```

use crate::access::Region;
use crate::{CpuView, Device, Direction, DmaAddr, DmaError, Mapper, Streaming};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::panic::Location;
use hal::{CacheOps, LinearMap};
use types::PhysAddr;

/// The CPU's turn.
#[derive(Debug)]
pub enum ByCpu {}
/// The device's turn.
#[derive(Debug)]
pub enum ByDevice {}

#[derive(Clone, Copy, Debug)]
struct Parts {
    region: Region,
    addr: DmaAddr,
    at: &'static Location<'static>,
}

/// See the [module](self).
#[derive(Debug)]
#[must_use = "the device keeps the buffer until it is unmapped"]
pub struct DmaStream<'b, D: Direction, O> {
    parts: Parts,
    borrow: PhantomData<(&'b mut [u8], D, O)>,
}

impl<'b, D: Direction, O> DmaStream<'b, D, O> {
    const fn of(parts: Parts) -> Self {
        Self { parts, borrow: PhantomData }
    }

    /// Takes the stream apart without the report of a dropped one.
    const fn into_parts(self) -> Parts {
        let parts = self.parts;
        core::mem::forget(self);
        parts
    }

    /// Where the device sees the buffer.
    #[must_use]
    pub const fn addr(&self) -> DmaAddr {
        self.parts.addr
    }

    /// Bytes.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.parts.region.len() as u32
    }
}

/// Refuses a buffer that the device writes and that doesn't fill its cache lines.
fn check_lines(cpu: &impl CpuView, region: &Region) -> Result<(), DmaError> {
    let phys = cpu.linear().phys(region.start().as_ptr()).unwrap_or(PhysAddr::new(0));
    let (line, size) = (cpu.cache().line_size() as u32, region.len() as u32);
    if (phys.get() | size) & (line - 1) == 0 {
        Ok(())
    } else {
        Err(DmaError::SharesLine { phys, size, line })
    }
}

impl<'b, D: Direction> DmaStream<'b, D, ByDevice> {
    /// Hands `buffer`, in lowmem, to the device.
    ///
    /// # Errors
    /// As [`Streaming::map_single`], and [`DmaError::SharesLine`] when the device may write it (what it only reads
    /// may share lines: cleaning harms nobody).
    #[track_caller]
    pub fn map<A: Copy, M: Mapper<A>>(
        streaming: &mut Streaming<'_>,
        cpu: &M,
        device: &Device<'static, A>,
        buffer: &'b mut [u8],
    ) -> Result<Self, DmaError> {
        let region = Region::of_slice(buffer);
        if D::DIRECTION.device_writes() && !device.coherent {
            check_lines(cpu, &region)?;
        }
        let addr = M::map_single(streaming, cpu, device, region.start(), region.len() as u32, D::DIRECTION)?;
        Ok(Self::of(Parts { region, addr, at: Location::caller() }))
    }

    /// The CPU's turn.
    pub fn sync_for_cpu<A: Copy>(
        self,
        streaming: &mut Streaming<'_>,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
    ) -> DmaStream<'b, D, ByCpu> {
        streaming.sync_for_cpu(cpu, device, self.addr(), self.size(), D::DIRECTION);
        DmaStream::of(self.into_parts())
    }

    /// Takes the buffer back for good: what the device wrote is in the slice.
    pub fn unmap<A: Copy, M: Mapper<A>>(
        self,
        streaming: &mut Streaming<'_>,
        cpu: &M,
        device: &Device<'static, A>,
    ) {
        M::unmap_single(streaming, cpu, device, self.addr(), self.size(), D::DIRECTION);
        self.into_parts();
    }
}

impl<'b, D: Direction> DmaStream<'b, D, ByCpu> {
    /// The device's turn again.
    pub fn sync_for_device<A: Copy>(
        self,
        streaming: &mut Streaming<'_>,
        cpu: &impl CpuView,
        device: &Device<'static, A>,
    ) -> DmaStream<'b, D, ByDevice> {
        streaming.sync_for_device(cpu, device, self.addr(), self.size(), D::DIRECTION);
        DmaStream::of(self.into_parts())
    }

    /// Ends the mapping. No maintenance: the device doesn't have the buffer, and what the CPU wrote since its turn
    /// began must stay.
    pub fn unmap<A: Copy>(self, streaming: &mut Streaming<'_>, device: &Device<'static, A>) {
        streaming.mappings_mut().remove(device.name, self.addr(), self.size(), D::DIRECTION);
        self.into_parts();
    }
}

impl<D: Direction> Deref for DmaStream<'_, D, ByCpu> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.parts.region.bytes()
    }
}

impl<D: Direction> DerefMut for DmaStream<'_, D, ByCpu> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.parts.region.bytes_mut()
    }
}

impl<D: Direction, O> Drop for DmaStream<'_, D, O> {
    fn drop(&mut self) {
        log::error!(
            "DMA-API: mapping of {} bytes at {} was dropped without unmap [mapped with {}] [mapped at {}]",
            self.size(),
            self.addr(),
            D::DIRECTION,
            self.parts.at
        );
    }
}
