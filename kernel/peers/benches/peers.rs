//! `cargo bench -p peers`: the workloads in real time on this machine, and the ratios of the others to Contig.
//!
//! One run measures everyone, so a ratio compares like with like however fast the machine is. Each iteration has a fresh
//! instance, and only the phase that is measured counts. The tables come last, for what was asked for: a ratio above 1
//! means that Contig is faster.

use criterion::Criterion;
use peers::frames::{FramesPeer, FramesWork};
use peers::heap::{Arena, HeapPeer, HeapWork};
use peers::{Cost, Meter, NoMeter, Phase};
use std::cell::Cell;
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(100);
const MEASUREMENT: Duration = Duration::from_millis(300);
const SAMPLES: usize = 10;

/// Nanoseconds.
struct Clock;

impl Meter for Clock {
    fn time<E>(&mut self, ops: u32, work: impl FnOnce() -> Result<(), E>) -> Result<Cost, E> {
        let start = Instant::now();
        work()?;
        Ok(Cost { ops, ticks: start.elapsed().as_nanos() as u64 })
    }
}

type Costs = Option<Vec<(Phase, Cost)>>;

/// The best time of an operation in nanoseconds: a line a workload and phase, a column an allocator.
struct Table {
    title: &'static str,
    columns: Vec<&'static str>,
    lines: Vec<(String, Vec<Option<f64>>)>,
}

impl Table {
    fn new(title: &'static str, columns: Vec<&'static str>) -> Self {
        Self { title, columns, lines: Vec::new() }
    }

    /// The time of Contig, and those of the others over it.
    fn print(&self) {
        print!("\n{}\n{:<54}{:>12}", self.title, "", "contig, ns");
        self.columns[1..].iter().for_each(|name| print!("{name:>24}"));
        for (what, times) in &self.lines {
            let Some(ours) = times[0] else { continue };
            print!("\n{what:<54}{ours:>12.1}");
            for time in &times[1..] {
                let ratio = time.map_or("-".to_owned(), |theirs| format!("{:.2}", theirs / ours));
                print!("{ratio:>24}");
            }
        }
        println!();
    }

    /// Measures one workload: `run` runs it on a fresh instance of the allocator in a column.
    fn measure(
        &mut self,
        criterion: &mut Criterion,
        key: &str,
        name: &str,
        phases: &[Phase],
        run: &mut dyn FnMut(usize) -> Costs,
    ) {
        for (at, phase) in phases.iter().enumerate() {
            let times = self.columns.clone().into_iter().enumerate().map(|(column, peer)| {
                let best = Cell::new(None);
                let mut once = || {
                    let cost = run(column).map_or(Cost::default(), |costs| costs[at].1);
                    let each = cost.ticks as f64 / f64::from(cost.ops.max(1));
                    best.set(Some(best.get().unwrap_or(f64::MAX).min(each)));
                    Duration::from_nanos(cost.ticks)
                };
                criterion.bench_function(&format!("{key}/{phase}/{peer}"), |bencher| {
                    bencher.iter_custom(|iterations| (0..iterations).map(|_| once()).sum());
                });
                best.get()
            });
            let times = times.collect();
            self.lines.push((format!("{name}: {phase}"), times));
        }
    }
}

fn phases(costs: Costs) -> Vec<Phase> {
    costs.unwrap_or_default().into_iter().map(|(phase, _)| phase).collect()
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES)
        .without_plots()
        .configure_from_args();
    let title = "page frames: time over contig's (free-list: of 2,048 frames where others have 32,768)";
    let mut frames = Table::new(title, FramesPeer::ALL.map(FramesPeer::name).to_vec());
    for work in FramesWork::ALL {
        let phases = phases(work.measure_peer(FramesPeer::Contig, &mut NoMeter));
        let key = format!("frames/{}", work.key());
        let run = &mut |peer: usize| work.measure_peer(FramesPeer::ALL[peer], &mut Clock);
        frames.measure(&mut criterion, &key, work.name(), &phases, run);
    }
    let mut arena = Arena::new().expect("4 MiB of memory");
    let mut objects = Table::new("objects: time over contig's", HeapPeer::ALL.map(HeapPeer::name).to_vec());
    for work in HeapWork::ALL {
        let phases = phases(work.measure_peer(HeapPeer::Contig, &mut arena, &mut NoMeter));
        let key = format!("objects/{}", work.key());
        let run = &mut |peer: usize| work.measure_peer(HeapPeer::ALL[peer], &mut arena, &mut Clock);
        objects.measure(&mut criterion, &key, work.name(), &phases, run);
    }
    criterion.final_summary();
    frames.print();
    objects.print();
}
