//! The table, for people. Rows of other allocators ([`peers`]) and of growth ([`scale`])
//! stand in tables of their own.

use std::fmt;

use super::figures::{Figure, Verdict};
use super::results::Row;
use super::{grouped, peers, scale};

/// Rows beside their figures; rows without figures come after them.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// What was measured.
    pub rows: &'a [Row],
    /// What it is compared with, in the table's order.
    pub figures: &'a [Figure],
}

impl Table<'_> {
    fn compared(&self) -> impl Iterator<Item = (&Figure, &Row)> {
        let row = |figure: &Figure| self.rows.iter().find(|row| row.name == figure.name);
        self.figures.iter().filter_map(move |figure| Some((figure, row(figure)?)))
    }

    fn others(&self) -> impl Iterator<Item = &Row> {
        let alone = |row: &&Row| self.figures.iter().all(|figure| figure.name != row.name);
        let elsewhere =
            |row: &&Row| [peers::PREFIX, scale::PREFIX].iter().any(|kind| row.name.starts_with(kind));
        self.rows.iter().filter(move |row| !elsewhere(row)).filter(alone)
    }
}

/// Operation, minimum, median, maximum, target, met or not, Linux, Linux over ours, floor.
fn line(f: &mut fmt::Formatter<'_>, what: &str, cells: [&str; 8]) -> fmt::Result {
    let [min, median, max, target, mark, linux, ratio, floor] = cells;
    let text = format!(
        "{what:<50}{min:>11}{median:>11}{max:>11}{target:>11} {mark:<6}{linux:>11}{ratio:>9}{floor:>8}"
    );
    writeln!(f, "{}", text.trim_end())
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.compared().next().is_some() {
            let head = ["min", "median", "max", "target", "", "Linux 6.1", "Linux/us", "floor"];
            line(f, "operation (instructions, if nothing else is said)", head)?;
            self.compared().try_for_each(|(figure, row)| compared(f, figure, row))?;
        }
        for row in self.others() {
            let Row { name, unit, min, median, max, .. } = row;
            let [min, median, max] = [min, median, max].map(|&number| grouped(number.into()));
            line(f, &format!("{name} ({unit})"), [&min, &median, &max, "", "", "", "", ""])?;
        }
        let missed = self.compared().filter(|(figure, row)| figure.verdict(row) == Verdict::Missed);
        for (at, (figure, _)) in missed.enumerate() {
            let reason = figure.missed.as_deref().unwrap_or_default();
            writeln!(f, "{}{}: {reason}", if at == 0 { "\nmissed targets:\n" } else { "" }, figure.what)?;
        }
        Ok(())
    }
}

fn compared(f: &mut fmt::Formatter<'_>, figure: &Figure, row: &Row) -> fmt::Result {
    let [min, median, max, target, linux] =
        [row.min, row.median, row.max, figure.target, figure.linux].map(|number| grouped(number.into()));
    let ratio = format!("{:.1}", f64::from(figure.linux) / f64::from(row.median.max(1)));
    let floor = figure.floor.map(|floor| grouped(floor.into())).unwrap_or_default();
    let mark = match figure.verdict(row) {
        Verdict::Met | Verdict::Outdated => "met",
        Verdict::Missed | Verdict::Unexplained => "missed",
    };
    line(f, &figure.what, [&min, &median, &max, &target, mark, &linux, &ratio, &floor])
}

#[cfg(test)]
mod tests {
    use super::super::results::row;
    use super::*;

    #[test]
    fn a_row_has_its_figures_beside_it() {
        let figure = Figure {
            name: "pages/order-0/pair".into(),
            what: "alloc_pages order 0, hot pair".into(),
            linux: 624,
            target: 80,
            floor: Some(30),
            missed: Some("locks are taken twice".into()),
        };
        let rows = [row("x/peer", 5), Row { min: 90, max: 1420, ..row("pages/order-0/pair", 96) }];
        let text = Table { rows: &rows, figures: std::slice::from_ref(&figure) }.to_string();
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let cells = ["90", "96", "1,420", "80", "missed", "624", "6.5", "30"];
        assert_eq!(lines[1][lines[1].len() - 8..], cells);
        assert_eq!(lines[2][..3], ["x/peer", "(instructions)", "5"]);
        assert!(text.ends_with("missed targets:\nalloc_pages order 0, hot pair: locks are taken twice\n"));
        let met = Figure { missed: None, target: 96, ..figure };
        let text = Table { rows: &rows[1..], figures: &[met] }.to_string();
        assert!(text.contains(" met ") && !text.contains("missed"), "{text}");
    }
}
