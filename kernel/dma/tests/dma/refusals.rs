//! Coherent buffers that are not to be had, or can't go back: what is said, and that nothing is lost.

use crate::coherent::{CONFIG, HIGH, device};
use crate::rig::{Block, Kernel, MAPPINGS, machine};
use dma::{BusRange, Device, Dma};
use log::Level;
use mm::Gfp;
use testkit::{Adversary, log::capture_with};
use types::{PAGE_SIZE, PhysAddr};

#[test]
fn a_buffer_that_stays_mapped_stays_out_of_use() {
    let machine = machine(Adversary::Kind, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(CONFIG);
    let high = Device { area: HIGH, ..device() };
    let buffer = dma.alloc_coherent(&mut kernel, &high, 2 * PAGE_SIZE, Gfp::KERNEL).unwrap();
    kernel.mapped.clear();
    let ((), lines) = capture_with(|| dma.free(&mut kernel, buffer));
    let line = "DMA: 0x90010000+8192 stays uncached and out of use: ";
    assert!(matches!(&lines[..], [(Level::Error, text)] if text.starts_with(line)), "{lines:?}");
    assert_eq!(kernel.leaked(), 2);
}

/// Each way to fail, with its line in the log.
#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn every_error_says_what_and_why() {
    let machine = machine(Adversary::Kind, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(CONFIG);
    let mut fail = |kernel: &mut Kernel<'_>, device: &Device<'_, usize>, size, gfp| {
        let (result, lines) = capture_with(|| dma.alloc_coherent(kernel, device, size, gfp));
        let error = result.unwrap_err();
        let expected = format!("{}: dma_alloc_coherent of {size} bytes failed: {error}", device.name);
        let quiet = capture_with(|| dma.alloc_coherent(kernel, device, size, gfp | Gfp::__NOWARN)).1;
        assert_eq!((lines, quiet), (vec![(Level::Warn, expected)], vec![]));
        error.to_string()
    };
    assert_eq!(fail(&mut kernel, &device(), 0, Gfp::KERNEL), "0 bytes asked for");
    assert_eq!(fail(&mut kernel, &device(), u32::MAX, Gfp::KERNEL), "4294967295 bytes are too many");
    let dead = Device { coherent_mask: 0, ..device() };
    assert_eq!(fail(&mut kernel, &dead, 1, Gfp::KERNEL), "coherent DMA mask is unset");
    let narrow = Device { coherent_mask: 0x00ff_ffff, ..device() };
    let line = "DMA addr 0x800c0000+4096 overflow (mask ffffff, bus limit 0).";
    assert_eq!(fail(&mut kernel, &narrow, 1, Gfp::KERNEL), line);
    let mut elsewhere = device();
    elsewhere.ranges.add(BusRange { cpu: 0, bus: 0xc000_0000, size: 0x1000_0000 }).unwrap();
    let line = "DMA addr 0xffffffff+4096 overflow (mask ffffffff, bus limit cfffffff).";
    assert_eq!(fail(&mut kernel, &elsewhere, 1, Gfp::KERNEL), line);
    assert_eq!(fail(&mut kernel, &device(), 0x4_1000, Gfp::KERNEL), "no mem in CMA area for 65 pages");
    kernel.areas.default = None;
    let line = "out of memory: order:0, mode:0xa20(GFP_ATOMIC)";
    assert_eq!(fail(&mut kernel, &device(), 0x4_1000, Gfp::ATOMIC), line);
    kernel.areas.default = HIGH;
    kernel.mapped = vec![(PhysAddr::new(0), 0); MAPPINGS];
    assert_eq!(fail(&mut kernel, &device(), 0x8_0000, Gfp::KERNEL), "no mem in CMA area for 128 pages");
    kernel.pages.0.clear();
    let line = "vmap allocation for size 4096 failed: use vmalloc=<size> to increase size";
    assert_eq!(fail(&mut kernel, &device(), 1, Gfp::KERNEL), line);
    kernel.areas.default = Some(0);
    kernel.areas.free[0] = (0x8_0080..0x8_0088).collect();
    let line = "out of memory: order:0, mode:0xa20(GFP_ATOMIC)";
    assert_eq!(fail(&mut kernel, &device(), 4096, Gfp::KERNEL), line, "no page for a second-level table");
    assert_eq!(kernel.areas.free[0].len(), 8, "nothing was lost on the way");
    let mut dma: Dma<'_, Block> = Dma::new(CONFIG);
    kernel.areas.default = None;
    let (result, lines) = capture_with(|| dma.init_atomic_pool(&mut kernel, &mut []));
    assert!(result.is_err());
    let line = "DMA: failed to allocate 16 KiB pool for atomic coherent allocation";
    assert_eq!(lines, [(Level::Error, line.into())]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn what_the_kernel_stands_on_is_not_remapped() {
    let machine = machine(Adversary::Kind, 0);
    let mut kernel = Kernel::new(&machine);
    let mut dma = Dma::new(CONFIG);
    let first = types::VirtAddr::new(crate::rig::PAGE_OFFSET);
    assert!(kernel.table.keep(first, types::VirtAddr::new(crate::rig::PAGE_OFFSET + 0xffff)));
    let error = dma.alloc_coherent(&mut kernel, &device(), 1, Gfp::KERNEL | Gfp::__NOWARN).unwrap_err();
    assert_eq!(
        error.to_string(),
        "can't change the linear mapping: 0xc0000000 is needed while page tables change"
    );
    assert_eq!(kernel.leaked(), 0);
}
