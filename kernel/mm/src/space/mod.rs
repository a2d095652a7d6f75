//! Address spaces: regions, population on first touch, copy-on-write, shared memory, and the reverse map.
//!
//! ```text
//! Spaces ── Space ── table (hal::SpaceTable)   what the CPU walks            entry
//!    │        └───── regions                   what may be accessed          vma, regions
//!    ├── nodes, rmap                           page ─▶ all its mappings      nodes, rmap
//!    ├── ASIDs                                                               asid
//!    └── the zero page
//! data abort ─▶ handle_fault ─▶ zero page │ new page │ copy │ Retry          fault
//! fork ─▶ both read-only, same pages                                         fork
//! ```
//!
//! A shared region belongs to an *object*, which is itself a space that no CPU runs: its table says which page
//! stands at which offset, and it counts as one mapping of the page. So sharing, migration and freeing need no
//! second mechanism.
//!
//! | word of an anonymous page's record | meaning |
//! | --- | --- |
//! | 1 | its mappings ([`rmap`]) |
//! | 2 | while it is being moved: the other page |
//! | 3 | mappings, and pins |
//!
//! Keeps invariants 3 (pages are from `MOVABLE` and can be moved by [`migrate`](crate::migrate)), 4 (an access to a
//! page under migration gets [`FaultOutcome::Retry`]), 5 (all entries are [`hal::MemAttr::Normal`]) and 10.
//! Everything takes `&mut self` and the page source; between two calls the caller may drop its lock.

mod access;
mod arch;
mod asid;
mod entry;
mod error;
mod fault;
mod fork;
mod memory;
mod nodes;
mod regions;
pub(crate) mod rmap;
mod shared;
mod validate;
mod vma;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use arch::record;
pub use arch::{KmapLocal, KmapSlot, SpaceEvent, SpacePages, UserArch};
pub(crate) use entry::Entry;
pub use error::SpaceError;
pub use fault::{Access, FaultOutcome};
pub(crate) use memory::copy_page;
pub use regions::Placement;
pub use rmap::only_mapping;
pub use validate::SpaceInconsistency;
pub use vma::{VmFlags, Vma};

use crate::{Frames, Gfp, PageFlags, PageSource, PageState};
use asid::{Asids, Held};
use core::fmt;
use hal::{Asid, Pte, SpaceTable, TablePages};
use nodes::Nodes;
use rmap::Mapping;
use types::{Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use vma::VmaList;

/// The most spaces that the reverse map can tell apart.
pub const MAX_SPACES: usize = 8190;
/// CPUs that can run spaces.
pub const MAX_CPUS: usize = 8;
/// The first address that can be mapped: a null pointer and its neighbourhood never are (`mmap_min_addr`).
pub const USER_START: VirtAddr = VirtAddr::new(0x1_0000);
/// The end of user memory: what TTBR0 covers.
pub const USER_END: VirtAddr = VirtAddr::new(1 << 30);

/// Names a space. A name that is kept after the space's end is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct SpaceId {
    slot: u16,
    serial: u16,
}

impl SpaceId {
    pub(crate) const fn slot(self) -> u16 {
        self.slot
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "space {}", self.slot)
    }
}

/// What a CPU loads to run a space: TTBR0 and CONTEXTIDR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// The first-level table.
    pub root: PhysAddr,
    /// The identifier.
    pub asid: Asid,
}

/// One address space.
#[derive(Debug)]
pub(crate) struct Space<T> {
    pub(crate) table: T,
    pub(crate) vmas: VmaList,
    held: Held,
    serial: u16,
    /// For an object: pages in the regions that show it. 0 for a space of its own right.
    users: u32,
    /// Entries that are not empty.
    rss: u32,
}

/// The slot of a space, in memory that the caller provides.
#[derive(Debug)]
pub struct SpaceSlot<T> {
    pub(crate) space: Option<Space<T>>,
    serial: u16,
}

