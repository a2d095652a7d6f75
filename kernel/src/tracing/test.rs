//! Events that nothing else in the kernel raises so far: caches of one's own, and buffers that change hands for a while.

use crate::dma::{map_single, unmap_single, view};
use crate::ktest::{NotOk, TestResult, failed};
use crate::{ktest, memory};
use alloc::boxed::Box;
use arch_armv7::cpu::IrqLock;
use core::ptr::NonNull;
use dma::{Device, DmaDirection, Mappings, Streaming};
use mm::Gfp;
use mm::cma::CmaId;
use mm::slab::{CacheId, CacheSpec};

ktest!("trace::cache_events", cache_events);
ktest!("trace::sync_events", sync_events);

/// A cache line of its own.
#[repr(align(64))]
struct Line([u8; 64]);

/// The cache of the first run is that of all others too.
static CACHE: IrqLock<Option<CacheId>> = IrqLock::new(None);

/// `kmem_cache_alloc`, `kmem_cache_free`.
fn cache_events() -> TestResult {
    let mut kept = CACHE.lock();
    if kept.is_none() {
        let spec = CacheSpec::new("trace-test", 48);
        *kept = memory::with(|mm| mm.slab.cache_create(&spec).ok()).flatten();
    }
    let cache = kept.as_ref().ok_or_else(|| failed("no cache"))?;
    let object = memory::kmem_cache_alloc(cache, Gfp::ATOMIC).map_err(failed)?;
    memory::kmem_cache_free(cache, object.as_ptr()).map_err(failed)
}

/// `dma_map`, `dma_sync` both ways, `dma_unmap`.
fn sync_events() -> TestResult {
    let view = view().ok_or(NotOk::Ignored("no memory manager"))?;
    let device: Device<'static, CmaId> = Device::new("trace-test");
    let mut line = Box::new(Line([7; 64]));
    let mut slots = [None; 1];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    let (start, both) = (NonNull::from(&mut line.0).cast(), DmaDirection::Bidirectional);
    let addr = map_single(&mut streaming, &view, &device, start, 64, both).map_err(failed)?;
    streaming.sync_for_cpu(&view, &device, addr, 64, both);
    streaming.sync_for_device(&view, &device, addr, 64, both);
    unmap_single(&mut streaming, &view, &device, addr, 64, both);
    if line.0 == [7; 64] { Ok(()) } else { Err(failed("other bytes")) }
}
