//! Chrome's trace event format, which the Perfetto UI opens as it is.
//!
//! ```text
//! process Contig
//!   thread of each group      its events, as instants; cma_alloc and handlers as slices
//!   pages, objects, CMA, DMA  allocations that live, as asynchronous slices: from their allocation to their free
//!   free, CMA-free, movable   counters, in pages
//! ```
//! Source: "Trace Event Format" (Google, 2016): phases M, i, B, E, b, e, C; times in microseconds.
//! The harness has a reader of its own for it (`tests/src/timeline.rs`).

use std::collections::BTreeMap;
use std::io::{Result, Write};

use serde_json::{Map, Value as Json, json};

use super::event::{Event, Value};

const PID: u32 = 1;
/// The groups, in the order of their tracks.
const TRACKS: [&str; 9] =
    ["vmstat", "cma", "migrate", "page_isolation", "kmem", "dma", "exceptions", "irq", "memblock"];

/// A kind of allocation, by the event that begins its life and those that end it.
struct Lifetime {
    category: &'static str,
    begins: &'static str,
    ends: &'static str,
    /// The field that tells one from the other.
    key: &'static str,
}

const LIFETIMES: [Lifetime; 6] = [
    Lifetime { category: "pages", begins: "mm_page_alloc", ends: "mm_page_free", key: "pfn" },
    Lifetime { category: "kmalloc", begins: "kmalloc", ends: "kfree", key: "ptr" },
    Lifetime { category: "kmem_cache", begins: "kmem_cache_alloc", ends: "kmem_cache_free", key: "ptr" },
    Lifetime { category: "cma", begins: "cma_alloc_finish", ends: "cma_release", key: "pfn" },
    Lifetime {
        category: "dma coherent",
        begins: "dma_alloc_coherent",
        ends: "dma_free_coherent",
        key: "dma_addr",
    },
    Lifetime { category: "dma streaming", begins: "dma_map", ends: "dma_unmap", key: "dma_addr" },
];

const COUNTERS: [(&str, &str); 3] =
    [("nr_free_pages", "free"), ("nr_free_cma", "CMA-free"), ("nr_movable", "movable")];

/// Writes events, in order.
///
/// # Errors
/// Those of `out`.
pub fn write(events: &[Event], out: &mut impl Write) -> Result<()> {
    let mut writer = Writer { out, first: true, open: BTreeMap::new(), depth: BTreeMap::new() };
    writer.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
    writer.metadata()?;
    events.iter().try_for_each(|event| writer.event(event))?;
    writer.end(events.last().map_or(0, |event| event.time))?;
    writer.out.write_all(b"\n]}\n")
}

struct Writer<'o, W> {
    out: &'o mut W,
    first: bool,
    /// What lives: its category and key, and the name of its slice.
    open: BTreeMap<(&'static str, String), String>,
    /// Open slices of each track.
    depth: BTreeMap<usize, Vec<String>>,
}

fn micros(time: u64) -> Json {
    json!(time as f64 / 1000.0)
}

