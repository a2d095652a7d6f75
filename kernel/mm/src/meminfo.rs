//! `/proc/meminfo`, from the counters of all parts of `mm`.
//!
//! Lines of features that do not exist here (page cache, swap) are 0 and stay, because tools look for them. What is
//! in none of Linux's lines (pages of the kernel itself, per-CPU lists) is the rest of `MemTotal`, as on Linux.
//!
//! Source: Linux 6.1 `fs/proc/meminfo.c`, `mm/page_alloc.c` (`si_mem_available`).

use crate::PageState;
use crate::pages::{Buddy, ZoneKind};
use crate::slab::SlabTotals;
use crate::vmalloc::VmallocTotals;
use core::fmt;
use types::PAGE_SIZE;

/// What the file is made from. Displays as the file.
#[derive(Clone, Copy, Debug)]
pub struct MemInfo<'a, 'm> {
    /// Pages.
    pub buddy: &'a Buddy<'m>,
    /// Slabs.
    pub slab: SlabTotals,
    /// The vmalloc area.
    pub vmalloc: VmallocTotals,
    /// Pages in CMA areas that are active.
    pub cma: u32,
}

const KIB: u32 = PAGE_SIZE / 1024;

impl MemInfo<'_, '_> {
    /// Pages that could be had without harm (`si_mem_available`): what is free above the reserves, and the part of
    /// reclaimable slabs that may go.
    #[must_use]
    #[inline]
    pub fn available(&self) -> u32 {
        let low: u32 = ZoneKind::ALL.iter().map(|&kind| self.buddy.zone(kind).watermarks().low).sum();
        let free = self.buddy.free_page_count().saturating_sub(self.buddy.totalreserve_pages());
        let slab = self.slab.reclaimable;
        free + slab - (slab / 2).min(low)
    }

    #[inline]
    fn cma_free(&self) -> u32 {
        ZoneKind::ALL.iter().map(|&kind| self.buddy.zone(kind).free_cma()).sum()
    }
}

impl fmt::Display for MemInfo<'_, '_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buddy = self.buddy;
        let in_state = |state| buddy.pages_in_use(state);
        let high = buddy.zone(ZoneKind::HighMem);
        let (total, free) = (buddy.managed_pages(), buddy.free_page_count());
        let anon = buddy.all_anon_counts();
        let mut line = |name: &str, pages: u32| writeln!(f, "{name:<16}{:8} kB", pages * KIB);
        line("MemTotal:", total)?;
        line("MemFree:", free)?;
        line("MemAvailable:", self.available())?;
        let active = anon.anon - anon.mlocked;
        line("Buffers:", 0)?;
        line("Cached:", anon.shmem)?;
        line("SwapCached:", 0)?;
        line("Active:", active)?;
        line("Inactive:", 0)?;
        line("Active(anon):", active)?;
        for name in ["Inactive(anon):", "Active(file):", "Inactive(file):"] {
            line(name, 0)?;
        }
        line("Unevictable:", anon.mlocked)?;
        line("Mlocked:", anon.mlocked)?;
        line("HighTotal:", high.managed())?;
        line("HighFree:", high.free())?;
        line("LowTotal:", total - high.managed())?;
        line("LowFree:", free - high.free())?;
        for name in ["SwapTotal:", "SwapFree:", "Dirty:", "Writeback:"] {
            line(name, 0)?;
        }
        line("AnonPages:", anon.anon - anon.shmem)?;
        line("Mapped:", anon.mapped)?;
        line("Shmem:", anon.shmem)?;
        line("KReclaimable:", self.slab.reclaimable)?;
        self.slab.write_meminfo(f)?;
        writeln!(f, "{:<16}{:8} kB", "KernelStack:", buddy.stat.nr_kernel_stack)?;
        writeln!(f, "{:<16}{:8} kB", "PageTables:", in_state(PageState::PageTable) * KIB)?;
        for name in ["SecPageTables:", "NFS_Unstable:", "Bounce:", "WritebackTmp:"] {
            writeln!(f, "{name:<16}{:8} kB", 0u32)?;
        }
        writeln!(f, "{:<16}{:8} kB", "CommitLimit:", total / 2 * KIB)?;
        writeln!(f, "{:<16}{:8} kB", "Committed_AS:", anon.anon * KIB)?;
        self.vmalloc.write_meminfo(f)?;
        writeln!(f, "{:<16}{:8} kB", "Percpu:", 0u32)?;
        writeln!(f, "{:<16}{:8} kB", "CmaTotal:", self.cma * KIB)?;
        writeln!(f, "{:<16}{:8} kB", "CmaFree:", self.cma_free() * KIB)
    }
}
