//! The DMA API.
//!
//! The device with a pool of its own has memory that was taken from the default area once and for all, mapped uncached as that
//! of a no-map region is; what the pool then does is the same.
//!
//! `unsafe`: that memory is handed to the pool by its address.

use super::{Error, Run};
use crate::dma::{View, alloc_coherent, free, map_single, unmap_single, view};
use crate::memory;
use alloc::boxed::Box;
use alloc::vec;
use arch_armv7::cpu::IrqLock;
use core::ptr::NonNull;
use dma::{Device, DmaDirection, DmaError, Mappings, PagePool, Streaming};
use mm::Gfp;
use mm::cma::CmaId;
use types::PAGE_SIZE;

/// Name, bytes, samples.
const COHERENT: [(&str, u32, usize); 4] = [
    ("dma/coherent/cma/4K", 4 << 10, 101),
    ("dma/coherent/cma/64K", 64 << 10, 101),
    ("dma/coherent/cma/1M", 1 << 20, 21),
    ("dma/coherent/cma/4M", 4 << 20, 21),
];
/// Name, bytes, samples.
const POOL: [(&str, u32, usize); 3] = [
    ("dma/coherent/pool/4K", 4 << 10, 101),
    ("dma/coherent/pool/64K", 64 << 10, 101),
    ("dma/coherent/pool/1M", 1 << 20, 21),
];
/// Bytes of the pool.
const POOL_SIZE: u32 = 4 << 20;
const STREAMING: [(&str, DmaDirection); 2] = [
    ("dma/map_single/4K/to-device", DmaDirection::ToDevice),
    ("dma/map_single/4K/from-device", DmaDirection::FromDevice),
];

type KernelDevice = Device<'static, CmaId>;

pub fn run(run: &mut Run<'_, '_>) {
    let device = Device::new("bench");
    for (name, size, samples) in COHERENT {
        run.repeat(name, samples, || coherent(&device, size));
    }
    if let Some((name, _, _)) = POOL.iter().find(|(name, _, _)| run.wants(name)) {
        match pool() {
            Ok(number) => pooled(run, &Device { pool: Some(number), ..device.clone() }),
            Err(error) => run.fail(name, &error),
        }
    }
    let mut page = Box::new(Page([0; 4096]));
    let mut slots = [None; 16];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    let Some(view) = view() else { return run.fail(STREAMING[0].0, &Error::NoMemoryManager) };
    for (name, direction) in STREAMING {
        let start = NonNull::from(&mut page.0).cast();
        run.repeat(name, 101, || map(&mut streaming, &view, &device, start, direction));
    }
}

/// `dma_alloc_coherent`, `dma_free_coherent`.
#[inline(always)]
fn coherent(device: &KernelDevice, size: u32) -> Result<(), Error> {
    free(alloc_coherent(device, size, Gfp::KERNEL).map_err(Error::Dma)?);
    Ok(())
}

fn pooled(run: &mut Run<'_, '_>, device: &KernelDevice) {
    for (name, size, samples) in POOL {
        run.repeat(name, samples, || coherent(device, size));
    }
}

/// The number of the pool, which is made the first time.
fn pool() -> Result<usize, Error> {
    static NUMBER: IrqLock<Option<usize>> = IrqLock::new(None);
    let made = *NUMBER.lock();
    if let Some(number) = made {
        return Ok(number);
    }
    let memory = alloc_coherent(&Device::new("bench-pool"), POOL_SIZE, Gfp::KERNEL).map_err(Error::Dma)?;
    let words = vec![0u32; (POOL_SIZE / PAGE_SIZE).div_ceil(32) as usize].leak();
    // SAFETY: the memory was just given to us, mapped for DMA, and its token is dropped, which leaks it for good.
    let pool = unsafe { PagePool::new(memory.phys(), memory.cpu().as_ptr(), POOL_SIZE, words) };
    let added = memory::with(|mm| mm.dma.add_pool(pool.map_err(|_| DmaError::TooLarge { size: POOL_SIZE })?));
    let number = added.ok_or(Error::NoMemoryManager)?.map_err(Error::Dma)?;
    *NUMBER.lock() = Some(number);
    Ok(number)
}

#[repr(align(4096))]
struct Page([u8; 4096]);

/// `dma_map_single`, `dma_unmap_single`.
#[inline(always)]
fn map(
    streaming: &mut Streaming<'_>,
    view: &View,
    device: &KernelDevice,
    start: NonNull<u8>,
    direction: DmaDirection,
) -> Result<(), Error> {
    let addr = map_single(streaming, view, device, start, 4096, direction).map_err(Error::Dma)?;
    unmap_single(streaming, view, device, addr, 4096, direction);
    Ok(())
}
