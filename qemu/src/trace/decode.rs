//! From the bytes of the ring to events: `defmt` frames, and the time.
//!
//! A frame's time stamp is 30 bits of the timer's counter, which run over after some seconds, above two bits that tell
//! the context. The event `vmstat`, which comes once a millisecond, tells the whole counter, its value at boot, and how
//! fast it goes.

use defmt_decoder::{DecodeError, Frame, Table};
use object::{Object, ObjectSection};

use super::event::{Event, Value};

const TICKS: u64 = (1 << 30) - 1;

/// The events in `bytes`, which a kernel wrote whose ELF file is `elf`. A frame that is cut off at the end is left out.
///
/// # Errors
/// Why these bytes are no frames.
pub fn decode(elf: &[u8], bytes: &[u8]) -> Result<Vec<Event>, String> {
    let table = Table::parse(elf).map_err(|error| error.to_string())?.ok_or("the image has no events")?;
    let (mut events, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match table.decode(&bytes[at..]) {
            Ok((frame, used)) => {
                add(&mut events, &frame)?;
                at += used;
            }
            Err(DecodeError::UnexpectedEof) => break,
            Err(DecodeError::Malformed) => return Err(format!("no frame at byte {at} of {}", bytes.len())),
        }
    }
    set_times(&mut events);
    let strings = Strings::new(elf)?;
    events.iter_mut().for_each(|event| strings.look_up(event));
    Ok(events)
}

/// Adds what a frame tells. Its time is the raw stamp yet.
fn add(events: &mut Vec<Event>, frame: &Frame<'_>) -> Result<(), String> {
    let text = frame.display_message().to_string();
    let mut words = text.split(' ');
    let head = words.next().unwrap_or_default();
    let (group, name) = head.split_once(':').ok_or_else(|| format!("no event: {text}"))?;
    if name == "kernel_stack" {
        let stack = addresses(&text);
        if let Some(event) = events.last_mut() {
            event.stack = stack;
        }
        return Ok(());
    }
    let fields = words.filter_map(|word| word.split_once('='));
    let stamp = frame.display_timestamp().and_then(|stamp| stamp.to_string().parse::<u64>().ok());
    let stamp = stamp.ok_or_else(|| format!("no time stamp: {text}"))?;
    events.push(Event {
        time: stamp >> 2,
        irqs_off: stamp & 1 != 0,
        hardirq: stamp & 2 != 0,
        group: group.to_owned(),
        name: name.to_owned(),
        fields: fields.map(|(field, value)| (field.to_owned(), parse(value))).collect(),
        stack: Vec::new(),
        callers: Vec::new(),
    });
    Ok(())
}

fn parse(text: &str) -> Value {
    let hex = text.strip_prefix("0x");
    let number = hex.map_or_else(|| text.parse().ok(), |digits| u64::from_str_radix(digits, 16).ok());
    match number {
        Some(value) => Value::Number { value, hex: hex.is_some() },
        None => Value::Text(text.to_owned()),
    }
}

/// The words of an array of bytes, as `defmt` prints it: `[1, 2, ..]`.
fn addresses(text: &str) -> Vec<u32> {
    let list = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    let bytes: Vec<u8> = list.split(',').filter_map(|byte| byte.trim().parse().ok()).collect();
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

/// Makes nanoseconds since boot of the stamps.
fn set_times(events: &mut [Event]) {
    let Some(first) = events.iter().position(|event| event.name == "vmstat") else { return };
    let (boot, frequency) = (events[first].number("boot"), events[first].number("frequency").max(1));
    // The stamp of an event that knows its tick is a little later.
    let whole = |event: &Event| {
        let ticks = event.number("ticks");
        ticks + (event.time.wrapping_sub(ticks) & TICKS)
    };
    let mut now = whole(&events[first]);
    for at in (0..first).rev() {
        now -= events[at + 1].time.wrapping_sub(events[at].time) & TICKS;
    }
    let mut stamp = events[0].time;
    for event in events {
        now += event.time.wrapping_sub(stamp) & TICKS;
        stamp = event.time;
        if event.name == "vmstat" {
            now = whole(event);
        }
        event.time = (u128::from(now.saturating_sub(boot)) * 1_000_000_000 / u128::from(frequency)) as u64;
    }
}

/// Constants of the kernel, by address.
struct Strings<'e> {
    sections: Vec<(u64, &'e [u8])>,
}

impl<'e> Strings<'e> {
    fn new(elf: &'e [u8]) -> Result<Self, String> {
        let file = object::File::parse(elf).map_err(|error| error.to_string())?;
        let sections = file.sections().filter_map(|section| Some((section.address(), section.data().ok()?)));
        Ok(Self { sections: sections.filter(|(address, data)| *address > 0 && !data.is_empty()).collect() })
    }

    /// Puts the text itself where a field says `*address+length`.
    fn look_up(&self, event: &mut Event) {
        for (_, value) in &mut event.fields {
            let Value::Text(text) = value else { continue };
            let Some((address, length)) = text.strip_prefix("*0x").and_then(|text| text.split_once('+'))
            else {
                continue;
            };
            let (address, length) = (u64::from_str_radix(address, 16), length.parse::<usize>());
            if let (Ok(address), Ok(length)) = (address, length)
                && let Some(found) = self.at(address, length)
            {
                *text = found.to_owned();
            }
        }
    }

    fn at(&self, address: u64, length: usize) -> Option<&'e str> {
        let within = |(start, data): &&(u64, &[u8])| {
            address >= *start && address + length as u64 <= start + data.len() as u64
        };
        let (start, data) = self.sections.iter().find(within)?;
        let from = (address - start) as usize;
        str::from_utf8(&data[from..from + length]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, stamp: u64, fields: &[(&str, u64)]) -> Event {
        Event::of_numbers(name, stamp & TICKS, fields)
    }

    #[test]
    fn stamps_that_run_over_become_times() {
        let boot = 5_000_000_000_u64;
        let ticks = [0, 10, 1 << 29, 3 << 29, 5 << 29].map(|since| boot + since);
        let vmstat =
            |at: u64| event("vmstat", at + 3, &[("ticks", at), ("boot", boot), ("frequency", 1_000_000_000)]);
        let mut events = vec![
            event("first", ticks[0], &[]),
            event("second", ticks[1], &[]),
            vmstat(ticks[2]),
            event("fourth", ticks[3], &[]),
            vmstat(ticks[4]),
        ];
        set_times(&mut events);
        let times: Vec<u64> = events.iter().map(|event| event.time).collect();
        assert_eq!(times, [0, 10, (1 << 29) + 3, 3 << 29, (5 << 29) + 3]);
    }

    #[test]
    fn values_and_addresses() {
        assert_eq!(parse("0x1f"), Value::Number { value: 31, hex: true });
        assert_eq!(parse("17"), Value::Number { value: 17, hex: false });
        assert_eq!(parse("reserved"), Value::Text("reserved".into()));
        assert_eq!(
            addresses("ftrace:kernel_stack addresses=[1, 0, 0, 192, 2, 1, 0, 192]"),
            [0xc000_0001, 0xc000_0102]
        );
    }
}
