//! What a data or prefetch abort on user memory leads to.
//!
//! ```text
//! region?  rights?   entry        read                       write
//!   no ─▶ SIGSEGV    empty        zero page (private)        new zeroed page, dirty
//!   yes      no ─▶   zero page    -                          new zeroed page, dirty
//!            SIGSEGV clean, own   access flag                dirty, writable
//!                    shared COW   access flag                copy, dirty, writable
//!                    moving       Retry                      Retry
//! ```

use super::{Entry, SpaceError, SpaceEvent, SpaceId, SpacePages, Spaces, UserArch, VmFlags, Vma};
use super::{add_flags, memory, put_page, record};
use crate::{AllocError, PageFlags, PageSource};
use core::fmt;
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// What the CPU tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Exec,
}

impl Access {
    pub(super) const fn needs(self) -> VmFlags {
        match self {
            // Whoever may store or execute may load: the hardware knows no other way.
            Self::Read => VmFlags::ACCESS,
            Self::Write => VmFlags::WRITE,
            Self::Exec => VmFlags::EXEC,
        }
    }
}

/// What to do after a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum FaultOutcome {
    /// The access can be tried again.
    Handled,
    /// The page is being moved. Try again after interrupts were on, so that the move can go on.
    Retry,
    /// No region there: `SIGSEGV`, `SEGV_MAPERR`.
    NoRegion,
    /// The region doesn't allow it: `SIGSEGV`, `SEGV_ACCERR`.
    Denied,
    /// No memory for it.
    OutOfMemory(AllocError),
    /// Something else is exhausted: the error says what.
    Failed(SpaceError),
}

impl fmt::Display for FaultOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handled => f.write_str("handled"),
            Self::Retry => f.write_str("the page is being moved"),
            Self::NoRegion => f.write_str("no region at that address"),
            Self::Denied => f.write_str("the region doesn't allow the access"),
            Self::OutOfMemory(error) => error.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl From<SpaceError> for FaultOutcome {
    fn from(error: SpaceError) -> Self {
        match error {
            SpaceError::NoMemory(error) => Self::OutOfMemory(error),
            SpaceError::Migrating { .. } => Self::Retry,
            error => Self::Failed(error),
        }
    }
}

