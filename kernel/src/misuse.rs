//! Wrong uses of memory, for the console's `crash` command: the report says what was done, and the kernel lives on.
//!
//! What the guards find depends on the command line: a double free is found always, a write after a free or past an end
//! with `page_poison=1` and `slub_debug=FZPU`.

use crate::memory::{self, Mm};
use core::ptr::NonNull;
use hal::LinearMap;
use mm::slab::Caller;
use mm::{Frames, Gfp, PageSource, PageState};
use shell::FsError;
use types::{Order, Pfn};

/// Bytes of the objects.
const SIZE: usize = 64;
/// What is written where it must not be.
const SCRIBBLE: u8 = 0x11;
/// Offset of the write.
const OFFSET: usize = 8;

/// Does it; the error says that it was wrong.
pub fn report(misuse: fn(&mut Mm) -> Option<()>) -> FsError {
    if memory::with(misuse).flatten().is_some() { FsError::InvalidArgument } else { FsError::NoMemory }
}

fn freed_page(mm: &mut Mm) -> Option<(Pfn, Order)> {
    let frames = mm.pages.alloc_pages(Gfp::KERNEL, Order::ZERO, PageState::Kernel).ok()?;
    let (pfn, order) = frames.into_raw();
    mm.pages.free_pages(Frames::from_raw(pfn, order));
    Some((pfn, order))
}

fn object(mm: &mut Mm) -> Option<NonNull<u8>> {
    mm.slab.kmalloc(mm.pages, Caller::new(0, 0)?, SIZE, Gfp::KERNEL).ok()
}

fn free(mm: &mut Mm, object: NonNull<u8>) -> Option<()> {
    // A refusal has been reported; that is what this is for.
    let _ = mm.slab.kfree(mm.pages, Caller::new(0, 0)?, object.as_ptr());
    Some(())
}

fn scribble(start: *mut u8, offset: usize) {
    // SAFETY: there is none: the byte is somebody else's. It lies in the linear map, in a free page, in a free object, or
    // in the red zone behind one; without a guard it is a free byte, or the first of the next object, which is put back.
    unsafe { start.add(offset).write_volatile(SCRIBBLE) }
}

/// Gives a page back twice.
pub fn double_free(mm: &mut Mm) -> Option<()> {
    let (pfn, order) = freed_page(mm)?;
    mm.pages.free_pages(Frames::from_raw(pfn, order));
    Some(())
}

/// Gives an object back twice.
pub fn object_double_free(mm: &mut Mm) -> Option<()> {
    let object = object(mm)?;
    free(mm, object)?;
    free(mm, object)
}

/// Writes to a page after it was given back, and takes pages until it comes by again.
pub fn page_after_free(mm: &mut Mm) -> Option<()> {
    let (pfn, _) = freed_page(mm)?;
    scribble(mm.linear.ptr(pfn.addr()), OFFSET);
    freed_page(mm).map(drop)
}

/// Writes to an object after it was given back, and takes another.
pub fn object_after_free(mm: &mut Mm) -> Option<()> {
    let object = object(mm)?;
    free(mm, object)?;
    scribble(object.as_ptr(), OFFSET);
    let next = self::object(mm)?;
    free(mm, next)
}

/// Writes past the end of an object, and gives it back.
pub fn object_overrun(mm: &mut Mm) -> Option<()> {
    let object = object(mm)?;
    // SAFETY: the byte behind the object is in the same page or the next of the slab: lowmem that can be read.
    let behind = unsafe { object.as_ptr().add(SIZE).read_volatile() };
    scribble(object.as_ptr(), SIZE);
    free(mm, object)?;
    // SAFETY: as above; nobody ran in between, so the neighbour gets its byte back.
    unsafe { object.as_ptr().add(SIZE).write_volatile(behind) };
    Some(())
}
