//! The areas: declared while memblock still rules, activated when the page allocator is up.

use super::{bitmap::Bitmap, error::CmaError};
use crate::pages::PageAllocator;
use core::fmt;
use types::{PAGEBLOCK_PAGES, Pfn};

/// Most areas there can be.
pub const MAX_AREAS: usize = 8;
/// Longest name that is kept.
pub const NAME_LEN: usize = 31;
/// Owners that can be told apart; the last stands for all further ones.
const MAX_OWNERS: usize = 64;

/// Which area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CmaId(pub(crate) u8);

impl CmaId {
    /// Its place in the list of areas.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One area.
#[derive(Debug)]
pub struct CmaArea<'m> {
    name: [u8; NAME_LEN],
    name_len: u8,
    pub(crate) base: Pfn,
    pub(crate) count: u32,
    pub(crate) order_per_bit: u8,
    pub(crate) bitmap: Option<Bitmap<'m>>,
    /// What log lines print for Linux's `struct cma *`.
    pub(crate) pointer: u32,
}

impl CmaArea<'_> {
    /// The name; in `/sys/kernel/debug/cma` with `cma-` before it.
    #[must_use]
    pub fn name(&self) -> &str {
        core::str::from_utf8(&self.name[..usize::from(self.name_len)]).unwrap_or("?")
    }

    /// The name as trace events take it: filled up with zeros.
    pub(crate) const fn name_bytes(&self) -> &[u8] {
        &self.name
    }

    /// The first page.
    #[must_use]
    pub const fn base_pfn(&self) -> Pfn {
        self.base
    }

    /// Pages; 0 when the area could not be activated.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Base-2 logarithm of the pages behind each bit of the bitmap.
    #[must_use]
    pub const fn order_per_bit(&self) -> u8 {
        self.order_per_bit
    }

    /// Whether pages can be allocated from it.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.bitmap.is_some()
    }

    /// Pages taken by drivers.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.bitmap.as_ref().map_or(0, |bitmap| bitmap.count() << self.order_per_bit)
    }

    /// Pages in the longest run that no driver has.
    #[must_use]
    pub fn maxchunk(&self) -> u32 {
        let runs = self.bitmap.as_ref().and_then(|bitmap| bitmap.zero_runs().map(|run| run.1).max());
        runs.unwrap_or(0) << self.order_per_bit
    }

    /// Bits in the bitmap.
    #[must_use]
    pub const fn bits(&self) -> u32 {
        self.count >> self.order_per_bit
    }

    pub(crate) fn contains(&self, pfn: Pfn) -> bool {
        pfn.get().wrapping_sub(self.base.get()) < self.count
    }

    fn rename(&mut self, name: &str) {
        let mut len = name.len().min(NAME_LEN);
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        self.name[..len].copy_from_slice(&name.as_bytes()[..len]);
        self.name_len = len as u8;
    }
}

/// All areas, and the names of those who take pages from them.
#[derive(Debug, Default)]
pub struct Cma<'m> {
    areas: [Option<CmaArea<'m>>; MAX_AREAS],
    owners: Owners,
}

