//! The kernel's memory: the one [`Mm`] value behind its lock, and how it comes to be.
//!
//! ```text
//! early   boot data ─▶ memblock ─▶ final tables ─▶ boot heap
//! start   memblock ─▶ memory map, zones ─▶ slab ─▶ vmalloc ─▶ CMA areas
//! ```
//!
//! Lock order (invariant 11), outermost first: [`EARLY`], [`MM`], the fixmap's, the temporary mappings', the boot
//! heap's, the log's. Address spaces and movable buffers are under [`MM`] too, so whoever needs contiguous pages can
//! have pages moved. Code under [`MM`] neither allocates through the global allocator, which takes the same lock, nor
//! accesses user memory, whose faults take it.

mod cma;
pub mod contiguous;
pub mod early;
pub mod hooks;
mod lock;
mod objects;
mod options;
pub mod start;
mod virt;

use crate::dma::Dma;
use crate::paging::{self, Table};
use ::user::Spaces;
use arch_armv7::cpu;
use arch_armv7::linear::Linear;
use arch_armv7::tlb::Tlb;
use core::sync::atomic::{AtomicBool, Ordering};
use mm::cma::{Cma, CmaId};
use mm::migrate::MovableBuffers;
use mm::pages::PageAllocator;
use mm::pkmap::Pkmap;
use mm::slab::Slab;
use mm::vmalloc::{Backing, Context, Vmalloc, VmallocError};
use mm::{AllocError, Frames, Gfp};
use types::{Order, PAGE_SIZE, Pfn, PhysRange, VirtAddr};

pub use early::{EARLY, Early};
pub use lock::MM;
pub use objects::{caller, kfree, kmalloc, kmem_cache_alloc, kmem_cache_free};
pub use virt::{VMALLOC, vfree, vmalloc};

use crate::bootdata::Found;
use boot::BootInfo;
use dt::CommandLine;
use early::EarlyError;

/// The place of [`Mm::buffers`] in the list of drivers that move pages: the first and only one.
pub const BUFFERS_DRIVER: u8 = 0;

/// Buffers of drivers that move.
pub type Buffers = MovableBuffers<'static, Linear>;

/// Everything that allocates, under one lock.
pub struct Mm {
    /// Pages.
    pub pages: &'static mut PageAllocator<'static>,
    /// Objects.
    pub slab: &'static mut Slab<Linear>,
    /// The vmalloc area.
    pub vmalloc: Vmalloc<Linear>,
    /// CMA areas.
    pub cma: &'static mut Cma<'static>,
    /// The area of devices without one of their own.
    pub default_cma: Option<CmaId>,
    /// The DMA API.
    pub dma: Dma,
    /// Address spaces; `None` until [`crate::user::init`].
    pub spaces: Option<&'static mut Spaces>,
    /// Buffers of drivers that move.
    pub buffers: Buffers,
    /// Permanent mappings of highmem; `None` until the first.
    pub pkmap: Option<Pkmap<'static>>,
    /// The kernel's translation tables.
    pub table: Table,
    /// The linear map.
    pub linear: Linear,
}

impl Mm {
    /// The vmalloc area, and what its operations work with.
    pub fn vmalloc(&mut self) -> (&mut Vmalloc<Linear>, Backing<'_, PageAllocator<'static>, Table, Tlb>) {
        (&mut self.vmalloc, Backing { pages: self.pages, table: &mut self.table, tlb: &Tlb })
    }
}

/// Maps device registers for good; the address of the first one.
///
/// # Errors
/// [`VmallocError`].
pub fn ioremap(range: PhysRange, caller: u32) -> Result<VirtAddr, VmallocError> {
    let context = Context { caller, atomic: in_atomic() };
    let mapped = with(|mm| {
        let (vmalloc, mut backing) = mm.vmalloc();
        vmalloc.ioremap(&mut backing, context, range)
    });
    mapped.unwrap_or(Err(VmallocError::TableFull))
}

/// Set once interrupts are on for good: until then they are off without that meaning anything.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// From here on, interrupts that are off mean that the code can't sleep.
pub fn set_running() {
    RUNNING.store(true, Ordering::Relaxed);
}

/// Whether the running code can't sleep: a handler, or under a lock that one takes.
#[inline]
#[must_use]
pub fn in_atomic() -> bool {
    !cpu::irqs_on() && RUNNING.load(Ordering::Relaxed)
}

/// Runs `f` on the memory manager with interrupts off; `None` before there is one.
#[inline]
pub fn with<R>(f: impl FnOnce(&mut Mm) -> R) -> Option<R> {
    let mut held = MM.lock()?;
    Some(f(&mut held))
}

/// A block of pages for the kernel itself, as any code may ask for it that doesn't hold the memory manager.
///
/// # Errors
/// [`AllocError`].
#[inline(always)]
pub fn alloc_pages(gfp: Gfp, order: Order) -> Result<Frames, AllocError> {
    match hot::alloc_pages(gfp, order) {
        Some(pfn) => Ok(Frames::from_raw(pfn, order)),
        None => alloc_slowly(gfp, order).map(|pfn| Frames::from_raw(pfn, order)),
    }
}

#[inline(never)]
fn alloc_slowly(gfp: Gfp, order: Order) -> Result<Pfn, AllocError> {
    // Empty slabs come back before a request fails.
    let taken = with(|mm| hot::alloc_locked(mm.pages, gfp, order, mm.slab));
    taken.unwrap_or(Err(AllocError::NoMemory { order, gfp })).map(|frames| frames.into_raw().0)
}

/// What Linux's kswapd does, when there is nothing else to do: if a request found a zone below its low mark, empty slabs come
/// back until all zones are above their high marks, and the marks lose their boost.
pub fn kswapd() {
    with(|mm| {
        if mm.pages.take_kswapd_wanted() {
            mm.pages.balance(mm.slab);
        }
    });
}

/// Takes a block back, whole; one that isn't allocated as the token says is reported, and left alone.
#[inline(always)]
pub fn free_pages(frames: Frames) {
    let (pfn, order) = frames.into_raw();
    hot::free_pages(pfn, order, free_slowly);
}

#[inline(never)]
fn free_slowly(pfn: Pfn, order: Order) {
    with(|mm| hot::free_locked(mm.pages, Frames::from_raw(pfn, order)));
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
    let (mut early, table) = early::init(info, found, command_line)?;
    start::start(&mut early, table, &command_line)?;
    cma::activate(&early);
    crate::dma::init_atomic_pool(options::coherent_pool(&command_line));
    *EARLY.lock() = Some(early);
    Ok(())
}

/// Gives the memory of code and data that only boot needs to the page allocator.
pub fn free_init() {
    let freed = with(|mm| {
        // SAFETY: boot is over: nothing of it runs or is read any more.
        let range = unsafe { paging::free_initmem(mm.linear, &mut mm.table) }.ok()?;
        let first = Pfn::containing(range.base());
        mm.pages.free_reserved_range(first, range.size() / PAGE_SIZE).ok()?;
        Some(range.size())
    });
    if let Some(bytes) = freed.flatten() {
        log::info!("Freeing unused kernel image (initmem) memory: {}K", bytes >> 10);
    }
}
