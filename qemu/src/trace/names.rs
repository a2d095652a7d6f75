//! From numbers to what Linux prints: flags, reasons, addresses of code, pointers to pages.

use std::cell::RefCell;
use std::collections::HashMap;

use mm::Gfp;

use super::audit::NO_PAGE;
use super::event::{Event, Value};
use crate::symbols::Symbols;

const MODES: [&str; 3] = ["MIGRATE_ASYNC", "MIGRATE_SYNC_LIGHT", "MIGRATE_SYNC"];
const REASONS: [&str; 4] = ["compaction", "syscall_or_cpuset", "contig_range", "longterm_pin"];
const DIRECTIONS: [&str; 3] = ["BIDIRECTIONAL", "TO_DEVICE", "FROM_DEVICE"];
const PAGEBLOCK_ORDER: u64 = types::PAGEBLOCK_PAGES.ilog2() as u64;

/// Fields that only the host needs.
const INTERNAL: [&str; 5] = ["ticks", "boot", "frequency", "mem_map", "page_size"];

/// Gives names to the fields of events.
pub struct Names {
    symbols: Symbols,
    cache: RefCell<HashMap<u32, String>>,
}

impl Names {
    /// With these names of functions.
    #[must_use]
    pub fn new(symbols: Symbols) -> Self {
        Self { symbols, cache: RefCell::default() }
    }

    /// Turns fields into Linux's.
    pub fn fill_in(&self, events: &mut [Event]) {
        let map = events.iter().find(|event| event.name == "vmstat");
        let map = map.map_or((0, 0), |event| (event.number("mem_map"), event.number("page_size")));
        for event in events {
            self.one(event, map);
        }
    }

    fn one(&self, event: &mut Event, map: (u64, u64)) {
        event.callers = event.stack.iter().map(|&address| self.function(address)).collect();
        if event.name == "kmalloc" {
            let (size, gfp) = (event.number("bytes_req"), event.number("gfp_flags"));
            let at = event.fields.iter().position(|(name, _)| name == "bytes_req").unwrap_or(0);
            let alloc = Value::Number { value: kmalloc_size(size, gfp), hex: false };
            event.fields.insert(at + 1, ("bytes_alloc".to_owned(), alloc));
        }
        if event.name == "mm_page_alloc_extfrag" {
            fragmenting(event);
        }
        if event.name == "test_pages_isolated" {
            let whole = event.number("fin_pfn") == event.number("end_pfn");
            event.set("ret", Value::Text(if whole { "success" } else { "fail" }.to_owned()));
        }
        event.fields.retain(|(name, _)| !INTERNAL.contains(&name.as_str()));
        for (name, value) in &mut event.fields {
            if let Value::Number { value: number, .. } = *value
                && let Some(text) = self.text(&event.name, name, number)
            {
                *value = Value::Text(text);
            }
        }
        add_page(event, map);
    }

    /// What Linux prints for a number.
    fn text(&self, event: &str, field: &str, number: u64) -> Option<String> {
        let of = |names: &[&str]| names.get(number as usize).map(|name| (*name).to_owned());
        match field {
            "gfp_flags" | "flags" => Some(Gfp::from_bits_retain(number as u32).to_string()),
            "mode" => of(&MODES),
            "reason" => of(&REASONS),
            "dir" => of(&DIRECTIONS),
            "call_site" | "ip" => Some(self.function(number as u32)),
            "ptr" | "virt_addr" => Some(format!("{number:08x}")),
            "ret" if event == "irq_handler_exit" => {
                Some(if number == 1 { "handled" } else { "unhandled" }.into())
            }
            _ => None,
        }
    }

    fn function(&self, address: u32) -> String {
        let mut cache = self.cache.borrow_mut();
        let name = cache
            .entry(address)
            .or_insert_with(|| self.symbols.function(address).unwrap_or_else(|| format!("{address:#010x}")));
        name.clone()
    }
}

