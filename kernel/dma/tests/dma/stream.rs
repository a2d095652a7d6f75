//! Buffers with their owner in the type.

use crate::rig::{BASE, Kernel, machine};
use dma::{Bidirectional, Device, DmaError, DmaStream, FromDevice, Mappings, Streaming, ToDevice};
use hal::LinearMap;
use log::Level;
use testkit::{Adversary, Machine, log::capture_with};
use types::PhysAddr;

const PHYS: PhysAddr = PhysAddr::new(BASE + 0x2_0000);

fn device() -> Device<'static, usize> {
    Device::new("5000000.test")
}

/// `len` bytes of the machine's memory at `PHYS + offset`.
#[expect(clippy::mut_from_ref, reason = "the machine's memory is nobody's borrow")]
fn buffer(machine: &Machine, offset: u32, len: usize) -> &mut [u8] {
    let start = machine.ptr(PhysAddr::new(PHYS.get() + offset));
    // SAFETY: inside of the machine's memory; each test takes each part once.
    unsafe { std::slice::from_raw_parts_mut(start, len) }
}

#[test]
#[cfg_attr(miri, ignore = "the machine stands for hardware, which no borrow keeps out")]
fn both_ways() {
    for adversary in [Adversary::Worst, Adversary::Random] {
        let machine = machine(adversary, 5);
        let kernel = Kernel::new(&machine);
        let mut slots = [None; 2];
        let mut streaming = Streaming::new(Mappings::new(&mut slots));
        let bytes = buffer(&machine, 0, 0x100);
        bytes.fill(1);
        let device = device();
        let stream =
            DmaStream::<Bidirectional, _>::map(&mut streaming, &kernel.view, &device, bytes).unwrap();
        assert_eq!((stream.addr().get(), stream.size()), (PHYS.get(), 0x100));
        let mut seen = [0; 0x100];
        machine.device_read(PHYS, &mut seen);
        assert_eq!(seen, [1; 0x100]);
        machine.device_write(PHYS, &[2; 0x100]);
        let mut stream = stream.sync_for_cpu(&mut streaming, &kernel, &device);
        assert_eq!(stream[..], [2; 0x100]);
        stream[0x80..].fill(3);
        let stream = stream.sync_for_device(&mut streaming, &kernel, &device);
        machine.device_read(PHYS, &mut seen);
        assert_eq!((seen[0x7f], seen[0x80]), (2, 3));
        machine.device_write(PHYS, &[4; 0x40]);
        stream.unmap(&mut streaming, &kernel.view, &device);
        let bytes = buffer(&machine, 0, 0x100);
        assert_eq!((bytes[0x3f], bytes[0x40], bytes[0x80]), (4, 2, 3));
        assert_eq!((streaming.mappings().errors(), streaming.mappings().live().count()), (0, 0));
    }
}

#[test]
#[cfg_attr(miri, ignore = "the machine stands for hardware, which no borrow keeps out")]
fn the_cpus_last_stores_survive_its_unmap() {
    let machine = machine(Adversary::Worst, 0);
    let kernel = Kernel::new(&machine);
    let mut slots = [None; 2];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    let stream =
        DmaStream::<FromDevice, _>::map(&mut streaming, &kernel.view, &device(), buffer(&machine, 0, 0x40))
            .unwrap();
    machine.device_write(PHYS, &[2; 0x40]);
    let mut stream = stream.sync_for_cpu(&mut streaming, &kernel, &device());
    stream[0] = 9;
    stream.unmap(&mut streaming, &device());
    assert_eq!(buffer(&machine, 0, 0x40)[..2], [9, 2]);
    assert_eq!((streaming.mappings().errors(), streaming.mappings().live().count()), (0, 0));
}

#[test]
#[cfg_attr(miri, ignore = "the machine stands for hardware, which no borrow keeps out")]
fn shared_lines_are_refused_where_they_would_lose_data() {
    let machine = machine(Adversary::Worst, 0);
    let kernel = Kernel::new(&machine);
    let mut streaming = Streaming::new(Mappings::new(&mut []));
    for (offset, len) in [(0x20, 0x40), (0, 0x20), (0x140, 1)] {
        let bytes = buffer(&machine, offset, len);
        let phys = PhysAddr::new(PHYS.get() + offset);
        let error =
            DmaStream::<FromDevice, _>::map(&mut streaming, &kernel.view, &device(), bytes).unwrap_err();
        assert_eq!(error, DmaError::SharesLine { phys, size: len as u32, line: 64 });
        let line = format!("buffer {phys}+{len} shares a cache line of 64 bytes with other data");
        assert_eq!(error.to_string(), line);
        let bytes = buffer(&machine, offset, len);
        assert!(DmaStream::<Bidirectional, _>::map(&mut streaming, &kernel.view, &device(), bytes).is_err());
        let bytes = buffer(&machine, offset, len);
        let read_only =
            DmaStream::<ToDevice, _>::map(&mut streaming, &kernel.view, &device(), bytes).unwrap();
        read_only.unmap(&mut streaming, &kernel.view, &device());
        let snooping = Device { coherent: true, ..device() };
        let bytes = buffer(&machine, offset, len);
        let stream = DmaStream::<FromDevice, _>::map(&mut streaming, &kernel.view, &snooping, bytes).unwrap();
        stream.unmap(&mut streaming, &kernel.view, &snooping);
    }
}

#[test]
#[cfg_attr(miri, ignore = "the machine stands for hardware, which no borrow keeps out")]
fn a_forgotten_unmap_is_found_with_its_place() {
    let machine = machine(Adversary::Kind, 0);
    let kernel = Kernel::new(&machine);
    let mut slots = [None; 2];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    let bytes = buffer(&machine, 0, 0x40);
    let (line, stream) =
        (line!(), DmaStream::<ToDevice, _>::map(&mut streaming, &kernel.view, &device(), bytes).unwrap());
    let (_, lines) = capture_with(|| drop(stream));
    let place = format!("{}:{}", file!(), line);
    let expected = format!(
        "DMA-API: mapping of 64 bytes at {PHYS} was dropped without unmap [mapped with DMA_TO_DEVICE] [mapped at {place}:19]"
    );
    assert_eq!(lines, [(Level::Error, expected)]);
    let left = streaming.mappings().live().next().unwrap();
    assert_eq!((left.at.file(), left.at.line(), left.device), (file!(), line, "5000000.test"));
}
