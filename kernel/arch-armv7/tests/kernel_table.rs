//! The kernel's table against a map of pages, judged by `testkit`'s walker and its TLB that forgets nothing.

use arch_armv7::pgtable::KernelTable;
use hal::{MapError, MemAttr, PageTable, Prot, TablePages, TlbOps};
use proptest::prelude::*;
use std::collections::BTreeMap;
use testkit::{Machine, MemoryType, Op};
use types::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

const ROOT: PhysAddr = PhysAddr::new(0x8000_4000);
const BANK: (u32, u32) = (0x8000_0000, 0x2_0000);
/// Three pages of tables, the first and last cut by the window's ends.
const WINDOW: u32 = 0xd030_0000;
const WINDOW_PAGES: u32 = 6 * 256;
const LARGE: u32 = 16 * PAGE_SIZE;
const SECTION: u32 = 256 * PAGE_SIZE;

/// One page, and the entry that it belongs to.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Page {
    phys: u32,
    attr: MemAttr,
    prot: Prot,
    size: u32,
}

/// What should be mapped, page by page.
#[derive(Default, Clone)]
struct Model(BTreeMap<u32, Page>);

impl Model {
    fn first_mapped(&self, virt: u32, len: u32) -> Option<(u32, Page)> {
        self.0.range(virt..virt + len).next().map(|(virt, page)| (*virt, *page))
    }

    fn first_hole(&self, virt: u32, len: u32) -> Option<u32> {
        (virt..virt + len).step_by(PAGE_SIZE as usize).find(|virt| !self.0.contains_key(virt))
    }

    /// The largest size that fits at this place of a range, tried from the largest.
    fn map(&mut self, virt: u32, phys: u32, len: u32, attr: MemAttr, prot: Prot) {
        let mut at = 0;
        while at < len {
            let fits = |size: u32| {
                (virt + at) & (size - 1) == 0 && (phys + at) & (size - 1) == 0 && len - at >= size
            };
            let size = [SECTION, LARGE, PAGE_SIZE].into_iter().find(|&size| fits(size)).unwrap();
            for _ in 0..size / PAGE_SIZE {
                self.0.insert(virt + at, Page { phys: phys + at, attr, prot, size });
                at += PAGE_SIZE;
            }
        }
    }

    /// The entry that would be cut by a border at `virt`.
    fn cut(&self, virt: u32) -> Option<(u32, u32)> {
        let size = self.0.get(&virt)?.size;
        (virt & (size - 1) != 0).then_some((virt & !(size - 1), size))
    }

    fn split(&mut self, virt: u32) {
        while let Some((start, size)) = self.cut(virt) {
            self.0.range_mut(start..start + size).for_each(|(_, page)| page.size = PAGE_SIZE);
        }
    }
}

#[derive(Clone, Debug)]
enum Do {
    Map { page: u32, phys: u32, pages: u32, attr: MemAttr, prot: Prot },
    Unmap { page: u32, pages: u32, lazily: bool },
    Protect { page: u32, pages: u32, attr: MemAttr, prot: Prot },
}

fn attr() -> impl Strategy<Value = MemAttr> {
    prop::sample::select(vec![MemAttr::Normal, MemAttr::NormalNc, MemAttr::Device, MemAttr::StronglyOrdered])
}

fn prot() -> impl Strategy<Value = Prot> {
    (0..8u8).prop_map(Prot::from_bits_truncate)
}

/// Pages at which ranges like to begin and end.
fn page() -> impl Strategy<Value = u32> {
    prop_oneof![0..WINDOW_PAGES, (0..WINDOW_PAGES / 16).prop_map(|n| n * 16), (0..6u32).prop_map(|n| n * 256)]
}

fn pages() -> impl Strategy<Value = u32> {
    prop_oneof![1..20u32, Just(16), Just(32), Just(256), 1..700u32]
}

fn step() -> impl Strategy<Value = Do> {
    let phys = prop_oneof![0..512u32, (0..32u32).prop_map(|n| n * 16), (0..4u32).prop_map(|n| n * 256)];
    prop_oneof![
        3 => (page(), phys, pages(), attr(), prot())
            .prop_map(|(page, phys, pages, attr, prot)| Do::Map { page, phys, pages, attr, prot }),
        2 => (page(), pages(), any::<bool>())
            .prop_map(|(page, pages, lazily)| Do::Unmap { page, pages, lazily }),
        2 => (page(), pages(), attr(), prot())
            .prop_map(|(page, pages, attr, prot)| Do::Protect { page, pages, attr, prot }),
    ]
}

