//! The memory map: one record a page, over memory that the caller provides.
//!
//! ```text
//! pfn     0x80000          0x88000            0xa0100     0xb0000
//!            | bank 0         |  (hole)           | bank 1   |
//! index      0             0x8000                 |          |
//!                             | .. 0x100 records  |          |
//!                          0x8000              0x8100     0x18000
//! ```
//!
//! Banks lie one after the other in index space. The distance between pfn and index is a multiple of 1,024 in each
//! bank, so the index has the alignment of the pfn, and two banks never share a pageblock: a buddy is found by
//! flipping a bit of the index, whatever the bank. Memory ranges less than a pageblock apart form one bank with a
//! hole of [`PageState::NotMemory`] records. So 16 bytes a page is all, but for the records that fill a bank up to
//! a 4 MiB boundary.
//!
//! With a single bank, going from pfn to index is a subtraction and a compare.
//!
//! This is one of the modules with `unsafe` code: handing out the caller's memory as initialised records, and reaching one
//! without a second check of its index.

use crate::{MigrateType, Page, PageState, pages::list::Index};
use core::{fmt, mem::MaybeUninit, ops::Range};
use types::{PAGEBLOCK_PAGES, Pfn, PhysRange, align_down, align_up};

/// Most banks that can be told apart.
pub const MAX_BANKS: usize = 16;

/// Why there is no memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// There is no whole page of memory.
    NoMemory,
    /// More than [`MAX_BANKS`] ranges with gaps of a pageblock and more between them.
    TooManyBanks {
        /// The first that found no place.
        range: PhysRange,
    },
    /// The ranges are not ascending and apart.
    Unsorted {
        /// The first range that lies below its predecessor's end.
        range: PhysRange,
    },
    /// The caller's memory does not hold the records.
    MetadataTooSmall {
        /// Records needed.
        needed: usize,
        /// Records given.
        given: usize,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("memory map: no memory"),
            Self::TooManyBanks { range } => {
                write!(f, "memory map: no place for bank {range}, {MAX_BANKS} are in use")
            }
            Self::Unsorted { range } => write!(f, "memory map: {range} is out of order"),
            Self::MetadataTooSmall { needed, given } => {
                write!(f, "memory map: {needed} records needed, room for {given}")
            }
        }
    }
}

/// A stretch of frames whose index is the pfn minus a constant.
#[derive(Clone, Copy, Debug, Default)]
struct Bank {
    /// Pfn of the record at `first`.
    base: u32,
    /// Index of its first record.
    first: Index,
    /// Records, padding before the first page included.
    len: u32,
}

/// Where each bank's records lie: computed before there is memory for them.
#[derive(Clone, Copy, Debug)]
pub struct MapLayout {
    banks: [Bank; MAX_BANKS],
    count: usize,
}

impl MapLayout {
    /// The layout for `memory`: ascending ranges, apart from each other.
    ///
    /// # Errors
    /// [`MapError`], except for `MetadataTooSmall`.
    pub fn new(memory: impl Iterator<Item = PhysRange>) -> Result<Self, MapError> {
        let mut layout = Self { banks: [Bank::default(); MAX_BANKS], count: 0 };
        let mut last_end = 0;
        for range in memory {
            let pfns = range.pfns_inside();
            if pfns.start < last_end {
                return Err(MapError::Unsorted { range });
            }
            if !pfns.is_empty() {
                last_end = pfns.end;
                layout.add(pfns).ok_or(MapError::TooManyBanks { range })?;
            }
        }
        if layout.count == 0 { Err(MapError::NoMemory) } else { Ok(layout) }
    }

    fn add(&mut self, pfns: Range<u32>) -> Option<()> {
        let base = align_down(pfns.start, PAGEBLOCK_PAGES);
        let first = match self.banks[..self.count].last_mut() {
            Some(last) if base < last.base + last.len + PAGEBLOCK_PAGES => {
                last.len = pfns.end - last.base;
                return Some(());
            }
            Some(last) => align_up(last.first + last.len, PAGEBLOCK_PAGES)?,
            None => 0,
        };
        *self.banks.get_mut(self.count)? = Bank { base, first, len: pfns.end - base };
        self.count += 1;
        Some(())
    }

    /// Records in the map.
    #[must_use]
    pub fn records(&self) -> usize {
        self.banks[..self.count].last().map_or(0, |last| (last.first + last.len) as usize)
    }

