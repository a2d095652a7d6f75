//! Address space tables, entry by entry, against a map of entries, judged by `testkit`'s MMU.

use arch_armv7::pgtable::UserTable;
use hal::{
    Asid, MapError, MemAttr, PageEntry, PageTable, Prot, Pte, SoftPte, SpaceTable, TablePages, TlbOps,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use testkit::{FaultKind, Machine};
use types::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

const BANK: (u32, u32) = (0x8000_0000, 0x8_0000);
const ASIDS: [Asid; 2] = [Asid(1), Asid(2)];
/// Pages that the tests use: around the borders of tables, of pages of tables, and at both ends of the span.
const PLACES: [u32; 10] = [0, 1, 255, 256, 1023, 1024, 0x1_2345, 0x3_fbff, 0x3_fffe, 0x3_ffff];

/// Pages for tables, each of which is either here or in a table.
struct Pool(BTreeSet<u32>);

struct Rig<'m> {
    machine: &'m Machine,
    tables: Vec<UserTable<&'m Machine, &'m Machine>>,
    models: [BTreeMap<u32, Pte>; 2],
    pool: Pool,
}

impl<'m> Rig<'m> {
    fn new(machine: &'m Machine) -> Self {
        machine.scramble(2);
        machine.set_kernel_root(PhysAddr::new(0x8000_4000));
        let mut pool = Pool((0x8_0008..0x8_0080).collect());
        let tables = ASIDS.map(|asid| {
            let root = Pfn::new(pool.0.pop_first().unwrap());
            UserTable::new(machine, machine, root, asid)
        });
        Self { machine, tables: tables.into(), models: [BTreeMap::new(), BTreeMap::new()], pool }
    }

    fn supply(&mut self, space: usize, virt: VirtAddr, len: u32) {
        for _ in 0..self.tables[space].tables_needed(virt, len) {
            self.tables[space].supply(Pfn::new(self.pool.0.pop_first().unwrap()));
        }
    }

    fn reclaim(&mut self, space: usize) {
        while let Some(page) = self.tables[space].reclaim() {
            assert!(self.pool.0.insert(page.get()), "{page} came back twice");
        }
    }

    fn enter(&self, space: usize) {
        self.machine.set_user_root(self.tables[space].root(), ASIDS[space]);
    }

    fn replace(&mut self, space: usize, page: u32, new: Pte) {
        let virt = VirtAddr::new(page * PAGE_SIZE);
        if let Pte::Page(PageEntry { prot, .. }) = new
            && prot.contains(Prot::WRITE | Prot::EXEC)
        {
            assert_eq!(self.tables[space].replace_pte(virt, new), Err(MapError::WriteExec));
            return;
        }
        self.supply(space, virt, PAGE_SIZE);
        let old = self.tables[space].replace_pte(virt, new).unwrap();
        let expected = if new == Pte::None {
            self.models[space].remove(&page)
        } else {
            self.models[space].insert(page, new)
        };
        assert_eq!(old, expected.unwrap_or(Pte::None));
        self.reclaim(space);
    }

    fn take(&mut self, space: usize, page: u32) {
        let old = self.tables[space].take_pte_lazily(VirtAddr::new(page * PAGE_SIZE)).unwrap();
        assert_eq!(old, self.models[space].remove(&page).unwrap_or(Pte::None));
        self.machine.flush_asid(ASIDS[space]);
        self.reclaim(space);
    }

    /// Gives a page of data other memory: nobody reaches it while it is copied, and what it may be used for stays.
    fn move_page(&mut self, space: usize, page: u32, to: Pfn) {
        let virt = VirtAddr::new(page * PAGE_SIZE);
        let waiting = |entry: PageEntry| SoftPte::new(entry.pfn, 1 + u16::from(entry.prot.bits()));
        let before = self.models[space].get(&page).copied();
        let entry = match before {
            Some(Pte::Page(entry)) if entry.attr == MemAttr::Normal => Some(entry),
            _ => None,
        }
        .filter(|entry| !entry.prot.contains(Prot::EXEC));
        let suspended = self.tables[space].suspend(virt, waiting);
        assert_eq!(suspended.is_some(), entry.is_some());
        if let Some((suspended, entry)) = suspended.zip(entry) {
            assert_eq!(self.machine.translate(virt).unwrap_err().kind, FaultKind::Translation);
            assert_eq!(self.machine.stale(), []);
            assert_eq!(self.tables[space].pte(virt), Ok(waiting(entry).map_or(Pte::None, Pte::Soft)));
            assert_eq!(self.tables[space].resume(suspended, to), entry.young);
            self.models[space].insert(page, Pte::Page(PageEntry { pfn: to, ..entry }));
        }
    }

    fn check(&self) {
        assert_eq!(self.machine.violations(), []);
        for space in 0..2 {
            self.enter(space);
            assert_eq!(self.machine.stale(), []);
            PLACES.iter().for_each(|&page| self.check_page(space, page));
            self.check_walk(space);
        }
    }

