//! The DMA API: memory that the CPU and bus masters share, without surprises.
//!
//! Keeps invariant 5 (one set of memory attributes a page: an uncached buffer's linear mapping is uncached too) and
//! invariant 6 (a buffer belongs to the CPU or to the device, on whole cache lines).
//!
//! ```text
//!  coherent: both may touch it at any time       streaming: it belongs to one of them
//!  Dma::alloc_coherent ...                       Streaming::map_single, map_page, map_sg; DmaStream
//!    |- the device's own pool                      |- dma_addr_t by the device's ranges, mask checked
//!    |- CMA (its area, the default one)            |- clean or invalidate by direction (sync)
//!    |- pages                                      '- remembered, with the place of the mapping (debug)
//!    '- the atomic pool
//!  small objects: DmaPool over coherent pages    virtio: what `virtio_drivers::Hal` asks for
//! ```
//!
//! What is needed of the kernel is in [`Platform`]; nothing here locks. Source: Linux 6.1 `kernel/dma/`,
//! `arch/arm/mm/dma-mapping.c`, `mm/dmapool.c`, in words: `Documentation/core-api/dma-api.rst`.
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

mod access;
mod bitmap;
mod buffer;
mod coherent;
mod debug;
mod device;
mod direction;
mod error;
mod handles;
mod idle;
mod mmap;
mod platform;
mod pool;
mod remap;
mod scatter;
mod small;
mod source;
mod steps;
mod stream;
mod streaming;
mod sync;
pub mod virtio;

pub use bitmap::Bitmap;
pub use buffer::{Coherent, Noncoherent};
pub use coherent::{AreasWanted, Config, Dma};
pub use debug::{Mapped, Mappings};
pub use device::{BusRange, BusRanges, Device, DmaAddr, RangesFull};
pub use direction::{Bidirectional, Direction, DmaDirection, FromDevice, ToDevice};
pub use error::DmaError;
pub use handles::Handles;
pub use idle::Idle;
pub use platform::{Areas, Contiguous, ContiguousError, CpuView, Pages, Platform, PlatformFor};
pub use pool::{PagePool, PoolTooLarge};
pub use remap::make_uncached;
pub use scatter::SgEntry;
pub use small::{DmaPool, PoolBlock, PoolError, PoolPage};
pub use source::MAX_AREAS;
pub use steps::{Fresh, Retired};
pub use stream::{ByCpu, ByDevice, DmaStream};
pub use streaming::{Mapper, Streaming};
