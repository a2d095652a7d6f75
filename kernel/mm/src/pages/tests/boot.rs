//! What is there after boot: the map's size, the zones' numbers, the blocks and their order.

use super::world::{MIB, Machine, World};
use crate::pages::*;
use crate::{Gfp, MigrateType, PageSource, PageState};
use std::{string::ToString, vec, vec::Vec};
use types::{Order, Pfn, PhysAddr, PhysRange};

fn mib(base: u32, size: u32) -> PhysRange {
    PhysRange::new(PhysAddr::new(base << 20), size << 20)
}

fn layout(ranges: &[PhysRange]) -> Result<MapLayout, MapError> {
    MapLayout::new(ranges.iter().copied())
}

#[test]
fn sixteen_bytes_a_page() {
    assert_eq!(layout(&[mib(0x800, 128)]).unwrap().metadata_size(), 128 * MIB as usize * 16);
    // A bank of 127 MiB needs no records for the MiB that is missing.
    assert_eq!(layout(&[mib(0x200, 127)]).unwrap().records(), 127 * MIB as usize);
    // A hole of less than a pageblock is kept in the map, a larger one is not.
    assert_eq!(layout(&[mib(0x200, 8), mib(0x20a, 6)]).unwrap().records(), 16 * MIB as usize);
    assert_eq!(layout(&[mib(0x200, 8), mib(0x800, 8)]).unwrap().records(), 16 * MIB as usize);
}

#[test]
fn impossible_maps_are_refused() {
    assert_eq!(layout(&[]).unwrap_err(), MapError::NoMemory);
    let (low, high) = (mib(0x200, 8), mib(0x207, 8));
    assert_eq!(layout(&[low, high]).unwrap_err(), MapError::Unsorted { range: high });
    let many: Vec<_> = (0..17).map(|nth| mib(nth * 0x20, 4)).collect();
    assert_eq!(layout(&many).unwrap_err(), MapError::TooManyBanks { range: many[16] });
    assert_eq!(layout(&many[..16]).unwrap().records(), 16 * 4 * MIB as usize);
}

#[test]
fn too_little_metadata_is_refused() {
    let (memory, mut metadata) = ([mib(0x800, 4)], []);
    let setup = Setup {
        memory: memory.iter().copied(),
        free: memory.iter().copied(),
        dma_end: None,
        highmem_start: None,
        cpus: 1,
    };
    let made = PageAllocator::new(setup, &mut metadata, &super::world::NoMemory, Hooks::default());
    let error = made.err().expect("it has no room");
    assert_eq!(error, MapError::MetadataTooSmall { needed: 1024, given: 0 });
    assert_eq!(error.to_string(), "memory map: 1024 records needed, room for 0");
}

