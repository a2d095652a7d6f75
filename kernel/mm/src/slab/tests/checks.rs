//! Each refusal, each promise, one by one.

use super::{Machine, arena::FIRST_PFN, on};
use crate::{
    AllocError, Gfp, PageState,
    slab::{
        CacheSpec, DestroyError, FreeError, KMALLOC_CLASSES, KMALLOC_MAX, MAX_CACHES, MAX_CPUS, ReallocError,
        SlabError, SlabOptions,
    },
};
use core::{alloc::Layout, mem::MaybeUninit, ptr::NonNull};
use hal::LinearMap;
use std::{format, string::String, vec::Vec};
use types::{PAGE_SIZE, Pfn};

fn machine() -> Machine {
    Machine::new(1024, SlabOptions::default())
}

impl Machine {
    fn kmalloc(&mut self, size: usize) -> NonNull<u8> {
        self.slab.kmalloc(&mut self.pages, on(0), size, Gfp::KERNEL).unwrap()
    }

    fn kfree(&mut self, object: *const u8) -> Result<(), FreeError> {
        self.slab.kfree(&mut self.pages, on(0), object)
    }
}

fn addr(object: NonNull<u8>) -> usize {
    object.as_ptr().addr()
}

#[test]
fn double_free_in_every_state_of_the_slab() {
    let mut m = machine();
    let objects: Vec<_> = (0..200).map(|_| m.kmalloc(64)).collect();
    for &object in &objects {
        m.kfree(object.as_ptr()).unwrap();
        let expected = FreeError::DoubleFree { addr: addr(object), cache: "kmalloc-64" };
        let again = m.kfree(object.as_ptr()).unwrap_err();
        // The last object of a slab may have taken its page with it.
        let gone = FreeError::Foreign { addr: addr(object), owner: PageState::Free };
        assert!(again == expected || again == gone, "{again}");
        m.validate();
    }
    m.assert_all_returned();
}

#[test]
fn an_object_freed_on_another_cpu_goes_home() {
    let mut m = machine();
    let objects: Vec<_> =
        (0..300).map(|i| m.slab.kmalloc(&mut m.pages, on(i % MAX_CPUS), 32, Gfp::KERNEL).unwrap()).collect();
    m.validate();
    for (i, object) in objects.iter().enumerate() {
        m.slab.kfree(&mut m.pages, on((i + 1) % MAX_CPUS), object.as_ptr()).unwrap();
        m.validate();
    }
    m.assert_all_returned();
}

#[test]
fn addresses_that_are_nobodys_object() {
    let mut m = machine();
    let object = m.kmalloc(64);
    let inside = object.as_ptr().wrapping_add(8);
    assert!(matches!(m.kfree(inside), Err(FreeError::NotAnObject { cache: "kmalloc-64", .. })));
    // The words behind the last object hold the free bits.
    let slab_end = addr(object) / 4096 * 4096 + 4096 - 64;
    let end = object.as_ptr().with_addr(slab_end);
    assert_eq!(
        m.kfree(end),
        Err(FreeError::NotAnObject { addr: slab_end, cache: "kmalloc-64", offset: 4032 })
    );
    let reserved = m.arena.ptr(Pfn::new(FIRST_PFN).addr());
    let owner = PageState::Reserved;
    assert_eq!(m.kfree(reserved), Err(FreeError::Foreign { addr: reserved.addr(), owner }));
    let stack = 5u32;
    let pointer = (&raw const stack).cast();
    assert!(matches!(m.kfree(pointer), Err(FreeError::NotLinear { .. })));
    assert_eq!(m.kfree(core::ptr::null()), Ok(()));
    m.kfree(object.as_ptr()).unwrap();
    m.assert_all_returned();
}

