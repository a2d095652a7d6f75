//! Growing a full table into memory that memblock itself allocates.
//!
//! Linux allows it only once lowmem is mapped (`memblock_allow_resize`, in `bootmem_init`), because the new array
//! is reached through the linear map. Before that a full table refuses.

use super::{Memblock, MemblockError, Region, Table, TableId};
use types::{PAGE_SIZE, PhysRange, align_up};

/// Turns memory that memblock took for a table into an array.
///
/// Each range is free RAM below the current limit, page-aligned, and reserved right after the call; it is handed
/// out again only after the table has left it for a larger array.
pub trait TableMemory<'a>: Send {
    /// At least `entries` regions in `range`; `None` when the memory can't be reached.
    fn array(&mut self, range: PhysRange, entries: usize) -> Option<&'a mut [Region]>;
}

/// Bytes that an array of `entries` takes on a 32-bit machine.
const fn array_bytes(entries: usize) -> u32 {
    (entries * size_of::<Region>()) as u32
}

impl<'a> Memblock<'a> {
    /// From here on a full table grows, into memory reached through `tables`.
    pub fn allow_resize(&mut self, tables: &'a mut dyn TableMemory<'a>) {
        self.grow = Some(tables);
    }

    /// Makes sure that `more` regions fit, doubling the table as often as that takes. `around` is the range that
    /// is about to change: an array for `reserved` must not be put there.
    pub(super) fn make_room(
        &mut self,
        id: TableId,
        more: usize,
        around: PhysRange,
    ) -> Result<(), MemblockError> {
        loop {
            let table = self.table_mut(id);
            if table.regions().len() + more <= table.capacity() {
                return Ok(());
            }
            self.double(id, around).ok_or(MemblockError::TableFull { table: id, range: around })?;
        }
    }

    fn double(&mut self, id: TableId, around: PhysRange) -> Option<()> {
        self.grow.as_ref()?;
        let old = self.table_mut(id).capacity();
        let entries = old * 2;
        let home = self.find_array(id, entries, around);
        let array = home.and_then(|home| self.grow.as_mut()?.array(home, entries));
        let (Some(home), Some(array)) = (home, array) else {
            log::error!("memblock: Failed to double {id} array from {old} to {entries} entries !");
            return None;
        };
        self.settle(id, home, &mut array[..entries])
    }

    /// Room for the new array: for `reserved` above the range that is about to be reserved, or else below it.
    fn find_array(&self, id: TableId, entries: usize, around: PhysRange) -> Option<PhysRange> {
        let size = align_up(array_bytes(entries), PAGE_SIZE)?;
        let (above, below) = match id {
            TableId::Memory => (0, 0),
            TableId::Reserved => (around.end().get(), around.base().get().min(self.current_limit)),
        };
        let mut found = self.find_in_range(above, self.current_limit, size, PAGE_SIZE);
        if found.is_none() && id == TableId::Reserved {
            found = self.find_in_range(0, below, size, PAGE_SIZE);
        }
        found.map(|base| PhysRange::new(base, size))
    }

    /// Moves the table, gives its old array back and reserves the new one.
    fn settle(&mut self, id: TableId, home: PhysRange, array: &'a mut [Region]) -> Option<()> {
        if self.debug {
            let used = PhysRange::new(home.base(), array_bytes(array.len()));
            log::info!("memblock: {id} is doubled to {} at {used}", array.len());
        }
        let table: &mut Table<'a> = self.table_mut(id);
        if let Some(left) = table.move_to(array, home) {
            self.free(left).ok()?;
        }
        self.reserve(home).ok()
    }
}

impl Table<'_> {
    /// Where a grown array lies; `None` while the table still uses the caller's first one.
    #[must_use]
    pub const fn array_range(&self) -> Option<PhysRange> {
        self.home
    }
}
