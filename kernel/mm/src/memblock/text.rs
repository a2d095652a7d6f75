//! The tables as text: the dump of `memblock=debug` and the files under `/sys/kernel/debug/memblock`.

use super::{Memblock, Table, TableId};
use core::fmt;

/// `/sys/kernel/debug/memblock/{memory,reserved}`: a line a region, the end inclusive.
pub struct DebugFile<'t>(pub &'t Table<'t>);

impl fmt::Display for DebugFile<'_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.0.regions().iter().enumerate() {
            writeln!(f, "{i:4}: {}..{:#010x}", r.range().base(), r.end().wrapping_sub(1))?;
        }
        Ok(())
    }
}

impl Memblock<'_> {
    /// Logs both tables, when `memblock=debug` was given.
    #[inline]
    pub fn dump(&self) {
        if !self.debug {
            return;
        }
        log::info!("MEMBLOCK configuration:");
        let (memory, reserved) = (self.memory.total_size(), self.reserved.total_size());
        log::info!(" memory size = {memory:#010x} reserved size = {reserved:#010x}");
        dump_table(TableId::Memory, &self.memory);
        dump_table(TableId::Reserved, &self.reserved);
    }
}

#[inline]
fn dump_table(id: TableId, table: &Table<'_>) {
    log::info!(" {id}.cnt  = {:#x}", table.regions().len());
    for (i, r) in table.regions().iter().enumerate() {
        log::info!(" {id}[{i:#x}]\t{}, {:#010x} bytes flags: {:#x}", r.range(), r.size, r.flags.bits());
    }
}
