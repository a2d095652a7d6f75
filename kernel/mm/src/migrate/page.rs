//! The migration of one page of the spaces, step by step.

use super::{Holder, MigrateFailure};
use crate::space::rmap::{Cursor, RMAP};
use crate::space::{Entry, Spaces, UserArch, copy_page, record};
use crate::{Frames, Gfp, MigrateReason, PageFlags, PageSource, PageState};
use hal::SpaceTable;
use types::{Order, Pfn};

/// The word of a page's record that names the other page while it is being moved.
const PARTNER: usize = 1;

/// Mappings of a page that moves the short way, at most.
const FEW: usize = 4;
/// An entry that waits, and the slot of its space.
type Waiting<A> = (u16, <<A as UserArch>::Table as SpaceTable>::Suspended);

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Locked,
    Unmapped,
    Copied,
}

/// Whether a migration has come to its end.
#[derive(Debug)]
#[must_use]
pub enum MigrateStep {
    /// Step it again.
    More(Migration),
    /// The page has moved, or had no user left; the old one is free.
    Done,
}

/// A page on its way.
#[derive(Debug)]
#[must_use = "entries wait until it is stepped to its end or aborted"]
pub struct Migration {
    old: Pfn,
    new: Pfn,
    stage: Stage,
}

impl Migration {
    /// From where.
    #[must_use]
    pub const fn old(&self) -> Pfn {
        self.old
    }

    /// To where.
    #[must_use]
    pub const fn new_page(&self) -> Pfn {
        self.new
    }
}

impl<A: UserArch> Spaces<'_, A> {
    /// Locks a page of the spaces, and takes the page that it goes to.
    ///
    /// # Errors
    /// [`MigrateFailure`]; nothing has changed then.
    #[inline]
    pub fn migrate_begin<S: PageSource>(
        &mut self,
        pages: &mut S,
        pfn: Pfn,
        reason: MigrateReason,
    ) -> Result<Migration, MigrateFailure> {
        let new = take_target(pages, pfn, reason)?;
        lock(pages, pfn, new);
        Ok(Migration { old: pfn, new, stage: Stage::Locked })
    }

    /// The next step.
    pub fn migrate_step<S: PageSource>(&mut self, pages: &mut S, mut migration: Migration) -> MigrateStep {
        migration.stage = match migration.stage {
            Stage::Locked => {
                self.unmap_page(pages, migration.old);
                Stage::Unmapped
            }
            Stage::Unmapped => {
                copy_page(&self.arch, migration.new, migration.old);
                Stage::Copied
            }
            Stage::Copied => {
                self.settle(pages, migration);
                return MigrateStep::Done;
            }
        };
        MigrateStep::More(migration)
    }

    /// Gives up a migration: the page stays where it is.
    pub fn migrate_abort<S: PageSource>(&mut self, pages: &mut S, migration: Migration) {
        let Migration { old, new, stage } = migration;
        if stage != Stage::Locked {
            self.remap_page(pages, old, old);
        }
        let page = record(pages, old);
        page.set_flags(page.flags() - PageFlags::LOCKED);
        crate::space::put_page(pages, old);
        pages.free_pages(Frames::from_raw(new, Order::ZERO));
    }

    /// All steps at once.
    ///
    /// # Errors
    /// [`MigrateFailure`]; nothing has changed then.
    #[inline]
    pub fn migrate_page<S: PageSource>(
        &mut self,
        pages: &mut S,
        pfn: Pfn,
        reason: MigrateReason,
    ) -> Result<Pfn, MigrateFailure> {
        let new = take_target(pages, pfn, reason)?;
        if !self.move_shortly(pages, pfn, new) {
            self.move_with_all_mappings(pages, pfn, new);
        }
        trace::mm_migrate_page(pfn.get(), new.get(), 0, reason as u8);
        Ok(new)
    }

    /// The short way of the usual page: it has few mappings, which translate and aren't executable. Its entries wait only
    /// while it is copied, and nobody looks at the records meanwhile, so they need not say that it is on its way. `false`,
    /// and nothing has changed, when the page is another.
    #[inline]
    fn move_shortly<S: PageSource>(&mut self, pages: &mut S, old: Pfn, new: Pfn) -> bool {
        let page = record(pages, old);
        if !(1..=FEW).contains(&usize::from(page.refs())) {
            return false;
        }
        let mut cursor = Cursor::new(page);
        let (mut suspended, mut count) = ([None; FEW], 0);
        while let Some(mapping) = cursor.next(&self.arch) {
            let Some(entry) = self.at(mapping.slot()).table.suspend(mapping.virt(), Entry::waiting) else {
                self.resume(&suspended[..count], old);
                return false;
            };
            suspended[count] = Some((mapping.slot(), entry));
            count += 1;
        }
        copy_page(&self.arch, new, old);
        let young = self.resume(&suspended[..count], new);
        hand_over(pages, old, new, young);
        true
    }

    /// Lets entries that were suspended show `to`; whether one of them was touched lately.
    #[inline]
    fn resume(&mut self, suspended: &[Option<Waiting<A>>], to: Pfn) -> bool {
        let mut young = false;
        for &(slot, entry) in suspended.iter().flatten() {
            young |= self.at(slot).table.resume(entry, to);
        }
        young
    }

    #[inline(never)]
    fn move_with_all_mappings<S: PageSource>(&mut self, pages: &mut S, old: Pfn, new: Pfn) {
        lock(pages, old, new);
        self.unmap_page(pages, old);
        copy_page(&self.arch, new, old);
        self.settle(pages, Migration { old, new, stage: Stage::Copied });
    }

    /// Makes every entry for the page one that waits. The TLB is clean of them afterwards.
    fn unmap_page<S: PageSource>(&mut self, pages: &mut S, pfn: Pfn) {
        let mut cursor = Cursor::new(record(pages, pfn));
        while let Some(mapping) = cursor.next(&self.arch) {
            self.update_entry(mapping.slot(), mapping.virt(), |entry| Entry { moving: true, ..entry });
        }
    }

    /// Lets the entries that wait for `old` show `new`. Whether one of them was touched lately.
    fn remap_page<S: PageSource>(&mut self, pages: &mut S, old: Pfn, new: Pfn) -> bool {
        let (mut young, mut synced) = (false, false);
        let mut cursor = Cursor::new(record(pages, old));
        while let Some(mapping) = cursor.next(&self.arch) {
            let Self { arch, slots, .. } = self;
            let Some(space) = &mut slots[usize::from(mapping.slot())].space else { continue };
            let done = space.table.update_pte(mapping.virt(), |pte| {
                let entry = Entry::decode(pte)?;
                if entry.is_executable() && !synced {
                    arch.sync_icache(new);
                    synced = true;
                }
                young |= entry.young;
                Some(Entry { pfn: new, moving: false, ..entry }.encode())
            });
            debug_assert!(done.is_ok());
        }
        young
    }

    /// The last step: entries show the new page, whose record takes over flags, count and reverse map.
    fn settle<S: PageSource>(&mut self, pages: &mut S, migration: Migration) {
        let Migration { old, new, .. } = migration;
        let young = self.remap_page(pages, old, new);
        hand_over(pages, old, new, young);
        // Everybody has unmapped it meanwhile.
        if record(pages, new).refs() == 0 {
            pages.free_pages(Frames::from_raw(new, Order::ZERO));
        }
    }
}