impl<T> SpaceSlot<T> {
    /// An unused slot.
    pub const EMPTY: Self = Self { space: None, serial: 0 };
}

impl<T> Default for SpaceSlot<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// All address spaces.
#[derive(Debug)]
pub struct Spaces<'m, A: UserArch> {
    pub(crate) arch: A,
    pub(crate) slots: &'m mut [SpaceSlot<A::Table>],
    pub(crate) nodes: Nodes,
    asids: Asids,
    pub(crate) zero: Pfn,
}

impl<'m, A: UserArch> Spaces<'m, A> {
    /// No spaces yet, and room for as many as there are `slots`. Takes the zero page.
    ///
    /// # Errors
    /// No memory.
    pub fn new<S: PageSource>(
        arch: A,
        slots: &'m mut [SpaceSlot<A::Table>],
        pages: &mut S,
    ) -> Result<Self, SpaceError> {
        let (zero, _) = pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::Kernel)?.into_raw();
        memory::zero_page(&arch, zero);
        let count = slots.len().min(MAX_SPACES);
        let slots = &mut slots[..count];
        Ok(Self { arch, slots, nodes: Nodes::new(), asids: Asids::new(), zero })
    }

    /// Gives the zero page back, when there is no space any more.
    ///
    /// # Errors
    /// [`SpaceError::Active`] while there is one.
    pub fn end<S: PageSource>(self, pages: &mut S) -> Result<(), SpaceError> {
        if self.slots.iter().any(|slot| slot.space.is_some()) {
            return Err(SpaceError::Active);
        }
        pages.free_pages(Frames::from_raw(self.zero, Order::ZERO));
        Ok(())
    }

    /// The page that reads of untouched private memory show.
    #[must_use]
    pub const fn zero_page(&self) -> Pfn {
        self.zero
    }

    /// An empty space.
    ///
    /// # Errors
    /// No slot or no memory.
    pub fn create<S: PageSource>(&mut self, pages: &mut S) -> Result<SpaceId, SpaceError> {
        self.create_with(pages, 0)
    }

    fn create_with<S: PageSource>(&mut self, pages: &mut S, users: u32) -> Result<SpaceId, SpaceError> {
        let free = self.slots.iter().position(|slot| slot.space.is_none());
        let slot = free.ok_or(SpaceError::TooManySpaces)? as u16;
        let (root, _) = pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::PageTable)?.into_raw();
        let vmas = match VmaList::new(pages) {
            Ok(vmas) => vmas,
            Err(error) => {
                pages.free_pages(Frames::from_raw(root, Order::ZERO));
                return Err(error);
            }
        };
        let table = self.arch.new_table(root, Asid(0));
        let place = &mut self.slots[usize::from(slot)];
        place.serial = place.serial.wrapping_add(1);
        let serial = place.serial;
        place.space = Some(Space { table, vmas, held: Held::default(), serial, users, rss: 0 });
        Ok(SpaceId { slot, serial })
    }

    /// Unmaps everything and ends the space. Its TLB entries need no flush: nobody gets its ASID before one.
    ///
    /// # Errors
    /// No such space, or a CPU runs it.
    pub fn destroy<S: PageSource>(&mut self, pages: &mut S, id: SpaceId) -> Result<(), SpaceError> {
        self.space(id)?;
        if self.asids.is_active(id.slot) {
            return Err(SpaceError::Active);
        }
        self.unmap_range(pages, id.slot, USER_START.get(), USER_END.get());
        self.dispose(pages, id.slot);
        Ok(())
    }

    /// Gives back what an empty space is made of.
    fn dispose<S: PageSource>(&mut self, pages: &mut S, slot: u16) {
        self.trim_tables(pages, slot);
        if let Some(space) = self.slots[usize::from(slot)].space.take() {
            space.vmas.free(pages);
            pages.free_pages(Frames::from_raw(Pfn::containing(space.table.root()), Order::ZERO));
        }
    }

    /// `cpu` runs the space from now on: what it has to load. The kernel loads it with interrupts off: first a TTBR0
    /// without entries, then the ASID, then TTBR0, with an ISB after each, so that the walker never fills the TLB
    /// with one space's entries under another's ASID (ARM DDI 0406C, B3.10.4).
    ///
    /// # Errors
    /// No such space.
    pub fn switch_to(&mut self, cpu: usize, id: SpaceId) -> Result<Context, SpaceError> {
        self.space(id)?;
        let Self { arch, slots, asids, .. } = self;
        let space = slots[usize::from(id.slot)].space.as_mut().ok_or(SpaceError::NoSpace)?;
        let asid = asids.enter(arch, cpu, id.slot, &mut space.held);
        space.table.set_asid(asid);
        Ok(Context { root: space.table.root(), asid })
    }

    /// `cpu` runs no space any more.
    pub fn leave(&mut self, cpu: usize) {
        self.asids.leave(cpu);
    }

    /// The space that `cpu` runs.
    #[must_use]
    pub fn current(&self, cpu: usize) -> Option<SpaceId> {
        let slot = self.asids.active(cpu)?;
        let serial = self.slots[usize::from(slot)].space.as_ref()?.serial;
        Some(SpaceId { slot, serial })
    }

    /// Times that all ASIDs were used up.
    #[must_use]
    pub const fn asid_rollovers(&self) -> u32 {
        self.asids.rollovers()
    }

    /// The regions of a space.
    ///
    /// # Errors
    /// No such space.
    pub fn regions(&self, id: SpaceId) -> Result<&[Vma], SpaceError> {
        Ok(self.space(id)?.vmas.all(&self.arch))
    }

    /// Pages of a space that are resident, the zero page not counted.
    ///
    /// # Errors
    /// No such space.
    pub fn resident(&self, id: SpaceId) -> Result<u32, SpaceError> {
        Ok(self.space(id)?.rss)
    }

    /// The table of a space, for entries that are in no region: device memory, buffers that a bus master uses. They are
    /// not counted, a fork doesn't copy them, and who made them removes them before the space ends.
    ///
    /// # Errors
    /// No such space.
    pub fn table(&mut self, id: SpaceId) -> Result<&mut A::Table, SpaceError> {
        self.space(id)?;
        let space = self.slots[usize::from(id.slot)].space.as_mut();
        space.map(|space| &mut space.table).ok_or(SpaceError::NoSpace)
    }

    /// The page behind `virt`, whatever may be done with it (`/proc/PID/pagemap`); `None` where no page is, or only
    /// the zero page.
    ///
    /// # Errors
    /// No such space.
    pub fn page_at(&mut self, id: SpaceId, virt: VirtAddr) -> Result<Option<Pfn>, SpaceError> {
        self.space(id)?;
        let entry = self.entry(id.slot, virt.align_down(PAGE_SIZE))?;
        Ok(entry.map(|entry| entry.pfn).filter(|&pfn| pfn != self.zero))
    }

    pub(crate) fn space(&self, id: SpaceId) -> Result<&Space<A::Table>, SpaceError> {
        let space = self.slots.get(usize::from(id.slot)).and_then(|slot| slot.space.as_ref());
        space.filter(|space| space.serial == id.serial && space.users == 0).ok_or(SpaceError::NoSpace)
    }

    /// The space in a slot that is known to hold one.
    #[inline]
    pub(crate) fn at(&mut self, slot: u16) -> &mut Space<A::Table> {
        match self.slots.get_mut(usize::from(slot)).and_then(|slot| slot.space.as_mut()) {
            Some(space) => space,
            None => panic!("a mapping of a space that doesn't exist"),
        }
    }

    /// The entry at `virt` in a slot.
    #[inline]
    pub(crate) fn entry(&mut self, slot: u16, virt: VirtAddr) -> Result<Option<Entry>, SpaceError> {
        Ok(Entry::decode(self.at(slot).table.pte(virt)?))
    }

    /// Replaces an entry by another, break-before-make. That can't fail: there is a table, and no rights that an
    /// [`Entry`] can express are refused.
    #[inline]
    pub(crate) fn set_entry(&mut self, slot: u16, virt: VirtAddr, entry: Entry) {
        let done = self.at(slot).table.replace_pte(virt, entry.encode());
        debug_assert!(done.is_ok_and(|old| old != Pte::None));
    }

    /// Changes an entry that is there, break-before-make, with one walk. Can't fail, as [`Spaces::set_entry`].
    #[inline]
    pub(crate) fn update_entry(&mut self, slot: u16, virt: VirtAddr, change: impl FnOnce(Entry) -> Entry) {
        let change = |pte| Entry::decode(pte).map(|entry| change(entry).encode());
        let done = self.at(slot).table.update_pte(virt, change);
        debug_assert!(done.is_ok_and(|old| old != Pte::None));
    }

    /// Makes sure that an entry at `virt` can be written.
    fn prepare_table<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: u16,
        virt: VirtAddr,
    ) -> Result<(), SpaceError> {
        while self.at(slot).table.tables_needed(virt, PAGE_SIZE) > 0 {
            let (page, _) = pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::PageTable)?.into_raw();
            self.at(slot).table.supply(page);
        }
        Ok(())
    }

    /// Gives back pages of tables that are not used any more.
    pub(crate) fn trim_tables<S: PageSource>(&mut self, pages: &mut S, slot: u16) {
        while let Some(page) = self.at(slot).table.reclaim() {
            pages.free_pages(Frames::from_raw(page, Order::ZERO));
        }
    }

    /// Maps a page where nothing is mapped, and notes it.
    pub(crate) fn install<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: u16,
        virt: VirtAddr,
        entry: Entry,
    ) -> Result<(), SpaceError> {
        self.prepare_table(pages, slot, virt)?;
        if entry.pfn != self.zero {
            rmap::add(&mut self.nodes, &self.arch, pages, entry.pfn, Mapping::new(slot, virt))?;
            self.at(slot).rss += 1;
        }
        self.at(slot).table.replace_pte(virt, entry.encode())?;
        Ok(())
    }

    /// Notes that an entry for `pfn` is gone, from the table and from the TLB, and frees the page with its last.
    pub(crate) fn forget<S: PageSource>(&mut self, pages: &mut S, slot: u16, virt: VirtAddr, pfn: Pfn) {
        if pfn == self.zero {
            return;
        }
        self.at(slot).rss -= 1;
        let left = rmap::remove(&mut self.nodes, &self.arch, pages, pfn, Mapping::new(slot, virt));
        if left == 0 {
            put_page(pages, pfn);
        } else if record(pages, pfn).flags().contains(PageFlags::MLOCKED) {
            self.refresh_locked(pages, pfn);
        }
    }

    /// A page for a space, not mapped yet.
    pub(crate) fn new_page<S: PageSource>(&mut self, pages: &mut S) -> Result<Pfn, SpaceError> {
        let (pfn, _) = pages.alloc_pages(Gfp::HIGHUSER_MOVABLE, Order::ZERO, PageState::Anon)?.into_raw();
        record(pages, pfn).set_flags(PageFlags::ACCESSED);
        Ok(pfn)
    }
}

/// Frees a page that nobody maps, pins or moves any more.
pub(crate) fn put_page<S: PageSource>(pages: &mut S, pfn: Pfn) {
    let page = record(pages, pfn);
    if page.refs() == 0 && page.pins() == 0 && !page.flags().contains(PageFlags::LOCKED) {
        pages.free_pages(Frames::from_raw(pfn, Order::ZERO));
    }
}

/// Adds flags to a page.
pub(crate) fn add_flags<S: PageSource>(pages: &mut S, pfn: Pfn, flags: PageFlags) {
    let page = record(pages, pfn);
    page.set_flags(page.flags() | flags);
}
