//! A platform on `testkit`'s machine: a linear map in real page tables, CMA areas, pages, and some highmem.
//!
//! ```text
//! 0x8000_0000  first-level table | 0x8008_0000 area A | 0x800a_0000 area B | 0x800c_0000 pages | 0x8010_0000 end
//! 0x9000_0000  highmem, 0x9001_0000 area C
//! ```

use arch_armv7::pgtable::KernelTable;
use dma::{Contiguous, ContiguousError, CpuView, Mapper, Pages, Platform};
use hal::{LinearMap, MemAttr, PageTable, Prot, TablePages};
use mm::pages::PageRun;
use mm::vmalloc::{VfreeError, VmallocError};
use mm::{AllocError, Gfp, PageState};
use std::collections::BTreeSet;
use std::ptr::NonNull;
use testkit::{Adversary, Machine};
use types::{Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

pub const BASE: u32 = 0x8000_0000;
pub const LOWMEM: u32 = 0x10_0000;
pub const HIGHMEM: u32 = 0x9000_0000;
pub const PAGE_OFFSET: u32 = 0xc000_0000;
const ROOT: PhysAddr = PhysAddr::new(BASE + 0x4000);
const AREAS: [std::ops::Range<u32>; 3] = [0x8_0080..0x8_00a0, 0x8_00a0..0x8_00c0, 0x9_0010..0x9_0020];
const PAGES: std::ops::Range<u32> = 0x8_00c0..0x8_0100;

pub fn machine(adversary: Adversary, seed: u64) -> Machine {
    let machine = Machine::with(&[(BASE, LOWMEM), (HIGHMEM, 0x2_0000)], 64, adversary, seed);
    machine.scramble(seed);
    machine.ram().write(ROOT, &[0; 0x4000]);
    machine.set_kernel_root(ROOT);
    machine.track_linear(VirtAddr::new(PAGE_OFFSET), PhysAddr::new(BASE));
    machine
}

/// The first free run of `count` pages at a multiple of 2^`align`, taken out.
fn take(free: &mut BTreeSet<u32>, count: u32, align: u32) -> Option<u32> {
    let fits = |start: &&u32| {
        **start & (align - 1) == 0 && (**start..**start + count).all(|pfn| free.contains(&pfn))
    };
    let start = *free.iter().find(fits)?;
    (start..start + count).for_each(|pfn| assert!(free.remove(&pfn)));
    Some(start)
}

fn put(free: &mut BTreeSet<u32>, start: u32, count: u32) {
    (start..start + count).for_each(|pfn| assert!(free.insert(pfn), "pfn {pfn:#x} given back twice"));
}

#[derive(Debug)]
pub struct Block {
    pub area: usize,
    pub pfn: Pfn,
    pub count: u32,
}

pub struct Areas {
    pub free: [BTreeSet<u32>; 3],
    pub default: Option<usize>,
    /// What was asked for: area, count, alignment.
    pub asked: Vec<(usize, u32, u8)>,
}

impl dma::Areas for Areas {
    type Area = usize;
    type Block = Block;

    fn default_area(&self) -> Option<usize> {
        self.default
    }

    fn span(&self, area: usize) -> (PhysAddr, PhysAddr) {
        let pfns = &AREAS[area];
        (Pfn::new(pfns.start).addr(), PhysAddr::new(Pfn::new(pfns.end).addr().get() - 1))
    }

    fn alloc_idle(&mut self, area: usize, count: u32, align: u8) -> Option<Block> {
        self.asked.push((area, count, align));
        let pfn = take(&mut self.free[area], count, 1 << align)?;
        Some(Block { area, pfn: Pfn::new(pfn), count })
    }

    fn pfn(block: &Block) -> Pfn {
        block.pfn
    }

    fn release(&mut self, block: Block) {
        put(&mut self.free[block.area], block.pfn.get(), block.count);
    }
}

impl Contiguous for Areas {
    fn alloc(&mut self, area: usize, count: u32, align: u8, _: bool) -> Result<Block, ContiguousError> {
        dma::Areas::alloc_idle(self, area, count, align).ok_or(ContiguousError::NoRoom { count })
    }
}

/// Free pages, and the first that is not in zone DMA if there is one.
pub struct FreePages(pub BTreeSet<u32>, pub Option<u32>);

impl Pages for FreePages {
    fn alloc(&mut self, gfp: Gfp, count: u32, _: PageState) -> Result<PageRun, AllocError> {
        let align = count.next_power_of_two();
        let mut normal = self.0.split_off(&self.1.unwrap_or(0));
        let dma = gfp.contains(Gfp::__DMA) && self.1.is_some();
        let found = if dma { None } else { take(&mut normal, count, align) };
        let found = found.or_else(|| take(&mut self.0, count, align));
        self.0.append(&mut normal);
        let pfn = found.ok_or(AllocError::NoMemory { order: Order::ZERO, gfp })?;
        Ok(PageRun::from_raw(Pfn::new(pfn), count))
    }

    fn free(&mut self, run: PageRun) {
        let (pfn, count) = run.into_raw();
        put(&mut self.0, pfn.get(), count);
    }
}

pub struct Kernel<'m> {
    pub machine: &'m Machine,
    pub pages: FreePages,
    pub areas: Areas,
    pub table: Table<'m>,
    pub view: View<'m>,
    /// Mappings of highmem: address and bytes of the memory.
    pub mapped: Vec<(PhysAddr, u32)>,
}

