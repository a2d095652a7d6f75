//! Probing whole trees over plain memory in place of registers.

use drivers::{
    irq::{Irq, IrqError},
    mmio::Mmio,
    power::Conduit,
    probe::{Devices, Platform, TimerDevice, probe},
};
use std::{collections::BTreeMap, ptr::NonNull};
use types::PhysRange;

const BCM2836: &[u8] = include_bytes!("data/bcm2836.dtb");
const VIRT: &[u8] = include_bytes!("../../dt/tests/data/virt.dtb");

/// Physical memory made of blocks by address, freed with the board.
struct Board {
    blocks: BTreeMap<u32, NonNull<[u32]>>,
    /// Registers that hold something from the start: (address, value).
    preset: Vec<(u32, u32)>,
    room: usize,
    claims: Vec<String>,
}

impl Board {
    fn read(&self, address: u32) -> u32 {
        let (base, block) = self.blocks.range(..=address).next_back().expect("mapped");
        // SAFETY: the tests ask for registers of mapped blocks only, which nobody uses meanwhile.
        unsafe { block.cast::<u32>().add((address - base) as usize / 4).read_volatile() }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        for block in self.blocks.values() {
            // SAFETY: it came out of a `Box` in `ioremap`.
            drop(unsafe { Box::from_raw(block.as_ptr()) });
        }
    }
}

impl Platform for Board {
    fn claimed(&mut self, range: PhysRange, name: &dyn std::fmt::Display) {
        self.claims.push(format!("{range} {name}"));
    }
    fn ioremap(&mut self, range: PhysRange) -> Option<Mmio> {
        self.room = self.room.checked_sub(1)?;
        let base = range.base().get();
        let mut words = vec![0; range.size() as usize / 4];
        for (address, value) in
            self.preset.iter().filter(|(address, _)| range.contains(types::PhysAddr::new(*address)))
        {
            words[(address - base) as usize / 4] = *value;
        }
        let block = NonNull::from(Box::leak(words.into_boxed_slice()));
        assert!(self.blocks.insert(base, block).is_none(), "{base:#x} is mapped twice");
        // SAFETY: aligned, alive until the board goes, which the tests keep while registers are used, and `read` is the only other access, after probing.
        Some(unsafe { Mmio::new(block.cast(), range.size() as usize) })
    }

    fn timer_frequency(&self) -> u32 {
        62_500_000
    }

    fn firmware_call(&self) -> fn(Conduit, [u32; 4]) -> u32 {
        |conduit, args| {
            assert_eq!((conduit, args), (Conduit::Hvc, [0x8400_0000, 0, 0, 0]));
            0x1_0001
        }
    }
}

fn probed(blob: &[u8], preset: &[(u32, u32)], room: usize) -> (Board, Devices) {
    let mut board = Board { blocks: BTreeMap::new(), preset: preset.into(), room, claims: vec![] };
    let devices = probe(&dt::Tree::from_bytes(blob).unwrap(), &mut board);
    (board, devices)
}

#[test]
fn a_machine_with_chained_controllers() {
    let (board, mut devices) = probed(BCM2836, &[], 100);
    assert_eq!(devices.timer, Some(TimerDevice { irq: Irq(17), frequency: 19_200_000 }));
    let uarts = board.claims.iter().filter(|claim| claim.ends_with(" 3f201000.serial")).count();
    assert_eq!((uarts, board.claims.len()), (1, board.blocks.len()), "{:?}", board.claims);
    let [serial] = &devices.serial[..] else { panic!("one port is usable") };
    assert_eq!((serial.irq, serial.number, serial.stdout), (Irq(18), 0, true));
    assert_eq!((board.read(0x3f20_1024), board.read(0x3f20_1028)), (312, 32), "9600 baud from 48 MHz");
    assert_eq!(devices.power.iter().map(|power| power.name()).collect::<Vec<_>>(), ["bcm2835-pm"]);
    devices.irqs.request(Irq(18), "uart-pl011", &|| ()).unwrap();
    assert_eq!(board.read(0x3f00_b214), 1 << 25);
    assert_eq!(devices.irqs.request(Irq(16), "nobody", &|| ()), Err(IrqError::Busy(Irq(16))));
    assert!(devices.psci.is_none());
}

#[test]
fn a_dma_engine_and_its_bus() {
    let (_board, devices) = probed(BCM2836, &[], 100);
    let [engine] = &devices.dma[..] else { panic!("one engine") };
    let found: Vec<_> = engine.channels.iter().map(|c| (c.number, c.registers.len(), c.irq)).collect();
    assert_eq!(found.iter().map(|found| found.0).collect::<Vec<_>>(), [0, 2, 4], "allowed, with interrupts");
    assert!(found.iter().all(|(_, len, _)| *len == 0x100));
    let tree = dt::Tree::from_bytes(BCM2836).unwrap();
    let node = tree.compatible(&["brcm,bcm2835-dma"]).next().unwrap();
    let device = drivers::dma::device::<()>(node, "dma").unwrap();
    let bus = device.phys_to_dma(types::PhysAddr::new(0x2640_0000), 0x1000);
    assert_eq!((bus.map(dma::DmaAddr::get), device.coherent), (Some(0xe640_0000), false));
}

#[test]
fn qemus_virt_machine() {
    const TYPER: (u32, u32) = (0x0800_0004, 8);
    let (board, mut devices) = probed(VIRT, &[TYPER], 100);
    assert_eq!(devices.timer, Some(TimerDevice { irq: Irq(16), frequency: 62_500_000 }));
    assert_eq!((devices.serial.len(), devices.serial[0].stdout), (1, true));
    assert_eq!(devices.psci.unwrap().version(), (1, 1));
    assert_eq!(devices.power.len(), 1);
    assert_eq!((devices.virtio.len(), devices.virtio[1].registers.len()), (32, 0x200));
    assert!(!board.claims.iter().any(|claim| claim.contains("virtio")), "an empty transport is nobody's");
    devices.irqs.request(devices.serial[0].irq, "uart-pl011", &|| ()).unwrap();
    assert_eq!(board.read(0x0800_0104), 2, "SPI 1");
}

#[test]
fn dw_axi_nodes_are_checked() {
    const TREE: &[u8] = include_bytes!("data/dw-axi-dmac.dtb");
    let lines = testkit::log::capture(|| drop(probed(TREE, &[], 100)));
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    let good =
        "dw_axi_dmac_platform dma-controller: DesignWare AXI DMA Controller, 8 channels, 2 masters, 128 bits";
    assert!(lines.iter().any(|line| line == good), "{lines:?}");
    let bad = |line: &&String| line.starts_with("dw-axi-dmac ") && line.contains(": probe failed: ");
    assert!(lines.iter().filter(bad).count() >= 3, "{lines:?}");
}

#[test]
fn what_cannot_be_used_is_left_out() {
    let (_, devices) = probed(VIRT, &[], 100);
    assert!(devices.serial.is_empty(), "a controller with 32 inputs has no SPI 1");
    assert!(devices.timer.is_some(), "but private ones");
    for room in 0..4 {
        let (board, devices) = probed(BCM2836, &[], room);
        assert_eq!(board.blocks.len(), room);
        assert_eq!(devices.timer.is_some(), room > 0);
        assert_eq!((devices.serial.len(), devices.power.len()), (room / 3, 0));
    }
}
