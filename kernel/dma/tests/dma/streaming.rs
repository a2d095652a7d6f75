//! Streaming mappings under random traffic: each owner sees what the other wrote before handing over.

use crate::rig::{BASE, HIGHMEM, Kernel, machine, survivors};
use dma::{BusRange, Device, DmaAddr, DmaDirection, DmaError, Mapped, Mappings, SgEntry, Streaming};
use hal::LinearMap;
use log::Level;
use proptest::prelude::*;
use std::ptr::NonNull;
use testkit::{Adversary, Machine, log::capture_with};
use types::{PAGE_SIZE, Pfn, PhysAddr};

const ALL: [DmaDirection; 3] =
    [DmaDirection::Bidirectional, DmaDirection::ToDevice, DmaDirection::FromDevice];
/// Lowmem, across a page border, the end of lowmem, highmem across a page border.
const PLACES: [(u32, u32); 4] =
    [(BASE + 0x2_0000, 0x100), (BASE + 0x2_1f80, 0x140), (BASE + 0xf_ffc0, 0x40), (HIGHMEM + 0xfc0, 0x80)];

fn device() -> Device<'static, usize> {
    Device::new("5000000.test")
}

#[derive(Clone, Copy, PartialEq)]
enum Turn {
    Unmapped,
    Device(DmaDirection, DmaAddr),
    Cpu(DmaDirection, DmaAddr),
}

struct Buffer {
    phys: PhysAddr,
    turn: Turn,
    /// `None`: nobody promises anything about the byte.
    model: Vec<Option<u8>>,
}

impl Buffer {
    fn new(machine: &Machine, (phys, len): (u32, u32)) -> Self {
        let mut bytes = vec![0; len as usize];
        machine.cpu_read(PhysAddr::new(phys), &mut bytes);
        Self { phys: PhysAddr::new(phys), turn: Turn::Unmapped, model: bytes.into_iter().map(Some).collect() }
    }

    fn len(&self) -> u32 {
        self.model.len() as u32
    }

    fn check(&self, seen: &[u8], who: &str) {
        let wrong =
            self.model.iter().zip(seen).position(|(model, seen)| model.is_some_and(|byte| byte != *seen));
        assert_eq!(wrong, None, "{who} sees a wrong byte at {}+{wrong:?}", self.phys);
    }

    fn cpu_check(&self, machine: &Machine) {
        let mut seen = vec![0; self.model.len()];
        machine.cpu_read(self.phys, &mut seen);
        self.check(&seen, "the CPU");
    }

    fn device_check(&self, machine: &Machine) {
        let mut seen = vec![0; self.model.len()];
        machine.device_read(self.phys, &mut seen);
        self.check(&seen, "the device");
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.model[at..at + bytes.len()].iter_mut().zip(bytes).for_each(|(model, byte)| *model = Some(*byte));
    }

    fn forget_if(&mut self, lost: bool) {
        if lost {
            self.model.fill(None);
        }
    }

    fn map(&mut self, cpu: &Kernel<'_>, streaming: &mut Streaming<'_>, direction: DmaDirection) {
        let place = (Pfn::containing(self.phys), self.phys.get() % PAGE_SIZE);
        let addr = streaming.map_page(cpu, &device(), place, self.len(), direction).unwrap();
        assert_eq!(addr.get(), self.phys.get());
        self.turn = Turn::Device(direction, addr);
        self.forget_if(direction == DmaDirection::FromDevice);
    }

    fn unmap(&mut self, cpu: &Kernel<'_>, streaming: &mut Streaming<'_>) {
        self.give_to_device(cpu, streaming);
        if let Turn::Device(direction, addr) = self.turn {
            streaming.unmap(cpu, &device(), addr, self.len(), direction);
            self.turn = Turn::Unmapped;
        }
    }

