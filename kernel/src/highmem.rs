//! Pages that the linear map does not reach, mapped when they are needed.
//!
//! ```text
//! LocalPage  (kmap_local)  fixmap slot    for a moment, 16 at a time, from any context
//! kmap/kunmap              pkmap area     for as long as one likes; a page has one address, however often it is mapped
//! ```
//! Source: Linux's `mm/highmem.c`, `Documentation/mm/highmem.rst`.

use crate::machine::FIXMAP;
use crate::memory::{self, Mm};
use arch_armv7::fixmap::{EarlyMapping, FixmapError};
use mm::pkmap::{KmapError, LAST_PKMAP, Pkmap};
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// A page of memory of any zone, mapped through the fixmap until this is dropped.
#[must_use]
pub struct LocalPage {
    mapping: Option<EarlyMapping>,
}

impl LocalPage {
    /// Maps the page.
    ///
    /// # Errors
    /// [`FixmapError::NoSlot`]: too many pages are mapped so.
    pub fn of(pfn: Pfn) -> Result<Self, FixmapError> {
        Ok(Self { mapping: Some(FIXMAP.lock().kmap_local(pfn.addr())?) })
    }

    /// Its first byte; the page ends 4 KiB behind it.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        let start = self.mapping.as_ref().map_or(0, |mapping| mapping.virt().get());
        core::ptr::with_exposed_provenance_mut(start as usize)
    }
}

impl Drop for LocalPage {
    fn drop(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            FIXMAP.lock().end(mapping);
        }
    }
}

/// Maps a page until [`kunmap`]; lowmem is mapped already. The records of the area are made when highmem is mapped first.
///
/// # Errors
/// [`KmapError`]; `None` before there is a memory manager.
pub fn kmap(pfn: Pfn) -> Option<Result<VirtAddr, KmapError>> {
    let linear = memory::with(|mm| mm.linear)?;
    if linear.holds(pfn.addr(), PAGE_SIZE) {
        return Some(Ok(linear.virt(pfn.addr())));
    }
    if memory::with(|mm| mm.pkmap.is_none())? {
        let entries = alloc::vec![Default::default(); LAST_PKMAP].leak();
        memory::with(|mm| mm.pkmap.get_or_insert(Pkmap::new(entries)).len())?;
    }
    memory::with(|mm| {
        let Mm { pkmap: Some(pkmap), pages, table, .. } = mm else { return Err(KmapError::Full) };
        pkmap.map(*pages, table, pfn)
    })
}

/// Gives up a mapping of [`kmap`].
///
/// # Errors
/// [`KmapError::NotMapped`], [`KmapError::Map`]; nothing has changed then.
pub fn kunmap(virt: VirtAddr) -> Result<(), KmapError> {
    let done = memory::with(|mm| match mm {
        Mm { linear, .. } if linear.phys_of(virt).is_some() => Ok(()),
        Mm { pkmap: Some(pkmap), table, .. } => pkmap.unmap(table, virt),
        _ => Err(KmapError::NotMapped(virt)),
    });
    done.unwrap_or(Err(KmapError::NotMapped(virt)))
}
