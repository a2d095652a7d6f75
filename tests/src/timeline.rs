//! A reader of Chrome's trace event format that knows nothing of its writer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

/// How many entries of each phase a file has.
///
/// # Errors
/// What is wrong with it, by the rules of the trace event format that the Perfetto UI relies on: required keys, time that
/// goes on, names for tracks, beginnings with their ends.
pub fn check(text: &str) -> Result<BTreeMap<String, usize>, String> {
    let file: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let entries = file["traceEvents"].as_array().ok_or("traceEvents is no array")?;
    let (mut phases, mut named) = (BTreeMap::new(), BTreeSet::new());
    let mut stacks = BTreeMap::<u64, Vec<String>>::new();
    let mut lives = BTreeSet::<(String, String)>::new();
    let mut last = BTreeMap::new();
    for entry in entries {
        let get = |key: &str| entry.get(key).ok_or(format!("no {key} in {entry}"));
        let text =
            |key: &str| get(key)?.as_str().map(str::to_owned).ok_or(format!("{key} is no text in {entry}"));
        let number = |key: &str| get(key)?.as_f64().ok_or(format!("{key} is no number in {entry}"));
        let (phase, name) = (text("ph")?, text("name")?);
        number("pid")?;
        *phases.entry(phase.clone()).or_insert(0) += 1;
        if phase == "M" {
            let what = entry["args"]["name"].as_str().is_some() || entry["args"]["sort_index"].is_number();
            if !what {
                return Err(format!("metadata without a name: {entry}"));
            }
            if name == "thread_name" {
                named.insert(number("tid")? as u64);
            }
            continue;
        }
        let (tid, at) = (number("tid")? as u64, number("ts")?);
        if last.insert(tid, at).is_some_and(|before| before > at) {
            return Err(format!("back in time: {entry}"));
        }
        if !named.contains(&tid) {
            return Err(format!("a track without a name: {entry}"));
        }
        match phase.as_str() {
            "B" => stacks.entry(tid).or_default().push(name),
            "E" => {
                let open = stacks.entry(tid).or_default().pop();
                if open.as_ref() != Some(&name) {
                    return Err(format!("ends {name}, open is {open:?}"));
                }
            }
            "b" if !lives.insert((text("cat")?, text("id")?)) => {
                return Err(format!("begins twice: {entry}"));
            }
            "e" if !lives.remove(&(text("cat")?, text("id")?)) => {
                return Err(format!("never began: {entry}"));
            }
            "b" | "e" => {}
            "i" => drop(text("s")?),
            "C" if entry["args"].as_object().is_some_and(|args| args.values().all(Json::is_number)) => {}
            _ => return Err(format!("what is {entry}?")),
        }
    }
    match (stacks.values().find(|open| !open.is_empty()), lives.first()) {
        (None, None) => Ok(phases),
        open => Err(format!("never ended: {open:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qemu::trace::event::{Event, Value};
    use qemu::trace::perfetto::write;

    fn event(time: u64, group: &str, name: &str, fields: &[(&str, &str)]) -> Event {
        let value = |text: &str| match text.parse() {
            Ok(value) => Value::Number { value, hex: false },
            Err(_) => Value::Text(text.to_owned()),
        };
        Event {
            time,
            irqs_off: false,
            hardirq: false,
            group: group.into(),
            name: name.into(),
            fields: fields.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect(),
            stack: Vec::new(),
            callers: Vec::new(),
        }
    }

    fn sample() -> Vec<Event> {
        vec![
            event(10, "kmem", "mm_page_free", &[("pfn", "9"), ("order", "0")]),
            event(
                20,
                "vmstat",
                "vmstat",
                &[("nr_free_pages", "100"), ("nr_free_cma", "10"), ("nr_movable", "3")],
            ),
            event(30, "kmem", "mm_page_alloc", &[("page", "c600"), ("pfn", "7"), ("order", "0")]),
            event(31, "kmem", "mm_page_alloc", &[("page", "(null)"), ("pfn", "0"), ("order", "10")]),
            event(35, "irq", "irq_handler_entry", &[("irq", "17"), ("name", "arch_timer")]),
            event(36, "irq", "irq_handler_exit", &[("irq", "17"), ("ret", "handled")]),
            event(40, "cma", "cma_alloc_start", &[("name", "reserved"), ("count", "4")]),
            event(50, "migrate", "mm_migrate_page", &[("pfn", "7"), ("new_pfn", "8")]),
            event(60, "cma", "cma_alloc_finish", &[("name", "reserved"), ("pfn", "7"), ("count", "4")]),
            event(70, "cma", "cma_release", &[("name", "reserved"), ("pfn", "7"), ("count", "4")]),
            event(80, "kmem", "mm_page_alloc", &[("page", "c600"), ("pfn", "7"), ("order", "0")]),
            event(90, "cma", "cma_alloc_start", &[("name", "reserved"), ("count", "4")]),
        ]
    }

    fn written(events: &[Event]) -> String {
        let mut text = Vec::new();
        write(events, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_file_is_what_the_format_asks_for() {
        let phases = check(&written(&sample())).unwrap();
        let expected = [("B", 3), ("C", 3), ("E", 3), ("M", 19), ("b", 3), ("e", 3), ("i", 6)];
        assert_eq!(phases, expected.map(|(phase, count)| (phase.to_owned(), count)).into());
        assert!(check(&written(&[])).is_ok());
    }

    #[test]
    fn the_checker_sees_what_is_wrong() {
        let good = written(&sample());
        for (from, to) in [
            ("\"ph\":\"e\"", "\"ph\":\"b\""),
            ("\"ph\":\"E\"", "\"ph\":\"B\""),
            ("\"ts\":0.07", "\"ts\":0.001"),
            ("\"thread_name\"", "\"thread_label\""),
            ("\"s\":\"t\",", ""),
            ("\"pid\":1", "\"p\":1"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert!(bad != good, "{from}");
            let first = good.replace(from, to);
            assert!(check(&bad).is_err() || check(&first).is_err(), "{from} became {to}");
        }
    }
}
