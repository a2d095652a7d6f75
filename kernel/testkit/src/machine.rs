//! Memory, cache, TLB and a DMA master, put together.

use crate::cache::{Adversary, Cache};
use crate::mmu::{Access, Fault, MemoryType, Translation};
use crate::ops::{Counts, Op, Ops};
use crate::tlb::Tlb;
use crate::{Ram, Rng};
use hal::{Asid, CacheOps, LinearMap, TlbOps};
use std::cell::RefCell;
use types::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

/// A rule of the architecture that the code under test broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// Two different valid translations of one address with no invalidation in between.
    BreakBeforeMake {
        /// What the TLB still holds.
        old: Translation,
        /// What the tables say.
        new: Translation,
    },
    /// A second-level table was replaced while the walker still knew the old one.
    TableReplaced {
        /// An address in the MiB.
        virt: VirtAddr,
        /// The remembered first-level descriptor.
        old: u32,
        /// The new one.
        new: u32,
    },
    /// Memory was accessed with another memory type than its linear mapping has (invariant 5).
    MismatchedAlias {
        /// The page.
        pfn: Pfn,
        /// The type used.
        used: MemoryType,
    },
}

struct State {
    cache: Cache,
    tlb: Tlb,
    ops: Ops,
    /// Virtual minus physical address of the linear map, when it is tracked.
    linear: Option<u32>,
}

/// The emulated machine. All methods take `&self`, as hardware does; it is not `Sync`.
///
/// Memory is cacheable until [`Machine::track_linear`] names a linear map whose mappings then decide.
pub struct Machine {
    ram: Ram,
    state: RefCell<State>,
}

impl Machine {
    /// A machine with memory at `(base, size)`, zeroed; cache lines of 64 bytes and the worst adversary.
    #[must_use]
    pub fn new(banks: &[(u32, u32)]) -> Self {
        Self::with(banks, 64, Adversary::Worst, 0)
    }

    /// A machine with everything chosen. `line` is a power of two; `seed` drives [`Adversary::Random`].
    #[must_use]
    pub fn with(banks: &[(u32, u32)], line: u32, adversary: Adversary, seed: u64) -> Self {
        let cache = Cache::new(banks, line, adversary, seed);
        let state = State { cache, tlb: Tlb::default(), ops: Ops::default(), linear: None };
        Self { ram: Ram::new(banks), state: RefCell::new(state) }
    }

    /// Fills all memory with noise, seen alike by the CPU and by devices. For the start of a test: equal bytes hide
    /// lost stores.
    pub fn scramble(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        let mut page = [0; PAGE_SIZE as usize];
        rng.fill(&mut page);
        for pfn in self.ram.banks().flat_map(types::PhysRange::pfns_inside) {
            page.rotate_left(8);
            self.with_cache(|cache, ram| cache.preset(ram, Pfn::new(pfn).addr(), &page));
        }
    }

    /// Memory as the CPU sees it.
    pub const fn ram(&self) -> &Ram {
        &self.ram
    }

    fn with_cache<R>(&self, work: impl FnOnce(&mut Cache, &Ram) -> R) -> R {
        work(&mut self.state.borrow_mut().cache, &self.ram)
    }

    /// Counts a maintenance call and does it, unless it is the one to be left out.
    fn op(&self, op: Op, work: impl FnOnce(&mut State, &Ram)) {
        let state = &mut *self.state.borrow_mut();
        if state.ops.count(op) {
            work(state, &self.ram);
            state.apply_types(&self.ram);
        }
    }

    /// Starts counting maintenance calls anew, and leaves out call number `drop` from now on (0 is the next).
    pub fn reset_ops(&self, drop: Option<u32>) {
        self.state.borrow_mut().ops.reset(drop);
    }

