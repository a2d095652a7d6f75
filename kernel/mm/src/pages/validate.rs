//! Recounting everything from scratch, and comparing it with the lists and the counters (invariant 1).
//!
//! The walk over the records trusts nothing but the records: from head to head, each followed by its tails. What
//! it counts must be what the lists hold and what the counters say, and no two free buddies may lie side by side.

use super::{buddy::Buddy, list::Index, list::List, map::ISOLATED, pcp::MAX_CPUS, zone::ZoneKind};
use crate::{MigrateType, PageState};
use core::fmt;
use types::{Order, PAGEBLOCK_PAGES, Pfn, align_down};

/// What does not fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inconsistency {
    /// A page behind a head does not say `Tail`, or a tail has no head.
    Tail {
        /// The page.
        pfn: Pfn,
    },
    /// A block is larger than its alignment, its bank or its zone allows.
    Size {
        /// The block.
        pfn: Pfn,
    },
    /// A block and its buddy are both free.
    Unmerged {
        /// The lower or the upper of them.
        pfn: Pfn,
    },
    /// A list's links do not lead back, or lead to a block that does not belong there.
    Link {
        /// The block.
        pfn: Pfn,
    },
    /// A CMA pageblock holds a page that can't move, or a list of another type its free pages.
    InCma {
        /// The block.
        pfn: Pfn,
        /// What it is.
        owner: PageState,
    },
    /// A counter is wrong.
    Count {
        /// Which.
        name: &'static str,
        /// What it says.
        counted: u32,
        /// What there is.
        found: u32,
    },
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tail { pfn } => write!(f, "pfn {pfn}: block and tails do not fit"),
            Self::Size { pfn } => write!(f, "pfn {pfn}: block of an impossible size"),
            Self::Unmerged { pfn } => write!(f, "pfn {pfn}: the buddy is free too"),
            Self::Link { pfn } => write!(f, "pfn {pfn}: wrong list"),
            Self::InCma { pfn, owner } => write!(f, "pfn {pfn}: {owner} in a CMA pageblock"),
            Self::Count { name, counted, found } => write!(f, "{name} is {counted}, found {found}"),
        }
    }
}

/// What the walk over the records found.
#[derive(Default)]
struct Census {
    free: [u32; ZoneKind::COUNT],
    free_cma: [u32; ZoneKind::COUNT],
    isolated: [u32; ZoneKind::COUNT],
    managed: [u32; ZoneKind::COUNT],
    cma: [u32; ZoneKind::COUNT],
    per_cpu: [u32; ZoneKind::COUNT],
    blocks: [[[u32; Order::COUNT]; MigrateType::COUNT]; ZoneKind::COUNT],
    in_use: [u32; PageState::COUNT],
}

fn same(name: &'static str, counted: u32, found: u32) -> Result<(), Inconsistency> {
    if counted == found { Ok(()) } else { Err(Inconsistency::Count { name, counted, found }) }
}

