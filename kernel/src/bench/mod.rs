//! The console command `bench`, which only the benchmark image has: what the kernel's calls cost, in instructions.
//!
//! ```text
//! bench [NAME]   measures everything but growth ([`scale`]), or what has NAME in its name ─▶ lines of `::bench::Line`
//! ```
//! The calls are those that drivers make, locks included, with interrupts on. A sample is one call, or one call and
//! the one that undoes it, without the reading of the counter; where work is put off and done at once for many calls
//! (vmalloc's TLB flushes), it is the average over enough of them. The log takes warnings only meanwhile: Linux's figures
//! are without the lines of `cma_alloc` too, which are debug messages there.

mod cma;
mod dma;
mod error;
mod memory;
mod objects;
mod pages;
mod peers;
mod scale;
mod sizes;
mod vmalloc;

use ::bench::{Counter, Line, Meter, Record, Samples, Stat, Unit};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use arch_armv7::pmu;
use core::fmt::Write;
use error::Error;
use shell::{Command, Context, Failure};

/// See the [module](self).
pub const COMMAND: Command = Command {
    name: "bench",
    usage: "[NAME]",
    help: "count what calls cost; only those with NAME in their names",
    run: command,
};

/// Samples of a measurement, at most.
const SAMPLES: usize = 1001;

/// Under QEMU's `-icount shift=0`, a count of instructions.
struct Instructions;

impl Counter for Instructions {
    #[inline(always)]
    fn now(&self) -> u32 {
        pmu::cycles()
    }
}

/// A run of the command.
struct Run<'r, 'c> {
    out: &'r mut Context<'c>,
    filter: &'r str,
    meter: Meter<Instructions>,
    room: Vec<u32>,
    failed: bool,
}

fn command(context: &mut Context<'_>) -> Result<(), Failure> {
    let args = context.args;
    let filter = match args {
        [] => "",
        [filter] => filter,
        _ => return Err(Failure::Usage),
    };
    pmu::start();
    let meter = Meter::new(Instructions);
    let mut run = Run { out: context, filter, meter, room: vec![0; SAMPLES], failed: false };
    let level = log::max_level();
    log::set_max_level(log::LevelFilter::Warn);
    run.everything();
    log::set_max_level(level);
    if run.failed { Err(Failure::Status(1)) } else { Ok(()) }
}

impl Run<'_, '_> {
    fn everything(&mut self) {
        if scale::wanted(self.filter) {
            return scale::run(self);
        }
        pages::run(self);
        objects::run(self);
        vmalloc::run(self);
        memory::run(self);
        cma::run(self);
        dma::run(self);
        sizes::run(self);
        peers::run(self);
    }

    /// Whether `name` is asked for.
    fn wants(&self, name: &str) -> bool {
        name.contains(self.filter)
    }

    fn record(&mut self, name: &str, stat: Stat, unit: Unit) {
        if self.wants(name) {
            // Nobody listens any more after Ctrl-C.
            let _ = writeln!(self.out, "{}", Line::Record(Record { name, stat, unit }));
        }
    }

    fn fail(&mut self, name: &str, error: &Error) {
        self.failed = true;
        let reason = &format!("{error}");
        let _ = writeln!(self.out, "{}", Line::Failed { name, reason });
    }

    /// Takes `count` samples of `name`, if it is asked for.
    #[inline(always)]
    fn samples(
        &mut self,
        name: &str,
        count: usize,
        mut sample: impl FnMut(&Meter<Instructions>) -> Result<u32, Error>,
    ) {
        if !self.wants(name) {
            return;
        }
        let mut kept = Samples::new(&mut self.room);
        for _ in 0..count {
            match sample(&self.meter) {
                Ok(cost) => kept.push(cost),
                Err(error) => return self.fail(name, &error),
            }
        }
        if let Some(stat) = kept.stat() {
            self.record(name, stat, Unit::Instructions);
        }
    }

    /// Measures `call` again and again; each time is a sample.
    #[inline(always)]
    fn repeat(&mut self, name: &str, samples: usize, mut call: impl FnMut() -> Result<(), Error>) {
        self.samples(name, samples, |meter| {
            let (cost, result) = meter.time(&mut call);
            result.map(|()| cost)
        });
    }

    /// Measures `turns` calls at a time; a sample is their average.
    #[inline(always)]
    fn average(
        &mut self,
        name: &str,
        (samples, turns): (usize, u32),
        mut call: impl FnMut(u32) -> Result<(), Error>,
    ) {
        self.samples(name, samples, |meter| Ok(rounded(meter.turns(turns, &mut call)?, turns)));
    }
}

/// `sum / parts`, to the nearest.
fn rounded(sum: u32, parts: u32) -> u32 {
    (sum + parts / 2) / parts.max(1)
}