/// The record of the new page takes over flags, count and reverse map; the old page is freed.
#[inline]
fn hand_over<S: PageSource>(pages: &mut S, old: Pfn, new: Pfn, young: bool) {
    let touched = if young { PageFlags::ACCESSED } else { PageFlags::empty() };
    let page = record(pages, old);
    let (flags, refs, rmap) = (page.flags() - PageFlags::LOCKED, page.refs(), page.word(RMAP));
    page.set_refs(0);
    page.set_flags(PageFlags::empty());
    let page = record(pages, new);
    page.set_flags(flags | touched);
    page.set_refs(refs);
    page.set_word(RMAP, rmap);
    page.set_word(PARTNER, 0);
    pages.free_pages(Frames::from_raw(old, Order::ZERO));
}

/// Makes sure that a page can be moved now, and takes one that it goes to.
#[inline]
fn take_target<S: PageSource>(pages: &mut S, pfn: Pfn, reason: MigrateReason) -> Result<Pfn, MigrateFailure> {
    if let Some(holder) = holder_of(pages, pfn) {
        return Err(MigrateFailure { pfn, holder });
    }
    // A page that is about to be pinned for long must not stand where somebody may want to move it from.
    let gfp = if reason == MigrateReason::LongtermPin { Gfp::HIGHUSER } else { Gfp::HIGHUSER_MOVABLE };
    match pages.alloc_pages(gfp | Gfp::__NOWARN, Order::ZERO, PageState::Anon) {
        Ok(frames) => Ok(frames.pfn()),
        Err(error) => Err(MigrateFailure { pfn, holder: Holder::NoRoom(error) }),
    }
}

/// Notes that the page at `old` is on its way to `new`.
fn lock<S: PageSource>(pages: &mut S, old: Pfn, new: Pfn) {
    let target = record(pages, new);
    target.set_flags(PageFlags::LOCKED);
    target.set_word(PARTNER, old.get());
    let page = record(pages, old);
    page.set_flags(page.flags() | PageFlags::LOCKED);
    page.set_word(PARTNER, new.get());
}

/// What keeps a page of the spaces where it is now.
fn holder_of<S: PageSource>(pages: &S, pfn: Pfn) -> Option<Holder> {
    let Some(page) = pages.page(pfn) else { return Some(Holder::Owner(PageState::NotMemory)) };
    if page.state() != PageState::Anon {
        Some(Holder::Owner(page.state()))
    } else if page.pins() > 0 {
        Some(Holder::Pins(page.pins()))
    } else if page.flags().contains(PageFlags::LOCKED) {
        Some(Holder::Migration)
    } else {
        None
    }
}