#[test]
fn large_blocks() {
    let mut m = machine();
    let block = m.kmalloc(20_000);
    assert_eq!(m.slab.ksize(&m.pages, block.as_ptr()), Ok(32_768));
    assert_eq!(addr(block) % 32_768, 0);
    let tail = block.as_ptr().wrapping_add(4096);
    let expected = FreeError::NotAnObject { addr: tail.addr(), cache: "kmalloc", offset: 4096 };
    assert_eq!(m.kfree(tail), Err(expected));
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    let wrong = m.slab.free(&mut m.pages, on(0), block.as_ptr(), layout(70_000));
    assert_eq!(wrong, Err(FreeError::WrongCache { addr: addr(block), named: "kmalloc", owner: "kmalloc" }));
    m.slab.free(&mut m.pages, on(0), block.as_ptr(), layout(30_000)).unwrap();
    assert_eq!(
        m.kfree(block.as_ptr()),
        Err(FreeError::Foreign { addr: addr(block), owner: PageState::Free })
    );
    let too_large = m.slab.kmalloc(&mut m.pages, on(0), KMALLOC_MAX as usize + 1, Gfp::KERNEL);
    assert_eq!(too_large, Err(SlabError::BadSize { size: KMALLOC_MAX + 1 }));
    m.assert_all_returned();
}

#[test]
fn four_mebibytes_at_once() {
    let mut m = Machine::new(2048, SlabOptions::default());
    let block = m.kmalloc(KMALLOC_MAX as usize);
    assert_eq!(m.pages.pages_taken(), 1024);
    m.kfree(block.as_ptr()).unwrap();
    m.assert_all_returned();
}

#[test]
fn nothing_is_something_to_free() {
    let mut m = machine();
    let nothing = m.kmalloc(0);
    assert_eq!(m.slab.ksize(&m.pages, nothing.as_ptr()), Ok(0));
    assert_eq!(m.kfree(nothing.as_ptr()), Ok(()));
    assert_eq!(m.pages.pages_taken(), 0);
}

#[test]
fn sizes_must_match_at_a_sized_free() {
    let mut m = machine();
    let object = m.kmalloc(100);
    let named = Layout::from_size_align(60, 8).unwrap();
    let expected = FreeError::WrongCache { addr: addr(object), named: "kmalloc-64", owner: "kmalloc-128" };
    assert_eq!(m.slab.free(&mut m.pages, on(0), object.as_ptr(), named), Err(expected));
    m.kfree(object.as_ptr()).unwrap();
    m.assert_all_returned();
}

#[test]
fn zeroed_whatever_was_there() {
    let mut m = machine();
    for size in [8usize, 64, 2048, 9000] {
        let dirty = m.kmalloc(size);
        // SAFETY: our object.
        unsafe { dirty.as_ptr().write_bytes(0xff, size) };
        m.kfree(dirty.as_ptr()).unwrap();
        let clean = m.slab.kzalloc(&mut m.pages, on(0), size, Gfp::KERNEL).unwrap();
        // SAFETY: our object, zeroed.
        let bytes = unsafe { core::slice::from_raw_parts(clean.as_ptr(), size) };
        assert!(bytes.iter().all(|&b| b == 0), "{size}");
        m.kfree(clean.as_ptr()).unwrap();
    }
}

#[test]
fn dma_objects_own_their_cache_lines() {
    let mut m = machine();
    for size in 1..=200 {
        let one = m.slab.kmalloc(&mut m.pages, on(0), size, Gfp::KERNEL | Gfp::DMA).unwrap();
        assert!(m.pages.last_gfp.contains(Gfp::__DMA));
        assert_eq!(addr(one) % 64, 0);
        assert_eq!(m.slab.ksize(&m.pages, one.as_ptr()).unwrap() % 64, 0);
        assert_eq!(m.slab.is_dma_safe(&m.pages, one.as_ptr()), Ok(true));
    }
    for (size, safe) in KMALLOC_CLASSES.map(|size| (size, size % 64 == 0)) {
        let object = m.kmalloc(size as usize);
        assert_eq!(m.slab.is_dma_safe(&m.pages, object.as_ptr()), Ok(safe), "{size}");
    }
}