pub type Table<'m> = KernelTable<&'m Machine, &'m Machine>;

impl<'m> Kernel<'m> {
    pub fn new(machine: &'m Machine) -> Self {
        let mut table = KernelTable::new(machine, machine, ROOT);
        let (virt, phys) = (VirtAddr::new(PAGE_OFFSET), PhysAddr::new(BASE));
        table.map(virt, phys, LOWMEM, MemAttr::Normal, Prot::WRITE).unwrap();
        let areas = Areas { free: AREAS.map(|area| area.collect()), default: Some(0), asked: vec![] };
        Self {
            machine,
            pages: FreePages(PAGES.collect(), None),
            areas,
            table,
            view: View(machine),
            mapped: vec![],
        }
    }

    /// Has the linear map in small pages, as after the first buffer.
    pub fn split(&mut self) {
        let (virt, page) = (VirtAddr::new(PAGE_OFFSET), PhysAddr::new(BASE + 0x7_f000));
        self.table.supply(Pfn::containing(page));
        self.table.protect(virt, PAGE_SIZE, MemAttr::Normal, Prot::WRITE).unwrap();
    }

    /// Pages of tables in use, beside the first level.
    pub fn leaked(&self) -> usize {
        let areas: usize = self.areas.free.iter().map(BTreeSet::len).sum();
        0x90 - areas - self.pages.0.len()
    }

    /// Everything is back, cached, and the CPU and devices see the same everywhere.
    pub fn check_idle(&mut self) {
        self.check();
        assert!(self.leaked() <= 1, "{} pages leaked", self.leaked());
        assert_eq!(self.mapped, []);
        for pfn in (0x8_0080..0x8_0100u32).chain(AREAS[2].clone()).step_by(if cfg!(miri) { 32 } else { 1 }) {
            if self.areas.free.iter().any(|area| area.contains(&pfn)) || self.pages.0.contains(&pfn) {
                assert!(!self.machine.is_uncached(Pfn::new(pfn)), "pfn {pfn:#x} is free but uncached");
                let mut seen = [[0; PAGE_SIZE as usize]; 2];
                self.machine.cpu_read(Pfn::new(pfn).addr(), &mut seen[0]);
                self.machine.device_read(Pfn::new(pfn).addr(), &mut seen[1]);
                assert!(seen[0] == seen[1], "pfn {pfn:#x} has stale lines");
            }
        }
    }

    pub fn check(&self) {
        assert_eq!(self.machine.violations(), []);
        assert!(cfg!(miri) || self.machine.stale().is_empty());
        for offset in (0..LOWMEM).step_by(if cfg!(miri) { 0x4_0000 } else { PAGE_SIZE as usize }) {
            let seen = self.machine.translate(VirtAddr::new(PAGE_OFFSET + offset));
            let phys = seen.map(|seen| seen.phys_of(VirtAddr::new(PAGE_OFFSET + offset)).get());
            assert_eq!(phys, Ok(BASE + offset), "the linear map is broken");
        }
    }
}