    /// Bytes of memory that the map takes; align it to 16.
    #[must_use]
    pub fn metadata_size(&self) -> usize {
        self.records() * size_of::<Page>()
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct MemoryMap<'m> {
    pub(crate) pages: &'m mut [Page],
    layout: MapLayout,
    /// Records that lie in the first bank and in zone NORMAL, from the first record on.
    hot: Index,
}

/// In a pageblock's four bits: a range isolation is under way.
pub(crate) const ISOLATED: u8 = 8;

impl<'m> MemoryMap<'m> {
    /// Fills in the records, each once: memory is [`PageState::Reserved`], or [`PageState::Tail`] where `free`
    /// says so, for the caller to make heads of; the rest is [`PageState::NotMemory`].
    pub(crate) fn new(
        layout: MapLayout,
        memory: impl Iterator<Item = PhysRange>,
        free: impl Iterator<Item = PhysRange>,
        metadata: &'m mut [MaybeUninit<Page>],
    ) -> Result<Self, MapError> {
        let (needed, given) = (layout.records(), metadata.len());
        let Some(metadata) = metadata.get_mut(..needed) else {
            return Err(MapError::MetadataTooSmall { needed, given });
        };
        let mut fill = Filler { layout: &layout, records: metadata, at: 0 };
        let mut free = free.map(PhysRange::pfns_inside).filter(|pfns| !pfns.is_empty()).peekable();
        for pfns in memory.map(PhysRange::pfns_inside) {
            if pfns.is_empty() {
                continue;
            }
            fill.before(pfns.start, PageState::NotMemory);
            while let Some(part) = free.next_if(|part| part.end <= pfns.end) {
                fill.before(part.start, PageState::Reserved);
                fill.through(part.end - 1, PageState::Tail);
            }
            fill.through(pfns.end - 1, PageState::Reserved);
        }
        fill.rest();
        Ok(Self { pages: assume_filled(metadata), layout, hot: 0 })
    }

    /// Zone NORMAL goes from the first record to `end`; for machines with a zone DMA, `end` is 0.
    pub(crate) fn set_hot(&mut self, end: Index) {
        self.hot = end.min(self.layout.banks[0].len).min(self.len());
    }

    /// The index of `pfn`, if it is in the first bank and zone NORMAL: one subtraction and one compare.
    #[inline(always)]
    pub(crate) fn hot_index(&self, pfn: Pfn) -> Option<Index> {
        let index = pfn.get().wrapping_sub(self.layout.banks[0].base);
        (index < self.hot).then_some(index)
    }

    /// Whether an index is one that [`MemoryMap::hot_index`] gives.
    #[inline(always)]
    pub(crate) const fn is_hot(&self, index: Index) -> bool {
        index < self.hot
    }

    /// The record of `pfn` and its index, as [`MemoryMap::hot_index`].
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn hot_record(&mut self, pfn: Pfn) -> Option<(Index, &mut Page)> {
        let index = self.hot_index(pfn)?;
        // SAFETY: `set_hot` has made sure that there are `hot` records at least, and `index` is less.
        Some((index, unsafe { self.pages.get_unchecked_mut(index as usize) }))
    }

    /// The index of `pfn`; `None` outside of all banks.
    #[inline]
    pub(crate) fn index(&self, pfn: Pfn) -> Option<Index> {
        let bank = &self.layout.banks[0];
        let index = pfn.get().wrapping_sub(bank.base);
        if index < bank.len { Some(index) } else { self.layout.index_beyond_first(pfn) }
    }

    /// The pfn of `index`, which is one that [`MemoryMap::index`] gave.
    #[inline]
    pub(crate) fn pfn(&self, index: Index) -> Pfn {
        let bank = &self.layout.banks[0];
        if index < bank.len { Pfn::new(index + bank.base) } else { self.layout.pfn_beyond_first(index) }
    }

    #[inline]
    pub(crate) fn len(&self) -> Index {
        self.pages.len() as Index
    }

    #[inline]
    pub(crate) fn page(&self, index: Index) -> &Page {
        &self.pages[index as usize]
    }

    #[inline]
    pub(crate) fn page_mut(&mut self, index: Index) -> &mut Page {
        &mut self.pages[index as usize]
    }

    /// The four bits of the pageblock of `index`: the migratetype, and [`ISOLATED`].
    #[inline]
    pub(crate) fn block_bits(&self, index: Index) -> u8 {
        self.page(align_down(index, PAGEBLOCK_PAGES)).block_bits()
    }

