//! Watermarks: how much of a zone each kind of request must leave (invariant 8).
//!
//! ```text
//! managed |                     free, in per-CPU lists, allocated
//!    high |--- background reclaim stops
//!     low |--- background reclaim starts;   low  = min + extra + step
//!     min |--- ordinary requests fail       high = low + step
//!   1/2   |--- __GFP_HIGH
//!   3/8   |--- GFP_ATOMIC
//!       0 |--- __GFP_MEMALLOC
//! ```
//!
//! The formulas are those of Linux 6.1 (`mm/page_alloc.c`), with Android's `extra_free_kbytes`, which widens the
//! distance between min and low.

use super::{
    buddy::Buddy,
    pcp::PCP_ORDERS,
    zone::{Watermarks, Zone, ZoneKind},
};
use crate::{Gfp, MigrateType};
use types::PAGEBLOCK_PAGES;

/// KiB in a page.
const PAGE_KB: u32 = types::PAGE_SIZE / 1024;
/// Bounds of the rule for `min_free_kbytes`.
const MIN_FREE_KBYTES: (u32, u32) = (128, 262_144);
/// Bounds of a highmem zone's min.
const HIGHMEM_MIN: (u32, u32) = (32, 128);
/// Part of the higher zones' pages that a request for them leaves in each zone: one in so many, 0 none.
const LOWMEM_RESERVE_RATIO: [u32; ZoneKind::COUNT] = [256, 32, 0];
/// Most that a boost adds, in 1/10000 of the high mark.
const BOOST_FACTOR: u32 = 15_000;

/// What can be set under `/proc/sys/vm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunables {
    /// KiB below which only requests that may use reserves succeed.
    pub min_free_kbytes: u32,
    /// KiB between min and low beyond what the scale factor gives.
    pub extra_free_kbytes: u32,
    /// Distance between the marks, in 1/10000 of a zone.
    pub watermark_scale_factor: u32,
    /// The pages over which `extra_free_kbytes` is spread (`vm_total_pages`); 0: those of the boot log.
    pub total_pages: u32,
}

impl Default for Tunables {
    fn default() -> Self {
        Self { min_free_kbytes: 0, extra_free_kbytes: 0, watermark_scale_factor: 10, total_pages: 0 }
    }
}

/// Up to which mark a request may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    Low,
    Min,
    /// `__GFP_MEMALLOC`: no mark at all.
    None,
}

/// A request, as the zones see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) gfp: Gfp,
    pub(crate) order: u8,
    /// The lists that it is served from.
    pub(crate) kind: MigrateType,
    /// The highest zone that it may use.
    pub(crate) zone: usize,
    /// Whether CMA memory will do.
    pub(crate) cma: bool,
}

impl Request {
    /// Important, and from a context that can't sleep.
    pub(crate) fn is_atomic(&self) -> bool {
        self.gfp.contains(Gfp::__HIGH) && !self.gfp.may_block()
    }

    fn uses_reserves(&self) -> bool {
        self.gfp.contains(Gfp::__HIGH) || !self.gfp.may_block()
    }

    pub(crate) fn uses_highatomic(&self) -> bool {
        self.order > 0 && self.is_atomic() && !self.gfp.contains(Gfp::__NOMEMALLOC)
    }

    /// What is left of `min` for this request.
    fn reduced(&self, min: u32) -> u32 {
        let half = if self.gfp.contains(Gfp::__HIGH) { min - min / 2 } else { min };
        if self.is_atomic() { half - half / 4 } else { half }
    }
}

impl Zone {
    /// Whether the zone would stay above the mark with the request served from it.
    pub(crate) fn watermark_ok(&self, request: &Request, mark: Mark) -> bool {
        let level = match mark {
            Mark::None => return true,
            Mark::Low => self.marks.low + self.boost,
            Mark::Min => request.reduced(self.marks.min + self.boost),
        };
        if self.above(request, mark, level) {
            return true;
        }
        let boosted = self.boost > 0 && mark == Mark::Min && request.order == 0 && request.is_atomic();
        boosted && self.above(request, mark, request.reduced(self.marks.min))
    }

