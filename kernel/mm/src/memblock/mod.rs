//! memblock: what is RAM and what is in use, from reset until the page allocator takes over.
//!
//! Two sorted tables of byte ranges. Memory that early boot may take is what `memory` holds and `reserved` does
//! not; every region of `memory` has flags that say who may see it.
//!
//! ```text
//! memory    |##########|NN|#################|      |########|    N = NOMAP: RAM, but neither mapped nor given out
//! reserved      |##|            |####|          |####|           may lie outside of RAM
//! free      |###|  |####|  |####|    |######|      |########|    found from the top down, first fit
//! ```
//!
//! A [`Memblock`] is a value over tables that the caller owns; there is no global. Until
//! [`Memblock::allow_resize`] a full table refuses the next range. Linux ignores that refusal in most callers and
//! the range is silently unprotected; here the behaviour is the same but the caller gets
//! [`MemblockError::TableFull`] with the range in it.
//!
//! Behaviour that people stumble over is kept, because placement has to be Linux's: the last byte of the 32-bit
//! space is out of reach, `reserve` is idempotent and not counted, a size of 0 succeeds without a trace, an
//! explicit search end ignores the current limit, page 0 is never found, an empty table holds one empty region,
//! [`Memblock::trim`] leaves the total size stale. Two wrap-arounds at the very end of the space are not kept:
//! a region there that trims to nothing is deleted, and capping memory to a range that ends at 2^32 keeps the
//! reservations inside.
//!
//! Invariant 1 of the design starts here: a page is "not memory", "reserved" or "free" according to these tables.
//!
//! Sources: Linux 6.1 `mm/memblock.c`, `include/linux/memblock.h` (semantics, names and message formats).

mod alloc;
mod find;
mod flags;
mod grow;
mod handover;
mod iter;
mod limit;
mod query;
mod region;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use alloc::ZeroFn;
pub use flags::FlagChange;
pub use grow::TableMemory;
pub use handover::{BuddyBlocks, PageRuns};
pub use iter::{FreeRanges, MemRanges};
pub use region::{MemblockError, Region, RegionFlags, TableId};
pub use table::Table;
pub use text::DebugFile;

use core::panic::Location;
use types::{PhysAddr, PhysRange};

/// Entries that Linux gives each table before it may grow (`INIT_MEMBLOCK_REGIONS`).
pub const INIT_REGIONS: usize = 128;
/// A search end that stands for the current limit (`MEMBLOCK_ALLOC_ACCESSIBLE`).
pub const ACCESSIBLE: u32 = 0;
/// The same, for allocations that a leak detector must not scan (`MEMBLOCK_ALLOC_NOLEAKTRACE`).
pub const NOLEAKTRACE: u32 = 1;
/// A search end or limit that stands for the end of the address space (`MEMBLOCK_ALLOC_ANYWHERE`).
pub const ANYWHERE: u32 = u32::MAX;

/// The two tables and the state of the allocator over them.
pub struct Memblock<'a> {
    memory: Table<'a>,
    reserved: Table<'a>,
    current_limit: u32,
    bottom_up: bool,
    movable_node: bool,
    mirrored_kernelcore: bool,
    has_mirror: bool,
    debug: bool,
    grow: Option<&'a mut dyn TableMemory<'a>>,
}

impl<'a> Memblock<'a> {
    /// Two empty tables over the caller's arrays, whose lengths are the tables' capacities.
    ///
    /// # Panics
    /// When an array has no entry at all: an empty table needs one.
    pub fn new(memory: &'a mut [Region], reserved: &'a mut [Region]) -> Self {
        Self {
            memory: Table::new(memory),
            reserved: Table::new(reserved),
            current_limit: ANYWHERE,
            bottom_up: false,
            movable_node: false,
            mirrored_kernelcore: false,
            has_mirror: false,
            debug: false,
            grow: None,
        }
    }