struct Rig<'m> {
    machine: &'m Machine,
    table: KernelTable<&'m Machine, &'m Machine>,
    model: Model,
    next_page: u32,
}

impl<'m> Rig<'m> {
    fn new(machine: &'m Machine) -> Self {
        machine.scramble(1);
        machine.ram().write(ROOT, &[0; 0x4000]);
        machine.set_kernel_root(ROOT);
        let table = KernelTable::new(machine, machine, ROOT);
        Self { machine, table, model: Model::default(), next_page: 0x8_0008 }
    }

    fn supply(&mut self, virt: u32, len: u32) {
        for _ in 0..self.table.tables_needed(VirtAddr::new(virt), len) {
            self.table.supply(Pfn::new(self.next_page));
            self.next_page += 1;
        }
    }

    fn map(&mut self, virt: u32, phys: u32, len: u32, attr: MemAttr, prot: Prot) -> Result<(), MapError> {
        let at = |virt| VirtAddr::new(virt);
        let clash = self.model.first_mapped(virt, len);
        let expected = match clash {
            _ if prot.contains(Prot::WRITE | Prot::EXEC) => Err(MapError::WriteExec),
            Some((virt, page)) => Err(MapError::Occupied { virt: at(virt), phys: PhysAddr::new(page.phys) }),
            None => Ok(()),
        };
        // Every other single page the short way first, which may always say no, but never yes to what is to be refused.
        let short = len == PAGE_SIZE && phys & PAGE_SIZE != 0;
        if short && self.table.map_page(at(virt), PhysAddr::new(phys), attr, prot) {
            assert_eq!(expected, Ok(()));
            self.model.map(virt, phys, len, attr, prot);
            return Ok(());
        }
        let missing = self.table.tables_needed(at(virt), len);
        let mut result = self.table.map(at(virt), PhysAddr::new(phys), len, attr, prot);
        if result == Err(MapError::NoTable) {
            assert!(missing > 0, "no table, although enough were supplied");
            self.check(virt, len);
            self.supply(virt, len);
            result = self.table.map(at(virt), PhysAddr::new(phys), len, attr, prot);
        }
        assert_eq!(result, expected);
        if result.is_ok() {
            self.model.map(virt, phys, len, attr, prot);
        }
        result
    }

    fn unmap(&mut self, virt: u32, len: u32, lazily: bool) {
        let at = VirtAddr::new(virt);
        let cut = self.model.cut(virt).or_else(|| self.model.cut(virt + len));
        let expected = match (self.model.first_hole(virt, len), cut) {
            (Some(hole), _) => Err(MapError::NotMapped { virt: VirtAddr::new(hole) }),
            (None, Some((start, _))) => Err(MapError::Splits { virt: VirtAddr::new(start) }),
            (None, None) => Ok(()),
        };
        if lazily {
            if len == PAGE_SIZE && self.table.unmap_page_lazily(at) {
                assert_eq!(expected, Ok(()));
            } else {
                assert_eq!(self.table.unmap_lazily(at, len), expected);
            }
            self.machine.flush_all();
        } else {
            assert_eq!(self.table.unmap(at, len), expected);
        }
        if expected.is_ok() {
            self.model.0.retain(|page, _| !(virt..virt + len).contains(page));
        }
    }

    fn protect(&mut self, virt: u32, len: u32, attr: MemAttr, prot: Prot) {
        self.supply(virt, len);
        let result = self.table.protect(VirtAddr::new(virt), len, attr, prot);
        let expected = match self.model.first_hole(virt, len) {
            _ if prot.contains(Prot::WRITE | Prot::EXEC) => Err(MapError::WriteExec),
            Some(hole) => Err(MapError::NotMapped { virt: VirtAddr::new(hole) }),
            None => Ok(()),
        };
        assert_eq!(result, expected);
        if result.is_ok() {
            self.model.split(virt);
            self.model.split(virt + len);
            self.model.0.range_mut(virt..virt + len).for_each(|(_, page)| {
                page.attr = attr;
                page.prot = prot;
            });
        }
    }

