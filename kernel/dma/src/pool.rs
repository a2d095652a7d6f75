//! Pools of pages that are mapped for DMA already: the atomic pool, and the private pool of a device.
//!
//! A device's pool is a no-map `shared-dma-pool`: the kernel maps it once and hands it in. Its blocks are naturally
//! aligned powers of two, first fit, as `dma_alloc_from_dev_coherent` gives them. The atomic pool gives exact page
//! counts, aligned to the next power of two. [`PagePool::new`] is unsafe: it believes a pointer.

use crate::access::Region;
use crate::{Bitmap, DmaError};
use core::fmt;
use types::{PAGE_SIZE, PhysAddr};

/// The bitmap handed in is too small for the pool, or the pool isn't whole pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolTooLarge {
    /// Bytes of the pool.
    pub size: u32,
}

impl fmt::Display for PoolTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a DMA pool of {} bytes is not whole pages, or more than its bitmap holds", self.size)
    }
}

/// How block sizes are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rounding {
    /// To a power of two of pages.
    Order,
    /// Not at all; only the alignment is.
    Exact,
}

/// Pages with a fixed mapping.
#[derive(Debug)]
pub struct PagePool<'a> {
    phys: PhysAddr,
    region: Region,
    bitmap: Bitmap<'a>,
    rounding: Rounding,
}

/// A block of a pool: its first page and how many there are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PoolSpan {
    pub first: u32,
    pub pages: u32,
}

impl<'a> PagePool<'a> {
    /// The private pool at `phys`, `size` bytes, which the kernel mapped at `cpu` for DMA. `words` holds a bit for
    /// each page ([`Bitmap::words`]).
    ///
    /// # Errors
    /// [`PoolTooLarge`].
    ///
    /// # Safety
    /// The mapping stays valid for reads and writes as long as the pool lives, and nobody else uses the memory
    /// (invariant 2).
    #[allow(unsafe_code)]
    pub unsafe fn new(
        phys: PhysAddr,
        cpu: *mut u8,
        size: u32,
        words: &'a mut [u32],
    ) -> Result<Self, PoolTooLarge> {
        Self::with_rounding(phys, cpu, size, words, Rounding::Order)
    }

    pub(crate) fn with_rounding(
        phys: PhysAddr,
        cpu: *mut u8,
        size: u32,
        words: &'a mut [u32],
        rounding: Rounding,
    ) -> Result<Self, PoolTooLarge> {
        let error = PoolTooLarge { size };
        let whole = size.is_multiple_of(PAGE_SIZE) && phys.is_aligned(PAGE_SIZE);
        let bitmap = Bitmap::new(words, size / PAGE_SIZE).filter(|_| whole).ok_or(error)?;
        let region = Region::new(cpu, size as usize).ok_or(error)?;
        Ok(Self { phys, region, bitmap, rounding })
    }

    /// Pages that are free.
    #[must_use]
    pub fn free_pages(&self) -> u32 {
        self.bitmap.free()
    }

    #[inline]
    pub(crate) fn alloc(&mut self, pages: u32) -> Result<(PoolSpan, PhysAddr, Region), DmaError> {
        // At most 2^20 pages.
        let align = pages.next_power_of_two();
        let count = if self.rounding == Rounding::Order { align } else { pages };
        let Some(first) = self.bitmap.take(count, align) else {
            return Err(DmaError::PoolExhausted { pages, free: self.bitmap.free() });
        };
        let region = self.region.part((first * PAGE_SIZE) as usize, (pages * PAGE_SIZE) as usize);
        let phys = PhysAddr::new(self.phys.get() + first * PAGE_SIZE);
        Ok((PoolSpan { first, pages: count }, phys, region))
    }

    #[inline]
    pub(crate) fn free(&mut self, span: PoolSpan) {
        let whole = self.bitmap.give_back(span.first, span.pages);
        debug_assert!(whole, "a span is given back once");
    }
}
