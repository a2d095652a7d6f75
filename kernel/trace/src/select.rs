//! Which events a word means: as Linux's `set_event` has it.
//!
//! `NAME`, `GROUP`, `GROUP:NAME`, `GROUP:*`, `*:*`, `all`; with `*` at the end of a name for all that begin so, and with `!`
//! in front to switch off. Source: Linux `Documentation/trace/events.rst`, 2.1.

/// A word of `set_event`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Selection<'a> {
    /// For [`matches`].
    pub pattern: &'a str,
    /// Whether they are to be switched on.
    pub on: bool,
}

impl<'a> Selection<'a> {
    /// Takes a word apart.
    #[must_use]
    pub fn parse(word: &'a str) -> Self {
        match word.strip_prefix('!') {
            Some(pattern) => Self { pattern, on: false },
            None => Self { pattern: word, on: true },
        }
    }
}

/// Whether `pattern` means the event `name` of `group`.
#[must_use]
pub fn matches(pattern: &str, group: &str, name: &str) -> bool {
    match pattern.split_once(':') {
        Some((of_group, of_name)) => {
            is_like(of_group, group) && (of_name.is_empty() || is_like(of_name, name))
        }
        None => pattern == "all" || is_like(pattern, name) || is_like(pattern, group),
    }
}

fn is_like(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_events_as_in_linux() {
        let means = |pattern| matches(pattern, "cma", "cma_alloc_start");
        for yes in
            ["cma", "cma:", "cma:*", "*:*", "all", "cma_alloc_start", "cma:cma_alloc_start", "cma_al*", "*"]
        {
            assert!(means(yes), "{yes}");
        }
        for no in ["kmem", "cma_alloc", "cma:cma_alloc", "kmem:cma_alloc_start", "", ":x", "kmem:*", "cm"] {
            assert!(!means(no), "{no}");
        }
    }

    #[test]
    fn an_exclamation_mark_switches_off() {
        assert_eq!(Selection::parse("!cma"), Selection { pattern: "cma", on: false });
        assert_eq!(Selection::parse("cma:*"), Selection { pattern: "cma:*", on: true });
    }
}
