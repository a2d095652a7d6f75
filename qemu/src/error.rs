//! What can stand in the way of a run, each with the thing and the reason in one line.
//!
//! All of these end with exit status 2; a run that did start ends with an [`Outcome`](crate::session::Outcome).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::elf::ElfError;
use crate::fdt::TreeError;
use crate::screenshot::ScreenshotError;
use crate::setup::{Manager, Tool};
use crate::size::SizeError;

/// A run that could not be started.
#[derive(Debug)]
pub enum Error {
    /// No folder of this name under `qemu/boards`.
    UnknownBoard {
        /// What was asked for.
        name: String,
        /// The boards there are.
        known: Vec<String>,
    },
    /// A board's `board.toml` does not say what a board needs.
    BadBoard {
        /// The file.
        file: PathBuf,
        /// Where and why.
        reason: Box<toml::de::Error>,
    },
    /// The board gives no choice here.
    Unsupported {
        /// The board.
        board: String,
        /// The option, as typed.
        option: &'static str,
        /// Why the board can't.
        reason: &'static str,
    },
    /// A memory size that is none, or that the board can't have.
    BadSize {
        /// The option's text.
        text: String,
        /// What is wrong with it.
        reason: SizeError,
    },
    /// A CPU count outside of what the board has.
    BadCpuCount {
        /// What was asked for.
        count: u32,
        /// The most the board has.
        max: u32,
        /// The board.
        board: String,
    },
    /// A command line with a NUL in it can't be handed over.
    BadCommandLine,
    /// A device tree blob that can't be used.
    BadTree {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: TreeError,
    },
    /// An ELF image that can't be turned into a zImage.
    BadImage {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: ElfError,
    },
    /// Benchmark results or figures that can't be read.
    BadResults {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A trace file's name says neither of the two forms.
    TraceForm {
        /// The file.
        file: PathBuf,
    },
    /// Trace events that can't be read.
    BadTrace {
        /// What is wrong with them.
        reason: String,
    },
    /// No benchmark has this in its name.
    UnknownBenchmark {
        /// What was asked for.
        filter: String,
    },
    /// A file or directory operation failed.
    File {
        /// What was being done, as in "read".
        doing: &'static str,
        /// To which file.
        file: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The kernel's memory map can't be read.
    BadMap {
        /// The line.
        line: picture::page_map::BadLine,
    },
    /// There is no screenshot.
    Screenshot {
        /// The file that it was for.
        file: PathBuf,
        /// Why.
        reason: ScreenshotError,
    },
    /// A program could not be started.
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        error: io::Error,
    },
    /// A program ended with a failure.
    Program {
        /// The program and its first argument.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// Programs or files are missing and can't be installed from here.
    Missing {
        /// What is missing.
        tools: Vec<Tool>,
        /// Why it was not installed.
        reason: NotInstalled,
    },
    /// QEMU is older than what the boards need.
    OldQemu {
        /// Its version line, or what it printed instead of one.
        found: String,
    },
}

/// Why missing programs were left missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInstalled {
    /// None of the known package managers is on this machine.
    NoManager,
    /// Not root, and no `sudo` to become it.
    NoRights(Manager),
    /// The package manager ran, but the thing is still not there.
    StillMissing(Manager),
    /// This manager has no package for it.
    NoPackage(Manager),
}

/// Shorthand for fallible steps before the run.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::File`], in the shape `map_err` wants.
    pub fn file(doing: &'static str, file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |error| Self::File { doing, file, error }
    }

    /// An [`Error::Start`], in the shape `map_err` wants.
    pub fn start(program: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let program = program.into();
        move |error| Self::Start { program, error }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownBoard { name, known } => {
                write!(f, "unknown board '{name}': there are {}", known.join(", "))
            }
            Self::BadBoard { file, reason } => {
                write!(f, "{}: {}", file.display(), reason.message().lines().next().unwrap_or_default())
            }
            Self::Unsupported { board, option, reason } => {
                write!(f, "{option} is not possible on board '{board}': {reason}")
            }
            Self::BadSize { text, reason } => write!(f, "bad size '{text}': {reason}"),
            Self::BadCpuCount { count, max, board } => {
                write!(f, "--smp {count}: board '{board}' has 1 to {max} CPUs")
            }
            Self::BadCommandLine => f.write_str("the kernel command line has a NUL in it"),
            Self::BadTree { file, reason } => write!(f, "{}: bad device tree: {reason}", file.display()),
            Self::BadImage { file, reason } => write!(f, "{}: bad image: {reason}", file.display()),
            Self::BadResults { file, reason } => {
                write!(
                    f,
                    "{}: not benchmark results: {}",
                    file.display(),
                    reason.lines().next().unwrap_or_default()
                )
            }
            Self::TraceForm { file } => {
                write!(f, "--trace {}: the name has to end in .txt or .json", file.display())
            }
            Self::BadTrace { reason } => write!(f, "trace events: {reason}"),
            Self::UnknownBenchmark { filter } => write!(f, "no benchmark has '{filter}' in its name"),
            Self::File { doing, file, error } => write!(f, "can't {doing} {}: {error}", file.display()),
            Self::BadMap { line } => line.fmt(f),
            Self::Screenshot { file, reason } => write!(f, "no screenshot {}: {reason}", file.display()),
            Self::Start { program, error } => write!(f, "can't run {program}: {error}"),
            Self::Program { program, status } => write!(f, "{program} failed: {status}"),
            Self::Missing { tools, reason } => write_missing(f, tools, *reason),
            Self::OldQemu { found } => {
                write!(f, "QEMU 7.0 or newer is needed; qemu-system-arm says: {found}")
            }
        }
    }
}

fn write_missing(f: &mut fmt::Formatter<'_>, tools: &[Tool], reason: NotInstalled) -> fmt::Result {
    let names: Vec<_> = tools.iter().map(|tool| tool.name()).collect();
    write!(f, "missing: {}; ", names.join(", "))?;
    match reason {
        NotInstalled::NoManager => write!(
            f,
            "no known package manager here: install them by hand (on Debian: {})",
            Manager::Apt.install_line(tools)
        ),
        NotInstalled::NoRights(manager) => {
            write!(f, "no rights to install: as root run: {}", manager.install_line(tools))
        }
        NotInstalled::StillMissing(manager) => {
            write!(f, "not there after: {}", manager.install_line(tools))
        }
        NotInstalled::NoPackage(manager) => {
            write!(f, "{} has no package for it: install it by hand", manager.program())
        }
    }
}

impl std::error::Error for Error {}
