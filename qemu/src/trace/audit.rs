//! Whether anything is missing: the counters of the page allocator, which are events too, against the events between.
//!
//! `vmstat` events tell how many pages have been allocated, freed and moved, and how many CMA requests have been served.
//! Between two of them, those numbers grow by what the events tell, or an event is missing.

use super::event::Event;

/// What is counted twice: by the kernel, and here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    pgalloc: u64,
    pgfree: u64,
    pgmigrate_success: u64,
    cma_alloc_success: u64,
    cma_alloc_fail: u64,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Stretches between two counters that were compared.
    pub windows: usize,
    /// Frames that did not fit into the ring.
    pub dropped: u64,
}

/// The page number of an allocation that failed.
pub const NO_PAGE: u64 = u32::MAX as u64;

impl Counts {
    fn told_by(event: &Event) -> Self {
        let number = |name| event.number(name);
        Self {
            pgalloc: number("pgalloc"),
            pgfree: number("pgfree"),
            pgmigrate_success: number("pgmigrate_success"),
            cma_alloc_success: number("cma_alloc_success"),
            cma_alloc_fail: number("cma_alloc_fail"),
        }
    }

    fn count(&mut self, event: &Event) {
        let (pages, failed) = (1 << event.number("order"), event.number("pfn") == NO_PAGE);
        match event.name.as_str() {
            "mm_page_alloc" if !failed => self.pgalloc += pages,
            "mm_page_free" => self.pgfree += pages,
            "mm_migrate_page" => self.pgmigrate_success += pages,
            "cma_alloc_finish" if failed => self.cma_alloc_fail += 1,
            "cma_alloc_finish" => self.cma_alloc_success += 1,
            _ => {}
        }
    }

    /// By how much the kernel's 32-bit counters have grown.
    fn since(self, before: Self) -> Self {
        let grown = |now: u64, then: u64| u64::from((now as u32).wrapping_sub(then as u32));
        Self {
            pgalloc: grown(self.pgalloc, before.pgalloc),
            pgfree: grown(self.pgfree, before.pgfree),
            pgmigrate_success: grown(self.pgmigrate_success, before.pgmigrate_success),
            cma_alloc_success: grown(self.cma_alloc_success, before.cma_alloc_success),
            cma_alloc_fail: grown(self.cma_alloc_fail, before.cma_alloc_fail),
        }
    }
}

/// Frames that were dropped, as the last counters say.
#[must_use]
pub fn dropped(events: &[Event]) -> u64 {
    events.iter().rev().find(|event| event.name == "vmstat").map_or(0, |event| event.number("dropped"))
}

/// Compares all events between the first and the last counters, of a run in which all events were on. They are to be
/// those of the decoder, before they were given names.
///
/// # Errors
/// The first stretch that is not what the kernel counted.
pub fn audit(events: &[Event]) -> Result<Found, String> {
    let (mut last, mut counts, mut windows) = (None, Counts::default(), 0);
    for event in events {
        if event.name != "vmstat" {
            counts.count(event);
            continue;
        }
        let told = Counts::told_by(event);
        if let Some(before) = last.replace(told) {
            let expected = told.since(before);
            if counts != expected {
                let at = event.time;
                return Err(format!(
                    "before {at} ns: the kernel counted {expected:?}, the events are {counts:?}"
                ));
            }
            windows += 1;
        }
        counts = Counts::default();
    }
    Ok(Found { windows, dropped: dropped(events) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, fields: &[(&str, u64)]) -> Event {
        Event::of_numbers(name, 0, fields)
    }

    #[test]
    fn a_missing_event_is_found() {
        let mut events = vec![
            event("mm_page_alloc", &[("order", 9)]),
            event("vmstat", &[("pgalloc", u64::from(u32::MAX)), ("pgfree", 7)]),
            event("mm_page_alloc", &[("order", 3), ("pfn", 1)]),
            event("mm_page_alloc", &[("order", 3), ("pfn", NO_PAGE)]),
            event("mm_page_free", &[("order", 0), ("pfn", 1)]),
            event("cma_alloc_finish", &[("pfn", 5)]),
            event("mm_migrate_page", &[("order", 0), ("pfn", 1)]),
            event(
                "vmstat",
                &[
                    ("pgalloc", 7),
                    ("pgfree", 8),
                    ("cma_alloc_success", 1),
                    ("pgmigrate_success", 1),
                    ("dropped", 4),
                ],
            ),
        ];
        assert_eq!(audit(&events), Ok(Found { windows: 1, dropped: 4 }));
        for at in [2, 4, 5, 6] {
            let removed = events.remove(at);
            assert!(audit(&events).is_err(), "without {}", removed.name);
            events.insert(at, removed);
        }
    }
}
