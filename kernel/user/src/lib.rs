//! Address spaces on an ARMv7-A CPU: the concrete types behind `mm`'s generic ones.
//!
//! A generic function is compiled in the crate that names its types, with that crate's optimisation. The image is
//! optimised for size; what moves pages and serves faults is built here, for speed:
//!
//! ```text
//! kernel (size) ─▶ user::{fault, cma_alloc} (speed) ─▶ mm::{space, migrate, cma, pages}<Cpu, Linear>
//! ```
//!
//! They are never inlined: that would compile them for size again.
//!
//! `unsafe`: [`Cpu`] promises valid pointers, by the linear map and by the kernel's temporary mappings.
#![no_std]
#![cfg(all(target_arch = "arm", target_os = "none"))]

use arch_armv7::cache::sync_instructions;
use arch_armv7::linear::Linear;
use arch_armv7::pgtable::UserTable;
use arch_armv7::tlb::Tlb;
use hal::{Asid, LinearMap, TlbOps};
use mm::Gfp;
use mm::cma::{Cma, CmaError, CmaId, CmaPages};
use mm::migrate::{MigrateMode, Migrator, MovableOps};
use mm::pages::PageAllocator;
use mm::space::{Access, FaultOutcome, KmapLocal, KmapSlot, SpaceId, SpaceSlot, UserArch};
use types::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

/// The kernel's pages.
pub type Pages = PageAllocator<'static, Linear>;
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

/// Takes pages from a CMA area, and moves away what is there (`cma_alloc`).
///
/// # Errors
/// [`CmaError`].
#[inline(never)]
pub fn cma_alloc(
    cma: &mut Cma<'static>,
    pages: &mut Pages,
    spaces: &mut Spaces,
    drivers: &mut [&mut dyn MovableOps<Pages>],
    request: Request,
) -> Result<CmaPages, CmaError> {
    let Request { area, count, align, gfp, owner } = request;
    let mut migrator = Migrator { spaces, drivers, mode: MigrateMode::Sync };
    cma.alloc(pages, area, (count, align), gfp, owner, &mut migrator)
}
