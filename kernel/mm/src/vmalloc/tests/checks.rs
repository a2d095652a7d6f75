//! Each promise and each refusal, one by one.

use super::machine::{END, Machine, START, TASK};
use crate::{
    AllocError, Gfp,
    vmalloc::{Context, Kind, LAZY_MAX_AREAS, Progress, VfreeError, VmallocError},
};
use hal::{MapError, MemAttr, Prot};
use std::{string::String, vec::Vec};
use types::{PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr};

const KIB: u32 = 1024;

impl Machine {
    fn vmalloc(&mut self, size: u32) -> Result<VirtAddr, VmallocError> {
        let (vmalloc, mut with) = self.split();
        vmalloc.vmalloc(&mut with, TASK, size)
    }

    fn vfree(&mut self, addr: VirtAddr) -> Result<(), VfreeError> {
        let (vmalloc, mut with) = self.split();
        vmalloc.vfree(&mut with, TASK, addr)
    }

    fn ioremap(&mut self, base: u32, size: u32) -> Result<VirtAddr, VmallocError> {
        let (vmalloc, mut with) = self.split();
        vmalloc.ioremap(&mut with, TASK, PhysRange::new(PhysAddr::new(base), size))
    }
}

#[test]
fn areas_have_a_guard_page_between_them() {
    let mut m = Machine::new(64);
    let (a, b) = (m.vmalloc(1).unwrap(), m.vmalloc(2 * PAGE_SIZE).unwrap());
    assert_eq!(a, START);
    assert_eq!(b.get(), START.get() + 2 * PAGE_SIZE);
    assert!(!m.table.pages.contains_key(&(a.get() + PAGE_SIZE)));
    m.validate();
}

#[test]
fn large_areas_come_in_large_blocks() {
    let mut m = Machine::new(2048);
    let a = m.vmalloc(1024 * KIB + 128 * KIB + 8 * KIB).unwrap();
    assert_eq!(a.get() % (1 << 20), 0);
    let mapped = |va: VirtAddr| m.table.pages[&va.get()].0;
    assert_eq!(mapped(a) % (1 << 20), 0, "a section");
    let second = VirtAddr::new(a.get() + (1 << 20));
    assert_eq!(mapped(second) % (64 << 10), 0, "a large page");
    assert_eq!(m.table.map_calls, 4, "1 MiB, 64 KiB twice, and a block of two pages");
    m.validate();
    m.vfree(a).unwrap();
    m.assert_empty();
}

#[test]
fn without_large_blocks_it_takes_pages() {
    for scattered in [false, true] {
        let mut m = Machine::new(1024);
        m.pages.largest = 0;
        m.pages.scattered = scattered;
        let a = m.vmalloc(1024 * KIB).unwrap();
        assert_eq!(m.vmalloc.totals().used_pages, 256);
        assert_eq!(m.table.map_calls == 256 / 32, !scattered, "{}", m.table.map_calls);
        m.validate();
        m.vfree(a).unwrap();
        m.assert_empty();
    }
}

#[test]
fn nothing_is_reused_before_the_flush() {
    let mut m = Machine::new(64);
    let a = m.vmalloc(PAGE_SIZE).unwrap();
    let taken = m.pages.inner.pages_taken();
    m.vfree(a).unwrap();
    assert_eq!(m.tlb.0.borrow().flushes, 0);
    assert_eq!(m.pages.inner.pages_taken(), taken, "the page waits too");
    let b = m.vmalloc(PAGE_SIZE).unwrap();
    assert_ne!(a, b);
    assert_eq!(m.vfree(a), Err(VfreeError::NoArea { addr: a }));
    m.vmalloc.purge(&mut m.pages, &m.tlb);
    assert_eq!(m.tlb.0.borrow().flushes, 1);
    assert_eq!(m.vmalloc(PAGE_SIZE).unwrap(), a);
}

#[test]
fn one_flush_serves_many_areas() {
    let mut m = Machine::new(256);
    let rounds = if cfg!(miri) { 1 } else { 10 };
    for _ in 0..rounds * (LAZY_MAX_AREAS + 1) {
        let a = m.vmalloc(PAGE_SIZE).unwrap();
        m.vfree(a).unwrap();
        m.validate();
    }
    assert_eq!(m.tlb.0.borrow().flushes, rounds);
}

