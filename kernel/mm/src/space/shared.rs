//! Shared anonymous memory: objects, and the regions that show them.
//!
//! An object is a space without regions. Its table's entry at an offset is the page that stands there; every region
//! that shows the object looks there when a page is touched for the first time. An object lives as long as a page
//! of it is shown; it counts pages and not regions, because regions are cut and merged.

use super::{Entry, SpaceError, SpaceId, Spaces, UserArch, VmFlags, Vma};
use super::{add_flags, memory, put_page};
use crate::{PageFlags, PageSource};
use types::{PAGE_SIZE, VirtAddr};

impl<A: UserArch> Spaces<'_, A> {
    /// A new object, of which `len` bytes are about to be shown.
    pub(crate) fn new_object<S: PageSource>(&mut self, pages: &mut S, len: u32) -> Result<u16, SpaceError> {
        Ok(self.create_with(pages, len / PAGE_SIZE)?.slot)
    }

    /// One more region shows the object of `vma`, if it has one.
    pub(crate) fn hold_object(&mut self, vma: &Vma) {
        if vma.flags().contains(VmFlags::SHARED) {
            self.at(vma.object).users += vma.len() / PAGE_SIZE;
        }
    }

    /// `len` bytes of an object are shown by one region less; with the last of all, the object ends.
    pub(crate) fn release_object<S: PageSource>(&mut self, pages: &mut S, object: u16, len: u32) {
        self.at(object).users -= len / PAGE_SIZE;
        if self.at(object).users == 0 {
            self.zap(pages, object, 0, super::USER_END.get());
            self.dispose(pages, object);
        }
    }

    /// Shows the page of a shared region's object at `virt`, where nothing is mapped; there is one afterwards.
    pub(crate) fn show_shared<S: PageSource>(
        &mut self,
        pages: &mut S,
        slot: u16,
        vma: &Vma,
        virt: VirtAddr,
        write: bool,
    ) -> Result<(), SpaceError> {
        let offset = vma.offset_of(virt);
        let pfn = match self.entry(vma.object, offset)? {
            Some(entry) if entry.moving => return Err(SpaceError::Migrating { virt }),
            Some(entry) => entry.pfn,
            None => self.new_shared_page(pages, vma.object, offset)?,
        };
        let entry = Entry::new(pfn, vma.flags(), write);
        if entry.is_executable() {
            self.arch.sync_icache(pfn);
        }
        self.install(pages, slot, virt, entry)?;
        let dirty = if write { PageFlags::DIRTY } else { PageFlags::empty() };
        let locked =
            if vma.flags().contains(VmFlags::LOCKED) { PageFlags::MLOCKED } else { PageFlags::empty() };
        add_flags(pages, pfn, PageFlags::ACCESSED | dirty | locked);
        Ok(())
    }

    fn new_shared_page<S: PageSource>(
        &mut self,
        pages: &mut S,
        object: u16,
        offset: VirtAddr,
    ) -> Result<types::Pfn, SpaceError> {
        let pfn = self.new_page(pages)?;
        memory::zero_page(&self.arch, pfn);
        add_flags(pages, pfn, PageFlags::SHMEM);
        match self.install(pages, object, offset, Entry::new(pfn, VmFlags::READ, false)) {
            Ok(()) => Ok(pfn),
            Err(error) => {
                put_page(pages, pfn);
                Err(error)
            }
        }
    }

    /// Shows the shared region that begins at `from` in the space `source` in another space, too.
    ///
    /// # Errors
    /// [`SpaceError::NotMapped`] when there is no shared region; otherwise as for
    /// [`mmap`](Spaces::mmap).
    pub fn share<S: PageSource>(
        &mut self,
        pages: &mut S,
        (source, from): (SpaceId, VirtAddr),
        target: SpaceId,
        place: super::Placement,
    ) -> Result<VirtAddr, SpaceError> {
        let vma = self.space(source)?.vmas.find(&self.arch, from.get());
        let vma = vma.filter(|vma| vma.flags().contains(VmFlags::SHARED) && from.is_aligned(PAGE_SIZE));
        let vma = vma.ok_or(SpaceError::NotMapped { virt: from })?;
        self.space(target)?;
        let region = vma.part(from.get(), u32::MAX).with_flags(vma.flags() - VmFlags::LOCKED);
        let start = self.place(pages, target, place, region.len())?;
        self.hold_object(&region);
        self.insert_region(target.slot, region.moved_to(start));
        Ok(VirtAddr::new(start))
    }
}
