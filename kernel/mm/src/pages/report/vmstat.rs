//! `/proc/vmstat`, and the parts of it that `/proc/zoneinfo` repeats.
//!
//! All of the names that Linux 6.1 prints for a machine with highmem and CMA, without NUMA, huge pages and swap, in
//! its order, so that scripts find them; what does not exist here (file pages, writeback) is 0.

use crate::PageState;
use crate::pages::{AnonCounts, buddy::Buddy, vmstat::VmStat, zone::ZoneKind};
use core::fmt;

/// Names between two counters that count something.
type Zeros = &'static [&'static str];

const WORKINGSET: Zeros = &[
    "workingset_nodes",
    "workingset_refault_anon",
    "workingset_refault_file",
    "workingset_activate_anon",
    "workingset_activate_file",
    "workingset_restore_anon",
    "workingset_restore_file",
    "workingset_nodereclaim",
];
const DIRTY: Zeros = &["nr_dirty", "nr_writeback", "nr_writeback_temp"];
const FILES: Zeros = &[
    "nr_shmem_hugepages",
    "nr_shmem_pmdmapped",
    "nr_file_hugepages",
    "nr_file_pmdmapped",
    "nr_anon_transparent_hugepages",
    "nr_vmscan_write",
    "nr_vmscan_immediate_reclaim",
    "nr_dirtied",
    "nr_written",
    "nr_throttled_written",
    "nr_kernel_misc_reclaimable",
];
const SCANS: Zeros = &[
    "pgdemote_kswapd",
    "pgdemote_direct",
    "pgscan_kswapd",
    "pgscan_direct",
    "pgscan_direct_throttle",
    "pgscan_anon",
    "pgscan_file",
    "pgsteal_anon",
    "pgsteal_file",
];
const UNEVICTABLE: Zeros = &[
    "unevictable_pgs_culled",
    "unevictable_pgs_scanned",
    "unevictable_pgs_rescued",
    "unevictable_pgs_mlocked",
    "unevictable_pgs_munlocked",
    "unevictable_pgs_cleared",
    "unevictable_pgs_stranded",
];

/// Prints `name value` lines in one form or the other.
struct Lines<F>(F);

impl<F: FnMut(&'static str, u32) -> fmt::Result> Lines<F> {
    #[inline]
    fn line(&mut self, name: &'static str, value: u32) -> fmt::Result {
        (self.0)(name, value)
    }

    #[inline]
    fn zeros(&mut self, names: Zeros) -> fmt::Result {
        names.iter().try_for_each(|name| self.line(name, 0))
    }
}