#[test]
fn short_memory_and_short_space_flush_early() {
    let mut m = Machine::new(36);
    for _ in 0..8 {
        let a = m.vmalloc(20 * PAGE_SIZE).unwrap();
        m.vfree(a).unwrap();
    }
    assert!(m.tlb.0.borrow().flushes >= 7);
    let mut m = Machine::new(64);
    let half = (END.get() - START.get()) / 2;
    let range = |size| PhysRange::new(PhysAddr::new(0x4000_0000), size);
    for _ in 0..4 {
        let (vmalloc, mut with) = m.split();
        let a =
            vmalloc.vmap_range(&mut with, TASK, range(half + 8192), MemAttr::NormalNc, Prot::WRITE).unwrap();
        vmalloc.vunmap(&mut with, TASK, a).unwrap();
    }
}

#[test]
fn full_space_and_no_memory_are_errors_that_leave_nothing() {
    let mut m = Machine::new(64);
    let size = END.get() - START.get();
    assert_eq!(m.vmalloc(size), Err(VmallocError::NoSpace { size }));
    assert_eq!(m.vmalloc(0), Err(VmallocError::BadSize { pages: 0 }));
    assert_eq!(m.vmalloc(u32::MAX), Err(VmallocError::BadSize { pages: 1 << 20 }));
    assert_eq!(m.vmalloc(0xffff_f000), Err(VmallocError::NoSpace { size: 0xffff_f000 }));
    let error = m.vmalloc(100 * PAGE_SIZE).unwrap_err();
    assert!(matches!(error, VmallocError::NoPages(AllocError::NoMemory { .. })));
    m.assert_empty();
    // Somebody else put a mapping where the fourth page will go.
    let (virt, phys) = (VirtAddr::new(START.get() + 3 * PAGE_SIZE), PhysAddr::new(0x7000_0000));
    m.table.pages.insert(virt.get(), (phys.get(), MemAttr::Normal, Prot::WRITE));
    m.pages.scattered = true;
    assert_eq!(m.vmalloc(8 * PAGE_SIZE), Err(VmallocError::Map(MapError::Occupied { virt, phys })));
    m.table.pages.remove(&virt.get());
    m.assert_empty();
}

#[test]
fn tables_come_from_the_page_allocator() {
    let mut m = Machine::new(64);
    let a = m.vmalloc(PAGE_SIZE).unwrap();
    assert_eq!(m.table.table_pages(), 1);
    let io = m.ioremap(0x4000_0000, 9 << 20).unwrap();
    assert_eq!(m.table.table_pages(), 3);
    m.validate();
    m.pages.inner.allowance = 1;
    let error = m.ioremap(0x4000_0000, 9 << 20).unwrap_err();
    assert!(matches!(error, VmallocError::NoPages(_)));
    m.pages.inner.allowance = u32::MAX;
    let (vmalloc, mut with) = m.split();
    vmalloc.iounmap(&mut with, TASK, io).unwrap();
    vmalloc.vfree(&mut with, TASK, a).unwrap();
    m.assert_empty();
}

#[test]
fn atomic_context_is_refused() {
    let mut m = Machine::new(64);
    let a = m.vmalloc(100).unwrap();
    let atomic = Context { atomic: true, ..TASK };
    let (vmalloc, mut with) = m.split();
    assert_eq!(vmalloc.vmalloc(&mut with, atomic, 100), Err(VmallocError::Atomic));
    assert_eq!(vmalloc.vfree(&mut with, atomic, a), Err(VfreeError::Atomic));
    m.vfree(a).unwrap();
    m.assert_empty();
}

