//! Text against the SSD202's log and Linux's formats.

use super::{Machine, boot};
use crate::iomem::{Iomem, Resource, ResourceError};
use crate::report::{ImageSizes, Layout, MemoryLine};
use crate::tests::blob::{Blob, cells};
use crate::zones::{ZonelistLine, Zones};
use mm::memblock::{Memblock, Region};
use std::string::ToString;
use std::vec::Vec;
use types::{PhysAddr, PhysRange};

fn range(base: u32, size: u32) -> PhysRange {
    PhysRange::new(PhysAddr::new(base), size)
}

/// The SSD202's memory: a bank without its heap.
fn with_ssd202(test: impl FnOnce(&mut Memblock<'_>)) {
    let (mut memory, mut reserved) = ([Region::EMPTY; 16], [Region::EMPTY; 16]);
    let mut memblock = Memblock::new(&mut memory, &mut reserved);
    memblock.add(range(0x2000_0000, 0x7f0_0000)).unwrap();
    memblock.remove(range(0x26c0_0000, 0x100_0000)).unwrap();
    memblock.set_current_limit(PhysAddr::new(0x27f0_0000));
    test(&mut memblock);
}

#[test]
fn the_memory_line() {
    let image = ImageSizes {
        code: 2467 << 10,
        rwdata: 222 << 10,
        rodata: (1212 << 10) + 1023,
        init: 164 << 10,
        bss: 174 << 10,
    };
    let (physical, cma) = (113_664 / 4, 8192 / 4);
    let line = MemoryLine {
        free: 96_736 / 4,
        physical,
        total: physical - cma - 8736 / 4,
        cma,
        highmem: None,
        image,
    };
    let expected = "Memory: 96736K/113664K available (2467K kernel code, 222K rwdata, 1212K rodata, \
        164K init, 174K bss, 8736K reserved, 8192K cma-reserved)";
    assert_eq!(line.to_string(), expected);
    let highmem = MemoryLine { highmem: Some(262_144), ..line };
    assert!(highmem.to_string().ends_with("8192K cma-reserved, 1048576K highmem)"));
}

#[test]
fn the_virtual_layout() {
    let mut blob = Blob::new(&[]);
    blob.begin("memory");
    blob.string("device_type", "memory");
    blob.property("reg", &cells(&[(0x2000_0000, 1), (0x7f0_0000, 1)]));
    blob.end();
    boot(Machine::at(0x2000_0000), &blob.finish(), |_, _, setup| {
        let mut layout = Layout::new(&setup.lowmem, false);
        layout.text = 0xc000_8000..0xc027_10a8;
        layout.init = 0xc03c_3000..0xc03e_c000;
        layout.data = 0xc03e_c000..0xc042_3bd8;
        layout.bss = 0xc042_5000..0xc045_09e0;
        let expected = "Virtual kernel memory layout:
    vector  : 0xffff0000 - 0xffff1000   (   4 kB)
    fixmap  : 0xffc00000 - 0xfff00000   (3072 kB)
    vmalloc : 0xc8000000 - 0xff800000   ( 888 MB)
    lowmem  : 0xc0000000 - 0xc7f00000   ( 127 MB)
    modules : 0xbf800000 - 0xc0000000   (   8 MB)
      .text : 0xc0008000 - 0xc02710a8   (2469 kB)
      .init : 0xc03c3000 - 0xc03ec000   ( 164 kB)
      .data : 0xc03ec000 - 0xc0423bd8   ( 223 kB)
       .bss : 0xc0425000 - 0xc04509e0   ( 175 kB)";
        assert_eq!(layout.to_string(), expected);
        let highmem = Layout::new(&setup.lowmem, true).to_string();
        let expected = "
    pkmap   : 0xbfe00000 - 0xc0000000   (   2 MB)
    modules : 0xbf800000 - 0xbfe00000   (   6 MB)
";
        assert!(highmem.contains(expected), "{highmem}");
    });
}

#[test]
fn zones_of_the_ssd202() {
    with_ssd202(|memblock| {
        let zones = Zones::of(memblock, None);
        let [_, normal, highmem] = zones.zones(memblock);
        assert_eq!(normal.span, 0x20000..0x27f00);
        assert_eq!(normal.present, 113_664 / 4);
        assert_eq!(normal.to_string(), "  Normal   [mem 0x0000000020000000-0x0000000027efffff]");
        assert_eq!((highmem.present, highmem.to_string().as_str()), (0, "  HighMem  empty"));
        let lines: Vec<_> =
            testkit::log::capture_with(|| zones.log(memblock)).1.into_iter().map(|l| l.1).collect();
        let expected = "Zone ranges:
  Normal   [mem 0x0000000020000000-0x0000000027efffff]
  HighMem  empty
Movable zone start for each node
Early memory node ranges
  node   0: [mem 0x0000000020000000-0x0000000026bfffff]
  node   0: [mem 0x0000000027c00000-0x0000000027efffff]
Initmem setup node 0 [mem 0x0000000020000000-0x0000000027efffff]";
        assert_eq!(lines.join("\n"), expected);
    });
}

#[test]
fn zones_with_highmem_and_nomap() {
    with_ssd202(|memblock| {
        memblock.add(range(0x6000_0000, 0x10_0800)).unwrap();
        memblock.mark_nomap(range(0x2100_0000, 0x10_0000)).unwrap();
        let zones = Zones::of(memblock, None);
        let [_, normal, highmem] = zones.zones(memblock);
        assert_eq!(normal.present, 113_664 / 4, "NOMAP is present");
        assert_eq!((highmem.span, highmem.present), (0x27f00..0x60100, 0x100));
    });
}

#[test]
fn a_dma_zone_where_devices_don_t_reach_all_of_lowmem() {
    with_ssd202(|memblock| {
        memblock.add(range(0x6000_0000, 0x10_0000)).unwrap();
        let zones = |last: u32| Zones::of(memblock, Some(PhysAddr::new(last)));
        let text = |last| {
            let lines = testkit::log::capture_with(|| zones(last).log(memblock)).1;
            lines
                .into_iter()
                .map(|line| line.1)
                .skip(1)
                .take_while(|line| line.starts_with("  "))
                .collect::<Vec<_>>()
        };
        let expected = [
            "  DMA      [mem 0x0000000020000000-0x0000000026ffffff]",
            "  Normal   [mem 0x0000000027000000-0x0000000027efffff]",
            "  HighMem  [mem 0x0000000027f00000-0x00000000600fffff]",
        ];
        assert_eq!(text(0x26ff_ffff), expected);
        assert_eq!(text(0x2700_0ffe), expected, "a page that is not reached whole is not in the zone");
        let present = zones(0x26ff_ffff).zones(memblock).map(|zone| zone.present);
        assert_eq!(present, [0x6c00, 0x300, 0x100], "the hole is in the DMA zone");
        // What covers all of lowmem, or no page of it, makes no zone.
        for last in [0x27ef_ffff, 0x5fff_ffff, u32::MAX, 0x2000_0ffe, 0x1fff_ffff, 0] {
            assert_eq!(text(last).len(), 2, "{last:#x}");
        }
        assert_eq!(text(0x27ef_fffe)[1], "  Normal   [mem 0x0000000027eff000-0x0000000027efffff]");
    });
}

#[test]
fn the_zonelist_line_has_two_blanks() {
    let line = ZonelistLine { grouping: true, total_pages: 28_162 };
    let expected = "Built 1 zonelists in Zone order, mobility grouping on.  Total pages: 28162";
    assert_eq!(line.to_string(), expected);
}

#[test]
fn iomem_shows_ram_kernel_and_devices() {
    with_ssd202(|memblock| {
        memblock.mark_nomap(range(0x2100_0000, 0x10_0000)).unwrap();
        let mut entries = [Resource::EMPTY; 8];
        let mut iomem = Iomem::new(&mut entries);
        iomem.request(range(0x3f20_1000, 0x1000), "serial@7e201000").unwrap();
        let (code, data) = (range(0x2000_8000, 0x3_8000), range(0x2004_0000, 0x1_e000));
        iomem.add_ram(memblock, code, data).unwrap();
        let expected = "20000000-20ffffff : System RAM
  20008000-2003ffff : Kernel code
  20040000-2005dfff : Kernel data
21100000-26bfffff : System RAM
27c00000-27efffff : System RAM
3f201000-3f201fff : serial@7e201000
";
        assert_eq!(iomem.to_string(), expected);
        let crossing = iomem.request(range(0x2080_0000, 0x100_0000), "x").unwrap_err();
        assert!(matches!(crossing, ResourceError::Conflict { with, .. } if with.name == "System RAM"));
        iomem.request(range(0x3f00_0000, 0x100_0000), "soc").unwrap();
        assert!(
            iomem.to_string().ends_with("3f000000-3fffffff : soc\n  3f201000-3f201fff : serial@7e201000\n")
        );
        iomem.request(range(0x3f20_1000, 0x1000), "pl011").unwrap();
        assert!(iomem.to_string().ends_with("serial@7e201000\n    3f201000-3f201fff : pl011\n"));
        assert!(matches!(iomem.request(range(0x1000, 1), "full"), Err(ResourceError::Full(_))));
        assert_eq!(iomem.request(range(0x1000, 0), "none"), Err(ResourceError::Empty("none")));
    });
}
