//! A machine with memory, a page allocator with a CMA area over it, and address spaces that run on its MMU.

use crate::cma::{Cma, CmaId};
use crate::migrate::{MigrateMode, Migrator, MovableOps};
use crate::pages::{Hooks, MapLayout, PageAllocator, Setup};
use crate::space::{Access, FaultOutcome, KmapLocal, SpaceId, SpaceSlot, Spaces, UserArch};
use crate::{Gfp, Page, PageState};
use arch_armv7::pgtable::UserTable;
use core::cell::Cell;
use core::mem::MaybeUninit;
use hal::{Asid, LinearMap, TlbOps};
use std::{boxed::Box, vec, vec::Vec};
use testkit::Machine;
use types::{PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr};

pub(crate) type Pages<'m> = PageAllocator<'m>;

/// The CPU: the machine, and what it was asked beside.
#[derive(Debug)]
pub(crate) struct Cpu<'m> {
    pub(crate) machine: NoDebug<&'m Machine>,
    pub(crate) syncs: Cell<u32>,
}

pub(crate) struct NoDebug<T>(pub(crate) T);

impl<T> core::fmt::Debug for NoDebug<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("..")
    }
}

#[allow(unsafe_code)]
// SAFETY: forwards to the machine, whose contract holds.
unsafe impl LinearMap for Cpu<'_> {
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        self.machine.0.ptr(pa)
    }

    fn phys(&self, ptr: *const u8) -> Option<PhysAddr> {
        self.machine.0.phys(ptr)
    }
}

#[allow(unsafe_code)]
// SAFETY: all memory is in the linear map here.
unsafe impl KmapLocal for Cpu<'_> {}

impl TlbOps for Cpu<'_> {
    fn flush_page(&self, virt: VirtAddr, asid: Asid) {
        self.machine.0.flush_page(virt, asid);
    }

    fn flush_asid(&self, asid: Asid) {
        self.machine.0.flush_asid(asid);
    }

    fn flush_all(&self) {
        self.machine.0.flush_all();
    }

    fn publish(&self, table: *const u8, len: usize) {
        self.machine.0.publish(table, len);
    }
}

impl<'m> UserArch for Cpu<'m> {
    type Table = UserTable<&'m Machine, &'m Machine>;

    fn new_table(&self, root: Pfn, asid: Asid) -> Self::Table {
        UserTable::new(self.machine.0, self.machine.0, root, asid)
    }

    fn sync_icache(&self, _: Pfn) {
        self.syncs.set(self.syncs.get() + 1);
    }
}

/// A booted machine.
pub(crate) struct World<'m> {
    pub(crate) machine: &'m Machine,
    pub(crate) pages: Pages<'m>,
    pub(crate) spaces: Spaces<'m, Cpu<'m>>,
    pub(crate) cma: Cma<'m>,
    pub(crate) area: CmaId,
    /// First page and pages of the area.
    pub(crate) area_range: (u32, u32),
    free_at_start: u32,
}

/// The base of memory, and pages in a MiB.
pub(crate) const BASE: u32 = 0x8000_0000;
const MIB: u32 = 256;

