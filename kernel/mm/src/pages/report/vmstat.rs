//! `/proc/vmstat`, and the parts of it that `/proc/zoneinfo` repeats.
//!
//! Linux's names in Linux's order, without those whose feature does not exist here (file pages, swap, NUMA, huge
//! pages): a script that looks for a name finds it or not, as on a kernel built without the feature.

use crate::PageState;
use crate::pages::{buddy::Buddy, vmstat::VmStat, zone::Zone, zone::ZoneKind};
use core::fmt;

impl Buddy<'_> {
    /// `nr_…` lines of one zone.
    pub(crate) fn zone_stats(&self, zone: &Zone) -> [(&'static str, u32); 7] {
        [
            ("nr_free_pages", zone.free),
            ("nr_zone_inactive_anon", 0),
            ("nr_zone_active_anon", self.anon_of(zone)),
            ("nr_zone_unevictable", 0),
            ("nr_mlock", 0),
            ("nr_bounce", 0),
            ("nr_free_cma", zone.free_cma),
        ]
    }

    /// `nr_…` lines of the node.
    pub(crate) fn node_stats(&self, mut line: impl FnMut(&'static str, u32) -> fmt::Result) -> fmt::Result {
        let of = |state: PageState| self.in_use[state as usize];
        line("nr_active_anon", of(PageState::Anon))?;
        line("nr_slab_reclaimable", 0)?;
        line("nr_slab_unreclaimable", of(PageState::Slab))?;
        line("nr_isolated_anon", 0)?;
        line("nr_anon_pages", of(PageState::Anon))?;
        line("nr_mapped", 0)?;
        line("nr_shmem", 0)?;
        line("nr_kernel_misc_reclaimable", 0)?;
        line("nr_page_table_pages", of(PageState::PageTable))
    }

    /// `/proc/vmstat`.
    #[must_use]
    pub fn vmstat(&self) -> VmStatText<'_, '_> {
        VmStatText(self)
    }

    fn shown(
        &self,
        by_zone: [u32; ZoneKind::COUNT],
        prefix: &str,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        for zone in self.shown_zones() {
            let name = match zone.kind {
                ZoneKind::Dma => "dma",
                ZoneKind::Normal => "normal",
                ZoneKind::HighMem => "high",
            };
            writeln!(f, "{prefix}_{name} {}", by_zone[zone.kind as usize])?;
        }
        writeln!(f, "{prefix}_movable 0")
    }

    /// Frees since boot: what was allocated and is not in use any more.
    fn pgfree(&self) -> u32 {
        let taken = self.in_use[PageState::CmaTaken as usize];
        let in_use: u32 = self.in_use.iter().sum::<u32>() - taken;
        self.stat.pgalloc.iter().fold(0u32, |sum, &pages| sum.wrapping_add(pages)).wrapping_sub(in_use)
    }
}

/// `/proc/vmstat`.
#[derive(Clone, Copy, Debug)]
pub struct VmStatText<'a, 'm>(&'a Buddy<'m>);

impl fmt::Display for VmStatText<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (buddy, stat) = (self.0, &self.0.stat);
        let mut sums = buddy.zone_stats(&buddy.zones[0]);
        for zone in &buddy.zones[1..] {
            for (sum, (_, value)) in sums.iter_mut().zip(buddy.zone_stats(zone)) {
                sum.1 += value;
            }
        }
        sums.iter().try_for_each(|(name, value)| writeln!(f, "{name} {value}"))?;
        buddy.node_stats(|name, value| writeln!(f, "{name} {value}"))?;
        buddy.shown(stat.pgalloc, "pgalloc", f)?;
        buddy.shown(stat.allocstall, "allocstall", f)?;
        writeln!(f, "pgfree {}", buddy.pgfree())?;
        events(stat).iter().try_for_each(|(name, value)| writeln!(f, "{name} {value}"))
    }
}

fn events(stat: &VmStat) -> [(&'static str, u32); 14] {
    [
        ("pgfault", stat.pgfault),
        ("pgmajfault", stat.pgmajfault),
        ("pgsteal_kswapd", stat.pgsteal_kswapd),
        ("pgsteal_direct", stat.pgsteal_direct),
        ("slabs_scanned", stat.slabs_scanned),
        ("pageoutrun", stat.pageoutrun),
        ("drop_slab", stat.drop_slab),
        ("pgmigrate_success", stat.pgmigrate_success),
        ("pgmigrate_fail", stat.pgmigrate_fail),
        ("compact_stall", stat.compact_stall),
        ("compact_fail", stat.compact_fail),
        ("compact_success", stat.compact_success),
        ("cma_alloc_success", stat.cma_alloc_success),
        ("cma_alloc_fail", stat.cma_alloc_fail),
    ]
}