impl<W: Write> Writer<'_, W> {
    fn put(&mut self, entry: &Json) -> Result<()> {
        if !std::mem::replace(&mut self.first, false) {
            self.out.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut *self.out, entry).map_err(Into::into)
    }

    fn metadata(&mut self) -> Result<()> {
        self.put(&json!({"ph": "M", "pid": PID, "name": "process_name", "args": {"name": "Contig"}}))?;
        for (tid, track) in TRACKS.iter().enumerate() {
            let name =
                json!({"ph": "M", "pid": PID, "tid": tid, "name": "thread_name", "args": {"name": track}});
            self.put(&name)?;
            let order = json!({"ph": "M", "pid": PID, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}});
            self.put(&order)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        if event.name == "vmstat" {
            return self.counters(event);
        }
        let tid = TRACKS.iter().position(|track| *track == event.group).unwrap_or(TRACKS.len());
        self.lifetime(event, tid)?;
        match event.name.as_str() {
            "cma_alloc_start" => self.begin(event, tid, "cma_alloc"),
            "cma_alloc_finish" => self.finish(event, tid),
            "irq_handler_entry" => self.begin(event, tid, event.text("name")),
            "irq_handler_exit" => self.finish(event, tid),
            _ => {
                let entry = json!({"ph": "i", "s": "t", "pid": PID, "tid": tid, "ts": micros(event.time),
                                   "name": event.name, "cat": event.group, "args": args(event)});
                self.put(&entry)
            }
        }
    }

    fn counters(&mut self, event: &Event) -> Result<()> {
        for (field, name) in COUNTERS {
            let entry = json!({"ph": "C", "pid": PID, "tid": 0, "ts": micros(event.time), "name": name,
                               "args": {"pages": event.number(field)}});
            self.put(&entry)?;
        }
        Ok(())
    }

    fn begin(&mut self, event: &Event, tid: usize, name: &str) -> Result<()> {
        self.depth.entry(tid).or_default().push(name.to_owned());
        let entry = json!({"ph": "B", "pid": PID, "tid": tid, "ts": micros(event.time), "name": name,
                           "cat": event.group, "args": args(event)});
        self.put(&entry)
    }

    /// Ends the innermost slice of the track, if its beginning was seen.
    fn finish(&mut self, event: &Event, tid: usize) -> Result<()> {
        let Some(name) = self.depth.entry(tid).or_default().pop() else { return Ok(()) };
        let entry = json!({"ph": "E", "pid": PID, "tid": tid, "ts": micros(event.time), "name": name,
                           "cat": event.group, "args": args(event)});
        self.put(&entry)
    }

    /// Begins or ends the slice of an allocation.
    fn lifetime(&mut self, event: &Event, tid: usize) -> Result<()> {
        let key = |life: &Lifetime| event.get(life.key).map(ToString::to_string);
        if let Some(life) = LIFETIMES.iter().find(|life| life.begins == event.name) {
            let Some(key) = key(life).filter(|_| event.text("page") != "(null)") else { return Ok(()) };
            let name = format!("{} {}", life.begins, size(event));
            if let Some(old) = self.open.insert((life.category, key.clone()), name.clone()) {
                // Its end was not recorded.
                self.edge("e", event.time, tid, (life.category, &key, &old), &json!({}))?;
            }
            return self.edge("b", event.time, tid, (life.category, &key, &name), &args(event));
        }
        for life in LIFETIMES.iter().filter(|life| life.ends == event.name) {
            let Some(key) = key(life) else { continue };
            if let Some(name) = self.open.remove(&(life.category, key.clone())) {
                self.edge("e", event.time, tid, (life.category, &key, &name), &args(event))?;
            }
        }
        Ok(())
    }

    fn edge(
        &mut self,
        phase: &str,
        time: u64,
        tid: usize,
        (category, key, name): (&str, &str, &str),
        args: &Json,
    ) -> Result<()> {
        let entry = json!({"ph": phase, "pid": PID, "tid": tid, "ts": micros(time), "cat": category,
                           "id": key, "name": name, "args": args});
        self.put(&entry)
    }

    /// Ends what lives on.
    fn end(&mut self, time: u64) -> Result<()> {
        for ((category, key), name) in std::mem::take(&mut self.open) {
            self.edge("e", time, 0, (category, &key, &name), &json!({"lives_on": true}))?;
        }
        for (tid, names) in std::mem::take(&mut self.depth) {
            for name in names.into_iter().rev() {
                let entry = json!({"ph": "E", "pid": PID, "tid": tid, "ts": micros(time), "name": name});
                self.put(&entry)?;
            }
        }
        Ok(())
    }
}

/// How large an allocation is, for the name of its slice.
fn size(event: &Event) -> String {
    match event.name.as_str() {
        "mm_page_alloc" => format!("order {}", event.number("order")),
        "kmalloc" => format!("{} bytes", event.number("bytes_req")),
        "kmem_cache_alloc" => event.text("name").to_owned(),
        "cma_alloc_finish" => format!("{} pages", event.number("count")),
        _ => format!("{} bytes", event.number("size")),
    }
}

fn args(event: &Event) -> Json {
    let field = |(name, value): &(String, Value)| match value {
        Value::Number { value, hex: false } => (name.clone(), json!(value)),
        other => (name.clone(), json!(other.to_string())),
    };
    let mut fields: Map<String, Json> = event.fields.iter().map(field).collect();
    if !event.callers.is_empty() {
        fields.insert("stack".to_owned(), json!(event.callers));
    }
    fields.insert("irqs_off".to_owned(), json!(event.irqs_off));
    Json::Object(fields)
}
