//! Switching events on and off: `set_event`, `tracing_on`, `trace_stack`.

use crate::select::{self, Selection};
use crate::{EVENTS, target};
use arch_armv7::fixmap::Fixmap;
use arch_armv7::jump_label::{self, StaticKey};
use arch_armv7::patch::PatchError;
use arch_armv7::tlb::Tlb;
use core::sync::atomic::{AtomicBool, Ordering};

/// An event and its switches.
#[derive(Debug)]
pub struct Event {
    /// Its group, as `kmem`.
    pub group: &'static str,
    /// Its name.
    pub name: &'static str,
    key: &'static StaticKey,
    wanted: AtomicBool,
}

impl Event {
    pub(crate) const fn new(group: &'static str, name: &'static str, key: &'static StaticKey) -> Self {
        Self { group, name, key, wanted: AtomicBool::new(false) }
    }

    /// Whether it is recorded while tracing is on.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }
}

/// The event that is on whenever another one is.
const COUNTERS: &str = "vmstat";
/// `tracing_on`.
static TRACING_ON: AtomicBool = AtomicBool::new(true);

/// Whether wanted events are recorded.
#[must_use]
pub fn is_tracing() -> bool {
    TRACING_ON.load(Ordering::Relaxed)
}

/// Whether any event is wanted.
#[must_use]
pub fn any() -> bool {
    EVENTS.iter().any(Event::is_wanted)
}

/// Switches all of tracing.
///
/// # Errors
/// [`PatchError`].
pub fn set_tracing(fixmap: &mut Fixmap<Tlb>, on: bool) -> Result<(), PatchError> {
    TRACING_ON.store(on, Ordering::Relaxed);
    apply(fixmap)
}

/// Wants events, or wants them no longer, as a word written to `set_event` says. `false`: there is no such event.
///
/// # Errors
/// [`PatchError`].
pub fn select(fixmap: &mut Fixmap<Tlb>, word: &str) -> Result<bool, PatchError> {
    let Selection { pattern, on } = Selection::parse(word);
    let mut found = false;
    for event in EVENTS.iter().filter(|event| select::matches(pattern, event.group, event.name)) {
        event.wanted.store(on, Ordering::Relaxed);
        found = true;
    }
    apply(fixmap).map(|()| found)
}

/// Wants no event.
///
/// # Errors
/// [`PatchError`].
pub fn clear(fixmap: &mut Fixmap<Tlb>) -> Result<(), PatchError> {
    EVENTS.iter().for_each(|event| event.wanted.store(false, Ordering::Relaxed));
    apply(fixmap)
}

/// Patches the code of every event that is not as it should be.
fn apply(fixmap: &mut Fixmap<Tlb>) -> Result<(), PatchError> {
    let (tracing, any) = (is_tracing(), any());
    for event in &EVENTS {
        let on = tracing && (event.is_wanted() || any && event.name == COUNTERS);
        if event.key.is_on() != on {
            jump_label::set(fixmap, event.key, on)?;
        }
    }
    Ok(())
}

/// Lets events be followed by stack traces, or no longer, by words as for [`select`]. `false`: there is no such event.
pub fn select_stack(word: &str) -> bool {
    let Selection { pattern, on } = Selection::parse(word);
    const { assert!(EVENTS.len() <= u32::BITS as usize, "a bit an event") };
    let mut found = false;
    for (number, event) in EVENTS.iter().enumerate() {
        if select::matches(pattern, event.group, event.name) {
            let bit = 1 << number;
            target::set_stacks(if on { target::stacks() | bit } else { target::stacks() & !bit });
            found = true;
        }
    }
    found
}

/// Events that are followed by stack traces.
pub fn with_stack() -> impl Iterator<Item = &'static Event> {
    let stacks = target::stacks();
    EVENTS.iter().enumerate().filter(move |(number, _)| stacks >> number & 1 != 0).map(|(_, event)| event)
}
