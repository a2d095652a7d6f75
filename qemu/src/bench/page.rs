//! The page with the current tables and plots: `bench --page docs` writes `docs/benchmarks.md` and the plots beside it.
//!
//! All of its text is made here, so that nothing on it is older than the figures.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::figures::{Figure, Verdict};
use super::grouped;
use super::peers::Matrix;
use super::results::Row;
use super::svg::Plot;
use crate::error::{Error, Result};
use crate::image;

/// The page, in the folder that is given.
const PAGE: &str = "benchmarks.md";
/// The folder of the plots, beside the page.
const PLOTS: &str = "benchmarks";

const HEAD: &str = "\
# Benchmarks

Made by `cargo run -- bench --page docs`; not to be edited. The figures are instructions of the guest's CPU, counted by QEMU
(`-icount shift=0,sleep=off`: one nanosecond of guest time is one instruction), so they are the same on every machine.
The smallest, the middle and the largest of the repeats are given where they can differ.

- The board is `vexpress-a7` with 128 MiB and one CPU, for growth `virt`. The image is the release build with one more
  command, `bench`; interrupts are on, as in normal running.
- Linux's figures and the floors are of Debian's 6.1.176 `armmp` kernel on the same emulated machine.
- A call is measured as a driver makes it, with its lock; what reading the counter costs is taken off.

## What the counts do not show

Instructions are not time. No cache miss, no wait for memory, no mispredicted branch and no stall of the pipeline is in them; a
load that takes a hundred cycles counts as one, and so does a cache operation by address, of which a large buffer has
thousands. QEMU has no caches and no write buffer. An allocator that touches fewer lines is better than its count says, one
that walks lists through cold memory is worse. Nor do the counts show what another CPU or a DMA master takes of the
memory's bandwidth. `cargo bench -p peers` measures time, on the host's CPU.
";

const PEERS: &str = "\
## Beside other allocators

Each allocator is a library here, Contig's too: an instance of its own, without the kernel's lock, without masking
interrupts, driven through the same loops (`kernel/peers`); the loop is in the figure. So Contig's figures differ from those of
the kernel's calls above. The best of a line is bold. Page frames are numbers without memory behind them: 65,536 of them, in a
workload that is called hot with one frame taken, so that a buddy allocator does not merge everything. Objects lie in 4 MiB.
`buddy_system_allocator` rounds the run of 48 MiB up to 64; `free-list` does the random orders with 2,048 frames, since its
cost grows with the square; Contig takes the run from a CMA area and writes down an owner for each page. Contig checks
each free (foreign, double, wrong size), which most of the others leave to their callers.
The trace is what this kernel's own heap did during a boot and 112 shell commands.
";

const MEMORY: &str = "\
Memory is the pages of the arena that the allocator held for Contig, and the pages that ever had a part of an object in
them for the others, which can't tell; what they keep elsewhere is not charged to them.
";

const GROWTH: &str = "\
## Growth

The same calls with 8 MiB to 2 GiB of RAM and 1 to 99 % of it in use, and `cma_alloc` from areas of 8 to 512 MiB that are 0,
50 and 100 % full of movable pages.
";

/// Writes the page and its plots into `dir`; the files.
///
/// # Errors
/// [`Error::File`].
pub fn write(dir: &Path, rows: &[Row], figures: &[Figure], plots: &[Plot]) -> Result<Vec<String>> {
    let beside = dir.join(PLOTS);
    fs::create_dir_all(&beside).map_err(Error::file("make", &beside))?;
    let mut files = Vec::new();
    for plot in plots {
        let file = beside.join(format!("{}.svg", plot.subject));
        plot.write(&file)?;
        files.push(file.display().to_string());
    }
    let file = dir.join(PAGE);
    image::replace(&file, text(rows, figures, plots).as_bytes())?;
    files.push(file.display().to_string());
    Ok(files)
}

fn text(rows: &[Row], figures: &[Figure], plots: &[Plot]) -> String {
    let mut text = String::from(HEAD);
    text += &calls(rows, figures);
    text += &missed(rows, figures);
    text += &peers(rows);
    if !plots.is_empty() {
        _ = writeln!(text, "\n{}", GROWTH.trim_end());
    }
    for Plot { subject, title, .. } in plots {
        _ = write!(text, "\n![{title}]({PLOTS}/{subject}.svg)\n");
    }
    text
}

fn compared<'a>(rows: &'a [Row], figures: &'a [Figure]) -> impl Iterator<Item = (&'a Figure, &'a Row)> {
    let row = |figure: &Figure| rows.iter().find(|row| row.name == figure.name);
    figures.iter().filter_map(move |figure| Some((figure, row(figure)?)))
}

