//! An emulated machine without memory behind it, and a model of who owns what: plain maps, no buddies.

use crate::cma::{Cma, CmaId};
use crate::pages::*;
use crate::{Frames, Gfp, MigrateError, MigrateReason, Mover, Page, PageSource, PageState};
use core::mem::MaybeUninit;
use std::{boxed::Box, collections::BTreeMap, vec, vec::Vec};
use types::{Order, Pfn, PhysAddr, PhysRange};

/// A linear map for tests that never touch pages.
#[derive(Debug)]
pub(crate) struct NoMemory;

// SAFETY: gives no pointer at all.
#[allow(unsafe_code)]
unsafe impl hal::LinearMap for NoMemory {
    fn ptr(&self, pa: PhysAddr) -> *mut u8 {
        panic!("touches {pa}")
    }

    fn phys(&self, _: *const u8) -> Option<PhysAddr> {
        None
    }
}

pub(crate) type Pages<'m> = PageAllocator<'m>;

/// Memory in MiB: (base, size) of banks, of reserved stretches and of CMA areas; zone bounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) banks: Vec<(u32, u32)>,
    pub(crate) reserved: Vec<(u32, u32)>,
    pub(crate) cma: Vec<(u32, u32)>,
    pub(crate) order_per_bit: u8,
    pub(crate) dma_end: Option<u32>,
    pub(crate) highmem: Option<u32>,
    pub(crate) cpus: u32,
}

/// Pages in a MiB.
pub(crate) const MIB: u32 = 256;

fn ranges(mib: &[(u32, u32)]) -> Vec<PhysRange> {
    mib.iter().map(|&(base, size)| PhysRange::new(PhysAddr::new(base << 20), size << 20)).collect()
}

impl Machine {
    /// One bank of `mib` at 0x80000000 with 1 MiB reserved at its start.
    pub(crate) fn simple(mib: u32) -> Self {
        Self { banks: vec![(0x800, mib)], reserved: vec![(0x800, 1)], cpus: 1, ..Self::default() }
    }

    /// With a CMA area of `mib` at the end of the last bank, which must be 4 MiB aligned.
    pub(crate) fn with_cma(mut self, mib: u32) -> Self {
        let (base, size) = *self.banks.last().unwrap();
        self.cma.push((base + size - mib, mib));
        self
    }

    /// The free stretches, ascending: banks less reserved less CMA, page by page.
    fn free(&self) -> Vec<PhysRange> {
        let taken: Vec<_> = self.reserved.iter().chain(&self.cma).copied().collect();
        let mut free: Vec<(u32, u32)> = Vec::new();
        for &(base, size) in &self.banks {
            for mib in base..base + size {
                if taken.iter().any(|&(at, len)| at <= mib && mib < at + len) {
                    continue;
                }
                match free.last_mut() {
                    Some(last) if last.0 + last.1 == mib && mib != base => last.1 += 1,
                    _ => free.push((mib, 1)),
                }
            }
        }
        ranges(&free)
    }

    /// Boots it and hands it to `test`.
    pub(crate) fn run(&self, test: impl FnOnce(&mut World<'_>)) {
        let memory = ranges(&self.banks);
        let layout = MapLayout::new(memory.iter().copied()).unwrap();
        let mut metadata: Vec<MaybeUninit<Page>> = Vec::new();
        metadata.resize_with(layout.records(), MaybeUninit::uninit);
        let free = self.free();
        let pfn = |mib: u32| Pfn::new(mib * MIB);
        let setup = Setup {
            memory: memory.iter().copied(),
            free: free.iter().copied(),
            dma_end: self.dma_end.map(pfn),
            highmem_start: self.highmem.map(pfn),
            cpus: self.cpus,
        };
        let mut bitmaps: Vec<Box<[u32]>> = self
            .cma
            .iter()
            .map(|area| vec![0; (area.1 * MIB).div_ceil(32) as usize].into_boxed_slice())
            .collect();
        let mut spare = [0; 64];
        let pages = PageAllocator::new(setup, &mut metadata, &NoMemory, Hooks::default()).unwrap();
        let mut world = World {
            pages,
            cma: Cma::default(),
            areas: Vec::new(),
            model: Model::default(),
            spare: Some(&mut spare),
        };
        for range in &free {
            world.model.usable.extend(range.pfns_inside().map(|pfn| (pfn, false)));
        }
        for (&(base, size), bitmap) in self.cma.iter().zip(&mut bitmaps) {
            let id = world.cma.declare("reserved", pfn(base), size * MIB, self.order_per_bit).unwrap();
            world.cma.activate(&mut world.pages, id, bitmap).unwrap();
            world.areas.push(id);
            world.model.usable.extend((base * MIB..(base + size) * MIB).map(|pfn| (pfn, true)));
        }
        world.validate();
        test(&mut world);
    }
}

/// Who owns what, by first pfn: pages and state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    /// Every page that the allocator has, and whether it lies in a CMA area.
    pub(crate) usable: BTreeMap<u32, bool>,
    pub(crate) owned: BTreeMap<u32, (u32, PageState)>,
}

impl Model {
    pub(crate) fn in_use(&self) -> u32 {
        self.owned.values().map(|block| block.0).sum()
    }

    /// Takes note of an allocation, which must be of free memory, and in CMA only if `cma` says so.
    pub(crate) fn own(&mut self, pfn: u32, count: u32, state: PageState, cma: bool) {
        let before = self.owned.range(..=pfn).next_back();
        assert!(before.is_none_or(|(at, block)| at + block.0 <= pfn), "{pfn:#x} is in use");
        let after = self.owned.range(pfn..).next();
        assert!(after.is_none_or(|(&at, _)| pfn + count <= at), "{pfn:#x}+{count} is in use");
        for page in [pfn, pfn + count - 1, pfn + count / 2] {
            let in_cma = self.usable.get(&page).unwrap_or_else(|| panic!("{page:#x} is not to be had"));
            assert!(cma || !in_cma, "{page:#x} is in CMA");
        }
        self.owned.insert(pfn, (count, state));
    }

