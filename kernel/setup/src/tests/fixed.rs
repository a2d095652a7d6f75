//! The SSD202 document's figures, the measured placements of Linux, and bad input.

use super::blob::{Blob, cells};
use super::{Machine, boot, listing};
use crate::{ClaimError, EarlyMemoryError, MemorySetup, NodeUse};
use mm::memblock::Memblock;
use std::format;
use std::string::String;
use std::vec::Vec;

/// The SSD202's command line, unchanged.
const SSD202: &str = "wt_board=WT2022 console=ttyS0,115200 rootfstype=squashfs,ubifs rootwait=1 cma=8M \
    LX_MEM=0x7f00000 mma_heap=mma_heap_name0,miu=0,sz=0x1000000 mma_memblock_remove=1 highres=off \
    mmap_reserved=fb,miu=0,sz=0x300000,max_start_off=0x7C00000,max_end_off=0x7F00000";
const MIB: u32 = 1 << 20;

/// A tree with this memory and command line; `nodes` writes the children of /reserved-memory.
fn tree(memory: &[(u32, u32)], command_line: &str, nodes: impl FnOnce(&mut Blob)) -> Vec<u8> {
    let mut blob = Blob::new(&[]);
    blob.begin("chosen");
    blob.string("bootargs", command_line);
    blob.end();
    for &(base, size) in memory {
        blob.begin(&format!("memory@{base:x}"));
        blob.string("device_type", "memory");
        blob.property("reg", &words(&[base, size]));
        blob.end();
    }
    blob.begin("reserved-memory");
    blob.word_property("#address-cells", 1);
    blob.word_property("#size-cells", 1);
    blob.property("ranges", &[]);
    nodes(&mut blob);
    blob.end();
    blob.finish()
}

fn words(words: &[u32]) -> Vec<u8> {
    cells(&words.iter().map(|&word| (u64::from(word), 1)).collect::<Vec<_>>())
}

/// A child of /reserved-memory at a fixed place; with flags it is a pool.
fn node(blob: &mut Blob, name: &str, reg: (u32, u32), flags: &[&str]) {
    blob.begin(name);
    blob.property("reg", &words(&[reg.0, reg.1]));
    if !flags.is_empty() {
        blob.string("compatible", "shared-dma-pool");
    }
    flags.iter().for_each(|flag| blob.property(flag, &[]));
    blob.end();
}

/// Boots 128 MiB at `phys`.
fn boot_128m(
    phys: u32,
    command_line: &str,
    nodes: impl FnOnce(&mut Blob),
    check: impl FnOnce(&mut Memblock<'_>, &mut MemorySetup<'_>),
) -> Vec<String> {
    let blob = tree(&[(phys, 128 * MIB)], command_line, nodes);
    boot(Machine::at(phys), &blob, |result, memblock, setup| {
        assert_eq!(result, Ok(()));
        check(memblock, setup);
    })
}

fn default_area(setup: &MemorySetup<'_>) -> Option<u32> {
    setup.cma.default_area().map(|area| area.range.base().get())
}

