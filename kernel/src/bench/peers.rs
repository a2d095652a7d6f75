//! The allocators that one would use instead, and Contig's as libraries beside them, through the same loops
//! ([`::peers`]).
//!
//! ```text
//! peers/frames/WORK/PHASE/CRATE    instructions an operation
//! peers/objects/WORK/PHASE/CRATE   the same
//! peers/memory/WORK/CRATE          bytes of memory at the peak
//! peers/memory/WORK/live           bytes that were asked for and alive at the peak
//! ```
//! Each repeat has a fresh instance. Their own memory (records, sets, lists) comes from the kernel's allocator.

use super::{Error, Instructions, Run};
use ::bench::{Samples, Stat, Unit};
use ::peers::frames::{FramesPeer, FramesWork};
use ::peers::heap::{Arena, HeapPeer, HeapWork};
use ::peers::{Cost, Meter, Phase};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Fresh instances that a workload is repeated on.
const REPEATS: usize = 3;

/// The benchmarks' meter as the workloads want it.
struct Counted<'m>(&'m ::bench::Meter<Instructions>);

impl Meter for Counted<'_> {
    #[inline(always)]
    fn time<E>(&mut self, ops: u32, work: impl FnOnce() -> Result<(), E>) -> Result<Cost, E> {
        let (ticks, result) = self.0.time(work);
        result.map(|()| Cost { ops, ticks: u64::from(ticks) })
    }
}

type Costs = Vec<(Phase, Cost)>;

pub fn run(run: &mut Run<'_, '_>) {
    for work in FramesWork::ALL {
        for peer in FramesPeer::ALL {
            let prefix = format!("peers/frames/{}", work.key());
            measured(run, &prefix, peer.name(), |meter| work.measure_peer(peer, meter));
        }
    }
    let Some(mut arena) = Arena::new() else { return run.fail("peers/objects", &Error::Exhausted) };
    for work in HeapWork::ALL {
        for peer in HeapPeer::ALL {
            let prefix = format!("peers/objects/{}", work.key());
            measured(run, &prefix, peer.name(), |meter| work.measure_peer(peer, &mut arena, meter));
        }
    }
    for work in HeapWork::ALL {
        memory(run, work, &mut arena);
    }
}

/// The name of a phase's figure. Which phases there are is known only after measuring, so a filter chooses by what
/// comes before and after them.
fn name(prefix: &str, phase: Phase, peer: &str) -> String {
    format!("{prefix}/{phase}/{peer}")
}

fn measured(
    run: &mut Run<'_, '_>,
    prefix: &str,
    peer: &str,
    mut measure: impl FnMut(&mut Counted<'_>) -> Option<Costs>,
) {
    let wanted = [Phase::Pair, Phase::Alloc, Phase::Free, Phase::Operation, Phase::Realloc]
        .into_iter()
        .any(|phase| run.wants(&name(prefix, phase, peer)));
    if !wanted {
        return;
    }
    let costs: Option<Vec<Costs>> = (0..REPEATS).map(|_| measure(&mut Counted(&run.meter))).collect();
    let Some(costs) = costs else { return run.fail(&format!("{prefix}/{peer}"), &Error::Exhausted) };
    let phases = costs.first().into_iter().flatten().map(|&(phase, _)| phase);
    for (at, phase) in phases.enumerate() {
        let mut room = [0; REPEATS];
        let mut samples = Samples::new(&mut room);
        costs.iter().for_each(|costs| samples.push(costs[at].1.each() as u32));
        if let Some(stat) = samples.stat() {
            run.record(&name(prefix, phase, peer), stat, Unit::Instructions);
        }
    }
}

fn memory(run: &mut Run<'_, '_>, work: HeapWork, arena: &mut Arena) {
    let name = |what: &str| format!("peers/memory/{}/{what}", work.key());
    let mut live = 0;
    for peer in HeapPeer::ALL {
        if !run.wants(&name(peer.name())) {
            continue;
        }
        match work.footprint(peer, arena) {
            Some(peak) => {
                live = peak.live;
                run.record(&name(peer.name()), Stat::once(peak.memory as u32), Unit::Bytes);
            }
            None => run.fail(&name(peer.name()), &Error::Exhausted),
        }
    }
    if live > 0 {
        run.record(&name("live"), Stat::once(live as u32), Unit::Bytes);
    }
}
