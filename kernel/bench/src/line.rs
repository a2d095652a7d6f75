//! The lines in which the target tells the host what it measured.
//!
//! The benchmark image prints them on the console as the output of its command `bench`; the runner reads them out of
//! that output. Other lines there are the kernel's log and mean nothing.
//!
//! ```text
//! bench: NAME MIN MEDIAN MAX COUNT UNIT      measured COUNT times
//! bench: NAME failed: REASON                 could not be measured
//! ```
//! A name is a path: what it is about, then the case, as `pages/order-0/pair` or `scale/pages/mem=128M/used=50`. It stays
//! the same for good, since JSON files of earlier runs are compared by it.

use crate::Stat;
use core::fmt;

const MARK: &str = "bench: ";
const FAILED: &str = "failed: ";

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Unit {
    /// Instructions of the guest's CPU.
    Instructions,
    /// Bytes.
    Bytes,
    /// 1,024 bytes, as Linux's files write it.
    KiloBytes,
    /// Pages of 4 KiB.
    Pages,
    /// Hundredths.
    Percent,
    /// Things.
    Count,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 6] =
        [Self::Instructions, Self::Bytes, Self::KiloBytes, Self::Pages, Self::Percent, Self::Count];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Bytes => "bytes",
            Self::KiloBytes => "kB",
            Self::Pages => "pages",
            Self::Percent => "percent",
            Self::Count => "count",
        }
    }

    /// The unit that is written so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.name() == name)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Record<'a> {
    /// Of which operation ([`valid_name`]).
    pub name: &'a str,
    /// The numbers.
    pub stat: Stat,
    /// What they count.
    pub unit: Unit,
}

/// One line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line<'a> {
    /// Measured.
    Record(Record<'a>),
    /// Not measured.
    Failed {
        /// The operation.
        name: &'a str,
        /// Why.
        reason: &'a str,
    },
}

/// Why a marked line can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineError {
    /// No name, or one with characters that no name has.
    Name,
    /// Fewer or more than four numbers, or something else in their place.
    Numbers,
    /// A unit that there isn't.
    Unit,
    /// Minimum, median and maximum are out of order, or nothing was measured.
    Order,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "not a benchmark's name",
            Self::Numbers => "four numbers are expected: minimum, median, maximum, count",
            Self::Unit => "unknown unit",
            Self::Order => "minimum, median and maximum are out of order, or of nothing",
        })
    }
}

/// Whether `name` is one: lower-case letters, capital ones in sizes, digits, and `/ - = . _ ,`, none of them first.
#[must_use]
pub fn valid_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"/-=._,".contains(&byte);
    name.bytes().all(inner) && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(Record { name, stat, unit }) => {
                let Stat { min, median, max, count } = stat;
                write!(f, "{MARK}{name} {min} {median} {max} {count} {unit}")
            }
            Self::Failed { name, reason } => write!(f, "{MARK}{name} {FAILED}{reason}"),
        }
    }
}

impl<'a> Line<'a> {
    /// Reads a line; `None` when it is not marked as one of a benchmark.
    pub fn parse(line: &'a str) -> Option<Result<Self, LineError>> {
        Some(Self::parse_marked(line.trim_end().strip_prefix(MARK)?))
    }

    fn parse_marked(line: &'a str) -> Result<Self, LineError> {
        let (name, rest) = line.split_once(' ').ok_or(LineError::Name)?;
        if !valid_name(name) {
            return Err(LineError::Name);
        }
        if let Some(reason) = rest.strip_prefix(FAILED) {
            return Ok(Self::Failed { name, reason });
        }
        let (numbers, unit) = rest.rsplit_once(' ').ok_or(LineError::Numbers)?;
        let mut numbers = numbers.split(' ').map(|number| number.parse().map_err(|_| LineError::Numbers));
        let mut next = || numbers.next().unwrap_or(Err(LineError::Numbers));
        let stat = Stat { min: next()?, median: next()?, max: next()?, count: next()? };
        if numbers.next().is_some() {
            return Err(LineError::Numbers);
        }
        let unit = Unit::from_name(unit).ok_or(LineError::Unit)?;
        let ordered = stat.min <= stat.median && stat.median <= stat.max && stat.count > 0;
        if ordered { Ok(Self::Record(Record { name, stat, unit })) } else { Err(LineError::Order) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_line_is_read_back_as_it_was_written() {
        for unit in Unit::ALL {
            let stat = Stat { min: 0, median: 7, max: u32::MAX, count: 3 };
            let line = Line::Record(Record { name: "scale/pages/mem=128M/used=50", stat, unit });
            assert_eq!(Line::parse(&line.to_string()), Some(Ok(line)));
        }
        let line = Line::Failed { name: "cma/4M", reason: "out of memory: failed: order:10" };
        assert_eq!(Line::parse(&line.to_string()), Some(Ok(line)));
        assert_eq!(
            Line::Record(Record { name: "a/b", stat: Stat::once(5), unit: Unit::Bytes }).to_string(),
            "bench: a/b 5 5 5 1 bytes"
        );
    }

    #[test]
    fn other_lines_mean_nothing() {
        for line in ["", "[    0.1] bench: a 1 1 1 1 kB", "bench:", "benchmark: a 1 1 1 1 kB"] {
            assert_eq!(Line::parse(line), None, "{line}");
        }
    }

    #[test]
    fn broken_lines_say_why() {
        for (line, error) in [
            ("bench: a", LineError::Name),
            ("bench:  1 1 1 1 kB", LineError::Name),
            ("bench: a|b 1 1 1 1 kB", LineError::Name),
            ("bench: /a 1 1 1 1 kB", LineError::Name),
            ("bench: a 1 1 1 kB", LineError::Numbers),
            ("bench: a 1 1 1 1 1 kB", LineError::Numbers),
            ("bench: a 1 1 -1 1 kB", LineError::Numbers),
            ("bench: a 1 1 4294967296 1 kB", LineError::Numbers),
            ("bench: a kB", LineError::Numbers),
            ("bench: a 1 1 1 1 furlongs", LineError::Unit),
            ("bench: a 2 1 3 1 kB", LineError::Order),
            ("bench: a 1 3 2 1 kB", LineError::Order),
            ("bench: a 1 1 1 0 kB", LineError::Order),
        ] {
            assert_eq!(Line::parse(line), Some(Err(error)), "{line}");
        }
    }
}
