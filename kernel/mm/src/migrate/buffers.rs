//! Driver buffers that move: reached through handles only, so nobody keeps an address.
//!
//! ```text
//! BufferHandle ─▶ slot ─▶ block of pages ─▶ record: number of this driver, slot
//!                  └ guards: while there is one, the block stays where it is
//! ```
//!
//! The buffers lie in `MOVABLE` pageblocks, CMA included, and never block a CMA allocation but for the short time
//! that somebody looks at them (invariant 3).
//!
//! This is one of the modules with `unsafe` code: the bytes of a buffer as a slice.
#![allow(unsafe_code)]

use super::{MigrateMode, MovableOps};
use crate::space::record;
use crate::{AllocError, Frames, Gfp, MigrateError, PageSource, PageState};
use core::fmt;
use hal::LinearMap;
use types::{Order, PAGE_SIZE, Pfn};

/// Lowmem that its owner can move.
const GFP: Gfp = Gfp::KERNEL.union(Gfp::__MOVABLE);
/// The word of a block's record that says which slot it belongs to.
const SLOT: usize = 0;

/// Owns a buffer; freeing consumes it (invariant 2).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping the handle leaks the buffer"]
pub struct BufferHandle {
    slot: u16,
}

/// Keeps a buffer where it is; releasing consumes it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping the guard keeps the buffer from moving for good"]
pub struct BufferGuard {
    slot: u16,
    pfn: Pfn,
}

impl BufferGuard {
    /// Where the buffer is while the guard lives.
    #[must_use]
    pub const fn pfn(&self) -> Pfn {
        self.pfn
    }
}

/// A buffer, in memory that the caller provides.
#[derive(Clone, Copy, Debug)]
pub struct BufferSlot {
    block: Option<(Pfn, Order)>,
    guards: u16,
    isolated: bool,
}

impl BufferSlot {
    /// An unused slot.
    pub const EMPTY: Self = Self { block: None, guards: 0, isolated: false };
}

impl Default for BufferSlot {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Why there is no buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BufferError {
    /// All slots are in use.
    NoSlot,
    /// No memory.
    NoMemory(AllocError),
    /// Somebody looks at it.
    InUse {
        /// Where it is.
        pfn: Pfn,
    },
    /// It is being moved.
    Moving {
        /// Where it was.
        pfn: Pfn,
    },
}

impl fmt::Display for BufferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlot => f.write_str("movable buffers: all handles are in use"),
            Self::NoMemory(error) => error.fmt(f),
            Self::InUse { pfn } => write!(f, "movable buffer at pfn {pfn}: in use"),
            Self::Moving { pfn } => write!(f, "movable buffer at pfn {pfn}: being moved"),
        }
    }
}

/// The driver.
#[derive(Debug)]
pub struct MovableBuffers<'m, L> {
    linear: L,
    slots: &'m mut [BufferSlot],
    number: u8,
}

impl<'m, L: LinearMap> MovableBuffers<'m, L> {
    /// No buffers yet, and room for as many as there are slots (65,536 at most). `number` is the driver's place in
    /// the [`Migrator`](super::Migrator)'s list.
    pub fn new(linear: L, slots: &'m mut [BufferSlot], number: u8) -> Self {
        Self { linear, slots, number }
    }

    /// A buffer of 2^`order` pages, zeroed.
    ///
    /// # Errors
    /// No slot or no memory.
    pub fn alloc<S: PageSource>(&mut self, pages: &mut S, order: Order) -> Result<BufferHandle, BufferError> {
        let free = self.slots.iter().position(|slot| slot.block.is_none());
        let slot = free.and_then(|slot| u16::try_from(slot).ok()).ok_or(BufferError::NoSlot)?;
        let frames = pages.alloc_pages(GFP | Gfp::__ZERO, order, PageState::DriverMovable);
        let (pfn, order) = frames.map_err(BufferError::NoMemory)?.into_raw();
        let page = record(pages, pfn);
        page.set_aux(self.number);
        page.set_word(SLOT, slot.into());
        self.slots[usize::from(slot)] = BufferSlot { block: Some((pfn, order)), ..BufferSlot::EMPTY };
        Ok(BufferHandle { slot })
    }