/// The linear map and the caches.
pub struct View<'m>(&'m Machine);

impl CpuView for View<'_> {
    type Linear = Machine;
    type Cache = Machine;

    fn linear(&self) -> &Machine {
        self.0
    }

    fn cache(&self) -> &Machine {
        self.0
    }

    fn linear_virt(&self, phys: PhysAddr) -> Option<VirtAddr> {
        let offset = phys.get().checked_sub(BASE).filter(|&offset| offset < LOWMEM)?;
        Some(VirtAddr::new(PAGE_OFFSET + offset))
    }

    fn with_highmem(&self, pfn: Pfn, work: &mut dyn FnMut(*mut u8)) {
        assert!(self.linear_virt(pfn.addr()).is_none());
        work(self.0.ptr(pfn.addr()));
    }
}

impl Mapper<usize> for View<'_> {}

impl CpuView for Kernel<'_> {
    type Linear = Machine;
    type Cache = Machine;

    fn linear(&self) -> &Machine {
        self.machine
    }

    fn cache(&self) -> &Machine {
        self.machine
    }

    fn linear_virt(&self, phys: PhysAddr) -> Option<VirtAddr> {
        self.view.linear_virt(phys)
    }

    fn with_highmem(&self, pfn: Pfn, work: &mut dyn FnMut(*mut u8)) {
        self.view.with_highmem(pfn, work);
    }
}

/// Mappings of highmem for which there is room.
pub const MAPPINGS: usize = 3;

fn set_uncached(machine: &Machine, phys: PhysAddr, size: u32, uncached: bool) {
    let first = Pfn::containing(phys);
    (0..size / PAGE_SIZE).for_each(|page| machine.set_uncached(first.add(page), uncached));
}

impl<'m> Platform for Kernel<'m> {
    type Pages = FreePages;
    type Contiguous = Areas;
    type Table = Table<'m>;

    fn pages(&mut self) -> &mut FreePages {
        &mut self.pages
    }

    fn contiguous(&mut self) -> &mut Areas {
        &mut self.areas
    }

    fn table(&mut self) -> &mut Self::Table {
        &mut self.table
    }

    fn map(&mut self, phys: PhysAddr, size: u32, attr: MemAttr) -> Result<NonNull<u8>, VmallocError> {
        assert!(self.linear_virt(phys).is_none());
        if self.mapped.len() == MAPPINGS {
            return Err(VmallocError::NoSpace { size });
        }
        self.mapped.push((phys, size));
        set_uncached(self.machine, phys, size, attr != MemAttr::Normal);
        Ok(NonNull::new(self.machine.ptr(phys)).unwrap())
    }

    fn unmap(&mut self, start: NonNull<u8>) -> Result<(), VfreeError> {
        let at = self.mapped.iter().position(|&(phys, _)| self.machine.ptr(phys) == start.as_ptr());
        let addr = VirtAddr::new(start.addr().get() as u32);
        let (phys, size) = self.mapped.remove(at.ok_or(VfreeError::NoArea { addr })?);
        set_uncached(self.machine, phys, size, false);
        Ok(())
    }
}

/// Runs `scenario` with each of its maintenance calls left out in turn, and returns those whose loss it survived.
/// The linear map is in pages already: its splitting is `arch-armv7`'s to test.
pub fn survivors(adversary: Adversary, scenario: fn(&mut Kernel<'_>)) -> Vec<String> {
    let run = |drop| {
        let machine = machine(adversary, 3);
        let mut kernel = Kernel::new(&machine);
        kernel.split();
        machine.reset_ops(drop);
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(&mut kernel))).is_ok();
        (passed, machine.counts().total(), machine.dropped())
    };
    let (passed, total, _) = run(None);
    assert!(passed && total > 0, "the scenario fails by itself");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let lost = (0..total).map(|n| (n, run(Some(n)))).filter(|(_, (passed, ..))| *passed);
    let lost = lost.map(|(n, (.., op))| format!("call {n} of {total}: {op:?}")).collect();
    std::panic::set_hook(hook);
    lost
}
