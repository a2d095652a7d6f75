//! The guards that one turns on, over real memory.

use super::world::Machine;
use crate::pages::*;
use crate::slab::{CacheSpec, Caller, Slab, SlabOptions};
use crate::{AllocError, Gfp, Page, PageSource, PageState};
use core::mem::MaybeUninit;
use std::{string::String, vec, vec::Vec};
use testkit::Ram;
use types::{Order, PAGE_SIZE, Pfn, PhysAddr, PhysRange};

/// Few, because an interpreter looks at each byte of them.
const PAGES: u32 = 32;

/// A little memory, and an allocator over it.
fn with_ram(test: impl FnOnce(&mut PageAllocator<'_>, &Ram, &mut [OwnerRecord])) {
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

fn dirty_page(pages: &mut PageAllocator<'_>, ram: &Ram) -> Pfn {
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

fn poison_errors(pages: &mut PageAllocator<'_>) -> Vec<String> {
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
        let lines = poison_errors(pages);
        assert_eq!(lines[0], "pagealloc: memory corruption");
        assert!(
            lines[1].ends_with("123: 01 02 03                                         ..."),
            "{}",
            lines[1]
        );
        assert!(lines[2].contains(&std::format!("pfn:{:#x}", pfn.get())), "{}", lines[2]);
        assert_eq!(lines[3], "page dumped because: pagealloc: corrupted page details");
        assert_eq!(lines.len(), 4);
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
        pages.set_fail_page_alloc(crate::FaultAttr::parse("1,100,0,2").unwrap());
        let mut ask = |gfp| {
            pages.alloc_pages(gfp, Order::ZERO, PageState::Kernel).map(|frames| pages.free_pages(frames))
        };
        assert_eq!(ask(GFP), Err(AllocError::Injected));
        assert_eq!(ask(GFP | Gfp::__NOFAIL), Ok(()));
        assert_eq!(ask(GFP), Err(AllocError::Injected));
        assert_eq!(ask(GFP), Ok(()));
    });
}

/// Blocks made of a block have its owner.
#[test]
fn owners_are_split_with_their_blocks() {
    with_ram(|pages, _, _| {
        pages.set_page_owner(vec![OwnerRecord::default(); PAGES as usize].leak());
        let orders = |pages: &PageAllocator<'_>| {
            let live = pages.owners.iter().filter(|record| record.live);
            live.map(|record| record.order).collect::<Vec<_>>()
        };
        let run = pages.alloc_pages_exact(GFP, 3, PageState::Kernel).unwrap();
        assert_eq!(orders(pages), [1, 0]);
        pages.free_pages_exact(run);
        let block = pages.alloc_pages(GFP, Order::new(2).unwrap(), PageState::Kernel).unwrap();
        let parts: Vec<_> = pages.split_page(block).unwrap().collect();
        assert_eq!(orders(pages), [0; 4]);
        parts.into_iter().for_each(|part| pages.free_pages(part));
        assert_eq!(orders(pages), []);
    });
}

/// What reports say of slabs is what there is, whoever asks.
#[test]
fn reclaimable_slabs_are_counted_where_they_come_and_go() {
    with_ram(|pages, ram, _| {
        let mut slab = Slab::new(ram, SlabOptions::default());
        let spec = CacheSpec { reclaimable: true, ..CacheSpec::new("names", 100) };
        let (cache, who) = (slab.cache_create(&spec).unwrap(), Caller::new(0, 0).unwrap());
        let object = slab.cache_alloc(pages, who, &cache, GFP).unwrap();
        assert_eq!(pages.stat().nr_slab_reclaimable, slab.totals().reclaimable);
        let lines = testkit::log::capture(|| pages.buddy().show_mem());
        assert!(lines.iter().any(|line| line.1 == " slab_reclaimable:1 slab_unreclaimable:0"), "{lines:?}");
        slab.cache_free(pages, who, &cache, object.as_ptr()).unwrap();
        slab.cache_destroy(pages, cache).unwrap();
        assert_eq!(pages.stat().nr_slab_reclaimable, 0);
    });
}

