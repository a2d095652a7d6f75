//! A heap with slots for what it has given out: what makes the workloads safe code.

use super::Heap;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::hint::black_box;
use core::ptr::NonNull;

/// The heap had nothing left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted;

/// An object that is somebody's.
#[derive(Debug)]
struct Object {
    ptr: NonNull<u8>,
    layout: Layout,
}

/// The alignment that kernel objects ask for.
const ALIGN: usize = 8;

#[inline(always)]
fn layout(size: u32) -> Result<Layout, Exhausted> {
    Layout::from_size_align((size as usize).max(1), ALIGN).map_err(|_| Exhausted)
}

/// A heap, and objects of it in numbered slots. They are freed when it is dropped.
pub struct Store<'h, H: Heap> {
    heap: &'h mut H,
    slots: Vec<Option<Object>>,
}

impl<'h, H: Heap> Store<'h, H> {
    /// With `slots` empty slots.
    pub fn new(heap: &'h mut H, slots: usize) -> Self {
        let mut store = Self { heap, slots: Vec::with_capacity(slots) };
        store.slots.resize_with(slots, || None);
        store
    }

    /// Allocates and frees at once.
    ///
    /// # Errors
    /// [`Exhausted`].
    #[inline(always)]
    pub fn pair(&mut self, size: u32) -> Result<(), Exhausted> {
        let layout = layout(size)?;
        let ptr = black_box(self.heap.alloc(layout)).ok_or(Exhausted)?;
        // SAFETY: just given out for this layout, and known to nobody else.
        unsafe { self.heap.free(ptr, layout) };
        Ok(())
    }

    /// Puts an object of `size` bytes into an empty slot.
    ///
    /// # Errors
    /// [`Exhausted`].
    #[inline(always)]
    pub fn take(&mut self, slot: u32, size: u32) -> Result<(), Exhausted> {
        let layout = layout(size)?;
        let entry = self.slots.get_mut(slot as usize).ok_or(Exhausted)?;
        debug_assert!(entry.is_none(), "slot {slot} is taken");
        let ptr = self.heap.alloc(layout).ok_or(Exhausted)?;
        *entry = Some(Object { ptr, layout });
        Ok(())
    }

    /// Frees what is in a slot.
    #[inline(always)]
    pub fn give(&mut self, slot: u32) {
        let object = self.slots.get_mut(slot as usize).and_then(Option::take);
        debug_assert!(object.is_some(), "slot {slot} is empty");
        if let Some(Object { ptr, layout }) = object {
            // SAFETY: what is in a slot was given out by this heap for this layout, and has left the slot.
            unsafe { self.heap.free(ptr, layout) };
        }
    }

    /// Makes the object in a slot `size` bytes large.
    ///
    /// # Errors
    /// [`Exhausted`]; also for an empty slot.
    #[inline(always)]
    pub fn resize(&mut self, slot: u32, size: u32) -> Result<(), Exhausted> {
        let object = self.slots.get_mut(slot as usize).and_then(Option::as_mut).ok_or(Exhausted)?;
        let new = layout(size)?;
        // SAFETY: as in `give`; the slot then has the new object. The size is above 0 and makes a layout.
        let moved = unsafe { self.heap.realloc(object.ptr, object.layout, new.size()) };
        *object = Object { ptr: moved.ok_or(Exhausted)?, layout: new };
        Ok(())
    }

    /// Whether a slot has an object.
    #[inline(always)]
    #[must_use]
    pub fn is_taken(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(Option::is_some)
    }
}

impl<H: Heap> Drop for Store<'_, H> {
    fn drop(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            if self.is_taken(slot) {
                self.give(slot);
            }
        }
    }
}
