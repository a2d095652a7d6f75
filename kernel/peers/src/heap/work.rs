//! The workloads of objects, after those of mimalloc-bench that fit a kernel.
//!
//! ```text
//! hot       a pair of 64 bytes, again and again
//! churn     1,000 objects of 64 bytes live; a random one is replaced
//! lifo      1,000 objects of 64 bytes, freed last come first
//! fifo      the same, first come first
//! random    the same, in a random order
//! mixed     512 slots, 16 to 2,015 bytes; a random slot is filled or emptied
//! trace     what this kernel allocated from boot on
//! growth    8 buffers that take turns to grow from 16 bytes to 64 KiB, by half each time
//! ```

use super::{Arena, Exhausted, Footprint, Heap, HeapPeer, HeapVisitor, Peak, Store, TRACE, TraceOp, unpack};
use crate::meter::{Cost, Meter, NoMeter, Phase};
use crate::rng::Rng;
use alloc::{vec, vec::Vec};

const SIZE: u32 = 64;
const PAIRS: u32 = 256;
const OBJECTS: u32 = 1_000;
const CHURN: u32 = 4_096;
const MIXED_SLOTS: u32 = 512;
const MIXED_OPS: u32 = 4_096;
const MIXED_SIZES: core::ops::Range<u32> = 16..2_016;
const BUFFERS: u32 = 8;
const GROWTH: core::ops::RangeInclusive<u32> = 16..=64 << 10;

/// A workload of objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeapWork {
    /// A hot pair.
    Hot,
    /// Same sizes, replaced at random.
    Churn,
    /// Freed in reverse.
    Lifo,
    /// Freed in order.
    Fifo,
    /// Freed in a random order.
    Random,
    /// Random sizes.
    Mixed,
    /// The recorded trace.
    Trace,
    /// Buffers that grow.
    Growth,
}

/// What was measured; nothing when the heap had nothing left.
pub type HeapMeasured = Option<Vec<(Phase, Cost)>>;

type Costs = Result<Vec<(Phase, Cost)>, Exhausted>;

impl HeapWork {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Hot,
        Self::Churn,
        Self::Lifo,
        Self::Fifo,
        Self::Random,
        Self::Mixed,
        Self::Trace,
        Self::Growth,
    ];

    /// What a table calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hot => "64 bytes, hot",
            Self::Churn => "64 bytes, 1,000 live, a random one replaced",
            Self::Lifo => "1,000 of 64 bytes, LIFO",
            Self::Fifo => "1,000 of 64 bytes, FIFO",
            Self::Random => "1,000 of 64 bytes, freed in random order",
            Self::Mixed => "16 to 2,015 bytes at random",
            Self::Trace => "recorded trace",
            Self::Growth => "8 buffers growing to 64 KiB",
        }
    }

    /// Its part of a benchmark's name.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Churn => "churn",
            Self::Lifo => "lifo",
            Self::Fifo => "fifo",
            Self::Random => "random",
            Self::Mixed => "mixed",
            Self::Trace => "trace",
            Self::Growth => "growth",
        }
    }

    /// Runs it and measures.
    pub fn measure<H: Heap>(self, heap: &mut H, meter: &mut impl Meter) -> HeapMeasured {
        let costs = match self {
            Self::Hot => hot(heap, meter),
            Self::Churn => churn(heap, meter),
            Self::Lifo => thousand(heap, &(0..OBJECTS).rev().collect::<Vec<_>>(), meter),
            Self::Fifo => thousand(heap, &(0..OBJECTS).collect::<Vec<_>>(), meter),
            Self::Random => thousand(heap, &Rng::new(1).order(OBJECTS), meter),
            Self::Mixed => mixed(heap, meter),
            Self::Trace => trace(heap, meter),
            Self::Growth => growth(heap, meter),
        };
        costs.ok()
    }

    /// Runs it on a fresh instance of a peer.
    pub fn measure_peer(self, peer: HeapPeer, arena: &mut Arena, meter: &mut impl Meter) -> HeapMeasured {
        let mut visitor = Measure { work: self, meter, costs: None };
        peer.visit(arena, &mut visitor);
        visitor.costs
    }

    /// Runs it on a fresh instance of a peer, for the memory that it needs; `None` when there was not enough.
    pub fn footprint(self, peer: HeapPeer, arena: &mut Arena) -> Option<Peak> {
        let mut visitor = Watch { work: self, peak: None };
        peer.visit(arena, &mut visitor);
        visitor.peak
    }
}

struct Measure<'m, M> {
    work: HeapWork,
    meter: &'m mut M,
    costs: HeapMeasured,
}

