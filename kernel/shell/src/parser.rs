//! A command line, cut into simple commands: the part of the POSIX shell language that the console has.
//!
//! ```text
//! line     = [ command { (";" | "&&" | "||") command } ] [ "#" comment ]
//! command  = { word } [ ">" word ]
//! word     = characters, with '...', "...", \c, and $? replaced by the last status (not inside '...')
//! ```
//!
//! A command is parsed when it is its turn, because `$?` in it stands for the status of the one before; [`check`]
//! walks the whole line first, so that a mistake at the end is reported before anything has run. Source: POSIX.1-2017
//! Shell Command Language, 2.2, 2.3, 2.9.3.

use alloc::{string::String, vec::Vec};
use core::fmt::{self, Write};

/// What stands before a command and decides whether it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joint {
    /// Start of the line or `;`: always.
    Always,
    /// `&&`: when the status is zero.
    IfOk,
    /// `||`: when the status is not zero.
    IfFailed,
}

/// A command and its words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Simple {
    /// Whether to run it.
    pub joint: Joint,
    /// The name and the arguments; empty between two `;`.
    pub words: Vec<String>,
    /// The file that takes the output.
    pub redirect: Option<String>,
}

/// Why a line makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyntaxError {
    /// A quotation mark without its partner.
    Unterminated(char),
    /// An operator where a word belongs, or one that the console doesn't have.
    Unexpected(&'static str),
    /// The line ends where a word belongs.
    UnexpectedEnd,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated(quote) => write!(f, "Syntax error: unterminated {quote}"),
            Self::Unexpected(what) => write!(f, "Syntax error: {what} unexpected"),
            Self::UnexpectedEnd => f.write_str("Syntax error: end of line unexpected"),
        }
    }
}

impl core::error::Error for SyntaxError {}

enum Token {
    Word(String),
    Operator(&'static str),
}

/// Walks over a line. After an error it is at its end.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    rest: &'a str,
    joint: Option<Joint>,
}

/// Whether the whole line can be parsed.
///
/// # Errors
/// The first mistake.
pub fn check(line: &str) -> Result<(), SyntaxError> {
    let mut parser = Parser::new(line);
    while parser.next(0)?.is_some() {}
    Ok(())
}

impl<'a> Parser<'a> {
    /// At the start of `line`.
    #[must_use]
    pub fn new(line: &'a str) -> Self {
        Self { rest: line, joint: Some(Joint::Always) }
    }

    /// The next command, with `status` for `$?`; `None` at the end of the line.
    ///
    /// # Errors
    /// When the text up to the next joint is not a command.
    pub fn next(&mut self, status: u8) -> Result<Option<Simple>, SyntaxError> {
        let Some(joint) = self.joint.take() else { return Ok(None) };
        let mut simple = Simple { joint, words: Vec::new(), redirect: None };
        while let Some(token) = self.token(status)? {
            match token {
                Token::Word(word) => simple.words.push(word),
                Token::Operator(">") => simple.redirect = Some(self.target(status, &simple)?),
                Token::Operator(joint) => {
                    self.join(joint, &simple)?;
                    return Ok(Some(simple));
                }
            }
        }
        let dangling = joint != Joint::Always && simple.words.is_empty();
        if dangling { Err(SyntaxError::UnexpectedEnd) } else { Ok(Some(simple)) }
    }

    fn target(&mut self, status: u8, simple: &Simple) -> Result<String, SyntaxError> {
        if simple.redirect.is_some() || simple.words.is_empty() {
            return Err(SyntaxError::Unexpected(">"));
        }
        match self.token(status)? {
            Some(Token::Word(path)) => Ok(path),
            Some(Token::Operator(operator)) => Err(SyntaxError::Unexpected(operator)),
            None => Err(SyntaxError::UnexpectedEnd),
        }
    }

    fn join(&mut self, operator: &'static str, simple: &Simple) -> Result<(), SyntaxError> {
        self.joint = Some(match operator {
            ";" => Joint::Always,
            "&&" => Joint::IfOk,
            "||" => Joint::IfFailed,
            _ => return Err(SyntaxError::Unexpected(operator)),
        });
        let needs_word = operator != ";" || simple.joint != Joint::Always;
        if needs_word && simple.words.is_empty() { Err(SyntaxError::Unexpected(operator)) } else { Ok(()) }
    }

    fn token(&mut self, status: u8) -> Result<Option<Token>, SyntaxError> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('#') {
            self.rest = "";
        }
        for operator in [";", "&&", "||", ">>", ">", "<", "|", "&"] {
            if let Some(rest) = self.rest.strip_prefix(operator) {
                self.rest = rest;
                return Ok(Some(Token::Operator(operator)));
            }
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.word(status).map(|word| Some(Token::Word(word)))
    }

