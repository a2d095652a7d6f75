//! Events that nothing else in the kernel raises so far: caches of one's own, and buffers that change hands for a while.

use crate::dma::View;
use crate::ktest::{NotOk, TestResult};
use crate::{ktest, memory};
use alloc::boxed::Box;
use alloc::format;
use core::ptr::NonNull;
use dma::{Device, DmaDirection, Mappings, Streaming};
use mm::Gfp;
use mm::cma::CmaId;
use mm::slab::{CacheSpec, Caller};

ktest!("trace::cache_events", cache_events);
ktest!("trace::sync_events", sync_events);

/// A cache line of its own.
#[repr(align(64))]
struct Line([u8; 64]);

fn failed(why: impl core::fmt::Display) -> NotOk {
    NotOk::Failed(format!("{why}"))
}

/// `kmem_cache_alloc`, `kmem_cache_free`.
fn cache_events() -> TestResult {
    let who = Caller::new(0, 0).ok_or(NotOk::Ignored("no CPU"))?;
    let freed = memory::with(|mm| {
        let cache = mm.slab.cache_create(&CacheSpec::new("trace-test", 48)).ok()?;
        let object = mm.slab.cache_alloc(mm.pages, who, &cache, Gfp::KERNEL).ok()?;
        let freed = mm.slab.cache_free(mm.pages, who, &cache, object.as_ptr()).is_ok();
        Some(freed && mm.slab.cache_destroy(mm.pages, cache).is_ok())
    });
    if freed.flatten() == Some(true) { Ok(()) } else { Err(failed("no object came and went")) }
}

/// `dma_map`, `dma_sync` both ways, `dma_unmap`.
fn sync_events() -> TestResult {
    let view = View::new().ok_or(NotOk::Ignored("no memory manager"))?;
    let device: Device<'static, CmaId> = Device::new("trace-test");
    let mut line = Box::new(Line([7; 64]));
    let mut slots = [None; 1];
    let mut streaming = Streaming::new(Mappings::new(&mut slots));
    let (start, both) = (NonNull::from(&mut line.0).cast(), DmaDirection::Bidirectional);
    let addr = streaming.map_single(&view, &device, start, 64, both).map_err(failed)?;
    streaming.sync_for_cpu(&view, &device, addr, 64, both);
    streaming.sync_for_device(&view, &device, addr, 64, both);
    streaming.unmap(&view, &device, addr, 64, both);
    if line.0 == [7; 64] { Ok(()) } else { Err(failed("other bytes")) }
}
