//! Address spaces on an ARMv7-A CPU: the concrete types behind `mm`'s generic ones.
//!
//! A generic function is compiled in the crate that names its types, with that crate's optimisation. The image is
//! optimised for size; what moves pages and serves faults is built here, for speed:
//!
//! ```text
//! kernel (size) ─▶ user::{fault, cma_begin, cma_step} (speed) ─▶ mm::{space, migrate, cma}<Cpu>
//! ```
//!
//! They are never inlined: that would compile them for size again.
//!
//! `unsafe`: [`Cpu`] promises valid pointers, by the linear map and by the kernel's temporary mappings.
#![no_std]
#![cfg(all(target_arch = "arm", target_os = "none"))]

use arch_armv7::cache::sync_instructions;
use arch_armv7::cpu;
use arch_armv7::linear::Linear;
use arch_armv7::pgtable::UserTable;
use arch_armv7::tlb::Tlb;
use hal::{Asid, LinearMap, TlbOps};
use mm::cma::{Cma, CmaAlloc, CmaError, CmaId, CmaPages, CmaProgress};
use mm::migrate::{Compaction, MigrateMode, Migrator, MovableOps};
use mm::pages::{PageAllocator, Step};
use mm::space::{Access, FaultOutcome, KmapLocal, KmapSlot, SpaceId, SpaceSlot, UserArch};
use mm::{Gfp, MigrateError, MigrateReason, Mover};
use types::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

/// The kernel's pages.
pub type Pages = PageAllocator<'static>;
/// The kernel's address spaces.
pub type Spaces = mm::space::Spaces<'static, Cpu>;
/// Room for one of them.
pub type Slot = SpaceSlot<UserTable<Linear, Tlb>>;

/// Temporary mappings of highmem.
///
/// # Safety
/// `map` gives a pointer to the whole page that is valid until `unmap` of the same slot.
#[derive(Clone, Copy, Debug)]
pub struct Highmem {
    /// Maps a page at a slot.
    pub map: fn(Pfn, KmapSlot) -> *mut u8,
    /// Undoes it.
    pub unmap: fn(KmapSlot),
}

/// The CPU as address spaces see it.
#[derive(Debug)]
pub struct Cpu {
    linear: Linear,
    highmem: Option<Highmem>,
}

impl Cpu {
    /// With this linear map, and these mappings for what lies outside of it; none where there is no highmem.
    ///
    /// # Safety
    /// As [`Highmem`] says.
    #[must_use]
    pub const unsafe fn new(linear: Linear, highmem: Option<Highmem>) -> Self {
        Self { linear, highmem }
    }
}

// SAFETY: forwards to `Linear`, whose contract holds.
unsafe impl LinearMap for Cpu {
    #[inline]
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        self.linear.ptr(pa)
    }

    #[inline]
    fn phys(&self, ptr: *const u8) -> Option<PhysAddr> {
        self.linear.phys(ptr)
    }
}

// SAFETY: lowmem is in the linear map for good; for highmem, `Cpu::new` was promised.
unsafe impl KmapLocal for Cpu {
    #[inline]
    fn kmap(&self, pfn: Pfn, slot: KmapSlot) -> *mut u8 {
        match self.highmem {
            Some(highmem) if self.linear.phys_of(self.linear.virt(pfn.addr())).is_none() => {
                (highmem.map)(pfn, slot)
            }
            _ => self.linear.ptr(pfn.addr()),
        }
    }

    #[inline]
    fn kunmap(&self, slot: KmapSlot) {
        if let Some(highmem) = self.highmem {
            (highmem.unmap)(slot);
        }
    }
}

impl TlbOps for Cpu {
    #[inline]
    fn flush_page(&self, virt: VirtAddr, asid: Asid) {
        Tlb.flush_page(virt, asid);
    }

    fn flush_asid(&self, asid: Asid) {
        Tlb.flush_asid(asid);
    }

    fn flush_all(&self) {
        Tlb.flush_all();
    }

    #[inline]
    fn publish(&self, table: *const u8, len: usize) {
        Tlb.publish(table, len);
    }
}

impl UserArch for Cpu {
    type Table = UserTable<Linear, Tlb>;

