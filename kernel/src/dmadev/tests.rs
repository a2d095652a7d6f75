//! Tests with the real devices.

use super::STREAMING;
use super::engine::{self, EngineError, copy};
use super::virtio;
use crate::dma::{Buffer, View, alloc_coherent, free, view};
use crate::ktest;
use crate::ktest::{NotOk, TestResult, check, failed};
use alloc::vec;
use alloc::vec::Vec;
use dma::{CpuView, Device, DmaDirection, DmaError, DmaStream, FromDevice, SgEntry, Streaming, ToDevice};
use drivers::virtio::SECTOR;
use drivers::virtio::tftp::{GATEWAY, GUEST, Station};
use hal::LinearMap;
use mm::Gfp;
use mm::cma::CmaId;
use types::{PAGE_SIZE, PhysRange};

ktest!("dma::bcm2835_coherent", || with_engine(engine_coherent));
ktest!("dma::bcm2835_streaming", || with_engine(engine_streaming));
ktest!("dma::bcm2835_scatter_gather", || with_engine(engine_scatter_gather));
ktest!("dma::bcm2835_bad_address", || with_engine(engine_bad_address));
ktest!("dma::memory_region", || with_engine(memory_region));
ktest!("virtio::disk", disk);
ktest!("virtio::entropy", entropy);
ktest!("virtio::network", network);

const IGNORED: NotOk = NotOk::Ignored("no such device");

/// Runs a test with the channel.
fn with_engine(test: fn(&Device<'static, CmaId>) -> TestResult) -> TestResult {
    let device = match engine::request() {
        Ok(device) => device,
        Err(EngineError::NoChannel) => return Err(IGNORED),
        Err(error) => return Err(failed(error)),
    };
    let before = engine::interrupts();
    let result = test(&device);
    engine::release();
    result?;
    check(engine::interrupts() > before, "no interrupt came")
}

/// A coherent buffer.
fn alloc(device: &Device<'static, CmaId>, size: u32) -> Result<Buffer, NotOk> {
    alloc_coherent(device, size, Gfp::KERNEL).map_err(failed)
}

fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 256 + salt) as u8).collect()
}

fn engine_coherent(device: &Device<'static, CmaId>) -> TestResult {
    const SIZE: u32 = 0x2_0000;
    let mut from = alloc(device, SIZE)?;
    let to = alloc(device, SIZE)?;
    from.write(0, &pattern(SIZE as usize, 1));
    let copied = copy(&|channel| channel.prep_memcpy(to.addr(), from.addr(), SIZE));
    let mut bytes = vec![0; SIZE as usize];
    to.read(0, &mut bytes);
    let elsewhere = from.addr().get() != from.phys().get();
    free(from);
    free(to);
    copied.map_err(failed)?;
    check(elsewhere, "the bus address is the physical one")?;
    check(bytes == pattern(SIZE as usize, 1), "other bytes")
}

/// A page-aligned buffer inside of `bytes`, which is two pages.
fn page_of(bytes: &mut [u8]) -> &mut [u8] {
    let at = bytes.as_ptr().align_offset(PAGE_SIZE as usize);
    &mut bytes[at..at + PAGE_SIZE as usize]
}

fn engine_streaming(device: &Device<'static, CmaId>) -> TestResult {
    let (mut from, mut to) = (vec![0; 2 * PAGE_SIZE as usize], vec![7; 2 * PAGE_SIZE as usize]);
    let (from, to) = (page_of(&mut from), page_of(&mut to));
    from.copy_from_slice(&pattern(PAGE_SIZE as usize, 2));
    let (source, target) = streaming(|streaming, view| {
        let source = DmaStream::<ToDevice, _>::map(streaming, view, device, from).map_err(failed)?;
        let target = DmaStream::<FromDevice, _>::map(streaming, view, device, to).map_err(failed)?;
        Ok((source, target))
    })?;
    let copied = copy(&|channel| channel.prep_memcpy(target.addr(), source.addr(), PAGE_SIZE));
    streaming(|streaming, view| {
        source.unmap(streaming, view, device);
        target.unmap(streaming, view, device);
        Ok(())
    })?;
    copied.map_err(failed)?;
    check(*to == *pattern(PAGE_SIZE as usize, 2), "other bytes")
}

