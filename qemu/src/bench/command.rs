//! `bench` on the command line.
//!
//! Exit status 1: a call could not be measured, a target is missed without a reason, moving pages costs more than its
//! pages, or something got worse.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::check::{self, Worse};
use super::peers::Matrix;
use super::run::{Measured, measure};
use super::svg::{self, Plot};
use super::table::Table;
use super::{DEFAULT_BOARD, boot, figures, page, results, scale};
use crate::board::{Board, boards_dir};
use crate::error::{Error, Result};
use crate::image;
use crate::setup::{Host, Tool, compiler, ensure};

/// `boot` measures only what it takes to come up, and how large the image is
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Only {
    Boot,
}

/// The options of `bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// Only the boot: instructions up to the Memory: line, and the image's sizes
    #[arg(conflicts_with_all = ["filter", "json", "scale", "svg", "page", "check"])]
    only: Option<Only>,
    /// Only what has this in its name
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    filter: String,
    /// Write all rows to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Growth too: 8 MiB to 2 GiB of RAM, CMA areas of 8 to 512 MiB, which takes minutes; alone with --filter scale/
    #[arg(long)]
    scale: bool,
    /// Growth too, and a plot a subject: FILE-SUBJECT.svg for FILE.svg
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Growth too, and all tables and plots as a page: DIR/benchmarks.md, DIR/benchmarks/*.svg
    #[arg(long, value_name = "DIR", conflicts_with = "filter")]
    page: Option<PathBuf>,
    /// Compare with such a file of an earlier run; status 1 if a median is more than 2 % worse
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

impl Bench {
    /// Measures, prints and compares; the exit status.
    ///
    /// # Errors
    /// When nothing can be measured, or a file can't be read or written.
    pub fn run(&self) -> Result<u8> {
        if let Some(Only::Boot) = self.only {
            return boot_only();
        }
        // What can't be read is better known before than after the minutes of measuring.
        let before = self.check.as_deref().map(results::read).transpose()?;
        let figures = figures::all()?;
        ensure(&[Tool::Qemu, Tool::Dtc], &Host::here())?;
        let measured = self.measure()?;
        if measured.rows.is_empty() && measured.failures.is_empty() {
            return Err(Error::UnknownBenchmark { filter: self.filter.clone() });
        }
        print!("{}", Table { rows: &measured.rows, figures: &figures });
        Matrix::all(&measured.rows).iter().for_each(|matrix| print!("\n{matrix}"));
        let plots = scale::plots(&measured.rows);
        if self.svg.is_some() && plots.is_empty() {
            return Err(Error::UnknownBenchmark { filter: self.filter.clone() });
        }
        plots.iter().for_each(|plot| print!("\n{plot}"));
        if let Some(file) = &self.svg {
            write_plots(file, &plots)?;
        }
        if let Some(dir) = &self.page {
            page::write(dir, &measured.rows, &figures, &plots)?.iter().for_each(|file| println!("{file}"));
        }
        if let Some(file) = &self.json {
            results::write(file, &measured.rows)?;
        }
        let failures = measured.failures.iter().map(|line| format!("failed: {line}"));
        let complaints = figures::complaints(&figures, &measured.rows).into_iter();
        let contradictions = scale::contradictions(&measured.rows);
        let mut bad: Vec<_> = failures.chain(complaints).chain(contradictions).collect();
        if let Some(before) = before {
            let worse = check::worse(&before.rows, &measured.rows, &self.filter);
            bad.extend(worse.iter().map(Worse::to_string));
            if !worse.is_empty() {
                bad.extend(check::other_compiler(&before.rustc, &compiler()?));
            }
        }
        bad.iter().for_each(|line| eprintln!("{line}"));
        Ok(if bad.is_empty() { measured.status } else { measured.status.max(1) })
    }

    fn measure(&self) -> Result<Measured> {
        let growth_alone = self.filter.starts_with(scale::PREFIX);
        let mut measured = Measured::default();
        if !growth_alone {
            measured = measure(&Board::load(&boards_dir(), DEFAULT_BOARD)?, &self.filter, false)?;
        }
        if growth_alone || self.scale || self.svg.is_some() || self.page.is_some() {
            measured.add(scale::measure(&self.filter, false)?);
        }
        Ok(measured)
    }
}

/// Writes a file a plot, and says which.
fn write_plots(file: &Path, plots: &[Plot]) -> Result<()> {
    for plot in plots {
        let file = svg::file_for(file, &plot.subject);
        plot.write(&file)?;
        println!("{}", file.display());
    }
    Ok(())
}

fn boot_only() -> Result<u8> {
    let board = Board::load(&boards_dir(), DEFAULT_BOARD)?;
    ensure(&[Tool::Qemu, Tool::Dtc], &Host::here())?;
    let image = image::build(false)?;
    let (cost, outcome) = boot(board, &image)?;
    println!("{cost}");
    if outcome.status() != 0 {
        eprintln!("{outcome}");
    }
    Ok(if cost.met() { outcome.status() } else { 1 })
}
