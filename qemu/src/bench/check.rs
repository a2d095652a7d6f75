//! Comparing with an earlier run: what got worse.
//!
//! Medians count. More is worse for every unit there is.

use std::fmt;

use super::grouped;
use super::results::Row;

/// Hundredths by which a median may grow.
pub const TOLERANCE: u32 = 2;

/// One thing that is not as good as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worse {
    /// It costs more than [`TOLERANCE`] allows.
    Costs {
        /// The row.
        name: String,
        /// What its numbers count.
        unit: String,
        /// The median then.
        before: u32,
        /// The median now.
        now: u32,
    },
    /// It was measured then and not now.
    Gone {
        /// The row.
        name: String,
    },
    /// It counts something else now.
    Unit {
        /// The row.
        name: String,
        /// What it counted.
        before: String,
        /// What it counts.
        now: String,
    },
}

/// What got worse since `before`, of the rows that have `filter` in their names.
pub fn worse(before: &[Row], now: &[Row], filter: &str) -> Vec<Worse> {
    let asked = before.iter().filter(|row| row.name.contains(filter));
    let compared = asked.map(|old| (old, now.iter().find(|row| row.name == old.name)));
    compared.filter_map(|(old, new)| compare(old, new)).collect()
}

fn compare(old: &Row, new: Option<&Row>) -> Option<Worse> {
    let name = old.name.clone();
    let Some(new) = new else { return Some(Worse::Gone { name }) };
    if old.unit != new.unit {
        return Some(Worse::Unit { name, before: old.unit.clone(), now: new.unit.clone() });
    }
    grew(old.median, new.median, TOLERANCE).then(|| Worse::Costs {
        name,
        unit: old.unit.clone(),
        before: old.median,
        now: new.median,
    })
}

/// What to know when something got worse since a run with another compiler: nothing when it is the same, or unknown.
pub fn other_compiler(before: &str, now: &str) -> Option<String> {
    (!before.is_empty() && before != now)
        .then(|| format!("compared with a build by {before}, this is {now}: the cause may be its code"))
}

/// Whether `now` is more than `percent` hundredths above `before`.
pub fn grew(before: u32, now: u32, percent: u32) -> bool {
    u64::from(now) * 100 > u64::from(before) * u64::from(100 + percent)
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Costs { name, unit, before, now } => {
                let more = (f64::from(*now) / f64::from((*before).max(1)) - 1.0) * 100.0;
                let (before, now) = (grouped((*before).into()), grouped((*now).into()));
                write!(f, "worse: {name}: {now} {unit}, was {before} (+{more:.1} %)")
            }
            Self::Gone { name } => write!(f, "worse: {name}: not measured any more"),
            Self::Unit { name, before, now } => write!(f, "worse: {name}: counts {now}, was {before}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::row;
    use super::*;

    #[test]
    fn two_percent_are_allowed() {
        assert!(!grew(100, 102, TOLERANCE));
        assert!(grew(100, 103, TOLERANCE));
        assert!(!grew(30, 30, TOLERANCE) && grew(30, 31, TOLERANCE));
        assert!(!grew(0, 0, TOLERANCE) && grew(0, 1, TOLERANCE));
        assert!(!grew(u32::MAX, u32::MAX, TOLERANCE));
    }

    #[test]
    fn another_compiler_is_named() {
        let line = other_compiler("rustc 1.95.0 (a)", "rustc 1.96.0 (b)").unwrap();
        assert!(line.contains("by rustc 1.95.0 (a), this is rustc 1.96.0 (b)"));
        assert_eq!(other_compiler("rustc 1.95.0 (a)", "rustc 1.95.0 (a)"), None);
        assert_eq!(other_compiler("", "rustc 1.95.0 (a)"), None, "a file from before it was written down");
    }

    #[test]
    fn what_got_worse_is_named() {
        let before = [row("a", 100), row("b", 100), row("c", 100), row("d", 100)];
        let mut now = [row("a", 102), row("b", 150), row("d", 1), row("new", 9)];
        now[2].unit = "kB".to_owned();
        let lines: Vec<_> = worse(&before, &now, "").iter().map(Worse::to_string).collect();
        assert_eq!(
            lines,
            [
                "worse: b: 150 instructions, was 100 (+50.0 %)",
                "worse: c: not measured any more",
                "worse: d: counts kB, was instructions"
            ]
        );
        assert_eq!(worse(&before, &now, "c"), [Worse::Gone { name: "c".to_owned() }]);
        assert!(worse(&before, &before, "").is_empty());
    }
}
