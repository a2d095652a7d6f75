//! What virtio drivers do: share odd buffers, with a device that sees the caches and with one that doesn't.

use crate::TestDma;
use crate::rig::{BASE, Block, Kernel, machine};
use dma::virtio::VirtioDma;
use dma::{Config, Device, Dma, DmaDirection, DmaError, Mappings, Streaming};
use hal::LinearMap;
use mm::Gfp;
use std::ptr::NonNull;
use testkit::{Adversary, log::capture_with};
use types::PhysAddr;

fn device(coherent: bool) -> Device<'static, usize> {
    Device { coherent, ..Device::new("a003e00.virtio_mmio") }
}

/// Two bytes in the middle of a line, with neighbours that the CPU writes meanwhile; and bytes outside of the map.
#[test]
fn odd_buffers_keep_their_data_and_their_neighbours() {
    let machine = machine(Adversary::Worst, 3);
    let mut kernel = Kernel::new(&machine);
    let mut streaming = Streaming::new(Mappings::new(&mut []));
    let (mut buffers, mut bounces) = ([const { None }; 1], [const { None }; 2]);
    let mut virtio: VirtioDma<'_, usize, Block> = VirtioDma::new(device(false), &mut buffers, &mut bounces);
    let line = PhysAddr::new(BASE + 0x2_0000);
    machine.cpu_write(line, &[1; 64]);
    let mut outside = [7u8; 5];
    let inside =
        NonNull::slice_from_raw_parts(NonNull::new(machine.ptr(PhysAddr::new(line.get() + 30))).unwrap(), 2);
    for (buffer, len) in [(inside, 2), (NonNull::from(&mut outside[..]), 5)] {
        let direction = DmaDirection::Bidirectional;
        // SAFETY: valid, and only the device touches it until it is unshared.
        let addr =
            unsafe { virtio.share(&mut streaming, &kernel.view, &mut kernel.pages, buffer, direction) }
                .unwrap();
        assert_eq!(virtio.bounced(), 1);
        let mut seen = vec![0; len];
        machine.device_read(PhysAddr::new(addr.get()), &mut seen);
        assert!(seen.iter().all(|&byte| byte == seen[0] && byte != 0));
        machine.cpu_write(line, &[2; 30]);
        machine.device_write(PhysAddr::new(addr.get()), &vec![9; len]);
        // SAFETY: as it was shared.
        unsafe { virtio.unshare(&mut streaming, &kernel.view, &mut kernel.pages, addr, buffer, direction) };
        assert_eq!(virtio.bounced(), 0);
    }
    let mut seen = [0; 64];
    machine.cpu_read(line, &mut seen);
    assert_eq!((seen[29], seen[30], seen[31], seen[32]), (2, 9, 9, 1));
    assert_eq!(outside, [9; 5]);
    kernel.check_idle();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn aligned_snooped_and_read_only_buffers_are_not_copied() {
    let machine = machine(Adversary::Kind, 3);
    let mut kernel = Kernel::new(&machine);
    let mut streaming = Streaming::new(Mappings::new(&mut []));
    let share = |kernel: &mut Kernel<'_>, streaming: &mut Streaming<'_>, coherent, offset, len, direction| {
        let (mut buffers, mut bounces) = ([const { None }; 1], [const { None }; 1]);
        let mut virtio: VirtioDma<'_, usize, Block> =
            VirtioDma::new(device(coherent), &mut buffers, &mut bounces);
        let phys = PhysAddr::new(BASE + 0x2_0000 + offset);
        let buffer = NonNull::slice_from_raw_parts(NonNull::new(kernel.machine.ptr(phys)).unwrap(), len);
        // SAFETY: valid, and nobody touches it.
        let addr =
            unsafe { virtio.share(streaming, &kernel.view, &mut kernel.pages, buffer, direction) }.unwrap();
        let copied = virtio.bounced() == 1;
        assert_eq!(copied, addr.get() != phys.get());
        // SAFETY: as it was shared.
        unsafe { virtio.unshare(streaming, &kernel.view, &mut kernel.pages, addr, buffer, direction) };
        copied
    };
    let from = DmaDirection::FromDevice;
    assert!(!share(&mut kernel, &mut streaming, false, 0, 128, from));
    assert!(!share(&mut kernel, &mut streaming, true, 1, 1, from));
    assert!(!share(&mut kernel, &mut streaming, false, 1, 1, DmaDirection::ToDevice));
    assert!(share(&mut kernel, &mut streaming, false, 64, 63, from));
    assert_eq!(kernel.leaked(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn queues_and_shortages() {
    let machine = machine(Adversary::Worst, 3);
    let mut kernel = Kernel::new(&machine);
    let mut dma: TestDma<'_> = Dma::new(Config::default());
    let mut streaming = Streaming::new(Mappings::new(&mut []));
    let (mut buffers, mut bounces) = ([const { None }; 1], [const { None }; 1]);
    let mut virtio = VirtioDma::new(device(false), &mut buffers, &mut bounces);
    let mut alloc =
        |kernel: &mut Kernel<'_>, size| dma.alloc_coherent(kernel, &device(false), size, Gfp::KERNEL);
    let (three, one) = (alloc(&mut kernel, 0x3000).unwrap(), alloc(&mut kernel, 0x1000).unwrap());
    let (addr, cpu) = virtio.keep(three).unwrap();
    assert_eq!(machine.phys(cpu.as_ptr()).map(PhysAddr::get), Some(addr.get()));
    let (full, one) = virtio.keep(one).unwrap_err();
    assert_eq!(full, DmaError::TableFull { slots: 1 });
    dma.free(&mut kernel, one);
    let (taken, lines) = capture_with(|| virtio.take(cpu, 2));
    assert!(taken.is_none() && lines[0].1.starts_with("Freeing invalid buffer"));
    dma.free(&mut kernel, virtio.take(cpu, 3).unwrap());
    let mut bytes = [[0u8; 3]; 2];
    let [one, two] = bytes.each_mut().map(|bytes| NonNull::from(&mut bytes[..]));
    let direction = DmaDirection::FromDevice;
    // SAFETY: valid, and nobody touches them.
    let addr =
        unsafe { virtio.share(&mut streaming, &kernel.view, &mut kernel.pages, one, direction) }.unwrap();
    // SAFETY: as above.
    let full =
        unsafe { virtio.share(&mut streaming, &kernel.view, &mut kernel.pages, two, direction) }.unwrap_err();
    assert_eq!(full, DmaError::TableFull { slots: 1 });
    // SAFETY: as it was shared.
    unsafe { virtio.unshare(&mut streaming, &kernel.view, &mut kernel.pages, addr, one, direction) };
    kernel.check_idle();
}
