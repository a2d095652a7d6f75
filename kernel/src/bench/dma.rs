//! The DMA API.

use super::{Error, Run};
use crate::dma::{alloc_coherent, free};
use crate::memory;
use alloc::boxed::Box;
use core::ptr::NonNull;
use dma::{Device, DmaDirection, Mappings, Streaming};
use mm::Gfp;
use mm::cma::CmaId;

/// Name, bytes, samples.
const COHERENT: [(&str, u32, usize); 4] = [
    ("dma/coherent/cma/4K", 4 << 10, 101),
    ("dma/coherent/cma/64K", 64 << 10, 101),
    ("dma/coherent/cma/1M", 1 << 20, 21),
    ("dma/coherent/cma/4M", 4 << 20, 21),
];
const STREAMING: [(&str, DmaDirection); 2] = [
    ("dma/map_single/4K/to-device", DmaDirection::ToDevice),
    ("dma/map_single/4K/from-device", DmaDirection::FromDevice),
];

type KernelDevice = Device<'static, CmaId>;

pub fn run(run: &mut Run<'_, '_>) {
    let device = Device::new("bench");
    for (name, size, samples) in COHERENT {
        run.repeat(name, samples, || {
            alloc_coherent(&device, size, Gfp::KERNEL).map(free).map_err(Error::Dma)
        });
    }
    let mut page = Box::new(Page([0; 4096]));
    let mut slots = [None; 16];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    for (name, direction) in STREAMING {
        let start = NonNull::from(&mut page.0).cast();
        run.repeat(name, 101, || map(&mut streaming, &device, start, direction));
    }
}

#[repr(align(4096))]
struct Page([u8; 4096]);

/// `dma_map_single`, `dma_unmap_single`.
#[inline(always)]
fn map(
    streaming: &mut Streaming<'_>,
    device: &KernelDevice,
    start: NonNull<u8>,
    direction: DmaDirection,
) -> Result<(), Error> {
    let mapped = memory::with(|mm| {
        let (_, kernel) = mm.dma();
        streaming.map_single(&kernel, device, start, 4096, direction)
    });
    let addr = mapped.ok_or(Error::NoMemoryManager)?.map_err(Error::Dma)?;
    memory::with(|mm| {
        let (_, kernel) = mm.dma();
        streaming.unmap(&kernel, device, addr, 4096, direction);
    });
    Ok(())
}