    fn above(&self, request: &Request, mark: Mark, level: u32) -> bool {
        let reserves = mark == Mark::Min && request.uses_reserves();
        let kept = if reserves { 0 } else { self.reserved_highatomic };
        let cma = if request.cma { 0 } else { self.free_cma };
        let unusable = (1 << request.order) - 1 + kept + cma;
        let free = self.free.saturating_sub(unusable);
        free > level + self.lowmem_reserve[request.zone] && self.has_block(request)
    }

    fn has_block(&self, request: &Request) -> bool {
        let any = |kind| self.orders_from(kind, request.order) != 0;
        request.order == 0
            || any(MigrateType::Unmovable)
            || any(MigrateType::Movable)
            || any(MigrateType::Reclaimable)
            || (request.cma && any(MigrateType::Cma))
            || (request.uses_highatomic() && any(MigrateType::HighAtomic))
    }

    /// Free pages outside of CMA pageblocks.
    pub(crate) fn free_normal(&self) -> u32 {
        self.free - self.free_cma
    }

    /// Widens the marks after a request broke up a pageblock of another type, so that background reclaim makes
    /// whole blocks again; whether they grew.
    pub(crate) fn boost_watermark(&mut self) -> bool {
        let before = self.boost;
        if self.managed >= 4 * PAGEBLOCK_PAGES {
            let most = (u64::from(self.marks.high) * u64::from(BOOST_FACTOR) / 10_000) as u32;
            self.boost = (self.boost + PAGEBLOCK_PAGES).min(most.max(PAGEBLOCK_PAGES));
            self.update_fast_mark();
        }
        self.boost > before
    }

    fn update_fast_mark(&mut self) {
        let reserve = self.lowmem_reserve.into_iter().max().unwrap_or(0);
        // As many more as the largest block in a per-CPU list has pages less one, so that the fast path need not look at the order.
        let largest = (1 << (PCP_ORDERS - 1)) - 1;
        self.fast_mark = self.marks.low + self.boost + reserve + self.reserved_highatomic + largest;
        self.update_low();
    }
}

impl Buddy<'_> {
    /// The tunables as they are in force.
    #[must_use]
    pub fn tunables(&self) -> Tunables {
        self.tunables
    }

    /// Sets the tunables, and with them all marks.
    pub fn set_tunables(&mut self, tunables: Tunables) {
        self.tunables = tunables;
        self.setup_watermarks();
    }

    /// Sets `min_free_kbytes` by the square-root rule, and all marks. Done once at boot when all memory has been
    /// given to the zones, and again after memory came in later.
    pub fn init_watermarks(&mut self) {
        let pages: u32 = self.lowmem().map(|zone| zone.managed.saturating_sub(zone.marks.high)).sum();
        let kbytes = u64::from(pages) * u64::from(PAGE_KB);
        let (least, most) = MIN_FREE_KBYTES;
        self.tunables.min_free_kbytes = ((kbytes * 16).isqrt() as u32).clamp(least, most);
        self.setup_watermarks();
    }

    fn lowmem(&self) -> impl Iterator<Item = &Zone> {
        self.zones[..ZoneKind::HighMem as usize].iter()
    }

    fn setup_watermarks(&mut self) {
        let lowmem = self.lowmem().map(|zone| zone.managed).sum();
        let total =
            if self.tunables.total_pages == 0 { self.total_pages() } else { self.tunables.total_pages };
        for index in 0..ZoneKind::COUNT {
            self.zones[index].lowmem_reserve = self.lowmem_reserve(index);
            let zone = &mut self.zones[index];
            zone.marks = watermarks(&self.tunables, zone.kind, zone.managed, lowmem, total);
            (zone.batch, zone.high) = pcp_sizes(zone.managed, zone.marks.low, self.cpus);
            zone.update_fast_mark();
            self.pcp_limits(index);
        }
    }

    fn lowmem_reserve(&self, zone: usize) -> [u32; ZoneKind::COUNT] {
        let ratio = LOWMEM_RESERVE_RATIO[zone];
        core::array::from_fn(|class| {
            if ratio == 0 || class <= zone || self.zones[zone].managed == 0 {
                return 0;
            }
            self.zones[zone + 1..=class].iter().map(|zone| zone.managed).sum::<u32>() / ratio
        })
    }

    /// Background reclaim has caught up: the marks lose their boost.
    pub fn clear_boost(&mut self) {
        for zone in &mut self.zones {
            zone.boost = 0;
            zone.update_fast_mark();
        }
    }

    /// Keeps the marks of the fast path right after the high-order reserve changed.
    pub(crate) fn highatomic_changed(&mut self, zone: usize) {
        self.zones[zone].update_fast_mark();
    }

    /// The pages that nobody but the reserves' users can have: the largest demand on each zone.
    #[must_use]
    pub fn totalreserve_pages(&self) -> u32 {
        let of = |zone: &Zone| zone.lowmem_reserve.into_iter().max().unwrap_or(0) + zone.marks.high;
        self.zones.iter().map(|zone| of(zone).min(zone.managed)).sum()
    }
}

