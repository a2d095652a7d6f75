//! Small objects, buffers by address, and buffers in an address space.

use crate::TestDma;
use crate::rig::{Block, Kernel, machine};
use arch_armv7::pgtable::UserTable;
use dma::Pages;
use dma::{Config, Device, Dma, DmaError, DmaPool, Handles, PoolBlock, PoolError};
use hal::{Asid, MemAttr, PageTable, SpaceTable};
use log::Level;
use mm::Gfp;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ptr::NonNull;
use testkit::{Adversary, log::capture_with};
use types::{PAGE_SIZE, PhysAddr, VirtAddr};

fn device() -> Device<'static, usize> {
    Device::new("5000000.test")
}

proptest! {
    #![proptest_config(testkit::cases(64, 2))]

    /// Blocks are aligned, don't cross the boundary, don't overlap, and hold what is written into them.
    #[test]
    #[cfg_attr(miri, ignore = "thousands of pages and walks")]
    fn blocks_against_a_set(
        size in 1..3000u32,
        align in 0..9u32,
        boundary in prop::option::of(5..13u32),
        steps in prop::collection::vec((any::<bool>(), any::<usize>()), 1..if cfg!(miri) { 8 } else { 60 })
    ) {
        let machine = machine(Adversary::Worst, 1);
        let mut kernel = Kernel::new(&machine);
        let mut dma: TestDma<'_> = Dma::new(Config::default());
        let mut pages: [_; 4] = [const { None }; 4];
        let (align, boundary) = (1 << align, boundary.map_or(0, |order| 1 << order));
        let Ok(mut pool) = DmaPool::new("test", size, align, boundary, &mut pages) else {
            prop_assert!(boundary != 0 && boundary < size.next_multiple_of(align.max(4)));
            return Ok(());
        };
        let mut blocks: Vec<(PoolBlock, u32)> = vec![];
        let mut taken = BTreeSet::new();
        for (n, (alloc, which)) in steps.into_iter().enumerate() {
            if alloc {
                match pool.alloc(&mut dma, &mut kernel, &device(), Gfp::KERNEL) {
                    Ok(mut block) => {
                        let addr = block.addr().get();
                        prop_assert_eq!(addr % align, 0);
                        prop_assert!(boundary == 0 || addr / boundary == (addr + size - 1) / boundary);
                        prop_assert!((addr..addr + size).all(|byte| taken.insert(byte)), "overlap");
                        prop_assert_eq!(block.read_u32(0), 0);
                        block.write_u32(0, n as u32);
                        blocks.push((block, n as u32));
                    }
                    Err(error) => prop_assert_eq!(error, DmaError::TableFull { slots: 4 }),
                }
            } else if !blocks.is_empty() {
                let (block, word) = blocks.swap_remove(which % blocks.len());
                let addr = block.addr().get();
                taken.retain(|byte| !(addr..addr + size).contains(byte));
                prop_assert_eq!(block.read_u32(0), word);
                pool.free(block).unwrap();
            }
            for (block, word) in &blocks {
                let mut seen = [0; 4];
                machine.device_read(PhysAddr::new(block.addr().get()), &mut seen);
                prop_assert_eq!(u32::from_le_bytes(seen), *word);
            }
        }
        blocks.into_iter().for_each(|(block, _)| pool.free(block).unwrap());
        pool.destroy(&mut dma, &mut kernel).unwrap();
        kernel.check_idle();
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn a_page_is_used_to_the_full() {
    let machine = machine(Adversary::Kind, 1);
    let mut kernel = Kernel::new(&machine);
    let mut dma: TestDma<'_> = Dma::new(Config::default());
    for (size, boundary, expected) in
        [(64, 0, 64), (1000, 0, 4), (48, 256, 80), (PAGE_SIZE, 0, 1), (5000, 0, 1)]
    {
        let mut pages = [const { None }; 1];
        let mut pool = DmaPool::new("test", size, 4, boundary, &mut pages).unwrap();
        let mut blocks = vec![];
        while let Ok(block) = pool.alloc(&mut dma, &mut kernel, &device(), Gfp::KERNEL) {
            blocks.push(block);
        }
        assert_eq!(blocks.len(), expected, "blocks of {size}");
        blocks.into_iter().for_each(|block| pool.free(block).unwrap());
        pool.destroy(&mut dma, &mut kernel).unwrap();
    }
    assert!(kernel.leaked() <= 1);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn misuse_of_pools_is_reported() {
    let machine = machine(Adversary::Kind, 1);
    let mut kernel = Kernel::new(&machine);
    let mut dma: TestDma<'_> = Dma::new(Config::default());
    let (mut one, mut two) = ([const { None }; 1], [const { None }; 1]);
    let shapes = [(0, 4, 0), (8, 3, 0), (64, 4, 32), (64, 4, 100), (64, 0x2000, 0)];
    for (size, align, boundary) in shapes {
        let error = DmaPool::<Block>::new("bad", size, align, boundary, &mut one).unwrap_err();
        let line = format!("no DMA pool of size {size}, align {}, boundary {boundary} can be", align);
        assert_eq!(error.to_string(), line);
    }
    let mut one = DmaPool::new("one", 64, 64, 0, &mut one).unwrap();
    let mut two = DmaPool::new("two", 64, 64, 0, &mut two).unwrap();
    let mine = one.alloc(&mut dma, &mut kernel, &device(), Gfp::KERNEL).unwrap();
    let other = two.alloc(&mut dma, &mut kernel, &device(), Gfp::KERNEL).unwrap();
    let cpu = other.cpu();
    let (result, lines) = capture_with(|| one.free(other));
    assert_eq!(result, Err(PoolError::Foreign { cpu }));
    assert_eq!(lines, [(Level::Error, format!("dma_pool_free one, {cpu:p} (bad vaddr)"))]);

    // The device writes into a block that was freed.
    let (addr, cpu) = (mine.addr(), mine.cpu());
    one.free(mine).unwrap();
    machine.device_write(PhysAddr::new(addr.get()), &[0xff, 0xff, 0xff, 0x7f]);
    let (block, lines) = capture_with(|| one.alloc(&mut dma, &mut kernel, &device(), Gfp::KERNEL).unwrap());
    assert_eq!(lines, [(Level::Error, format!("dma_pool_alloc one, {cpu:p} (corrupted)"))]);
    let (result, lines) = capture_with(|| one.destroy(&mut dma, &mut kernel));
    assert_eq!(result, Err(PoolError::Busy { blocks: 1 }));
    assert_eq!(lines, [(Level::Error, format!("dma_pool_destroy one, {cpu:p} busy"))]);
    drop(block);
}

#[test]
fn buffers_by_address() {
    let machine = machine(Adversary::Kind, 1);
    let mut kernel = Kernel::new(&machine);
    let mut dma: TestDma<'_> = Dma::new(Config::default());
    let mut slots = [const { None }; 1];
    let mut handles = Handles::new(&mut slots);
    let mut alloc =
        |dma: &mut TestDma<'_>| dma.alloc_coherent(&mut kernel, &device(), 0x2000, Gfp::KERNEL).unwrap();
    let (first, second) = (alloc(&mut dma), alloc(&mut dma));
    let cpu = first.cpu();
    handles.insert(first).unwrap();
    let (error, second) = handles.insert(second).unwrap_err();
    assert_eq!(error.to_string(), "all 1 slots are in use");
    for (cpu, size) in [(cpu, 0x1000), (second.cpu(), 0x2000), (NonNull::<u64>::dangling().cast(), 0x2000)] {
        let (taken, lines) = capture_with(|| handles.take(cpu, size));
        assert!(taken.is_none());
        assert_eq!(lines, [(Level::Warn, format!("Freeing invalid buffer {cpu:p}"))]);
    }
    assert_eq!(handles.iter().count(), 1);
    dma.free(&mut kernel, handles.take(cpu, 0x2000).unwrap());
    dma.free(&mut kernel, second);
    kernel.check_idle();
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pages and walks")]
fn a_buffer_in_an_address_space() {
    let machine = machine(Adversary::Worst, 1);
    let mut kernel = Kernel::new(&machine);
    let mut dma: TestDma<'_> = Dma::new(Config::default());
    let root = kernel.pages.alloc(Gfp::KERNEL, 1, mm::PageState::PageTable).unwrap();
    let mut table = UserTable::new(&machine, &machine, root.pfn(), Asid(4));
    machine.set_user_root(table.root(), Asid(4));
    let buffer = dma.alloc_coherent(&mut kernel, &device(), 0x4000, Gfp::KERNEL).unwrap();
    let virt = VirtAddr::new(0x1230_0000);
    buffer.mmap(&mut kernel, &mut table, virt, 0x1000, 0x2000).unwrap();
    assert_eq!(table.translate(virt).map(|mapping| mapping.attr), Some(MemAttr::NormalNc));
    machine.store(VirtAddr::new(0x1230_1010), &[5; 16], true).unwrap();
    let mut seen = [0; 16];
    machine.device_read(PhysAddr::new(buffer.phys().get() + 0x2010), &mut seen);
    assert_eq!(seen, [5; 16]);
    machine.device_write(PhysAddr::new(buffer.phys().get() + 0x1000), &[6; 16]);
    machine.load(virt, &mut seen, true).unwrap();
    assert_eq!(seen, [6; 16]);
    kernel.check();
    for (offset, len) in [(0x800, 0x1000), (0x1000, 0x4000), (!0xfff, 0x1000)] {
        let error = buffer.mmap(&mut kernel, &mut table, VirtAddr::new(0), offset, len).unwrap_err();
        assert!(matches!(error, DmaError::Remap(hal::MapError::Misaligned { .. })));
    }
    let twice = buffer.mmap(&mut kernel, &mut table, virt, 0, 0x1000).unwrap_err();
    assert!(twice.to_string().contains("is mapped already"), "{twice}");
    let other = dma.alloc_coherent(&mut kernel, &device(), 1, Gfp::KERNEL).unwrap();
    let error = other.munmap(&mut kernel, &mut table, virt, 0x2000).unwrap_err();
    assert_eq!(error, DmaError::Remap(hal::MapError::NotMapped { virt }), "another buffer's");
    let behind = VirtAddr::new(virt.get() + 0x2000);
    other.mmap(&mut kernel, &mut table, behind, 0, 0x1000).unwrap();
    let error = buffer.munmap(&mut kernel, &mut table, virt, 0x3000).unwrap_err();
    assert_eq!(error, DmaError::Remap(hal::MapError::NotMapped { virt: behind }), "another buffer's end");
    assert!(table.translate(virt).is_some() && table.translate(behind).is_some());
    other.munmap(&mut kernel, &mut table, behind, 0x1000).unwrap();
    dma.free(&mut kernel, other);
    buffer.munmap(&mut kernel, &mut table, virt, 0x2000).unwrap();
    assert!(table.translate(virt).is_none() && machine.load(virt, &mut seen, true).is_err());
    dma.free(&mut kernel, buffer);
    assert_eq!(table.into_root(), root.pfn());
    kernel.pages.free(root);
    assert_eq!(kernel.leaked(), 1);
}