    fn new_table(&self, root: Pfn, asid: Asid) -> Self::Table {
        UserTable::new(self.linear, Tlb, root, asid)
    }

    fn sync_icache(&self, pfn: Pfn) {
        let page = self.kmap(pfn, KmapSlot::Target);
        sync_instructions(page, PAGE_SIZE as usize);
        self.kunmap(KmapSlot::Target);
    }
}

/// Handles an access to `virt` that the MMU refused.
#[inline(never)]
pub fn fault(
    spaces: &mut Spaces,
    pages: &mut Pages,
    id: SpaceId,
    virt: VirtAddr,
    access: Access,
) -> FaultOutcome {
    spaces.handle_fault(pages, id, virt, access)
}

/// What a request for contiguous pages asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// From which area.
    pub area: CmaId,
    /// Pages.
    pub count: u32,
    /// Base-2 logarithm of the alignment in pages.
    pub align: u8,
    /// Only `__GFP_NOWARN` counts.
    pub gfp: Gfp,
    /// For whom.
    pub owner: &'static str,
}

impl Request {
    const fn size(&self) -> (u32, u8) {
        (self.count, self.align)
    }
}

/// Everybody who can move pages. Before there are address spaces, none of their pages can be in the way.
pub struct Movers<'a, 'd> {
    /// The address spaces.
    pub spaces: Option<&'a mut Spaces>,
    /// The drivers, by number.
    pub drivers: &'a mut [&'d mut dyn MovableOps<Pages>],
    /// How patient.
    pub mode: MigrateMode,
}

impl Mover<Pages> for Movers<'_, '_> {
    fn migrate(&mut self, pages: &mut Pages, pfn: Pfn, reason: MigrateReason) -> Result<(), MigrateError> {
        let spaces = self.spaces.as_deref_mut().ok_or(MigrateError::NotMovable)?;
        Migrator { spaces, drivers: self.drivers, mode: self.mode }.migrate(pages, pfn, reason)
    }
}

/// Asks for pages of a CMA area: an idle stretch is taken at once, otherwise the request has to be stepped.
///
/// # Errors
/// [`CmaError`].
#[inline(never)]
pub fn cma_begin(
    cma: &mut Cma<'static>,
    pages: &mut Pages,
    request: &Request,
) -> Result<CmaProgress, CmaError> {
    cma.begin(pages, request.area, request.size(), request.gfp, request.owner)
}

/// Moves blocks out of the way until an interrupt waits, or takes the emptied stretch. `None`: there is more to do,
/// and the caller drops its lock first, so that an interrupt waits for the move of one block at most.
///
/// # Errors
/// [`CmaError`]: the request has ended.
#[inline(never)]
pub fn cma_step(
    cma: &mut Cma<'static>,
    pages: &mut Pages,
    movers: &mut Movers<'_, '_>,
    alloc: &mut CmaAlloc,
) -> Result<Option<CmaPages>, CmaError> {
    loop {
        let taken = cma.step(pages, alloc, movers)?;
        if taken.is_some() || cpu::interrupt_waits() {
            return Ok(taken);
        }
    }
}

/// Moves blocks for a compaction until an interrupt waits or there is no more to do.
#[inline(never)]
pub fn compact_step(pages: &mut Pages, movers: &mut Movers<'_, '_>, compaction: &mut Compaction) -> Step {
    loop {
        let step = compaction.step(pages, movers);
        if step == Step::Done || cpu::interrupt_waits() {
            return step;
        }
    }
}

/// All steps at once, for who holds the lock anyway.
///
/// # Errors
/// [`CmaError`].
pub fn cma_alloc(
    cma: &mut Cma<'static>,
    pages: &mut Pages,
    movers: &mut Movers<'_, '_>,
    request: &Request,
) -> Result<CmaPages, CmaError> {
    match cma_begin(cma, pages, request)? {
        CmaProgress::Done(taken) => Ok(taken),
        CmaProgress::More(mut alloc) => loop {
            if let Some(taken) = cma_step(cma, pages, movers, &mut alloc)? {
                return Ok(taken);
            }
        },
    }
}