    fn word(&mut self, status: u8) -> Result<String, SyntaxError> {
        let mut word = String::new();
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\'' => self.single_quoted(&mut word)?,
                '"' => self.double_quoted(&mut word, status)?,
                ';' | '&' | '|' | '>' | '<' => break,
                _ if c.is_whitespace() => break,
                _ => self.character(&mut word, status),
            }
        }
        Ok(word)
    }

    fn single_quoted(&mut self, word: &mut String) -> Result<(), SyntaxError> {
        let (text, rest) = self.after_next().split_once('\'').ok_or(SyntaxError::Unterminated('\''))?;
        word.push_str(text);
        self.rest = rest;
        Ok(())
    }

    fn double_quoted(&mut self, word: &mut String, status: u8) -> Result<(), SyntaxError> {
        self.rest = self.after_next();
        while !self.rest.starts_with('"') {
            if self.rest.is_empty() {
                return Err(SyntaxError::Unterminated('"'));
            }
            let literal = self.rest.starts_with('\\') && !self.after_next().starts_with(['"', '\\', '$']);
            if literal {
                word.push('\\');
                self.rest = self.after_next();
            } else {
                self.character(word, status);
            }
        }
        self.rest = self.after_next();
        Ok(())
    }

    /// What is left after the next character.
    fn after_next(&self) -> &'a str {
        let mut chars = self.rest.chars();
        chars.next();
        chars.as_str()
    }

    /// One character of the line: itself, `\c` or `$?`.
    fn character(&mut self, word: &mut String, status: u8) {
        if let Some(rest) = self.rest.strip_prefix("$?") {
            self.rest = rest;
            // Writing to a String can't fail.
            let _ = write!(word, "{status}");
            return;
        }
        let plain = self.rest.strip_prefix('\\').filter(|rest| !rest.is_empty()).unwrap_or(self.rest);
        let mut chars = plain.chars();
        word.extend(chars.next());
        self.rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        Parser::new(line).next(7).unwrap().unwrap().words
    }

    fn all(line: &str) -> Result<Vec<Simple>, SyntaxError> {
        let (mut parser, mut commands) = (Parser::new(line), Vec::new());
        while let Some(command) = parser.next(0)? {
            commands.push(command);
        }
        Ok(commands)
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(
            words(r#"echo 'a  $? b' "c \" \n $?" d\ e"f"'g'"#),
            ["echo", "a  $? b", "c \" \\n 7", "d efg"]
        );
        assert_eq!(words("a '' b"), ["a", "", "b"]);
        assert_eq!(words("a#b #c; d"), ["a#b"]);
        assert_eq!(words("echo $? $HOME \\$?"), ["echo", "7", "$HOME", "$?"]);
    }

    #[test]
    fn lists_and_redirections() {
        let commands = all("a 1;b && c>/x || d > '/y z' ; # end").unwrap();
        let shape: Vec<_> =
            commands.iter().map(|c| (c.joint, c.words.len(), c.redirect.as_deref())).collect();
        assert_eq!(
            shape,
            vec![
                (Joint::Always, 2, None),
                (Joint::Always, 1, None),
                (Joint::IfOk, 1, Some("/x")),
                (Joint::IfFailed, 1, Some("/y z")),
                (Joint::Always, 0, None),
            ]
        );
        assert!(all(";; ;").unwrap().iter().all(|c| c.words.is_empty()));
    }

    #[test]
    fn mistakes() {
        for (line, text) in [
            ("echo 'a", "Syntax error: unterminated '"),
            ("ok; echo \"a", "Syntax error: unterminated \""),
            ("a >", "Syntax error: end of line unexpected"),
            ("> b", "Syntax error: > unexpected"),
            ("a > b > c", "Syntax error: > unexpected"),
            ("a >> b", "Syntax error: >> unexpected"),
            ("a | b", "Syntax error: | unexpected"),
            ("a &", "Syntax error: & unexpected"),
            ("&& a", "Syntax error: && unexpected"),
            ("a && ; b", "Syntax error: ; unexpected"),
            ("a ||", "Syntax error: end of line unexpected"),
        ] {
            assert_eq!(format!("{}", check(line).unwrap_err()), text, "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 512 }) })]

        #[test]
        fn single_quotes_keep_anything(words in prop::collection::vec("[^']{0,12}", 1..6)) {
            let line: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(super::tests::words(&line.join(" ")), words);
        }

        #[test]
        fn any_line_ends(line in "[ -~é'\"\\\\;&|>#$?]{0,60}") {
            let commands = all(&line);
            prop_assert_eq!(commands.as_ref().err().copied(), check(&line).err());
            prop_assert!(commands.map_or(0, |c| c.len()) <= line.len() + 1);
        }
    }
}