#[test]
fn the_ssd202_log() {
    let lines = boot_128m(
        0x2000_0000,
        SSD202,
        |_| {},
        |memblock, setup| {
            assert_eq!(
                listing(memblock.memory()),
                [(0x2000_0000, 0x6c0_0000, 0), (0x27c0_0000, 0x30_0000, 0)]
            );
            assert_eq!(memblock.memory().total_size() / 1024, 113_664);
            let reserved = listing(memblock.reserved());
            assert_eq!(
                &reserved[reserved.len() - 2..],
                [(0x2640_0000, 0x80_0000, 0), (0x27c0_0000, 0x30_0000, 0)]
            );
            assert_eq!(setup.lowmem.limit().get(), 0x27f0_0000);
            assert_eq!(setup.lowmem.high_memory().get(), 0xc7f0_0000);
            assert_eq!(setup.lowmem.vmalloc_start().get(), 0xc800_0000);
            assert_eq!(memblock.current_limit().get(), 0x27e0_0000);
            let lowmem: Vec<_> =
                setup.lowmem.ranges(memblock).map(|r| (r.base().get(), r.end().get())).collect();
            assert_eq!(lowmem, [(0x2000_0000, 0x26c0_0000), (0x27c0_0000, 0x27f0_0000)]);
            assert_eq!(setup.lowmem.highmem_ranges(memblock).count(), 0);
            setup.lowmem.mapped(memblock);
            assert_eq!(memblock.current_limit().get(), 0x27f0_0000);
        },
    );
    let expected = "LXmem is 0x7f00000 PHYS_OFFSET is 0x20000000
Add mem start 0x20000000 size 0x7f00000!!!!

LX_MEM = 0x20000000, 0x7f00000
LX_MEM2 = 0x0, 0x0
LX_MEM3 = 0x0, 0x0
EMAC_LEN= 0x0
DRAM_LEN= 0x0
deal_with_reserved_mmap memblock_reserve success mmap_reserved_config[0].reserved_start=
0x27c00000

deal_with_reserve_mma_heap memblock_reserve success mma_config[0].reserved_start=
0x26c00000
cma: Reserved 8 MiB at 0x26400000";
    assert_eq!(lines.join("\n"), expected);
}

#[test]
fn the_same_arguments_on_vexpress() {
    boot_128m(
        0x8000_0000,
        SSD202,
        |_| {},
        |_, setup| {
            let places: Vec<_> = setup.regions.vendor().map(|r| (r.name, r.range.base().get())).collect();
            assert_eq!(places, [("fb", 0x87c0_0000), ("mma_heap_name0", 0x86c0_0000)]);
            assert_eq!(default_area(setup), Some(0x8640_0000));
        },
    );
}

#[test]
fn placements_measured_on_linux() {
    for (cma, place) in [
        ("cma=8M", Some(0x8780_0000)),
        ("cma=8M@0x84800000", Some(0x8480_0000)),
        ("cma=8M@0x82000000-0x84000000", Some(0x8380_0000)),
        ("cma=120M", None),
    ] {
        let lines = boot_128m(0x8000_0000, cma, |_| {}, |_, setup| assert_eq!(default_area(setup), place));
        let last = match place {
            Some(base) => format!("cma: Reserved 8 MiB at {base:#010x}"),
            None => "cma: Failed to reserve 120 MiB".into(),
        };
        assert_eq!(lines, [last]);
    }
}

/// A bus whose masters reach 32 MiB of the 128: the default area is theirs to reach, wherever `cma=` has it.
#[test]
fn the_default_area_lies_where_all_devices_reach() {
    for (argument, last_line) in [
        ("cma=8M", "cma: Reserved 8 MiB at 0x81400000"),
        ("", "cma: Reserved 16 MiB at 0x80c00000"),
        ("cma=8M@0x80800000", "cma: Reserved 8 MiB at 0x80800000"),
        ("cma=8M@0x80000000-0x88000000", "cma: Reserved 8 MiB at 0x81400000"),
        ("cma=28M", "cma: Failed to reserve 28 MiB"),
        ("cma=8M@0x84000000", "cma: Failed to reserve 8 MiB"),
    ] {
        let mut blob = Blob::new(&[]);
        blob.begin("chosen");
        blob.string("bootargs", argument);
        blob.end();
        blob.begin("memory");
        blob.string("device_type", "memory");
        blob.property("reg", &words(&[0x8000_0000, 128 * MIB]));
        blob.end();
        blob.begin("bus");
        blob.property("dma-ranges", &words(&[0, 0x8000_0000, 32 * MIB]));
        blob.end();
        let lines = boot(Machine::at(0x8000_0000), &blob.finish(), |_, _, setup| {
            assert_eq!(setup.dma_limit.map(types::PhysAddr::get), Some(0x81ff_ffff));
        });
        assert_eq!(lines.last().unwrap(), last_line);
    }
}

