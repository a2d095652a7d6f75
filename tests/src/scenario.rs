//! A scenario: how to boot, what to type, what must come back.
//!
//! ```toml
//! about = "what this shows"
//! board = "ssd202"
//! append = "memblock=debug"            # also: cmdline, mem, smp, u-boot, icount, machine, timeout
//! log = ["cma: Reserved 8 MiB at 0x26400000", "/^Memory: \\d+K/113664K/"]
//!
//! [[commands]]
//! run = "cat /proc/iomem"
//! lines = ["20000000-26bfffff : System RAM"]
//! ```
//! An expectation is a whole line, without the time stamp that it may have and without blanks at its end; between
//! slashes it is a regular expression for a part of one. Expected lines must come in their order, with any others
//! between them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qemu::image::Flavor;
use regex::Regex;
use serde::Deserialize;
use serde::de::Error as _;

/// A scenario, as its file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What it shows, for people.
    pub about: String,
    /// The board.
    pub board: String,
    /// As the runner's `--mem`.
    pub mem: Option<String>,
    /// As the runner's `--smp`.
    pub smp: Option<u32>,
    /// As the runner's `--append`.
    pub append: Option<String>,
    /// How often `append` is repeated: for absurd command lines.
    #[serde(default = "once")]
    pub append_times: usize,
    /// As the runner's `--cmdline`.
    pub cmdline: Option<String>,
    /// The device tree.
    #[serde(default)]
    pub tree: Tree,
    /// As the runner's `--loader u-boot`.
    #[serde(default)]
    pub u_boot: bool,
    /// As the runner's `--icount`.
    #[serde(default)]
    pub icount: bool,
    /// Boot the image with the benchmarks, which also has the tests that the flashed one has no room for.
    #[serde(default)]
    pub large_image: bool,
    /// Boot without virtio devices, so that no driver has memory of the default area.
    #[serde(default)]
    pub no_devices: bool,
    /// More options for QEMU's `-M`.
    pub machine: Option<String>,
    /// Seconds.
    #[serde(default = "minute")]
    pub timeout: u64,
    /// How the run ends, where that is not a matter of the commands' statuses.
    #[serde(default)]
    pub outcome: Expected,
    /// A disk of its own, of which only these sectors differ afterwards from what it was before.
    pub disk: Option<Vec<Written>>,
    /// Lines of the console, in order.
    #[serde(default)]
    pub log: Vec<Pattern>,
    /// Lines that must not be anywhere on the console.
    #[serde(default)]
    pub never: Vec<Pattern>,
    /// What is typed.
    #[serde(default)]
    pub commands: Vec<Step>,
    /// The sums of the files under `/proc`, which the commands show, must come out ([`crate::sums`]).
    #[serde(default)]
    pub sums: bool,
    /// `[RAM, LIMIT]` in kB: the most of it that may be lacking in MemTotal.
    pub keeps: Option<(u64, u64)>,
    /// Run the tests inside the kernel after that, and show each as a test of its own.
    #[serde(default)]
    pub selftest: bool,
}

/// A command and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// The command.
    pub run: String,
    /// Its status. One that is not 0 ends the run.
    #[serde(default)]
    pub status: u32,
    /// Lines of its output, in order.
    #[serde(default)]
    pub lines: Vec<Pattern>,
    /// By how much a number has grown since an earlier command.
    pub grown: Option<Grown>,
    /// All of its output.
    pub all: Option<Vec<Pattern>>,
    /// Lines that must not be in its output.
    #[serde(default)]
    pub never: Vec<Pattern>,
    /// Bytes of the host that its output must be.
    pub same_as: Option<Bytes>,
}

/// Bytes that the runner made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bytes {
    /// So many sectors of the disk, from one on: `[first, count]`.
    Sectors(usize, usize),
    /// A file of the TFTP server.
    Tftp(String),
}

/// A number that has grown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grown {
    /// The word before it.
    pub line: String,
    /// Since which command, counted from 0.
    pub since: usize,
    /// By how much.
    pub by: i64,
}

/// A sector that the guest wrote.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Written {
    /// Its number.
    pub sector: usize,
    /// What it begins with; the rest of it is zeros.
    pub text: String,
}

/// The device tree of a scenario.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tree {
    /// The board's.
    #[default]
    Board,
    /// As the runner's `--no-dtb`.
    None,
    /// None, and none behind the image.
    Nowhere,
    /// A source file beside the scenario; it may include a board's.
    Source(PathBuf),
    /// The first bytes of the board's, handed over unchecked.
    Cut(usize),
    /// The board's with one byte, at an offset, replaced by a value; handed over unchecked.
    Poke(usize, u8),
}