#[test]
fn slabs_are_never_movable_and_keep_their_zone() {
    let mut m = machine();
    let gfp = Gfp::HIGHUSER_MOVABLE | Gfp::__ZERO;
    m.slab.kmalloc(&mut m.pages, on(0), 64, gfp).unwrap();
    let forbidden = Gfp::__MOVABLE | Gfp::__HIGHMEM | Gfp::__RECLAIMABLE;
    assert!(!m.pages.last_gfp.intersects(forbidden));
    m.slab.kmalloc(&mut m.pages, on(0), 64, Gfp::KERNEL | Gfp::__RECLAIMABLE).unwrap();
    assert!(m.pages.last_gfp.contains(Gfp::__RECLAIMABLE));
    assert_eq!(m.slab.totals().reclaimable, 1);
    assert_eq!(m.slab.totals().unreclaimable, 1);
}

#[test]
fn no_pages_is_an_error_and_harms_nothing() {
    let mut m = machine();
    m.pages.allowance = 1;
    let mut objects = Vec::new();
    let error = loop {
        match m.slab.kmalloc(&mut m.pages, on(0), 1024, Gfp::ATOMIC) {
            Ok(object) => objects.push(object),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SlabError::NoPages(AllocError::NoMemory { .. })));
    assert_eq!(objects.len(), 4);
    m.validate();
    for object in objects {
        m.kfree(object.as_ptr()).unwrap();
    }
    m.assert_all_returned();
}

#[test]
fn failslab_fails_as_told() {
    let failslab = crate::FaultAttr::parse("2,100,0,3").unwrap();
    let mut m = Machine::new(64, SlabOptions { failslab, ..SlabOptions::default() });
    let results: Vec<_> =
        (0..10).map(|_| m.slab.kmalloc(&mut m.pages, on(0), 64, Gfp::KERNEL).is_ok()).collect();
    assert_eq!(results, [true, false, true, false, true, false, true, true, true, true]);
    m.validate();
}

#[test]
fn realloc_keeps_the_contents_or_the_object() {
    let mut m = machine();
    let old = m.kmalloc(40);
    // SAFETY: our object.
    unsafe { old.as_ptr().write_bytes(7, 64) };
    let same = m.slab.krealloc(&mut m.pages, on(0), Some(old), 64, Gfp::KERNEL).unwrap();
    assert_eq!(same, old);
    m.pages.allowance = 0;
    let failed = m.slab.krealloc(&mut m.pages, on(0), Some(old), 5000, Gfp::KERNEL);
    assert!(matches!(failed, Err(ReallocError::Alloc(SlabError::NoPages(_)))));
    m.pages.allowance = 9;
    let moved = m.slab.krealloc(&mut m.pages, on(0), Some(old), 5000, Gfp::KERNEL).unwrap();
    // SAFETY: our object; the first 64 bytes were copied.
    let bytes = unsafe { core::slice::from_raw_parts(moved.as_ptr(), 64) };
    assert!(bytes.iter().all(|&b| b == 7));
    let stale = m.slab.krealloc(&mut m.pages, on(0), Some(old), 5000, Gfp::KERNEL);
    let expected = FreeError::DoubleFree { addr: addr(old), cache: "kmalloc-64" };
    assert_eq!(stale, Err(ReallocError::Free(expected)));
    let end = m.slab.krealloc(&mut m.pages, on(0), Some(moved), 0, Gfp::KERNEL).unwrap();
    assert_eq!(addr(end), 16);
    m.assert_all_returned();
}

#[test]
fn constructors_run_once_an_object_and_their_work_stays() {
    fn ctor(bytes: &mut [MaybeUninit<u8>]) {
        bytes.fill(MaybeUninit::new(0x42));
    }
    let options = SlabOptions { init_on_alloc: true, init_on_free: true, ..SlabOptions::default() };
    for options in [SlabOptions::default(), options] {
        let mut m = Machine::new(64, options);
        let spec = CacheSpec { ctor: Some(ctor), ..CacheSpec::new("made", 100) };
        let cache = m.slab.cache_create(&spec).unwrap();
        for round in 0..3u8 {
            let object = m.slab.cache_alloc(&mut m.pages, on(0), &cache, Gfp::KERNEL).unwrap();
            // SAFETY: our object, initialized by the constructor.
            let bytes = unsafe { core::slice::from_raw_parts_mut(object.as_ptr(), 100) };
            assert!(bytes[1..].iter().all(|&b| b == 0x42));
            assert_eq!(bytes[0], if round == 0 { 0x42 } else { round - 1 });
            bytes[0] = round;
            m.slab.cache_free(&mut m.pages, on(0), &cache, object.as_ptr()).unwrap();
        }
        m.slab.cache_destroy(&mut m.pages, cache).unwrap();
        assert_eq!(m.pages.pages_taken(), 0);
    }
}

