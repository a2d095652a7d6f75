//! The shortest ways to objects: from the slab that the CPU works on, and back to it.
//!
//! They ask for nothing but the lock: a cache that has options, or fault injection, never has such a slab (`mm::slab`).

use crate::{Pages, must_be_reported};
use arch_armv7::cpu::IrqGuard;
use arch_armv7::linear::Linear;
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use mm::Gfp;
use mm::slab::{CacheId, Caller, FreeError, Slab, SlabError};

/// The kernel's objects.
pub type Objects = Slab<Linear>;

/// As [`crate::OPEN`], for objects.
struct Open(Cell<*mut Objects>);

// SAFETY: only one CPU runs kernel code, and every access is made with its interrupts off.
unsafe impl Sync for Open {}

static OPEN: Open = Open(Cell::new(ptr::null_mut()));

/// The only CPU that runs kernel code.
const CPU: Caller = Caller::new(0, 0).expect("there is a CPU 0");

/// As [`crate::open`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(crate) unsafe fn open(objects: &mut Objects) {
    OPEN.0.set(ptr::from_mut(objects));
}

#[inline(always)]
pub(crate) fn close() {
    OPEN.0.set(ptr::null_mut());
}

/// The objects, if they stand open, with interrupts off as long as `irq` lives.
#[inline(always)]
fn opened(_irq: &mut IrqGuard) -> Option<&mut Objects> {
    // SAFETY: they stand open, so by the promise made to `open` nobody else uses them; and nobody closes or comes here a
    // second time while interrupts are off on the only CPU.
    unsafe { OPEN.0.get().as_mut() }
}

/// `size` bytes; `None` when that takes more than a bit of the CPU's slab.
#[inline(always)]
#[must_use]
pub fn kmalloc(size: usize, gfp: Gfp) -> Option<NonNull<u8>> {
    let mut irq = IrqGuard::new();
    let reported = must_be_reported(gfp, &irq);
    let objects = opened(&mut irq)?;
    if reported { None } else { objects.kmalloc_hot(CPU, size, gfp) }
}

/// Takes an object back; `false` when that takes more, and nothing has changed.
#[inline(always)]
#[must_use]
pub fn kfree(object: *const u8) -> bool {
    let mut irq = IrqGuard::new();
    opened(&mut irq).is_some_and(|objects| objects.kfree_hot(CPU, object))
}

/// Memory for `layout`; `None` when that takes more.
#[inline(never)]
#[must_use]
pub fn alloc(layout: Layout, gfp: Gfp) -> Option<NonNull<u8>> {
    let mut irq = IrqGuard::new();
    let reported = must_be_reported(gfp, &irq);
    let objects = opened(&mut irq)?;
    if reported { None } else { objects.alloc_hot(CPU, layout, gfp) }
}

/// Takes an object back whose layout is known; `false` when that takes more, and nothing has changed.
#[inline(never)]
#[must_use]
pub fn free(object: *const u8, layout: Layout) -> bool {
    let mut irq = IrqGuard::new();
    opened(&mut irq).is_some_and(|objects| objects.free_hot(CPU, object, layout))
}

/// An object of `cache`; `None` when that takes more.
#[inline(always)]
#[must_use]
pub fn cache_alloc(cache: &CacheId, gfp: Gfp) -> Option<NonNull<u8>> {
    let mut irq = IrqGuard::new();
    let reported = must_be_reported(gfp, &irq) || gfp.contains(Gfp::__ZERO);
    let objects = opened(&mut irq)?;
    if reported { None } else { objects.cache_alloc_hot(CPU, cache, gfp) }
}

/// Takes an object of `cache` back; `false` when that takes more, and nothing has changed.
#[inline(always)]
#[must_use]
pub fn cache_free(cache: &CacheId, object: *const u8) -> bool {
    let mut irq = IrqGuard::new();
    opened(&mut irq).is_some_and(|objects| objects.cache_free_hot(CPU, cache, object))
}

/// [`Slab::kmalloc`], compiled for speed.
///
/// # Errors
/// [`SlabError`].
#[inline(never)]
pub fn kmalloc_locked(
    objects: &mut Objects,
    pages: &mut Pages,
    who: Caller,
    size: usize,
    gfp: Gfp,
) -> Result<NonNull<u8>, SlabError> {
    objects.kmalloc(pages, who, size, gfp)
}

/// [`Slab::kfree`], compiled for speed.
///
/// # Errors
/// [`FreeError`].
#[inline(never)]
pub fn kfree_locked(
    objects: &mut Objects,
    pages: &mut Pages,
    who: Caller,
    object: *const u8,
) -> Result<(), FreeError> {
    objects.kfree(pages, who, object)
}
