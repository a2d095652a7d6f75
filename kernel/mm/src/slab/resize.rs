//! What a global allocator needs: memory for a [`Layout`], and changing the size of what is there; and `krealloc`.

use super::{
    Caller, FreeError, Slab, SlabError,
    kmalloc::{SMALL_MAX, class, large_order, size_for, slot},
    memory,
    release::Place,
};
use crate::{Gfp, PageSource};
use core::{alloc::Layout, fmt, ptr::NonNull};
use hal::LinearMap;

impl<L: LinearMap> Slab<L> {
    /// Makes an object `size` bytes large, where it is or by moving its contents. Size 0 frees it; no object (`None`) allocates.
    /// On an error the old object is still there.
    ///
    /// # Errors
    /// [`SlabError`]; [`ReallocError::Free`] when `object` is not an allocated object.
    pub fn krealloc<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        object: Option<NonNull<u8>>,
        size: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, ReallocError> {
        let Some(old) = object else {
            return Ok(self.kmalloc(pages, who, size, gfp)?);
        };
        if size == 0 {
            self.kfree(pages, who, old.as_ptr())?;
            return Ok(self.kmalloc(pages, who, 0, gfp)?);
        }
        let have = self.ksize(pages, old.as_ptr())?;
        if size <= have as usize {
            return Ok(old);
        }
        let new = self.kmalloc(pages, who, size, gfp)?;
        memory::copy(old, new, have);
        self.kfree(pages, who, old.as_ptr())?;
        Ok(new)
    }

    /// Memory for `layout`, for a global allocator.
    ///
    /// # Errors
    /// [`SlabError`].
    #[inline]
    pub fn alloc<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        layout: Layout,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, SlabError> {
        self.kmalloc(pages, who, size_for(layout), gfp)
    }

    /// Takes back what [`Slab::alloc`] gave for `layout`.
    ///
    /// # Errors
    /// [`FreeError`]; `WrongCache` too when `layout` is of another size class or order than the object.
    #[inline]
    pub fn free<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        object: *const u8,
        layout: Layout,
    ) -> Result<(), FreeError> {
        let size = size_for(layout);
        if size.wrapping_sub(1) >= SMALL_MAX {
            return self.free_sized_large(pages, who, object, size);
        }
        self.give(pages, who, slot(size, Gfp::empty()), object)?;
        trace::kfree(object.addr());
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn free_sized_large<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        object: *const u8,
        size: usize,
    ) -> Result<(), FreeError> {
        let addr = object.addr();
        let wrong = |owner| FreeError::WrongCache { addr, named: "kmalloc", owner };
        let error = match self.place(pages, object) {
            _ if size == 0 => return Ok(()),
            Ok(Place::Large { order, .. }) if large_order(size).is_ok_and(|o| o.get() == order) => {
                self.release(pages, who, None, object)?;
                trace::kfree(object.addr());
                return Ok(());
            }
            Ok(Place::Large { .. }) => wrong("kmalloc"),
            Ok(Place::Object { slot, .. }) => wrong(self.cache(slot).name),
            Err(error) => error,
        };
        self.report_bad_free(pages, &error);
        Err(error)
    }

    /// Memory for `new_size` bytes at the alignment of `layout`, with the contents of `object`, which was allocated for
    /// `layout`. On an error `object` is still there.
    ///
    /// # Errors
    /// [`ReallocError`].
    pub fn realloc<S: PageSource>(
        &mut self,
        pages: &mut S,
        who: Caller,
        object: NonNull<u8>,
        layout: Layout,
        new_size: usize,
        gfp: Gfp,
    ) -> Result<NonNull<u8>, ReallocError> {
        let too_large = SlabError::BadSize { size: u32::MAX };
        let new_layout = Layout::from_size_align(new_size, layout.align()).map_err(|_| too_large)?;
        let (old, new) = (size_for(layout), size_for(new_layout));
        if Self::same_place(old, new) {
            return Ok(object);
        }
        let moved = self.kmalloc(pages, who, new, gfp)?;
        memory::copy(object, moved, layout.size().min(new_size) as u32);
        self.free(pages, who, object.as_ptr(), layout)?;
        Ok(moved)
    }

    /// Whether requests of these sizes are served by the same class or order.
    fn same_place(old: usize, new: usize) -> bool {
        let small = |size: usize| (1..=SMALL_MAX).contains(&size);
        match (small(old), small(new)) {
            (true, true) => class(old) == class(new),
            (false, false) => old > 0 && new > 0 && large_order(old).ok() == large_order(new).ok(),
            _ => false,
        }
    }
}

/// Why an object was not resized. It is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReallocError {
    /// No memory for the new one.
    Alloc(SlabError),
    /// The old one is not an allocated object.
    Free(FreeError),
}

impl From<SlabError> for ReallocError {
    fn from(error: SlabError) -> Self {
        Self::Alloc(error)
    }
}

impl From<FreeError> for ReallocError {
    fn from(error: FreeError) -> Self {
        Self::Free(error)
    }
}

impl fmt::Display for ReallocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alloc(error) => error.fmt(f),
            Self::Free(error) => error.fmt(f),
        }
    }
}