    pub(crate) fn disown(&mut self, pfn: u32) -> (u32, PageState) {
        self.owned.remove(&pfn).expect("owned")
    }

    /// The `nth` owned block, counted around.
    pub(crate) fn nth(&self, nth: u32) -> Option<(u32, u32, PageState)> {
        let from = self.owned.range(self.usable.keys().next()? + nth % self.usable.len() as u32..).next();
        let (&pfn, &(count, state)) = from.or_else(|| self.owned.iter().next())?;
        Some((pfn, count, state))
    }
}

/// A booted machine.
pub(crate) struct World<'m> {
    pub(crate) pages: Pages<'m>,
    pub(crate) cma: Cma<'m>,
    pub(crate) areas: Vec<CmaId>,
    pub(crate) model: Model,
    /// Room for the bitmap of one more area.
    pub(crate) spare: Option<&'m mut [u32]>,
}

/// Moves the model's movable blocks; every `stubborn`-th page refuses.
pub(crate) struct FakeMover<'a> {
    pub(crate) model: &'a mut Model,
    pub(crate) refuse: Option<(u32, MigrateError)>,
    pub(crate) moved: u32,
}

impl<'a> FakeMover<'a> {
    pub(crate) fn new(model: &'a mut Model) -> Self {
        Self { model, refuse: None, moved: 0 }
    }
}

impl<S: PageSource> Mover<S> for FakeMover<'_> {
    fn migrate(&mut self, pages: &mut S, pfn: Pfn, reason: MigrateReason) -> Result<(), MigrateError> {
        assert_eq!(reason, MigrateReason::ContigRange);
        let &(count, state) = self.model.owned.get(&pfn.get()).expect("a block of the model");
        assert!(state.is_movable());
        if let Some((refused, why)) = self.refuse
            && (refused == pfn.get() || refused == 0)
        {
            return Err(why);
        }
        let order = Order::for_pages(count).unwrap();
        let gfp = Gfp::HIGHUSER_MOVABLE | Gfp::__NOWARN;
        let new = pages.alloc_pages(gfp, order, state).map_err(|_| MigrateError::NoMemory)?;
        self.model.own(new.into_raw().0.get(), count, state, true);
        self.model.disown(pfn.get());
        pages.free_pages(Frames::from_raw(pfn, order));
        self.moved += count;
        Ok(())
    }
}

impl World<'_> {
    pub(crate) fn alloc(&mut self, gfp: Gfp, order: u8, state: PageState) -> Option<u32> {
        let order = Order::new(order).unwrap();
        let pfn = self.pages.alloc_pages(gfp | Gfp::__NOWARN, order, state).ok()?.into_raw().0.get();
        assert!(pfn.is_multiple_of(order.pages()), "{pfn:#x} is not aligned to its order");
        self.model.own(pfn, order.pages(), state, state.is_movable());
        Some(pfn)
    }

    pub(crate) fn free(&mut self, pfn: u32) {
        let (count, _) = self.model.disown(pfn);
        let before = self.pages.stat().bad_frees;
        self.pages.free_pages(Frames::from_raw(Pfn::new(pfn), Order::for_pages(count).unwrap()));
        assert_eq!(self.pages.stat().bad_frees, before);
    }

    /// Movable single pages until there is none left; returns them.
    pub(crate) fn fill_movable(&mut self) -> Vec<u32> {
        core::iter::from_fn(|| self.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon)).collect()
    }

    /// The free blocks: pfn and order. Empties the per-CPU lists.
    pub(crate) fn free_blocks(&mut self) -> Vec<(u32, u8)> {
        let buddy = self.pages.buddy_mut();
        buddy.drain_all_pages();
        let buddy = self.pages.buddy();
        let heads = (0..buddy.map.len()).filter(|&at| buddy.map.page(at).state() == PageState::Free);
        heads.map(|at| (buddy.map.pfn(at).get(), buddy.map.page(at).order())).collect()
    }

    /// Recounts everything, and compares it with the model.
    pub(crate) fn validate(&self) {
        let buddy = self.pages.buddy();
        buddy.validate().unwrap_or_else(|error| panic!("{error}"));
        let isolated: u32 = ZoneKind::ALL.iter().map(|&zone| buddy.zone(zone).isolated).sum();
        assert_eq!(buddy.managed_pages() as usize, self.model.usable.len());
        let free = buddy.free_page_count() + buddy.pcp_pages() + isolated;
        assert_eq!(free + self.model.in_use(), buddy.managed_pages());
        for state in PageState::ALL.into_iter().filter(|&state| state >= PageState::CmaTaken) {
            let found: u32 =
                self.model.owned.values().filter(|block| block.1 == state).map(|block| block.0).sum();
            assert_eq!(buddy.pages_in_use(state), found, "{state}");
        }
    }
}

/// How many cases a property test runs. An interpreter runs few, and can't reach the files with regressions.
pub(crate) fn proptest_config(cases: u32) -> proptest::test_runner::Config {
    let default = proptest::test_runner::Config::default();
    if cfg!(miri) {
        proptest::test_runner::Config { cases: 2, failure_persistence: None, ..default }
    } else {
        proptest::test_runner::Config { cases, ..default }
    }
}

/// Marsaglia's xorshift: the same run from the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(limit)) >> 32) as u32
    }
}