    fn run(&mut self, step: &Do) {
        let clip = |page: u32, pages: u32| pages.min(WINDOW_PAGES - page) * PAGE_SIZE;
        let virt = |page: u32| WINDOW + page * PAGE_SIZE;
        match *step {
            Do::Map { page, phys, pages, attr, prot } => {
                let _ = self.map(virt(page), 0x4000_0000 + phys * PAGE_SIZE, clip(page, pages), attr, prot);
                self.check(virt(page), clip(page, pages));
            }
            Do::Unmap { page, pages, lazily } => {
                self.unmap(virt(page), clip(page, pages), lazily);
                self.check(virt(page), clip(page, pages));
            }
            Do::Protect { page, pages, attr, prot } => {
                self.protect(virt(page), clip(page, pages), attr, prot);
                self.check(virt(page), clip(page, pages));
            }
        }
    }

    /// Every page of the range, and the whole section around, is as the model says, to the table and to the MMU.
    fn check(&self, virt: u32, len: u32) {
        assert_eq!(self.machine.violations(), []);
        assert_eq!(self.machine.stale(), []);
        for virt in ((virt & !(SECTION - 1))..=(virt + len).min(WINDOW + WINDOW_PAGES * PAGE_SIZE))
            .step_by(PAGE_SIZE as usize)
        {
            self.check_page(virt);
        }
    }

    fn check_page(&self, virt: u32) {
        let at = VirtAddr::new(virt + 0x123);
        let (seen, told) = (self.machine.translate(at), self.table.translate(at));
        let Some(page) = self.model.0.get(&virt) else {
            assert!(seen.is_err() && told.is_none(), "{at} is mapped: {seen:?}");
            return;
        };
        let (seen, told) = (seen.unwrap(), told.unwrap());
        assert_eq!(seen.phys_of(at).get(), page.phys + 0x123);
        assert_eq!((told.phys, told.attr, told.prot), (seen.phys_of(at), page.attr, page.prot));
        assert_eq!((seen.size, told.size), (page.size, page.size));
        let memory = match page.attr {
            MemAttr::Normal => MemoryType::NormalWriteBackWriteAllocate,
            MemAttr::NormalNc => MemoryType::NormalNonCacheable,
            MemAttr::Device => MemoryType::ShareableDevice,
            MemAttr::StronglyOrdered => MemoryType::StronglyOrdered,
        };
        assert_eq!(seen.memory, memory);
        assert_eq!(seen.writable, page.prot.contains(Prot::WRITE));
        assert_eq!(seen.executable, page.prot.contains(Prot::EXEC));
        assert_eq!(seen.user, page.prot.contains(Prot::USER));
        assert!(seen.global);
        assert!(seen.shareable || !matches!(page.attr, MemAttr::Normal | MemAttr::NormalNc));
    }
}

proptest! {
    #![proptest_config(testkit::cases(48, 1))]

    #[test]
    #[cfg_attr(miri, ignore = "checks thousands of pages; a_few_changes is for Miri")]
    fn random_changes(steps in prop::collection::vec(step(), 1..if cfg!(miri) { 4 } else { 40 })) {
        let machine = Machine::new(&[BANK]);
        let mut rig = Rig::new(&machine);
        steps.iter().for_each(|step| rig.run(step));
    }
}

#[test]
fn a_few_changes() {
    let machine = Machine::new(&[BANK]);
    let mut rig = Rig::new(&machine);
    let (virt, len) = (WINDOW + SECTION - 3 * PAGE_SIZE, 5 * PAGE_SIZE);
    let _ = rig.map(virt, 0x4000_0000, len, MemAttr::Normal, Prot::WRITE);
    rig.supply(virt, len);
    rig.protect(virt + PAGE_SIZE, PAGE_SIZE, MemAttr::NormalNc, Prot::WRITE);
    rig.unmap(virt, len - PAGE_SIZE, false);
    (0..6).for_each(|page| rig.check_page(virt + page * PAGE_SIZE));
    assert_eq!((machine.violations(), machine.stale()), (vec![], vec![]));
}

