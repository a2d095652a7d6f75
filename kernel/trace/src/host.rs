//! Events as texts, for tests: nothing unless the thread captures.

use crate::value::Value;
use std::cell::RefCell;
use std::string::String;
use std::vec::Vec;

/// The type and the largest size of a value.
pub type Shape = (&'static str, usize);

/// An event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What the fields are.
    pub text: String,
    /// What its frame says to the host.
    pub format: &'static str,
    /// What its frame holds.
    pub values: Vec<Shape>,
}

std::thread_local! {
    static CAPTURED: RefCell<Option<Vec<Event>>> = const { RefCell::new(None) };
}

/// Runs `f` with all events on; its result, and the texts of the events of this thread: `GROUP:NAME FIELD=VALUE ..`,
/// numbers in decimal.
pub fn capture<R>(f: impl FnOnce() -> R) -> (R, Vec<String>) {
    let (result, events) = capture_events(f);
    (result, events.into_iter().map(|event| event.text).collect())
}

/// As [`capture`], with what the events' frames would be.
pub fn capture_events<R>(f: impl FnOnce() -> R) -> (R, Vec<Event>) {
    CAPTURED.with_borrow_mut(|captured| *captured = Some(Vec::new()));
    let result = f();
    (result, CAPTURED.with_borrow_mut(Option::take).unwrap_or_default())
}

/// Whether this thread captures.
pub(crate) fn is_on() -> bool {
    CAPTURED.with_borrow(Option::is_some)
}

pub(crate) fn push(event: Event) {
    CAPTURED.with_borrow_mut(|captured| captured.iter_mut().for_each(|events| events.push(event.clone())));
}

pub(crate) fn shape_of<V: Value>(_: &V) -> Shape {
    (V::TYPE, V::MAX)
}
