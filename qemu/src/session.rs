//! One run of a machine: from its first byte on the serial line to an [`Outcome`].
//!
//! The session knows no QEMU: it is fed [`Input`]s from a channel and writes to whatever takes the guest's input,
//! so that the tests put a scripted peer in the guest's place. There are two kinds: with commands, each is sent
//! when the one before it has ended well, and then the machine is switched off; without, the user's bytes are
//! passed on. Either way lines are watched for the end of a panic report, and addresses in them are given names.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::lines::Lines;
use crate::protocol::{self, Decoder, Event};

/// What can happen while a machine runs.
#[derive(Debug)]
pub enum Input {
    /// The guest wrote these bytes.
    Guest(Vec<u8>),
    /// The guest's end of the line is closed: the machine is off.
    GuestEnd,
    /// The user typed these bytes.
    User(Vec<u8>),
    /// The user's input has ended.
    UserEnd,
    /// The user asked to leave.
    Leave,
    /// A signal asked to stop.
    Interrupted,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every command ended well and the machine is off; or, interactively, the machine went off.
    Success,
    /// A command's status was not 0.
    Failed {
        /// The command.
        command: String,
        /// Its status.
        status: u32,
    },
    /// The kernel printed the last line of a panic report.
    Panicked,
    /// The machine went off with commands left.
    Gone {
        /// The command that ran, or that was to be next.
        command: String,
    },
    /// The time was up.
    TimedOut {
        /// The command that ran, if one did.
        command: Option<String>,
    },
    /// The user left.
    Left,
    /// A signal ended it.
    Interrupted,
}

impl Outcome {
    /// The exit status of the whole program.
    pub fn status(&self) -> u8 {
        match self {
            Self::Success | Self::Left => 0,
            Self::Failed { .. } | Self::Panicked | Self::Gone { .. } => 1,
            Self::TimedOut { .. } => 3,
            Self::Interrupted => 130,
        }
    }
}

/// One line for people; none where nothing needs to be said.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success | Self::Left | Self::Interrupted => Ok(()),
            Self::Failed { command, status } => write!(f, "command failed with status {status}: {command}"),
            Self::Panicked => f.write_str("the kernel panicked"),
            Self::Gone { command } => write!(f, "the machine went off before the end of: {command}"),
            Self::TimedOut { command: None } => f.write_str("timed out before the shell was ready"),
            Self::TimedOut { command: Some(command) } => write!(f, "timed out in: {command}"),
        }
    }
}

/// Where the text of a run goes.
pub trait View {
    /// Text that no command printed.
    fn console(&mut self, _bytes: &[u8]) {}
    /// Text that a command printed.
    fn output(&mut self, _bytes: &[u8]) {}
    /// A command starts now; `line` is what its line on the console would be.
    fn command(&mut self, _line: &str) {}
    /// The run has ended.
    fn end(&mut self, _outcome: &Outcome) {}
}

/// Shows nothing: the report has it all.
impl View for () {}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The command.
    pub command: String,
    /// What it printed, line ends as `\n`.
    pub output: String,
    /// Its status, if it ended.
    pub status: Option<u32>,
}

/// Everything that a run showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// All text of the console, line ends as `\n`.
    pub log: String,
    /// The commands that started, in order.
    pub answers: Vec<Answer>,
}

/// Gives names to the addresses in a line of a report; the text goes to the line's end.
pub type Annotate<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// To run these commands, then `poweroff`.
    Commands(&'a [String]),
    /// To give the console to a user; `held` keeps what they type until the shell is ready.
    Interactive {
        /// The input is a file or a pipe, not a person at a terminal.
        held: bool,
    },
}

const POWEROFF: &str = "poweroff";
/// After the end of a piped input: how long the guest may be silent before the run ends.
const SILENCE: Duration = Duration::from_secs(1);

/// A run in progress.
pub struct Session<'a> {
    guest: &'a mut dyn Write,
    view: &'a mut dyn View,
    decoder: Decoder,
    lines: Lines<'a>,
    left: VecDeque<String>,
    interactive: bool,
    current: Option<String>,
    ready: bool,
    held: Option<Vec<u8>>,
    user_ended: bool,
    log: Vec<u8>,
    answers: Vec<(String, Vec<u8>, Option<u32>)>,
    /// What is done once, when the commands have run and the machine is still on.
    at_end: Option<&'a mut dyn FnMut()>,
}

impl<'a> Session<'a> {
    /// A session that writes to `guest` and shows itself in `view`.
    pub fn new(
        purpose: Purpose<'_>,
        guest: &'a mut dyn Write,
        view: &'a mut dyn View,
        annotate: Annotate<'a>,
    ) -> Self {
        let commands = match purpose {
            Purpose::Commands(commands) => commands,
            Purpose::Interactive { .. } => &[],
        };
        let mut left: VecDeque<_> = commands.iter().cloned().collect();
        left.push_back(POWEROFF.to_owned());
        Self {
            guest,
            view,
            decoder: Decoder::default(),
            lines: Lines::new(annotate),
            left,
            interactive: matches!(purpose, Purpose::Interactive { .. }),
            current: None,
            ready: false,
            held: matches!(purpose, Purpose::Interactive { held: true }).then(Vec::new),
            user_ended: false,
            log: Vec::new(),
            answers: Vec::new(),
            at_end: None,
        }
    }

