//! The kernel command line: limit, tokens, and which of them nobody knows.
//!
//! ```text
//! a=1 "b=x y" c="z" flag -- init arguments
//! name a value 1 | name b value `x y` | name c value z | name flag, no value | end of kernel parameters
//! ```
//!
//! Arguments borrow from the line: quotes are cut off by moving bounds, as Linux does in place.
//!
//! Source: Linux 6.1 `lib/cmdline.c` (`next_arg`), `kernel/params.c` (`parse_args`, `parameq`), `init/main.c`
//! (`unknown_bootoption`, `print_unknown_bootoptions`).

use crate::memory::until_nul;
use core::fmt;

/// Bytes of the longest command line, its NUL included; ARM's value.
pub const COMMAND_LINE_SIZE: usize = 1024;

/// What had to be cut off a command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandLineError {
    /// Longer than [`COMMAND_LINE_SIZE`] - 1 bytes.
    TooLong {
        /// Bytes the boot loader gave.
        bytes: usize,
    },
    /// Not text from this byte on.
    NotText {
        /// Bytes kept.
        offset: usize,
    },
}

impl fmt::Display for CommandLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(f, "Kernel command line: {bytes} bytes, cut to {}", COMMAND_LINE_SIZE - 1)
            }
            Self::NotText { offset } => write!(f, "Kernel command line: not text, cut at byte {offset}"),
        }
    }
}

impl core::error::Error for CommandLineError {}

/// A kernel command line, at most [`COMMAND_LINE_SIZE`] - 1 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CommandLine<'a> {
    text: &'a str,
}

impl<'a> CommandLine<'a> {
    /// The line in `bytes`, which ends at the first NUL, and what had to be cut off, if anything.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> (Self, Option<CommandLineError>) {
        let line = until_nul(bytes);
        let kept = &line[..line.len().min(COMMAND_LINE_SIZE - 1)];
        let too_long = (kept.len() < line.len()).then_some(CommandLineError::TooLong { bytes: line.len() });
        match core::str::from_utf8(kept) {
            Ok(text) => (Self { text }, too_long),
            Err(e) => {
                let offset = e.valid_up_to();
                let text = core::str::from_utf8(&kept[..offset]).unwrap_or_default();
                // A character that the limit itself cut in two is no second fault.
                let cut = e.error_len().is_none() && too_long.is_some();
                (Self { text }, if cut { too_long } else { Some(CommandLineError::NotText { offset }) })
            }
        }
    }

    /// The whole line, as `/proc/cmdline` shows it.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The kernel's arguments in order, up to a lone `--`.
    #[must_use]
    pub fn args(&self) -> Args<'a> {
        Args { rest: skip_spaces(self.text), ended: false }
    }

    /// What follows a lone `--`: init's arguments.
    #[must_use]
    pub fn init_args(&self) -> &'a str {
        let mut args = self.args();
        args.by_ref().for_each(drop);
        args.rest
    }

    /// The arguments of this name, `-` and `_` being the same, in order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = Arg<'a>> + use<'a, 'n> {
        self.args().filter(move |arg| arg.is(name))
    }

    /// The last argument of this name.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<Arg<'a>> {
        self.all(name).last()
    }

    /// The arguments that `is_known` does not know, to be printed as Linux's one line.
    pub fn unknown<F: Fn(&Arg<'_>) -> bool>(&self, is_known: F) -> Unknown<'a, F> {
        Unknown { args: self.args(), is_known }
    }
}

impl fmt::Display for CommandLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// One argument: `name` or `name=value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arg<'a> {
    /// Up to the `=`, without an opening quote.
    pub name: &'a str,
    /// After the `=`, without the quotes around it; `None` without a `=`.
    pub value: Option<&'a str>,
}

impl Arg<'_> {
    /// Whether this is the parameter `name`; `-` and `_` are the same.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        let same = |b: u8| if b == b'-' { b'_' } else { b };
        self.name.len() == name.len() && self.name.bytes().map(same).eq(name.bytes().map(same))
    }
}

