//! The readers' answers for a tree that has everything once (`data/board.dts`) and for QEMU's own (`virt.dtb`,
//! dumped by QEMU 7.2 and shortened by dtc), against what a person reads in the sources.

use dt::{
    AddressError, BootData, CommandLine, DmaRange, Entry, Initrd, InterruptError, MemoryRange, Node,
    ReservedError, Tree,
};
use types::{PhysAddr, PhysRange};

fn board() -> Tree<'static> {
    Tree::from_bytes(include_bytes!("data/board.dtb")).unwrap()
}

fn virt() -> Tree<'static> {
    Tree::from_bytes(include_bytes!("data/virt.dtb")).unwrap()
}

fn range(base: u32, size: u32) -> PhysRange {
    PhysRange::new(PhysAddr::new(base), size)
}

fn names<'a>(nodes: impl Iterator<Item = Node<'a>>) -> Vec<String> {
    nodes.map(|n| n.name().to_string()).collect()
}

#[test]
fn nodes_are_found_by_path_alias_phandle_and_model() {
    let tree = board();
    let uart = tree.find("/soc/serial@7e201000").unwrap();
    assert_eq!(tree.find("serial0"), Some(uart));
    assert_eq!(tree.find("/soc/serial"), Some(uart));
    assert_eq!(uart.path().to_string(), "/soc/serial@7e201000");
    assert_eq!((uart.base_name(), uart.unit_address()), ("serial", Some("7e201000")));
    assert_eq!(uart.alias_id("serial"), Some(0));
    assert_eq!(uart.parent(), tree.find("/soc"));
    assert_eq!(tree.root().parent(), None);
    assert_eq!(tree.root().path().to_string(), "/");
    assert_eq!(tree.compatible(&["nobody", "ARM,PrimeCell"]).collect::<Vec<_>>(), [uart]);
    assert_eq!(tree.compatible(&["brcm,bcm2835-aux-uart"]).count(), 0, "a disabled node is not for drivers");
    let gic = tree.find("/interrupt-controller@3f400000").unwrap();
    assert_eq!(tree.by_phandle(gic.phandle().unwrap()), Some(gic));
    assert_eq!(tree.by_phandle(0x7777), None);
    assert_eq!(tree.find("/nowhere"), None);
    assert_eq!(tree.find("serial7"), None);
    assert_eq!(tree.machine_model(), Some("Contig test board"));
}

#[test]
fn names_longer_than_the_specification_are_read_as_linux_reads_them() {
    let node = board().find("/soc/a-node-name-with-more-than-thirty-one-characters").unwrap();
    assert_eq!(node.u32("a-property-with-more-than-thirty-one-characters"), Some(1));
    assert!(dtoolkit::fdt::Fdt::new(board().as_bytes()).is_err(), "why dtoolkit is not the reader");
}

#[test]
fn addresses_go_through_every_bus() {
    let tree = board();
    let at = |path| tree.find(path).unwrap().mmio(0);
    assert_eq!(at("/soc/serial@7e201000"), Ok(range(0x3f20_1000, 0x200)));
    assert_eq!(at("/smb@8000000/motherboard/iofpga@3/serial@90000"), Ok(range(0x1c09_0000, 0x1000)));
    assert_eq!(at("/smb@8000000/motherboard/flash@0"), Ok(range(0x0800_0000, 0x400_0000)));
    let gic = tree.find("/interrupt-controller").unwrap();
    assert_eq!(gic.mmio(1), Ok(range(0x3f40_1000, 0x2000)));
    assert_eq!(gic.mmio(2), Err(AddressError::NoEntry { node: gic, index: 2 }));
    assert_eq!(gic.reg().collect::<Vec<_>>(), [(0x3f40_0000, 0x1000), (0x3f40_1000, 0x2000)]);
    let soc = tree.find("/soc").unwrap();
    assert_eq!(at("/soc/lost"), Err(AddressError::NotMapped { bus: soc, address: 0x1000_0000 }));
    assert!(matches!(at("/isolated-bus/sensor"), Err(AddressError::Cells { .. })));
    assert_eq!(
        at("/soc/lost").unwrap_err().to_string(),
        "OF: /soc: address 0x10000000 is in none of its ranges"
    );
}

