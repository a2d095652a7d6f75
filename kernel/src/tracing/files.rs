//! `/sys/kernel/debug/tracing`: which events there are, which are on, and how the ring does.
//!
//! Source: Linux `Documentation/trace/{events,ftrace}.rst`. What was recorded is not here: it leaves through the port, or
//! the runner reads it, and is made into text on the host.

use super::change;
use crate::machine::FIXMAP;
use ::trace::{EVENTS, TRACE_RING, control};
use shell::{Control, FsError, Output, Vfs};

/// Adds the files.
pub fn add(vfs: &mut Vfs) -> Result<(), FsError> {
    vfs.add_read("/sys/kernel/debug/tracing/available_events", |out| list(out, |_| true))?;
    vfs.add(
        "/sys/kernel/debug/tracing/set_event",
        Control(|out: &mut dyn Output| list(out, control::Event::is_wanted), set_event),
    )?;
    vfs.add(
        "/sys/kernel/debug/tracing/tracing_on",
        Control(
            |out: &mut dyn Output| Ok(writeln!(out, "{}", u32::from(control::is_tracing()))?),
            set_tracing,
        ),
    )?;
    vfs.add(
        "/sys/kernel/debug/tracing/trace_stack",
        Control(
            |out: &mut dyn Output| Ok(control::with_stack().try_for_each(|e| writeln!(out, "{}", e.name))?),
            set_stack,
        ),
    )?;
    vfs.add_read("/sys/kernel/debug/tracing/buffer_size_kb", |out| {
        Ok(writeln!(out, "{}", TRACE_RING.control.size() >> 10)?)
    })?;
    vfs.add_read("/sys/kernel/debug/tracing/per_cpu/cpu0/stats", |out| {
        let ring = &TRACE_RING.control;
        Ok(write!(out, "bytes: {}\ndropped events: {}\n", ring.pending(), ring.dropped())?)
    })
}

fn list(out: &mut dyn Output, of: impl Fn(&control::Event) -> bool) -> Result<(), FsError> {
    let mut events = EVENTS.iter().filter(|event| of(event));
    Ok(events.try_for_each(|event| writeln!(out, "{}:{}", event.group, event.name))?)
}

/// Wants these events and no others; with `!` before the first one, all that were wanted but these.
fn set_event(text: &str) -> Result<(), FsError> {
    let patched = change(|| {
        if !text.starts_with('!') {
            control::clear(&mut FIXMAP.lock())?;
        }
        let mut found = true;
        for word in text.split_whitespace() {
            found &= control::select(&mut FIXMAP.lock(), word)?;
        }
        Ok(found)
    });
    match patched {
        Ok(true) => Ok(()),
        Ok(false) => Err(FsError::InvalidArgument),
        Err(_) => Err(FsError::Io),
    }
}

fn set_tracing(text: &str) -> Result<(), FsError> {
    let on = match text.trim() {
        "0" => false,
        "1" => true,
        _ => return Err(FsError::InvalidArgument),
    };
    change(|| control::set_tracing(&mut FIXMAP.lock(), on)).map_err(|_| FsError::Io)
}

fn set_stack(text: &str) -> Result<(), FsError> {
    if !text.starts_with('!') {
        control::select_stack("!all");
    }
    let mut words = text.split_whitespace();
    if words.all(control::select_stack) { Ok(()) } else { Err(FsError::InvalidArgument) }
}