/// Once the last failure is used up, requests go the short way again.
#[test]
fn used_up_failures_slow_nobody_down() {
    Machine::simple(32).run(|world| {
        let pages = &mut world.pages;
        pages.set_fail_page_alloc(crate::FaultAttr::parse("1,100,0,2").unwrap());
        for left in [1, 0] {
            assert!(!pages.buddy().is_hot());
            let failed = pages.alloc_pages(GFP, Order::ZERO, PageState::Kernel);
            assert_eq!((failed, pages.fail_page_alloc().times), (Err(AllocError::Injected), left));
        }
        assert!(pages.buddy().is_hot());
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
    let backtrace = |trace: &mut [u32]| trace[..2].copy_from_slice(&[0xc000_1234, 0xc000_5678]);
    let hooks = Hooks { backtrace, now: || 77, ..Hooks::default() };
    let mut pages = PageAllocator::new(setup, &mut metadata, &ram, hooks).unwrap();
    pages.set_page_owner(&mut records);
    let first = pages.alloc_pages(GFP, Order::ZERO, PageState::Kernel).unwrap();
    let second = pages.alloc_pages(GFP, Order::MAX, PageState::Kernel);
    assert!(second.is_err(), "there is no block of 4 MiB");
    let second = pages.alloc_pages(GFP | Gfp::__COMP, Order::new(2).unwrap(), PageState::Slab).unwrap();
    assert_eq!(
        owned(&pages),
        [
            text_of(first.pfn(), 0, "0x22cc0(GFP_KERNEL|__GFP_NOWARN|__GFP_MEMALLOC)", "0x0("),
            text_of(
                second.pfn(),
                2,
                "0x62cc0(GFP_KERNEL|__GFP_NOWARN|__GFP_COMP|__GFP_MEMALLOC)",
                "0x10200(slab|head|"
            )
        ]
    );
    let pfn = first.pfn();
    pages.free_pages(first);
    assert_eq!(owned(&pages).len(), 1, "a freed block is nobody's");
    assert!(pages.owner_record(pfn).is_some_and(|record| !record.live && record.free_ts == 77));
    let lines = testkit::log::capture(|| pages.free_pages(crate::Frames::from_raw(pfn, Order::ZERO)));
    let lines: Vec<_> = lines.into_iter().map(|line| line.1).collect();
    let tracked = [
        "page_owner tracks the page as freed",
        "page last allocated via order 0, migratetype Unmovable, gfp_mask \
         0x22cc0(GFP_KERNEL|__GFP_NOWARN|__GFP_MEMALLOC), pid 0, tgid 0 (swapper), ts 77, free_ts 77",
        " [<c0001234>]",
        " [<c0005678>]",
        "page last free stack trace:",
        " [<c0001234>]",
        " [<c0005678>]",
    ];
    assert_eq!(lines[3..], tracked);
    assert_eq!(pages.page(second.pfn()).unwrap().flags(), crate::PageFlags::COMPOUND);
    pages.free_pages(second);
    assert_eq!(owned(&pages), Vec::<String>::new());
}

/// The blocks that `/sys/kernel/debug/page_owner` shows.
fn owned(pages: &PageAllocator<'_>) -> Vec<String> {
    let (mut from, mut blocks) = (0, Vec::new());
    loop {
        let mut text = String::new();
        let Some(next) = pages.write_owned(from, &mut text) else { return blocks };
        blocks.push(text);
        from = next;
    }
}

fn text_of(pfn: Pfn, order: u8, mask: &str, flags: &str) -> String {
    std::format!(
        "Page allocated via order {order}, mask {mask}, pid 0, tgid 0 (swapper), ts 77 ns, free_ts 0 ns\n\
         PFN {pfn} type Unmovable Block {block} type Unmovable Flags {flags}zone=1)\n \
         [<c0001234>]\n [<c0005678>]\n\n",
        pfn = pfn.get(),
        block = pfn.get() / 1024,
    )
}
