//! From `mm`'s page records to what the picture shows.

use crate::{Kind, Owner, Regions};
use core::ops::Range;
use mm::pages::Buddy;
use mm::{MigrateType, Page, PageState};
use types::{PAGEBLOCK_PAGES, Pfn};

/// Pages that are one block of the page allocator, or a part of it.
#[derive(Clone, Debug)]
pub struct Block<'p> {
    /// Which.
    pub pfns: Range<u32>,
    /// What they are used for.
    pub kind: Kind,
    /// The first page of the whole block, and its record; `None` outside of the memory map.
    pub head: Option<(Pfn, &'p Page)>,
}

/// Calls `each` for what lies in `pfns`, in order and without a gap. The cost is that of the blocks in the range.
pub fn walk<'p>(buddy: &'p Buddy<'_>, regions: &Regions, pfns: Range<u32>, each: &mut dyn FnMut(Block<'p>)) {
    let mut at = pfns.start;
    while at < pfns.end {
        let head = buddy.block_of(Pfn::new(at));
        let (end, kind) = match head {
            Some((first, page)) => (first.get() + (1 << page.order()), kind_of(buddy, regions, first, page)),
            // Outside of the memory map, whose parts begin at pageblocks.
            None => match regions.at_or_above(at).map(|region| &region.pfns) {
                Some(named) if named.contains(&at) => (next_pageblock(at).min(named.end), Kind::Region),
                Some(named) => (next_pageblock(at).min(named.start), Kind::Hole),
                None => (next_pageblock(at), Kind::Hole),
            },
        };
        let end = end.min(pfns.end);
        each(Block { pfns: at..end, kind, head });
        at = end;
    }
}

const fn next_pageblock(pfn: u32) -> u32 {
    (pfn | (PAGEBLOCK_PAGES - 1)) + 1
}

fn kind_of(buddy: &Buddy<'_>, regions: &Regions, first: Pfn, page: &Page) -> Kind {
    let owner = || regions.of(first.get()).map(|region| region.owner);
    match page.state() {
        // A block never begins with a tail.
        PageState::NotMemory | PageState::Tail => match owner() {
            Some(Owner::Device) => Kind::Region,
            _ => Kind::Hole,
        },
        PageState::Reserved => match owner() {
            Some(Owner::Image) => Kind::Image,
            Some(Owner::Device) => Kind::Region,
            _ => Kind::Boot,
        },
        PageState::Free => match buddy.pageblock_type(first) {
            _ if owner() == Some(Owner::Cma) => Kind::FreeCma,
            Some(MigrateType::Cma) => Kind::FreeCma,
            Some(MigrateType::Unmovable) => Kind::FreeUnmovable,
            Some(MigrateType::Reclaimable) => Kind::FreeReclaimable,
            Some(MigrateType::HighAtomic) => Kind::FreeHighAtomic,
            // Isolation hides the type of a pageblock for a moment; what is isolated itself has a state of its own.
            Some(MigrateType::Movable | MigrateType::Isolate) | None => Kind::FreeMovable,
        },
        PageState::PerCpu => Kind::PerCpu,
        PageState::IsolatedFree => Kind::Isolated,
        PageState::CmaTaken => Kind::CmaTaken,
        PageState::Kernel => Kind::Kernel,
        PageState::Slab | PageState::LargeKmalloc => Kind::Slab,
        PageState::PageTable => Kind::PageTable,
        PageState::Vmalloc => Kind::Vmalloc,
        PageState::Dma => Kind::Dma,
        PageState::Anon | PageState::DriverMovable if page.pins() > 0 => Kind::Pinned,
        PageState::Anon | PageState::DriverMovable if owner() == Some(Owner::Cma) => Kind::CmaMovable,
        PageState::Anon | PageState::DriverMovable => Kind::Movable,
    }
}
