//! Pages that drivers own and can move (Linux's non-LRU movable pages), and the mover of both kinds.

use super::{Holder, MigrateFailure, MigrateMode};
use crate::space::{Spaces, UserArch, record};
use crate::{Frames, Gfp, MigrateError, MigrateReason, Mover, PageSource, PageState};
use types::{Order, Pfn};

/// How a driver's pages are moved (Linux's `struct movable_operations`).
///
/// A driver takes blocks in state [`PageState::DriverMovable`] and writes its number into each head's
/// [`aux`](crate::Page::aux): its place in the list that [`Migrator`] is given. Words 1 and 2 are the driver's.
pub trait MovableOps<S: PageSource> {
    /// For messages.
    fn name(&self) -> &'static str;

    /// Where a block may go.
    fn gfp(&self) -> Gfp;

    /// Stops all use of the block until it has been moved or [put back](MovableOps::putback).
    ///
    /// # Errors
    /// [`MigrateError::Busy`] while it is in use, [`MigrateError::Pinned`] when that may last.
    fn isolate(&mut self, pages: &mut S, pfn: Pfn, mode: MigrateMode) -> Result<(), MigrateError>;

    /// Copies the isolated block at `from` to the one at `to`, which is as large, and uses `to` from now on. The
    /// record of `to` has the owner's number and words already; the caller frees `from`.
    ///
    /// # Errors
    /// [`MigrateError`]: the driver goes on using `from`, which is still isolated.
    fn migrate(&mut self, pages: &mut S, from: Pfn, to: Pfn, order: Order) -> Result<(), MigrateError>;

    /// Ends the isolation of a block that did not move.
    fn putback(&mut self, pages: &mut S, pfn: Pfn);
}

/// Moves whatever can be moved, made for the duration of one operation.
pub struct Migrator<'a, 'd, 'm, A: UserArch, S: PageSource> {
    /// The address spaces.
    pub spaces: &'a mut Spaces<'m, A>,
    /// The drivers, by number.
    pub drivers: &'a mut [&'d mut dyn MovableOps<S>],
    /// How patient.
    pub mode: MigrateMode,
}

impl<A: UserArch, S: PageSource> Migrator<'_, '_, '_, A, S> {
    /// Moves the block at `pfn`; counts nothing.
    ///
    /// # Errors
    /// [`MigrateFailure`]; nothing has changed then.
    #[inline]
    pub fn move_block(
        &mut self,
        pages: &mut S,
        pfn: Pfn,
        reason: MigrateReason,
    ) -> Result<(), MigrateFailure> {
        let state = pages.page(pfn).map_or(PageState::NotMemory, crate::Page::state);
        match state {
            PageState::Anon => self.spaces.migrate_page(pages, pfn, reason).map(|_| ()),
            PageState::DriverMovable => self.move_driver_block(pages, pfn, reason),
            owner => Err(MigrateFailure { pfn, holder: Holder::Owner(owner) }),
        }
    }

    fn move_driver_block(
        &mut self,
        pages: &mut S,
        pfn: Pfn,
        reason: MigrateReason,
    ) -> Result<(), MigrateFailure> {
        let page = record(pages, pfn);
        let (number, words) = (page.aux(), [page.word(0), page.word(1)]);
        let order = Order::new(page.order()).unwrap_or(Order::MAX);
        if page.pins() > 0 {
            return Err(MigrateFailure { pfn, holder: Holder::Pins(page.pins()) });
        }
        let unknown = MigrateFailure { pfn, holder: Holder::Owner(PageState::DriverMovable) };
        let driver = self.drivers.get_mut(usize::from(number)).ok_or(unknown)?;
        let name = driver.name();
        let said = |why| MigrateFailure { pfn, holder: Holder::Driver { name, why } };
        driver.isolate(pages, pfn, self.mode).map_err(said)?;
        let taken = pages.alloc_pages(driver.gfp() | Gfp::__NOWARN, order, PageState::DriverMovable);
        let to = match taken {
            Ok(frames) => frames.into_raw().0,
            Err(error) => {
                driver.putback(pages, pfn);
                return Err(MigrateFailure { pfn, holder: Holder::NoRoom(error) });
            }
        };
        let page = record(pages, to);
        page.set_aux(number);
        (0..2).for_each(|word| page.set_word(word, words[word]));
        let moved = driver.migrate(pages, pfn, to, order);
        match moved {
            Ok(()) => trace::mm_migrate_page(pfn.get(), to.get(), order.get(), reason as u8),
            Err(_) => driver.putback(pages, pfn),
        }
        let unused = if moved.is_ok() { pfn } else { to };
        pages.free_pages(Frames::from_raw(unused, order));
        moved.map_err(said)
    }
}

impl<A: UserArch, S: PageSource> Mover<S> for Migrator<'_, '_, '_, A, S> {
    #[inline]
    fn migrate(&mut self, pages: &mut S, pfn: Pfn, reason: MigrateReason) -> Result<(), MigrateError> {
        let count = pages.page(pfn).map_or(1, |page| 1 << page.order());
        let moved = self.move_block(pages, pfn, reason);
        let (succeeded, failed) = if moved.is_ok() { (count, 0) } else { (0, count) };
        trace::mm_migrate_pages(succeeded, failed, self.mode as u8, reason as u8);
        moved.map_err(|failure| {
            log::debug!("migrate: {failure}");
            failure.into()
        })
    }
}
