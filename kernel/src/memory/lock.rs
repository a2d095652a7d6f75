//! The memory manager's lock: interrupts off is all it takes, for only one CPU runs kernel code. Taking it twice is a bug that
//! panics instead of waiting for ever.
//!
//! Dropping it lets [`hot`] serve requests; taking it ends that. Who needs nothing but the DMA API's state takes only that
//! ([`Lock::lock_dma`]), and pages and objects stay as they are.
//!
//! `unsafe`: the lock is a pointer to what it guards, null while somebody has it.

use super::{Mm, RUNNING};
use crate::dma::Dma;
use alloc::boxed::Box;
use arch_armv7::cpu::{CPSR_I, IrqGuard};
use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

/// See the [module](self).
pub struct Lock {
    /// Null while somebody has it, and before there is a memory manager.
    free: Cell<*mut Mm>,
    installed: Cell<bool>,
}

// SAFETY: only one CPU runs kernel code, and the cells are accessed with its interrupts off.
unsafe impl Sync for Lock {}

/// The memory manager; nothing until [`Lock::install`].
pub static MM: Lock = Lock { free: Cell::new(ptr::null_mut()), installed: Cell::new(false) };

/// Access to the memory manager, with interrupts off.
pub struct Held {
    mm: NonNull<Mm>,
    /// Dropped with the lock, in one function.
    irq: ManuallyDrop<IrqGuard>,
}

impl Lock {
    /// There is a memory manager from now on.
    pub fn install(&self, mm: Mm) {
        let _irq = IrqGuard::new();
        hot::set_linear(mm.linear);
        self.installed.set(true);
        self.free.set(ptr::from_mut(Box::leak(Box::new(mm))));
    }

    /// The memory manager; `None` while there is none.
    ///
    /// # Panics
    /// When the caller has it already.
    #[inline(never)]
    pub fn lock(&self) -> Option<Held> {
        match self.try_lock() {
            Some(held) => Some(held),
            None => self.why_not(),
        }
    }

    #[cold]
    fn why_not(&self) -> Option<Held> {
        assert!(!self.installed.get(), "the memory manager's lock is taken twice");
        None
    }

    /// The DMA API's state alone; `None` while there is none.
    ///
    /// # Panics
    /// As [`Lock::lock`].
    #[inline(always)]
    pub fn lock_dma(&self) -> Option<HeldDma> {
        let irq = IrqGuard::new();
        match NonNull::new(self.free.replace(ptr::null_mut())) {
            Some(mm) => Some(HeldDma { mm, _irq: irq }),
            None => {
                self.why_not();
                None
            }
        }
    }

    /// As [`Lock::lock`]; `None` also while somebody has it.
    #[inline(always)]
    pub fn try_lock(&self) -> Option<Held> {
        let irq = IrqGuard::new();
        let mut mm = NonNull::new(self.free.replace(ptr::null_mut()))?;
        hot::close();
        let atomic = irq.cpsr() & CPSR_I != 0 && RUNNING.load(Ordering::Relaxed);
        // SAFETY: the pointer is `install`'s, of a value that lasts for good; it was there, so nobody else has it now.
        unsafe { mm.as_mut() }.pages.set_atomic(atomic);
        Some(Held { mm, irq: ManuallyDrop::new(irq) })
    }
}

/// Access to the DMA API's state, with interrupts off.
pub struct HeldDma {
    mm: NonNull<Mm>,
    _irq: IrqGuard,
}

impl Deref for HeldDma {
    type Target = Dma;

    #[inline(always)]
    fn deref(&self) -> &Dma {
        // SAFETY: only one holder has the pointer, as long as it lives; what stands open for `hot` are other values.
        unsafe { &(*self.mm.as_ptr()).dma }
    }
}

impl DerefMut for HeldDma {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Dma {
        // SAFETY: as above.
        unsafe { &mut (*self.mm.as_ptr()).dma }
    }
}

impl Drop for HeldDma {
    #[inline(always)]
    fn drop(&mut self) {
        MM.free.set(self.mm.as_ptr());
    }
}

impl Deref for Held {
    type Target = Mm;

    #[inline(always)]
    fn deref(&self) -> &Mm {
        // SAFETY: only one `Held` has the pointer, as long as it lives.
        unsafe { self.mm.as_ref() }
    }
}

impl DerefMut for Held {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Mm {
        // SAFETY: as above.
        unsafe { self.mm.as_mut() }
    }
}

impl Drop for Held {
    #[inline(never)]
    fn drop(&mut self) {
        let mm = &mut **self;
        // SAFETY: interrupts stay off until this returns, this is the only access to the memory manager, and whoever makes another
        // one calls `close` first (`try_lock`).
        unsafe { hot::open(mm.pages, mm.slab) };
        MM.free.set(self.mm.as_ptr());
        // SAFETY: this is the only drop, and nothing uses the guard after it.
        unsafe { ManuallyDrop::drop(&mut self.irq) };
    }
}
