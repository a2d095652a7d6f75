//! Random sequences against a `BTreeMap` of what is allocated.

use super::{Machine, arena::RESERVED, on};
use crate::{
    Gfp, PageState,
    slab::{CacheId, CacheSpec, FreeError, KMALLOC_CLASSES, MAX_CPUS, SlabError, SlabOptions},
};
use core::{alloc::Layout, ptr::NonNull};
use hal::LinearMap;
use proptest::prelude::*;
use std::{collections::BTreeMap, vec, vec::Vec};
use types::{PAGE_SIZE, Pfn};

/// Where an object came from, and so how it must be freed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Origin {
    Kmalloc,
    Cache(usize),
    Layout(Layout),
}

struct Live {
    object: NonNull<u8>,
    size: usize,
    origin: Origin,
    seed: u8,
}

/// One step; the numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Op {
    Kmalloc { size: usize, gfp: u8, cpu: usize },
    Layout { size: usize, align: u32, cpu: usize },
    Cache { which: usize, cpu: usize },
    Free { which: usize, cpu: usize },
    Realloc { which: usize, size: usize, cpu: usize },
    DoubleFree { which: usize, cpu: usize },
    Interior { which: usize, by: usize },
    WrongCache { which: usize },
    Foreign { page: u32 },
    Reclaim,
    Starve { pages: u32 },
}

fn ops() -> impl Strategy<Value = Op> {
    let size = prop_oneof![8 => 0usize..300, 3 => 300usize..9000, 1 => 9000usize..70_000];
    let cpu = 0..MAX_CPUS;
    prop_oneof![
        8 => (size.clone(), any::<u8>(), cpu.clone()).prop_map(|(size, gfp, cpu)| Op::Kmalloc { size, gfp, cpu }),
        3 => (1usize..5000, 0u32..13, cpu.clone())
            .prop_map(|(size, align, cpu)| Op::Layout { size, align, cpu }),
        6 => (any::<usize>(), cpu.clone()).prop_map(|(which, cpu)| Op::Cache { which, cpu }),
        14 => (any::<usize>(), cpu.clone()).prop_map(|(which, cpu)| Op::Free { which, cpu }),
        3 => (any::<usize>(), size, cpu.clone())
            .prop_map(|(which, size, cpu)| Op::Realloc { which, size, cpu }),
        2 => (any::<usize>(), cpu).prop_map(|(which, cpu)| Op::DoubleFree { which, cpu }),
        1 => (any::<usize>(), 1usize..4096).prop_map(|(which, by)| Op::Interior { which, by }),
        1 => any::<usize>().prop_map(|which| Op::WrongCache { which }),
        1 => (0u32..4000).prop_map(|page| Op::Foreign { page }),
        1 => Just(Op::Reclaim),
        1 => (0u32..3).prop_map(|pages| Op::Starve { pages }),
    ]
}

struct World {
    machine: Machine,
    caches: Vec<CacheId>,
    live: BTreeMap<usize, Live>,
    /// Freed and not handed out since, as far as the model knows: their second free must be refused.
    freed: Vec<(NonNull<u8>, Origin)>,
    seed: u8,
}

impl World {
    fn new(pages: u32, options: SlabOptions) -> Self {
        let mut machine = Machine::new(pages, options);
        let specs = [
            CacheSpec::new("two-hundred", 200),
            CacheSpec { align: 128, reclaimable: true, ..CacheSpec::new("aligned", 72) },
            CacheSpec { hwcache_align: true, ..CacheSpec::new("tiny", 5) },
            CacheSpec::new("huge", 20_000),
        ];
        let caches = specs.iter().map(|spec| machine.slab.cache_create(spec).unwrap()).collect();
        Self { machine, caches, live: BTreeMap::new(), freed: Vec::new(), seed: 0 }
    }

    /// The object overlaps no other, is aligned and in allocatable memory; then it is filled.
    fn admit(&mut self, object: NonNull<u8>, size: usize, align: usize, origin: Origin) {
        let start = object.as_ptr().addr();
        assert_eq!(start % align, 0, "alignment");
        let phys = self.machine.arena.phys(object.as_ptr()).expect("in the linear map");
        assert!(Pfn::containing(phys).get() >= super::arena::FIRST_PFN + RESERVED);
        if let Some((&below, other)) = self.live.range(..=start).next_back() {
            assert!(below + other.size <= start, "overlap below");
        }
        if let Some((&above, _)) = self.live.range(start..).next() {
            assert!(start + size <= above, "overlap above");
        }
        self.freed.retain(|(old, _)| *old != object);
        self.seed = self.seed.wrapping_add(1);
        let live = Live { object, size, origin, seed: self.seed };
        live.fill();
        self.live.insert(start, live);
    }

