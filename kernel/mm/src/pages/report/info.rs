//! The files with a part for each zone.

use crate::pages::{AnonCounts, buddy::Buddy, map::ISOLATED, pcp::MAX_CPUS, zone::Zone, zone::ZoneKind};
use crate::{MigrateType, PageState};
use core::fmt;
use types::{Order, PAGEBLOCK_PAGES, align_down};

/// Entries of a list that `/proc/pagetypeinfo` counts before it prints `>100000`.
const COUNT_LIMIT: u32 = 100_000;

impl Buddy<'_> {
    /// The zones that the machine was set up with; NORMAL always.
    #[inline]
    pub(crate) fn shown_zones(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().filter(|zone| zone.kind == ZoneKind::Normal || zone.present > 0)
    }

    #[inline]
    fn populated(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().filter(|zone| zone.present > 0)
    }
}

/// `/proc/buddyinfo`.
#[derive(Clone, Copy, Debug)]
pub struct BuddyInfo<'a, 'm>(pub &'a Buddy<'m>);

impl fmt::Display for BuddyInfo<'_, '_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for zone in self.0.populated() {
            write!(f, "Node 0, zone {:>8} ", zone.kind.name())?;
            for order in 0..=Order::MAX.get() {
                let blocks: u32 = MigrateType::ALL.iter().map(|&kind| zone.list(kind, order).len()).sum();
                write!(f, "{blocks:6} ")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// `/proc/pagetypeinfo`.
#[derive(Clone, Copy, Debug)]
pub struct PageTypeInfo<'a, 'm>(pub &'a Buddy<'m>);

impl fmt::Display for PageTypeInfo<'_, '_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Page block order: {}", Order::MAX.get())?;
        writeln!(f, "Pages per block:  {PAGEBLOCK_PAGES}")?;
        writeln!(f)?;
        self.free_counts(f)?;
        writeln!(f)?;
        self.block_counts(f)
    }
}

