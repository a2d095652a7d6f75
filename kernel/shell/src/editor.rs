//! The interactive line: keys in, ANSI sequences out.
//!
//! The screen shows a window of the line, so that a line longer than the terminal never wraps and the cursor can be
//! moved with `CR` and `CSI n C` alone. The window moves by half its width, which keeps the redraws of a long paste
//! few. A character counts as one column; wide ones shift what is to their right until the next redraw.

use crate::{History, Key, Line, Output};
use alloc::string::String;
use core::fmt;

/// The terminal width that is assumed: a serial line doesn't tell.
pub const COLUMNS: usize = 80;

/// What a key led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The line goes on.
    Editing,
    /// Enter: the line is complete.
    Line(String),
    /// Ctrl-C: the line was dropped.
    Abandoned,
}

/// A line being edited, its history and what of it is on the screen.
#[derive(Clone, Default, Debug)]
pub struct Editor {
    line: Line,
    history: History,
    prompt: &'static str,
    /// First character shown.
    offset: usize,
}

impl Editor {
    /// An editor whose lines start with `prompt`, plain text shorter than half a terminal line.
    #[must_use]
    pub fn new(prompt: &'static str) -> Self {
        Self { prompt, ..Self::default() }
    }

    /// Shows the prompt of an empty line. Nothing follows it: programs wait for its last characters.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show(&self, out: &mut dyn Output) -> fmt::Result {
        out.write_str(self.prompt)
    }

    /// Takes one key and updates the screen.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn key(&mut self, key: Key, out: &mut dyn Output) -> Result<Event, fmt::Error> {
        match key {
            Key::Enter => return self.enter(out).map(Event::Line),
            Key::Control(b'C') => return self.abandon(out).map(|()| Event::Abandoned),
            Key::Char(c) => self.insert(c, out)?,
            Key::Control(b'L') => {
                out.write_str("\x1b[H\x1b[2J")?;
                self.refresh(out)?;
            }
            _ => {
                self.edit(key);
                self.refresh(out)?;
            }
        }
        Ok(Event::Editing)
    }

    fn enter(&mut self, out: &mut dyn Output) -> Result<String, fmt::Error> {
        self.line.end();
        out.write_str("\n")?;
        self.offset = 0;
        let line = self.line.take();
        self.history.push(&line);
        Ok(line)
    }

    fn abandon(&mut self, out: &mut dyn Output) -> fmt::Result {
        self.line.take();
        self.history.leave();
        self.offset = 0;
        out.write_str("^C\n")
    }

    fn insert(&mut self, c: char, out: &mut dyn Output) -> fmt::Result {
        if !self.line.insert(c) {
            return out.write_str("\x07");
        }
        let at_end = self.line.cursor() == self.line.chars().len();
        if at_end && self.line.cursor() - self.offset < self.width() {
            return out.write_char(c);
        }
        self.refresh(out)
    }

    fn edit(&mut self, key: Key) {
        let line = &mut self.line;
        match key {
            Key::Backspace => line.backspace(),
            Key::Delete | Key::Control(b'D') => line.delete(),
            Key::Left | Key::Control(b'B') => line.left(),
            Key::Right | Key::Control(b'F') => line.right(),
            Key::Home | Key::Control(b'A') => line.home(),
            Key::End | Key::Control(b'E') => line.end(),
            Key::Control(b'K') => line.kill_right(),
            Key::Control(b'U') => line.kill_left(),
            Key::Control(b'W') => line.kill_word(),
            Key::Up | Key::Control(b'P') => {
                if let Some(older) = self.history.up(|| line.chars().iter().collect()) {
                    line.set(older);
                }
            }
            Key::Down | Key::Control(b'N') => {
                if let Some(newer) = self.history.down() {
                    line.set(newer);
                }
            }
            _ => {}
        }
    }

    /// Columns for the line and the cursor behind it; the last two stay free for `^C`.
    fn width(&self) -> usize {
        COLUMNS - self.prompt.len() - 2
    }

    fn refresh(&mut self, out: &mut dyn Output) -> fmt::Result {
        let (cursor, width) = (self.line.cursor(), self.width());
        if cursor < self.offset || cursor - self.offset >= width {
            self.offset = cursor.saturating_sub(width / 2);
        }
        let end = self.line.chars().len().min(self.offset + width - 1);
        write!(out, "\r{}", self.prompt)?;
        self.line.chars()[self.offset..end].iter().try_for_each(|&c| out.write_char(c))?;
        write!(out, "\x1b[K\r\x1b[{}C", self.prompt.len() + cursor - self.offset)
    }
}

#[cfg(test)]
mod tests;
