//! The text of one line and the place in it where typing goes.

use alloc::{string::String, vec::Vec};

/// Characters that a line can hold; more are refused.
pub const MAX_LINE: usize = 4096;

/// A line of text with a cursor, counted in characters.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Line {
    text: Vec<char>,
    cursor: usize,
}

impl Line {
    /// The characters.
    #[must_use]
    pub fn chars(&self) -> &[char] {
        &self.text
    }

    /// Characters to the left of the cursor.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Puts `c` at the cursor; `false` when the line is full.
    pub fn insert(&mut self, c: char) -> bool {
        if self.text.len() >= MAX_LINE {
            return false;
        }
        self.text.insert(self.cursor, c);
        self.cursor += 1;
        true
    }

    /// Removes the character to the left.
    pub fn backspace(&mut self) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.text.remove(self.cursor);
        }
    }

    /// Removes the character to the right.
    pub fn delete(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
    }

    /// One character to the left.
    pub fn left(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    /// One character to the right.
    pub fn right(&mut self) {
        self.cursor = (self.cursor + 1).min(self.text.len());
    }

    /// To the start.
    pub fn home(&mut self) {
        self.cursor = 0;
    }

    /// To the end.
    pub fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// Removes everything to the right.
    pub fn kill_right(&mut self) {
        self.text.truncate(self.cursor);
    }

    /// Removes everything to the left.
    pub fn kill_left(&mut self) {
        self.text.drain(..core::mem::take(&mut self.cursor));
    }

    /// Removes the word to the left and the blanks behind it.
    pub fn kill_word(&mut self) {
        let left = &self.text[..self.cursor];
        let word_end = left.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
        let start = left[..word_end].iter().rposition(|c| *c == ' ').map_or(0, |blank| blank + 1);
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    /// Replaces the text; the cursor goes to its end.
    pub fn set(&mut self, text: &str) {
        self.text.clear();
        self.text.extend(text.chars().take(MAX_LINE));
        self.end();
    }

    /// The text; the line is empty afterwards.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        self.text.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The model: what is left of the cursor and what is right of it, as two strings.
    #[derive(Default)]
    struct Model {
        left: String,
        right: String,
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(char),
        Backspace,
        Delete,
        Left,
        Right,
        Home,
        End,
        KillRight,
        KillLeft,
        KillWord,
    }

    impl Model {
        fn apply(&mut self, op: &Op) {
            match op {
                Op::Insert(c) => self.left.push(*c),
                Op::Backspace => drop(self.left.pop()),
                Op::Delete => drop(self.right.chars().next().map(|_| self.right.remove(0))),
                Op::Left => self.left.pop().into_iter().for_each(|c| self.right.insert(0, c)),
                Op::Right if !self.right.is_empty() => self.left.push(self.right.remove(0)),
                Op::Right => {}
                Op::Home => self.right.insert_str(0, &core::mem::take(&mut self.left)),
                Op::End => self.left.push_str(&core::mem::take(&mut self.right)),
                Op::KillRight => self.right.clear(),
                Op::KillLeft => self.left.clear(),
                Op::KillWord => {
                    while self.left.ends_with(' ') {
                        self.left.pop();
                    }
                    while !self.left.is_empty() && !self.left.ends_with(' ') {
                        self.left.pop();
                    }
                }
            }
        }
    }

    fn apply(line: &mut Line, op: &Op) {
        match op {
            Op::Insert(c) => assert!(line.insert(*c)),
            Op::Backspace => line.backspace(),
            Op::Delete => line.delete(),
            Op::Left => line.left(),
            Op::Right => line.right(),
            Op::Home => line.home(),
            Op::End => line.end(),
            Op::KillRight => line.kill_right(),
            Op::KillLeft => line.kill_left(),
            Op::KillWord => line.kill_word(),
        }
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => prop_oneof![4 => prop::char::range('a', 'e'), 2 => Just(' '), 1 => any::<char>()].prop_map(Op::Insert),
            1 => Just(Op::Backspace),
            1 => Just(Op::Delete),
            3 => Just(Op::Left),
            2 => Just(Op::Right),
            1 => Just(Op::Home),
            1 => Just(Op::End),
            1 => Just(Op::KillRight),
            1 => Just(Op::KillLeft),
            1 => Just(Op::KillWord),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 512 }) })]

        #[test]
        fn edits_like_two_strings(ops in prop::collection::vec(op(), 0..80)) {
            let (mut line, mut model) = (Line::default(), Model::default());
            for op in &ops {
                apply(&mut line, op);
                model.apply(op);
                prop_assert_eq!(line.cursor(), model.left.chars().count());
                let text: String = line.chars().iter().collect();
                prop_assert_eq!(text, alloc::format!("{}{}", model.left, model.right));
            }
        }
    }

    #[test]
    fn a_full_line_refuses() {
        let mut line = Line::default();
        line.set(&"x".repeat(MAX_LINE + 7));
        assert_eq!(line.chars().len(), MAX_LINE);
        assert!(!line.insert('y'));
        assert_eq!(line.take().len(), MAX_LINE);
        assert!(line.insert('y'));
    }
}
