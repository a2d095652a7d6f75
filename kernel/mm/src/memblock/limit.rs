//! Trimming and capping RAM.

use super::{Memblock, MemblockError, RegionFlags, TableId};
use types::{PhysAddr, PhysRange, align_down, align_up};

/// From an address to the end of the space.
const fn from(addr: u32) -> PhysRange {
    PhysRange::new(PhysAddr::new(addr), u32::MAX)
}

impl Memblock<'_> {
    /// Shrinks each region of RAM inwards to multiples of `align`; what becomes empty is deleted. As in Linux the
    /// total size only follows the deletions. Nothing on ARM calls it.
    pub fn trim(&mut self, align: u32) {
        let mut i = 0;
        while let Some(r) = self.memory.regions().get(i).copied().filter(|_| !self.memory.is_empty()) {
            let end = align_down(r.end(), align);
            match align_up(r.base, align).filter(|&start| start < end) {
                Some(start) => {
                    self.memory.shrink_silently(i, start, end);
                    i += 1;
                }
                None => self.memory.delete(i..i + 1),
            }
        }
    }

    /// The address below which there are `amount` bytes of RAM, holes not counted; `None` when there is less.
    fn address_of_amount(&self, amount: u32) -> Option<u32> {
        let mut left = amount;
        for r in self.memory.regions() {
            if left <= r.size {
                return Some(r.base + left);
            }
            left -= r.size;
        }
        None
    }

    /// Keeps the lowest `amount` bytes of RAM and cuts the rest from both tables; 0, or more than there is, does
    /// nothing. An amount, not an address (`memblock_enforce_memory_limit`).
    ///
    /// # Errors
    /// [`MemblockError::TableFull`].
    pub fn enforce_memory_limit(&mut self, amount: u32) -> Result<(), MemblockError> {
        match self.address_of_amount(amount) {
            Some(max) if amount != 0 => {
                let memory = self.delete(TableId::Memory, from(max));
                self.delete(TableId::Reserved, from(max)).and(memory)
            }
            _ => Ok(()),
        }
    }

    /// Keeps only this range of RAM, and NOMAP regions wherever they are; cuts `reserved` to the range
    /// (`memblock_cap_memory_range`). An empty range does nothing.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`].
    pub fn cap_memory_range(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        if range.is_empty() {
            return Ok(());
        }
        if self.memory.total_size() == 0 {
            log::warn!("memblock_cap_memory_range: No memory registered yet");
            return Ok(());
        }
        self.make_room(TableId::Memory, 2, range)?;
        let inside = self.memory.isolate(range);
        self.memory.retain_unmerged(|i, r| inside.contains(&i) || r.flags.contains(RegionFlags::NOMAP));
        let below = self.delete(TableId::Reserved, PhysRange::from_bounds(PhysAddr::new(0), range.base()));
        self.delete(TableId::Reserved, from(range.end().get())).and(below)
    }

    /// As [`Memblock::enforce_memory_limit`], but NOMAP regions above stay (`memblock_mem_limit_remove_map`).
    ///
    /// # Errors
    /// [`MemblockError::TableFull`].
    pub fn mem_limit_remove_map(&mut self, amount: u32) -> Result<(), MemblockError> {
        match self.address_of_amount(amount) {
            Some(max) if amount != 0 => self.cap_memory_range(PhysRange::new(PhysAddr::new(0), max)),
            _ => Ok(()),
        }
    }
}
