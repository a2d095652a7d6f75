//! Contig beside the allocators that one would use instead: a line a workload, a column an allocator, and who is better.
//!
//! The rows are those of the benchmark image's `peers/…`; the workloads and who takes part are the `peers` crate's.

use std::fmt;

use peers::Phase;
use peers::frames::{FramesPeer, FramesWork};
use peers::heap::{HeapPeer, HeapWork};

use super::grouped;
use super::results::Row;

/// What begins the names of all rows of this kind.
pub const PREFIX: &str = "peers/";
const PHASES: [Phase; 5] = [Phase::Pair, Phase::Alloc, Phase::Free, Phase::Operation, Phase::Realloc];
/// A difference below this many hundredths is none.
const NOTABLE: u32 = 2;

/// Figures of several allocators for the same work; Contig's come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// What the figures are.
    pub title: &'static str,
    /// The crates.
    pub columns: Vec<&'static str>,
    /// The workloads.
    pub lines: Vec<Line>,
}

/// A workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub what: String,
    /// The medians, by column; nothing where none was measured.
    pub cells: Vec<Option<u32>>,
}

impl Line {
    /// The best peer that is better than Contig: its column, and how many times better.
    pub fn better(&self) -> Option<(usize, f64)> {
        let ours = (*self.cells.first()?)?;
        let peers = self.cells.iter().enumerate().skip(1);
        let (at, best) = peers.filter_map(|(at, cell)| Some((at, (*cell)?))).min_by_key(|&(_, cost)| cost)?;
        let notable = u64::from(best) * u64::from(100 + NOTABLE) < u64::from(ours) * 100;
        notable.then(|| (at, f64::from(ours) / f64::from(best.max(1))))
    }
}

impl Matrix {
    /// All matrices that any of `rows` is in.
    pub fn all(rows: &[Row]) -> Vec<Self> {
        let all = [Self::frames(rows), Self::objects(rows), Self::memory(rows)];
        all.into_iter().filter(|matrix| !matrix.lines.is_empty()).collect()
    }

    fn frames(rows: &[Row]) -> Self {
        let columns = FramesPeer::ALL.map(FramesPeer::name).to_vec();
        let works = FramesWork::ALL.map(|work| (work.key(), work.name()));
        let title =
            "page frames, instructions an operation (free-list: of 2,048 frames where others have 32,768)";
        let lines = phases(rows, "frames", &works, &columns);
        Self { title, columns, lines }
    }

    fn objects(rows: &[Row]) -> Self {
        let columns = HeapPeer::ALL.map(HeapPeer::name).to_vec();
        let works = HeapWork::ALL.map(|work| (work.key(), work.name()));
        let lines = phases(rows, "objects", &works, &columns);
        Self { title: "objects, instructions an operation", columns, lines }
    }

    fn memory(rows: &[Row]) -> Self {
        let columns = HeapPeer::ALL.map(HeapPeer::name).to_vec();
        let lines = HeapWork::ALL.into_iter().filter_map(|work| {
            let find = |what: &str| median(rows, &format!("{PREFIX}memory/{}/{what}", work.key()));
            let cells: Vec<_> = columns.iter().map(|peer| find(peer)).collect();
            let live = grouped(find("live")?.into());
            Some(Line { what: format!("{} ({live} live)", work.name()), cells })
        });
        let lines = lines.collect();
        Self { title: "memory at the peak of live bytes, in bytes", columns, lines }
    }

    /// What is to be worked on next, worst first: the workload, and by whom and how much it is done better.
    pub fn better(&self) -> Vec<String> {
        let mut all: Vec<_> =
            self.lines.iter().filter_map(|line| line.better().map(|(at, times)| (line, at, times))).collect();
        all.sort_by(|a, b| b.2.total_cmp(&a.2));
        let text = |(line, at, times): (&Line, usize, f64)| {
            let cell = |at: usize| grouped(line.cells[at].unwrap_or(0).into());
            format!("{}: {} {}, contig {} ({times:.2} times)", line.what, self.columns[at], cell(at), cell(0))
        };
        all.into_iter().map(text).collect()
    }

