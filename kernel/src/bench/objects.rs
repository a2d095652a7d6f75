//! Objects: kmalloc and caches.

use super::{Error, Instructions, Run, rounded};
use crate::memory;
use ::bench::Meter;
use alloc::vec;
use arch_armv7::cpu;
use core::ptr::NonNull;
use mm::Gfp;
use mm::slab::{CacheId, CacheSpec, Caller};

const PAIRS: [(&str, usize); 9] = [
    ("kmalloc/8/pair", 8),
    ("kmalloc/16/pair", 16),
    ("kmalloc/32/pair", 32),
    ("kmalloc/64/pair", 64),
    ("kmalloc/128/pair", 128),
    ("kmalloc/256/pair", 256),
    ("kmalloc/512/pair", 512),
    ("kmalloc/1024/pair", 1024),
    ("kmalloc/2048/pair", 2048),
];
const MANY: [&str; 2] = ["kmalloc/64/1000-taken", "kmalloc/64/1000-freed"];
const CACHE: &str = "kmem_cache/200/pair";
/// Objects that are taken before the first is freed.
const COUNT: u32 = 1000;

const BOOT_CPU: Caller = Caller::new(0, 0).expect("there is a CPU 0");

#[inline(always)]
fn caller() -> Caller {
    Caller::new(cpu::id() as usize, 0).unwrap_or(BOOT_CPU)
}

/// `kmalloc`, as a driver calls it.
#[inline(always)]
pub(super) fn kmalloc(size: usize) -> Result<NonNull<u8>, Error> {
    let object = memory::with(|mm| mm.slab.kmalloc(mm.pages, caller(), size, Gfp::KERNEL));
    object.ok_or(Error::NoMemoryManager)?.map_err(Error::Slab)
}

/// `kfree`.
#[inline(always)]
pub(super) fn kfree(object: NonNull<u8>) -> Result<(), Error> {
    let freed = memory::with(|mm| mm.slab.kfree(mm.pages, caller(), object.as_ptr()));
    freed.ok_or(Error::NoMemoryManager)?.map_err(Error::Free)
}

/// `kmem_cache_alloc` and `kmem_cache_free`.
#[inline(always)]
fn cache_pair(cache: &CacheId) -> Result<(), Error> {
    let object = memory::with(|mm| mm.slab.cache_alloc(mm.pages, caller(), cache, Gfp::KERNEL));
    let object = object.ok_or(Error::NoMemoryManager)?.map_err(Error::Slab)?;
    let freed = memory::with(|mm| mm.slab.cache_free(mm.pages, caller(), cache, object.as_ptr()));
    freed.ok_or(Error::NoMemoryManager)?.map_err(Error::Free)
}

pub fn run(run: &mut Run<'_, '_>) {
    for (name, size) in PAIRS {
        run.repeat(name, 1001, || kmalloc(size).and_then(kfree));
    }
    let mut held = vec![NonNull::dangling(); COUNT as usize];
    run.samples(MANY[0], 21, |meter| Ok(many(meter, &mut held)?.0));
    run.samples(MANY[1], 21, |meter| Ok(many(meter, &mut held)?.1));
    if let Err(error) = cache(run) {
        run.fail(CACHE, &error);
    }
}

/// Many objects, then all of them back in the same order: the cost of each.
fn many(meter: &Meter<Instructions>, held: &mut [NonNull<u8>]) -> Result<(u32, u32), Error> {
    let taking = meter.turns(COUNT, |at| {
        held[at as usize] = kmalloc(64)?;
        Ok(())
    })?;
    let freeing = meter.turns(COUNT, |at| kfree(held[at as usize]))?;
    Ok((rounded(taking, COUNT), rounded(freeing, COUNT)))
}

fn cache(run: &mut Run<'_, '_>) -> Result<(), Error> {
    let made = memory::with(|mm| mm.slab.cache_create(&CacheSpec::new("bench", 200)));
    let cache = made.ok_or(Error::NoMemoryManager)?.map_err(Error::Slab)?;
    run.repeat(CACHE, 1001, || cache_pair(&cache));
    let gone = memory::with(|mm| mm.slab.cache_destroy(mm.pages, cache));
    gone.ok_or(Error::NoMemoryManager)?.map_err(Error::Destroy)
}