    pub(crate) fn set_block_bits(&mut self, index: Index, bits: u8) {
        self.page_mut(align_down(index, PAGEBLOCK_PAGES)).set_block_bits(bits);
    }

    /// The migratetype of the pageblock, whether or not it is being isolated.
    #[inline]
    pub(crate) fn block_type(&self, index: Index) -> MigrateType {
        match self.block_bits(index) & !ISOLATED {
            0 => MigrateType::Unmovable,
            1 => MigrateType::Movable,
            2 => MigrateType::Reclaimable,
            3 => MigrateType::HighAtomic,
            4 => MigrateType::Cma,
            _ => MigrateType::Isolate,
        }
    }

    pub(crate) fn set_block_type(&mut self, index: Index, to: MigrateType) {
        self.set_block_bits(index, to as u8 | self.block_bits(index) & ISOLATED);
    }

    /// The head of the block that `index` is part of: itself unless it is a tail.
    pub(crate) fn head_of(&self, index: Index) -> Index {
        (0..=types::Order::MAX.get())
            .map(|order| align_down(index, 1 << order))
            .find(|&head| self.page(head).state() != PageState::Tail)
            .unwrap_or(index)
    }

    /// As [`MemoryMap::head_of`], found sooner when the block is large and free.
    #[inline]
    pub(crate) fn covering(&self, index: Index) -> Index {
        let top = align_down(index, PAGEBLOCK_PAGES);
        let page = self.page(top);
        if page.state() == PageState::Free && index - top < 1 << page.order() {
            top
        } else {
            self.head_of(index)
        }
    }

    /// The index behind the block at `head`: what a walk over heads visits next.
    #[inline]
    pub(crate) fn after(&self, head: Index) -> Index {
        head + (1 << self.page(head).order())
    }

    /// The index ranges of the banks.
    pub(crate) fn banks(&self) -> impl Iterator<Item = Range<Index>> + '_ {
        self.layout.banks[..self.layout.count].iter().map(|bank| bank.first..bank.first + bank.len)
    }

    /// The first index whose pfn is at or above `pfn`; the length of the map when there is none.
    pub(crate) fn index_at_or_above(&self, pfn: Pfn) -> Index {
        self.layout.index_at_or_above(pfn.get())
    }
}

impl MapLayout {
    fn index_at_or_above(&self, pfn: u32) -> Index {
        self.banks[..self.count]
            .iter()
            .find(|bank| pfn < bank.base + bank.len)
            .map_or(self.records() as Index, |bank| bank.first + pfn.saturating_sub(bank.base))
    }

    #[cold]
    fn index_beyond_first(&self, pfn: Pfn) -> Option<Index> {
        self.banks[..self.count].iter().find_map(|bank| {
            let offset = pfn.get().checked_sub(bank.base)?;
            (offset < bank.len).then(|| bank.first + offset)
        })
    }

    #[cold]
    fn pfn_beyond_first(&self, index: Index) -> Pfn {
        let bank = self.banks[..self.count].iter().rev().find(|bank| bank.first <= index);
        bank.map_or(Pfn::new(u32::MAX), |bank| Pfn::new(bank.base + (index - bank.first)))
    }
}

/// Writes records in ascending order, each exactly once.
struct Filler<'a> {
    layout: &'a MapLayout,
    records: &'a mut [MaybeUninit<Page>],
    at: usize,
}

impl Filler<'_> {
    /// All records up to that of `pfn`, which is memory.
    fn before(&mut self, pfn: u32, state: PageState) {
        self.write(self.layout.index_at_or_above(pfn) as usize, state);
    }

    /// The record of `pfn`, which is memory, too.
    fn through(&mut self, pfn: u32, state: PageState) {
        self.write(self.layout.index_at_or_above(pfn) as usize + 1, state);
    }

    fn rest(&mut self) {
        self.write(self.records.len(), PageState::NotMemory);
    }

    fn write(&mut self, end: usize, state: PageState) {
        let end = end.max(self.at);
        for record in &mut self.records[self.at..end] {
            record.write(Page::new(state));
        }
        self.at = end;
    }
}

#[allow(unsafe_code)]
fn assume_filled(records: &mut [MaybeUninit<Page>]) -> &mut [Page] {
    // SAFETY: `Filler` has written each record from the first to the last (`rest` goes to the end).
    unsafe { records.assume_init_mut() }
}
