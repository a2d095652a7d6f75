//! Data cache maintenance to the point of coherency, by virtual address.

/// Cache maintenance on a range of memory, named after what ARM calls it (ARM DDI 0406C, B2.2.6).
///
/// Every operation works on whole lines of [`CacheOps::line_size`] bytes, takes a pointer in any cacheable
/// mapping of the memory (ARMv7 data caches behave as physically tagged), and is complete, for this CPU and for
/// bus masters, when it returns (it ends in a DSB). An empty range does nothing.
pub trait CacheOps {
    /// Bytes in a data cache line; a power of two.
    fn line_size(&self) -> usize;

    /// Writes dirty lines back; they stay valid. Before a device reads.
    fn clean(&self, start: *const u8, len: usize);

    /// Drops whole lines unwritten; a partial line at either end is cleaned first, so that neighbours survive.
    /// Before and after a device writes.
    fn invalidate(&self, start: *const u8, len: usize);

    /// Writes dirty lines back and drops all of them. Before the memory gets uncached mappings.
    fn flush(&self, start: *const u8, len: usize);
}

impl<C: CacheOps + ?Sized> CacheOps for &C {
    fn line_size(&self) -> usize {
        (**self).line_size()
    }

    fn clean(&self, start: *const u8, len: usize) {
        (**self).clean(start, len);
    }

    fn invalidate(&self, start: *const u8, len: usize) {
        (**self).invalidate(start, len);
    }

    fn flush(&self, start: *const u8, len: usize) {
        (**self).flush(start, len);
    }
}