    fn give_to_cpu(&mut self, cpu: &Kernel<'_>, streaming: &mut Streaming<'_>) {
        if let Turn::Device(direction, addr) = self.turn {
            streaming.sync_for_cpu(cpu, &device(), addr, self.len(), direction);
            self.turn = Turn::Cpu(direction, addr);
        }
    }

    fn give_to_device(&mut self, cpu: &Kernel<'_>, streaming: &mut Streaming<'_>) {
        if let Turn::Cpu(direction, addr) = self.turn {
            streaming.sync_for_device(cpu, &device(), addr, self.len(), direction);
            self.turn = Turn::Device(direction, addr);
            self.forget_if(direction == DmaDirection::FromDevice);
        }
    }

    /// Whoever has it reads all and writes `bytes`, as far as the direction allows.
    fn touch(&mut self, machine: &Machine, at: usize, bytes: &[u8]) {
        let phys = PhysAddr::new(self.phys.get() + at as u32);
        match self.turn {
            Turn::Device(direction, _) => {
                if direction != DmaDirection::FromDevice {
                    self.device_check(machine);
                }
                if direction.device_writes() {
                    machine.device_write(phys, bytes);
                    self.set(at, bytes);
                }
            }
            Turn::Unmapped | Turn::Cpu(..) => {
                self.cpu_check(machine);
                machine.cpu_write(phys, bytes);
                self.set(at, bytes);
                self.cpu_check(machine);
            }
        }
    }
}

proptest! {
    #![proptest_config(testkit::cases(128, 1))]

    #[test]
    fn random_traffic(
        seed in any::<u64>(),
        worst: bool,
        steps in prop::collection::vec((0..4usize, 0..8u8, 0..3usize, any::<u16>(), 1..200usize), 1..if cfg!(miri) { 10 } else { 120 })
    ) {
        let machine = machine(if worst { Adversary::Worst } else { Adversary::Random }, seed);
        let kernel = Kernel::new(&machine);
        let mut slots = [None; 8];
        let mut streaming = Streaming::new(Mappings::new(&mut slots));
        let mut buffers = PLACES.map(|place| Buffer::new(&machine, place));
        for (n, (buffer, action, direction, at, len)) in steps.into_iter().enumerate() {
            let buffer = &mut buffers[buffer];
            match action {
                0 if buffer.turn == Turn::Unmapped => buffer.map(&kernel, &mut streaming, ALL[direction]),
                1 => buffer.unmap(&kernel, &mut streaming),
                2 => buffer.give_to_cpu(&kernel, &mut streaming),
                3 => buffer.give_to_device(&kernel, &mut streaming),
                4 => machine.tick(32),
                _ => {
                    let at = usize::from(at) % buffer.model.len();
                    let bytes = vec![n as u8 ^ 0xa5; len.min(buffer.model.len() - at)];
                    buffer.touch(&machine, at, &bytes);
                }
            }
        }
        for buffer in &mut buffers {
            buffer.unmap(&kernel, &mut streaming);
            buffer.cpu_check(&machine);
        }
        prop_assert_eq!((streaming.mappings().errors(), streaming.mappings().live().count()), (0, 0));
    }
}

/// A whole life in one direction, each turn writing what the next one reads.
fn life(kernel: &mut Kernel<'_>, direction: DmaDirection) {
    let machine = kernel.machine;
    let mut slots = [None; 2];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    for place in PLACES {
        let mut buffer = Buffer::new(machine, place);
        let fill = |buffer: &mut Buffer, byte| {
            let bytes = vec![byte; buffer.model.len()];
            buffer.touch(machine, 0, &bytes);
        };
        fill(&mut buffer, 1);
        buffer.map(kernel, &mut streaming, direction);
        fill(&mut buffer, 2);
        buffer.give_to_cpu(kernel, &mut streaming);
        fill(&mut buffer, 3);
        buffer.give_to_device(kernel, &mut streaming);
        fill(&mut buffer, 4);
        buffer.unmap(kernel, &mut streaming);
        buffer.cpu_check(machine);
    }
    assert_eq!(streaming.mappings().errors(), 0);
}

