//! The console: line editing, commands, and the files they read and write.
//!
//! ```text
//!  UART ring ──bytes──► Shell::poll ─► keys::Decoder ─► editor::Editor ──line──┐
//!      ▲                    │ SYN line (machine protocol, no echo) ────────────┤
//!      │                    ▼                                                  ▼
//!  System (kernel)     Output (kernel: UART)  ◄── Command::run(Context) ◄── parser::Parser
//!      ▲                                                │
//!      └── poweroff, crash, log records, tests ─────────┴──► Vfs: /proc, /sys, /dev files
//! ```
//!
//! Everything is a value that the kernel owns: no global, no lock. Effects on the machine go through [`System`],
//! text through [`Output`], and files are registered in a [`Vfs`] by whoever has something to show. A new command
//! is one [`Command`] handed to [`Shell::register`].
//!
//! The crate uses `alloc`: the console starts long after the kernel's heap. [`dmesg::Ring`] is the exception, it
//! records from the first log line on and owns a fixed array.
//!
//! Bad input never panics and never grows a buffer without bound (invariant 12): lines, history, type-ahead and
//! redirected output all have limits, given where they are defined.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod builtin;
mod command;
pub mod dmesg;
mod editor;
mod error;
mod history;
mod keys;
mod line;
mod output;
pub mod parser;
pub mod selftest;
mod session;
mod system;
mod vfs;

pub use command::{Command, Context, Failure};
pub use editor::{COLUMNS, Editor, Event};
pub use error::FsError;
pub use history::History;
pub use keys::{Decoder, Key};
pub use line::{Line, MAX_LINE};
pub use output::{Capture, DLE, ENQ, ETX, Output, STX, SYN};
pub use session::Shell;
pub use system::{CrashKind, System};
pub use vfs::{Control, Directory, File, Kind, Readable, Vfs};