fn scenario(rig: &mut Rig<'_>) {
    const BASE: u32 = WINDOW + SECTION;
    let _ = rig.map(BASE, 0x4000_0000, 2 * SECTION, MemAttr::Normal, Prot::WRITE);
    rig.check(BASE, 4 * SECTION);
    rig.supply(BASE, SECTION);
    rig.protect(BASE + 5 * PAGE_SIZE, 30 * PAGE_SIZE, MemAttr::NormalNc, Prot::WRITE);
    rig.check(BASE, 4 * SECTION);
    // Another quarter of the same page of tables.
    let _ = rig.map(BASE + 2 * SECTION, 0x4200_0000, PAGE_SIZE, MemAttr::Normal, Prot::empty());
    rig.check(BASE, 4 * SECTION);
    rig.protect(BASE + SECTION, SECTION, MemAttr::NormalNc, Prot::WRITE);
    rig.unmap(BASE + 2 * SECTION, PAGE_SIZE, false);
    rig.check(BASE, 4 * SECTION);
    rig.unmap(BASE, SECTION, false);
    // Sections over tables that are empty by now; their page becomes spare.
    let _ = rig.map(BASE, 0x4100_0000, SECTION, MemAttr::Normal, Prot::EXEC);
    let _ = rig.map(BASE + 2 * SECTION, 0x4100_0000, SECTION, MemAttr::Normal, Prot::EXEC);
    rig.check(BASE, 4 * SECTION);
    assert!(rig.table.reclaim().is_some() && rig.table.reclaim().is_none());
    rig.unmap(BASE, SECTION, true);
    let _ = rig.map(BASE, 0x4123_4000, PAGE_SIZE, MemAttr::Device, Prot::WRITE);
    rig.check(BASE, 4 * SECTION);
}

fn run_without(drop: Option<u32>) -> (u32, Option<Op>) {
    let machine = Machine::new(&[BANK]);
    let mut rig = Rig::new(&machine);
    machine.reset_ops(drop);
    scenario(&mut rig);
    (machine.counts().total(), machine.dropped())
}

/// Leaving out any one maintenance call is noticed.
#[test]
#[cfg_attr(miri, ignore = "as many runs as there are calls")]
fn every_maintenance_call_is_needed() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (total, _) = run_without(None);
    let survives = |n| Some((n, std::panic::catch_unwind(|| run_without(Some(n))).ok()?.1));
    let survivors: Vec<_> = (0..total).filter_map(survives).collect();
    std::panic::set_hook(hook);
    assert!(total > 50, "{total} calls");
    assert_eq!(survivors, [], "calls whose loss nobody noticed, of {total}");
}

#[test]
#[cfg_attr(miri, ignore = "checks thousands of pages")]
fn what_the_kernel_runs_on_is_kept() {
    let machine = Machine::new(&[BANK]);
    let mut rig = Rig::new(&machine);
    let _ = rig.map(WINDOW, 0x4000_0000, 2 * SECTION, MemAttr::Normal, Prot::WRITE);
    assert!(rig.table.keep(VirtAddr::new(WINDOW + 0x8000), VirtAddr::new(WINDOW + 0x1_7fff)));
    rig.supply(WINDOW, SECTION);
    let inside = VirtAddr::new(WINDOW + 0x8000);
    let result =
        rig.table.protect(VirtAddr::new(WINDOW + 0x8_0000), PAGE_SIZE, MemAttr::NormalNc, Prot::WRITE);
    assert_eq!(result, Err(MapError::InUse { virt: inside }));
    rig.check(WINDOW, 2 * SECTION);
    rig.protect(WINDOW + SECTION + 0x8_0000, PAGE_SIZE, MemAttr::NormalNc, Prot::WRITE);
    rig.check(WINDOW, 2 * SECTION);
    (1..4).for_each(|_| assert!(rig.table.keep(inside, inside)));
    assert!(!rig.table.keep(inside, inside));
}