#[test]
fn the_spec_s_worked_example() {
    let heap = "LX_MEM=0x7f00000 cma=8M mma_heap=h,miu=0,sz=16M";
    boot_128m(
        0x2000_0000,
        heap,
        |_| {},
        |_, setup| {
            assert_eq!(setup.regions.vendor().next().unwrap().range.base().get(), 0x26f0_0000);
            assert_eq!(default_area(setup), Some(0x2640_0000));
        },
    );
    boot_128m(
        0x2000_0000,
        "LX_MEM=0x7f00000 cma=8M",
        |_| {},
        |_, setup| {
            assert_eq!(default_area(setup), Some(0x2740_0000));
        },
    );
}

#[test]
fn the_command_line_beats_the_tree_s_default() {
    let default = |blob: &mut Blob| {
        node(blob, "linux,cma", (0x8300_0000, 16 * MIB), &["reusable", "linux,cma-default"]);
    };
    let lines = boot_128m(0x8000_0000, "cma=8M", default, |memblock, setup| {
        assert_eq!(default_area(setup), Some(0x8780_0000));
        assert!(!memblock.is_reserved(types::PhysAddr::new(0x8300_0000)), "given back");
    });
    assert_eq!(
        lines,
        [
            "Reserved memory: bypass linux,cma node, using cmdline CMA params instead",
            "OF: reserved mem: node linux,cma compatible matching fail",
            "cma: Reserved 8 MiB at 0x87800000",
        ]
    );
    boot_128m(0x8000_0000, "", default, |_, setup| assert_eq!(default_area(setup), Some(0x8300_0000)));
    boot_128m(0x8000_0000, "cma=0", default, |_, setup| assert_eq!(default_area(setup), None));
}

#[test]
fn of_overlapping_pools_neither_is_used() {
    let nodes = |blob: &mut Blob| {
        node(blob, "a@84000000", (0x8400_0000, 2 * MIB), &["no-map"]);
        node(blob, "b@84100000", (0x8410_0000, 2 * MIB), &["no-map"]);
    };
    let lines = boot_128m(0x8000_0000, "cma=0", nodes, |memblock, setup| {
        assert!(!memblock.is_map_memory(types::PhysAddr::new(0x842f_ffff)));
        assert!(setup.regions.nodes().all(|region| region.used == NodeUse::Plain));
    });
    let report = [
        "OF: reserved mem: OVERLAP DETECTED!",
        "a@84000000 (0x84000000--0x84200000) overlaps with b@84100000 (0x84100000--0x84300000)",
    ];
    assert_eq!(lines[..2], report);
    let unused = |name| format!("OF: reserved mem: node {name} not used: some of it is somebody else's too");
    assert_eq!(lines[2..], ["a@84000000", "b@84100000"].map(unused));
}

/// As a pool it would take what is there already; given back it would free it.
#[test]
fn a_pool_over_what_is_reserved_already_is_neither_used_nor_given_back() {
    let boot = |name: &str, at: u32, flags: &[&str]| {
        let nodes = |blob: &mut Blob| node(blob, name, (at, 4 * MIB), flags);
        let mut tables = (Vec::new(), Vec::new());
        let lines = boot_128m(0x8000_0000, SSD202, nodes, |memblock, setup| {
            assert!(setup.regions.nodes().all(|region| region.used == NodeUse::Plain), "{name}");
            assert_eq!(setup.cma.iter().count(), 1, "{name}: the default area alone");
            tables = (listing(memblock.memory()), listing(memblock.reserved()));
        });
        (tables, lines)
    };
    let ((memory, reserved), _) = boot("alone", 0x8300_0000, &[]);
    for (name, at, flags) in [
        ("over the kernel", 0x8000_0000, ["reusable"].as_slice()),
        ("over the blob", 0x8200_0000, &["reusable", "linux,cma-default"]),
        ("over the window", 0x87c0_0000, &["reusable"]),
        ("over the heap", 0x86c0_0000, &["reusable"]),
        ("no-map over the blob", 0x8200_0000, &["no-map"]),
        ("no-map over the heap", 0x86c0_0000, &["no-map"]),
        ("refused for its flags", 0x8000_0000, &["reusable", "no-map"]),
        ("refused for no flags", 0x8000_0000, &["unused"]),
    ] {
        let ((memory_now, reserved_now), lines) = boot(name, at, flags);
        assert_eq!(memory_now, memory, "{name}");
        let kept = |(base, size, _): &(u32, u32, u32)| {
            *base == 0x8300_0000
                || reserved_now.iter().any(|now| now.0 <= *base && base + size <= now.0 + now.1)
        };
        assert!(reserved.iter().all(kept), "{name}: {reserved_now:x?}");
        let unused = format!("OF: reserved mem: node {name} not used: some of it is somebody else's too");
        assert_eq!(lines.iter().filter(|line| **line == unused).count(), 1, "{name}: {lines:?}");
    }
}

