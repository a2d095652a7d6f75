use super::*;
use core::cell::RefCell;
use std::vec::Vec;

/// Records which pages were dropped from the TLB, and what the table held then.
#[derive(Default)]
struct Recorder {
    flushed: RefCell<Vec<u32>>,
}

impl TlbOps for &Recorder {
    fn flush_page(&self, virt: VirtAddr, _: Asid) {
        self.flushed.borrow_mut().push(virt.get());
    }
    fn flush_asid(&self, _: Asid) {}
    fn flush_all(&self) {}
    fn publish(&self, _: *const u8, _: usize) {}
}

/// A fixmap over a static page of its own.
macro_rules! fixmap {
    ($tlb:expr) => {{
        static TABLE: Table = Table::new();
        Fixmap::new(&TABLE, $tlb)
    }};
}

/// Walks the static page as the MMU does: bits 21 to 12 of the address index it.
fn walk<T>(fixmap: &Fixmap<T>, virt: u32) -> Option<Leaf> {
    assert_eq!(virt >> 22, FIXADDR_START >> 22);
    match desc::decode_l2(fixmap.table.0[(virt >> 12 & 0x3ff) as usize].load(Ordering::Relaxed)) {
        L2::Small(leaf) => Some(leaf),
        _ => None,
    }
}

fn all_slots() -> Vec<Slot> {
    let mut slots = std::vec![Slot::DeviceTree, Slot::EarlyConsole, Slot::TextPoke, Slot::Switch];
    slots.extend((0..IOREMAP_SLOTS as u8).map(Slot::EarlyIoremap));
    slots
}

#[test]
fn slots_lie_in_the_fixmap_and_apart() {
    let mut taken = Vec::new();
    for slot in all_slots() {
        let start = slot.virt().get();
        for page in 0..slot.pages() {
            let at = start + page * PAGE_SIZE;
            assert!((FIXADDR_START..FIXADDR_END).contains(&at), "{slot:?}");
            assert!(!taken.contains(&at), "{slot:?}");
            taken.push(at);
        }
    }
}

#[test]
fn a_filled_slot_reaches_every_byte_and_an_emptied_one_none() {
    let tlb = Recorder::default();
    let mut fixmap = fixmap!(&tlb);
    let phys = PhysAddr::new(0x2745_6780);
    let virt = fixmap.map(Slot::DeviceTree, phys, 2 << 20, MemAttr::Normal, Prot::empty()).unwrap().get();
    for at in [0, 1, 0x87f, 0x880, (2 << 20) - 1] {
        let leaf = walk(&fixmap, virt + at).unwrap();
        assert_eq!(leaf.phys.get() + (virt + at) % PAGE_SIZE, phys.get() + at);
        assert_eq!((leaf.attr, leaf.prot), (MemAttr::Normal, Prot::empty()));
    }
    fixmap.unmap(Slot::DeviceTree);
    let pages = 513;
    assert!((0..pages).all(|page| walk(&fixmap, FIXADDR_START + page * PAGE_SIZE).is_none()));
    assert_eq!(tlb.flushed.borrow().len(), pages as usize, "each page left the TLB");
}

#[test]
fn a_full_slot_is_not_overwritten() {
    let tlb = Recorder::default();
    let mut fixmap = fixmap!(&tlb);
    let uart = PhysAddr::new(0x1c09_0000);
    fixmap.map(Slot::EarlyConsole, uart, 0x1000, MemAttr::Device, Prot::WRITE).unwrap();
    let again = fixmap.map(Slot::EarlyConsole, PhysAddr::new(0), 1, MemAttr::Device, Prot::WRITE);
    assert_eq!(again, Err(FixmapError::Occupied { slot: Slot::EarlyConsole, phys: uart }));
    assert_eq!(walk(&fixmap, Slot::EarlyConsole.virt().get()).unwrap().phys, uart);
}

#[test]
fn what_does_not_fit_is_refused() {
    let tlb = Recorder::default();
    let mut fixmap = fixmap!(&tlb);
    let mut try_map = |phys, len| {
        let phys = PhysAddr::new(phys);
        let pages = IOREMAP_PAGES;
        let refused = Err(FixmapError::Size { phys, len, pages });
        assert_eq!(fixmap.map(Slot::EarlyIoremap(0), phys, len, MemAttr::Normal, Prot::empty()), refused);
    };
    try_map(0x1000, 0);
    try_map(0x1001, 32 * PAGE_SIZE);
    try_map(0xffff_f000, 0x1001);
    try_map(0x1001, u32::MAX);
    assert!(
        fixmap
            .map(Slot::EarlyIoremap(0), PhysAddr::new(0xffff_f000), 0x1000, MemAttr::Normal, Prot::empty())
            .is_ok()
    );
}

#[test]
fn seven_early_mappings_and_no_more() {
    let tlb = Recorder::default();
    let mut fixmap = fixmap!(&tlb);
    let mut map = |at: u32| fixmap.early_ioremap(PhysAddr::new(at), 0x100, MemAttr::Normal, Prot::empty());
    let mut mappings: Vec<_> = (1..8).map(|n| map(n * 0x10_0010).unwrap()).collect();
    assert_eq!(map(0x5000), Err(FixmapError::NoSlot { phys: PhysAddr::new(0x5000) }));
    let third = mappings.remove(2);
    let virt = third.virt();
    assert_eq!(virt.get() % PAGE_SIZE, 0x30);
    fixmap.end(third);
    let again = fixmap.early_ioremap(PhysAddr::new(0x30), 0x10, MemAttr::Device, Prot::WRITE).unwrap();
    assert_eq!(again.virt(), virt, "the freed slot is used again");
    assert!(tlb.flushed.borrow().contains(&virt.align_down(PAGE_SIZE).get()), "and was flushed before");
}

#[test]
fn links_point_at_the_quarters() {
    let links = Fixmap::<&Recorder>::links(PhysAddr::new(0x8004_5000));
    for (quarter, link) in links.into_iter().enumerate() {
        assert_eq!(
            desc::decode_l1(link),
            desc::L1::Table(PhysAddr::new(0x8004_5000 + 0x400 * quarter as u32))
        );
    }
}
