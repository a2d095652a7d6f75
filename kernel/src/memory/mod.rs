//! The kernel's memory: the one [`Mm`] value behind its lock, and how it comes to be.
//!
//! ```text
//! early   boot data ─▶ memblock ─▶ final tables ─▶ boot heap
//! start   memblock ─▶ memory map, zones ─▶ slab ─▶ vmalloc ─▶ CMA areas
//! ```
//!
//! Lock order (invariant 11), outermost first: [`EARLY`], [`MM`], the fixmap's, the boot heap's, the log's. Code under
//! [`MM`] never allocates through the global allocator, which takes the same lock.

pub mod early;
mod options;
pub mod start;

use crate::paging::Table;
use arch_armv7::cpu::{self, IrqLock};
use arch_armv7::linear::Linear;
use mm::pages::PageAllocator;
use mm::slab::Slab;

pub use early::{EARLY, Early};

use crate::bootdata::Found;
use boot::BootInfo;
use dt::CommandLine;
use early::EarlyError;

/// Everything that allocates, under one lock.
pub struct Mm {
    /// Pages.
    pub pages: &'static mut PageAllocator<'static, Linear>,
    /// Objects.
    pub slab: &'static mut Slab<Linear>,
    /// The kernel's translation tables.
    pub table: Table,
    /// The linear map.
    pub linear: Linear,
}

/// The memory manager; `None` until [`start::start`].
pub static MM: IrqLock<Option<Mm>> = IrqLock::new(None);

/// Runs `f` on the memory manager with interrupts off; `None` before there is one.
#[inline]
pub fn with<R>(f: impl FnOnce(&mut Mm) -> R) -> Option<R> {
    let atomic = !cpu::irqs_on();
    let mut guard = MM.lock();
    let mm = guard.as_mut()?;
    mm.pages.set_context(cpu::id() as usize, atomic);
    Some(f(mm))
}

/// All of it, from what the boot loader says to running allocators.
///
/// # Errors
/// [`EarlyError`]: the kernel can't go on.
pub fn bring_up(
    info: &BootInfo,
    found: &Found,
    command_line: CommandLine<'static>,
) -> Result<(), EarlyError> {
    let (mut early, table, linear) = early::init(info, found, command_line)?;
    start::start(&mut early, table, linear, &command_line)?;
    *EARLY.lock() = Some(early);
    Ok(())
}
