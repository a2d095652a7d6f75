//! The console itself: bytes in, commands run, prompt out.
//!
//! Two kinds of lines arrive on the same wire. What a person types goes through the editor; a line that starts with
//! SYN comes from a program, is not echoed, and its output is framed (see `output`). A SYN may come at any time;
//! the line that a person has begun stays as it is.

use crate::{
    Capture, Command, Context, Decoder, ENQ, ETX, Editor, Event, Failure, FsError, MAX_LINE, Output, STX,
    SYN, System, Vfs, builtin,
    command::INTERRUPT,
    output::Stuffed,
    parser::{self, Joint, Parser, Simple},
};
use alloc::{collections::VecDeque, vec::Vec};
use core::fmt;
use types::insertion_sort_by_key;

/// Name of the shell in its own messages.
const NAME: &str = "sh";
/// What a prompt looks like.
const PROMPT: &str = "# ";

/// Statuses as POSIX shells have them.
mod status {
    pub const OK: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const NOT_FOUND: u8 = 127;
    pub const INTERRUPTED: u8 = 130;
}

/// The console's state.
pub struct Shell {
    vfs: Vfs,
    commands: Vec<Command>,
    decoder: Decoder,
    editor: Editor,
    /// A program's line, from its SYN to its end; `None` while a person types.
    machine_line: Option<Vec<u8>>,
    typeahead: VecDeque<u8>,
    status: u8,
}

impl Shell {
    /// A console with the built-in commands over these files.
    #[must_use]
    pub fn new(vfs: Vfs) -> Self {
        Self {
            vfs,
            commands: builtin::COMMANDS.to_vec(),
            decoder: Decoder::default(),
            editor: Editor::new(PROMPT),
            machine_line: None,
            typeahead: VecDeque::new(),
            status: status::OK,
        }
    }

    /// Adds a command; one of the same name is replaced.
    pub fn register(&mut self, command: Command) {
        self.commands.retain(|other| other.name != command.name);
        self.commands.push(command);
        insertion_sort_by_key(&mut self.commands, |command| command.name);
    }

    /// The status of the last command.
    #[must_use]
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Announces the console and shows the first prompt.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn start(&mut self, out: &mut dyn Output) -> fmt::Result {
        out.write_bytes(&[ENQ])?;
        self.editor.show(out)
    }

