//! Buffers on their way to a caller and back, in steps, so that no lock is held for the length of a large one.
//!
//! ```text
//!              under the lock                    without
//!  Dma::begin  memory from a source ─▶ Fresh ─▶  zero
//!  remap       one piece, again and again        flush ─▶ finish ─▶ Coherent
//!
//!  retire ◀─ Coherent
//!  restore     one piece, again and again
//!  Dma::end    back to the source
//! ```
//!
//! The order matters. While the linear mapping is cacheable, the CPU may fetch lines of it speculatively; so the
//! caches are cleaned after it has become uncached, and before anybody uses it. Lines left behind would be written
//! over the device's data, or come to light when the pages are cacheable again. (Linux cleans before it remaps.)
//! Memory outside of the linear map is mapped once, as the buffer needs it, and nobody else maps it: if that is uncached,
//! the caches are cleaned of what its pages held before, and then it is zeroed.
//! A buffer that is neither finished nor given back leaks.

use crate::DmaError;
use crate::buffer::{Coherent, Source};
use crate::platform::Platform;
use crate::remap::{Caching, set_attr};
use core::fmt;
use hal::{CacheOps, MemAttr};
use types::{PAGE_SIZE, PhysAddr};

impl<B> Coherent<B> {
    /// Whether the linear mapping is this buffer's to change. Pools are mapped for good, and what lies outside of the linear
    /// map is mapped as it shall be.
    const fn remaps(&self) -> bool {
        let own = matches!(self.source, Source::Contiguous(_) | Source::Pages(_));
        own && matches!(self.caching, Caching::Uncached)
    }
}

/// Bytes of a piece of which `left` are left, at most `most`, in whole pages.
fn piece(left: u32, most: u32) -> u32 {
    left.min((most & !(PAGE_SIZE - 1)).max(PAGE_SIZE))
}

/// A buffer that is not ready yet.
#[derive(Debug)]
#[must_use = "dropping it leaks the buffer"]
pub struct Fresh<B> {
    pub(crate) buffer: Coherent<B>,
    /// Bytes whose mapping is as it shall be.
    done: u32,
}

impl<B> Fresh<B> {
    pub(crate) const fn new(buffer: Coherent<B>) -> Self {
        Self { buffer, done: 0 }
    }

    /// Zeroes it. The first step; no lock is needed.
    #[inline]
    pub fn zero(&mut self, cache: &impl CacheOps) {
        let region = &self.buffer.region;
        if self.is_mapped_uncached() {
            cache.flush(region.start().as_ptr(), region.len());
        }
        region.zero();
    }

    fn is_mapped_uncached(&self) -> bool {
        matches!(self.buffer.source, Source::Mapped(_)) && self.buffer.is_uncached()
    }

    /// Maps the next piece, of at most `most` bytes, as the device needs it; whether there is more to do.
    ///
    /// # Errors
    /// [`DmaError`]; then it goes back by [`crate::Dma::recover`].
    #[inline]
    pub fn remap<P: Platform>(&mut self, platform: &mut P, most: u32) -> Result<bool, DmaError> {
        let (phys, size) = (self.buffer.phys, self.buffer.size());
        if !self.buffer.remaps() || self.done == size {
            return Ok(false);
        }
        let piece = piece(size - self.done, most);
        set_attr(platform, PhysAddr::new(phys.get() + self.done), piece, MemAttr::NormalNc)?;
        self.done += piece;
        Ok(self.done < size)
    }

    /// Takes what is left of it out of the caches. The last step; no lock is needed.
    #[inline]
    pub fn finish(self, cache: &impl CacheOps) -> Coherent<B> {
        let Coherent { region, caching, source, .. } = &self.buffer;
        let clean = matches!(source, Source::Atomic(_) | Source::Private(..)) || self.is_mapped_uncached();
        if !clean && *caching != Caching::Snooped {
            cache.flush(region.start().as_ptr(), region.len());
        }
        self.buffer
    }

    /// All steps one after the other, but for the last one.
    #[inline]
    pub(crate) fn prepare<P: Platform>(&mut self, platform: &mut P) -> Result<(), DmaError> {
        self.zero(platform.cache());
        self.remap(platform, u32::MAX).map(|_| ())
    }

    pub(crate) fn retire(self) -> Retired<B> {
        Retired { left: self.done, buffer: self.buffer }
    }
}

/// A buffer that nobody uses any more.
#[derive(Debug)]
#[must_use = "dropping it leaks the buffer"]
pub struct Retired<B> {
    pub(crate) buffer: Coherent<B>,
    /// Bytes, from the start, that are not mapped as ordinary memory yet.
    left: u32,
}

impl<B> Coherent<B> {
    /// Begins to give it back.
    pub fn retire(self) -> Retired<B> {
        trace::dma_free_coherent(self.addr.get(), self.size(), self.cpu().addr().get());
        let left = if self.remaps() { self.size() } else { 0 };
        Retired { buffer: self, left }
    }
}

#[cold]
pub(crate) fn strand(phys: PhysAddr, size: u32, error: &dyn fmt::Display) {
    log::error!("DMA: {phys}+{size} stays uncached and out of use: {error}");
}

impl<B> Retired<B> {
    /// Makes the next piece, of at most `most` bytes, ordinary memory again; whether there is more to do. A buffer with
    /// one that fails stays out of use for good, and the log says so.
    #[inline]
    pub fn restore<P: Platform>(&mut self, platform: &mut P, most: u32) -> bool {
        if self.left == 0 {
            return false;
        }
        let piece = piece(self.left, most);
        let phys = PhysAddr::new(self.buffer.phys.get() + (self.left - piece));
        match set_attr(platform, phys, piece, MemAttr::Normal) {
            Ok(()) => self.left -= piece,
            Err(error) => {
                strand(self.buffer.phys, self.buffer.size(), &error);
                return false;
            }
        }
        self.left > 0
    }

    /// Whether the memory can go back.
    pub(crate) const fn is_ordinary(&self) -> bool {
        self.left == 0
    }
}
