//! Random sequences against a `BTreeMap` of areas.

use super::machine::{END, Machine, START, TASK};
use crate::Gfp;
use crate::vmalloc::{Kind, VfreeError, VmallocError};
use hal::{MemAttr, Prot};
use proptest::prelude::*;
use std::{collections::BTreeMap, vec::Vec};
use types::{PAGE_SIZE, PhysAddr, PhysRange, VirtAddr};

#[derive(Clone, Debug)]
enum Op {
    Vmalloc { pages: u32 },
    Range { phys_page: u32, pages: u32, io: bool },
    Free { which: usize },
    Wrong { which: usize, by: u32 },
    Purge,
    Fragment { largest: u8, scattered: bool },
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop_oneof![6 => 1u32..20, 2 => 20u32..300, 1 => 300u32..700].prop_map(|pages| Op::Vmalloc { pages }),
        3 => (0u32..2000, prop_oneof![4 => 1u32..40, 1 => 200u32..900], any::<bool>())
            .prop_map(|(phys_page, pages, io)| Op::Range { phys_page, pages, io }),
        7 => any::<usize>().prop_map(|which| Op::Free { which }),
        1 => (any::<usize>(), 1u32..8).prop_map(|(which, by)| Op::Wrong { which, by }),
        1 => Just(Op::Purge),
        1 => (prop_oneof![Just(0u8), Just(4), Just(10)], any::<bool>())
            .prop_map(|(largest, scattered)| Op::Fragment { largest, scattered }),
    ]
}

struct World {
    machine: Machine,
    /// Start to size and kind.
    areas: BTreeMap<u32, (u32, Kind)>,
}

impl World {
    fn new() -> Self {
        Self { machine: Machine::new(2048), areas: BTreeMap::new() }
    }

    /// A new area overlaps no other, guard pages included, and every page of it is mapped.
    fn admit(&mut self, start: VirtAddr, size: u32, kind: Kind) {
        let start = start.get();
        assert!(start >= START.get() && start + size + PAGE_SIZE <= END.get());
        if let Some((below, (len, _))) = self.areas.range(..=start).next_back() {
            assert!(below + len + PAGE_SIZE <= start);
        }
        if let Some((above, _)) = self.areas.range(start..).next() {
            assert!(start + size + PAGE_SIZE <= *above);
        }
        let pages = self.machine.table.pages.range(start..start + size + PAGE_SIZE).count() as u32;
        assert_eq!(pages, size / PAGE_SIZE);
        self.areas.insert(start, (size, kind));
    }

    fn pick(&self, which: usize) -> Option<u32> {
        self.areas.keys().nth(which % self.areas.len().max(1)).copied()
    }

    fn free(&mut self, start: u32) {
        let (size, kind) = self.areas.remove(&start).unwrap();
        let (vmalloc, mut with) = self.machine.split();
        let addr = VirtAddr::new(start);
        match kind {
            // The short way may always say no.
            Kind::Vmalloc if vmalloc.vfree_at_once(&mut with, TASK, addr) => {}
            Kind::Vmalloc => vmalloc.vfree(&mut with, TASK, addr).unwrap(),
            Kind::Vmap => vmalloc.vunmap(&mut with, TASK, addr).unwrap(),
            Kind::Ioremap => vmalloc.iounmap(&mut with, TASK, addr).unwrap(),
        }
        assert_eq!(self.machine.table.pages.range(start..start + size).count(), 0);
    }

    fn step(&mut self, op: &Op) {
        let (vmalloc, mut with) = self.machine.split();
        match *op {
            // As the kernel does it: at once if possible.
            Op::Vmalloc { pages } => match vmalloc
                .vmalloc_at_once(&mut with, TASK, pages * PAGE_SIZE, Gfp::KERNEL)
                .map_or_else(|| vmalloc.vmalloc(&mut with, TASK, pages * PAGE_SIZE), Ok)
            {
                Ok(start) => self.admit(start, pages * PAGE_SIZE, Kind::Vmalloc),
                Err(error) => {
                    assert!(
                        matches!(error, VmallocError::NoPages(_) | VmallocError::NoSpace { .. }),
                        "{error}"
                    );
                }
            },
            Op::Range { phys_page, pages, io } => {
                let base = PhysAddr::new(0x4000_0000 + phys_page * PAGE_SIZE);
                let range = PhysRange::new(base, pages * PAGE_SIZE);
                let (result, kind) = if io {
                    (vmalloc.ioremap(&mut with, TASK, range), Kind::Ioremap)
                } else {
                    (vmalloc.vmap_range(&mut with, TASK, range, MemAttr::NormalNc, Prot::WRITE), Kind::Vmap)
                };
                match result {
                    Ok(start) => self.admit(start, range.size(), kind),
                    Err(error) => {
                        let short = matches!(error, VmallocError::NoPages(_) | VmallocError::NoSpace { .. });
                        assert!(short, "{error}");
                    }
                }
            }
            Op::Free { which } => {
                if let Some(start) = self.pick(which) {
                    self.free(start);
                }
            }
            Op::Wrong { which, by } => {
                let Some(start) = self.pick(which) else { return };
                let addr = VirtAddr::new(start + by * PAGE_SIZE / 2);
                if !self.areas.contains_key(&addr.get()) {
                    let (vmalloc, mut with) = self.machine.split();
                    assert_eq!(vmalloc.vfree(&mut with, TASK, addr), Err(VfreeError::NoArea { addr }));
                }
            }
            Op::Purge => {
                vmalloc.purge(with.pages, with.tlb);
            }
            Op::Fragment { largest, scattered } => {
                with.pages.largest = largest;
                with.pages.scattered = scattered;
            }
        }
    }

    fn finish(mut self) {
        self.machine.validate();
        while let Some(start) = self.pick(0) {
            self.free(start);
        }
        self.machine.assert_empty();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 128 }, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn behaves_like_the_model(ops in prop::collection::vec(ops(), 1..if cfg!(miri) { 20 } else { 200 })) {
        let mut world = World::new();
        for op in &ops {
            world.step(op);
            world.machine.validate();
        }
        world.finish();
    }
}

#[test]
fn many_small_areas() {
    let count = if cfg!(miri) { 40 } else { 3000 };
    let mut world = World::new();
    let mut random = 0x1234_5678_u32;
    for i in 0..count * 10 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let phys_page = random >> 16;
        if i < count || random & 0x100 != 0 {
            world.step(&Op::Range { phys_page, pages: 1, io: true });
        } else {
            world.step(&Op::Free { which: phys_page as usize });
        }
    }
    let live: Vec<_> = world.areas.keys().copied().collect();
    assert!(live.len() > count / 2);
    world.finish();
}
