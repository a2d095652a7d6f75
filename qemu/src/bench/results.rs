//! What was measured, and its JSON.
//!
//! ```json
//! { "format": 1, "rustc": "rustc 1.95.0 (59807616e 2026-04-14)", "rows": [ { "name": "pages/order-0/pair", "unit": "instructions",
//!   "min": 70, "median": 71, "max": 420, "count": 1001 } ] }
//! ```
//! Names stay the same for good (`bench::Line`), so that files of different days can be compared.

use std::fs;
use std::path::Path;

use bench::{Record, Stat};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::{image, setup};

/// The JSON's format.
const FORMAT: u32 = 1;

/// One measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Of what, as `bench::valid_name` has it.
    pub name: String,
    /// What the numbers count, as `bench::Unit` writes it.
    pub unit: String,
    /// The smallest.
    pub min: u32,
    /// The middle one.
    pub median: u32,
    /// The largest.
    pub max: u32,
    /// How often it was measured.
    pub count: u32,
}

impl From<Record<'_>> for Row {
    fn from(Record { name, stat, unit }: Record<'_>) -> Self {
        let Stat { min, median, max, count } = stat;
        Self { name: name.to_owned(), unit: unit.name().to_owned(), min, median, max, count }
    }
}

/// What a file has.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    format: u32,
    /// The compiler that the image was built by, if that was written down.
    #[serde(default)]
    pub rustc: String,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// Writes `rows` to `file`.
///
/// # Errors
/// [`Error::File`].
pub fn write(file: &Path, rows: &[Row]) -> Result<()> {
    let contents = Results { format: FORMAT, rustc: setup::compiler()?, rows: rows.to_vec() };
    let mut json = serde_json::to_string_pretty(&contents).unwrap_or_default();
    json.push('\n');
    image::replace(file, json.as_bytes())
}

/// Reads what is in `file`.
///
/// # Errors
/// [`Error::File`], [`Error::BadResults`].
pub fn read(file: &Path) -> Result<Results> {
    let text = fs::read_to_string(file).map_err(Error::file("read", file))?;
    let bad = |reason: String| Error::BadResults { file: file.to_owned(), reason };
    let results: Results = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let Results { format, .. } = results;
    if format == FORMAT { Ok(results) } else { Err(bad(format!("format {format}, this is format {FORMAT}"))) }
}

#[cfg(test)]
pub(super) fn row(name: &str, median: u32) -> Row {
    let unit = "instructions".to_owned();
    Row { name: name.to_owned(), unit, min: median, median, max: median, count: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rows.json");
        let rows = [row("a/b", 7), row("c", u32::MAX)];
        write(&file, &rows).unwrap();
        let results = read(&file).unwrap();
        assert_eq!(results.rows, rows);
        assert!(results.rustc.starts_with("rustc 1."), "{results:?}");
        assert!(write(&dir.path().join("no/rows.json"), &rows).is_err());
    }

    #[test]
    fn other_files_are_refused_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rows.json");
        for (text, reason) in [
            ("{}", "missing field `format`"),
            ("", "EOF"),
            (r#"{"format":2,"rows":[]}"#, "format 2, this is format 1"),
            (r#"{"format":1,"rows":[{"name":"a"}]}"#, "missing field `unit`"),
        ] {
            fs::write(&file, text).unwrap();
            let line = read(&file).unwrap_err().to_string();
            assert!(line.contains("rows.json: not benchmark results: ") && line.contains(reason), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
    }
}