    /// Does `work` when the last command has ended, before the machine is switched off, or when the run ends otherwise
    /// with the machine on.
    pub fn at_end(mut self, work: &'a mut dyn FnMut()) -> Self {
        self.at_end = Some(work);
        self
    }

    /// Runs to the end, or until `deadline`.
    pub fn run(mut self, inputs: &Receiver<Input>, deadline: Option<Instant>) -> Report {
        let outcome = loop {
            let ended = match self.next(inputs, deadline) {
                Ok(input) => self.take(input),
                Err(outcome) => Some(outcome),
            };
            if let Some(outcome) = ended {
                break outcome;
            }
        };
        if matches!(outcome, Outcome::Failed { .. } | Outcome::Panicked | Outcome::TimedOut { .. }) {
            self.end_work();
        }
        self.view.end(&outcome);
        self.report(outcome)
    }

    fn next(&mut self, inputs: &Receiver<Input>, deadline: Option<Instant>) -> Result<Input, Outcome> {
        let silence = (self.user_ended && self.ready).then(|| Instant::now() + SILENCE);
        let until = [deadline, silence].into_iter().flatten().min();
        let Some(until) = until else {
            return Ok(inputs.recv().unwrap_or(Input::GuestEnd));
        };
        match inputs.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(input) => Ok(input),
            Err(RecvTimeoutError::Disconnected) => Ok(Input::GuestEnd),
            Err(RecvTimeoutError::Timeout) if Some(until) == deadline => {
                Err(Outcome::TimedOut { command: self.current.clone() })
            }
            Err(RecvTimeoutError::Timeout) => Err(Outcome::Left),
        }
    }

    fn take(&mut self, input: Input) -> Option<Outcome> {
        match input {
            Input::Guest(bytes) => {
                let events = self.decoder.feed(&bytes);
                return events.into_iter().find_map(|event| self.event(event));
            }
            Input::GuestEnd => return Some(self.machine_off()),
            Input::Leave => return Some(Outcome::Left),
            Input::Interrupted => return Some(Outcome::Interrupted),
            Input::UserEnd => self.user_ended = true,
            Input::User(bytes) => match &mut self.held {
                Some(held) => held.extend(bytes),
                None => self.send(&bytes),
            },
        }
        None
    }

    fn event(&mut self, event: Event) -> Option<Outcome> {
        match event {
            Event::Ready => {
                self.ready = true;
                if let Some(held) = self.held.take() {
                    self.send(&held);
                }
                if !self.interactive && self.current.is_none() {
                    self.send_next();
                }
            }
            Event::Started => self.started(),
            Event::Text { by_command, bytes } => {
                let text = self.lines.feed(&bytes);
                self.show(by_command, &text);
                return self.lines.panicked().then_some(Outcome::Panicked);
            }
            Event::Finished(status) => return self.finished(status),
        }
        None
    }

    fn end_work(&mut self) {
        if let Some(work) = self.at_end.take() {
            work();
        }
    }

    fn send_next(&mut self) {
        self.current = self.left.pop_front();
        if self.closing() {
            self.end_work();
        }
        if let Some(command) = &self.current {
            let bytes = protocol::request(command);
            self.send(&bytes);
        }
    }

    /// A guest that is gone takes no bytes; its end arrives as an input of its own.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.guest.write_all(bytes).and_then(|()| self.guest.flush());
    }

    /// The closing `poweroff` is running, which is not the user's.
    fn closing(&self) -> bool {
        self.left.is_empty() && !self.interactive
    }

    /// The guest neither echoed the command nor showed a prompt for any but the first.
    fn started(&mut self) {
        let Some(command) = self.current.clone() else { return };
        let prompt = if self.answers.is_empty() { "" } else { "# " };
        let line = format!("{prompt}{command}\n");
        self.view.command(&line);
        self.log.extend(line.bytes());
        if !self.closing() {
            self.answers.push((command, Vec::new(), None));
        }
    }

    fn show(&mut self, by_command: bool, text: &[u8]) {
        self.log.extend(text);
        if !by_command || self.closing() {
            return self.view.console(text);
        }
        if let Some((_, output, None)) = self.answers.last_mut() {
            output.extend(text);
        }
        self.view.output(text);
    }

    fn finished(&mut self, status: u32) -> Option<Outcome> {
        let command = self.current.clone()?;
        if status != 0 {
            self.note_status(status);
            return Some(Outcome::Failed { command, status });
        }
        if !self.closing() {
            self.note_status(status);
            self.send_next();
        }
        None
    }

    fn note_status(&mut self, status: u32) {
        if let (false, Some(answer)) = (self.closing(), self.answers.last_mut()) {
            answer.2 = Some(status);
        }
    }

    /// Whether it was to go off: nothing was left to do, or the command that ran says so itself.
    fn machine_off(&mut self) -> Outcome {
        let leaves = |command: &str| command == POWEROFF || command == "reboot";
        match self.current.take().or_else(|| self.left.front().cloned()) {
            _ if self.interactive => Outcome::Success,
            Some(command) if self.ready && leaves(&command) && self.left.len() <= 1 => Outcome::Success,
            Some(command) => Outcome::Gone { command },
            None => Outcome::Success,
        }
    }

    fn report(self, outcome: Outcome) -> Report {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let answer = |(command, output, status)| Answer { command, output: text(output), status };
        Report { outcome, log: text(self.log), answers: self.answers.into_iter().map(answer).collect() }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
