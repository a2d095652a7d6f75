//! Marking and clearing the flags of regions of RAM.

use super::{Memblock, MemblockError, RegionFlags, TableId};
use core::panic::Location;
use types::PhysRange;

/// Set or clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagChange {
    /// Set the flag.
    Mark,
    /// Clear it.
    Clear,
}

impl Memblock<'_> {
    /// Hides RAM from the linear map and from allocations; parts of the range that are not RAM do not matter.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`]: nothing was changed.
    #[track_caller]
    pub fn mark_nomap(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.trace("memblock_mark_nomap", range, Location::caller());
        self.change(range, RegionFlags::NOMAP, FlagChange::Mark)
    }

    /// Undoes [`Memblock::mark_nomap`].
    ///
    /// # Errors
    /// [`MemblockError::TableFull`]: nothing was changed.
    #[track_caller]
    pub fn clear_nomap(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.trace("memblock_clear_nomap", range, Location::caller());
        self.change(range, RegionFlags::NOMAP, FlagChange::Clear)
    }

    /// Marks or clears RAM that may be unplugged. The hand-over to the page allocator clears it everywhere.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`]: nothing was changed.
    pub fn change_hotplug(&mut self, range: PhysRange, change: FlagChange) -> Result<(), MemblockError> {
        self.change(range, RegionFlags::HOTPLUG, change)
    }

    /// Marks mirrored RAM and has allocations prefer it; without `kernelcore=mirror` nothing happens.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`]: no flag was changed, but the preference is on.
    pub fn mark_mirror(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        if !self.mirrored_kernelcore {
            return Ok(());
        }
        self.has_mirror = true;
        self.change(range, RegionFlags::MIRROR, FlagChange::Mark)
    }

    fn change(
        &mut self,
        range: PhysRange,
        flag: RegionFlags,
        change: FlagChange,
    ) -> Result<(), MemblockError> {
        if range.is_empty() {
            return Ok(());
        }
        self.make_room(TableId::Memory, 2, range)?;
        let inside = self.memory.isolate(range);
        self.memory.change_flags(inside, |old| match change {
            FlagChange::Mark => old | flag,
            FlagChange::Clear => old - flag,
        });
        Ok(())
    }
}