    /// Maintenance calls since the last reset.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.borrow().ops.counts
    }

    /// The call that was left out, if it has come to that.
    #[must_use]
    pub fn dropped(&self) -> Option<Op> {
        self.state.borrow().ops.dropped()
    }

    /// A bus master reads memory.
    pub fn device_read(&self, pa: PhysAddr, bytes: &mut [u8]) {
        self.with_cache(|cache, ram| cache.device_read(ram, pa, bytes));
    }

    /// A bus master writes memory.
    pub fn device_write(&self, pa: PhysAddr, bytes: &[u8]) {
        self.with_cache(|cache, ram| cache.device_write(ram, pa, bytes));
    }

    /// The CPU loads through the linear map.
    pub fn cpu_read(&self, pa: PhysAddr, bytes: &mut [u8]) {
        self.with_cache(|cache, ram| cache.cpu_read(ram, pa, bytes));
    }

    /// The CPU stores through the linear map.
    pub fn cpu_write(&self, pa: PhysAddr, bytes: &[u8]) {
        self.with_cache(|cache, ram| cache.cpu_write(ram, pa, bytes));
    }

    /// The cache does `count` things of its own accord.
    pub fn tick(&self, count: u32) {
        self.with_cache(|cache, ram| cache.tick(ram, count));
    }

    /// Sets a page's memory type by hand, where no tables are emulated. Lines stay in the cache.
    pub fn set_uncached(&self, page: Pfn, uncached: bool) {
        self.with_cache(|cache, ram| cache.set_uncached(ram, page, uncached));
    }

    /// Whether a page is mapped uncached now.
    #[must_use]
    pub fn is_uncached(&self, page: Pfn) -> bool {
        self.state.borrow().cache.is_uncached(page.addr().get())
    }

    /// Loads TTBR1. From here on (or from [`Machine::set_user_root`] on) the walker sees memory as it is now, and
    /// later stores only when they are published.
    pub fn set_kernel_root(&self, root: PhysAddr) {
        let tlb = &mut self.state.borrow_mut().tlb;
        tlb.watch(&self.ram);
        tlb.set_kernel(root);
    }

    /// Loads TTBR0 and the ASID.
    pub fn set_user_root(&self, root: PhysAddr, asid: Asid) {
        let tlb = &mut self.state.borrow_mut().tlb;
        tlb.watch(&self.ram);
        tlb.set_user(root, asid.0);
    }

    /// From now on the mappings of memory at `page_offset + (pa - phys_offset)` decide whether it is cached.
    pub fn track_linear(&self, page_offset: VirtAddr, phys_offset: PhysAddr) {
        self.state.borrow_mut().linear = Some(page_offset.get().wrapping_sub(phys_offset.get()));
    }

    /// What an access to `virt` is translated to now, by an old TLB entry if there is one.
    ///
    /// # Errors
    /// The MMU's faults.
    pub fn translate(&self, virt: VirtAddr) -> Result<Translation, Fault> {
        let state = &mut *self.state.borrow_mut();
        let entry = state.tlb.translate(virt)?;
        state.apply_types(&self.ram);
        Ok(entry)
    }

    /// An access of up to the end of the page that holds `virt`: permission and memory type are checked.
    fn access(&self, virt: VirtAddr, access: Access, user: bool) -> Result<PhysAddr, Fault> {
        let entry = self.translate(virt)?;
        entry.check(access, user)?;
        let pa = entry.phys_of(virt);
        let state = &mut *self.state.borrow_mut();
        let cached = entry.memory == MemoryType::NormalWriteBackWriteAllocate;
        if self.ram.has(pa, 1) && state.linear.is_some() && cached == state.cache.is_uncached(pa.get()) {
            let pfn = Pfn::containing(pa);
            state.tlb.violations.push(Violation::MismatchedAlias { pfn, used: entry.memory });
        }
        Ok(pa)
    }

    /// The CPU loads through the MMU; within one page.
    ///
    /// # Errors
    /// The MMU's faults.
    pub fn load(&self, virt: VirtAddr, bytes: &mut [u8], user: bool) -> Result<(), Fault> {
        let pa = self.access(virt, Access::Read, user)?;
        self.cpu_read(pa, bytes);
        Ok(())
    }

    /// The CPU stores through the MMU; within one page.
    ///
    /// # Errors
    /// The MMU's faults.
    pub fn store(&self, virt: VirtAddr, bytes: &[u8], user: bool) -> Result<(), Fault> {
        let pa = self.access(virt, Access::Write, user)?;
        self.cpu_write(pa, bytes);
        Ok(())
    }

    /// TLB entries that the tables no longer give.
    #[must_use]
    pub fn stale(&self) -> Vec<Translation> {
        self.state.borrow_mut().tlb.stale()
    }

    /// Takes the rules broken so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.state.borrow_mut().tlb.violations)
    }
}

impl State {
    /// Applies new translations of the linear map to the cache.
    fn apply_types(&mut self, ram: &Ram) {
        for entry in std::mem::take(&mut self.tlb.fresh) {
            let offset = entry.virt.get().wrapping_sub(entry.phys.get());
            if self.linear != Some(offset) {
                continue;
            }
            let uncached = entry.memory != MemoryType::NormalWriteBackWriteAllocate;
            for pa in (0..entry.size).step_by(PAGE_SIZE as usize).map(|at| entry.phys.get() + at) {
                if ram.has(PhysAddr::new(pa), PAGE_SIZE) {
                    self.cache.set_uncached(ram, Pfn::containing(PhysAddr::new(pa)), uncached);
                }
            }
        }
    }
}

#[allow(unsafe_code)]
// SAFETY: forwards to `Ram`, whose contract holds.
unsafe impl LinearMap for Machine {
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        self.ram.ptr(pa)
    }

    fn phys(&self, ptr: *const u8) -> Option<PhysAddr> {
        self.ram.phys(ptr)
    }
}

impl Machine {
    fn cache_op(&self, op: Op, start: *const u8, len: usize, work: fn(&mut Cache, &Ram, PhysAddr, usize)) {
        self.op(op, |state, ram| {
            if len > 0 {
                let pa = ram.phys(start).expect("cache maintenance of something that isn't memory");
                work(&mut state.cache, ram, pa, len);
            }
        });
    }
}

impl CacheOps for Machine {
    fn line_size(&self) -> usize {
        self.state.borrow().cache.line_size() as usize
    }

    fn clean(&self, start: *const u8, len: usize) {
        self.cache_op(Op::Clean, start, len, Cache::clean_range);
    }

    fn invalidate(&self, start: *const u8, len: usize) {
        self.cache_op(Op::Invalidate, start, len, Cache::invalidate_range);
    }

    fn flush(&self, start: *const u8, len: usize) {
        self.cache_op(Op::Flush, start, len, Cache::flush_range);
    }
}

impl TlbOps for Machine {
    fn flush_page(&self, virt: VirtAddr, asid: Asid) {
        self.op(Op::FlushPage, |state, _| state.tlb.flush_page(virt, asid.0));
    }

    fn flush_asid(&self, asid: Asid) {
        self.op(Op::FlushAsid, |state, _| state.tlb.flush_asid(asid.0));
    }

    fn flush_all(&self) {
        self.op(Op::FlushAll, |state, _| state.tlb.flush_all());
    }

    fn publish(&self, table: *const u8, len: usize) {
        self.op(Op::Publish, |state, ram| {
            if let Some(pa) = ram.phys(table) {
                state.tlb.publish(ram, pa, len);
            }
        });
    }
}