fn share(part: u32, of: u32, total: u32) -> u32 {
    (u64::from(part) * u64::from(of)).checked_div(u64::from(total)).unwrap_or(0) as u32
}

/// A zone's marks from its `managed` pages, those of all lowmem zones, and `vm_total_pages`.
pub(crate) fn watermarks(
    tunables: &Tunables,
    kind: ZoneKind,
    managed: u32,
    lowmem: u32,
    total: u32,
) -> Watermarks {
    let proportional = share(tunables.min_free_kbytes / PAGE_KB, managed, lowmem);
    let extra = share(tunables.extra_free_kbytes / PAGE_KB, managed, total);
    let min = match kind {
        _ if managed == 0 => 0,
        ZoneKind::HighMem => (managed / 1024).clamp(HIGHMEM_MIN.0, HIGHMEM_MIN.1),
        _ => proportional,
    };
    let step = (proportional / 4).max(share(managed, tunables.watermark_scale_factor, 10_000));
    Watermarks { min, low: min + extra + step, high: min + extra + 2 * step }
}

/// Batch and high of the per-CPU lists of a zone: Linux's `zone_batchsize` and `zone_highsize`.
pub(crate) fn pcp_sizes(managed: u32, low: u32, cpus: u32) -> (u32, u32) {
    let quarter = ((managed / 1024).min(256) / 4).max(1);
    let most = quarter + quarter / 2;
    let batch = ((1 << most.ilog2()) - 1).max(1);
    (batch, (low / cpus).max(4 * batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The zone of the seed: /proc/zoneinfo of an Android device, with the pages that its owner logged.
    #[test]
    fn marks_of_the_seed() {
        let tunables = Tunables { min_free_kbytes: 4556, extra_free_kbytes: 24_300, ..Tunables::default() };
        let marks = watermarks(&tunables, ZoneKind::Normal, 326_626, 326_626, 340_294);
        assert_eq!(marks, Watermarks { min: 1139, low: 7295, high: 7621 });
    }

    /// A PC's two zones as the seed quotes them: low is 1.25 times min, high 1.5 times.
    #[test]
    fn distances_without_extra() {
        let tunables = Tunables { min_free_kbytes: 4 * 4000, ..Tunables::default() };
        let marks = watermarks(&tunables, ZoneKind::Normal, 400_000, 400_000, 400_000);
        assert_eq!(marks, Watermarks { min: 4000, low: 5000, high: 6000 });
    }

    #[test]
    fn highmem_is_clamped() {
        let tunables = Tunables { min_free_kbytes: 4096, ..Tunables::default() };
        let of = |managed| watermarks(&tunables, ZoneKind::HighMem, managed, 200_000, 400_000);
        assert_eq!(of(1000).min, 32);
        assert_eq!(of(100_000).min, 97);
        assert_eq!(of(300_000).min, 128);
        assert_eq!(of(0), Watermarks::default());
        assert_eq!(of(300_000).low, 128 + 384);
    }

    #[test]
    fn sizes_of_the_per_cpu_lists() {
        assert_eq!(pcp_sizes(28_162, 434, 1), (7, 434));
        assert_eq!(pcp_sizes(28_162, 434, 4), (7, 108));
        assert_eq!(pcp_sizes(262_144, 2000, 4), (63, 500));
        assert_eq!(pcp_sizes(2048, 100, 8), (1, 12));
        assert_eq!(pcp_sizes(0, 0, 1), (1, 4));
    }
}
