//! `/sys`.

use super::snapshot;
use crate::memory::EARLY;
use crate::release::FreeReserved;
use mm::memblock::{DebugFile, Memblock, Table};
use shell::{FsError, Vfs};

/// Adds the files.
pub fn add(vfs: &mut Vfs) -> Result<(), FsError> {
    memblock(vfs, "/sys/kernel/debug/memblock/memory", Memblock::memory)?;
    memblock(vfs, "/sys/kernel/debug/memblock/reserved", Memblock::reserved)?;
    vfs.add("/sys/kernel/debug/memblock/free_reserved", FreeReserved)
}

fn memblock(
    vfs: &mut Vfs,
    path: &str,
    table: impl for<'m> Fn(&'m Memblock<'static>) -> &'m Table<'static> + 'static,
) -> Result<(), FsError> {
    vfs.add_read(path, move |out| {
        snapshot(out, |text| {
            let early = EARLY.lock();
            early.as_ref().map_or(Ok(()), |early| write!(text, "{}", DebugFile(table(&early.memblock))))
        })
    })
}
