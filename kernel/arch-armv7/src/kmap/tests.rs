use super::*;
use boot::layout::PAGE_OFFSET;
use core::convert::Infallible;
use hal::{MemAttr, Prot};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;
use types::{PAGE_SIZE, PhysAddr, PhysRange, VirtAddr};

const BASE: u32 = 0x2000_0000;

fn part(start: u32, end: u32, prot: Option<Prot>) -> Part {
    Part { start: VirtAddr::new(PAGE_OFFSET + start), end: VirtAddr::new(PAGE_OFFSET + end), prot }
}

fn parts() -> [Part; 5] {
    [
        part(0x8000, 0x4_0000, Some(Prot::EXEC)),
        part(0x4_0000, 0x5_0000, Some(Prot::empty())),
        part(0x5_0000, 0x5_2000, Some(Prot::EXEC)),
        part(0x6_0000, 0x6_1000, None),
        part(0x6_9000, 0x6_a000, None),
    ]
}

fn layout<'a>(parts: &'a [Part], tree: Option<PhysRange>) -> Layout<'a> {
    let (start, end) = (VirtAddr::new(PAGE_OFFSET + 0x4000), VirtAddr::new(PAGE_OFFSET + 0x6_c000));
    let vectors = PhysAddr::new(BASE + 0x9000);
    Layout { phys_offset: PhysAddr::new(BASE), image: Image { start, end, parts }, vectors, tree }
}

fn rows(layout: &Layout<'_>, lowmem: &[PhysRange]) -> Vec<Row> {
    let mut rows = Vec::new();
    plan::<Infallible>(layout, lowmem.iter().copied(), |row| {
        rows.push(row);
        Ok(())
    })
    .unwrap();
    rows
}

/// Every page of the rows, none of them twice.
fn pages(rows: &[Row]) -> BTreeMap<u32, (u32, Prot)> {
    let mut pages = BTreeMap::new();
    for row in rows {
        assert_eq!((row.virt.get() | row.phys.get() | row.len) % PAGE_SIZE, 0, "{row:?}");
        assert_eq!(row.attr, MemAttr::Normal);
        for at in (0..row.len).step_by(PAGE_SIZE as usize) {
            let old = pages.insert(row.virt.get() + at, (row.phys.get() + at, row.prot));
            assert_eq!(old, None, "mapped twice: {row:?}");
        }
    }
    pages
}

/// What a page should be, said page by page: the memory table decides whether, the parts decide how.
fn expected(page: u32, lowmem: &[PhysRange]) -> Option<Prot> {
    let offset = page - PAGE_OFFSET;
    if (0x4000..0x6_c000).contains(&offset) {
        return match offset {
            0x8000..0x4_0000 | 0x5_0000..0x5_2000 => Some(Prot::EXEC),
            0x4_0000..0x5_0000 => Some(Prot::empty()),
            0x6_0000..0x6_1000 | 0x6_9000..0x6_a000 => None,
            _ => Some(Prot::WRITE),
        };
    }
    let page = PhysRange::new(PhysAddr::new(BASE + offset), PAGE_SIZE);
    lowmem.iter().any(|range| range.covers(page)).then_some(Prot::WRITE)
}

proptest! {
    #![proptest_config(testkit::cases(64, 1))]

    /// Memory tables with holes at any byte, also over the image.
    #[test]
    fn every_page_is_what_the_tables_say(cuts in prop::collection::btree_set(0u32..0x40_0000, 0..8)) {
        let cuts: Vec<u32> = cuts.into_iter().collect();
        let lowmem: Vec<PhysRange> = cuts
            .chunks_exact(2)
            .map(|cut| PhysRange::from_bounds(PhysAddr::new(BASE + cut[0]), PhysAddr::new(BASE + cut[1])))
            .collect();
        let parts = parts();
        let mut pages = pages(&rows(&layout(&parts, None), &lowmem));
        prop_assert_eq!(pages.remove(&VECTORS), Some((BASE + 0x9000, Prot::EXEC)));
        for page in (PAGE_OFFSET..PAGE_OFFSET + 0x40_0000).step_by(PAGE_SIZE as usize) {
            let found = pages.remove(&page);
            prop_assert_eq!(found.map(|(_, prot)| prot), expected(page, &lowmem), "page {:#x}", page);
            prop_assert!(found.is_none_or(|(phys, _)| phys - BASE == page - PAGE_OFFSET));
        }
        prop_assert!(pages.is_empty(), "nothing else is mapped");
    }
}

#[test]
fn the_tree_keeps_its_address_and_only_its_pages() {
    let parts = parts();
    let tree = PhysRange::new(PhysAddr::new(0x27ef_fff8), 0x2345);
    let pages = pages(&rows(&layout(&parts, Some(tree)), &[]));
    for page in [0xff8f_f000, 0xff90_0000, 0xff90_1000, 0xff90_2000] {
        assert_eq!(pages.get(&page), Some(&(page - 0xff80_0000 + 0x27e0_0000, Prot::empty())));
    }
    assert!(!pages.contains_key(&0xff8f_e000) && !pages.contains_key(&0xff90_3000));
}

#[test]
fn whole_ram_takes_few_rows() {
    let parts = parts();
    let lowmem = [PhysRange::new(PhysAddr::new(BASE), 127 << 20)];
    let rows = rows(&layout(&parts, None), &lowmem);
    assert_eq!(rows.len(), 10, "{rows:?}");
    let rest = rows.iter().max_by_key(|row| row.len).unwrap();
    assert_eq!(rest.virt.get() + rest.len, 0xc7f0_0000);
}

#[test]
fn memory_that_is_not_lowmem_is_refused() {
    let parts = parts();
    let refused = |base, size| {
        let range = PhysRange::new(PhysAddr::new(base), size);
        let error = plan::<Infallible>(&layout(&parts, None), [range].into_iter(), |_| Ok(()));
        assert_eq!(error, Err(PlanError::OutsideLowmem { range }));
    };
    refused(BASE - 0x1000, 0x2000);
    refused(BASE, 0x3f80_0000);
    refused(0, u32::MAX);
}

#[test]
fn misplaced_parts_are_refused() {
    let refused = |bad: Part, parts: &[Part]| {
        let error = plan::<Infallible>(&layout(parts, None), [].into_iter(), |_| Ok(()));
        assert_eq!(error, Err(PlanError::Parts { part: bad }));
    };
    let [text, rodata, ..] = parts();
    refused(text, &[rodata, text]);
    let beyond = part(0x6_b000, 0x6_d000, None);
    refused(beyond, &[text, beyond]);
    let odd = part(0x8001, 0x9000, None);
    refused(odd, &[odd]);
    let empty = part(0x9000, 0x9000, None);
    refused(empty, &[empty]);
}

#[test]
fn the_vmalloc_area_starts_behind_its_hole() {
    assert_eq!(vmalloc_start(0xc7f0_0000), 0xc800_0000);
    assert_eq!(vmalloc_start(0xc800_0000), 0xc880_0000);
    assert_eq!(vmalloc_start(0xef80_0000), 0xf000_0000);
}