fn calls(rows: &[Row], figures: &[Figure]) -> String {
    let mut text = String::from(
        "\n## The kernel's calls\n\nInstructions, where no unit is named. The ratio is Linux's figure over our median.\n\n\
         | operation | min | median | max | target | | Linux 6.1 | ratio | floor |\n\
         |---|---:|---:|---:|---:|---|---:|---:|---:|\n",
    );
    for (figure, row) in compared(rows, figures) {
        let [min, median, max, target, linux] =
            [row.min, row.median, row.max, figure.target, figure.linux].map(|number| grouped(number.into()));
        let ratio = f64::from(figure.linux) / f64::from(row.median.max(1));
        let floor = figure.floor.map(|floor| grouped(floor.into())).unwrap_or_default();
        let mark = if row.median <= figure.target { "met" } else { "**missed**" };
        let what = &figure.what;
        _ = writeln!(
            text,
            "| {what} | {min} | {median} | {max} | {target} | {mark} | {linux} | {ratio:.1} | {floor} |"
        );
    }
    text
}

fn missed(rows: &[Row], figures: &[Figure]) -> String {
    let missed = |(figure, row): &(&Figure, &Row)| {
        matches!(figure.verdict(row), Verdict::Missed | Verdict::Unexplained)
    };
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (figure, _) in compared(rows, figures).filter(missed) {
        let reason = figure.missed.as_deref().unwrap_or("not explained yet.");
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, whats)) => whats.push(&figure.what),
            None => reasons.push((reason, vec![&figure.what])),
        }
    }
    let lines: String =
        reasons.iter().map(|(reason, whats)| format!("- {}: {reason}\n", whats.join("; "))).collect();
    let head = if lines.is_empty() { "Every target is met.\n" } else { "Missed, and why:\n\n" };
    format!("\n{head}{lines}")
}

fn peers(rows: &[Row]) -> String {
    let matrices = Matrix::all(rows);
    if matrices.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{PEERS}");
    for matrix in &matrices {
        let title = capitalised(matrix.title);
        _ = write!(text, "\n### {title}\n\n{}", matrix.markdown());
        let better = matrix.better();
        if !better.is_empty() {
            let lines: String = better.iter().map(|line| format!("- {line}\n")).collect();
            _ = write!(
                text,
                "\nPeers that are better, worst row first; these are to be worked on next:\n\n{lines}"
            );
        }
    }
    text + "\n" + MEMORY
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::results::row;
    use super::super::svg::{Axis, Scale, Series};
    use super::*;

    fn figure(name: &str, target: u32, missed: Option<&str>) -> Figure {
        let what = format!("what {name} is");
        Figure { name: name.into(), what, linux: 900, target, floor: None, missed: missed.map(str::to_owned) }
    }

    fn plot() -> Plot {
        let axis = || Axis { label: "x".into(), scale: Scale::FromZero };
        let series = vec![Series { label: "one".into(), points: vec![(1.0, 2.0)] }];
        let (subject, title, note) = ("s".into(), "T".into(), "n".into());
        Plot { subject, title, x: axis(), y: axis(), note, series }
    }

    #[test]
    fn the_page_names_what_is_missed_and_who_is_better() {
        let rows = [
            row("a", 50),
            row("b", 60),
            row("c", 70),
            row("peers/objects/hot/pair/contig", 90),
            row("peers/objects/hot/pair/rlsf", 30),
        ];
        let reason = Some("the reason");
        let figures = [figure("a", 55, None), figure("b", 55, reason), figure("c", 55, reason)];
        let text = text(&rows, &figures, &[plot()]);
        assert!(text.contains("| what a is | 50 | 50 | 50 | 55 | met | 900 | 18.0 |  |"), "{text}");
        assert!(text.contains("- what b is; what c is: the reason\n"), "{text}");
        assert!(text.contains("- 64 bytes, hot: pair: rlsf 30, contig 90 (3.00 times)"), "{text}");
        assert!(text.contains("![T](benchmarks/s.svg)"), "{text}");
    }

    #[test]
    fn page_and_plots_are_files() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), &[row("a", 50)], &[figure("a", 55, None)], &[plot()]).unwrap();
        assert_eq!(files.len(), 2);
        assert!(fs::read_to_string(&files[0]).unwrap().contains("</svg>"));
        assert!(fs::read_to_string(&files[1]).unwrap().contains("Every target is met."));
    }
}
