//! An event, as its frame tells it.

/// A field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number; `hex` when it is to be printed so.
    Number {
        /// The number.
        value: u64,
        /// Printed as `0x..`.
        hex: bool,
    },
    /// Anything else.
    Text(String),
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since boot, on the clock of the log's time stamps.
    pub time: u64,
    /// Interrupts were off.
    pub irqs_off: bool,
    /// In an interrupt's handler.
    pub hardirq: bool,
    /// Its group, as `kmem`.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its fields, in order.
    pub fields: Vec<(String, Value)>,
    /// Return addresses, innermost first, if a stack trace was asked for.
    pub stack: Vec<u32>,
    /// The functions of `stack`.
    pub callers: Vec<String>,
}

impl Event {
    /// An event of numbers, for tests.
    #[cfg(test)]
    pub(super) fn of_numbers(name: &str, time: u64, fields: &[(&str, u64)]) -> Self {
        let number = |&(name, value): &(&str, u64)| (name.to_owned(), Value::Number { value, hex: false });
        Self {
            time,
            irqs_off: false,
            hardirq: false,
            group: "g".into(),
            name: name.into(),
            fields: fields.iter().map(number).collect(),
            stack: Vec::new(),
            callers: Vec::new(),
        }
    }

    /// A field that is a number; 0 if there is none of this name.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        match self.get(name) {
            Some(Value::Number { value, .. }) => *value,
            _ => 0,
        }
    }

    /// A field that is a text; empty if there is none of this name.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// A field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// Replaces a field, or adds it at the end.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.fields.iter_mut().find(|(field, _)| field == name) {
            Some(field) => field.1 = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number { value, hex: true } => write!(f, "{value:#x}"),
            Self::Number { value, hex: false } => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