    fn pick(&self, which: usize) -> Option<usize> {
        let first = *self.live.keys().next()?;
        let last = *self.live.keys().next_back()?;
        self.live.range(first + which % (last - first + 1)..).next().map(|(&key, _)| key)
    }

    fn give(&mut self, object: NonNull<u8>, origin: Origin, cpu: usize) -> Result<(), FreeError> {
        let Machine { slab, pages, .. } = &mut self.machine;
        match origin {
            Origin::Kmalloc => slab.kfree(pages, on(cpu), object.as_ptr()),
            Origin::Cache(i) => slab.cache_free(pages, on(cpu), &self.caches[i], object.as_ptr()),
            Origin::Layout(layout) => slab.free(pages, on(cpu), object.as_ptr(), layout),
        }
    }

    fn free(&mut self, key: usize, cpu: usize) {
        let live = self.live.remove(&key).unwrap();
        live.verify();
        self.give(live.object, live.origin, cpu).unwrap();
        self.freed.push((live.object, live.origin));
    }

    fn taken(&mut self, result: Result<NonNull<u8>, SlabError>, size: usize, align: usize, origin: Origin) {
        match result {
            Ok(object) if size > 0 => self.admit(object, size, align, origin),
            Ok(object) => assert_eq!(object.as_ptr().addr(), 16),
            Err(error) => assert!(matches!(error, SlabError::NoPages(_) | SlabError::Injected), "{error}"),
        }
    }

    fn step(&mut self, op: &Op) {
        let Machine { slab, pages, .. } = &mut self.machine;
        match *op {
            Op::Kmalloc { size, gfp, cpu } => {
                let flags =
                    [Gfp::KERNEL, Gfp::ATOMIC, Gfp::KERNEL | Gfp::DMA, Gfp::KERNEL | Gfp::__RECLAIMABLE];
                let gfp = flags[gfp as usize % 4];
                let result = slab.kmalloc(pages, on(cpu), size, gfp);
                let line = if gfp.contains(Gfp::DMA) { 64 } else { 8 };
                let align = if size.is_power_of_two() { size.min(1 << 20).max(line) } else { line };
                self.taken(result, size, align, Origin::Kmalloc);
            }
            Op::Layout { size, align, cpu } => {
                let layout = Layout::from_size_align(size, 1 << align).unwrap();
                let result = slab.alloc(pages, on(cpu), layout, Gfp::KERNEL);
                self.taken(result, size, 1 << align, Origin::Layout(layout));
            }
            Op::Cache { which, cpu } => {
                let which = which % self.caches.len();
                let result = slab.cache_alloc(pages, on(cpu), &self.caches[which], Gfp::KERNEL);
                let (size, align) = [(200, 4), (72, 128), (5, 8), (20_000, 4)][which];
                self.taken(result, size, align, Origin::Cache(which));
            }
            Op::Free { which, cpu } => {
                if let Some(key) = self.pick(which) {
                    self.free(key, cpu);
                }
            }
            Op::Realloc { which, size, cpu } => self.realloc(which, size, cpu),
            Op::DoubleFree { which, cpu } => self.double_free(which, cpu),
            Op::Interior { which, by } => self.interior(which, by),
            Op::WrongCache { which } => self.wrong_cache(which),
            Op::Foreign { page } => self.foreign(page),
            Op::Reclaim => {
                slab.reclaim(pages);
            }
            Op::Starve { pages: allowance } => pages.allowance = allowance,
        }
        if !matches!(op, Op::Starve { .. }) {
            self.machine.pages.allowance = u32::MAX;
        }
    }

