//! The guards that one turns on, over real memory.

use crate::pages::*;
use crate::{AllocError, Gfp, Page, PageSource, PageState};
use core::mem::MaybeUninit;
use std::{string::String, vec, vec::Vec};
use testkit::Ram;
use types::{Order, PAGE_SIZE, Pfn, PhysAddr, PhysRange};

/// Few, because an interpreter looks at each byte of them.
const PAGES: u32 = 32;

/// A little memory, and an allocator over it.
fn with_ram(test: impl FnOnce(&mut PageAllocator<'_, &Ram>, &Ram, &mut [OwnerRecord])) {
    let ram = Ram::new(&[(0x8000_0000, PAGES << 12)]);
    let memory = [PhysRange::new(PhysAddr::new(0x8000_0000), PAGES << 12)];
    let mut metadata: Vec<MaybeUninit<Page>> = Vec::new();
    metadata.resize_with(PAGES as usize, MaybeUninit::uninit);
    let mut records = vec![OwnerRecord::default(); PAGES as usize];
    let setup = Setup {
        memory: memory.iter().copied(),
        free: memory.iter().copied(),
        dma_end: None,
        highmem_start: None,
        cpus: 1,
    };
    let mut pages = PageAllocator::new(setup, &mut metadata, &ram, Hooks::default()).unwrap();
    test(&mut pages, &ram, &mut records);
    pages.buddy().validate().unwrap();
}

fn page_of(ram: &Ram, pfn: Pfn) -> [u8; PAGE_SIZE as usize] {
    let mut bytes = [0; PAGE_SIZE as usize];
    ram.read(pfn.addr(), &mut bytes);
    bytes
}

const GFP: Gfp = Gfp::KERNEL.union(Gfp::__NOWARN).union(Gfp::__MEMALLOC);

fn dirty_page(pages: &mut PageAllocator<'_, &Ram>, ram: &Ram) -> Pfn {
    let frames = pages.alloc_pages(GFP, Order::ZERO, PageState::Kernel).unwrap();
    let pfn = frames.pfn();
    ram.write(pfn.addr(), &[0x5a; PAGE_SIZE as usize]);
    pages.free_pages(frames);
    pfn
}

#[test]
fn zeroed_on_request_and_by_guard() {
    with_ram(|pages, ram, _| {
        let pfn = dirty_page(pages, ram);
        assert_eq!(page_of(ram, pfn), [0x5a; 4096]);
        let frames = pages.alloc_pages(GFP | Gfp::__ZERO, Order::ZERO, PageState::Kernel).unwrap();
        assert_eq!((frames.pfn(), page_of(ram, pfn)), (pfn, [0; 4096]));
        pages.free_pages(frames);
        pages.set_guards(Guards { init_on_alloc: true, ..Guards::default() });
        let pfn = dirty_page(pages, ram);
        let frames = pages.alloc_pages(GFP, Order::ZERO, PageState::Kernel).unwrap();
        assert_eq!((frames.pfn(), page_of(ram, pfn)), (pfn, [0; 4096]));
        pages.free_pages(frames);
        pages.set_guards(Guards { init_on_free: true, ..Guards::default() });
        let pfn = dirty_page(pages, ram);
        assert_eq!(page_of(ram, pfn), [0; 4096]);
    });
}

fn poison_errors(pages: &mut PageAllocator<'_, &Ram>) -> Vec<String> {
    let lines = testkit::log::capture(|| {
        // All of memory, so the page that was written to is among them.
        while pages.alloc_pages(GFP, Order::ZERO, PageState::Kernel).is_ok() {}
    });
    lines.into_iter().map(|line| line.1).collect()
}

#[test]
fn a_write_after_free_is_found() {
    with_ram(|pages, ram, _| {
        pages.set_guards(Guards { page_poison: true, ..Guards::default() });
        let pfn = dirty_page(pages, ram);
        assert_eq!(page_of(ram, pfn), [PAGE_POISON; 4096]);
        ram.write(PhysAddr::new(pfn.addr().get() + 0x123), &[1, 2, 3]);
        let start = pfn.addr().get() + 0x123;
        let expected = std::format!(
            "pagealloc: bytes {start:#010x}-{:#010x} were written while free: found 01",
            start + 2
        );
        assert_eq!(poison_errors(pages), ["pagealloc: memory corruption", &expected]);
    });
}

#[test]
fn a_flipped_bit_is_told_from_a_write() {
    with_ram(|pages, ram, _| {
        pages.set_guards(Guards { page_poison: true, ..Guards::default() });
        ram.write(PhysAddr::new(0x8001_0040), &[PAGE_POISON ^ 0x10]);
        assert_eq!(poison_errors(pages)[0], "pagealloc: single bit error");
    });
}

#[test]
fn untouched_poison_is_no_error() {
    with_ram(|pages, ram, _| {
        pages.set_guards(Guards { page_poison: true, ..Guards::default() });
        dirty_page(pages, ram);
        assert_eq!(poison_errors(pages), Vec::<String>::new());
    });
}

#[test]
fn injected_failures() {
    with_ram(|pages, _, _| {
        pages.set_fail_page_alloc(crate::FaultAttr::parse("1,100,0,2").ok());
        let mut ask = |gfp| {
            pages.alloc_pages(gfp, Order::ZERO, PageState::Kernel).map(|frames| pages.free_pages(frames))
        };
        assert_eq!(ask(GFP), Err(AllocError::Injected));
        assert_eq!(ask(GFP | Gfp::__NOFAIL), Ok(()));
        assert_eq!(ask(GFP), Err(AllocError::Injected));
        assert_eq!(ask(GFP), Ok(()));
    });
}

#[test]
fn owners_are_recorded() {
    let ram = Ram::new(&[(0x8000_0000, PAGES << 12)]);
    let memory = [PhysRange::new(PhysAddr::new(0x8000_0000), PAGES << 12)];
    let mut metadata: Vec<MaybeUninit<Page>> = Vec::new();
    metadata.resize_with(PAGES as usize, MaybeUninit::uninit);
    let mut records = vec![OwnerRecord::default(); PAGES as usize];
    let (free, dma_end, highmem_start, cpus) = (memory.iter().copied(), None, None, 1);
    let setup = Setup { memory: memory.iter().copied(), free, dma_end, highmem_start, cpus };
    let mut pages = PageAllocator::new(setup, &mut metadata, &ram, Hooks::default()).unwrap();
    pages.set_page_owner(&mut records);
    pages.set_call_site(0xc000_1234);
    let first = pages.alloc_pages(GFP, Order::ZERO, PageState::Kernel).unwrap();
    let second = pages.alloc_pages(GFP, Order::MAX, PageState::Kernel);
    assert!(second.is_err(), "there is no block of 4 MiB");
    let second = pages.alloc_pages(GFP | Gfp::__COMP, Order::new(2).unwrap(), PageState::Slab).unwrap();
    let expected = OwnerRecord { site: 0xc000_1234, gfp: GFP.bits(), serial: 1, order: 0, live: true };
    assert_eq!(pages.owner_record(first.pfn()), Some(&expected));
    let (pfn, order) = (first.pfn(), pages.owner_record(second.pfn()).unwrap().order);
    assert_eq!(order, 2);
    pages.free_pages(first);
    assert_eq!(pages.owner_record(pfn), Some(&OwnerRecord { live: false, ..expected }));
    assert!(pages.owner_record(second.pfn()).unwrap().live);
    let lines = testkit::log::capture(|| pages.free_pages(crate::Frames::from_raw(pfn, Order::ZERO)));
    assert_eq!(
        lines[1].1,
        "page_owner tracks the page as freed; last allocated via order 0, migratetype Unmovable, \
         gfp_mask 0x22cc0(GFP_KERNEL|__GFP_NOWARN|__GFP_MEMALLOC), caller c0001234, serial 1"
    );
    assert_eq!(pages.page(second.pfn()).unwrap().flags(), crate::PageFlags::COMPOUND);
    pages.free_pages(second);
}
