//! Early memory, and what is kept for each page.

use super::{Error, Run};
use crate::memory::EARLY;
use ::bench::{Stat, Unit};
use alloc::boxed::Box;
use core::hint::black_box;
use mm::Page;
use types::PAGE_SIZE;

const MEMBLOCK: &str = "memblock/4K/zeroed";
const METADATA: &str = "size/metadata-a-page";
/// A cache line, as Linux's `SMP_CACHE_BYTES`.
const ALIGN: u32 = 64;

#[repr(align(4096))]
struct Zeroed([u8; 4096]);

pub fn run(run: &mut Run<'_, '_>) {
    memblock(run);
    run.record(METADATA, Stat::once(size_of::<Page>() as u32), Unit::Bytes);
}

/// From memblock as boot left it. What it gives is the page allocator's by now, so another page is zeroed in its place, and
/// the reservation is taken back after each sample.
fn memblock(run: &mut Run<'_, '_>) {
    let mut page = Box::new(Zeroed([0; 4096]));
    run.samples(MEMBLOCK, 101, |meter| {
        let mut early = EARLY.lock();
        let memblock = &mut early.as_mut().ok_or(Error::NoMemoryManager)?.memblock;
        let zero = &mut |_| black_box(&mut page.0).fill(0);
        let (cost, range) = meter.time(|| memblock.alloc(PAGE_SIZE, ALIGN, zero));
        memblock.free(range.map_err(Error::Memblock)?).map_err(Error::Memblock)?;
        Ok(cost)
    });
}
