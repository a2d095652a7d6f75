//! Pins: for users that rely on the physical address of a page, such as a device that writes into it.
//!
//! | | resident | may be moved | keeps the page after `munmap` |
//! | --- | --- | --- | --- |
//! | `mlock` | yes | yes | no |
//! | a short pin | yes | no: `MigrateError::Pinned` | yes |
//! | a long-term pin | yes | no, and it has left CMA first (invariant 3) | yes |
//!
//! A pinned page is the space's own: pinning copies what fork left shared, and fork copies what is pinned, so the
//! device and the space always see the same page (Linux's rules since 5.19, `Documentation/core-api/pin_user_pages`).

use crate::migrate::MigrateFailure;
use crate::space::{Access, SpaceError, SpaceEvent, SpaceId, SpacePages, Spaces, UserArch, record};
use crate::space::{add_flags, put_page};
use crate::{MigrateReason, PageFlags};
use bitflags::bitflags;
use core::fmt;
use types::{PAGE_SIZE, Pfn, VirtAddr};

bitflags! {
    /// How a page is pinned (Linux's `FOLL_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct Foll: u8 {
        /// The user will write.
        const WRITE = 1;
        /// For longer than one operation.
        const LONGTERM = 2;
    }
}

/// A pin; ending it consumes it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping a pin keeps the page for good"]
pub struct PinnedPage {
    pfn: Pfn,
}

impl PinnedPage {
    /// The page.
    #[must_use]
    pub const fn pfn(&self) -> Pfn {
        self.pfn
    }
}

/// Why a page was not pinned. Nothing is pinned then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinError {
    /// The space doesn't allow the access, or there is no memory.
    Space(SpaceError),
    /// A page in CMA could not be moved out for a long-term pin.
    Migrate(MigrateFailure),
    /// 65,535 pins already.
    TooMany {
        /// The page.
        pfn: Pfn,
    },
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Space(error) => error.fmt(f),
            Self::Migrate(failure) => failure.fmt(f),
            Self::TooMany { pfn } => write!(f, "pfn {pfn} is pinned too often"),
        }
    }
}

impl From<SpaceError> for PinError {
    fn from(error: SpaceError) -> Self {
        Self::Space(error)
    }
}

impl<A: UserArch> Spaces<'_, A> {
    /// Pins the page at `virt`, which becomes resident and the space's own.
    ///
    /// # Errors
    /// [`PinError`]; [`SpaceError::Migrating`] while the page is being moved.
    pub fn pin_user_page<S: SpacePages>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        how: Foll,
    ) -> Result<PinnedPage, PinError> {
        let access = if how.contains(Foll::WRITE) { Access::Write } else { Access::Read };
        self.resolve(pages, id, virt, access)?;
        let mut pfn = self.unshared(pages, id, virt)?;
        let page = record(pages, pfn);
        if page.flags().contains(PageFlags::LOCKED) {
            return Err(SpaceError::Migrating { virt }.into());
        }
        if how.contains(Foll::LONGTERM) && pages.is_cma(pfn) {
            pfn = self.leave_cma(pages, pfn)?;
        }
        let page = record(pages, pfn);
        page.set_pins(page.pins().checked_add(1).ok_or(PinError::TooMany { pfn })?);
        pages.count(SpaceEvent::Pinned);
        Ok(PinnedPage { pfn })
    }

    /// The page at `virt`, which is mapped, made the space's own.
    fn unshared<S: SpacePages>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
    ) -> Result<Pfn, SpaceError> {
        let vma = self.space(id)?.vmas.find(&self.arch, virt.get());
        let vma = vma.ok_or(SpaceError::NotMapped { virt })?;
        self.own_page(pages, id.slot(), &vma, virt.align_down(PAGE_SIZE))
    }

    /// Moves a page to where it may stay for long.
    fn leave_cma<S: SpacePages>(&mut self, pages: &mut S, pfn: Pfn) -> Result<Pfn, PinError> {
        match self.migrate_page(pages, pfn, MigrateReason::LongtermPin) {
            Ok(new) => {
                pages.count(SpaceEvent::Migrated(1));
                Ok(new)
            }
            Err(failure) => {
                pages.count(SpaceEvent::MigrateFailed(1));
                Err(PinError::Migrate(failure))
            }
        }
    }

    /// Pins a page for each place in `pins`, from `virt` on: all or none.
    ///
    /// # Errors
    /// [`PinError`].
    pub fn pin_user_pages<S: SpacePages>(
        &mut self,
        pages: &mut S,
        id: SpaceId,
        virt: VirtAddr,
        how: Foll,
        pins: &mut [Option<PinnedPage>],
    ) -> Result<(), PinError> {
        for index in 0..pins.len() {
            let at = VirtAddr::new(virt.get().wrapping_add(index as u32 * PAGE_SIZE));
            match self.pin_user_page(pages, id, at, how) {
                Ok(pin) => pins[index] = Some(pin),
                Err(error) => {
                    for pin in pins[..index].iter_mut().filter_map(Option::take) {
                        unpin_user_page(pages, pin, false);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Ends a pin. `dirty` says that the user has written.
pub fn unpin_user_page<S: SpacePages>(pages: &mut S, pin: PinnedPage, dirty: bool) {
    let PinnedPage { pfn } = pin;
    let page = record(pages, pfn);
    page.set_pins(page.pins() - 1);
    pages.count(SpaceEvent::Unpinned);
    if dirty {
        add_flags(pages, pfn, PageFlags::DIRTY | PageFlags::ACCESSED);
    }
    put_page(pages, pfn);
}