    fn realloc(&mut self, which: usize, size: usize, cpu: usize) {
        let Some(key) = self.pick(which) else { return };
        let live = self.live.remove(&key).unwrap();
        let Machine { slab, pages, .. } = &mut self.machine;
        let result = match live.origin {
            Origin::Kmalloc if size > 0 => {
                slab.krealloc(pages, on(cpu), Some(live.object), size, Gfp::KERNEL)
            }
            Origin::Layout(layout) if size > 0 => {
                slab.realloc(pages, on(cpu), live.object, layout, size, Gfp::KERNEL)
            }
            _ => {
                self.live.insert(key, live);
                return;
            }
        };
        let Ok(moved) = result else {
            live.verify();
            self.live.insert(key, live);
            return;
        };
        let kept = Live { object: moved, size: live.size.min(size), ..live };
        kept.verify_prefix();
        let (origin, align) = match live.origin {
            Origin::Layout(l) => {
                (Origin::Layout(Layout::from_size_align(size, l.align()).unwrap()), l.align())
            }
            other => (other, 8),
        };
        if moved != live.object {
            self.freed.push((live.object, live.origin));
        }
        self.admit(moved, size, align, origin);
    }

    fn double_free(&mut self, which: usize, cpu: usize) {
        if self.freed.is_empty() {
            return;
        }
        let (object, origin) = self.freed[which % self.freed.len()];
        let error = self.give(object, origin, cpu).expect_err("a double free went through");
        // The slab may have been given back meanwhile, and its pages be free or another slab's.
        assert!(!matches!(error, FreeError::NotLinear { .. } | FreeError::Damaged { .. }), "{error}");
    }

    fn interior(&mut self, which: usize, by: usize) {
        let Some(key) = self.pick(which) else { return };
        let live = &self.live[&key];
        let by = by % live.size;
        if by == 0 {
            return;
        }
        let inside = NonNull::new(live.object.as_ptr().wrapping_add(by)).unwrap();
        let error = self.give(inside, Origin::Kmalloc, 0).expect_err("an inner address was freed");
        assert!(matches!(error, FreeError::NotAnObject { .. }), "{error}");
    }

    fn wrong_cache(&mut self, which: usize) {
        let Some(key) = self.pick(which) else { return };
        let Live { object, origin, .. } = self.live[&key];
        let wrong = match origin {
            Origin::Cache(i) => (i + 1) % self.caches.len(),
            _ => which % self.caches.len(),
        };
        let error = self.give(object, Origin::Cache(wrong), 1).expect_err("freed to a wrong cache");
        assert!(matches!(error, FreeError::WrongCache { .. }), "{error}");
    }

    fn foreign(&mut self, page: u32) {
        let first = super::arena::FIRST_PFN;
        let Some(state) = self.machine.pages_state(first + page) else { return };
        if !matches!(state, PageState::Free | PageState::Reserved) {
            return;
        }
        let pointer = self.machine.arena.ptr(Pfn::new(first + page).addr());
        let error = self.give(NonNull::new(pointer).unwrap(), Origin::Kmalloc, 0).unwrap_err();
        assert_eq!(error, FreeError::Foreign { addr: pointer.addr(), owner: state });
    }

    fn finish(mut self) {
        self.machine.validate();
        let expected: BTreeMap<_, _> = self.live.values().fold(BTreeMap::new(), |mut sum, live| {
            if let Origin::Cache(i) = live.origin {
                *sum.entry(i).or_insert(0) += 1;
            }
            sum
        });
        let infos: Vec<_> = self.machine.slab.caches(&self.machine.pages).collect();
        for (i, name) in ["two-hundred", "aligned", "tiny", "huge"].into_iter().enumerate() {
            let info = infos.iter().find(|info| info.name == name).unwrap();
            assert_eq!(info.active_objects, expected.get(&i).copied().unwrap_or(0), "{name}");
        }
        while let Some(key) = self.pick(0) {
            self.free(key, 0);
        }
        self.machine.assert_all_returned();
        for cache in self.caches {
            self.machine.slab.cache_destroy(&mut self.machine.pages, cache).unwrap();
        }
    }
}

impl Machine {
    fn pages_state(&self, pfn: u32) -> Option<PageState> {
        crate::PageSource::page(&self.pages, Pfn::new(pfn)).map(crate::Page::state)
    }
}

impl Live {
    /// The bytes that are watched: all of a small object, both ends of a large one.
    fn watched(&self, size: usize) -> impl Iterator<Item = usize> + use<> {
        let head = size.min(64);
        (0..head).chain(size.saturating_sub(8).max(head)..size)
    }

    fn fill(&self) {
        for i in self.watched(self.size) {
            // SAFETY: the object is ours and `size` bytes large.
            unsafe { self.object.as_ptr().add(i).write(self.seed ^ i as u8) }
        }
    }