#[test]
fn a_cache_with_objects_can_not_be_destroyed() {
    let mut m = machine();
    let cache = m.slab.cache_create(&CacheSpec::new("leaky", 200)).unwrap();
    let objects: Vec<_> =
        (0..25).map(|_| m.slab.cache_alloc(&mut m.pages, on(1), &cache, Gfp::KERNEL).unwrap()).collect();
    let DestroyError { cache, objects: left } = m.slab.cache_destroy(&mut m.pages, cache).unwrap_err();
    assert_eq!(left, 25);
    m.validate();
    for object in objects {
        m.slab.cache_free(&mut m.pages, on(0), &cache, object.as_ptr()).unwrap();
    }
    m.slab.cache_destroy(&mut m.pages, cache).unwrap();
    assert_eq!(m.pages.pages_taken(), 0);
}

#[test]
fn the_table_of_caches_fills_up_loudly() {
    let mut m = machine();
    let spec = CacheSpec::new("many", 24);
    let caches: Vec<_> = core::iter::from_fn(|| m.slab.cache_create(&spec).ok()).collect();
    assert_eq!(caches.len(), MAX_CACHES - 39);
    assert_eq!(m.slab.cache_create(&spec), Err(SlabError::TableFull));
    for cache in caches {
        m.slab.cache_destroy(&mut m.pages, cache).unwrap();
    }
    assert!(m.slab.cache_create(&spec).is_ok());
    let bad = CacheSpec { align: 24, ..spec };
    assert_eq!(m.slab.cache_create(&bad), Err(SlabError::BadAlign { align: 24 }));
}

#[test]
fn shrink_gives_the_empty_slabs_back() {
    let mut m = machine();
    let cache = m.slab.cache_create(&CacheSpec::new("some", 1000)).unwrap();
    let objects: Vec<_> =
        (0..16).map(|_| m.slab.cache_alloc(&mut m.pages, on(0), &cache, Gfp::KERNEL).unwrap()).collect();
    let before = m.pages.pages_taken();
    for object in &objects[..15] {
        m.slab.cache_free(&mut m.pages, on(0), &cache, object.as_ptr()).unwrap();
    }
    m.slab.cache_shrink(&mut m.pages, &cache);
    m.validate();
    assert_eq!(before, 4);
    assert_eq!(m.pages.pages_taken(), 1);
}

#[test]
fn slabinfo_to_the_letter() {
    let mut m = machine();
    for _ in 0..3 {
        m.kmalloc(64);
        m.kmalloc(4096);
    }
    let mut text = String::new();
    m.slab.write_slabinfo(&m.pages, &mut text).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "slabinfo - version: 2.1");
    assert_eq!(
        lines[1],
        "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>"
    );
    let line = |name: &str| *lines.iter().find(|l| l.starts_with(name)).unwrap();
    assert_eq!(
        line("kmalloc-64 "),
        "kmalloc-64             3     63     64   63    1 : tunables    0    0    0 : slabdata      1      1      0"
    );
    assert_eq!(
        line("kmalloc-4k "),
        "kmalloc-4k             3      4   4096    4    4 : tunables    0    0    0 : slabdata      1      1      0"
    );
    assert_eq!(lines.len(), 2 + 39);
    let mut meminfo = String::new();
    m.slab.totals().write_meminfo(&mut meminfo).unwrap();
    let kb = 5 * PAGE_SIZE / 1024;
    assert_eq!(
        meminfo,
        format!("Slab:           {kb:8} kB\nSReclaimable:   {:8} kB\nSUnreclaim:     {kb:8} kB\n", 0)
    );
}
