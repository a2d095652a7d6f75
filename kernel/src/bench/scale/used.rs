//! With more and more memory in use.
//!
//! All memory that a request may take is taken, page by page, and given back in a random order: so what is free are
//! single pages at random places, more and more of them. An operation that there is no memory for has no figure.
//!
//! ```text
//! scale/pages/mem=128M/used=75/order-0-pair
//! ```

use super::{Error, Instructions, Run, objects, pages, vmalloc};
use crate::memory::{self, EARLY};
use ::bench::{Meter, Samples, Unit};
use ::peers::Rng;
use alloc::format;
use alloc::vec::Vec;
use mm::{Frames, Gfp, PageSource, PageState};
use types::{Order, Pfn};

/// Hundredths in use, as they come when memory is given back.
const USED: [u32; 9] = [99, 95, 90, 75, 50, 25, 10, 5, 1];
const SAMPLES: usize = 31;
/// Pages of a burst: several fillings of the per-CPU list.
const BURST: u32 = 256;
const GFP: Gfp = Gfp::KERNEL.union(Gfp::__NOWARN).union(Gfp::__NORETRY);
/// The same from all zones.
const ANYWHERE: Gfp = GFP.union(Gfp::__HIGHMEM);
const VMALLOC: u32 = 64 << 10;

type Operation = fn(&Meter<Instructions>) -> Result<u32, Error>;

const OPERATIONS: [(&str, Operation); 5] = [
    ("order-0-pair", |meter| timed(meter, || pages::pair(GFP, Order::ZERO))),
    ("order-0-burst", burst),
    ("order-3-pair", |meter| timed(meter, || pages::pair(GFP, Order::new(3).unwrap_or(Order::MAX)))),
    ("kmalloc-64-pair", |meter| timed(meter, || objects::kmalloc(64).and_then(objects::kfree))),
    ("vmalloc-64K-pair", |meter| timed(meter, || vmalloc::vmalloc(VMALLOC).and_then(vmalloc::vfree))),
];

pub fn run(run: &mut Run<'_, '_>) {
    if !run.filter.starts_with("scale/pages") {
        return;
    }
    let bytes = EARLY.lock().as_ref().map_or(0, |early| early.memblock.memory().total_size());
    let mut taken = take_all();
    Rng::new(bytes).shuffle(&mut taken);
    let all = taken.len() as u32;
    for used in USED {
        give_back(&mut taken, (u64::from(all) * u64::from(used) / 100) as usize);
        let prefix = format!("scale/pages/mem={}M/used={used}", bytes >> 20);
        OPERATIONS.iter().for_each(|(name, operation)| measure(run, &format!("{prefix}/{name}"), *operation));
    }
    give_back(&mut taken, 0);
}

/// What a request may still take, by page.
fn take_all() -> Vec<u32> {
    let free = memory::with(|mm| mm.pages.buddy().free_page_count()).unwrap_or(0);
    let mut taken = Vec::with_capacity(free as usize);
    while taken.len() < taken.capacity() {
        let page = memory::with(|mm| mm.pages.alloc_pages(ANYWHERE, Order::ZERO, PageState::Kernel));
        let Some(Ok(frames)) = page else { break };
        taken.push(frames.into_raw().0.get());
    }
    taken
}

fn give_back(taken: &mut Vec<u32>, keep: usize) {
    for pfn in taken.drain(keep.min(taken.len())..) {
        memory::with(|mm| mm.pages.free_pages(Frames::from_raw(Pfn::new(pfn), Order::ZERO)));
    }
}

#[inline(always)]
fn timed(meter: &Meter<Instructions>, operation: impl FnOnce() -> Result<(), Error>) -> Result<u32, Error> {
    let (cost, result) = meter.time(operation);
    result.map(|()| cost)
}

/// A page's share of taking many and giving them back.
fn burst(meter: &Meter<Instructions>) -> Result<u32, Error> {
    let mut held: [u32; BURST as usize] = [0; BURST as usize];
    let mut count = 0;
    let taking = meter.turns(BURST, |at| {
        held[at as usize] = pages::alloc_pages(GFP, Order::ZERO)?.into_raw().0.get();
        count = at as usize + 1;
        Ok::<(), Error>(())
    });
    let (freeing, ()) = meter.time(|| {
        for &pfn in &held[..count] {
            pages::free_pages(Frames::from_raw(Pfn::new(pfn), Order::ZERO));
        }
    });
    Ok((taking? + freeing) / BURST)
}

/// Memory may be too short for an operation: that is no failure of the benchmark.
fn measure(run: &mut Run<'_, '_>, name: &str, operation: Operation) {
    let mut room = [0; SAMPLES];
    let mut samples = Samples::new(&mut room);
    for _ in 0..SAMPLES {
        match operation(&run.meter) {
            Ok(cost) => samples.push(cost),
            Err(_) => return,
        }
    }
    if let Some(stat) = samples.stat() {
        run.record(name, stat, Unit::Instructions);
    }
}
