//! `Mem-Info:`, which a failed allocation prints.

use crate::pages::{AnonCounts, buddy::Buddy, zone::Zone, zone::ZoneKind};
use crate::{MigrateType, PageState};
use core::fmt;
use types::Order;

/// KiB in a page.
const KB: u32 = types::PAGE_SIZE / 1024;

/// The line of a zone's free blocks: `Normal: 3*4kB (UM) 1*8kB (M) ... = 20kB`.
#[derive(Clone, Copy, Debug)]
pub struct FreeArea<'a>(pub &'a Zone);

impl fmt::Display for FreeArea<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.0;
        write!(f, "{}: ", zone.kind.name())?;
        let mut total = 0;
        for order in 0..=Order::MAX.get() {
            let blocks: u32 = MigrateType::ALL.iter().map(|&kind| zone.list(kind, order).len()).sum();
            total += blocks << order;
            write!(f, "{blocks}*{}kB ", KB << order)?;
            if blocks > 0 {
                write!(f, "(")?;
                for kind in MigrateType::ALL.into_iter().filter(|&kind| zone.list(kind, order).len() > 0) {
                    write!(f, "{}", kind.letter())?;
                }
                write!(f, ") ")?;
            }
        }
        write!(f, "= {}kB", total * KB)
    }
}

/// The line of a zone's counters: `Normal free:…kB boost:…kB min:…kB …`.
struct ZoneLine<'a, 'm>(&'a Buddy<'m>, &'a Zone, AnonCounts);

impl fmt::Display for ZoneLine<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self(buddy, zone, anon) = self;
        let kb = |pages: u32| pages * KB;
        let (marks, boost) = (zone.marks, zone.boost);
        let local = buddy.pcp.of(buddy.cpu, zone.kind as usize).pages();
        write!(f, "{} free:{}kB boost:{}kB", zone.kind.name(), kb(zone.free), kb(boost))?;
        write!(f, " min:{}kB low:{}kB", kb(marks.min + boost), kb(marks.low + boost))?;
        write!(f, " high:{}kB", kb(marks.high + boost))?;
        write!(f, " reserved_highatomic:{}KB", kb(zone.reserved_highatomic))?;
        write!(f, " active_anon:{}kB inactive_anon:0kB", kb(anon.anon - anon.mlocked))?;
        write!(f, " active_file:0kB inactive_file:0kB unevictable:{}kB writepending:0kB", kb(anon.mlocked))?;
        write!(f, " present:{}kB managed:{}kB", kb(zone.present), kb(zone.managed))?;
        write!(
            f,
            " mlocked:{}kB bounce:0kB free_pcp:{}kB",
            kb(anon.mlocked),
            kb(buddy.pcp_pages_of(zone.kind))
        )?;
        write!(f, " local_pcp:{}kB free_cma:{}kB", kb(local), kb(zone.free_cma))
    }
}

/// One line of the report: its many lines share one way to the log.
#[inline(never)]
fn say(line: fmt::Arguments<'_>) {
    log::warn!("{line}");
}

impl Buddy<'_> {
    /// Prints `Mem-Info:` (`show_mem`).
    pub fn show_mem(&self) {
        let of = |state: PageState| self.pages_in_use(state);
        let free_cma: u32 = self.zones.iter().map(|zone| zone.free_cma).sum();
        let by_zone = self.anon_by_zone();
        let (anon, slab, tables) = (AnonCounts::sum(by_zone), of(PageState::Slab), of(PageState::PageTable));
        let reclaimable = self.stat.nr_slab_reclaimable;
        say(format_args!("Mem-Info:"));
        say(format_args!("active_anon:{} inactive_anon:0 isolated_anon:0", anon.anon - anon.mlocked));
        say(format_args!(" active_file:0 inactive_file:0 isolated_file:0"));
        say(format_args!(" unevictable:{} dirty:0 writeback:0", anon.mlocked));
        say(format_args!(
            " slab_reclaimable:{reclaimable} slab_unreclaimable:{}",
            slab.saturating_sub(reclaimable)
        ));
        say(format_args!(" mapped:{} shmem:{} pagetables:{tables}", anon.mapped, anon.shmem));
        say(format_args!(" sec_pagetables:0 bounce:0"));
        say(format_args!(" kernel_misc_reclaimable:0"));
        say(format_args!(
            " free:{} free_pcp:{} free_cma:{free_cma}",
            self.free_page_count(),
            self.pcp_pages()
        ));
        self.show_node(anon, tables);
        for zone in self.populated_zones() {
            say(format_args!("{}", ZoneLine(self, zone, by_zone[zone.kind as usize])));
            say(format_args!("lowmem_reserve[]: {}", self.protection_with(zone, " ")));
        }
        for zone in self.populated_zones() {
            say(format_args!("{}", FreeArea(zone)));
        }
        self.show_totals();
    }

    fn show_node(&self, counts: AnonCounts, tables: u32) {
        let (anon, tables, locked) = ((counts.anon - counts.mlocked) * KB, tables * KB, counts.mlocked * KB);
        let (mapped, shmem) = (counts.mapped * KB, counts.shmem * KB);
        let stack = self.stat.nr_kernel_stack;
        say(format_args!(
            "Node 0 active_anon:{anon}kB inactive_anon:0kB active_file:0kB inactive_file:0kB unevictable:{locked}kB \
             isolated(anon):0kB isolated(file):0kB mapped:{mapped}kB dirty:0kB writeback:0kB shmem:{shmem}kB \
             writeback_tmp:0kB kernel_stack:{stack}kB pagetables:{tables}kB sec_pagetables:0kB all_unreclaimable? no"
        ));
    }

    fn populated_zones(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().filter(|zone| zone.present > 0)
    }

    fn show_totals(&self) {
        let present: u32 = self.zones.iter().map(|zone| zone.present).sum();
        let cma: u32 = self.zones.iter().map(|zone| zone.cma).sum();
        say(format_args!("0 total pagecache pages"));
        say(format_args!("0 pages in swap cache"));
        say(format_args!("Free swap  = 0kB"));
        say(format_args!("Total swap = 0kB"));
        say(format_args!("{present} pages RAM"));
        say(format_args!("{} pages HighMem/MovableOnly", self.zone(ZoneKind::HighMem).present));
        say(format_args!("{} pages reserved", present - self.managed_pages()));
        say(format_args!("{cma} pages cma reserved"));
    }
}