impl PageTypeInfo<'_, '_> {
    #[inline]
    fn free_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<43} ", "Free pages count per migrate type at order")?;
        for order in 0..=Order::MAX.get() {
            write!(f, "{order:6} ")?;
        }
        writeln!(f)?;
        for zone in self.0.populated() {
            for kind in MigrateType::ALL {
                write!(f, "Node    0, zone {:>8}, type {:>12} ", zone.kind.name(), kind.name())?;
                for order in 0..=Order::MAX.get() {
                    let blocks = zone.list(kind, order).len();
                    let more = if blocks >= COUNT_LIMIT { ">" } else { "" };
                    write!(f, "{more}{:6} ", blocks.min(COUNT_LIMIT))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn block_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<23}", "Number of blocks type ")?;
        for kind in MigrateType::ALL {
            write!(f, "{:>12} ", kind.name())?;
        }
        writeln!(f)?;
        for zone in self.0.populated() {
            write!(f, "Node 0, zone {:>8} ", zone.kind.name())?;
            for count in self.blocks_by_type(zone) {
                write!(f, "{count:12} ")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// Counted from the pageblocks that begin in memory, as Linux does.
    #[inline]
    fn blocks_by_type(&self, zone: &Zone) -> [u32; MigrateType::COUNT] {
        let mut counts = [0; MigrateType::COUNT];
        let map = &self.0.map;
        for at in (align_down(zone.start, PAGEBLOCK_PAGES)..zone.end).step_by(PAGEBLOCK_PAGES as usize) {
            let at = at.max(zone.start);
            if map.page(map.head_of(at)).state() != PageState::NotMemory {
                let isolated = map.block_bits(at) & ISOLATED != 0;
                let kind = if isolated { MigrateType::Isolate } else { map.block_type(at) };
                counts[kind as usize] += 1;
            }
        }
        counts
    }
}

/// `/proc/zoneinfo`.
#[derive(Clone, Copy, Debug)]
pub struct ZoneInfo<'a, 'm>(pub &'a Buddy<'m>);

impl fmt::Display for ZoneInfo<'_, '_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let anon = self.0.anon_by_zone();
        let mut first = true;
        for zone in self.0.shown_zones() {
            let per_node = first && zone.present > 0;
            self.zone(f, zone, per_node, &anon)?;
            first &= !per_node;
        }
        self.movable_zone(f)
    }
}

impl ZoneInfo<'_, '_> {
    #[inline]
    fn zone(
        &self,
        f: &mut fmt::Formatter<'_>,
        zone: &Zone,
        per_node: bool,
        anon: &[AnonCounts; ZoneKind::COUNT],
    ) -> fmt::Result {
        write!(f, "Node 0, zone {:>8}", zone.kind.name())?;
        if per_node {
            write!(f, "\n  per-node stats")?;
            self.0
                .node_stats(AnonCounts::sum(*anon), |name, value| write!(f, "\n      {name:<12} {value}"))?;
        }
        self.watermarks(f, zone)?;
        if zone.present == 0 {
            return writeln!(f);
        }
        for (name, value) in self.0.zone_stats(zone.kind, anon[zone.kind as usize]) {
            write!(f, "\n      {name:<12} {value}")?;
        }
        self.pagesets(f, zone)?;
        writeln!(f, "\n  node_unreclaimable:  0\n  start_pfn:           {}", zone.start_pfn)
    }

    #[inline]
    fn watermarks(&self, f: &mut fmt::Formatter<'_>, zone: &Zone) -> fmt::Result {
        write!(f, "\n  pages free     {}", zone.free)?;
        write!(f, "\n        boost    {}", zone.boost)?;
        write!(f, "\n        min      {}", zone.marks.min + zone.boost)?;
        write!(f, "\n        low      {}", zone.marks.low + zone.boost)?;
        write!(f, "\n        high     {}", zone.marks.high + zone.boost)?;
        write!(f, "\n        spanned  {}", zone.spanned)?;
        write!(f, "\n        present  {}", zone.present)?;
        write!(f, "\n        managed  {}", zone.managed)?;
        write!(f, "\n        cma      {}", zone.cma)?;
        write!(f, "\n        protection: ({})", self.0.protection(zone))
    }

    #[inline]
    fn pagesets(&self, f: &mut fmt::Formatter<'_>, zone: &Zone) -> fmt::Result {
        write!(f, "\n  pagesets")?;
        for cpu in 0..(self.0.cpus as usize).min(MAX_CPUS) {
            let count = self.0.pcp.of(cpu, zone.kind as usize).pages();
            write!(f, "\n    cpu: {cpu}")?;
            write!(f, "\n              count: {count}")?;
            write!(f, "\n              high:  {}", zone.high)?;
            write!(f, "\n              batch: {}", zone.batch)?;
        }
        Ok(())
    }

    /// The zone for hot-pluggable memory, which is always empty here.
    #[inline]
    fn movable_zone(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node 0, zone {:>8}", "Movable")?;
        let zone = Zone::new(ZoneKind::HighMem);
        self.watermarks(f, &zone)?;
        writeln!(f)
    }
}

/// The numbers of `protection: (…)` and `lowmem_reserve[]:`: one for each zone, the always empty `Movable` last.
pub(crate) struct Protection {
    reserve: [u32; ZoneKind::COUNT],
    shown: [bool; ZoneKind::COUNT],
    separator: &'static str,
}

impl Buddy<'_> {
    #[inline]
    pub(crate) fn protection(&self, zone: &Zone) -> Protection {
        self.protection_with(zone, ", ")
    }

    #[inline]
    pub(crate) fn protection_with(&self, zone: &Zone, separator: &'static str) -> Protection {
        let mut shown = [false; ZoneKind::COUNT];
        self.shown_zones().for_each(|zone| shown[zone.kind as usize] = true);
        Protection { reserve: zone.lowmem_reserve, shown, separator }
    }
}

impl fmt::Display for Protection {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (reserve, _) in self.reserve.iter().zip(self.shown).filter(|(_, shown)| *shown) {
            write!(f, "{reserve}{}", self.separator)?;
        }
        // A request that could use zone Movable could use all others too.
        write!(f, "{}", self.reserve[ZoneKind::COUNT - 1])
    }
}
