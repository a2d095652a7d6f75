//! The shortest ways to pages, objects and DMA memory: interrupts off, a pop or a push, interrupts as before.
//!
//! ```text
//! alloc_pages ─▶ take ───────────── open, list not empty ──────────▶ block
//!                  └ closed, or the list is empty ─▶ the memory manager's lock ─▶ everything else
//! ```
//!
//! The pages stand *open* while nobody holds the memory manager's lock and the last one who did found nothing that a
//! request would have to ask about ([`mm::pages::Buddy::is_hot`]). So the one word [`OPEN`] answers it all: is there a memory manager, is its
//! lock free, is any guard on, is memory short. Only one CPU runs kernel code; with its interrupts off, nothing comes in between.
//!
//! The shortest are inlined: a call would cost half as much again. The others are compiled for speed, here, while the kernel
//! around them is compiled for size.
//!
//! `unsafe`: the word is a pointer.
#![no_std]
#![cfg(all(target_arch = "arm", target_os = "none"))]

pub mod dma;
pub mod objects;

use arch_armv7::cpu::{CPSR_I, IrqGuard};
use arch_armv7::linear::Linear;
use arch_armv7::pgtable::KernelTable;
use arch_armv7::tlb::Tlb;
use core::cell::Cell;
use core::ptr;
use hal::LinearMap;
use mm::cma::{Cma, CmaId, CmaPages};
use mm::pages::{Buddy, PageAllocator};
use mm::vmalloc::{self, Context, Vmalloc};
use mm::{AllocError, Frames, Gfp, PageSource, PageState, Reclaimer};
use types::{Order, PAGE_SIZE, Pfn, VirtAddr};

/// The kernel's pages.
pub type Pages = PageAllocator<'static>;

/// A pointer that is read and written with interrupts off, on one CPU.
struct Open(Cell<*mut Buddy<'static>>);

// SAFETY: only one CPU runs kernel code, and every access is made with its interrupts off.
unsafe impl Sync for Open {}

/// The pages while they stand open; null otherwise.
static OPEN: Open = Open(Cell::new(ptr::null_mut()));

/// The linear map, once there are pages.
static LINEAR: Told = Told(Cell::new(None));

struct Told(Cell<Option<Linear>>);

// SAFETY: written once, before the first request, on the only CPU that runs kernel code.
unsafe impl Sync for Told {}

/// Tells the linear map, for zeroing. Called once, before the first [`open`].
pub fn set_linear(linear: Linear) {
    LINEAR.0.set(Some(linear));
}

/// From now on the functions here serve requests, until [`close`], if the pages allow it.
///
/// # Safety
/// Interrupts are off, and nobody uses `pages` or `objects` until [`close`]: the caller is about to drop the lock that guards them, and
/// whoever takes that lock closes first.
#[inline]
pub unsafe fn open(pages: &mut Pages, objects: &mut objects::Objects) {
    // SAFETY: the caller's promise.
    unsafe { objects::open(objects) };
    let buddy = pages.buddy_mut();
    if buddy.is_hot() {
        OPEN.0.set(ptr::from_mut(buddy));
    }
}

/// From now on nothing here touches pages or objects. To be called with interrupts off.
#[inline]
pub fn close() {
    OPEN.0.set(ptr::null_mut());
    objects::close();
}

/// The pages, if they stand open, with interrupts off as long as `irq` lives.
#[inline(always)]
fn opened(_irq: &mut IrqGuard) -> Option<&mut Buddy<'static>> {
    // SAFETY: the pages stand open, so by the promise made to `open` nobody else uses them; and nobody closes or comes
    // here a second time while interrupts are off on the only CPU.
    unsafe { OPEN.0.get().as_mut() }
}

/// Whether a request may not be served here: with interrupts off already, one that may sleep has to be reported.
#[inline(always)]
fn must_be_reported(gfp: Gfp, irq: &IrqGuard) -> bool {
    gfp.may_block() && irq.cpsr() & CPSR_I != 0
}