impl fmt::Display for Arg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// Iterator over the arguments of a line.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    rest: &'a str,
    ended: bool,
}

/// The kernel's `isspace` on ASCII: Rust's leaves the vertical tab out.
fn is_space(b: u8) -> bool {
    b == b' ' || (b'\t'..=b'\r').contains(&b)
}

fn skip_spaces(text: &str) -> &str {
    text.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_space))
}

/// Length of the first argument of `text`, and where its `=` is. A `=` in front is part of the name.
fn measure(text: &str, mut in_quotes: bool) -> (usize, Option<usize>) {
    let mut equals = None;
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'=' if i > 0 && equals.is_none() => equals = Some(i),
            b'"' => in_quotes = !in_quotes,
            _ if is_space(b) && !in_quotes => return (i, equals),
            _ => {}
        }
    }
    (text.len(), equals)
}

impl<'a> Iterator for Args<'a> {
    type Item = Arg<'a>;

    fn next(&mut self) -> Option<Arg<'a>> {
        if self.ended || self.rest.is_empty() {
            return None;
        }
        let body = self.rest.strip_prefix('"');
        let quoted = body.is_some();
        let body = body.unwrap_or(self.rest);
        let (len, equals) = measure(body, quoted);
        let (whole, rest) = body.split_at_checked(len).unwrap_or((body, ""));
        self.rest = skip_spaces(rest);
        let unquoted = whole.strip_suffix('"').filter(|_| quoted).unwrap_or(whole);
        let arg = match equals.and_then(|at| whole.split_at_checked(at)) {
            None => Arg { name: unquoted, value: None },
            Some((name, value)) => Arg { name, value: Some(value_of(value, quoted)) },
        };
        self.ended = arg == Arg { name: "--", value: None };
        (!self.ended).then_some(arg)
    }
}

/// The value after the `=` that `text` starts with. One closing quote goes for the quote around the value; a quote
/// around the whole argument ends at the same place.
fn value_of(text: &str, quoted: bool) -> &str {
    let value = text.strip_prefix('=').unwrap_or(text);
    match value.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None if quoted => value.strip_suffix('"').unwrap_or(value),
        None => value,
    }
}

/// The unknown arguments; displays as the words between the quotes of Linux's line.
#[derive(Clone, Copy, Debug)]
pub struct Unknown<'a, F> {
    args: Args<'a>,
    is_known: F,
}

impl<'a, F: Fn(&Arg<'_>) -> bool> Unknown<'a, F> {
    /// In Linux's order: first those without a value, for init's arguments, then those with one, for its
    /// environment; there, of several with one name the last counts, in the place of the first. A name with a
    /// dot belongs to a module and is not listed.
    pub fn iter(&self) -> impl Iterator<Item = Arg<'a>> + '_ {
        let listed = move |arg: &Arg<'_>| !(self.is_known)(arg) && !arg.name.contains('.');
        let flags = self.args.filter(move |arg| arg.value.is_none() && listed(arg));
        let settings = self.args.enumerate().filter(move |(_, arg)| arg.value.is_some() && listed(arg));
        flags.chain(settings.filter_map(|(i, arg)| {
            let same = move |other: &Arg<'_>| other.name == arg.name && other.value.is_some();
            let first = !self.args.take(i).any(|earlier| same(&earlier));
            first.then(|| self.args.filter(same).last().unwrap_or(arg))
        }))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<F: Fn(&Arg<'_>) -> bool> fmt::Display for Unknown<'_, F> {
    /// `Unknown kernel command line parameters "a=1 b", will be passed to user space.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unknown kernel command line parameters \"")?;
        for (i, arg) in self.iter().enumerate() {
            write!(f, "{}{arg}", if i > 0 { " " } else { "" })?;
        }
        f.write_str("\", will be passed to user space.")
    }
}