    /// As a table of GitHub's Markdown; the best of a line is bold.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "| {} | {} |\n|---{}|\n",
            "workload",
            self.columns.join(" | "),
            "|---:".repeat(self.columns.len())
        );
        for line in &self.lines {
            let best = line.cells.iter().flatten().min();
            let cells: Vec<_> = line
                .cells
                .iter()
                .map(|cell| match cell {
                    Some(cost) if Some(cost) == best => format!("**{}**", grouped((*cost).into())),
                    Some(cost) => grouped((*cost).into()),
                    None => "–".to_owned(),
                })
                .collect();
            text += &format!("| {} | {} |\n", line.what, cells.join(" | "));
        }
        text
    }
}

fn median(rows: &[Row], name: &str) -> Option<u32> {
    rows.iter().find(|row| row.name == name).map(|row| row.median)
}

/// A line a phase of each workload that was measured for anyone.
fn phases(rows: &[Row], kind: &str, works: &[(&str, &str)], columns: &[&str]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (key, name) in works {
        for phase in PHASES {
            let cells: Vec<_> = columns
                .iter()
                .map(|peer| median(rows, &format!("{PREFIX}{kind}/{key}/{phase}/{peer}")))
                .collect();
            if cells.iter().any(Option::is_some) {
                lines.push(Line { what: format!("{name}: {phase}"), cells });
            }
        }
    }
    lines
}

/// Narrow enough for a column.
fn short(name: &str) -> &str {
    name.trim_end_matches("_allocator").trim_end_matches("-allocator")
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{:<52}", self.title, "")?;
        self.columns.iter().try_for_each(|name| write!(f, "{:>13}", short(name)))?;
        writeln!(f, "  better than contig")?;
        for line in &self.lines {
            let mut text = format!("{:<52}", line.what);
            for cell in &line.cells {
                text += &format!("{:>13}", cell.map_or("-".to_owned(), |cost| grouped(cost.into())));
            }
            if let Some((at, times)) = line.better() {
                text += &format!("  {}, {times:.1} times", short(self.columns[at]));
            }
            writeln!(f, "{text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::row;
    use super::*;

    fn rows() -> Vec<Row> {
        [
            ("peers/objects/hot/pair/contig", 60),
            ("peers/objects/hot/pair/talc", 120),
            ("peers/objects/lifo/free/contig", 250),
            ("peers/objects/lifo/free/talc", 100),
            ("peers/objects/lifo/free/rlsf", 50),
            ("peers/memory/hot/contig", 4096),
            ("peers/memory/hot/talc", 4095),
            ("peers/memory/hot/live", 64),
        ]
        .map(|(name, median)| row(name, median))
        .to_vec()
    }

    #[test]
    fn figures_stand_in_their_columns() {
        let all = Matrix::all(&rows());
        assert_eq!(all.len(), 2, "nothing of frames was measured");
        let lines = &all[0].lines;
        assert_eq!(
            lines.iter().map(|line| &*line.what).collect::<Vec<_>>(),
            ["64 bytes, hot: pair", "1,000 of 64 bytes, LIFO: free"]
        );
        assert_eq!(lines[1].cells, [Some(250), None, None, Some(100), Some(50), None]);
        assert_eq!(all[1].lines[0].what, "64 bytes, hot (64 live)");
    }

    #[test]
    fn who_is_better_is_named_with_the_factor() {
        let all = Matrix::all(&rows());
        assert_eq!(all[0].better(), ["1,000 of 64 bytes, LIFO: free: rlsf 50, contig 250 (5.00 times)"]);
        assert!(all[1].better().is_empty(), "a thousandth is no difference");
        let text = all[0].to_string();
        assert!(text.lines().nth(3).is_some_and(|line| line.ends_with("  rlsf, 5.0 times")), "{text}");
        assert!(text.lines().nth(2).is_some_and(|line| line.ends_with('-')), "{text}");
    }

    #[test]
    fn markdown_marks_the_best() {
        let text = Matrix::all(&rows())[0].markdown();
        assert!(text.contains("| 64 bytes, hot: pair | **60** | – | – | 120 | – | – |"), "{text}");
        let widths: Vec<_> = text.lines().map(|line| line.matches('|').count()).collect();
        assert!(widths.iter().all(|&width| width == widths[0]), "{text}");
    }
}
