//! Objects: kmalloc and caches.

use super::{Error, Instructions, Run, rounded};
use crate::memory;
use ::bench::Meter;
use alloc::vec;
use core::ptr::NonNull;
use mm::Gfp;
use mm::slab::{CacheId, CacheSpec};

const MANY: [&str; 2] = ["kmalloc/64/1000-taken", "kmalloc/64/1000-freed"];
const CACHE: &str = "kmem_cache/200/pair";
/// Samples of a pair, and pairs in each: the loop is counted too, and taken off.
const PAIR: (usize, u32) = (101, 100);
/// Objects that are taken before the first is freed.
const COUNT: u32 = 1000;

/// `kmalloc`, as a driver calls it.
#[inline(always)]
pub(super) fn kmalloc(size: usize) -> Result<NonNull<u8>, Error> {
    memory::kmalloc(size, Gfp::KERNEL).map_err(Error::Slab)
}

/// `kfree`.
#[inline(always)]
pub(super) fn kfree(object: NonNull<u8>) -> Result<(), Error> {
    memory::kfree(object.as_ptr()).map_err(Error::Free)
}

/// `kmem_cache_alloc` and `kmem_cache_free`.
#[inline(always)]
fn cache_pair(cache: &CacheId) -> Result<(), Error> {
    let object = memory::kmem_cache_alloc(cache, Gfp::KERNEL).map_err(Error::Slab)?;
    memory::kmem_cache_free(cache, object.as_ptr()).map_err(Error::Free)
}

pub fn run(run: &mut Run<'_, '_>) {
    pair::<8>(run, "kmalloc/8/pair");
    pair::<16>(run, "kmalloc/16/pair");
    pair::<32>(run, "kmalloc/32/pair");
    pair::<64>(run, "kmalloc/64/pair");
    pair::<128>(run, "kmalloc/128/pair");
    pair::<256>(run, "kmalloc/256/pair");
    pair::<512>(run, "kmalloc/512/pair");
    pair::<1024>(run, "kmalloc/1024/pair");
    pair::<2048>(run, "kmalloc/2048/pair");
    let mut held = vec![NonNull::dangling(); COUNT as usize];
    run.samples(MANY[0], 21, |meter| Ok(many(meter, &mut held)?.0));
    run.samples(MANY[1], 21, |meter| Ok(many(meter, &mut held)?.1));
    if let Err(error) = cache(run) {
        run.fail(CACHE, &error);
    }
}

/// A size that the compiler knows, as of a type: the way in which nearly everybody calls `kmalloc`.
fn pair<const SIZE: usize>(run: &mut Run<'_, '_>, name: &str) {
    run.average(name, PAIR, |_| {
        let object = kmalloc(SIZE)?;
        kfree(object)
    });
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
    run.average(CACHE, PAIR, |_| cache_pair(&cache));
    let gone = memory::with(|mm| mm.slab.cache_destroy(mm.pages, cache));
    gone.ok_or(Error::NoMemoryManager)?.map_err(Error::Destroy)
}