#[test]
fn wrong_addresses_and_kinds_are_refused() {
    let mut m = Machine::new(64);
    let a = m.vmalloc(2 * PAGE_SIZE).unwrap();
    let io = m.ioremap(0x1c09_0000, 0x1000).unwrap();
    for addr in [a.get() + PAGE_SIZE, a.get() + 8, START.get() - PAGE_SIZE, END.get(), 0] {
        let addr = VirtAddr::new(addr);
        assert_eq!(m.vfree(addr), Err(VfreeError::NoArea { addr }));
    }
    assert_eq!(m.vfree(io), Err(VfreeError::WrongKind { addr: io, made_by: Kind::Ioremap }));
    let (vmalloc, mut with) = m.split();
    let wrong = Err(VfreeError::WrongKind { addr: a, made_by: Kind::Vmalloc });
    assert_eq!(vmalloc.iounmap(&mut with, TASK, a), wrong);
    assert_eq!(vmalloc.vunmap(&mut with, TASK, a), wrong);
    vmalloc.iounmap(&mut with, TASK, io).unwrap();
    m.vfree(a).unwrap();
    m.assert_empty();
}

#[test]
fn ioremap_keeps_the_offset_and_the_alignment_of_large_pages() {
    let mut m = Machine::new(64);
    m.vmalloc(1).unwrap();
    let uart = m.ioremap(0x1c09_0004, 4).unwrap();
    assert_eq!(uart.get() % PAGE_SIZE, 4);
    let (phys, attr, prot) = m.table.pages[&(uart.get() & !0xfff)];
    assert_eq!((phys, attr, prot), (0x1c09_0000, MemAttr::Device, Prot::WRITE));
    let section = m.ioremap(0x3f00_0000, 2 << 20).unwrap();
    assert_eq!(section.get() % (1 << 20), 0);
    let offset = m.ioremap(0x3f0f_0000, (2 << 20) + 0x1_0000).unwrap();
    assert_eq!(offset.get() % (1 << 20), 0xf_0000);
    let large = m.ioremap(0x3f01_0000, 0x1_0000).unwrap();
    assert_eq!(large.get() % 0x1_0000, 0);
    m.validate();
    let (vmalloc, mut with) = m.split();
    vmalloc.iounmap(&mut with, TASK, uart).unwrap();
}

#[test]
fn ioremap_of_ram_is_refused() {
    let mut m = Machine::new(64);
    let phys = PhysAddr::new(0x2000_0000);
    assert_eq!(m.ioremap(0x2000_0000, 0x1000), Err(VmallocError::Ram { phys }));
    assert_eq!(m.ioremap(0x1fff_f000, 0x1001), Err(VmallocError::Ram { phys }));
    assert!(m.ioremap(0x1fff_f000, 0x1000).is_ok());
}

#[test]
fn vmap_maps_frames_in_the_order_given() {
    let mut m = Machine::new(64);
    let frames: Vec<_> = [0x300, 0x301, 0x302, 0x100, 0x200, 0x201].into_iter().map(Pfn::new).collect();
    let (vmalloc, mut with) = m.split();
    let at = vmalloc.vmap(&mut with, TASK, &frames, MemAttr::NormalNc, Prot::WRITE).unwrap();
    for (i, frame) in frames.iter().enumerate() {
        let (phys, attr, _) = m.table.pages[&(at.get() + i as u32 * PAGE_SIZE)];
        assert_eq!((phys, attr), (frame.addr().get(), MemAttr::NormalNc));
    }
    assert_eq!(m.table.map_calls, 3, "one for each run");
    m.validate();
    let (vmalloc, mut with) = m.split();
    assert_eq!(
        vmalloc.vmap(&mut with, TASK, &[], MemAttr::Normal, Prot::WRITE),
        Err(VmallocError::BadSize { pages: 0 })
    );
    vmalloc.vunmap(&mut with, TASK, at).unwrap();
    m.assert_empty();
}

