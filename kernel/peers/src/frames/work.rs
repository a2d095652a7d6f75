//! The workloads of page frames.
//!
//! ```text
//! single, order 3, 9, 10   a pair again and again: what was just freed is taken
//! thousand                 1,000 single frames taken, then freed in the order they came
//! random                   32,768 single frames taken, then freed in a random order
//! fragmented               32,768 taken, every other one of a random order freed; then single frames, and order 2
//! run                      48 MiB in one stretch, from memory that is all free
//! ```

use super::{Frames, FramesVisitor};
use crate::meter::{Cost, Meter, Phase};
use crate::rng::Rng;
use alloc::{vec, vec::Vec};
use core::hint::black_box;

/// Frames of the workload `Thousand`.
const THOUSAND: u32 = 1_000;
/// Pairs in a loop, where one is cheap.
const PAIRS: u32 = 256;
/// Pairs in a loop, where one may cost as much as a search through everything.
const FEW: u32 = 8;
/// The order that is asked for in fragmented memory.
const FRAGMENTED_ORDER: u8 = 2;

/// A workload of page frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FramesWork {
    /// A hot pair of one frame.
    Single,
    /// A hot pair of 8 frames.
    Order3,
    /// A hot pair of 512 frames.
    Order9,
    /// A hot pair of 1,024 frames.
    Order10,
    /// 1,000 frames taken, then freed.
    Thousand,
    /// Many frames taken, then freed in random order.
    Random,
    /// A hot pair of one frame, while half of many frames is free, at random places.
    FragmentedSingle,
    /// The same for 4 frames.
    FragmentedOrder2,
    /// 48 MiB.
    Run,
}

/// What was measured: the allocator gave less than it was asked for where there is nothing.
pub type FramesMeasured = Option<Vec<(Phase, Cost)>>;

/// The allocator had nothing left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Exhausted;

type Costs = Result<Vec<(Phase, Cost)>, Exhausted>;

impl FramesWork {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Single,
        Self::Order3,
        Self::Order9,
        Self::Order10,
        Self::Thousand,
        Self::Random,
        Self::FragmentedSingle,
        Self::FragmentedOrder2,
        Self::Run,
    ];

    /// What a table calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "one frame, hot",
            Self::Order3 => "order 3, hot",
            Self::Order9 => "order 9, hot",
            Self::Order10 => "order 10, hot",
            Self::Thousand => "1,000 frames",
            Self::Random => "32,768 frames, freed in random order",
            Self::FragmentedSingle => "one frame, half freed at random",
            Self::FragmentedOrder2 => "order 2, half freed at random",
            Self::Run => "run of 48 MiB",
        }
    }

    /// Its part of a benchmark's name.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Order3 => "order-3",
            Self::Order9 => "order-9",
            Self::Order10 => "order-10",
            Self::Thousand => "thousand",
            Self::Random => "random",
            Self::FragmentedSingle => "fragmented-single",
            Self::FragmentedOrder2 => "fragmented-order-2",
            Self::Run => "run-48M",
        }
    }

    /// Runs it and measures.
    pub fn measure<F: Frames>(self, frames: &mut F, meter: &mut impl Meter) -> FramesMeasured {
        let costs = match self {
            Self::Single => hot(frames, 0, PAIRS, meter),
            Self::Order3 => hot(frames, 3, PAIRS, meter),
            Self::Order9 => hot(frames, 9, FEW, meter),
            Self::Order10 => hot(frames, 10, FEW, meter),
            Self::Thousand => many(frames, THOUSAND, false, meter),
            Self::Random => many(frames, F::MANY, true, meter),
            Self::FragmentedSingle => fragmented(frames, 0, PAIRS, meter),
            Self::FragmentedOrder2 => fragmented(frames, FRAGMENTED_ORDER, FEW, meter),
            Self::Run => run(frames, meter),
        };
        costs.ok()
    }

    /// Runs it on a fresh instance of a peer.
    pub fn measure_peer(self, peer: super::FramesPeer, meter: &mut impl Meter) -> FramesMeasured {
        let mut visitor = Measure { work: self, meter, costs: None };
        peer.visit(&mut visitor);
        visitor.costs
    }
}

struct Measure<'m, M> {
    work: FramesWork,
    meter: &'m mut M,
    costs: FramesMeasured,
}

impl<M: Meter> FramesVisitor for Measure<'_, M> {
    fn visit<F: Frames>(&mut self, frames: &mut F) {
        self.costs = self.work.measure(frames, self.meter);
    }
}

fn one(phase: Phase, cost: Cost) -> Costs {
    Ok(vec![(phase, cost)])
}

#[inline(always)]
fn pairs<F: Frames>(frames: &mut F, order: u8, count: u32) -> Result<(), Exhausted> {
    for _ in 0..count {
        let first = black_box(frames.alloc(order)).ok_or(Exhausted)?;
        frames.free(first, order);
    }
    Ok(())
}

/// While one frame is taken, so that a buddy allocator does not split and merge all of its memory every time.
fn hot<F: Frames>(frames: &mut F, order: u8, count: u32, meter: &mut impl Meter) -> Costs {
    let held = frames.alloc(0).ok_or(Exhausted)?;
    pairs(frames, order, 2)?;
    let cost = meter.time(count, || pairs(frames, order, count))?;
    frames.free(held, 0);
    one(Phase::Pair, cost)
}

#[inline(always)]
fn take<F: Frames>(frames: &mut F, count: u32, into: &mut Vec<u32>) -> Result<(), Exhausted> {
    for _ in 0..count {
        into.push(frames.alloc(0).ok_or(Exhausted)?);
    }
    Ok(())
}

#[inline(always)]
fn give<F: Frames>(frames: &mut F, taken: &[u32]) {
    for &first in taken {
        frames.free(first, 0);
    }
}

fn many<F: Frames>(frames: &mut F, count: u32, random: bool, meter: &mut impl Meter) -> Costs {
    let mut taken = Vec::with_capacity(count as usize);
    let alloc = meter.time(count, || take(frames, count, &mut taken))?;
    if random {
        Rng::new(count).shuffle(&mut taken);
    }
    let free = meter.time(count, || {
        give(frames, &taken);
        Ok(())
    })?;
    Ok(vec![(Phase::Alloc, alloc), (Phase::Free, free)])
}

fn fragmented<F: Frames>(frames: &mut F, order: u8, count: u32, meter: &mut impl Meter) -> Costs {
    let mut taken = Vec::with_capacity(F::MANY as usize);
    take(frames, F::MANY, &mut taken)?;
    Rng::new(F::MANY).shuffle(&mut taken);
    let (freed, kept) = taken.split_at(F::MANY as usize / 2);
    give(frames, freed);
    pairs(frames, order, 2)?;
    let cost = meter.time(count, || pairs(frames, order, count))?;
    give(frames, kept);
    one(Phase::Pair, cost)
}

#[inline(always)]
fn runs<F: Frames>(frames: &mut F, count: u32) -> Result<(), Exhausted> {
    for _ in 0..count {
        let first = black_box(frames.alloc_run()).ok_or(Exhausted)?;
        frames.free_run(first);
    }
    Ok(())
}

fn run<F: Frames>(frames: &mut F, meter: &mut impl Meter) -> Costs {
    runs(frames, 1)?;
    one(Phase::Pair, meter.time(FEW, || runs(frames, FEW))?)
}
