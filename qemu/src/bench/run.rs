//! Measuring: images booted under `--icount`, and what they say.

use std::time::Duration;

use bench::Line;

use super::boot::{BootCost, boot};
use super::results::Row;
use crate::board::Board;
use crate::error::Result;
use crate::image::{self, Flavor};
use crate::plan::Plan;
use crate::request::Request;
use crate::run::{Inputs, run};
use crate::session::{Answer, Outcome, Purpose, Report};

/// The command line of the machine on which Linux's figures were taken; the area is large enough for every row.
const CMDLINE: &str = "console=ttyAMA0 cma=32M";
/// The command line for what the kernel keeps for itself.
const SMALL_CMDLINE: &str = "console=ttyAMA0 cma=8M";
/// RAM of the board, in kB.
const RAM_KB: u32 = 128 << 10;
const TIMEOUT: Duration = Duration::from_secs(900);

const BOOT: &str = "boot/reset-to-memory";
const KEPT: &str = "size/kept-ram";

/// What came of a run.
#[derive(Debug, Default)]
pub struct Measured {
    /// What was measured, in the order in which it was.
    pub rows: Vec<Row>,
    /// What could not be: one line each.
    pub failures: Vec<String>,
    /// The exit status of the worst that happened to a machine: 0, 1 or 3.
    pub status: u8,
}

/// Measures every row that has `filter` in its name on `board`.
///
/// # Errors
/// When an image can't be built or booted.
pub fn measure(board: &Board, filter: &str, quiet: bool) -> Result<Measured> {
    let mut all = Measured::default();
    if BOOT.contains(filter) || KEPT.contains(filter) {
        all.boot(board, filter, quiet)?;
    }
    let request = Request { cmdline: Some(CMDLINE.to_owned()), ..Request::new(board.clone()) };
    all.add(measure_in(request, filter, quiet)?);
    Ok(all)
}

/// Boots the benchmark image as `request` says, and has it measure what has `filter` in its name.
///
/// # Errors
/// When the image can't be built or booted.
pub fn measure_in(request: Request, filter: &str, quiet: bool) -> Result<Measured> {
    let request = Request { icount: true, once: true, devices: false, flavor: Flavor::Bench, ..request };
    let image = image::build_flavor(Flavor::Bench, quiet)?;
    let command = format!("bench {filter}").trim_end().to_owned();
    let plan = Plan::new(request)?;
    let report =
        run(&plan, &image, Purpose::Commands(&[command]), Some(TIMEOUT), &mut (), Inputs::default())?;
    Ok(Measured::of(report))
}

impl Measured {
    fn of(report: Report) -> Self {
        let mut measured = Self { status: report.outcome.status(), ..Self::default() };
        for Answer { output, .. } in &report.answers {
            output.lines().filter_map(Line::parse).for_each(|line| match line {
                Ok(Line::Record(record)) => measured.rows.push(record.into()),
                Ok(Line::Failed { name, reason }) => measured.failures.push(format!("{name}: {reason}")),
                Err(error) => measured.failures.push(format!("a line of the benchmark image: {error}")),
            });
        }
        if measured.failures.is_empty() && report.outcome != Outcome::Success {
            let last = report.log.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
            measured.failures.push(format!("{}; its last line: {last}", report.outcome));
        }
        measured
    }

    /// Adds what came of another run.
    pub fn add(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.failures.extend(other.failures);
        self.status = self.status.max(other.status);
    }

    /// The rows for which the image that is flashed is booted.
    fn boot(&mut self, board: &Board, filter: &str, quiet: bool) -> Result<()> {
        let image = image::build(quiet)?;
        if BOOT.contains(filter) {
            let (BootCost { instructions, .. }, outcome) = boot(board.clone(), &image)?;
            match instructions.and_then(|count| u32::try_from(count).ok()) {
                Some(count) => self.rows.push(once(BOOT, count, bench::Unit::Instructions)),
                None => self.failures.push(format!("{BOOT}: no Memory: line with a stamp; {outcome}")),
            }
            self.status = self.status.max(outcome.status());
        }
        if KEPT.contains(filter) {
            self.kept(board, &image)?;
        }
        Ok(())
    }

    /// RAM without what `/proc/meminfo` calls the total.
    fn kept(&mut self, board: &Board, image: &image::Image) -> Result<()> {
        let request = Request {
            cmdline: Some(SMALL_CMDLINE.to_owned()),
            icount: true,
            once: true,
            devices: false,
            ..Request::new(board.clone())
        };
        let commands = ["cat /proc/meminfo".to_owned()];
        let plan = Plan::new(request)?;
        let report =
            run(&plan, image, Purpose::Commands(&commands), Some(TIMEOUT), &mut (), Inputs::default())?;
        match report.answers.first().and_then(|answer| mem_total(&answer.output)) {
            Some(total) => self.rows.push(once(KEPT, RAM_KB.saturating_sub(total), bench::Unit::KiloBytes)),
            None => self.failures.push(format!("{KEPT}: no MemTotal; {}", report.outcome)),
        }
        self.status = self.status.max(report.outcome.status());
        Ok(())
    }
}

fn once(name: &str, value: u32, unit: bench::Unit) -> Row {
    bench::Record { name, stat: bench::Stat::once(value), unit }.into()
}

/// `MemTotal` of `/proc/meminfo`, in kB.
fn mem_total(meminfo: &str) -> Option<u32> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    rest.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(output: &str, status: u32) -> Report {
        let command = "bench".to_owned();
        let outcome = match status {
            0 => Outcome::Success,
            status => Outcome::Failed { command: command.clone(), status },
        };
        let answers = vec![Answer { command, output: output.to_owned(), status: Some(status) }];
        Report { outcome, log: format!("boot\n{output}\n"), answers }
    }

    #[test]
    fn lines_become_rows_and_failures() {
        let output = "[    1.0] log\nbench: a/b 1 2 3 4 kB\nbench: c failed: no room\nbench: d 1 kB\n";
        let measured = Measured::of(report(output, 1));
        let row = Row { name: "a/b".into(), unit: "kB".into(), min: 1, median: 2, max: 3, count: 4 };
        assert_eq!(measured.rows, [row]);
        assert_eq!(measured.failures.len(), 2);
        assert_eq!(measured.failures[0], "c: no room");
        assert_eq!(measured.status, 1);
    }

    #[test]
    fn a_machine_that_dies_is_a_failure() {
        let measured = Measured::of(report("sh: bench: not found", 127));
        assert_eq!((measured.status, measured.rows.len()), (1, 0));
        let line = "command failed with status 127: bench; its last line: sh: bench: not found";
        assert_eq!(measured.failures, [line]);
        assert!(Measured::of(report("", 0)).failures.is_empty());
    }

    #[test]
    fn the_total_is_found() {
        assert_eq!(mem_total("MemTotal:         109528 kB\nMemFree: 1 kB\n"), Some(109_528));
        assert_eq!(mem_total("MemFree: 1 kB\n"), None);
    }
}
