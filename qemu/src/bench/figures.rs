//! The figures that ours stand beside: targets, Linux's, floors, and why a target is missed.
//!
//! They are data, `qemu/bench/figures.toml`. A target that is missed must have its reason there, and only that: a reason
//! for a target that is met is a mistake too, so the file can't grow old.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::results::Row;
use crate::error::{Error, Result};

/// The figures of one row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The row.
    pub name: String,
    /// What is measured, for people.
    pub what: String,
    /// Linux 6.1's figure on the same emulated machine.
    pub linux: u32,
    /// The most that ours may be.
    pub target: u32,
    /// What nothing can be below.
    pub floor: Option<u32>,
    /// Why the target is missed.
    pub missed: Option<String>,
}

/// How a row stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// At most the target.
    Met,
    /// Above it, and the file says why.
    Missed,
    /// Above it, without a word.
    Unexplained,
    /// At most the target, but the file says why it is missed.
    Outdated,
}

impl Figure {
    /// How `row` stands to the target.
    pub fn verdict(&self, row: &Row) -> Verdict {
        match (row.median <= self.target, &self.missed) {
            (true, None) => Verdict::Met,
            (true, Some(_)) => Verdict::Outdated,
            (false, Some(_)) => Verdict::Missed,
            (false, None) => Verdict::Unexplained,
        }
    }
}

/// Lines for what the file says wrongly, or does not say, about these rows.
pub fn complaints(figures: &[Figure], rows: &[Row]) -> Vec<String> {
    let pairs = rows.iter().filter_map(|row| figures.iter().find(|f| f.name == row.name).zip(Some(row)));
    let complaint = |(figure, row): (&Figure, &Row)| {
        let (name, median, target) = (&row.name, row.median, figure.target);
        match figure.verdict(row) {
            Verdict::Met | Verdict::Missed => None,
            Verdict::Unexplained => {
                Some(format!("{name}: {median} misses the target of {target}, unexplained"))
            }
            Verdict::Outdated => {
                Some(format!("{name}: {median} meets the target of {target}, but has a reason why not"))
            }
        }
    };
    pairs.filter_map(complaint).collect()
}

/// Where they are.
pub fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/figures.toml")
}

/// All figures, in the order of the table.
///
/// # Errors
/// [`Error::File`], [`Error::BadResults`].
pub fn all() -> Result<Vec<Figure>> {
    let file = file();
    let text = fs::read_to_string(&file).map_err(Error::file("read", &file))?;
    parse(&text).map_err(|reason| Error::BadResults { file, reason })
}

fn parse(text: &str) -> std::result::Result<Vec<Figure>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        row: Vec<Figure>,
    }
    let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    Ok(file.row)
}

#[cfg(test)]
mod tests {
    use super::super::results::row;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_file_is_sound() {
        let figures = all().unwrap();
        let names: BTreeSet<_> = figures.iter().map(|figure| figure.name.clone()).collect();
        assert_eq!(names.len(), figures.len(), "a name stands there once");
        for Figure { name, linux, target, floor, missed, .. } in figures {
            assert!(bench::valid_name(&name), "{name}");
            assert!(target < linux && floor.is_none_or(|floor| floor <= target), "{name}");
            assert!(missed.is_none_or(|why| why.len() > 20 && !why.contains('\n')), "{name}: a sentence");
        }
    }

    #[test]
    fn every_row_of_the_page_is_there() {
        // The table of linux-figures.md, a row for each figure in it.
        assert_eq!(all().unwrap().len(), 44);
    }

    #[test]
    fn reasons_belong_to_missed_targets_only() {
        let text = "[[row]]\nname='a'\nwhat='A'\nlinux=9\ntarget=5\n";
        let explained = format!("{text}missed='because of the cost of counting'\n");
        let (bare, explained) = (parse(text).unwrap(), parse(&explained).unwrap());
        let verdict = |figures: &[Figure], median| figures[0].verdict(&row("a", median));
        assert_eq!(verdict(&bare, 5), Verdict::Met);
        assert_eq!(verdict(&bare, 6), Verdict::Unexplained);
        assert_eq!(verdict(&explained, 6), Verdict::Missed);
        assert_eq!(verdict(&explained, 5), Verdict::Outdated);
        assert_eq!(complaints(&bare, &[row("a", 6)]), ["a: 6 misses the target of 5, unexplained"]);
        assert_eq!(complaints(&explained, &[row("a", 1)]).len(), 1);
        assert!(complaints(&bare, &[row("a", 5), row("b", 99)]).is_empty());
        assert!(complaints(&explained, &[row("a", 6)]).is_empty());
    }
}
