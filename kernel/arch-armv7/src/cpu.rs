//! What one CPU does for itself: its number, interrupt masking, waiting, barriers, translation probes.
//!
//! Keeps invariant 11: a lock that an interrupt handler can take is held with interrupts off, which [`IrqLock`]
//! makes a property of the lock instead of its users.

use crate::cp15;
use aarch32_cpu::asm;
use aarch32_cpu::register::{Mpidr, Par, SysRegWrite};
use core::ops::{Deref, DerefMut};
use types::{PAGE_SIZE, PhysAddr, VirtAddr};

/// The bit of the CPSR that masks interrupts.
pub const CPSR_I: u32 = 1 << 7;

/// This CPU's number within its cluster.
#[inline]
#[must_use]
pub fn id() -> u32 {
    Mpidr::read().0 & 0xff
}

/// Sleeps until an interrupt is pending. Call it with interrupts masked, look for work, and unmask after: then no
/// wake-up between the look and the sleep is lost (a masked pending interrupt ends WFI).
#[inline]
pub fn wait_for_interrupt() {
    asm::dsb();
    asm::wfi();
}

/// Stops this CPU for good.
pub fn stop() -> ! {
    asm::irq_disable();
    loop {
        asm::wfe();
    }
}

/// Whether this CPU takes interrupts now.
#[inline]
#[must_use]
pub fn irqs_on() -> bool {
    cpsr() & CPSR_I == 0
}

/// Whether an interrupt waits for this CPU to unmask interrupts (ISR; ARM DDI 0406C, B4.1): a long operation with
/// interrupts masked need not unmask them in between as long as none does.
#[inline]
#[must_use]
pub fn interrupt_waits() -> bool {
    let isr: u32;
    // SAFETY: reads a register, whose bits are where the CPSR has those that mask.
    unsafe {
        core::arch::asm!("mrc p15, 0, {}, c12, c1, 0", out(reg) isr, options(nomem, nostack, preserves_flags))
    };
    isr & CPSR_I != 0
}

/// The address that the function which this is inlined into returns to: that one must not be inlined itself.
#[inline(always)]
#[must_use]
pub fn return_address() -> u32 {
    let lr: u32;
    // SAFETY: every function that calls others has a frame record, whose second word this reads (`-Cforce-frame-pointers`).
    unsafe { core::arch::asm!("ldr {}, [r7, #4]", out(reg) lr, options(readonly, nostack, preserves_flags)) };
    lr & !1
}

#[inline]
fn cpsr() -> u32 {
    let cpsr: u32;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mrs {}, cpsr", out(reg) cpsr, options(nomem, nostack, preserves_flags)) };
    cpsr
}

/// Takes interrupts from here on.
///
/// # Safety
/// The vectors are installed, and the caller holds no [`IrqGuard`] or lock that a handler takes (invariant 11).
pub unsafe fn irq_enable() {
    // SAFETY: the caller's promise. No `nomem`: memory accesses must not move across.
    unsafe { core::arch::asm!("cpsie i", options(nostack, preserves_flags)) };
}

/// Interrupts are masked on this CPU as long as this lives; what was before comes back when it is dropped.
#[must_use]
pub struct IrqGuard {
    cpsr: u32,
    /// It belongs to the CPU that made it.
    _not_send: core::marker::PhantomData<*const ()>,
}

impl IrqGuard {
    /// Masks interrupts.
    #[inline(always)]
    pub fn new() -> Self {
        let cpsr = cpsr();
        // SAFETY: masking is always allowed. No `nomem`: accesses that follow stay behind.
        unsafe { core::arch::asm!("cpsid i", options(nostack, preserves_flags)) };
        Self { cpsr, _not_send: core::marker::PhantomData }
    }

    /// The CPSR as it was before; [`CPSR_I`] is set if interrupts were masked already.
    #[inline(always)]
    #[must_use]
    pub fn cpsr(&self) -> u32 {
        self.cpsr
    }
}

impl Default for IrqGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for IrqGuard {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: puts back what was before this guard was made, and guards nest. Only the control byte is written, whose other
        // bits nobody has changed since. No `nomem`: accesses must not move across.
        unsafe { core::arch::asm!("msr cpsr_c, {}", in(reg) self.cpsr, options(nostack, preserves_flags)) };
    }
}

/// A spin lock that is held with interrupts off (Linux's `spin_lock_irqsave`).
pub struct IrqLock<T> {
    inner: spin::Mutex<T>,
}

/// Access to what an [`IrqLock`] guards.
#[must_use]
pub struct IrqLockGuard<'a, T> {
    // Declaration order is drop order: the lock is free before interrupts come back.
    inner: spin::MutexGuard<'a, T>,
    _irq: IrqGuard,
}

impl<T> IrqLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self { inner: spin::Mutex::new(value) }
    }

    /// Masks interrupts and takes the lock. Never twice on one CPU.
    #[inline]
    pub fn lock(&self) -> IrqLockGuard<'_, T> {
        let irq = IrqGuard::new();
        IrqLockGuard { inner: self.inner.lock(), _irq: irq }
    }

    /// As [`IrqLock::lock`]; `None` when it is held, by this CPU or another. For panic reports.
    #[inline]
    pub fn try_lock(&self) -> Option<IrqLockGuard<'_, T>> {
        let irq = IrqGuard::new();
        Some(IrqLockGuard { inner: self.inner.try_lock()?, _irq: irq })
    }
}

impl<T> Deref for IrqLockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for IrqLockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

struct CriticalSection;
critical_section::set_impl!(CriticalSection);

// SAFETY: interrupts are masked between acquire and release, and the kernel's shared data is under spin locks
// besides; one CPU runs kernel code that uses critical sections (invariant 11).
unsafe impl critical_section::Impl for CriticalSection {
    unsafe fn acquire() -> u32 {
        let guard = IrqGuard::new();
        let cpsr = guard.cpsr;
        core::mem::forget(guard);
        cpsr
    }

    unsafe fn release(cpsr: u32) {
        drop(IrqGuard { cpsr, _not_send: core::marker::PhantomData });
    }
}

/// Where `virt` leads for a privileged read, by the MMU's own walk; `None` when it would fault.
#[must_use]
pub fn translate(virt: VirtAddr) -> Option<PhysAddr> {
    // SAFETY: an address translation operation has no effect but on PAR.
    probe(virt, |virt| unsafe { cp15::Ats1Cpr::write_raw(virt) })
}

/// As [`translate`], for a privileged write.
#[must_use]
pub fn translate_for_write(virt: VirtAddr) -> Option<PhysAddr> {
    // SAFETY: as above.
    probe(virt, |virt| unsafe { cp15::Ats1Cpw::write_raw(virt) })
}

fn probe(virt: VirtAddr, operation: impl FnOnce(u32)) -> Option<PhysAddr> {
    let _irq = IrqGuard::new();
    operation(virt.get());
    asm::isb();
    let par = Par::read().0;
    (par & 1 == 0).then(|| PhysAddr::new(par & !(PAGE_SIZE - 1) | virt.get() & (PAGE_SIZE - 1)))
}