    /// Frees a buffer.
    ///
    /// # Errors
    /// A guard is out, and the handle comes back.
    pub fn free<S: PageSource>(
        &mut self,
        pages: &mut S,
        handle: BufferHandle,
    ) -> Result<(), (BufferHandle, BufferError)> {
        match self.usable(&handle) {
            Ok((pfn, order)) => {
                if self.slots[usize::from(handle.slot)].guards > 0 {
                    return Err((handle, BufferError::InUse { pfn }));
                }
                self.slots[usize::from(handle.slot)] = BufferSlot::EMPTY;
                pages.free_pages(Frames::from_raw(pfn, order));
                Ok(())
            }
            Err(error) => Err((handle, error)),
        }
    }

    fn usable(&self, handle: &BufferHandle) -> Result<(Pfn, Order), BufferError> {
        let slot = self.slots.get(usize::from(handle.slot)).ok_or(BufferError::NoSlot)?;
        let (pfn, order) = slot.block.ok_or(BufferError::NoSlot)?;
        if slot.isolated { Err(BufferError::Moving { pfn }) } else { Ok((pfn, order)) }
    }

    /// Looks at a buffer, wherever it is now.
    ///
    /// # Errors
    /// It is being moved.
    pub fn with<R>(
        &mut self,
        handle: &BufferHandle,
        work: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, BufferError> {
        let (pfn, order) = self.usable(handle)?;
        let len = PAGE_SIZE as usize * order.pages() as usize;
        // SAFETY: the block is lowmem in one bank and belongs to the handle (invariant 2), zeroed when it was
        // allocated. `&mut self` keeps everybody else, and a move, away while the slice lives; whoever holds a guard
        // has an address but promises a device's access only, which the owner of the handle has to order.
        let bytes = unsafe { core::slice::from_raw_parts_mut(self.linear.ptr(pfn.addr()), len) };
        Ok(work(bytes))
    }

    /// Keeps a buffer where it is until the guard is [released](MovableBuffers::release).
    ///
    /// # Errors
    /// It is being moved.
    pub fn hold(&mut self, handle: &BufferHandle) -> Result<BufferGuard, BufferError> {
        let (pfn, _) = self.usable(handle)?;
        let slot = &mut self.slots[usize::from(handle.slot)];
        slot.guards = slot.guards.checked_add(1).ok_or(BufferError::InUse { pfn })?;
        Ok(BufferGuard { slot: handle.slot, pfn })
    }

    /// Ends [`MovableBuffers::hold`].
    pub fn release(&mut self, guard: BufferGuard) {
        self.slots[usize::from(guard.slot)].guards -= 1;
    }
}

impl<L: LinearMap, S: PageSource> MovableOps<S> for MovableBuffers<'_, L> {
    fn name(&self) -> &'static str {
        "movable buffers"
    }

    fn gfp(&self) -> Gfp {
        GFP
    }

    fn isolate(&mut self, pages: &mut S, pfn: Pfn, _mode: MigrateMode) -> Result<(), MigrateError> {
        let number = record(pages, pfn).word(SLOT) as usize;
        let slot = self.slots.get_mut(number).ok_or(MigrateError::NotMovable)?;
        if slot.block.is_none_or(|block| block.0 != pfn) {
            return Err(MigrateError::NotMovable);
        }
        if slot.isolated || slot.guards > 0 {
            return Err(MigrateError::Busy);
        }
        slot.isolated = true;
        Ok(())
    }

    fn migrate(&mut self, pages: &mut S, from: Pfn, to: Pfn, order: Order) -> Result<(), MigrateError> {
        let (source, target) = (self.linear.ptr(from.addr()), self.linear.ptr(to.addr()));
        // SAFETY: two different blocks of this order in lowmem. `from` is isolated: nobody looks at it; `to` was
        // allocated for this (invariant 2).
        unsafe { target.copy_from_nonoverlapping(source, PAGE_SIZE as usize * order.pages() as usize) };
        let number = record(pages, to).word(SLOT) as usize;
        self.slots[number].block = Some((to, order));
        self.slots[number].isolated = false;
        Ok(())
    }

    fn putback(&mut self, pages: &mut S, pfn: Pfn) {
        let number = record(pages, pfn).word(SLOT) as usize;
        if let Some(slot) = self.slots.get_mut(number) {
            slot.isolated = false;
        }
    }
}
