//! The lines typed before.

use alloc::{collections::VecDeque, string::String};

/// Lines remembered; the oldest is forgotten first.
const MAX_ENTRIES: usize = 64;

/// Past lines and the place the user has walked to among them. One step below the newest entry is the draft: what
/// was being typed when the walk began.
#[derive(Clone, Default, Debug)]
pub struct History {
    entries: VecDeque<String>,
    /// Steps up from the draft.
    depth: usize,
    draft: String,
}

impl History {
    /// Remembers `line`, unless it is blank or repeats the newest entry, and ends the walk.
    pub fn push(&mut self, line: &str) {
        self.depth = 0;
        if line.trim().is_empty() || self.entries.back().is_some_and(|last| last == line) {
            return;
        }
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(line.into());
    }

    /// The line before the one shown; `current` is kept as the draft when the walk begins.
    pub fn up(&mut self, current: impl FnOnce() -> String) -> Option<&str> {
        if self.depth == self.entries.len() {
            return None;
        }
        if self.depth == 0 {
            self.draft = current();
        }
        self.depth += 1;
        Some(&self.entries[self.entries.len() - self.depth])
    }

    /// The line after the one shown, the draft at last.
    pub fn down(&mut self) -> Option<&str> {
        self.depth = self.depth.checked_sub(1)?;
        match self.depth {
            0 => Some(&self.draft),
            steps => Some(&self.entries[self.entries.len() - steps]),
        }
    }

    /// Ends the walk without a line.
    pub fn leave(&mut self) {
        self.depth = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn walks_up_and_back_to_the_draft() {
        let mut history = History::default();
        for line in ["one", "two", "two", "  ", "three"] {
            history.push(line);
        }
        assert_eq!(history.up(|| "dra".into()), Some("three"));
        assert_eq!(history.up(|| unreachable!()), Some("two"));
        assert_eq!(history.up(|| unreachable!()), Some("one"));
        assert_eq!(history.up(|| unreachable!()), None);
        assert_eq!(history.down(), Some("two"));
        assert_eq!(history.down(), Some("three"));
        assert_eq!(history.down(), Some("dra"));
        assert_eq!(history.down(), None);
    }

    #[test]
    fn forgets_the_oldest() {
        let mut history = History::default();
        (0..MAX_ENTRIES + 3).for_each(|n| history.push(&format!("line {n}")));
        let mut oldest = String::new();
        while let Some(line) = history.up(String::new) {
            oldest = line.into();
        }
        assert_eq!(oldest, "line 3");
    }
}
