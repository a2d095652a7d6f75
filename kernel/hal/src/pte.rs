//! Entry by entry access to the tables of an address space, and the pages that tables are made of.
//!
//! ARMv7 has neither a dirty bit nor spare bits in a valid entry. So *accessed* is the access flag (`young`; the
//! first access to an old page faults), and *dirty* is emulated as Linux does it: a clean page is mapped
//! read-only, its first store faults, and the fault handler marks the page dirty and makes the entry writable.
//! What an invalid entry means is software's business: [`SoftPte`].

use crate::{Asid, MapError, MemAttr, PageTable, Prot};
use types::{Pfn, PhysAddr, VirtAddr};

/// A small page's entry that translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageEntry {
    /// The page.
    pub pfn: Pfn,
    /// Memory type.
    pub attr: MemAttr,
    /// Access rights.
    pub prot: Prot,
    /// Access flag: when `false`, the next access faults, and no TLB holds the entry.
    pub young: bool,
}

/// An entry that faults but isn't empty, such as a migration entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SoftPte {
    pfn: Pfn,
    kind: u16,
}

impl SoftPte {
    /// The largest `kind`.
    pub const MAX_KIND: u16 = 1023;

    /// An entry that carries `pfn` (below 2^20) and a `kind` from 1 to [`SoftPte::MAX_KIND`], whose meaning is
    /// the address space's; `None` when either doesn't fit.
    #[must_use]
    pub const fn new(pfn: Pfn, kind: u16) -> Option<Self> {
        if pfn.get() < 1 << 20 && kind >= 1 && kind <= Self::MAX_KIND {
            Some(Self { pfn, kind })
        } else {
            None
        }
    }

    /// The page.
    #[must_use]
    pub const fn pfn(self) -> Pfn {
        self.pfn
    }

    /// The kind.
    #[must_use]
    pub const fn kind(self) -> u16 {
        self.kind
    }
}

/// The state of one page of virtual address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pte {
    /// Nothing.
    None,
    /// Faults; software knows why.
    Soft(SoftPte),
    /// Translates.
    Page(PageEntry),
}

/// The tables of one address space.
///
/// All of them take addresses of whole pages within the table's span; others give [`MapError::Misaligned`].
pub trait SpaceTable: PageTable + TablePages {
    /// The first-level table, for TTBR0.
    fn root(&self) -> PhysAddr;

    /// The identifier that the space's TLB entries carry.
    fn asid(&self) -> Asid;

    /// Changes the identifier. Entries of the old one are the caller's to flush before it is used again.
    fn set_asid(&mut self, asid: Asid);

    /// The entry for `virt`; [`Pte::None`] outside of the span.
    ///
    /// # Errors
    /// [`MapError::Splits`] inside a section or large page.
    fn pte(&self, virt: VirtAddr) -> Result<Pte, MapError>;

    /// Replaces the entry for `virt` and returns the old one. When the old one was valid, the TLB is clean of it
    /// before the new one is written, and when this returns.
    ///
    /// # Errors
    /// [`MapError::NoTable`] when a second-level table has to be [supplied](TablePages::supply) first,
    /// [`MapError::Splits`], [`MapError::WriteExec`]. Nothing has changed then.
    fn replace_pte(&mut self, virt: VirtAddr, new: Pte) -> Result<Pte, MapError>;

    /// Replaces the entry for `virt` by what `change` makes of it, as [`SpaceTable::replace_pte`] does, with one
    /// walk of the tables. `None` leaves it as it is.
    ///
    /// # Errors
    /// As for [`SpaceTable::replace_pte`].
    fn update_pte(
        &mut self,
        virt: VirtAddr,
        change: impl FnOnce(Pte) -> Option<Pte>,
    ) -> Result<Pte, MapError>;

    /// An entry that is out of use for a moment.
    type Suspended: Copy;

    /// Takes the entry for `virt` out of use: `waiting` says what stands there meanwhile. The TLB is clean when this
    /// returns, so no access reaches the page through this entry. Until the entry is
    /// [resumed](SpaceTable::resume), other entries may be suspended and resumed; nothing else may be done to the table.
    ///
    /// For normal memory that can't be executed only. `None`, and nothing has changed, for anything else.
    fn suspend(
        &mut self,
        virt: VirtAddr,
        waiting: impl FnOnce(PageEntry) -> Option<SoftPte>,
    ) -> Option<Self::Suspended>;

    /// Lets a suspended entry show `to`, with the rights and the access flag that it had; the latter is returned. Neither
    /// this nor [`SpaceTable::suspend`] walks the tables a second time.
    fn resume(&mut self, entry: Self::Suspended, to: Pfn) -> bool;

    /// Empties the entry for `virt` and returns what was there. Leaves a stale TLB entry behind: the caller
    /// flushes before the virtual address or the page is used again.
    ///
    /// # Errors
    /// [`MapError::Splits`].
    fn take_pte_lazily(&mut self, virt: VirtAddr) -> Result<Pte, MapError>;

    /// The first address in `[from, end)` whose entry isn't empty; skips what has no second-level table.
    fn next_used(&self, from: VirtAddr, end: VirtAddr) -> Option<VirtAddr>;
}

/// Pages for second-level tables, handed in beforehand, so that tables know no allocator.
///
/// ```text
/// while table.tables_needed(virt, len) > 0 { table.supply(alloc one page) }
/// table.map(virt, ..)                        // can't fail for want of a table
/// while let Some(page) = table.reclaim() { free(page) }
/// ```
pub trait TablePages {
    /// How many pages must still be supplied before any single call on `[virt, virt + len)` is certain not to
    /// end in [`MapError::NoTable`]; an upper bound.
    fn tables_needed(&self, virt: VirtAddr, len: u32) -> u32;

    /// Hands in a lowmem page that nobody else uses; what it holds is overwritten.
    fn supply(&mut self, page: Pfn);

    /// Takes out a page that isn't used as a table (any more).
    fn reclaim(&mut self) -> Option<Pfn>;
}