#[test]
fn a_vmalloc_can_be_made_in_steps_and_given_up() {
    let mut m = Machine::new(256);
    m.pages.largest = 0;
    let (vmalloc, mut with) = m.split();
    let gfp = crate::Gfp::KERNEL;
    let mut building = vmalloc.vmalloc_begin(&mut with, TASK, 100 * PAGE_SIZE, gfp).unwrap();
    let mut steps = 0;
    while vmalloc.vmalloc_step(&mut with, &mut building).unwrap() == Progress::More {
        steps += 1;
        let other = vmalloc.vmalloc(&mut with, TASK, PAGE_SIZE).unwrap();
        vmalloc.vfree(&mut with, TASK, other).unwrap();
        vmalloc.validate(with.pages, with.table).unwrap();
    }
    assert!(steps >= 3);
    let done = vmalloc.vmalloc_finish(building);
    vmalloc.vfree(&mut with, TASK, done).unwrap();
    let mut building = vmalloc.vmalloc_begin(&mut with, TASK, 100 * PAGE_SIZE, gfp).unwrap();
    let _ = vmalloc.vmalloc_step(&mut with, &mut building).unwrap();
    vmalloc.vmalloc_abort(&mut with, building);
    m.assert_empty();
}

#[test]
fn vmallocinfo_to_the_letter() {
    let mut m = Machine::new(64);
    m.ioremap(0x1c09_0000, 0x1000).unwrap();
    m.vmalloc(3 * PAGE_SIZE).unwrap();
    let gone = m.vmalloc(PAGE_SIZE).unwrap();
    m.vfree(gone).unwrap();
    let (vmalloc, mut with) = m.split();
    vmalloc
        .vmap(&mut with, Context { caller: 0, ..TASK }, &[Pfn::new(1)], MemAttr::Normal, Prot::WRITE)
        .unwrap();
    let mut text = String::new();
    m.vmalloc.write_vmallocinfo(&mut text).unwrap();
    assert_eq!(
        text,
        "0xc8800000-0xc8802000    8192 0xc0012345 phys=0x1c090000 ioremap\n\
         0xc8802000-0xc8806000   16384 0xc0012345 pages=3 vmalloc\n\
         0xc8808000-0xc880a000    8192 pages=1 vmap\n\
         0xc8806000-0xc8808000    8192 unpurged vm_area\n"
    );
    let mut meminfo = String::new();
    m.vmalloc.totals().write_meminfo(&mut meminfo).unwrap();
    assert_eq!(
        meminfo,
        "VmallocTotal:      32768 kB\nVmallocUsed:          12 kB\nVmallocChunk:          0 kB\n"
    );
}

/// The short way takes a place that is kept, and makes what the long way would; whatever takes more it leaves, with nothing changed.
#[test]
fn one_page_at_once() {
    let mut m = Machine::new(64);
    let at_once = |m: &mut Machine, context, size| {
        let (vmalloc, mut with) = m.split();
        vmalloc.vmalloc_at_once(&mut with, context, size, Gfp::KERNEL)
    };
    let free_at_once = |m: &mut Machine, context, addr| {
        let (vmalloc, mut with) = m.split();
        vmalloc.vfree_at_once(&mut with, context, addr)
    };
    assert_eq!(at_once(&mut m, TASK, PAGE_SIZE), None, "no place is kept yet");
    let area = m.vmalloc(PAGE_SIZE).unwrap();
    m.vfree(area).unwrap();
    m.vmalloc.purge(&mut m.pages, &m.tlb);
    for size in [0, PAGE_SIZE + 1, u32::MAX] {
        assert_eq!(at_once(&mut m, TASK, size), None);
    }
    assert_eq!(at_once(&mut m, Context { atomic: true, ..TASK }, PAGE_SIZE), None);
    m.validate();
    for _ in 0..3 {
        assert_eq!(at_once(&mut m, TASK, 1), Some(area));
        m.validate();
        assert_eq!(at_once(&mut m, TASK, 1), None, "there was one place");
        assert!(!free_at_once(&mut m, TASK, VirtAddr::new(area.get() + PAGE_SIZE)));
        assert!(!free_at_once(&mut m, Context { atomic: true, ..TASK }, area));
        assert!(free_at_once(&mut m, TASK, area));
        assert!(!free_at_once(&mut m, TASK, area), "a second time");
        assert_eq!(m.vfree(area), Err(VfreeError::NoArea { addr: area }));
        assert_eq!(at_once(&mut m, TASK, 1), None, "its translation may be in a TLB still");
        m.validate();
        m.vmalloc.purge(&mut m.pages, &m.tlb);
    }
    m.assert_empty();
}