/// Only the first place of a node has a name; the others are its own too.
#[test]
fn a_second_place_and_a_memreserve_entry_are_somebody_s() {
    let mut blob = Blob::new(&[(0x87c0_0000, 0x1000), (0x8500_0000, 0x1000)]);
    blob.begin("chosen");
    blob.string("bootargs", SSD202);
    blob.end();
    blob.begin("reserved-memory");
    blob.word_property("#address-cells", 1);
    blob.word_property("#size-cells", 1);
    blob.property("ranges", &[]);
    blob.begin("firmware@84000000");
    blob.property("reg", &words(&[0x8400_0000, 0x1000, 0x8600_0000, 0x1000]));
    blob.property("no-map", &[]);
    blob.end();
    node(&mut blob, "pool@86000000", (0x8600_0000, MIB), &["no-map"]);
    node(&mut blob, "area@85000000", (0x8500_0000, 4 * MIB), &["reusable"]);
    // One's own second place is not somebody else's.
    blob.begin("twice@83000000");
    blob.property("reg", &words(&[0x8300_0000, 0x2000, 0x8300_1000, 0x2000]));
    blob.end();
    blob.end();
    boot(Machine::at(0x8000_0000), &blob.finish(), |_, _, setup| {
        let shared: Vec<_> = setup.regions.nodes().map(|r| (r.node.name(), r.shared, r.used)).collect();
        let expected = [
            ("twice@83000000", false),
            ("firmware@84000000", false),
            ("area@85000000", true),
            ("pool@86000000", true),
        ];
        assert_eq!(shared, expected.map(|(name, shared)| (name, shared, NodeUse::Plain)));
        assert!(matches!(setup.regions.claim("fb"), Err(ClaimError::Shared(_))));
    });
}

#[test]
fn a_region_has_one_owner() {
    let pool = |blob: &mut Blob| {
        node(blob, "pool@84000000", (0x8400_0000, MIB), &["no-map"]);
        node(blob, "cma@85000000", (0x8500_0000, 4 * MIB), &["reusable"]);
    };
    boot_128m(0x8000_0000, SSD202, pool, |_, setup| {
        let regions = &mut setup.regions;
        let fb = regions.claim("fb").unwrap();
        assert_eq!((fb.range().base().get(), fb.is_mapped()), (0x87c0_0000, true));
        assert_eq!(regions.claim("fb"), Err(ClaimError::Taken(fb.range())));
        assert!(!regions.claim("mma_heap_name0").unwrap().is_mapped());
        assert!(!regions.claim("pool@84000000").unwrap().is_mapped());
        assert!(matches!(regions.claim("pool@84000000"), Err(ClaimError::Taken(_))));
        assert!(matches!(regions.claim("cma@85000000"), Err(ClaimError::NotOwnable(_))));
        assert_eq!(regions.claim("nobody"), Err(ClaimError::Unknown));
        regions.unclaim(fb);
        assert!(regions.claim("fb").is_ok() && regions.claim("mma_heap_name0").is_err());
    });
}