impl Buddy<'_> {
    /// `nr_…` lines of one zone, with those pages in it.
    #[inline]
    pub(crate) fn zone_stats(&self, kind: ZoneKind, anon: AnonCounts) -> [(&'static str, u32); 10] {
        let zone = self.zone(kind);
        [
            ("nr_free_pages", zone.free),
            ("nr_zone_inactive_anon", 0),
            ("nr_zone_active_anon", anon.anon - anon.mlocked),
            ("nr_zone_inactive_file", 0),
            ("nr_zone_active_file", 0),
            ("nr_zone_unevictable", anon.mlocked),
            ("nr_zone_write_pending", 0),
            ("nr_mlock", anon.mlocked),
            ("nr_bounce", 0),
            ("nr_free_cma", zone.free_cma),
        ]
    }

    /// `nr_…` lines of the node, with those pages in it.
    #[inline]
    pub(crate) fn node_stats(
        &self,
        anon: AnonCounts,
        line: impl FnMut(&'static str, u32) -> fmt::Result,
    ) -> fmt::Result {
        let of = |state: PageState| self.pages_in_use(state);
        let mut lines = Lines(line);
        lines.line("nr_inactive_anon", 0)?;
        lines.line("nr_active_anon", anon.anon - anon.mlocked)?;
        lines.zeros(&["nr_inactive_file", "nr_active_file"])?;
        lines.line("nr_unevictable", anon.mlocked)?;
        let reclaimable = self.stat.nr_slab_reclaimable;
        lines.line("nr_slab_reclaimable", reclaimable)?;
        lines.line("nr_slab_unreclaimable", of(PageState::Slab).saturating_sub(reclaimable))?;
        lines.zeros(&["nr_isolated_anon", "nr_isolated_file"])?;
        lines.zeros(WORKINGSET)?;
        lines.line("nr_anon_pages", anon.anon - anon.shmem)?;
        lines.line("nr_mapped", anon.mapped)?;
        lines.line("nr_file_pages", anon.shmem)?;
        lines.zeros(DIRTY)?;
        lines.line("nr_shmem", anon.shmem)?;
        lines.zeros(FILES)?;
        lines.line("nr_foll_pin_acquired", self.stat.nr_foll_pin_acquired)?;
        lines.line("nr_foll_pin_released", self.stat.nr_foll_pin_released)?;
        lines.line("nr_kernel_stack", self.stat.nr_kernel_stack)?;
        lines.line("nr_page_table_pages", of(PageState::PageTable))?;
        lines.line("nr_sec_page_table_pages", 0)
    }

    /// `/proc/vmstat`.
    #[must_use]
    #[inline]
    pub fn vmstat(&self) -> VmStatText<'_, '_> {
        VmStatText(self)
    }

    fn by_zone(
        &self,
        counts: [u32; ZoneKind::COUNT],
        prefix: &str,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        for zone in self.shown_zones() {
            let name = match zone.kind {
                ZoneKind::Dma => "dma",
                ZoneKind::Normal => "normal",
                ZoneKind::HighMem => "high",
            };
            writeln!(f, "{prefix}_{name} {}", counts[zone.kind as usize])?;
        }
        writeln!(f, "{prefix}_movable 0")
    }

    /// Frees since boot: what was allocated and is not in use any more.
    #[must_use]
    #[inline]
    pub fn pgfree(&self) -> u32 {
        let allocated = PageState::ALL.into_iter().filter(|state| state.is_allocated());
        let in_use: u32 = allocated.map(|state| self.pages_in_use(state)).sum();
        self.pgalloc().iter().fold(0u32, |sum, &pages| sum.wrapping_add(pages)).wrapping_sub(in_use)
    }
}

/// `/proc/vmstat`.
#[derive(Clone, Copy, Debug)]
pub struct VmStatText<'a, 'm>(&'a Buddy<'m>);

impl fmt::Display for VmStatText<'_, '_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (buddy, stat) = (self.0, &self.0.stat);
        let anon = buddy.anon_by_zone();
        let mut sums = buddy.zone_stats(ZoneKind::ALL[0], anon[0]);
        for (kind, anon) in ZoneKind::ALL.into_iter().zip(anon).skip(1) {
            for (sum, (_, value)) in sums.iter_mut().zip(buddy.zone_stats(kind, anon)) {
                sum.1 += value;
            }
        }
        sums.iter().try_for_each(|(name, value)| writeln!(f, "{name} {value}"))?;
        buddy.node_stats(AnonCounts::sum(anon), |name, value| writeln!(f, "{name} {value}"))?;
        f.write_str("nr_dirty_threshold 0\nnr_dirty_background_threshold 0\npgpgin 0\npgpgout 0\n")?;
        buddy.by_zone(buddy.pgalloc(), "pgalloc", f)?;
        buddy.by_zone(stat.allocstall, "allocstall", f)?;
        buddy.by_zone([0; ZoneKind::COUNT], "pgskip", f)?;
        writeln!(f, "pgfree {}", buddy.pgfree())?;
        events(stat, &mut Lines(|name, value| writeln!(f, "{name} {value}")))
    }
}

#[inline]
fn events<F: FnMut(&'static str, u32) -> fmt::Result>(stat: &VmStat, lines: &mut Lines<F>) -> fmt::Result {
    lines.zeros(&["pgactivate", "pgdeactivate", "pglazyfree"])?;
    lines.line("pgfault", stat.pgfault)?;
    lines.line("pgmajfault", stat.pgmajfault)?;
    lines.zeros(&["pglazyfreed", "pgrefill", "pgreuse"])?;
    lines.line("pgsteal_kswapd", stat.pgsteal_kswapd)?;
    lines.line("pgsteal_direct", stat.pgsteal_direct)?;
    lines.zeros(SCANS)?;
    lines.line("slabs_scanned", stat.slabs_scanned)?;
    lines.zeros(&["kswapd_inodesteal", "kswapd_low_wmark_hit_quickly", "kswapd_high_wmark_hit_quickly"])?;
    lines.line("pageoutrun", stat.pageoutrun)?;
    lines.zeros(&["pgrotated", "drop_pagecache"])?;
    lines.line("drop_slab", stat.drop_slab)?;
    lines.line("oom_kill", 0)?;
    lines.line("pgmigrate_success", stat.pgmigrate_success)?;
    lines.line("pgmigrate_fail", stat.pgmigrate_fail)?;
    lines.zeros(&["thp_migration_success", "thp_migration_fail", "thp_migration_split"])?;
    lines.zeros(&["compact_migrate_scanned", "compact_free_scanned", "compact_isolated"])?;
    lines.line("compact_stall", stat.compact_stall)?;
    lines.line("compact_fail", stat.compact_fail)?;
    lines.line("compact_success", stat.compact_success)?;
    lines.zeros(&["compact_daemon_wake", "compact_daemon_migrate_scanned", "compact_daemon_free_scanned"])?;
    lines.line("cma_alloc_success", stat.cma_alloc_success)?;
    lines.line("cma_alloc_fail", stat.cma_alloc_fail)?;
    lines.zeros(UNEVICTABLE)
}