impl<A: UserArch> Spaces<'_, A> {
    /// Handles an access to `virt` that the MMU refused, whatever the reason.
    pub fn handle_fault<S: SpacePages>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        access: Access,
    ) -> FaultOutcome {
        pages.count(SpaceEvent::Fault);
        let Ok(space) = self.space(id) else { return FaultOutcome::Failed(SpaceError::NoSpace) };
        let Some(vma) = space.vmas.find(&self.arch, virt.get()) else { return FaultOutcome::NoRegion };
        if !vma.flags().intersects(access.needs()) {
            return FaultOutcome::Denied;
        }
        match self.fault_in(pages, id.slot, &vma, virt.align_down(PAGE_SIZE), access) {
            Ok(()) => FaultOutcome::Handled,
            Err(error) => error.into(),
        }
    }

    /// Makes an access that the region allows possible.
    pub(crate) fn fault_in<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: u16,
        vma: &Vma,
        virt: VirtAddr,
        access: Access,
    ) -> Result<(), SpaceError> {
        let write = access == Access::Write;
        match self.entry(slot, virt)? {
            None if vma.flags().contains(VmFlags::SHARED) => self.show_shared(pages, slot, vma, virt, write),
            None if write => self.populate(pages, slot, vma, virt),
            None => self.install(pages, slot, virt, Entry::new(self.zero, vma.flags(), false)),
            Some(entry) if entry.moving => Err(SpaceError::Migrating { virt }),
            Some(entry) if write && !entry.is_writable() => self.unshare(pages, slot, vma, virt, entry),
            Some(entry) => {
                self.touch(pages, slot, vma, virt, entry);
                Ok(())
            }
        }
    }

    /// The access flag was clear, or the entry allows the access by now.
    fn touch<S: PageSource>(&mut self, pages: &mut S, slot: u16, vma: &Vma, virt: VirtAddr, entry: Entry) {
        let new = Entry::new(entry.pfn, vma.flags(), entry.is_writable());
        if entry.pfn != self.zero {
            add_flags(pages, entry.pfn, PageFlags::ACCESSED);
        }
        if new != entry {
            self.set_entry(slot, virt, new);
        }
    }

    /// A new page of zeroes, where nothing is mapped, for a store.
    fn populate<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: u16,
        vma: &Vma,
        virt: VirtAddr,
    ) -> Result<(), SpaceError> {
        let pfn = self.new_page(pages)?;
        memory::zero_page(&self.arch, pfn);
        self.dress(pages, vma, pfn);
        let done = self.install(pages, slot, virt, Entry::new(pfn, vma.flags(), true));
        if done.is_err() {
            put_page(pages, pfn);
        }
        done
    }

    /// The flags of a page that is about to be stored to.
    fn dress<S: PageSource>(&mut self, pages: &mut S, vma: &Vma, pfn: Pfn) {
        let locked =
            if vma.flags().contains(VmFlags::LOCKED) { PageFlags::MLOCKED } else { PageFlags::empty() };
        add_flags(pages, pfn, PageFlags::DIRTY | PageFlags::ACCESSED | locked);
    }

    /// A store to what is mapped read-only: the page becomes dirty if it is the space's alone or shared on purpose,
    /// and is copied if not.
    fn unshare<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: u16,
        vma: &Vma,
        virt: VirtAddr,
        entry: Entry,
    ) -> Result<(), SpaceError> {
        let shared = vma.flags().contains(VmFlags::SHARED);
        if shared || entry.pfn != self.zero && record(pages, entry.pfn).refs() == 1 {
            self.dress(pages, vma, entry.pfn);
            self.set_entry(slot, virt, Entry::new(entry.pfn, vma.flags(), true));
            return Ok(());
        }
        let pfn = self.new_page(pages)?;
        self.fill(pfn, entry.pfn);
        self.dress(pages, vma, pfn);
        self.exchange(pages, slot, virt, entry.pfn, Entry::new(pfn, vma.flags(), true));
        Ok(())
    }

    /// Copies a page, or zeroes for the zero page.
    fn fill(&mut self, to: Pfn, from: Pfn) {
        if from == self.zero {
            memory::zero_page(&self.arch, to);
        } else {
            memory::copy_page(&self.arch, to, from);
        }
    }

    /// Maps a new page, that nobody else maps, in place of `old`.
    fn exchange<S: PageSource>(&mut self, pages: &mut S, slot: u16, virt: VirtAddr, old: Pfn, entry: Entry) {
        if entry.is_executable() {
            self.arch.sync_icache(entry.pfn);
        }
        self.set_entry(slot, virt, entry);
        self.forget(pages, slot, virt, old);
        // The first mapping of a page needs no node.
        let mapping = super::Mapping::new(slot, virt);
        let noted = super::rmap::add(&mut self.nodes, &self.arch, pages, entry.pfn, mapping);
        debug_assert!(noted.is_ok());
        self.at(slot).rss += 1;
    }

    /// Gives a private region a page of its own at `virt`, readable: what a pin for reading needs, because nobody
    /// else's store may leave the pinned page behind (Linux's `FAULT_FLAG_UNSHARE`).
    pub(crate) fn own_page<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: u16,
        vma: &Vma,
        virt: VirtAddr,
    ) -> Result<Pfn, SpaceError> {
        let entry = self.entry(slot, virt)?.ok_or(SpaceError::NotMapped { virt })?;
        let shared = vma.flags().contains(VmFlags::SHARED);
        if shared || entry.pfn != self.zero && record(pages, entry.pfn).refs() == 1 {
            return Ok(entry.pfn);
        }
        let pfn = self.new_page(pages)?;
        self.fill(pfn, entry.pfn);
        if vma.flags().contains(VmFlags::LOCKED) {
            add_flags(pages, pfn, PageFlags::MLOCKED);
        }
        self.exchange(pages, slot, virt, entry.pfn, Entry::new(pfn, vma.flags(), false));
        Ok(pfn)
    }
}
