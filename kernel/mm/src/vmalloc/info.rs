//! `/proc/vmallocinfo`, and the vmalloc lines of `/proc/meminfo`.

use super::{
    Vmalloc,
    nodes::{Area, Kind},
};
use core::fmt::{self, Write};
use hal::LinearMap;
use types::PAGE_SIZE;

/// The numbers behind `VmallocTotal` and `VmallocUsed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmallocTotals {
    /// Bytes of the space.
    pub total: u32,
    /// Pages of memory in `vmalloc` areas.
    pub used_pages: u32,
    /// Pages that wait for a TLB flush.
    pub stale_pages: u32,
    /// Pages that the records of areas take.
    pub record_pages: u32,
}

impl VmallocTotals {
    /// The lines `VmallocTotal`, `VmallocUsed` and `VmallocChunk` of `/proc/meminfo`.
    ///
    /// # Errors
    /// Those of `out`.
    #[inline]
    pub fn write_meminfo(&self, out: &mut impl Write) -> fmt::Result {
        writeln!(out, "VmallocTotal:   {:8} kB", self.total / 1024)?;
        writeln!(out, "VmallocUsed:    {:8} kB", self.used_pages * (PAGE_SIZE / 1024))?;
        writeln!(out, "VmallocChunk:   {:8} kB", 0u32)
    }
}

impl<L: LinearMap> Vmalloc<L> {
    /// What is in use.
    #[must_use]
    #[inline]
    pub fn totals(&self) -> VmallocTotals {
        VmallocTotals {
            total: self.end.get() - self.start.get(),
            used_pages: self.pages,
            stale_pages: self.stale.pages(),
            record_pages: self.tree.record_pages(),
        }
    }

    /// The contents of `/proc/vmallocinfo`: sizes include the guard page. Areas that wait for a TLB flush come last.
    ///
    /// # Errors
    /// Those of `out`.
    #[inline]
    pub fn write_vmallocinfo(&self, out: &mut impl Write) -> fmt::Result {
        for (_, area) in self.tree.iter().filter(|(_, area)| !area.stale && area.mapped > 0) {
            line(area, out)?;
        }
        for (_, area) in self.tree.iter().filter(|(_, area)| area.stale) {
            range(area, out)?;
            writeln!(out, " unpurged vm_area")?;
        }
        Ok(())
    }
}

#[inline]
fn range(area: &Area, out: &mut impl Write) -> fmt::Result {
    let (start, end) = (area.start, area.start.wrapping_add(area.size + PAGE_SIZE));
    write!(out, "{start:#010x}-{end:#010x} {:7}", area.size + PAGE_SIZE)
}

#[inline]
fn line(area: &Area, out: &mut impl Write) -> fmt::Result {
    range(area, out)?;
    if area.caller != 0 {
        write!(out, " {:#010x}", area.caller)?;
    }
    if area.pages > 0 {
        write!(out, " pages={}", area.pages)?;
    }
    if area.phys != 0 || area.kind == Kind::Ioremap {
        write!(out, " phys={:#010x}", area.phys)?;
    }
    writeln!(out, " {}", area.kind.name())
}
