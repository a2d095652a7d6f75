//! Taking free RAM: a search, then a reservation of exactly what was found.
//!
//! The results are physical ranges. Linux's `memblock_alloc` family gives zeroed linear-map pointers; here the
//! caller, who has the linear map, hands in what zeroes a range (or asks for the `_raw` variant).

use super::find::Wanted;
use super::{ACCESSIBLE, Memblock, MemblockError, RegionFlags, TableId};
use core::panic::Location;
use types::{PhysAddr, PhysRange};

/// Zeroes a range of memory that was just allocated and that nobody else holds.
pub type ZeroFn<'f> = &'f mut dyn FnMut(PhysRange);

/// Linux's answer to an alignment of 0 (`SMP_CACHE_BYTES`).
const CACHE_LINE: u32 = 64;

impl Memblock<'_> {
    /// `size` bytes aligned to `align` inside `[start, end)` (`memblock_phys_alloc_range`). An explicit end may
    /// lie above the current limit: the memory need not be mapped. No rounding, no zeroing.
    ///
    /// # Errors
    /// [`MemblockError::NoSpace`], or [`MemblockError::TableFull`] when what was found can't be recorded.
    #[track_caller]
    pub fn phys_alloc_range(
        &mut self,
        size: u32,
        align: u32,
        start: u32,
        end: u32,
    ) -> Result<PhysRange, MemblockError> {
        let caller = Location::caller();
        if self.debug {
            log::info!(
                "memblock_phys_alloc_range: {size} bytes align={align:#x} from={start:#010x} max_addr={end:#010x} {caller}"
            );
        }
        self.take(Wanted { size, align, start, end }, caller)
    }

    /// `size` bytes below the current limit.
    ///
    /// # Errors
    /// As [`Memblock::phys_alloc_range`].
    #[track_caller]
    pub fn phys_alloc(&mut self, size: u32, align: u32) -> Result<PhysRange, MemblockError> {
        self.phys_alloc_range(size, align, 0, ACCESSIBLE)
    }

    /// `size` mapped and zeroed bytes, from anywhere below the current limit (`memblock_alloc`).
    ///
    /// # Errors
    /// As [`Memblock::phys_alloc_range`].
    #[track_caller]
    pub fn alloc(&mut self, size: u32, align: u32, zero: ZeroFn<'_>) -> Result<PhysRange, MemblockError> {
        let range = self.alloc_try_raw(size, align, 0, ACCESSIBLE)?;
        zero(range);
        Ok(range)
    }

    /// `size` mapped bytes inside `[min, max)`, not zeroed (`memblock_alloc_try_nid_raw`). `max` is lowered to
    /// the current limit ([`ACCESSIBLE`] means just that); when nothing is found, `min` is given up.
    ///
    /// # Errors
    /// As [`Memblock::phys_alloc_range`].
    #[track_caller]
    pub fn alloc_try_raw(
        &mut self,
        size: u32,
        align: u32,
        min: u32,
        max: u32,
    ) -> Result<PhysRange, MemblockError> {
        let caller = Location::caller();
        if self.debug {
            log::info!(
                "memblock_alloc_try_nid_raw: {size} bytes align={align:#x} nid=-1 from={min:#010x} max_addr={max:#010x} {caller}"
            );
        }
        let wanted = Wanted { size, align, start: min, end: max.min(self.current_limit) };
        match self.take(wanted, caller) {
            Err(_) if min != 0 => self.take(Wanted { start: 0, ..wanted }, caller),
            result => result,
        }
    }

    /// Finds and reserves.
    fn take(&mut self, wanted: Wanted, caller: &Location<'static>) -> Result<PhysRange, MemblockError> {
        let wanted = Wanted { align: checked_align(wanted.align), ..wanted };
        let Wanted { size, align, .. } = wanted;
        let (base, gap) = self.find_mirrored(&wanted).ok_or(MemblockError::NoSpace { size, align })?;
        let range = PhysRange::new(PhysAddr::new(base), size);
        self.trace_reserve(range, caller);
        if !self.reserved.fill_gap(gap, range, RegionFlags::empty()) {
            self.insert(TableId::Reserved, range, RegionFlags::empty())?;
        }
        Ok(range)
    }
}

fn checked_align(align: u32) -> u32 {
    if align == 0 {
        log::warn!("memblock: alignment of 0, using {CACHE_LINE}");
        return CACHE_LINE;
    }
    align
}