    /// Handles everything that has been received. Afterwards the caller waits for an interrupt.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn poll(&mut self, system: &mut dyn System, out: &mut dyn Output) -> fmt::Result {
        while let Some(byte) = self.typeahead.pop_front().or_else(|| system.read_byte()) {
            self.feed(byte, system, out)?;
        }
        Ok(())
    }

    fn feed(&mut self, byte: u8, system: &mut dyn System, out: &mut dyn Output) -> fmt::Result {
        match (&mut self.machine_line, byte) {
            (_, SYN) => self.machine_line = Some(Vec::new()),
            (Some(_), b'\n' | b'\r') => {
                let line = self.machine_line.take().unwrap_or_default();
                self.run_framed(&line, system, out)?;
            }
            (Some(_), INTERRUPT) => self.machine_line = None,
            // One byte too many is kept: it marks the line as too long.
            (Some(line), _) if line.len() <= MAX_LINE => line.push(byte),
            (Some(_), _) => {}
            (None, _) => self.typed(byte, system, out)?,
        }
        Ok(())
    }

    fn typed(&mut self, byte: u8, system: &mut dyn System, out: &mut dyn Output) -> fmt::Result {
        let Some(key) = self.decoder.feed(byte) else { return Ok(()) };
        match self.editor.key(key, out)? {
            Event::Editing => return Ok(()),
            Event::Abandoned => self.status = status::INTERRUPTED,
            Event::Line(line) => self.run(&line, system, out)?,
        }
        self.editor.show(out)
    }

    fn run_framed(&mut self, line: &[u8], system: &mut dyn System, out: &mut dyn Output) -> fmt::Result {
        out.write_bytes(&[STX])?;
        match core::str::from_utf8(line) {
            Ok(line) if line.len() <= MAX_LINE => self.run(line, system, &mut Stuffed(out))?,
            Ok(_) => self.refuse(&"Line too long", out)?,
            Err(_) => self.refuse(&"Line is not UTF-8", out)?,
        }
        out.write_bytes(&[ETX])?;
        writeln!(out, "{}", self.status)
    }

    fn refuse(&mut self, reason: &dyn fmt::Display, out: &mut dyn Output) -> fmt::Result {
        self.status = status::USAGE;
        writeln!(out, "{NAME}: {reason}")
    }

    /// Runs a line: all its commands, one after the other. [`Shell::status`] has the result.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn run(&mut self, line: &str, system: &mut dyn System, out: &mut dyn Output) -> fmt::Result {
        if let Err(error) = parser::check(line) {
            return self.refuse(&error, out);
        }
        let mut parser = Parser::new(line);
        while let Ok(Some(simple)) = parser.next(self.status) {
            let wanted = match simple.joint {
                Joint::Always => true,
                Joint::IfOk => self.status == status::OK,
                Joint::IfFailed => self.status != status::OK,
            };
            if wanted && !simple.words.is_empty() {
                let ended = self.run_simple(&simple, system, out);
                system.rest();
                self.status = ended?;
            }
            if self.status == status::INTERRUPTED {
                break;
            }
        }
        Ok(())
    }

    fn run_simple(
        &mut self,
        simple: &Simple,
        system: &mut dyn System,
        out: &mut dyn Output,
    ) -> Result<u8, fmt::Error> {
        let (name, args) = simple.words.split_first().ok_or(fmt::Error)?;
        let Some(command) = self.commands.iter().find(|command| command.name == *name) else {
            writeln!(out, "{NAME}: {name}: Command not found")?;
            return Ok(status::NOT_FOUND);
        };
        let mut context = Context {
            args,
            vfs: &self.vfs,
            system,
            commands: &self.commands,
            name,
            console: out,
            redirect: simple.redirect.as_ref().map(|_| Capture::default()),
            overflow: false,
            typeahead: &mut self.typeahead,
            interrupted: false,
        };
        let result = (command.run)(&mut context).and_then(|()| deliver(&mut context, simple));
        finish(result, command, &mut context)
    }
}

/// Hands what a redirection collected to its file.
fn deliver(context: &mut Context<'_>, simple: &Simple) -> Result<(), Failure> {
    let (Some(path), Some(capture)) = (&simple.redirect, &context.redirect) else { return Ok(()) };
    let text = core::str::from_utf8(&capture.0).map_err(|_| FsError::InvalidArgument);
    text.and_then(|text| context.vfs.write(path, text))
        .map_err(|error| Failure::Argument(path.clone(), error))
}

/// Says why a command failed, and turns it into a status.
fn finish(
    result: Result<(), Failure>,
    command: &Command,
    context: &mut Context<'_>,
) -> Result<u8, fmt::Error> {
    let name = command.name;
    let failure = match result {
        _ if context.interrupted => Failure::Interrupted,
        Ok(()) => return Ok(status::OK),
        Err(_) if context.overflow => Failure::Failed(FsError::TooLarge),
        Err(failure) => failure,
    };
    let out = &mut *context.console;
    Ok(match failure {
        Failure::Usage => {
            writeln!(out, "{}", alloc::format!("{name}: usage: {name} {}", command.usage).trim_end())?;
            status::USAGE
        }
        Failure::Argument(argument, reason) => {
            writeln!(out, "{name}: {argument}: {reason}")?;
            status::FAILED
        }
        Failure::Failed(reason) => {
            writeln!(out, "{name}: {reason}")?;
            status::FAILED
        }
        Failure::Status(status) => status,
        Failure::Interrupted => {
            out.write_str("^C\n")?;
            status::INTERRUPTED
        }
    })
}

#[cfg(test)]
mod tests;
