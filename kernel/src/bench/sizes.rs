//! Early memory, and what is kept for each page.

use super::{Error, Run};
use crate::memory::EARLY;
use ::bench::{Stat, Unit};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint::black_box;
use mm::Page;
use types::PAGE_SIZE;

const MEMBLOCK: &str = "memblock/4K/zeroed";
const METADATA: &str = "size/metadata-a-page";
/// A cache line, as Linux's `SMP_CACHE_BYTES`.
const ALIGN: u32 = 64;
/// Allocations in a row, as boot makes them.
const ROW: usize = 16;

#[repr(align(4096))]
struct Zeroed([u8; 4096]);

pub fn run(run: &mut Run<'_, '_>) {
    memblock(run);
    run.record(METADATA, Stat::once(size_of::<Page>() as u32), Unit::Bytes);
}

/// From memblock as boot left it. What it gives is the page allocator's by now, so another page is zeroed in its place, and
/// reservations are taken back, [`ROW`] at a time.
fn memblock(run: &mut Run<'_, '_>) {
    let mut page = Box::new(Zeroed([0; 4096]));
    let mut held = Vec::with_capacity(ROW);
    run.samples(MEMBLOCK, 6 * ROW + 1, |meter| {
        let mut early = EARLY.lock();
        let memblock = &mut early.as_mut().ok_or(Error::NoMemoryManager)?.memblock;
        let zero = &mut |_| black_box(&mut page.0).fill(0);
        let (cost, range) = meter.time(|| memblock.alloc(PAGE_SIZE, ALIGN, zero));
        held.push(range.map_err(Error::Memblock)?);
        if held.len() == ROW {
            held.drain(..).try_for_each(|range| memblock.free(range).map_err(Error::Memblock))?;
        }
        Ok(cost)
    });
    if let Some(early) = &mut *EARLY.lock() {
        // They were reserved just now.
        held.drain(..).for_each(|range| _ = early.memblock.free(range));
    }
}