/// How a run is expected to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// As the commands' statuses say: all 0 and then off, or the last one's failure.
    #[default]
    Commands,
    /// In a panic.
    Panic,
    /// Not at all, until the time is up.
    Timeout,
}

/// What a line must be.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// This.
    Line(String),
    /// Something that this finds a match in.
    Regex(Arc<Regex>),
}

fn minute() -> u64 {
    60
}

fn once() -> usize {
    1
}

impl Scenario {
    /// The image that it boots.
    pub fn flavor(&self) -> Flavor {
        if self.large_image { Flavor::Bench } else { Flavor::Kernel }
    }
}

impl Pattern {
    /// Whether `line`, without its time stamp, is as expected.
    pub fn matches(&self, line: &str) -> bool {
        let line = without_stamp(line).trim_end();
        match self {
            Self::Line(text) => text.trim_end() == line,
            Self::Regex(regex) => regex.is_match(line),
        }
    }
}

/// A line of the kernel's log without its `[    0.000000] `.
fn without_stamp(line: &str) -> &str {
    let Some((stamp, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) else {
        return line;
    };
    let number = stamp.trim_start();
    if number.contains('.') && number.chars().all(|c| c.is_ascii_digit() || c == '.') { rest } else { line }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.strip_prefix('/').and_then(|text| text.strip_suffix('/')) {
            Some(regex) => Ok(Self::Regex(Arc::new(Regex::new(regex).map_err(D::Error::custom)?))),
            None => Ok(Self::Line(text)),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(text) => f.write_str(text),
            Self::Regex(regex) => write!(f, "/{regex}/"),
        }
    }
}

/// The folder of the scenarios.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// All scenarios with their names, sorted.
///
/// # Errors
/// One line that names the file and what is wrong with it.
pub fn all() -> Result<Vec<(String, Scenario)>, String> {
    let dir = dir();
    let entries = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files.iter().map(|file| load(file)).collect()
}

fn load(file: &Path) -> Result<(String, Scenario), String> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let scenario: Scenario = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let failing = scenario.commands.iter().position(|step| step.status != 0);
    match failing {
        Some(at) if at + 1 < scenario.commands.len() => {
            Err(format!("{}: commands after one that fails never run", file.display()))
        }
        _ => Ok((name, scenario)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        #[derive(Deserialize)]
        struct One {
            p: Pattern,
        }
        toml::from_str::<One>(&format!("p = '{text}'")).unwrap().p
    }

    #[test]
    fn every_scenario_of_this_tree_is_well_formed() {
        for (name, scenario) in all().unwrap() {
            assert!(!scenario.about.is_empty(), "{name}");
            let quiet = scenario.log.is_empty() && scenario.never.is_empty();
            let mute = scenario
                .commands
                .iter()
                .all(|s| s.lines.is_empty() && s.all.is_none() && s.same_as.is_none() && s.status == 0);
            let ends = scenario.selftest || scenario.sums || scenario.outcome == Expected::Timeout;
            assert!(!(quiet && mute) || ends, "{name} expects nothing");
        }
    }

    #[test]
    fn a_line_is_a_whole_line_without_its_stamp() {
        let line = pattern("cma: Reserved 8 MiB at 0x26400000");
        assert!(line.matches("[    0.000000] cma: Reserved 8 MiB at 0x26400000"));
        assert!(line.matches("cma: Reserved 8 MiB at 0x26400000  "));
        assert!(!line.matches("[    0.000000] cma: Reserved 8 MiB at 0x264000000"));
        assert!(!line.matches("[ pid ] cma: Reserved 8 MiB at 0x26400000"));
    }

    #[test]
    fn between_slashes_is_a_regular_expression() {
        assert!(
            pattern(r"/^Memory: \d+K/113664K/").matches("[    0.001000] Memory: 96736K/113664K available")
        );
        assert!(!pattern(r"/^Memory: \d+K$/").matches("Memory: 1K/2K"));
        assert!(pattern("/proc").matches("/proc"), "one slash is text");
    }

    #[test]
    fn bad_files_are_named() {
        let dir = std::env::temp_dir().join(format!("scenario-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("odd.toml");
        let head = "about = 'x'\nboard = 'virt'\n";
        for (text, reason) in [
            ("board = 'virt'", "missing field `about`"),
            (&format!("{head}bord = 1"), "unknown field `bord`"),
            (&format!("{head}log = ['/(/']"), "unclosed group"),
            (&format!("{head}[[commands]]\nrun='a'\nstatus=1\n[[commands]]\nrun='b'"), "never run"),
        ] {
            fs::write(&file, text).unwrap();
            let error = load(&file).unwrap_err();
            assert!(error.contains("odd.toml") && error.contains(reason), "{error}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
