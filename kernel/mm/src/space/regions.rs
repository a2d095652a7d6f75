//! `mmap`, `munmap`, `mprotect`, `mlock`.

use super::{Access, Entry, SpaceError, SpaceId, Spaces, USER_END, USER_START, UserArch, VmFlags, Vma};
use super::{add_flags, record};
use crate::{PageFlags, PageSource};
use hal::SpaceTable;
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// Where a region goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// The lowest gap that is large enough.
    Anywhere,
    /// There, or nowhere (`MAP_FIXED_NOREPLACE`).
    At(VirtAddr),
    /// There, in place of whatever was (`MAP_FIXED`).
    Replace(VirtAddr),
}

/// Entries that are removed before the TLB is cleaned of them all.
const BATCH: usize = 32;
/// Entries for which the TLB is cleaned one by one.
const FLUSH_EACH: usize = 8;

impl<A: UserArch> Spaces<'_, A> {
    /// Makes a region of `len` bytes, rounded up to pages; nothing is populated yet.
    ///
    /// # Errors
    /// [`SpaceError`].
    pub fn mmap<S: PageSource>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        place: Placement,
        len: u32,
        flags: VmFlags,
    ) -> Result<VirtAddr, SpaceError> {
        check_access(flags)?;
        self.space(id)?;
        let bad = SpaceError::BadRange { virt: VirtAddr::new(0), len };
        let len = types::align_up(len, PAGE_SIZE).filter(|&len| len > 0).ok_or(bad)?;
        let object = if flags.contains(VmFlags::SHARED) { self.new_object(pages, len)? } else { 0 };
        match self.place(pages, id, place, len) {
            Ok(start) => {
                let vma = Vma::new(start, start + len, flags, object);
                self.insert_region(id.slot, vma);
                Ok(VirtAddr::new(start))
            }
            Err(error) => {
                if flags.contains(VmFlags::SHARED) {
                    self.release_object(pages, object, len);
                }
                Err(error)
            }
        }
    }

    /// Finds or makes room for a region, and reserves an entry in the list for it.
    pub(crate) fn place<S: PageSource>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        place: Placement,
        len: u32,
    ) -> Result<u32, SpaceError> {
        let Self { arch, slots, .. } = self;
        let space = slots[usize::from(id.slot)].space.as_mut().ok_or(SpaceError::NoSpace)?;
        space.vmas.reserve(arch, pages, 3)?;
        match place {
            Placement::Anywhere => {
                let gap = space.vmas.gap(arch, len, USER_START.get(), USER_END.get());
                gap.ok_or(SpaceError::NoRoom { len })
            }
            Placement::At(virt) => {
                let (start, end) = check_range(virt, len)?;
                let next = space.vmas.get(arch, space.vmas.first_above(arch, start));
                match next.filter(|vma| vma.start().get() < end) {
                    Some(vma) => Err(SpaceError::Occupied { virt: vma.start() }),
                    None => Ok(start),
                }
            }
            Placement::Replace(virt) => {
                let (start, end) = check_range(virt, len)?;
                self.unmap_range(pages, id.slot, start, end);
                Ok(start)
            }
        }
    }

    /// Removes what is mapped in `[virt, virt + len)`, holes allowed.
    ///
    /// # Errors
    /// [`SpaceError`].
    pub fn munmap<S: PageSource>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        len: u32,
    ) -> Result<(), SpaceError> {
        self.space(id)?;
        let (start, end) = check_range(virt, len)?;
        let Self { arch, slots, .. } = self;
        let space = slots[usize::from(id.slot)].space.as_mut().ok_or(SpaceError::NoSpace)?;
        space.vmas.reserve(arch, pages, 2)?;
        self.unmap_range(pages, id.slot, start, end);
        self.trim_tables(pages, id.slot);
        Ok(())
    }

    /// Removes regions and pages in a range; room for two more regions has been reserved, or the range is all.
    pub(crate) fn unmap_range<S: PageSource>(&mut self, pages: &mut S, slot: u16, start: u32, end: u32) {
        let Self { arch, slots, .. } = self;
        if let Some(space) = &mut slots[usize::from(slot)].space {
            space.vmas.cut(arch, start);
            space.vmas.cut(arch, end);
        }
        self.zap(pages, slot, start, end);
        while let Some(vma) = self.first_region(slot, start).filter(|vma| vma.start().get() < end) {
            let Self { arch, slots, .. } = self;
            if let Some(space) = &mut slots[usize::from(slot)].space {
                space.vmas.remove(arch, vma.start().get(), vma.end().get());
            }
            if vma.flags().contains(VmFlags::SHARED) {
                self.release_object(pages, vma.object, vma.len());
            }
        }
    }

    /// Puts a region into its place, for which room has been reserved.
    pub(crate) fn insert_region(&mut self, slot: u16, vma: Vma) {
        let Self { arch, slots, .. } = self;
        if let Some(space) = &mut slots[usize::from(slot)].space {
            space.vmas.insert(arch, vma);
        }
    }

    fn first_region(&self, slot: u16, above: u32) -> Option<Vma> {
        let space = self.slots[usize::from(slot)].space.as_ref()?;
        space.vmas.get(&self.arch, space.vmas.first_above(&self.arch, above))
    }

    /// Removes the pages in a range. Entries are emptied in batches, the TLB is cleaned, and only then are the pages
    /// given up.
    pub(crate) fn zap<S: PageSource>(&mut self, pages: &mut S, slot: u16, start: u32, end: u32) {
        let end = VirtAddr::new(end);
        let mut from = VirtAddr::new(start);
        loop {
            let mut batch = [(VirtAddr::new(0), Pfn::new(0)); BATCH];
            let mut count = 0;
            let table = &mut self.at(slot).table;
            while count < BATCH
                && let Some(virt) = table.next_used(from, end)
            {
                let entry = table.take_pte_lazily(virt).ok().and_then(Entry::decode);
                from = VirtAddr::new(virt.get() + PAGE_SIZE);
                if let Some(entry) = entry {
                    batch[count] = (virt, entry.pfn);
                    count += 1;
                }
            }
            if count == 0 {
                return;
            }
            self.flush(slot, &batch[..count]);
            for &(virt, pfn) in &batch[..count] {
                self.forget(pages, slot, virt, pfn);
            }
        }
    }

    fn flush(&mut self, slot: u16, batch: &[(VirtAddr, Pfn)]) {
        let asid = self.at(slot).table.asid();
        if batch.len() <= FLUSH_EACH {
            batch.iter().for_each(|&(virt, _)| self.arch.flush_page(virt, asid));
        } else {
            self.arch.flush_asid(asid);
        }
    }

    /// Changes what the regions of `[virt, virt + len)` allow; there must be no hole.
    ///
    /// # Errors
    /// [`SpaceError`].
    pub fn mprotect<S: PageSource>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        len: u32,
        access: VmFlags,
    ) -> Result<(), SpaceError> {
        check_access(access)?;
        let access = access & VmFlags::ACCESS;
        self.change_regions(pages, id, virt, len, |flags| (flags - VmFlags::ACCESS) | access)?;
        let mut from = virt;
        let end = VirtAddr::new(virt.get() + len);
        while let Some(at) = self.at(id.slot).table.next_used(from, end) {
            from = VirtAddr::new(at.get() + PAGE_SIZE);
            if let Some(entry) = self.entry(id.slot, at)? {
                self.protect_entry(id.slot, at, entry, access);
            }
        }
        Ok(())
    }

    fn protect_entry(&mut self, slot: u16, virt: VirtAddr, entry: Entry, access: VmFlags) {
        let new = Entry::new(entry.pfn, access, entry.is_writable());
        let new = Entry { young: entry.young, moving: entry.moving, ..new };
        if new == entry {
            return;
        }
        if new.is_executable() && !entry.is_executable() && !new.moving {
            self.arch.sync_icache(new.pfn);
        }
        self.set_entry(slot, virt, new);
    }

    /// Cuts the regions at both ends of a range without holes, and changes their flags.
    fn change_regions<S: PageSource>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        len: u32,
        change: impl Fn(VmFlags) -> VmFlags,
    ) -> Result<(), SpaceError> {
        self.space(id)?;
        let (start, end) = check_range(virt, len)?;
        let Self { arch, slots, .. } = self;
        let space = slots[usize::from(id.slot)].space.as_mut().ok_or(SpaceError::NoSpace)?;
        let mut at = start;
        while at < end {
            let vma = space.vmas.find(arch, at).ok_or(SpaceError::NotMapped { virt: VirtAddr::new(at) })?;
            at = vma.end().get();
        }
        space.vmas.reserve(arch, pages, 2)?;
        space.vmas.cut(arch, start);
        space.vmas.cut(arch, end);
        space.vmas.change(arch, (start, end), change);
        Ok(())
    }

    /// Keeps a range resident from now on, and populates it. Its pages can still be moved: whoever needs the
    /// physical address pins.
    ///
    /// # Errors
    /// [`SpaceError`]; when memory runs short, what was populated until then stays, and so does the lock.
    pub fn mlock<S: PageSource>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        len: u32,
    ) -> Result<(), SpaceError> {
        self.change_regions(pages, id, virt, len, |flags| flags | VmFlags::LOCKED)?;
        for at in (virt.get()..virt.get() + len).step_by(PAGE_SIZE as usize).map(VirtAddr::new) {
            self.lock_page(pages, id.slot, at)?;
        }
        Ok(())
    }

    fn lock_page<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: u16,
        virt: VirtAddr,
    ) -> Result<(), SpaceError> {
        let vma = self.first_region(slot, virt.get()).ok_or(SpaceError::NotMapped { virt })?;
        let access = if vma.flags().contains(VmFlags::WRITE) { Access::Write } else { Access::Read };
        if vma.flags().intersects(VmFlags::ACCESS) {
            match self.fault_in(pages, slot, &vma, virt, access) {
                // It is resident, and where it goes it takes its flags along.
                Ok(()) | Err(SpaceError::Migrating { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let entry = self.entry(slot, virt)?.filter(|entry| entry.pfn != self.zero);
        if let Some(entry) = entry {
            add_flags(pages, entry.pfn, PageFlags::MLOCKED);
        }
        Ok(())
    }

    /// Ends [`Spaces::mlock`] for a range.
    ///
    /// # Errors
    /// [`SpaceError`].
    pub fn munlock<S: PageSource>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        len: u32,
    ) -> Result<(), SpaceError> {
        self.change_regions(pages, id, virt, len, |flags| flags - VmFlags::LOCKED)?;
        let mut from = virt;
        let end = VirtAddr::new(virt.get() + len);
        while let Some(at) = self.at(id.slot).table.next_used(from, end) {
            from = VirtAddr::new(at.get() + PAGE_SIZE);
            let entry = self.entry(id.slot, at)?.filter(|entry| entry.pfn != self.zero);
            if let Some(entry) = entry {
                self.refresh_locked(pages, entry.pfn);
            }
        }
        Ok(())
    }

    /// A mapping of the page is gone or not locked any more: was it the last locked one?
    #[cold]
    pub(crate) fn refresh_locked<S: PageSource>(&mut self, pages: &mut S, pfn: Pfn) {
        if !self.is_locked(pages, pfn) {
            let page = record(pages, pfn);
            page.set_flags(page.flags() - PageFlags::MLOCKED);
        }
    }

    /// Whether any region that maps the page is locked.
    pub(crate) fn is_locked<S: PageSource>(&self, pages: &S, pfn: Pfn) -> bool {
        let Some(page) = pages.page(pfn) else { return false };
        let mut cursor = super::rmap::Cursor::new(page);
        while let Some(mapping) = cursor.next(&self.arch) {
            let space = self.slots[usize::from(mapping.slot())].space.as_ref();
            let vma = space.and_then(|space| space.vmas.find(&self.arch, mapping.virt().get()));
            if vma.is_some_and(|vma| vma.flags().contains(VmFlags::LOCKED)) {
                return true;
            }
        }
        false
    }

    /// Forgets what was touched and written: entries become old and read-only, pages neither accessed nor dirty
    /// (`/proc/PID/clear_refs`). The next accesses show in the pages' flags.
    ///
    /// # Errors
    /// No such space.
    pub fn clear_refs<S: PageSource>(&mut self, pages: &mut S, id: SpaceId) -> Result<(), SpaceError> {
        self.space(id)?;
        let mut from = USER_START;
        while let Some(at) = self.at(id.slot).table.next_used(from, USER_END) {
            from = VirtAddr::new(at.get() + PAGE_SIZE);
            let entry = self.entry(id.slot, at)?.filter(|entry| !entry.moving && entry.prot.is_some());
            let Some(entry) = entry else { continue };
            self.set_entry(id.slot, at, Entry { young: false, ..entry.without_write() });
            if entry.pfn != self.zero && record(pages, entry.pfn).refs() == 1 {
                let page = record(pages, entry.pfn);
                page.set_flags(page.flags() - PageFlags::DIRTY - PageFlags::ACCESSED);
            }
        }
        Ok(())
    }
}

/// Whole pages of user memory; where they begin and end.
pub(crate) fn check_range(virt: VirtAddr, len: u32) -> Result<(u32, u32), SpaceError> {
    let end = virt.get().checked_add(len).filter(|&end| end <= USER_END.get());
    let aligned = virt.is_aligned(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE) && len > 0;
    match end {
        Some(end) if aligned && virt >= USER_START => Ok((virt.get(), end)),
        _ => Err(SpaceError::BadRange { virt, len }),
    }
}

fn check_access(flags: VmFlags) -> Result<(), SpaceError> {
    if flags.contains(VmFlags::WRITE | VmFlags::EXEC) { Err(SpaceError::WriteExec) } else { Ok(()) }
}