/// How many bytes `kmalloc` gives for `size`.
fn kmalloc_size(size: u64, gfp: u64) -> u64 {
    let dma = gfp & u64::from(Gfp::__DMA.bits()) != 0;
    let fits = |class: &&u32| u64::from(**class) >= size && (!dma || class.is_multiple_of(64));
    match mm::slab::KMALLOC_CLASSES.iter().find(fits) {
        Some(&class) => class.into(),
        None => size.div_ceil(4096).next_power_of_two() * 4096,
    }
}

fn fragmenting(event: &mut Event) {
    let number = |value: u64| Value::Number { value, hex: false };
    let fragmenting = u64::from(event.number("fallback_order") < PAGEBLOCK_ORDER);
    let at = event.fields.iter().position(|(name, _)| name == "alloc_migratetype").unwrap_or(0);
    event.fields.insert(at, ("pageblock_order".to_owned(), number(PAGEBLOCK_ORDER)));
    let at = event.fields.iter().position(|(name, _)| name == "change_ownership").unwrap_or(0);
    event.fields.insert(at, ("fragmenting".to_owned(), number(fragmenting)));
}

/// Puts Linux's pointer to the `struct page` before, or in CMA events after, the page number.
fn add_page(event: &mut Event, (map, size): (u64, u64)) {
    let with_page = event.group == "kmem" || event.group == "cma";
    let Some(at) = event.fields.iter().position(|(name, _)| name == "pfn") else { return };
    if !with_page {
        return;
    }
    let pfn = event.number("pfn");
    let page = (map as u32).wrapping_add((pfn as u32).wrapping_mul(size as u32));
    let text = if pfn == NO_PAGE { "(null)".to_owned() } else { format!("{page:08x}") };
    if pfn == NO_PAGE {
        event.set("pfn", Value::Number { value: 0, hex: true });
    }
    let at = if event.group == "cma" { at + 1 } else { at };
    event.fields.insert(at, ("page".to_owned(), Value::Text(text)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn named(group: &str, name: &str, fields: &[(&str, u64)]) -> String {
        let mut event = Event {
            time: 0,
            irqs_off: false,
            hardirq: false,
            group: group.into(),
            name: name.into(),
            fields: fields
                .iter()
                .map(|&(name, value)| (name.to_owned(), Value::Number { value, hex: name.contains("pfn") }))
                .collect(),
            stack: Vec::new(),
            callers: Vec::new(),
        };
        Names::new(Symbols::new(Path::new("/nowhere"))).one(&mut event, (0xc600_0000, 24));
        event.fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn fields_are_linux_s() {
        assert_eq!(
            named(
                "kmem",
                "mm_page_alloc",
                &[("pfn", 2), ("order", 0), ("migratetype", 1), ("gfp_flags", 0xcc0)]
            ),
            "page=c6000030 pfn=0x2 order=0 migratetype=1 gfp_flags=GFP_KERNEL"
        );
        assert_eq!(
            named("cma", "cma_alloc_finish", &[("pfn", NO_PAGE), ("count", 4)]),
            "pfn=0x0 page=(null) count=4"
        );
        assert_eq!(
            named("migrate", "mm_migrate_pages", &[("mode", 2), ("reason", 2)]),
            "mode=MIGRATE_SYNC reason=contig_range"
        );
        assert_eq!(
            named("kmem", "kmalloc", &[("call_site", 0xc000_9000), ("bytes_req", 100), ("gfp_flags", 0xcc0)]),
            "call_site=0xc0009000 bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL"
        );
        assert_eq!(named("irq", "irq_handler_exit", &[("irq", 17), ("ret", 1)]), "irq=17 ret=handled");
        assert_eq!(
            named("page_isolation", "test_pages_isolated", &[("end_pfn", 9), ("fin_pfn", 8)]),
            "end_pfn=0x9 fin_pfn=0x8 ret=fail"
        );
    }

    #[test]
    fn kmalloc_gives_classes_and_blocks() {
        let sizes = [(1, 0), (96, 0), (8192, 0), (8193, 0), (40_000, 0), (8, 1)]
            .map(|(size, gfp)| kmalloc_size(size, gfp));
        assert_eq!(sizes, [8, 96, 8192, 16_384, 65_536, 64]);
    }
}