impl<M: Meter> HeapVisitor for Measure<'_, M> {
    fn visit<H: Heap>(&mut self, heap: &mut H) {
        self.costs = self.work.measure(heap, self.meter);
    }
}

struct Watch {
    work: HeapWork,
    peak: Option<Peak>,
}

impl HeapVisitor for Watch {
    fn visit<H: Heap>(&mut self, heap: &mut H) {
        let mut watched = Footprint::new(heap);
        let ran = self.work.measure(&mut watched, &mut NoMeter).is_some();
        self.peak = ran.then(|| watched.peak());
    }
}

fn one(phase: Phase, cost: Cost) -> Costs {
    Ok(vec![(phase, cost)])
}

/// While one object is taken, so that a buddy allocator does not split and merge all of its memory every time.
fn hot<H: Heap>(heap: &mut H, meter: &mut impl Meter) -> Costs {
    let mut store = Store::new(heap, 1);
    store.take(0, SIZE)?;
    let mut pairs = |count| (0..count).try_for_each(|_| store.pair(SIZE));
    pairs(2)?;
    one(Phase::Pair, meter.time(PAIRS, || pairs(PAIRS))?)
}

fn fill<H: Heap>(store: &mut Store<'_, H>) -> Result<(), Exhausted> {
    (0..OBJECTS).try_for_each(|slot| store.take(slot, SIZE))
}

fn churn<H: Heap>(heap: &mut H, meter: &mut impl Meter) -> Costs {
    let mut rng = Rng::new(2);
    let slots: Vec<u32> = (0..CHURN).map(|_| rng.below(OBJECTS)).collect();
    let mut store = Store::new(heap, OBJECTS as usize);
    fill(&mut store)?;
    let cost = meter.time(CHURN, || {
        slots.iter().try_for_each(|&slot| {
            store.give(slot);
            store.take(slot, SIZE)
        })
    })?;
    one(Phase::Pair, cost)
}

fn thousand<H: Heap>(heap: &mut H, order: &[u32], meter: &mut impl Meter) -> Costs {
    let mut store = Store::new(heap, OBJECTS as usize);
    let alloc = meter.time(OBJECTS, || fill(&mut store))?;
    let free = meter.time(OBJECTS, || {
        order.iter().for_each(|&slot| store.give(slot));
        Ok::<(), Exhausted>(())
    })?;
    Ok(vec![(Phase::Alloc, alloc), (Phase::Free, free)])
}

fn mixed<H: Heap>(heap: &mut H, meter: &mut impl Meter) -> Costs {
    let mut rng = Rng::new(3);
    let sizes = MIXED_SIZES.end - MIXED_SIZES.start;
    let steps: Vec<(u32, u32)> =
        (0..MIXED_OPS).map(|_| (rng.below(MIXED_SLOTS), MIXED_SIZES.start + rng.below(sizes))).collect();
    let mut store = Store::new(heap, MIXED_SLOTS as usize);
    let cost = meter.time(MIXED_OPS, || {
        steps.iter().try_for_each(|&(slot, size)| {
            if store.is_taken(slot) {
                store.give(slot);
                return Ok(());
            }
            store.take(slot, size)
        })
    })?;
    one(Phase::Operation, cost)
}

fn trace<H: Heap>(heap: &mut H, meter: &mut impl Meter) -> Costs {
    let ops = unpack(TRACE);
    let slots = ops.iter().filter_map(|op| match *op {
        TraceOp::Alloc { slot, .. } => Some(slot as usize + 1),
        TraceOp::Free { .. } => None,
    });
    let mut store = Store::new(heap, slots.max().unwrap_or(0));
    let cost = meter.time(ops.len() as u32, || {
        ops.iter().try_for_each(|op| match *op {
            TraceOp::Alloc { slot, size } => store.take(slot, size),
            TraceOp::Free { slot } => {
                store.give(slot);
                Ok(())
            }
        })
    })?;
    one(Phase::Operation, cost)
}

fn growth<H: Heap>(heap: &mut H, meter: &mut impl Meter) -> Costs {
    let next = |&size: &u32| Some(size + size / 2).filter(|size| GROWTH.contains(size));
    let sizes: Vec<u32> = core::iter::successors(Some(*GROWTH.start()), next).collect();
    let mut store = Store::new(heap, BUFFERS as usize);
    for buffer in 0..BUFFERS {
        store.take(buffer, sizes[0])?;
    }
    let steps = BUFFERS * (sizes.len() as u32 - 1);
    let cost = meter.time(steps, || {
        sizes[1..].iter().try_for_each(|&size| (0..BUFFERS).try_for_each(|buffer| store.resize(buffer, size)))
    })?;
    one(Phase::Realloc, cost)
}