    fn verify(&self) {
        for i in self.watched(self.size) {
            // SAFETY: the object is ours and was filled.
            assert_eq!(unsafe { self.object.as_ptr().add(i).read() }, self.seed ^ i as u8, "byte {i}");
        }
    }

    /// As `verify`, for an object that was cut or grown: only its head.
    fn verify_prefix(&self) {
        for i in 0..self.size.min(64) {
            // SAFETY: the object is ours and was filled.
            assert_eq!(unsafe { self.object.as_ptr().add(i).read() }, self.seed ^ i as u8, "byte {i}");
        }
    }
}

fn run(pages: u32, options: SlabOptions, ops: &[Op]) {
    let mut world = World::new(pages, options);
    for (i, op) in ops.iter().enumerate() {
        world.step(op);
        if i % 64 == 0 {
            world.machine.validate();
        }
    }
    world.machine.pages.allowance = u32::MAX;
    world.finish();
}

const CASES: u32 = if cfg!(miri) { 4 } else { 192 };
const LENGTH: usize = if cfg!(miri) { 60 } else { 400 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_the_model(ops in prop::collection::vec(ops(), 1..LENGTH)) {
        run(1024, SlabOptions::default(), &ops);
    }

    #[test]
    fn options_change_nothing_for_correct_users(ops in prop::collection::vec(ops(), 1..LENGTH), letters in 0u8..16) {
        let text: std::string::String =
            "fzpu".chars().enumerate().filter(|(i, _)| letters & (1 << i) != 0).map(|(_, c)| c).collect();
        let options = SlabOptions {
            init_on_alloc: letters & 1 != 0,
            init_on_free: letters & 2 != 0,
            slub_debug: crate::slab::SlubDebug::parse(if text.is_empty() { "-" } else { &text }).unwrap(),
            failslab: crate::FaultAttr::parse("7,50,0,-1").unwrap(),
            hooks: crate::slab::SlabHooks::default(),
        };
        run(1024, options, &ops);
    }
}

/// A generator for the long runs, where shrinking would not help (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize
    }

    fn op(&mut self, crowded: bool) -> Op {
        let (a, b, cpu) = (self.next(), self.next(), self.next() % MAX_CPUS);
        let size = match a % 16 {
            0 => b % 40_000,
            1..=3 => b % 9000,
            _ => b % 300,
        };
        match self.next() % 40 {
            _ if crowded && a % 4 != 0 => Op::Free { which: b, cpu },
            0..12 => Op::Kmalloc { size, gfp: (a >> 8) as u8, cpu },
            12..16 => Op::Layout { size: size + 1, align: (a >> 8) as u32 % 13, cpu },
            16..22 => Op::Cache { which: if a % 8 == 0 { 3 } else { a % 3 }, cpu },
            22..35 => Op::Free { which: b, cpu },
            35 => Op::Realloc { which: a, size: b % 10_000, cpu },
            36 | 37 => Op::DoubleFree { which: a, cpu },
            38 => Op::Interior { which: a, by: b % 4096 },
            _ if a % 64 == 0 => Op::Reclaim,
            _ => Op::WrongCache { which: a },
        }
    }
}

#[test]
fn a_million_operations() {
    let count = if cfg!(miri) { 300 } else { 1_000_000 };
    let mut random = Random(0x5eed_1234_5678_9abc);
    let mut world = World::new(2048, SlabOptions::default());
    for i in 0..count {
        let crowded = world.live.len() > 400 + (i / 5000) % 4 * 100;
        world.step(&random.op(crowded));
        if world.freed.len() > 60 {
            world.freed.drain(..40);
        }
        if i % 4096 == 0 {
            world.machine.validate();
        }
    }
    world.finish();
}

#[test]
fn every_class_is_naturally_aligned() {
    let mut machine = Machine::new(1024, SlabOptions::default());
    for size in KMALLOC_CLASSES {
        let align = (size & size.wrapping_neg()) as usize;
        for _ in 0..10 {
            let object = machine.slab.kmalloc(&mut machine.pages, on(0), size as usize, Gfp::KERNEL).unwrap();
            assert_eq!(object.as_ptr().addr() % align, 0);
            assert_eq!(machine.slab.ksize(&machine.pages, object.as_ptr()), Ok(size));
        }
    }
    assert_eq!(machine.pages.last_gfp & Gfp::__COMP, Gfp::__COMP);
    assert!(machine.pages.pages_taken() * PAGE_SIZE > KMALLOC_CLASSES.iter().sum::<u32>() * 10);
}