#[test]
fn bad_ranges() {
    let machine = Machine::new(&[BANK]);
    let mut rig = Rig::new(&machine);
    let mut map = |virt, phys, len| {
        rig.table.map(VirtAddr::new(virt), PhysAddr::new(phys), len, MemAttr::Normal, Prot::WRITE)
    };
    for (virt, phys, len) in [(0xd000_0800, 0, 0x1000), (0xd000_0000, 0x800, 0x1000), (0xd000_0000, 0, 0x800)]
    {
        assert_eq!(map(virt, phys, len), Err(MapError::Misaligned { virt: VirtAddr::new(virt) }));
    }
    let top = VirtAddr::new(0xffff_f000);
    assert_eq!(map(0xffff_f000, 0, 0x2000), Err(MapError::Misaligned { virt: top }));
    assert_eq!(
        map(0xd000_0000, 0xffff_f000, 0x2000),
        Err(MapError::Misaligned { virt: VirtAddr::new(0xd000_0000) })
    );
    assert_eq!(map(0xffff_f000, 0, 0x1000), Err(MapError::NoTable));
    assert_eq!(map(0xd000_0000, 0, 0), Ok(()));
    rig.supply(0xffff_f000, 0x1000);
    assert_eq!(rig.map(0xffff_f000 - 0x1000, 0x4000_0000, 0x1000, MemAttr::Normal, Prot::EXEC), Ok(()));
}

/// Between break and make of a large page nobody can write the table that lies in it: refused, and nothing changes.
/// A section that holds its own table becomes small pages at once, so it never comes to that.
#[test]
fn a_large_page_that_maps_its_own_table_is_not_split() {
    let machine = Machine::new(&[BANK]);
    machine.ram().write(ROOT, &[0; 0x4000]);
    machine.set_kernel_root(ROOT);
    let own = PhysAddr::new(0x8001_0000);
    let mut table = KernelTable::new(&machine, &machine, ROOT);
    table.supply(Pfn::containing(own));
    let (large, section) = (VirtAddr::new(WINDOW), VirtAddr::new(WINDOW + SECTION));
    table.map(large, own, LARGE, MemAttr::Normal, Prot::WRITE).unwrap();
    table.map(section, PhysAddr::new(0x8000_0000), SECTION, MemAttr::Normal, Prot::WRITE).unwrap();
    let refused = table.protect(large, PAGE_SIZE, MemAttr::NormalNc, Prot::WRITE);
    assert_eq!(refused, Err(MapError::InUse { virt: large }));
    assert_eq!(table.translate(large).map(|seen| (seen.phys, seen.attr)), Some((own, MemAttr::Normal)));
    table.supply(Pfn::containing(PhysAddr::new(0x8000_8000)));
    for page in [3, 17, 16, 255] {
        let virt = VirtAddr::new(section.get() + page * PAGE_SIZE);
        table.protect(virt, PAGE_SIZE, MemAttr::NormalNc, Prot::WRITE).unwrap();
        assert_eq!(table.translate(virt).map(|seen| seen.attr), Some(MemAttr::NormalNc));
    }
    assert_eq!(machine.violations(), vec![]);
}

/// The short way for a page writes an entry of a table that is there, and nothing else.
#[test]
fn single_pages_the_short_way() {
    let machine = Machine::new(&[BANK]);
    let mut rig = Rig::new(&machine);
    let (page, phys) = (VirtAddr::new(WINDOW), PhysAddr::new(0x4000_1000));
    let map = |rig: &mut Rig<'_>, at, prot| rig.table.map_page(at, phys, MemAttr::Normal, prot);
    assert!(!map(&mut rig, page, Prot::WRITE), "there is no table yet");
    assert_eq!(rig.map(WINDOW + PAGE_SIZE, 0x4000_0000, PAGE_SIZE, MemAttr::Normal, Prot::WRITE), Ok(()));
    assert!(!map(&mut rig, page, Prot::WRITE | Prot::EXEC));
    assert!(!map(&mut rig, VirtAddr::new(WINDOW + 1), Prot::WRITE));
    assert!(!map(&mut rig, VirtAddr::new(WINDOW + PAGE_SIZE), Prot::WRITE), "occupied");
    assert!(!rig.table.unmap_page_lazily(page), "nothing is mapped");
    assert!(map(&mut rig, page, Prot::WRITE));
    assert_eq!(rig.table.translate(page).map(|seen| (seen.phys, seen.size)), Some((phys, PAGE_SIZE)));
    assert!(rig.table.unmap_page_lazily(page));
    rig.machine.flush_all();
    assert_eq!(rig.table.translate(page), None);
    assert_eq!(rig.map(WINDOW + LARGE, 0x4001_0000, LARGE, MemAttr::Normal, Prot::WRITE), Ok(()));
    assert!(!rig.table.unmap_page_lazily(VirtAddr::new(WINDOW + LARGE)), "that is a part of a large page");
}