/// Whichever call is left out, in whichever direction, one side sees stale data.
#[test]
#[cfg_attr(miri, ignore = "as many runs as there are calls")]
fn every_maintenance_call_is_needed() {
    let lives: [fn(&mut Kernel<'_>); 3] = [|k| life(k, ALL[0]), |k| life(k, ALL[1]), |k| life(k, ALL[2])];
    for (life, direction) in lives.into_iter().zip(ALL) {
        assert_eq!(survivors(Adversary::Worst, life), [] as [String; 0], "{direction}");
    }
}

/// The table of the maintenance calls, counted.
#[test]
fn maintenance_by_direction() {
    use testkit::Op::{Clean, Flush, Invalidate};
    let machine = machine(Adversary::Kind, 0);
    let kernel = Kernel::new(&machine);
    let mut streaming = Streaming::new(Mappings::new(&mut []));
    let start = NonNull::new(machine.ptr(PhysAddr::new(BASE + 0x2_0000))).unwrap();
    let mut count = |work: &mut dyn FnMut(&mut Streaming<'_>)| {
        machine.reset_ops(None);
        work(&mut streaming);
        [Clean, Invalidate, Flush].map(|op| machine.counts().of(op))
    };
    for (direction, map, unmap) in [
        (DmaDirection::ToDevice, [1, 0, 0], [0, 0, 0]),
        (DmaDirection::FromDevice, [0, 1, 0], [0, 1, 0]),
        (DmaDirection::Bidirectional, [1, 0, 0], [0, 1, 0]),
    ] {
        let mut addr = DmaAddr::new(0);
        let mapped = count(&mut |s| addr = s.map_single(&kernel, &device(), start, 0x40, direction).unwrap());
        let to_cpu = count(&mut |s| s.sync_for_cpu(&kernel, &device(), addr, 0x40, direction));
        let to_device = count(&mut |s| s.sync_for_device(&kernel, &device(), addr, 0x40, direction));
        let unmapped = count(&mut |s| s.unmap(&kernel, &device(), addr, 0x40, direction));
        assert_eq!([mapped, to_cpu, to_device, unmapped], [map, unmap, map, unmap], "{direction}");
        let snooping = Device { coherent: true, ..device() };
        let none = count(&mut |s| {
            let addr = s.map_single(&kernel, &snooping, start, 0x40, direction).unwrap();
            s.sync_for_cpu(&kernel, &snooping, addr, 0x40, direction);
            s.sync_for_device(&kernel, &snooping, addr, 0x40, direction);
            s.unmap(&kernel, &snooping, addr, 0x40, direction);
        });
        assert_eq!(none, [0; 3]);
    }
}

/// What `DmaStream` refuses: a neighbour's store in the buffer's line while the device has it costs somebody data.
#[test]
fn sharing_a_line_loses_data() {
    let machine = machine(Adversary::Worst, 0);
    let kernel = Kernel::new(&machine);
    let mut streaming = Streaming::new(Mappings::new(&mut []));
    let (line, buffer) = (PhysAddr::new(BASE + 0x2_0000), PhysAddr::new(BASE + 0x2_0020));
    let start = NonNull::new(machine.ptr(buffer)).unwrap();
    let addr = streaming.map_single(&kernel, &device(), start, 0x20, DmaDirection::FromDevice).unwrap();
    machine.cpu_write(line, &[1; 0x20]);
    machine.device_write(buffer, &[2; 0x20]);
    streaming.unmap(&kernel, &device(), addr, 0x20, DmaDirection::FromDevice);
    let mut seen = [0; 0x40];
    machine.cpu_read(line, &mut seen);
    assert!(seen[..0x20] != [1; 0x20] || seen[0x20..] != [2; 0x20]);
}

#[test]
fn scatter_lists_map_whole_or_not_at_all() {
    let machine = machine(Adversary::Worst, 0);
    let kernel = Kernel::new(&machine);
    let mut slots = [None; 8];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    let mut list = PLACES.map(|(phys, len)| SgEntry::new(PhysAddr::new(phys), len));
    let direction = DmaDirection::Bidirectional;
    list.iter().for_each(|entry| machine.cpu_write(entry.phys, &vec![7; entry.len as usize]));
    streaming.map_sg(&kernel, &device(), &mut list, direction).unwrap();
    for entry in &list {
        let mut seen = vec![0; entry.len as usize];
        machine.device_read(PhysAddr::new(entry.addr.get()), &mut seen);
        assert!(seen.iter().all(|&byte| byte == 7));
        machine.device_write(entry.phys, &vec![8; entry.len as usize]);
    }
    streaming.sync_sg_for_cpu(&kernel, &device(), &list, direction);
    for entry in &list {
        let mut seen = vec![0; entry.len as usize];
        machine.cpu_read(entry.phys, &mut seen);
        assert!(seen.iter().all(|&byte| byte == 8));
    }
    streaming.sync_sg_for_device(&kernel, &device(), &list, direction);
    streaming.unmap_sg(&kernel, &device(), &list, direction);
    let narrow = Device { dma_mask: 0x8fff_ffff, ..device() };
    assert!(matches!(
        streaming.map_sg(&kernel, &narrow, &mut list, direction),
        Err(DmaError::Unreachable { .. })
    ));
    assert_eq!((streaming.mappings().live().count(), streaming.mappings().errors()), (0, 0));
}

#[test]
fn what_is_out_of_reach_is_said_once() {
    let machine = machine(Adversary::Kind, 0);
    let kernel = Kernel::new(&machine);
    let mut slots = [None; 2];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    let mut device = Device { dma_mask: 0xffff_ffff, ..device() };
    device.ranges.add(BusRange { cpu: BASE.into(), bus: 0xc000_0000, size: 0x2_0000 }).unwrap();
    let mut map = |len| {
        let start = NonNull::new(machine.ptr(PhysAddr::new(BASE + 0x1_ff00))).unwrap();
        streaming.map_single(&kernel, &device, start, len, DmaDirection::ToDevice)
    };
    assert_eq!(map(0x100), Ok(DmaAddr::new(0xc001_ff00)));
    assert_eq!(map(0), Err(DmaError::Empty));
    let (results, lines) = capture_with(|| [map(0x101), map(0x101)]);
    let error =
        DmaError::Unreachable { addr: 0xffff_ffff, size: 0x101, mask: 0xffff_ffff, limit: 0xc001_ffff };
    assert_eq!(results, [Err(error); 2]);
    let line = "5000000.test: DMA addr 0xffffffff+257 overflow (mask ffffffff, bus limit c001ffff).";
    assert_eq!(lines, [(Level::Warn, line.into())]);
    let elsewhere = NonNull::from(&mut [0u8; 4]).cast();
    let lost = streaming.map_single(&kernel, &device, elsewhere, 4, DmaDirection::ToDevice);
    assert_eq!(lost, Err(DmaError::NotLinear { phys: PhysAddr::new(0) }));
}

/// A streaming mapping at `offset`; the line of this function's caller is what reports name.
#[track_caller]
fn map(kernel: &Kernel<'_>, streaming: &mut Streaming<'_>, offset: u32) -> DmaAddr {
    let start = NonNull::new(kernel.machine.ptr(PhysAddr::new(BASE + offset))).unwrap();
    streaming.map_single(kernel, &device(), start, 0x40, DmaDirection::ToDevice).unwrap()
}

#[test]
fn mistakes_are_found_with_their_place() {
    let machine = machine(Adversary::Kind, 0);
    let kernel = Kernel::new(&machine);
    let mut slots: [Option<Mapped>; 3] = [None; 3];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    let (device, to, from) = (device(), DmaDirection::ToDevice, DmaDirection::FromDevice);
    let text = |lines: Vec<(Level, String)>| {
        assert!(lines.iter().all(|(level, _)| *level == Level::Error));
        lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>()
    };
    let place = |line: u32| format!("[mapped at {}:{line}:16]", file!());
    let mapped = |addr: DmaAddr, line| {
        let Device { name, .. } = device;
        let addr = addr.get();
        format!(
            "{name}: [device address={addr:#018x}] [size=64 bytes] [mapped with DMA_TO_DEVICE] {}",
            place(line)
        )
    };

    let addr = map(&kernel, &mut streaming, 0x2_0000);
    let line = line!() - 1;
    let (_, lines) = capture_with(|| streaming.unmap(&kernel, &device, addr, 0x20, from));
    let size = format!(
        "DMA-API: 5000000.test: device driver frees DMA memory with different size [unmap size=32 bytes]: {}",
        mapped(addr, line)
    );
    let direction = format!(
        "DMA-API: 5000000.test: device driver frees DMA memory with different direction [unmapped with DMA_FROM_DEVICE]: {}",
        mapped(addr, line)
    );
    assert_eq!(text(lines), [size, direction]);

    let (_, lines) = capture_with(|| streaming.unmap(&kernel, &device, addr, 0x40, to));
    let again = "DMA-API: 5000000.test: device driver tries to free DMA memory it has not allocated [device address=0x0000000080020000] [size=64 bytes]";
    assert_eq!(text(lines), [again]);

    let addr = map(&kernel, &mut streaming, 0x2_0000);
    let line = line!() - 1;
    let inside = DmaAddr::new(addr.get() + 0x20);
    let (_, lines) = capture_with(|| {
        streaming.sync_for_cpu(&kernel, &device, inside, 0x20, to);
        streaming.sync_for_device(&kernel, &device, inside, 0x20, to);
    });
    assert_eq!(lines, [], "a part may be synced");
    let (_, lines) = capture_with(|| {
        streaming.sync_for_cpu(&kernel, &device, inside, 0x21, to);
        streaming.sync_for_device(&kernel, &device, addr, 0x40, from);
    });
    let beyond = "DMA-API: 5000000.test: device driver tries to sync DMA memory it has not allocated [device address=0x0000000080020020] [size=33 bytes]".to_string();
    let direction = format!(
        "DMA-API: 5000000.test: device driver syncs DMA memory with different direction [synced with DMA_FROM_DEVICE]: {}",
        mapped(addr, line)
    );
    assert_eq!(text(lines), [beyond, direction]);

    let (_, lines) = capture_with(|| map(&kernel, &mut streaming, 0x2_0000));
    let twice = format!(
        "DMA-API: 5000000.test: cacheline tracking EEXIST, overlapping mappings aren't supported: {}",
        mapped(addr, line)
    );
    assert_eq!(text(lines), [twice]);

    // The driver goes, and leaves both behind.
    let (count, lines) = capture_with(|| streaming.mappings_mut().device_gone("5000000.test"));
    let lines = text(lines);
    assert_eq!((count, lines.len()), (2, 2));
    assert_eq!(
        lines[0],
        "DMA-API: 5000000.test: device driver has pending DMA allocations while released from device [count=2]"
    );
    assert_eq!(lines[1], format!("DMA-API: One of leaked entries details: {}", mapped(addr, line)));
    assert_eq!(streaming.mappings_mut().device_gone("another"), 0);

    let (_, lines) = capture_with(|| [0x3_0000, 0x3_1000].map(|offset| map(&kernel, &mut streaming, offset)));
    assert_eq!(text(lines), ["DMA-API: debugging out of memory - disabling"]);
    let (_, lines) = capture_with(|| streaming.unmap(&kernel, &device, addr, 1, from));
    assert_eq!(lines, [], "checks are off now");
    assert_eq!(streaming.mappings().errors(), 7);
}