/// A block for the kernel itself; `None` when that takes more than a pop.
#[inline(always)]
#[must_use]
pub fn alloc_pages(gfp: Gfp, order: Order) -> Option<Pfn> {
    if gfp.contains(Gfp::__ZERO) {
        return alloc_zeroed(gfp - Gfp::__ZERO, order);
    }
    if !gfp.is_plain() {
        return None;
    }
    if !Buddy::is_small(order) {
        return alloc_large(gfp, order);
    }
    let mut irq = IrqGuard::new();
    let reported = must_be_reported(gfp, &irq);
    let taken = opened(&mut irq).filter(|_| !reported).and_then(|pages| pages.hot_take(gfp, order));
    // Through a number, so that the way to here and the way from here share no flag.
    let pfn = taken.map_or(u32::MAX, Pfn::get);
    drop(irq);
    (pfn != u32::MAX).then_some(Pfn::new(pfn))
}

/// The same for a block that is too large for a list.
#[inline(never)]
fn alloc_large(gfp: Gfp, order: Order) -> Option<Pfn> {
    let mut irq = IrqGuard::new();
    let reported = must_be_reported(gfp, &irq);
    let pages = opened(&mut irq)?;
    if reported { None } else { pages.hot_take_large(gfp, order) }
}

/// The same, zeroed.
#[inline(never)]
fn alloc_zeroed(gfp: Gfp, order: Order) -> Option<Pfn> {
    let pfn = alloc_pages(gfp, order)?;
    let first = LINEAR.0.get()?.ptr(pfn.addr());
    // SAFETY: hot blocks are lowmem, which is mapped; this one is ours.
    unsafe { first.write_bytes(0, (PAGE_SIZE as usize) << order.get()) };
    Some(pfn)
}

/// Takes a block of the kernel's back, or has `otherwise` do so when that takes more than a push; interrupts may be off then.
#[inline(always)]
pub fn free_pages(pfn: Pfn, order: Order, otherwise: impl FnOnce(Pfn, Order)) {
    if !Buddy::is_small(order) {
        if !free_large(pfn, order) {
            otherwise(pfn, order);
        }
        return;
    }
    let mut irq = IrqGuard::new();
    if !opened(&mut irq).is_some_and(|pages| pages.hot_give(pfn, order)) {
        otherwise(pfn, order);
    }
}

#[inline(never)]
fn free_large(pfn: Pfn, order: Order) -> bool {
    let mut irq = IrqGuard::new();
    opened(&mut irq).is_some_and(|pages| pages.hot_give_large(pfn, order))
}

/// Pages of a CMA area that lie idle, for `owner`; `None`, and nothing has changed, when it takes more than taking them.
#[inline(never)]
pub fn cma_take(
    cma: &mut Cma<'static>,
    pages: &mut Pages,
    area: CmaId,
    wanted: (u32, u8),
    owner: &'static str,
) -> Option<CmaPages> {
    cma.take_at_once(pages, area, wanted, owner)
}

/// Gives them back (`cma_release`).
#[inline(never)]
pub fn cma_release(cma: &mut Cma<'static>, pages: &mut Pages, taken: CmaPages) {
    cma.release(pages, taken);
}

/// The vmalloc area.
pub type Areas = Vmalloc<Linear>;

/// What the vmalloc area works with.
pub type Backing<'a> = vmalloc::Backing<'a, Pages, KernelTable<Linear, Tlb>, Tlb>;

/// [`Vmalloc::vmalloc_at_once`], compiled for speed.
#[inline(never)]
pub fn vmalloc_at_once(
    areas: &mut Areas,
    with: &mut Backing<'_>,
    context: Context,
    (size, gfp): (u32, Gfp),
) -> Option<VirtAddr> {
    areas.vmalloc_at_once(with, context, size, gfp)
}

/// [`Vmalloc::vfree_at_once`], compiled for speed.
#[inline(never)]
pub fn vfree_at_once(areas: &mut Areas, with: &mut Backing<'_>, context: Context, area: VirtAddr) -> bool {
    areas.vfree_at_once(with, context, area)
}

/// A block for the kernel itself, of the pages behind their lock; `reclaimer` is asked when memory is short.
///
/// # Errors
/// [`AllocError`].
#[inline(never)]
pub fn alloc_locked(
    pages: &mut Pages,
    gfp: Gfp,
    order: Order,
    reclaimer: &mut dyn Reclaimer<Pages>,
) -> Result<Frames, AllocError> {
    pages.alloc_pages_with(gfp, order, PageState::Kernel, reclaimer)
}

/// Gives a block back to the pages behind their lock.
#[inline(never)]
pub fn free_locked(pages: &mut Pages, frames: Frames) {
    pages.free_pages(frames);
}
