//! What the kernel's trace events become: text as Linux's ftrace prints it, or a file for the Perfetto UI.
//!
//! ```text
//! guest: frames ─┬─ second UART ─▶ file ─────────────────┐
//!                └─ ring in RAM, a file too ─▶ drain ─▶ file ─▶ decode ─▶ events ─┬▶ ftrace    .txt
//!                                              ELF: strings, names ────┘          └▶ perfetto  .json
//! ```
//! The frames are `defmt`'s; the strings that they are formatted with are in the kernel's ELF file.

pub mod audit;
pub mod decode;
pub mod drain;
pub mod event;
pub mod ftrace;
pub mod names;
pub mod perfetto;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::image::Image;
use crate::plan::Plan;
use crate::symbols::Symbols;
use event::Event;
use names::Names;

/// What a file of events is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As `/sys/kernel/debug/tracing/trace`.
    Ftrace,
    /// Chrome's trace event format, which the Perfetto UI opens.
    Perfetto,
}

impl Form {
    /// What the name of `file` says.
    ///
    /// # Errors
    /// [`Error::TraceForm`].
    pub fn of(file: &Path) -> Result<Self> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("txt") => Ok(Self::Ftrace),
            Some("json") => Ok(Self::Perfetto),
            _ => Err(Error::TraceForm { file: file.to_owned() }),
        }
    }
}

/// The events of a run that has ended.
///
/// # Errors
/// When the frames can't be read, or are none.
pub fn events(plan: &Plan, image: &Image) -> Result<Vec<Event>> {
    let elf = fs::read(&image.elf).map_err(Error::file("read", &image.elf))?;
    let file = plan.trace_file();
    let bytes = fs::read(&file).map_err(Error::file("read", &file))?;
    // It has been read; that it goes is a courtesy.
    let _ = fs::remove_file(&file);
    decode::decode(&elf, &bytes).map_err(|reason| Error::BadTrace { reason })
}

/// Writes the events of a run to `file`; one line for people about what is in it.
///
/// # Errors
/// When they can't be read or written.
pub fn save(plan: &Plan, image: &Image, file: &Path) -> Result<String> {
    let form = Form::of(file)?;
    let mut events = events(plan, image)?;
    let dropped = audit::dropped(&events);
    Names::new(Symbols::new(&image.elf)).fill_in(&mut events);
    let mut out = BufWriter::new(File::create(file).map_err(Error::file("write", file))?);
    let written = match form {
        Form::Ftrace => ftrace::write(&events, &mut out),
        Form::Perfetto => perfetto::write(&events, &mut out),
    };
    written.and_then(|()| out.flush()).map_err(Error::file("write", file))?;
    Ok(format!("{}: {} events, {dropped} dropped", file.display(), events.len()))
}
