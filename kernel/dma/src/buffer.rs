//! Buffers of DMA memory, as ownership tokens (invariant 2).

use crate::DmaAddr;
use crate::access::Region;
use crate::pool::PoolSpan;
use crate::remap::Caching;
use core::ptr::NonNull;
use mm::pages::PageRun;
use types::PhysAddr;

/// What a buffer is returned to.
#[derive(Debug)]
pub(crate) enum Source<B> {
    Contiguous(B),
    /// The same outside of the linear map: the CPU's mapping is the buffer's own.
    Mapped(B),
    Pages(PageRun),
    Atomic(PoolSpan),
    Private(usize, PoolSpan),
}

/// A buffer that the CPU and the device may both use at any time: an ownership token (invariant 2).
#[derive(Debug)]
#[must_use = "dropping the token leaks the buffer"]
pub struct Coherent<B> {
    pub(crate) region: Region,
    pub(crate) phys: PhysAddr,
    pub(crate) addr: DmaAddr,
    pub(crate) caching: Caching,
    pub(crate) source: Source<B>,
}

impl<B> Coherent<B> {
    /// Where the CPU sees it.
    pub const fn cpu(&self) -> NonNull<u8> {
        self.region.start()
    }

    /// Where the device sees it.
    pub const fn addr(&self) -> DmaAddr {
        self.addr
    }

    /// The memory.
    pub const fn phys(&self) -> PhysAddr {
        self.phys
    }

    /// Bytes: what was asked for, in whole pages.
    pub const fn size(&self) -> u32 {
        self.region.len() as u32
    }

    /// Whether it is from a device's own pool.
    pub const fn is_pooled(&self) -> bool {
        matches!(self.source, Source::Private(..))
    }

    /// Whether the CPU's mapping is uncached.
    pub fn is_uncached(&self) -> bool {
        self.caching == Caching::Uncached
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// When they aren't all inside.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        self.region.read(offset, bytes);
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// When they aren't all inside.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.region.write(offset, bytes);
    }

    /// The little-endian word at `offset`, in one access.
    ///
    /// # Panics
    /// When it isn't inside, or not a multiple of four.
    #[must_use]
    pub fn read_u32(&self, offset: usize) -> u32 {
        self.region.read_u32(offset)
    }

    /// Stores a little-endian word, in one access.
    ///
    /// # Panics
    /// As [`Coherent::read_u32`].
    pub fn write_u32(&mut self, offset: usize, word: u32) {
        self.region.write_u32(offset, word);
    }

    pub(crate) const fn region(&self) -> &Region {
        &self.region
    }
}

/// A buffer that is contiguous and reachable, but cached: it is handed over by sync, like a streaming one.
#[derive(Debug)]
#[must_use = "dropping the token leaks the buffer"]
pub struct Noncoherent<B>(pub(crate) Coherent<B>);

impl<B> Noncoherent<B> {
    /// Where the device sees it.
    pub const fn addr(&self) -> DmaAddr {
        self.0.addr
    }

    /// Bytes.
    pub const fn size(&self) -> u32 {
        self.0.size()
    }

    /// The bytes. Only in the CPU's turn: before the first `sync_for_device` and after each `sync_for_cpu`
    /// ([`crate::Streaming`]); use [`crate::DmaStream`] over it to have that checked.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.0.region.bytes_mut()
    }
}