/// Owners' names, so that a record needs only a number.
#[derive(Debug)]
struct Owners {
    names: [&'static str; MAX_OWNERS],
    count: usize,
    /// The one that was looked for last, and its number.
    last: (&'static str, u32),
}

impl Default for Owners {
    fn default() -> Self {
        // The empty name is known from the start, so that there always is a last one.
        Self { names: [""; MAX_OWNERS], count: 1, last: ("", 0) }
    }
}

impl<'m> Cma<'m> {
    /// Adds an area over memory that memblock has reserved (`cma_init_reserved_mem`).
    ///
    /// # Errors
    /// `TooManyAreas`, `Misaligned`.
    pub fn declare(
        &mut self,
        name: impl fmt::Display,
        base: Pfn,
        count: u32,
        order_per_bit: u8,
    ) -> Result<CmaId, CmaError> {
        let Some(slot) = self.areas.iter().position(Option::is_none) else {
            log::error!("cma: {}", CmaError::TooManyAreas);
            return Err(CmaError::TooManyAreas);
        };
        let block = |pages: u32| pages.is_multiple_of(PAGEBLOCK_PAGES);
        let bits = order_per_bit < 32 && count.is_multiple_of(1u32.wrapping_shl(u32::from(order_per_bit)));
        if count == 0 || !block(count) || !block(base.get()) || !bits {
            return Err(CmaError::Misaligned { base, count });
        }
        let (name_bytes, pointer) = ([0; NAME_LEN], 0);
        let mut area =
            CmaArea { name: name_bytes, name_len: 0, base, count, order_per_bit, bitmap: None, pointer };
        let mut text = Name::default();
        // A name that is too long is cut; `Name` never fails.
        let _ = fmt::write(&mut text, format_args!("{name}"));
        area.rename(text.as_str());
        self.areas[slot] = Some(area);
        Ok(CmaId(slot as u8))
    }

    /// Sets what log lines print for Linux's pointer to the area.
    pub fn set_pointer(&mut self, id: CmaId, pointer: u32) {
        if let Some(area) = &mut self.areas[id.index()] {
            area.pointer = pointer;
        }
    }

    /// Words of memory that [`Cma::activate`] wants for the bitmap.
    #[must_use]
    pub fn bitmap_words(&self, id: CmaId) -> usize {
        self.areas[id.index()].as_ref().map_or(0, |area| Bitmap::words_for(area.bits()))
    }

    /// Gives the area's pages to the page allocator as CMA pageblocks. An area that can't be one becomes ordinary
    /// memory.
    ///
    /// # Errors
    /// `NoArea`, `BitmapTooSmall`, `NotReserved`; the last two only after giving the memory away.
    pub fn activate(
        &mut self,
        pages: &mut PageAllocator<'_>,
        id: CmaId,
        bitmap: &'m mut [u32],
    ) -> Result<(), CmaError> {
        let area =
            self.areas[id.index()].as_mut().filter(|area| !area.is_active()).ok_or(CmaError::NoArea)?;
        let (base, count) = (area.base, area.count);
        let (needed, given) = (Bitmap::words_for(area.bits()), bitmap.len());
        let result = if given < needed {
            Err(CmaError::BitmapTooSmall { needed, given })
        } else {
            pages.buddy_mut().activate_cma(area.base, area.count).map_err(|why| CmaError::NotReserved { why })
        };
        match result {
            Ok(()) => {
                area.bitmap = Some(Bitmap::new(bitmap, area.bits()));
                pages.poison_range(base, count);
            }
            Err(error) => {
                log::error!("cma: CMA area {} could not be activated: {error}", area.name());
                free_as_ordinary(pages, base, count);
                area.count = 0;
            }
        }
        pages.buddy_mut().init_watermarks();
        result
    }

    /// The areas.
    pub fn areas(&self) -> impl Iterator<Item = (CmaId, &CmaArea<'m>)> {
        let numbered = self.areas.iter().enumerate();
        numbered.filter_map(|(slot, area)| Some((CmaId(slot as u8), area.as_ref()?)))
    }

    /// An area.
    #[must_use]
    pub fn area(&self, id: CmaId) -> Option<&CmaArea<'m>> {
        self.areas.get(id.index())?.as_ref()
    }

    /// The name of an area as trace events take it.
    pub(crate) fn name_bytes(&self, id: CmaId) -> &[u8] {
        self.area(id).map_or(b"?", CmaArea::name_bytes)
    }

    pub(crate) fn active_mut(&mut self, id: CmaId) -> Result<&mut CmaArea<'m>, CmaError> {
        self.areas[id.index()].as_mut().filter(|area| area.is_active()).ok_or(CmaError::NoArea)
    }

    /// The area that holds `pfn`.
    #[must_use]
    pub fn area_of(&self, pfn: Pfn) -> Option<CmaId> {
        self.areas().find(|(_, area)| area.contains(pfn)).map(|(id, _)| id)
    }

    /// Pages in all areas (`totalcma_pages`).
    #[must_use]
    pub fn total_pages(&self) -> u32 {
        self.areas().map(|(_, area)| area.count).sum()
    }

    /// The number that stands for an owner's name in the records.
    #[inline(always)]
    pub(crate) fn owner_number(&mut self, name: &'static str) -> u32 {
        let (last, number) = self.owners.last;
        // Often the same as the last time.
        if core::ptr::eq(last, name) { number } else { self.find_owner(name) }
    }

    #[inline(never)]
    fn find_owner(&mut self, name: &'static str) -> u32 {
        let owners = &mut self.owners;
        // Almost always the very same string, and then there is no need to compare the letters.
        let same = |known: &&'static str| core::ptr::eq(*known, name);
        let known = owners.names[..owners.count].iter().position(same);
        let known = known.or_else(|| owners.names[..owners.count].iter().position(|known| *known == name));
        let number = known.unwrap_or_else(|| {
            let number = owners.count.min(MAX_OWNERS - 1);
            owners.names[number] = if number == MAX_OWNERS - 1 { "another owner" } else { name };
            owners.count = number + 1;
            number
        });
        owners.last = (name, number as u32);
        number as u32
    }

    pub(crate) fn owner_name(&self, number: u32) -> &'static str {
        self.owners.names.get(number as usize).copied().unwrap_or("nobody")
    }
}

/// The pages of an area that is none, page by page so that one that is not ours does not hold up the others.
fn free_as_ordinary(pages: &mut PageAllocator<'_>, base: Pfn, count: u32) {
    for page in 0..count {
        // A page that is not reserved memory is not ours to free: it stays what it is.
        let _ = pages.free_reserved_range(base.add(page), 1);
    }
}

/// Text of limited length: what does not fit is dropped.
#[derive(Default)]
struct Name {
    bytes: [u8; NAME_LEN],
    len: usize,
}

impl Name {
    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("?")
    }
}

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            let end = self.len + letter.len_utf8();
            if end <= NAME_LEN {
                letter.encode_utf8(&mut self.bytes[self.len..end]);
                self.len = end;
            }
        }
        Ok(())
    }
}