    fn check_page(&self, space: usize, page: u32) {
        let virt = VirtAddr::new(page * PAGE_SIZE);
        let pte = self.models[space].get(&page).copied().unwrap_or(Pte::None);
        assert_eq!(self.tables[space].pte(virt), Ok(pte));
        let seen = self.machine.translate(virt);
        match pte {
            Pte::None | Pte::Soft(_) => assert_eq!(seen.unwrap_err().kind, FaultKind::Translation),
            Pte::Page(entry) if !entry.young => {
                assert_eq!(seen.unwrap_err().kind, FaultKind::AccessFlag);
            }
            Pte::Page(entry) => {
                let seen = seen.unwrap();
                assert_eq!((seen.phys, seen.global), (entry.pfn.addr(), false));
                assert_eq!(seen.writable, entry.prot.contains(Prot::WRITE));
                assert_eq!(seen.user, entry.prot.contains(Prot::USER));
            }
        }
    }

    fn check_walk(&self, space: usize) {
        let mut at = VirtAddr::new(0);
        let mut found = vec![];
        while let Some(virt) = self.tables[space].next_used(at, VirtAddr::new(1 << 30)) {
            found.push(virt.get() / PAGE_SIZE);
            at = VirtAddr::new(virt.get() + PAGE_SIZE);
        }
        assert!(found.iter().eq(self.models[space].keys()));
    }

    /// A page of tables for each 4 MiB in use, one for each root, and nothing lost.
    fn check_pool(&self) {
        let in_use: usize =
            self.models.iter().map(|m| m.keys().map(|page| page / 1024).collect::<BTreeSet<_>>().len()).sum();
        assert_eq!(self.pool.0.len() + in_use + 2, 0x78);
    }
}

fn pte() -> impl Strategy<Value = Pte> {
    let page = (0..0x10_0000u32, 0..8u8, any::<bool>(), any::<bool>()).prop_map(|(pfn, prot, young, nc)| {
        let attr = if nc { MemAttr::NormalNc } else { MemAttr::Normal };
        Pte::Page(PageEntry { pfn: Pfn::new(pfn), attr, prot: Prot::from_bits_truncate(prot), young })
    });
    let soft = (0..0x10_0000u32, 1..=SoftPte::MAX_KIND)
        .prop_map(|(pfn, kind)| Pte::Soft(SoftPte::new(Pfn::new(pfn), kind).unwrap()));
    prop_oneof![Just(Pte::None), page, soft]
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Replace(Pte),
    Take,
    Move(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => pte().prop_map(Step::Replace),
        1 => Just(Step::Take),
        3 => (0..0x10_0000u32).prop_map(Step::Move),
    ]
}

proptest! {
    #![proptest_config(testkit::cases(64, 1))]

    #[test]
    fn random_entries(
        steps in prop::collection::vec((0..2usize, 0..PLACES.len(), step()),
            1..if cfg!(miri) { 5 } else { 60 })
    ) {
        let machine = Machine::new(&[BANK]);
        let mut rig = Rig::new(&machine);
        for (space, place, change) in steps {
            rig.enter(space);
            match change {
                Step::Replace(pte) => rig.replace(space, PLACES[place], pte),
                Step::Take => rig.take(space, PLACES[place]),
                Step::Move(to) => rig.move_page(space, PLACES[place], Pfn::new(to)),
            }
            rig.check();
            rig.check_pool();
        }
    }
}

#[test]
fn soft_entries_have_limits() {
    assert_eq!(SoftPte::new(Pfn::new(1 << 20), 1), None);
    assert_eq!(SoftPte::new(Pfn::new(0), 0), None);
    assert_eq!(SoftPte::new(Pfn::new(0), 1024), None);
}

#[test]
#[cfg_attr(miri, ignore = "maps hundreds of pages")]
fn large_mappings_are_not_taken_apart_by_entry() {
    let machine = Machine::new(&[BANK]);
    let mut rig = Rig::new(&machine);
    let virt = VirtAddr::new(0x10_0000);
    rig.enter(0);
    let prot = Prot::USER | Prot::WRITE;
    rig.supply(0, virt, 0x20_0000);
    let table = &mut rig.tables[0];
    table.map(virt, PhysAddr::new(0x8010_0000), 0x11_0000, MemAttr::Normal, prot).unwrap();
    assert_eq!(table.pte(VirtAddr::new(0x12_3000)), Err(MapError::Splits { virt }));
    let large = VirtAddr::new(0x20_0000);
    assert_eq!(table.replace_pte(VirtAddr::new(0x20_3000), Pte::None), Err(MapError::Splits { virt: large }));
    let out = VirtAddr::new(1 << 30);
    assert_eq!(table.replace_pte(out, Pte::None), Err(MapError::Misaligned { virt: out }));
    assert_eq!(table.pte(out), Ok(Pte::None));
    let soft = |entry: PageEntry| SoftPte::new(entry.pfn, 1);
    assert!([virt, large, out].iter().all(|&virt| table.suspend(virt, soft).is_none()));
    table.unmap(virt, 0x11_0000).unwrap();
    rig.reclaim(0);
    rig.check_pool();
    assert!(rig.tables[0].is_empty());
    let root = rig.tables.remove(0).into_root();
    assert_eq!(root, Pfn::new(0x8_0008));
}

#[test]
fn no_table_changes_nothing() {
    let machine = Machine::new(&[BANK]);
    let mut rig = Rig::new(&machine);
    let soft = Pte::Soft(SoftPte::new(Pfn::new(7), 3).unwrap());
    assert_eq!(rig.tables[1].replace_pte(VirtAddr::new(0), soft), Err(MapError::NoTable));
    assert_eq!(rig.tables[1].replace_pte(VirtAddr::new(0), Pte::None), Ok(Pte::None));
    assert!(rig.tables[1].is_empty());
    rig.check();
}
