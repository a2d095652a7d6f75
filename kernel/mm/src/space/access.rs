//! Reading and writing the memory of a space that need not be running, page by page through temporary mappings
//! (`access_process_vm`).

use super::memory::{read_page, write_page};
use super::{Access, SpaceError, SpaceId, SpacePages, Spaces, UserArch};
use types::{PAGE_SIZE, Pfn, VirtAddr};

/// `[virt, virt + len)`, cut at page borders: address, and where in the buffer.
fn pieces(virt: VirtAddr, len: usize) -> impl Iterator<Item = (VirtAddr, core::ops::Range<usize>)> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let here = virt.get().wrapping_add(at as u32);
        let size = (len - at).min((PAGE_SIZE - here % PAGE_SIZE) as usize);
        let piece = (VirtAddr::new(here), at..at + size);
        at += size;
        (size > 0).then_some(piece)
    })
}

impl<A: UserArch> Spaces<'_, A> {
    /// The page at `virt`, with the access done that the space itself would do.
    ///
    /// # Errors
    /// [`SpaceError::Migrating`] while the page is being moved; otherwise what a fault would say.
    pub(crate) fn resolve<S: SpacePages>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        access: Access,
    ) -> Result<Pfn, SpaceError> {
        let page = virt.align_down(PAGE_SIZE);
        let vma = self.space(id)?.vmas.find(&self.arch, virt.get());
        let vma = vma.ok_or(SpaceError::NotMapped { virt })?;
        if !vma.flags().intersects(access.needs()) {
            return Err(SpaceError::Denied { virt });
        }
        self.fault_in(pages, id.slot, &vma, page, access)?;
        let entry = self.entry(id.slot, page)?;
        entry.map(|entry| entry.pfn).ok_or(SpaceError::NotMapped { virt })
    }

    /// Copies out of a space.
    ///
    /// # Errors
    /// [`SpaceError`]; the bytes before the refused page have been read.
    pub fn read<S: SpacePages>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        bytes: &mut [u8],
    ) -> Result<(), SpaceError> {
        for (at, range) in pieces(virt, bytes.len()) {
            let pfn = self.resolve(pages, id, at, Access::Read)?;
            read_page(&self.arch, pfn, at.get() % PAGE_SIZE, &mut bytes[range]);
        }
        Ok(())
    }

    /// Copies into a space.
    ///
    /// # Errors
    /// [`SpaceError`]; the bytes before the refused page have been written.
    pub fn write<S: SpacePages>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        bytes: &[u8],
    ) -> Result<(), SpaceError> {
        for (at, range) in pieces(virt, bytes.len()) {
            let pfn = self.resolve(pages, id, at, Access::Write)?;
            write_page(&self.arch, pfn, at.get() % PAGE_SIZE, &bytes[range]);
        }
        Ok(())
    }
}