/// Boots a machine of `mib`, of which the first is reserved and the last `cma` are a CMA area, with `slots` spaces.
pub(crate) fn boot(mib: u32, cma: u32, slots: usize, test: impl FnOnce(&mut World<'_>)) {
    let machine = Machine::new(&[(BASE, mib << 20)]);
    if cfg!(not(miri)) {
        machine.scramble(u64::from(mib));
    }
    // The reserved first page is what TTBR0 names while no space runs: a table without entries.
    machine.ram().write(PhysAddr::new(BASE), &[0; PAGE]);
    machine.set_user_root(PhysAddr::new(BASE), Asid(0));
    let memory = [PhysRange::new(PhysAddr::new(BASE), mib << 20)];
    let free = [PhysRange::new(PhysAddr::new(BASE + (1 << 20)), (mib - 1 - cma) << 20)];
    let layout = MapLayout::new(memory.iter().copied()).unwrap();
    let mut metadata: Vec<MaybeUninit<Page>> = Vec::new();
    metadata.resize_with(layout.records(), MaybeUninit::uninit);
    let setup = Setup {
        memory: memory.iter().copied(),
        free: free.iter().copied(),
        dma_end: None,
        highmem_start: None,
        cpus: 1,
    };
    let mut bitmap: Box<[u32]> = vec![0; (cma * MIB).div_ceil(32) as usize].into_boxed_slice();
    let mut slot_memory: Vec<SpaceSlot<_>> = Vec::new();
    slot_memory.resize_with(slots, SpaceSlot::default);
    let mut pages = PageAllocator::new(setup, &mut metadata, &machine, Hooks::default()).unwrap();
    let mut areas = Cma::default();
    let first = Pfn::new((BASE >> 12) + (mib - cma) * MIB);
    let area = areas.declare("reserved", first, cma * MIB, 0).unwrap();
    areas.activate(&mut pages, area, &mut bitmap).unwrap();
    let free_at_start = free_pages(&pages);
    let cpu = Cpu { machine: NoDebug(&machine), syncs: Cell::new(0) };
    let spaces = Spaces::new(cpu, &mut slot_memory, &mut pages).unwrap();
    let mut world = World {
        machine: &machine,
        pages,
        spaces,
        cma: areas,
        area,
        area_range: (first.get(), cma * MIB),
        free_at_start,
    };
    test(&mut world);
    world.end();
}

fn free_pages(pages: &Pages<'_>) -> u32 {
    let used: u32 = PageState::ALL
        .into_iter()
        .filter(|state| *state >= PageState::CmaTaken)
        .map(|state| pages.buddy().pages_in_use(state))
        .sum();
    pages.buddy().managed_pages() - used
}

impl<'m> World<'m> {
    /// Everything adds up, and no rule of the architecture was broken.
    pub(crate) fn validate(&self) {
        self.spaces.validate(&self.pages).unwrap_or_else(|error| panic!("{error}"));
        self.pages.buddy().validate().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(self.machine.violations(), vec![]);
        assert_eq!(self.pages.stat().bad_frees, 0);
    }

    /// After all spaces have ended: nothing leaked.
    fn end(self) {
        self.validate();
        let Self { mut pages, spaces, free_at_start, .. } = self;
        assert_eq!(spaces.rmap_memory(), (0, 0));
        spaces.end(&mut pages).unwrap();
        assert_eq!(free_pages(&pages), free_at_start);
    }

    pub(crate) fn run(&mut self, id: SpaceId) {
        let context = self.spaces.switch_to(0, id).unwrap();
        self.machine.set_user_root(context.root, context.asid);
    }

    pub(crate) fn fault(&mut self, virt: VirtAddr, access: Access) -> FaultOutcome {
        let id = self.spaces.current(0).unwrap();
        self.spaces.handle_fault(&mut self.pages, id, virt, access)
    }

    /// The running space loads, faults included; within a page.
    pub(crate) fn load(&mut self, virt: VirtAddr, bytes: &mut [u8]) -> Result<(), FaultOutcome> {
        let machine = self.machine;
        self.retry(virt, Access::Read, || machine.load(virt, bytes, true).is_ok())
    }

    /// The running space stores, faults included; within a page.
    pub(crate) fn store(&mut self, virt: VirtAddr, bytes: &[u8]) -> Result<(), FaultOutcome> {
        let machine = self.machine;
        self.retry(virt, Access::Write, || machine.store(virt, bytes, true).is_ok())
    }

    fn retry(
        &mut self,
        virt: VirtAddr,
        access: Access,
        mut attempt: impl FnMut() -> bool,
    ) -> Result<(), FaultOutcome> {
        // A store to untouched memory that an old zero page entry translates faults twice at most.
        for _ in 0..3 {
            if attempt() {
                return Ok(());
            }
            match self.fault(virt, access) {
                FaultOutcome::Handled => {}
                other => return Err(other),
            }
        }
        panic!("{virt} faults again and again")
    }

    /// The physical page at `virt` of the running space.
    pub(crate) fn pfn_at(&self, virt: VirtAddr) -> Pfn {
        Pfn::containing(self.machine.translate(virt).unwrap().phys_of(virt))
    }

    pub(crate) fn page(&self, pfn: Pfn) -> &Page {
        crate::PageSource::page(&self.pages, pfn).unwrap()
    }

    pub(crate) fn is_cma(&self, pfn: Pfn) -> bool {
        (self.area_range.0..self.area_range.0 + self.area_range.1).contains(&pfn.get())
    }

    /// Takes `count` pages from the CMA area with real migration.
    pub(crate) fn cma_alloc(&mut self, count: u32) -> Result<crate::cma::CmaPages, crate::cma::CmaError> {
        self.cma_alloc_with(count, &mut [])
    }

    pub(crate) fn cma_alloc_with(
        &mut self,
        count: u32,
        drivers: &mut [&mut dyn MovableOps<Pages<'m>>],
    ) -> Result<crate::cma::CmaPages, crate::cma::CmaError> {
        let Self { pages, spaces, cma, area, .. } = self;
        let mut migrator = Migrator { spaces, drivers, mode: MigrateMode::Sync };
        cma.alloc(pages, *area, (count, 0), Gfp::KERNEL, "tester", &mut migrator)
    }
}

pub(crate) const PAGE: usize = PAGE_SIZE as usize;