#[test]
fn what_two_have_nobody_claims() {
    let nodes = |blob: &mut Blob| {
        // c overlaps a, which is not its neighbour in the sorted list.
        node(blob, "a@84000000", (0x8400_0000, 8 * MIB), &[]);
        node(blob, "b@84100000", (0x8410_0000, MIB), &[]);
        node(blob, "c@84300000", (0x8430_0000, MIB), &["no-map"]);
        node(blob, "kernel@80000000", (0x8000_0000, MIB), &[]);
        node(blob, "heap@87000000", (0x8700_0000, MIB), &["no-map"]);
        node(blob, "alone@85000000", (0x8500_0000, MIB), &[]);
    };
    boot_128m(0x8000_0000, SSD202, nodes, |_, setup| {
        let regions = &mut setup.regions;
        let names =
            ["a@84000000", "b@84100000", "c@84300000", "kernel@80000000", "heap@87000000", "mma_heap_name0"];
        for name in names {
            assert!(matches!(regions.claim(name), Err(ClaimError::Shared(_))), "{name}");
        }
        assert!(regions.claim("alone@85000000").is_ok() && regions.claim("fb").is_ok());
    });
}

#[test]
fn absurd_cma_arguments_have_one_line_and_no_area() {
    for (argument, expected) in [
        ("cma=9999M", "cma: Failed to reserve 1808 MiB"),
        ("cma=1G", "cma: Failed to reserve 1024 MiB"),
        ("cma=8M@0x84801000", "cma: Region at 0x84801000 must be aligned to 0x00400000 bytes"),
        ("cma=8M@0x87c00000", "cma: Region at 0x87c00000 defined on low/high memory boundary (0x88000000)"),
        (
            "cma=64M@0x86000000-0x8b000000",
            "cma: Size (0x04000000) of region at 0x86000000 exceeds limit (0x88000000)",
        ),
        ("cma", "Config string not provided"),
    ] {
        let lines = boot_128m(
            0x8000_0000,
            argument,
            |_| {},
            |_, setup| {
                assert_eq!(default_area(setup).is_some(), argument == "cma", "{argument}");
                assert_eq!(setup.cma.default_failure().is_some(), argument != "cma", "{argument}");
            },
        );
        assert!(lines.iter().any(|line| line == expected), "{argument}: {lines:?}");
    }
    let lines = boot_128m(0x8000_0000, "cma=-1", |_| {}, |_, setup| assert_eq!(default_area(setup), None));
    assert!(lines.len() == 1 && lines[0].starts_with("cma=-1: "), "{lines:?}");
}

#[test]
fn absurd_vendor_arguments_have_one_line_each() {
    for (argument, expected) in [
        ("mma_heap=h,miu=0,sz=0xf0000000", "mma_heap h: no free 0xf0000000 bytes in [0x80000000-0xfffffffe]"),
        ("mma_heap=h,miu=0,sz=0x10000000", "mma_heap h: no free 0x10000000 bytes in [0x80000000-0xfffffffe]"),
        ("mma_heap=h,miu=1,sz=1M", "mma_heap h: there is no miu 1"),
        (
            "mmap_reserved=m,miu=0,sz=1M,max_start_off=0x9000000,max_end_off=0xa000000",
            "mmap_reserved m: no free 0x100000 bytes in [0x89000000-0x89ffffff]",
        ),
        (
            "mmap_reserved=m,miu=0,sz=0x80000,max_start_off=0x8000,max_end_off=0x88000",
            "mmap_reserved m: no free 0x80000 bytes in [0x80008000-0x80087fff]",
        ),
        (
            "mmap_reserved=m,miu=0,sz=2M,max_start_off=0x4000000,max_end_off=0x4100000",
            "mmap_reserved m: no free 0x200000 bytes in [0x84000000-0x840fffff]",
        ),
    ] {
        let line = format!("cma=0 {argument}");
        let lines = boot_128m(
            0x8000_0000,
            &line,
            |_| {},
            |_, setup| {
                assert_eq!(setup.regions.vendor().count(), 0);
            },
        );
        assert_eq!(lines, [expected]);
    }
    let twice = "cma=0 mma_heap=h,miu=0,sz=1M mma_heap=h,miu=0,sz=2M";
    let lines = boot_128m(
        0x8000_0000,
        twice,
        |_| {},
        |_, setup| {
            assert_eq!(setup.regions.vendor().count(), 1);
        },
    );
    assert_eq!(lines[2..], ["mma_heap h: the name is taken, the first counts"]);
}

