//! Tests of the DMA API that need no device: what drivers do wrong, and what devices can't.

use super::STREAMING;
use crate::dma::{View, alloc_coherent, free, map_single, unmap_single, view};
use crate::ktest;
use crate::ktest::{NotOk, TestResult, check, failed};
use crate::memory::{self, Mm};
use crate::user::{self, CurrentSpace};
use alloc::vec;
use arch_armv7::cpu::IrqGuard;
use core::ptr::NonNull;
use dma::{Device, DmaDirection, DmaError, DmaStream, ToDevice};
use hal::{Mapping, MemAttr, PageTable};
use mm::Gfp;
use mm::cma::CmaId;
use mm::memhog::UserMemory;
use types::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};

ktest!("dma_api::forgotten_unmap", forgotten_unmap);
ktest!("dma_api::wrong_unmap", wrong_unmap);
ktest!("dma_api::masks", masks);
ktest!("dma_api::atomic_pool", atomic_pool);
ktest!("dma_api::mmap", mmap);
ktest!("dma_api::large", large);

const BYTES: u32 = 256;

fn device() -> Device<'static, CmaId> {
    Device::new("forgetful")
}

/// Mistakes found by `work` with the streaming mappings.
fn mistakes(
    work: impl FnOnce(&mut dma::Streaming<'static>, &View) -> Result<(), DmaError>,
) -> Result<u32, NotOk> {
    let view = view().ok_or(failed("no memory manager"))?;
    let mut streaming = STREAMING.lock();
    let streaming = streaming.as_mut().ok_or(failed("no streaming mappings"))?;
    let before = streaming.mappings().errors();
    work(streaming, &view).map_err(failed)?;
    Ok(streaming.mappings().errors() - before)
}

/// A device goes away with a mapping, and a stream is dropped with one: the log says where they were made.
fn forgotten_unmap() -> TestResult {
    let (mut bytes, mut more) = (vec![0u8; BYTES as usize], vec![0u8; BYTES as usize]);
    let mut left = 0;
    let found = mistakes(|streaming, view| {
        let device = device();
        let start = NonNull::from(&mut bytes[0]);
        let addr = map_single(streaming, view, &device, start, BYTES, DmaDirection::ToDevice)?;
        let stream = DmaStream::<ToDevice, _>::map(streaming, view, &device, &mut more)?;
        let other = stream.addr();
        drop(stream);
        left = streaming.mappings_mut().device_gone(device.name);
        for addr in [addr, other] {
            unmap_single(streaming, view, &device, addr, BYTES, DmaDirection::ToDevice);
        }
        Ok(())
    })?;
    check((left, found) == (2, 1), "not found")
}

/// Another size, another direction, and twice.
fn wrong_unmap() -> TestResult {
    let mut bytes = vec![0u8; BYTES as usize];
    let found = mistakes(|streaming, view| {
        let (device, start) = (device(), NonNull::from(&mut bytes[0]));
        let addr = map_single(streaming, view, &device, start, BYTES, DmaDirection::ToDevice)?;
        unmap_single(streaming, view, &device, addr, BYTES / 2, DmaDirection::ToDevice);
        let addr = map_single(streaming, view, &device, start, BYTES, DmaDirection::ToDevice)?;
        unmap_single(streaming, view, &device, addr, BYTES, DmaDirection::Bidirectional);
        unmap_single(streaming, view, &device, addr, BYTES, DmaDirection::ToDevice);
        Ok(())
    })?;
    check(found == 3, "not found")
}

/// Memory that the device can't address is refused, coherent or mapped, and given back.
fn masks() -> TestResult {
    let narrow = Device { coherent_mask: 0xff_ffff, dma_mask: 0xff_ffff, ..device() };
    let free_pages = || {
        memory::with(|mm| {
            mm.pages.buddy_mut().drain_all_pages();
            mm.pages.buddy().free_page_count()
        })
    };
    let before = free_pages();
    let refused = alloc_coherent(&narrow, PAGE_SIZE, Gfp::KERNEL).map(free);
    check(matches!(refused, Err(DmaError::Unreachable { mask: 0xff_ffff, .. })), "coherent memory")?;
    check(free_pages() == before, "memory is lost")?;
    let dead = Device { coherent_mask: 0, ..device() };
    let refused = alloc_coherent(&dead, PAGE_SIZE, Gfp::KERNEL).map(free);
    check(refused == Err(DmaError::MaskUnset), "a device without DMA")?;
    let mut bytes = vec![0u8; BYTES as usize];
    let mut refused = None;
    mistakes(|streaming, view| {
        let start = NonNull::from(&mut bytes[0]);
        refused = map_single(streaming, view, &narrow, start, BYTES, DmaDirection::ToDevice).err();
        Ok(())
    })?;
    check(matches!(refused, Some(DmaError::Unreachable { mask: 0xff_ffff, .. })), "a mapping")
}

/// With interrupts off there is memory from the atomic pool until that is empty; all of it comes back.
fn atomic_pool() -> TestResult {
    let free_pages = || memory::with(|mm| mm.dma.atomic_pool().map(dma::PagePool::free_pages)).flatten();
    let before = free_pages().ok_or(NotOk::Ignored("no atomic pool"))?;
    let (first, second, during) = {
        let _irq = IrqGuard::new();
        let first = alloc_coherent(&device(), 3 * PAGE_SIZE, Gfp::ATOMIC).map_err(failed)?;
        let second = alloc_coherent(&device(), PAGE_SIZE, Gfp::ATOMIC).map_err(failed)?;
        (first, second, free_pages())
    };
    let apart = first.addr() != second.addr() && first.read_u32(0) == 0;
    free(first);
    free(second);
    check(during == Some(before - 4), "from elsewhere")?;
    check(apart && free_pages() == Some(before), "not given back")
}

/// A buffer that is larger than the page allocator's largest block comes from the area, be it in highmem: zeroed, uncached
/// for the CPU; afterwards there is no such mapping.
fn large() -> TestResult {
    const LARGE: u32 = 5 << 20;
    let area = |mm: &mut Mm| {
        mm.default_cma
            .filter(|&area| mm.cma.area(area).is_some_and(|area| area.maxchunk() > LARGE / PAGE_SIZE))
    };
    let area = memory::with(area).flatten().ok_or(NotOk::Ignored("no area with so many free pages"))?;
    let mut buffer = alloc_coherent(&device(), LARGE, Gfp::KERNEL).map_err(failed)?;
    let (first, phys) = (VirtAddr::new(buffer.cpu().addr().get() as u32), buffer.phys());
    let last = VirtAddr::new(first.get() + (LARGE - 4));
    let from = memory::with(|mm| mm.cma.area_of(Pfn::containing(phys))).flatten();
    let seen = memory::with(|mm| mm.table.translate(last)).flatten();
    let zeroed = buffer.read_u32(0) == 0 && buffer.read_u32(LARGE as usize - 4) == 0;
    buffer.write_u32(LARGE as usize - 4, 0x0dd_ba11);
    let kept = buffer.read_u32(LARGE as usize - 4) == 0x0dd_ba11;
    free(buffer);
    let left = memory::with(|mm| mm.table.translate(last)).flatten();
    check(from == Some(area), "from elsewhere")?;
    let at = PhysAddr::new(phys.get() + (LARGE - 4));
    check(
        seen.is_some_and(|seen| (seen.phys, seen.attr) == (at, MemAttr::NormalNc)),
        "not mapped as it should be",
    )?;
    check(zeroed && kept, "other contents")?;
    check(left.is_none_or(|left| left.attr == MemAttr::Normal), "still uncached")
}

/// A coherent buffer in an address space, `dma_mmap_coherent`: what is stored through either mapping shows in the other, both
/// are uncached, and afterwards there is nothing.
fn mmap() -> TestResult {
    const VIRT: VirtAddr = VirtAddr::new(0x1230_0000);
    let mut buffer = alloc_coherent(&device(), 2 * PAGE_SIZE, Gfp::KERNEL).map_err(failed)?;
    let size = buffer.size();
    let (second, last) = (VirtAddr::new(VIRT.get() + PAGE_SIZE), PAGE_SIZE as usize * 2 - 4);
    let mapped = user::with(|spaces, mm| {
        let id = spaces.create(mm.pages).map_err(failed)?;
        let table = spaces.table(id).map_err(failed)?;
        buffer.mmap(&mut mm.dma().1, table, VIRT, 0, size).map_err(failed)?;
        let here = VirtAddr::new(buffer.cpu().addr().get() as u32);
        Ok::<_, NotOk>((id, table.translate(second), mm.table.translate(here)))
    });
    let (id, user, kernel) = mapped.ok_or(NotOk::Ignored("no address spaces"))??;
    let uncached =
        |mapping: Option<Mapping>| mapping.is_some_and(|mapping| mapping.attr == MemAttr::NormalNc);
    user::enter(id).map_err(failed)?;
    let mut memory = CurrentSpace;
    buffer.write_u32(last, 0x0dd_ba11);
    let seen = memory.load(VirtAddr::new(VIRT.get() + last as u32));
    let stored = memory.store(second, 0xca11ab1e);
    let shows = buffer.read_u32(PAGE_SIZE as usize);
    let ended = user::with(|spaces, mm| {
        let table = spaces.table(id).map_err(failed)?;
        buffer.munmap(&mut mm.dma().1, table, VIRT, size).map_err(failed)
    });
    let gone = memory.load(second).is_err();
    user::leave();
    let destroyed = user::with(|spaces, mm| spaces.destroy(mm.pages, id));
    free(buffer);
    ended.unwrap_or(Ok(()))?;
    destroyed.unwrap_or(Ok(())).map_err(failed)?;
    check(uncached(user) && uncached(kernel), "another memory type")?;
    check(seen == Ok(0x0dd_ba11), "a store of the kernel's does not show")?;
    check(stored.is_ok() && shows == 0xca11ab1e, "a store through the space does not show")?;
    check(gone, "still mapped")
}
