//! `fork`: a second space with the same contents.
//!
//! Private pages become read-only in both, and the first store of either copies. A page that is pinned is copied at
//! once, because its owner must keep the very page (Linux's `copy_present_page`). A page that is being moved gets
//! one more entry that waits.

use super::{Entry, SpaceError, SpaceId, Spaces, UserArch, VmFlags, Vma};
use super::{add_flags, memory, put_page, record};
use crate::{PageFlags, PageSource};
use hal::SpaceTable;
use types::{PAGE_SIZE, VirtAddr};

impl<A: UserArch> Spaces<'_, A> {
    /// A copy of a space. Locks on memory are not inherited.
    ///
    /// # Errors
    /// [`SpaceError`]; there is no copy then.
    pub fn fork<S: PageSource>(&mut self, pages: &mut S, id: SpaceId) -> Result<SpaceId, SpaceError> {
        let count = self.space(id)?.vmas.count();
        let child = self.create(pages)?;
        for index in 0..count {
            let done = self.fork_region(pages, id.slot, child.slot, index);
            if let Err(error) = done {
                self.destroy(pages, child)?;
                return Err(error);
            }
        }
        Ok(child)
    }

    fn fork_region<S: PageSource>(
        &mut self,
        pages: &mut S,
        parent: u16,
        child: u16,
        index: u32,
    ) -> Result<(), SpaceError> {
        let Self { arch, slots, .. } = self;
        let vma = slots[usize::from(parent)].space.as_ref().and_then(|space| space.vmas.get(arch, index));
        let Some(vma) = vma else { return Ok(()) };
        if let Some(space) = &mut slots[usize::from(child)].space {
            space.vmas.reserve(arch, pages, 1)?;
        }
        let region = vma.with_flags(vma.flags() - VmFlags::LOCKED);
        self.hold_object(&region);
        self.insert_region(child, region);
        let mut from = vma.start();
        while let Some(virt) = self.at(parent).table.next_used(from, vma.end()) {
            from = VirtAddr::new(virt.get() + PAGE_SIZE);
            if let Some(entry) = self.entry(parent, virt)? {
                self.fork_entry(pages, parent, child, &vma, virt, entry)?;
            }
        }
        Ok(())
    }

    fn fork_entry<S: PageSource>(
        &mut self,
        pages: &mut S,
        parent: u16,
        child: u16,
        vma: &Vma,
        virt: VirtAddr,
        entry: Entry,
    ) -> Result<(), SpaceError> {
        let private = !vma.flags().contains(VmFlags::SHARED);
        if private && entry.pfn != self.zero && record(pages, entry.pfn).pins() > 0 {
            return self.fork_copy(pages, child, virt, entry);
        }
        let shared = if private { entry.without_write() } else { entry };
        self.install(pages, child, virt, shared)?;
        if shared != entry {
            self.set_entry(parent, virt, shared);
        }
        Ok(())
    }

    /// A copy of the page for the child alone.
    fn fork_copy<S: PageSource>(
        &mut self,
        pages: &mut S,
        child: u16,
        virt: VirtAddr,
        entry: Entry,
    ) -> Result<(), SpaceError> {
        let pfn = self.new_page(pages)?;
        memory::copy_page(&self.arch, pfn, entry.pfn);
        add_flags(pages, pfn, PageFlags::DIRTY);
        if entry.is_executable() {
            self.arch.sync_icache(pfn);
        }
        let done = self.install(pages, child, virt, Entry { pfn, ..entry });
        if done.is_err() {
            put_page(pages, pfn);
        }
        done
    }
}