/// spanned, present, managed.
fn numbers(world: &World<'_>, zone: ZoneKind) -> (u32, u32, u32) {
    let zone = world.pages.buddy().zone(zone);
    (zone.spanned(), zone.present(), zone.managed())
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn zones_are_counted_truly() {
    let machine = Machine {
        banks: vec![(0x400, 20), (0x420, 10)],
        reserved: vec![(0x400, 1), (0x428, 1)],
        dma_end: Some(0x408),
        highmem: Some(0x424),
        cpus: 1,
        ..Machine::default()
    };
    machine.run(|world| {
        assert_eq!(numbers(world, ZoneKind::Dma), (8 * MIB, 8 * MIB, 7 * MIB));
        assert_eq!(numbers(world, ZoneKind::Normal), (28 * MIB, 16 * MIB, 16 * MIB));
        assert_eq!(numbers(world, ZoneKind::HighMem), (6 * MIB, 6 * MIB, 5 * MIB));
        // One in 32 of highmem is kept in NORMAL, one in 256 of both in DMA.
        let dma = world.pages.buddy().zone(ZoneKind::Dma);
        assert_eq!(dma.lowmem_reserve, [0, 16 * MIB / 256, 21 * MIB / 256]);
        assert_eq!(world.pages.buddy().zone(ZoneKind::Normal).lowmem_reserve, [0, 0, 5 * MIB / 32]);
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn requests_stay_within_their_zones() {
    let machine = Machine {
        banks: vec![(0x400, 32)],
        dma_end: Some(0x408),
        highmem: Some(0x410),
        cpus: 1,
        ..Machine::default()
    };
    machine.run(|world| {
        let dma = world.alloc(Gfp::KERNEL | Gfp::DMA, 0, PageState::Dma).unwrap();
        let normal = world.alloc(Gfp::KERNEL, 0, PageState::Kernel).unwrap();
        let high = world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon).unwrap();
        assert!((0x400 * MIB..0x408 * MIB).contains(&dma));
        assert!((0x408 * MIB..0x410 * MIB).contains(&normal));
        assert!(high >= 0x410 * MIB);
        // When its zone is used up a request goes on below it, never above.
        while let Some(pfn) = world.alloc(Gfp::KERNEL | Gfp::__MEMALLOC, 0, PageState::Kernel) {
            assert!(pfn < 0x410 * MIB);
        }
        while let Some(pfn) = world.alloc(Gfp::KERNEL | Gfp::DMA | Gfp::__MEMALLOC, 0, PageState::Dma) {
            assert!(pfn < 0x408 * MIB);
        }
        world.validate();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn large_blocks_are_handed_out_ascending() {
    Machine::simple(32).run(|world| {
        let first = world.alloc(Gfp::HIGHUSER_MOVABLE, 10, PageState::DriverMovable).unwrap();
        let second = world.alloc(Gfp::HIGHUSER_MOVABLE, 10, PageState::DriverMovable).unwrap();
        assert_eq!((first, second), (0x804 * MIB, 0x808 * MIB));
    });
}

#[test]
fn few_pageblocks_are_all_unmovable() {
    for (size, kind) in [(16, MigrateType::Unmovable), (32, MigrateType::Movable)] {
        Machine::simple(size).run(|world| {
            assert_eq!(world.pages.buddy().pageblock_type(Pfn::new(0x804 * MIB)), Some(kind));
            world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon).unwrap();
            world.validate();
        });
    }
}

/// The seed's boot logo: 16 MiB more, and never twice.
#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn reserved_memory_comes_back() {
    let machine = Machine { reserved: vec![(0x800, 1), (0x810, 16)], ..Machine::simple(64) };
    machine.run(|world| {
        let before = world.pages.buddy().managed_pages();
        let logo = Pfn::new(0x810 * MIB);
        world.pages.free_reserved_range(logo, 16 * MIB).unwrap();
        assert_eq!((world.pages.buddy().managed_pages() - before) * 4, 16_384);
        world.pages.buddy().validate().unwrap();
        let again = world.pages.free_reserved_range(logo, 16 * MIB);
        assert_eq!(again, Err(FreeError::DoubleFree { pfn: logo, owner: PageState::Free }));
        let partly = world.pages.free_reserved_range(Pfn::new(0x800 * MIB), 2 * MIB);
        assert!(matches!(partly, Err(FreeError::DoubleFree { .. })), "{partly:?}");
        assert_eq!(world.pages.page(Pfn::new(0x800 * MIB)).unwrap().state(), PageState::Reserved);
        world.pages.buddy().validate().unwrap();
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn no_map_memory_is_nobodys() {
    let machine = Machine { reserved: vec![(0x810, 1)], ..Machine::simple(64) };
    machine.run(|world| {
        world.pages.buddy_mut().set_nomap(mib(0x810, 1));
        let pfn = Pfn::new(0x810 * MIB);
        assert_eq!(world.pages.page(pfn).unwrap().state(), PageState::NotMemory);
        assert_eq!(world.pages.try_free(pfn, Order::ZERO), Err(FreeError::NotMemory { pfn }));
        let refused = world.pages.free_reserved_range(pfn, 1);
        assert_eq!(refused, Err(FreeError::NotMemory { pfn }));
        assert_eq!(numbers(world, ZoneKind::Normal).1, 64 * MIB);
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn files_look_like_linuxs() {
    Machine::simple(32).run(|world| {
        let buddy = world.pages.buddy();
        assert_eq!(
            BuddyInfo(buddy).to_string(),
            "Node 0, zone   Normal      0      0      0      0      0      0      0      0      1      1      7 \n"
        );
        let types = PageTypeInfo(buddy).to_string();
        let lines: Vec<_> = types.lines().collect();
        assert_eq!(lines[0], "Page block order: 10");
        assert_eq!(lines[1], "Pages per block:  1024");
        assert_eq!(lines[3].len(), 44 + 11 * 7);
        assert!(lines[3].starts_with("Free pages count per migrate type at order       0      1 "));
        assert!(lines[5].starts_with("Node    0, zone   Normal, type      Movable      0 "));
        assert_eq!(
            lines[11],
            "Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic          CMA      Isolate "
        );
        let zone = ZoneInfo(buddy).to_string();
        for line in ["  pages free     7936\n", "        spanned  8192\n", "        present  8192\n"] {
            assert!(zone.contains(line), "{line}");
        }
        assert!(zone.contains("        protection: (0, 0)\n      nr_free_pages 7936\n"));
        assert!(zone.contains("\n  pagesets\n    cpu: 0\n              count: 0\n"));
        assert!(zone.contains("\n  start_pfn:           524288\nNode 0, zone  Movable\n"));
        let text = buddy.vmstat().to_string();
        assert!(text.starts_with("nr_free_pages 7936\n"));
        let area = FreeArea(buddy.zone(ZoneKind::Normal)).to_string();
        assert_eq!(
            area,
            "Normal: 0*4kB 0*8kB 0*16kB 0*32kB 0*64kB 0*128kB 0*256kB 0*512kB 1*1024kB (M) 1*2048kB (M) 7*4096kB (M) \
             = 31744kB"
        );
    });
}

/// The line that begins with `start`, and those after it.
fn lines_from(text: &str, start: &str, count: usize) -> Vec<std::string::String> {
    let lines = text.lines().skip_while(|line| !line.starts_with(start));
    lines.take(count).map(ToString::to_string).collect()
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn files_have_a_part_for_each_of_three_zones() {
    let machine = Machine {
        banks: vec![(0x400, 64)],
        reserved: vec![(0x400, 1)],
        dma_end: Some(0x410),
        highmem: Some(0x430),
        cpus: 1,
        ..Machine::default()
    };
    machine.run(|world| {
        let dma = world.alloc(Gfp::KERNEL | Gfp::DMA, 3, PageState::Dma).unwrap();
        world.alloc(Gfp::KERNEL, 1, PageState::Kernel).unwrap();
        world.alloc(Gfp::HIGHUSER_MOVABLE, 0, PageState::Anon).unwrap();
        world.pages.buddy_mut().drain_all_pages();
        let buddy = world.pages.buddy();
        let expected = [
            "Node 0, zone      DMA      0      0      0      1      1      1      1      1      2      2      2 ",
            "Node 0, zone   Normal      0      1      1      1      1      1      1      1      1      1      7 ",
            "Node 0, zone  HighMem      1      1      1      1      1      1      1      1      1      1      3 ",
        ];
        assert_eq!(BuddyInfo(buddy).to_string().lines().collect::<Vec<_>>(), expected);
        let types = PageTypeInfo(buddy).to_string();
        let per_zone = |zone: &str| types.lines().filter(|line| line.contains(zone)).count();
        assert_eq!(["zone      DMA", "zone   Normal", "zone  HighMem"].map(per_zone), [7, 7, 7]);
        let zones = ZoneInfo(buddy).to_string();
        let protection: Vec<_> = zones.lines().filter(|line| line.contains("protection")).collect();
        // A 256th of what is above it, a 32nd; the last number is that of the empty zone Movable.
        let expected = ["(0, 32, 48, 48)", "(0, 0, 128, 128)", "(0, 0, 0, 0)", "(0, 0, 0, 0)"];
        assert_eq!(protection, expected.map(|numbers| std::format!("        protection: {numbers}")));
        let starts: Vec<_> = zones.lines().filter(|line| line.starts_with("Node 0, zone")).collect();
        let expected = ["     DMA", "  Normal", " HighMem", " Movable"];
        assert_eq!(starts, expected.map(|name| std::format!("Node 0, zone {name}")));
        let vmstat = buddy.vmstat().to_string();
        let allocated = ["pgalloc_dma 8", "pgalloc_normal 2", "pgalloc_high 1", "pgalloc_movable 0"];
        assert_eq!(lines_from(&vmstat, "pgalloc_dma", 4), allocated);
        let stalls = ["allocstall_dma 0", "allocstall_normal 0", "allocstall_high 0", "allocstall_movable 0"];
        assert_eq!(lines_from(&vmstat, "allocstall_dma", 4), stalls);
        let report: Vec<_> = testkit::log::capture(|| buddy.show_mem()).into_iter().map(|line| line.1).collect();
        let from = report.iter().position(|line| line.starts_with("DMA free:15328kB boost:0kB")).unwrap();
        let reserves: Vec<_> = report.iter().filter(|line| line.starts_with("lowmem_reserve[]: ")).collect();
        let expected = ["0 32 48 48", "0 0 128 128", "0 0 0 0"];
        assert_eq!(reserves, expected.map(|numbers| std::format!("lowmem_reserve[]: {numbers}")).each_ref());
        assert!(report[from + 2].starts_with("Normal free:") && report[from + 4].starts_with("HighMem free:"));
        assert!(report[from + 6].starts_with("DMA: 0*4kB ") && report[from + 8].starts_with("HighMem: 1*4kB (M) "));
        world.free(dma);
        assert!(world.pages.buddy().vmstat().to_string().contains("\npgfree 8\n"));
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many pages for an interpreter")]
fn events_are_counted() {
    Machine::simple(32).run(|world| {
        let first = world.alloc(Gfp::KERNEL, 3, PageState::Kernel).unwrap();
        let second = world.alloc(Gfp::KERNEL, 0, PageState::PageTable).unwrap();
        world.free(first);
        let text = world.pages.buddy().vmstat().to_string();
        for line in ["pgalloc_normal 9\n", "pgfree 8\n", "nr_page_table_pages 1\n"] {
            assert!(text.contains(line), "{line} in {text}");
        }
        world.free(second);
        assert!(world.pages.buddy().vmstat().to_string().contains("pgfree 9\n"));
    });
}