#[test]
fn interrupts_name_their_controller() {
    let tree = board();
    let (gic, local) = (tree.find("/interrupt-controller").unwrap(), tree.find("/local-intc").unwrap());
    let of = |path: &str| {
        let all = tree.find(path).unwrap().interrupts();
        all.map(|i| i.map(|i| (i.controller, i.cells().to_vec()))).collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(of("serial0"), Ok(vec![(gic, vec![0, 57, 4]), (gic, vec![0, 58, 4])]));
    assert_eq!(of("serial1"), Ok(vec![(local, vec![8]), (gic, vec![0, 29, 4])]));
    assert_eq!(of("/smb/motherboard/iofpga/serial"), Ok(vec![(gic, vec![0, 5, 4])]), "through the nexus");
    assert_eq!(of("/smb/motherboard/iofpga/rtc"), Ok(vec![(local, vec![3])]));
    let nexus = tree.find("/smb").unwrap();
    assert_eq!(of("/smb/motherboard/iofpga/stray"), Err(InterruptError::NotMapped { node: nexus }));
    assert_eq!(of("/aliases"), Ok(vec![]));
    let ring = tree.find("/ring-a").unwrap();
    assert_eq!(ring.interrupt(0), Err(InterruptError::Ring { node: ring }));
    assert_eq!(ring.interrupts().count(), 1, "the listing ends with what is wrong");
    assert_eq!(ring.interrupt(0).unwrap_err().to_string(), "OF: /ring-a: interrupt parents form a ring");
}

#[test]
fn bus_masters_see_memory_through_dma_ranges() {
    let tree = board();
    let dma = tree.find("/soc/dma").unwrap();
    let seen: Vec<_> = dma.dma_ranges().unwrap().unwrap().collect();
    assert_eq!(seen, [DmaRange { bus: 0xc000_0000, cpu: 0, size: 0x3f00_0000 }]);
    assert!(dma.is_dma_coherent());
    let rtc = tree.find("/smb/motherboard/iofpga/rtc").unwrap();
    assert!(rtc.dma_ranges().unwrap().is_none());
    assert!(!rtc.is_dma_coherent());
    let regions: Vec<_> = dma.memory_regions().map(|r| r.map(|n| n.name())).collect();
    assert_eq!(regions, [Some("linux,cma"), Some("secure@22000000"), None]);
}

#[test]
fn memory_is_what_linux_would_register() {
    let boot = BootData::from_tree(board());
    let plain = |base, size| MemoryRange { base, size, hotpluggable: false };
    let expected = [
        plain(0x2000_0000, 0x400_0000),
        plain(0x2400_0000, 0x3f0_0000),
        MemoryRange { base: 0x3000_0000, size: 0x80_0000, hotpluggable: true },
    ];
    assert_eq!(boot.memory().collect::<Vec<_>>(), expected);
    let usable: Vec<_> = boot.tree.usable_memory().collect();
    assert_eq!(usable, [(0x2000_0000, 0x7f0_0000), (0x3000_0000, 0x10_0000)]);
    let reservations: Vec<_> = boot.tree.reservations().collect();
    assert_eq!(reservations, [(0x2000_0000, 0x1000), (0x2010_0000, 0x2000)]);
    assert_eq!(boot.initrd(), Some(Initrd { start: 0x2100_0000, end: 0x2140_0000 }));
    let line = CommandLine::new(b"console=ttyS0,115200 cma=8M");
    assert_eq!(boot.command_line(), line);
    let stdout = boot.tree.stdout().unwrap();
    assert_eq!((Some(stdout.node), stdout.options), (boot.tree.find("serial0"), Some("115200n8")));
}

#[test]
fn reservations_say_what_they_ask_for() {
    let tree = board();
    let nodes: Vec<_> = tree.reserved_memory().unwrap().collect();
    assert_eq!(names(nodes.iter().map(|n| n.node())), ["secure@22000000", "linux,cma", "neither"]);
    let [fixed, pool, neither] = nodes[..] else { unreachable!() };
    let reg: Vec<_> = fixed.reg().unwrap().unwrap().collect();
    assert_eq!(reg, [(0x2200_0000, 0x10_0000), (0x2220_0000, 0x1_0000)]);
    assert!(fixed.no_map() && !fixed.reusable() && !fixed.has_size());
    assert!(pool.reg().unwrap().is_none());
    assert_eq!((pool.size(), pool.alignment()), (Ok(Some(0x80_0000)), Ok(Some(0x40_0000))));
    let windows: Vec<_> = pool.alloc_ranges().unwrap().unwrap().collect();
    assert_eq!(windows, [(0x2400_0000, 0x200_0000), (0x2000_0000, 0x400_0000)]);
    assert!(pool.reusable() && pool.cma_default() && pool.is_compatible("Shared-DMA-Pool") && !pool.no_map());
    assert!(pool.phandle().is_some() && pool.phandle() != fixed.phandle());
    assert!(neither.reg().unwrap().is_none() && !neither.has_size());
    assert_eq!(neither.size(), Ok(None));
}

#[test]
fn a_directory_lists_properties_then_children() {
    let tree = board();
    let Some(Entry::Directory(uart)) = tree.entry("/soc/serial@7e201000/") else { panic!() };
    let listed: Vec<_> = uart.entries().map(|e| e.name().to_string()).collect();
    assert_eq!(listed, ["compatible", "reg", "interrupts", "name"]);
    let bytes = |path| match tree.entry(path) {
        Some(Entry::File(file)) => {
            assert_eq!(file.bytes().count(), file.len());
            file.bytes().collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(bytes("soc/serial@7e201000/name"), b"serial\0");
    assert_eq!(bytes("soc/serial@7e201000/reg"), [0x7e, 0x20, 0x10, 0, 0, 0, 2, 0]);
    assert_eq!(bytes("model"), b"Contig test board\0");
    assert_eq!(bytes("soc/dma@7e007000/dma-coherent"), b"");
    assert_eq!(tree.entry("soc/serial"), None, "a path names the unit address");
    assert_eq!(tree.entry("model/x"), None);
    assert_eq!(tree.entry(""), Some(Entry::Directory(tree.root())));
}

#[test]
#[cfg_attr(miri, ignore = "a big blob takes minutes; the small one covers the code")]
fn qemus_own_tree_reads_as_qemu_maps_it() {
    let tree = virt();
    let memory: Vec<_> = tree.memory().map(|m| (m.base, m.size)).collect();
    assert_eq!(memory, [(0x4000_0000, 0x800_0000)]);
    let uart = tree.stdout().unwrap().node;
    assert_eq!(uart.mmio(0), Ok(range(0x0900_0000, 0x1000)));
    assert!(uart.is_compatible("arm,pl011"));
    let interrupt = uart.interrupt(0).unwrap();
    assert_eq!(interrupt.cells(), [0, 1, 4]);
    assert!(interrupt.controller.is_compatible("arm,cortex-a15-gic"));
    assert_eq!(tree.compatible(&["virtio,mmio"]).count(), 32);
    let virtio: Vec<_> = tree.compatible(&["virtio,mmio"]).map(|n| n.mmio(0).unwrap().base().get()).collect();
    assert_eq!(virtio[31], 0x0a00_0000 + 31 * 0x200);
    assert_eq!(tree.reserved_memory().map(Iterator::count), Ok(0));
    assert_eq!(tree.machine_model(), Some("linux,dummy-virt"));
    let timer = tree.compatible(&["arm,armv7-timer"]).next().unwrap();
    assert_eq!(timer.interrupts().map(|i| i.unwrap().cells()[1]).collect::<Vec<_>>(), [13, 14, 11, 10]);
}

#[test]
fn messages_are_linuxs() {
    assert_eq!(
        ReservedError::Reg("a@1").to_string(),
        "OF: fdt: Reserved memory: invalid reg property in 'a@1', skipping node."
    );
    assert_eq!(ReservedError::Size("a").to_string(), "OF: reserved mem: invalid size property in 'a' node.");
}