    /// What is RAM.
    #[must_use]
    pub const fn memory(&self) -> &Table<'a> {
        &self.memory
    }

    /// What is in use.
    #[must_use]
    pub const fn reserved(&self) -> &Table<'a> {
        &self.reserved
    }

    /// The end of what allocations without an explicit end may use.
    #[must_use]
    pub const fn current_limit(&self) -> PhysAddr {
        PhysAddr::new(self.current_limit)
    }

    /// Sets the end of what allocations without an explicit end may use.
    pub const fn set_current_limit(&mut self, limit: PhysAddr) {
        self.current_limit = limit.get();
    }

    /// Whether searches go from low to high addresses. ARM never asks for it.
    pub const fn set_bottom_up(&mut self, on: bool) {
        self.bottom_up = on;
    }

    /// The `movable_node` argument: searches then skip HOTPLUG regions.
    pub const fn set_movable_node(&mut self, on: bool) {
        self.movable_node = on;
    }

    /// The `kernelcore=mirror` argument: without it [`Memblock::mark_mirror`] does nothing.
    pub const fn set_mirrored_kernelcore(&mut self, on: bool) {
        self.mirrored_kernelcore = on;
    }

    /// The `memblock=debug` argument: each change is logged.
    pub const fn set_debug(&mut self, on: bool) {
        self.debug = on;
    }

    /// Whether `memblock=debug` was given.
    #[must_use]
    pub const fn debug(&self) -> bool {
        self.debug
    }

    /// Adds RAM. Parts that are RAM already keep their flags.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`]: nothing was added.
    #[track_caller]
    pub fn add(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.trace("memblock_add", range, Location::caller());
        self.insert(TableId::Memory, range, RegionFlags::empty())
    }

    /// Adds RAM with flags, to the parts that are not RAM yet.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`]: nothing was added.
    #[track_caller]
    pub fn add_flagged(&mut self, range: PhysRange, flags: RegionFlags) -> Result<(), MemblockError> {
        self.trace("memblock_add_node", range, Location::caller());
        self.insert(TableId::Memory, range, flags)
    }

    /// Records a range as in use, be it RAM or not. Idempotent, not counted; an empty range leaves no trace.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`]: the range is unprotected.
    #[track_caller]
    pub fn reserve(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.trace_reserve(range, Location::caller());
        self.insert(TableId::Reserved, range, RegionFlags::empty())
    }

    /// Takes a range out of RAM; parts that are none do not matter.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`] when there is no room for two more regions, even if none would be needed.
    #[track_caller]
    pub fn remove(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.trace("memblock_remove", range, Location::caller());
        self.delete(TableId::Memory, range)
    }

    /// Takes a range out of what is in use (`memblock_phys_free`); parts that are not in use do not matter.
    ///
    /// # Errors
    /// [`MemblockError::TableFull`] when there is no room for two more regions, even if none would be needed.
    #[track_caller]
    pub fn free(&mut self, range: PhysRange) -> Result<(), MemblockError> {
        self.trace("memblock_phys_free", range, Location::caller());
        self.delete(TableId::Reserved, range)
    }

    fn insert(&mut self, id: TableId, range: PhysRange, flags: RegionFlags) -> Result<(), MemblockError> {
        let table = self.table_mut(id);
        if range.is_empty() || table.set_first(range, flags) {
            return Ok(());
        }
        let at = table.first_ending_above(range.base().get());
        if table.fill_gap(at, range, flags) {
            return Ok(());
        }
        let pieces = table.uncovered(range);
        if pieces == 0 {
            return Ok(());
        }
        self.make_room(id, pieces, range)?;
        self.table_mut(id).fill(range, flags);
        Ok(())
    }

    fn delete(&mut self, id: TableId, range: PhysRange) -> Result<(), MemblockError> {
        if range.is_empty() {
            return Ok(());
        }
        self.make_room(id, 2, range)?;
        let table = self.table_mut(id);
        let inside = table.isolate(range);
        table.delete(inside);
        Ok(())
    }

    const fn table_mut(&mut self, id: TableId) -> &mut Table<'a> {
        match id {
            TableId::Memory => &mut self.memory,
            TableId::Reserved => &mut self.reserved,
        }
    }

    /// The same for a reservation, which is an event too.
    fn trace_reserve(&self, range: PhysRange, caller: &Location<'static>) {
        trace::lazy::memblock_reserve(|| (range.base().get(), range.size(), caller.file(), caller.line()));
        self.trace("memblock_reserve", range, caller);
    }

    /// `memblock=debug`: a changing call, its range and who made it.
    #[inline]
    fn trace(&self, call: &str, range: PhysRange, caller: &Location<'_>) {
        if self.debug {
            print_trace(call, range, caller);
        }
    }
}

#[cold]
fn print_trace(call: &str, range: PhysRange, caller: &Location<'_>) {
    log::info!("{call}: {range} {caller}");
}