impl Buddy<'_> {
    /// Recounts everything.
    ///
    /// # Errors
    /// The first [`Inconsistency`].
    pub fn validate(&self) -> Result<(), Inconsistency> {
        let mut census = Census::default();
        for bank in self.map.banks() {
            let mut at = bank.start;
            while at < bank.end {
                self.check_block_at(at, bank.end)?;
                self.count_block(at, &mut census)?;
                at = self.map.after(at);
            }
        }
        for zone in ZoneKind::ALL {
            self.check_counters(zone as usize, &census)?;
            self.check_lists(zone as usize, &census)?;
            self.check_per_cpu(zone as usize, &census)?;
        }
        PageState::ALL
            .into_iter()
            .filter(|&state| state >= PageState::CmaTaken)
            .try_for_each(|state| same(state.name(), self.pages_in_use(state), census.in_use[state as usize]))
    }

    fn check_block_at(&self, at: Index, bank_end: Index) -> Result<(), Inconsistency> {
        let pfn = self.map.pfn(at);
        let (page, next) = (self.map.page(at), self.map.after(at));
        if page.state() == PageState::Tail {
            return Err(Inconsistency::Tail { pfn });
        }
        let order = page.order();
        let fits = order <= Order::MAX.get() && at.trailing_zeros() >= u32::from(order) && next <= bank_end;
        if !fits || self.zone_of(at) != self.zone_of(next - 1) {
            return Err(Inconsistency::Size { pfn });
        }
        if let Some(tail) = (at + 1..next).find(|&tail| self.map.page(tail).state() != PageState::Tail) {
            return Err(Inconsistency::Tail { pfn: self.map.pfn(tail) });
        }
        let buddy = at ^ 1 << order;
        let mergeable = page.state() == PageState::Free && order < Order::MAX.get() && buddy < bank_end;
        if mergeable && self.map.page(buddy).is_buddy(order, self.zone_of(at) as u8) {
            return Err(Inconsistency::Unmerged { pfn });
        }
        Ok(())
    }

    fn count_block(&self, at: Index, census: &mut Census) -> Result<(), Inconsistency> {
        let page = self.map.page(at);
        let (zone, pages, state) = (self.zone_of(at), 1 << page.order(), page.state());
        let in_cma = self.map.block_type(at) == MigrateType::Cma;
        match state {
            PageState::NotMemory | PageState::Reserved => return Ok(()),
            PageState::Free => {
                census.free[zone] += pages;
                census.free_cma[zone] += if in_cma { pages } else { 0 };
                census.blocks[zone][page.list() as usize % MigrateType::COUNT][page.order() as usize] += 1;
            }
            PageState::PerCpu => census.per_cpu[zone] += pages,
            PageState::IsolatedFree => census.isolated[zone] += pages,
            _ => census.in_use[state as usize] += pages,
        }
        census.managed[zone] += pages;
        census.cma[zone] += if in_cma { pages } else { 0 };
        let allowed = state.is_free() || state.is_movable() || state == PageState::CmaTaken;
        let listed = state != PageState::Free || (page.list() == MigrateType::Cma as u8) == in_cma;
        if (in_cma && !allowed) || !listed {
            return Err(Inconsistency::InCma { pfn: self.map.pfn(at), owner: state });
        }
        Ok(())
    }

    fn check_counters(&self, zone: usize, census: &Census) -> Result<(), Inconsistency> {
        let there = &self.zones[zone];
        same("free", there.free, census.free[zone])?;
        same("free_cma", there.free_cma, census.free_cma[zone])?;
        same("isolated", there.isolated, census.isolated[zone])?;
        same("managed", there.managed, census.managed[zone])?;
        same("cma", there.cma, census.cma[zone])?;
        let blocks = (align_down(there.start, PAGEBLOCK_PAGES)..there.end).step_by(PAGEBLOCK_PAGES as usize);
        let reserved =
            blocks.filter(|&at| self.map.block_type(at.max(there.start)) == MigrateType::HighAtomic);
        same("reserved_highatomic", there.reserved_highatomic, reserved.count() as u32 * PAGEBLOCK_PAGES)
    }

    fn check_lists(&self, zone: usize, census: &Census) -> Result<(), Inconsistency> {
        for kind in MigrateType::ALL {
            for order in 0..=Order::MAX.get() {
                let list = self.zones[zone].list(kind, order);
                self.check_links(list, |page| {
                    page.state() == PageState::Free && page.list() == kind as u8 && page.order() == order
                })?;
                same("list length", list.len(), census.blocks[zone][kind as usize][order as usize])?;
                let marked = self.zones[zone].orders_from(kind, order) & 1 << order != 0;
                same("list mask", u32::from(marked), u32::from(list.len() > 0))?;
            }
        }
        Ok(())
    }

    fn check_per_cpu(&self, zone: usize, census: &Census) -> Result<(), Inconsistency> {
        let mut found = 0;
        for cpu in 0..MAX_CPUS {
            for (order, len, blocks) in self.pcp.of(cpu, zone).lists(self.map.pages) {
                let mut walked = 0;
                for index in blocks {
                    let page = self.map.page(index);
                    walked += 1;
                    let fits = page.state() == PageState::PerCpu && page.order() == order;
                    if !fits || !page.flags().is_empty() || self.in_isolation(index) || walked > len {
                        return Err(Inconsistency::Link { pfn: self.map.pfn(index) });
                    }
                }
                same("per-CPU count", len, walked)?;
                found += walked << order;
            }
        }
        same("per-CPU pages", census.per_cpu[zone], found)
    }

    fn in_isolation(&self, index: Index) -> bool {
        self.map.block_bits(index) & ISOLATED != 0
            && self.isolations.overlaps(index, self.map.page(index).order())
    }

    fn check_links(&self, list: &List, belongs: impl Fn(&crate::Page) -> bool) -> Result<(), Inconsistency> {
        let mut before = None;
        for index in list.iter(self.map.pages) {
            let page = self.map.page(index);
            let linked = before.is_none_or(|before| page.prev() == before);
            if !belongs(page) || !linked || self.in_isolation(index) {
                return Err(Inconsistency::Link { pfn: self.map.pfn(index) });
            }
            before = Some(index);
        }
        if before == list.last() { Ok(()) } else { Err(Inconsistency::Link { pfn: Pfn::new(0) }) }
    }
}
