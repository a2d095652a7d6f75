//! A whole run: files written, QEMU started, its console followed to the end.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::board;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::machine::Machine;
use crate::plan::{Plan, QEMU};
use crate::screenshot::{Camera, ScreenshotError};
use crate::session::{Input, Outcome, Purpose, Report, Session, View};
use crate::symbols::Symbols;
use crate::trace;

/// The line over which a session gets its inputs; other threads may have senders too.
#[derive(Debug)]
pub struct Inputs {
    /// For whoever has something to say to the session.
    pub sender: Sender<Input>,
    receiver: Receiver<Input>,
}

impl Default for Inputs {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver }
    }
}

fn no_screenshot(file: &Path) -> impl FnOnce(ScreenshotError) -> Error {
    let file = file.to_owned();
    |reason| Error::Screenshot { file, reason }
}

/// Boots `image` as planned and follows it to its end.
///
/// # Errors
/// When a file can't be written, or QEMU does not start or fails by itself.
pub fn run(
    plan: &Plan,
    image: &Image,
    purpose: Purpose<'_>,
    timeout: Option<Duration>,
    view: &mut dyn View,
    inputs: Inputs,
) -> Result<Report> {
    plan.write(image)?;
    let symbols = Symbols::new(&image.elf);
    let annotate = |line: &str| symbols.annotate(line);
    let mut args = plan.args();
    let screenshot = plan.request().screenshot.as_deref();
    let camera =
        screenshot.map(|file| Camera::new().map(|camera| (camera, file)).map_err(no_screenshot(file)));
    let camera = camera.transpose()?;
    args.extend(camera.iter().flat_map(|(camera, _)| camera.args()));
    let drain = start_drain(plan, image)?;
    let mut machine = Machine::start(&args, inputs.sender)?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut saved = camera.as_ref().map_or(Ok(()), |_| Err(ScreenshotError::Off));
    let mut save = || saved = camera.as_ref().map_or(Ok(()), |(camera, file)| camera.save(file));
    let session = Session::new(purpose, machine.serial(), view, &annotate).at_end(&mut save);
    let report = session.run(&inputs.receiver, deadline);
    let ended = matches!(report.outcome, Outcome::Success | Outcome::Gone { .. });
    let status = if ended { machine.ended() } else { None };
    drop(machine);
    if let Some(drain) = drain {
        let finished = drain.finish();
        // As large as the machine's RAM; nothing in it is needed any more.
        let _ = fs::remove_file(plan.ram_file());
        finished?;
    }
    let lacking = screenshot.zip(saved.err()).map(|(file, reason)| no_screenshot(file)(reason));
    match (status, lacking) {
        (Some(status), _) if !status.success() => Err(Error::Program { program: QEMU.to_owned(), status }),
        (_, Some(error)) if report.outcome == Outcome::Success => Err(error),
        (_, lacking) => {
            lacking.iter().for_each(|error| eprintln!("error: {error}"));
            Ok(report)
        }
    }
}

/// Begins to read the ring of trace events, if they are wanted and the board has no port for them.
fn start_drain(plan: &Plan, image: &Image) -> Result<Option<trace::drain::Drain>> {
    let request = plan.request();
    let board::Drain::Memory { ram, .. } = request.board.spec.trace else { return Ok(None) };
    if !request.trace {
        return Ok(None);
    }
    let elf = fs::read(&image.elf).map_err(Error::file("read", &image.elf))?;
    let place = trace::drain::Place::find(&elf, request.board.load_address(), ram)?;
    trace::drain::Drain::start(&plan.ram_file(), place, &plan.trace_file()).map(Some)
}