#[test]
fn two_hundred_regions() {
    let nodes = |blob: &mut Blob| {
        (0..200).for_each(|i| node(blob, &format!("r@{i}"), (0x8100_0000 + i * 0x2000, 0x1000), &[]));
    };
    let lines = boot_128m(0x8000_0000, "cma=8M", nodes, |memblock, setup| {
        assert_eq!(setup.regions.nodes().count(), 64);
        assert!(memblock.reserved().regions().len() >= 64);
        assert_eq!(default_area(setup), None, "no entry is left for it");
    });
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("not enough space for all defined regions"), 136);
    // Kernel with page table, and blob, leave 126 entries.
    assert_eq!(count("reserved table is full"), 74);
    assert_eq!(lines.last().unwrap(), "cma: Failed to reserve 8 MiB");
}

#[test]
fn memory_at_the_end_of_the_space_and_none_at_all() {
    let blob = tree(&[(0x8000_0000, 16 * MIB), (0xffff_f000, 0x1000)], "cma=0", |_| {});
    boot(Machine::at(0x8000_0000), &blob, |result, memblock, setup| {
        assert_eq!(result, Ok(()));
        assert_eq!(listing(memblock.memory())[1], (0xffff_f000, 0xfff, 0));
        assert_eq!(setup.lowmem.limit().get(), 0x8100_0000);
        let highmem: Vec<_> = setup.lowmem.highmem_ranges(memblock).collect();
        assert!(highmem.iter().all(|range| range.pfns_inside().is_empty()));
    });
    for command_line in ["", "cma=8M", "mem=0"] {
        let blob = tree(&[], command_line, |_| {});
        let lines = boot(Machine::at(0x8000_0000), &blob, |result, _, _| {
            let phys_offset = types::PhysAddr::new(0x8000_0000);
            assert_eq!(result, Err(EarlyMemoryError::NoMemory { phys_offset }));
        });
        assert!(lines.len() <= 2, "{lines:?}");
    }
}

#[test]
fn usable_memory_range_caps_what_the_nodes_say() {
    let mut blob = Blob::new(&[]);
    blob.begin("chosen");
    blob.property("linux,usable-memory-range", &words(&[0x8000_0000, 32 * MIB, 0x8400_0000, MIB]));
    blob.end();
    blob.begin("memory");
    blob.string("device_type", "memory");
    blob.property("reg", &words(&[0x8000_0000, 128 * MIB]));
    blob.property("hotpluggable", &[]);
    blob.end();
    boot(Machine::at(0x8000_0000), &blob.finish(), |_, memblock, _| {
        let expected = [(0x8000_0000, 32 * MIB, 1), (0x8400_0000, MIB, 0)];
        assert_eq!(listing(memblock.memory()), expected);
    });
}

#[test]
fn memblock_debug_says_what_it_does() {
    let lines = boot_128m(0x8000_0000, "memblock=debug cma=8M", |_| {}, |_, _| {});
    let has = |text: &str| lines.iter().any(|line| line.starts_with(text));
    assert!(has("memblock_reserve: [0x80008000-0x80087fff] kernel/setup/src/lib.rs:"), "{lines:#?}");
    let search =
        "memblock_phys_alloc_range: 8388608 bytes align=0x400000 from=0x00000000 max_addr=0x88000000 ";
    assert!(has(search), "{lines:#?}");
    let dump = "MEMBLOCK configuration:
 memory size = 0x08000000 reserved size = 0x00888000
 memory.cnt  = 0x1
 memory[0x0]\t[0x80000000-0x87ffffff], 0x08000000 bytes flags: 0x0
 reserved.cnt  = 0x3
 reserved[0x0]\t[0x80004000-0x80087fff], 0x00084000 bytes flags: 0x0
 reserved[0x1]\t[0x82000000-0x82003fff], 0x00004000 bytes flags: 0x0
 reserved[0x2]\t[0x87800000-0x87ffffff], 0x00800000 bytes flags: 0x0";
    assert_eq!(lines[lines.len() - 8..].join("\n"), dump);
}