fn engine_scatter_gather(device: &Device<'static, CmaId>) -> TestResult {
    let pages = PAGE_SIZE as usize;
    let (mut source, mut target) = (vec![0; 5 * pages], vec![0; 5 * pages]);
    source.copy_from_slice(&pattern(5 * pages, 3));
    let at = source.as_ptr().align_offset(64);
    let to_at = target.as_ptr().align_offset(64);
    let start = (source.as_ptr(), target.as_mut_ptr());
    let (from, to) = streaming(|_, view| {
        let phys = |pointer: *const u8| view.linear().phys(pointer).ok_or(failed("not in lowmem"));
        Ok((phys(start.0.wrapping_add(at))?, phys(start.1.wrapping_add(to_at))?))
    })?;
    let entry =
        |base: types::PhysAddr, at: u32, len| SgEntry::new(types::PhysAddr::new(base.get() + at), len);
    let mut sources = [entry(from, 0, 0x400), entry(from, 0x1000, 0x1000), entry(from, 0x800, 0x40)];
    let mut targets = [entry(to, 0x2000, 0x1000), entry(to, 0, 0x440)];
    streaming(|streaming, view| {
        streaming.map_sg(view, device, &mut sources, DmaDirection::ToDevice).map_err(failed)?;
        streaming.map_sg(view, device, &mut targets, DmaDirection::FromDevice).map_err(failed)
    })?;
    let copied = copy(&|channel| channel.prep_sg(&targets, &sources));
    streaming(|streaming, view| {
        streaming.unmap_sg(view, device, &sources, DmaDirection::ToDevice);
        streaming.unmap_sg(view, device, &targets, DmaDirection::FromDevice);
        Ok(())
    })?;
    copied.map_err(failed)?;
    let (source, target) = (&source[at..], &target[to_at..]);
    let expected = [&source[..0x400], &source[0x1000..0x2000], &source[0x800..0x840]].concat();
    check([&target[0x2000..0x3000], &target[..0x440]].concat() == expected, "other bytes")
}

/// Works with the streaming mappings.
fn streaming<R>(work: impl FnOnce(&mut Streaming<'static>, &View) -> Result<R, NotOk>) -> Result<R, NotOk> {
    let view = view().ok_or(failed("no memory manager"))?;
    work(STREAMING.lock().as_mut().ok_or(failed("no streaming mappings"))?, &view)
}

/// The channel refuses what it can't do; its state is unharmed.
fn engine_bad_address(device: &Device<'static, CmaId>) -> TestResult {
    let buffer = alloc(device, PAGE_SIZE)?;
    let odd = copy(&|channel| channel.prep_memcpy(buffer.addr(), buffer.addr().add(2), 8));
    let fine = copy(&|channel| channel.prep_memcpy(buffer.addr(), buffer.addr().add(64), 8));
    free(buffer);
    check(odd.is_err(), "a misaligned copy was taken")?;
    fine.map_err(failed)
}

/// Buffers of a device with memory of its own are from there, and a pool is its only source.
fn memory_region(device: &Device<'static, CmaId>) -> TestResult {
    let region = engine::memory_region().ok_or(NotOk::Ignored("the tree gives the engine no memory"))?;
    let mut from = alloc(device, 3 * PAGE_SIZE)?;
    let to = alloc(device, PAGE_SIZE)?;
    let inside = |buffer: &Buffer| region.covers(PhysRange::new(buffer.phys(), buffer.size()));
    let good = inside(&from) && inside(&to) && from.read_u32(8) == 0;
    from.write(0, &pattern(PAGE_SIZE as usize, 5));
    let copied = copy(&|channel| channel.prep_memcpy(to.addr(), from.addr(), PAGE_SIZE));
    let mut bytes = vec![0; PAGE_SIZE as usize];
    to.read(0, &mut bytes);
    free(from);
    free(to);
    copied.map_err(failed)?;
    check(good, "not zeroed memory out of the region")?;
    check(bytes == pattern(PAGE_SIZE as usize, 5), "other bytes")?;
    if device.pool.is_none() {
        return Ok(());
    }
    let size = 2 * region.size();
    match alloc_coherent(device, size, Gfp::KERNEL | Gfp::__NOWARN).map(free) {
        Err(DmaError::PoolExhausted { pages, .. }) => check(pages == size / PAGE_SIZE, "another size"),
        Err(error) => Err(failed(error)),
        Ok(()) => Err(failed("memory from elsewhere")),
    }
}

/// The last sectors of the disk are the tests' own.
fn disk() -> TestResult {
    let end = virtio::capacity().ok_or(IGNORED)? as usize;
    let sector = end.checked_sub(8).ok_or(IGNORED)?;
    let bytes = pattern(8 * SECTOR, 4);
    virtio::write(sector, bytes.clone()).map_err(failed)?;
    let read = virtio::read(sector, 8).map_err(failed)?;
    check(bytes == read, "other bytes")?;
    check(virtio::read(end, 1).is_err(), "read past the end")
}

fn entropy() -> TestResult {
    let (mut one, mut two) = (vec![0; 64], vec![0; 64]);
    virtio::random(&mut one).ok_or(IGNORED)?;
    virtio::random(&mut two).ok_or(IGNORED)?;
    check(one != two && one != [0; 64], "not random")
}

fn network() -> TestResult {
    let mut card = virtio::Card::first().ok_or(IGNORED)?;
    let gateway = Station::new(&mut card, GUEST, 4).resolve(GATEWAY).map_err(failed)?;
    check(gateway.mac[..2] == [0x52, 0x55], "not the address of QEMU's gateway")
}
