//! Trace events on a running kernel: the story of a CMA allocation, told whole; what events cost; what a full ring does.
//!
//! Everything runs under `--icount`, so each run is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use qemu::board::{Board, boards_dir};
use qemu::image::Flavor;
use qemu::plan::Plan;
use qemu::request::Request;
use qemu::run::{Inputs, run};
use qemu::session::{Outcome, Purpose, Report};
use qemu::symbols::Symbols;
use qemu::trace::audit::{NO_PAGE, audit};
use qemu::trace::event::Event;
use qemu::trace::names::Names;
use qemu::trace::{self, perfetto};
use tests::boot::image;
use tests::{sites, timeline};

const TIMEOUT: Duration = Duration::from_secs(600);
/// Fills memory so far that CMA is full of movable pages.
const MEMHOG: &str = "memhog 96M --check";

/// Runs commands on `board` with `append` on its command line, and records.
fn recorded(board: &str, append: &str, commands: &[&str]) -> (Report, Plan) {
    recorded_in(Flavor::Kernel, board, append, commands)
}

/// The same in either image. The large one is measured, so it has no devices: a guest that waits for them skips the time
/// until then, which the host decides.
fn recorded_in(flavor: Flavor, board: &str, append: &str, commands: &[&str]) -> (Report, Plan) {
    let commands: Vec<String> = commands.iter().map(|&command| command.to_owned()).collect();
    let board = Board::load(&boards_dir(), board).unwrap();
    let append = Some(append.to_owned());
    let devices = flavor == Flavor::Kernel;
    let request =
        Request { icount: true, once: true, trace: true, append, flavor, devices, ..Request::new(board) };
    let plan = Plan::new(request).unwrap();
    let purpose = Purpose::Commands(&commands);
    let report = run(&plan, image(flavor), purpose, Some(TIMEOUT), &mut (), Inputs::default()).unwrap();
    assert_eq!(report.outcome, Outcome::Success, "{}", report.log);
    (report, plan)
}

/// As [`recorded`], and what was.
fn traced(board: &str, append: &str, commands: &[&str]) -> (Report, Vec<Event>) {
    let (report, plan) = recorded(board, append, commands);
    (report, trace::events(&plan, image(Flavor::Kernel)).unwrap())
}

/// `NAME VALUE` in the answer to the last `cat /proc/vmstat`.
fn vmstat(report: &Report, name: &str) -> usize {
    let answer = report.answers.iter().rev().find(|answer| answer.command.ends_with("/proc/vmstat")).unwrap();
    let line = answer.output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {}", answer.output))
}

/// The pages that are allocated after these events, of a run that was recorded from its beginning.
fn live_pages(events: &[Event]) -> BTreeSet<u64> {
    let mut live = BTreeSet::new();
    for event in events {
        let (first, pages) = (event.number("pfn"), 1_u64 << event.number("order"));
        match event.name.as_str() {
            "mm_page_alloc" if first != NO_PAGE => live.extend(first..first + pages),
            "mm_page_free" => {
                (first..first + pages).for_each(|page| assert!(live.remove(&page), "{event:?}"))
            }
            _ => {}
        }
    }
    live
}

/// Checks all that an allocation of `[start, end)` between two of the events tells: isolation, each page moved from where
/// to where, the end of the isolation. Returns how many pages moved.
fn check_story(events: &[Event], from: usize, to: usize) -> usize {
    let (start, count) = (events[to].number("pfn"), events[to].number("count"));
    let (story, end) = (&events[from..to], start + count);
    let range = |event: &&Event| (event.number("start_pfn"), event.number("end_pfn")) == (start, end);
    let at = |name: &str| {
        let found = story.iter().position(|event| event.name == name && range(&event));
        found.unwrap_or_else(|| panic!("no {name} of {start:#x}..{end:#x}"))
    };
    let (isolated, tested, ended) =
        (at("start_isolate_page_range"), at("test_pages_isolated"), at("undo_isolate_page_range"));
    assert!(isolated < tested && tested < ended);
    assert_eq!(story[tested].number("fin_pfn"), end, "all of it is free");
    let lived: BTreeSet<u64> = live_pages(&events[..from + isolated])
        .into_iter()
        .filter(|page| (start..end).contains(page))
        .collect();
    let mut moved = BTreeMap::new();
    for (now, event) in story.iter().enumerate().filter(|(_, event)| event.name == "mm_migrate_page") {
        let (old, new) = (event.number("pfn"), event.number("new_pfn"));
        assert!(isolated < now && now < tested && !(start..end).contains(&new), "{event:?}");
        assert!(moved.insert(old, new).is_none(), "{old:#x} moved twice");
        let before = |name: &str, page: u64| {
            story[isolated..now].iter().rev().any(|event| event.name == name && event.number("pfn") == page)
        };
        assert!(before("mm_page_alloc", new), "where {old:#x} went was allocated");
        assert!(before("mm_page_free", old), "{old:#x} was freed");
    }
    assert_eq!(
        moved.keys().copied().collect::<BTreeSet<_>>(),
        lived,
        "what stood in the range is what moved"
    );
    let summed: u64 =
        story.iter().filter(|event| event.name == "mm_migrate_pages").map(|e| e.number("nr_succeeded")).sum();
    assert_eq!(summed, moved.len() as u64);
    moved.len()
}

#[test]
fn the_story_of_cma_test_is_whole() {
    let commands = [
        MEMHOG,
        "echo 1 > /dev/cma_test",
        "cat /dev/cma_test",
        "memhog --check",
        "memhog 0",
        "cat /proc/vmstat",
    ];
    let (report, events) = traced("vexpress-a7", "trace=all", &commands);
    let found = audit(&events).unwrap();
    assert!(found.windows > 100 && found.dropped == 0, "{found:?}");
    let count = |name: &str| {
        events.iter().filter(|event| event.name == name && event.number("pfn") != NO_PAGE).count()
    };
    for (counter, event) in
        [("pgmigrate_success", "mm_migrate_page"), ("cma_alloc_success", "cma_alloc_finish")]
    {
        assert_eq!(vmstat(&report, counter), count(event), "{counter}");
    }
    assert_eq!((vmstat(&report, "pgmigrate_fail"), vmstat(&report, "cma_alloc_fail")), (0, 0));

    let named = |name: &str, pages: u64| {
        let found = events.iter().rposition(|event| event.name == name && event.number("count") == pages);
        found.unwrap_or_else(|| panic!("no {name} of {pages} pages"))
    };
    let (start, finish) = (named("cma_alloc_start", 256), named("cma_alloc_finish", 256));
    assert_eq!((events[start].text("name"), events[finish].text("name")), ("reserved", "reserved"));
    assert_eq!(check_story(&events, start, finish), 256, "CMA was full of movable pages");
    let place = events[finish].number("pfn");
    let after = &events[finish..];
    let at = |name: &str, field: &str, value: u64| {
        let found = after.iter().position(|event| event.name == name && event.number(field) == value);
        found.unwrap_or_else(|| panic!("no {name} of {value:#x}"))
    };
    let given = at("dma_alloc_coherent", "dma_addr", place << 12);
    let back = at("dma_free_coherent", "dma_addr", place << 12);
    let released = at("cma_release", "pfn", place);
    assert!(given < back && back < released);
    assert_eq!(after[released].number("count"), 256);

    let mut named = events.clone();
    Names::new(Symbols::new(&image(Flavor::Kernel).elf)).fill_in(&mut named);
    let mut file = Vec::new();
    perfetto::write(&named, &mut file).unwrap();
    let phases = timeline::check(std::str::from_utf8(&file).unwrap()).unwrap();
    assert!(phases["b"] > 20_000 && phases["C"] > 300 && phases["B"] > 100, "{phases:?}");
}

#[test]
fn an_event_that_is_off_is_a_nop() {
    let sites = sites::of(&image(Flavor::Kernel).elf);
    let mut places = BTreeMap::<&str, usize>::new();
    for site in sites.iter().filter(|site| site.event.is_some()) {
        *places.entry(site.event.as_deref().unwrap()).or_default() += 1;
        assert_eq!((site.address % 4, site.instruction), (0, sites::NOP_W), "{site:x?}");
        assert!(site.padding <= 1, "the site is aligned by at most one more instruction: {site:x?}");
    }
    let quiet: Vec<_> = sites::events(&image(Flavor::Kernel).elf)
        .into_iter()
        .filter(|event| !places.contains_key(event.as_str()))
        .collect();
    assert!(quiet.is_empty(), "events that nothing in the image tells of: {quiet:?}");
}

#[test]
fn an_event_that_is_on_is_a_few_dozen_instructions() {
    let lengths = sites::emitters(&image(Flavor::Kernel).elf);
    for (event, most) in
        [("mm_page_alloc", 72), ("mm_page_free", 72), ("kmalloc", 76), ("kfree", 72), ("page_fault", 76)]
    {
        let length = lengths.get(event).unwrap_or_else(|| panic!("no {event} in {lengths:?}"));
        // All of the function; what runs is less, as a full ring and a stack trace are in it too.
        assert!((20..=most).contains(length), "{event}: {length} instructions");
    }
}

/// Guest instructions, in thousands, between the log lines of the first and the last CMA allocation of 777 pages.
fn between_marks(report: &Report) -> u64 {
    let stamp = |line: &str| -> u64 {
        let (seconds, micros) =
            line.trim_start_matches('[').split(']').next().unwrap().trim().split_once('.').unwrap();
        seconds.parse::<u64>().unwrap() * 1_000_000 + micros.parse::<u64>().unwrap()
    };
    let marks: Vec<&str> = report.log.lines().filter(|line| line.contains("count 777,")).collect();
    assert_eq!(marks.len(), 2, "{}", report.log);
    stamp(marks[1]) - stamp(marks[0])
}

/// One command of the shell, so that the guest is never idle between the marks.
fn marked(work: &str) -> String {
    let mark = "echo 777 > /sys/kernel/debug/cma/cma-reserved/alloc";
    format!("{mark} && {work} && {mark}")
}

#[test]
fn tracing_everything_does_not_double_the_work() {
    for (work, most) in [
        ("selftest mm::pages_and_interrupts", 120),
        ("memhog 80M --check && memhog 0", 120),
        ("soak --steps 20000 --seed 7", 200),
    ] {
        let run = |append| {
            let (report, plan) = recorded_in(Flavor::Bench, "vexpress-a7", append, &[&marked(work)]);
            let bytes = fs::metadata(plan.trace_file()).unwrap().len();
            fs::remove_file(plan.trace_file()).unwrap();
            (between_marks(&report), bytes)
        };
        let ((off, few), (on, many)) = (run("trace=memblock"), run("trace=all"));
        assert!(many > few + 100_000, "{work}: {many} bytes of events");
        let percent = on * 100 / off;
        println!("{work}: {off} thousand instructions, {on} with {many} bytes of events: {percent} %");
        assert!(percent < most, "{work}: {percent} %");
    }
}

#[test]
fn a_full_ring_drops_events_and_counts_them() {
    // Memory is given back with interrupts off, more of it than 4 KiB can tell of.
    let work = ["memhog 40M --check", "memhog 0", "cat /sys/kernel/debug/tracing/per_cpu/cpu0/stats"];
    let (report, events) = traced("vexpress-a7", "trace=all trace_buf_size=4K", &work);
    let dropped = trace::audit::dropped(&events);
    assert!(dropped > 100, "{} events, {dropped} dropped", events.len());
    assert!(
        report.answers[2].output.contains(&format!("dropped events: {dropped}\n")),
        "{}",
        report.answers[2].output
    );
    assert!(audit(&events).is_err(), "what is missing shows");
}

#[test]
fn the_kernel_s_own_tests_raise_the_other_events() {
    let (_, events) = traced("vexpress-a7", "trace=kmem,dma", &["selftest trace"]);
    let of = |name: &str| -> Vec<&Event> { events.iter().filter(|event| event.name == name).collect() };
    let (taken, freed) = (of("kmem_cache_alloc"), of("kmem_cache_free"));
    let named = |events: &[&Event]| {
        events.iter().map(|e| (e.text("name").to_owned(), e.number("ptr"))).collect::<Vec<_>>()
    };
    assert!(named(&taken) == named(&freed) && taken[0].text("name") == "trace-test", "{taken:?}");
    let (maps, syncs, unmaps) = (of("dma_map"), of("dma_sync"), of("dma_unmap"));
    let address = maps.iter().rfind(|map| map.text("device") == "trace-test").unwrap().number("dma_addr");
    let sync: Vec<_> =
        syncs.iter().map(|e| (e.number("dma_addr"), e.number("size"), e.number("for_device"))).collect();
    assert_eq!(sync, [(address, 64, 0), (address, 64, 1)]);
    assert!(unmaps.iter().any(|unmap| unmap.number("dma_addr") == address));
}

#[test]
fn a_board_without_a_second_port_has_its_ring_read() {
    for board in ["virt", "ssd202"] {
        let (_, events) = traced(board, "trace=all", &["echo 1 > /dev/cma_test", "cat /dev/cma_test"]);
        let found = audit(&events).unwrap();
        assert!(found.windows > 0 && found.dropped == 0, "{board}: {found:?}");
        assert!(events.iter().any(|event| event.name == "cma_release"), "{board}");
    }
}

#[test]
fn groups_are_switched_while_the_kernel_runs() {
    let dir = "/sys/kernel/debug/tracing";
    let commands = [
        format!("cat {dir}/available_events"),
        format!("cat {dir}/set_event"),
        format!("echo dma cma:cma_release > {dir}/set_event"),
        format!("cat {dir}/set_event"),
        "echo 1 > /dev/cma_test".to_owned(),
        format!("echo 0 > {dir}/tracing_on"),
        "echo 1 > /dev/cma_test".to_owned(),
        format!("echo 1 > {dir}/tracing_on"),
        "cat /dev/cma_test".to_owned(),
        format!("echo nothing:here > {dir}/set_event || echo status $?"),
    ];
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let (report, events) = traced("vexpress-a7", "trace=migrate", &commands);
    let output = |at: usize| report.answers[at].output.as_str();
    assert!(output(0).contains("kmem:mm_page_alloc\n") && output(0).lines().count() > 20, "{}", output(0));
    assert_eq!(output(1), "migrate:mm_migrate_pages\nmigrate:mm_migrate_page\n");
    let on = "cma:cma_release\ndma:dma_alloc_coherent\ndma:dma_free_coherent\ndma:dma_map\ndma:dma_unmap\ndma:dma_sync\n";
    assert_eq!(output(3), on);
    assert!(output(9).contains("Invalid argument"), "{}", output(9));
    let groups: BTreeSet<&str> = events.iter().map(|event| event.group.as_str()).collect();
    assert_eq!(groups, ["cma", "dma", "vmstat"].into());
    let of = |name: &str| events.iter().filter(|event| event.name == name).count();
    assert_eq!((of("dma_alloc_coherent"), of("dma_free_coherent"), of("cma_alloc_start")), (1, 1, 0));
}

#[test]
fn a_stack_trace_names_who_asked() {
    let commands = ["echo 4 > /sys/kernel/debug/cma/cma-reserved/alloc"];
    let (_, mut events) = traced("vexpress-a7", "trace=cma trace_stack=cma_alloc_finish", &commands);
    Names::new(Symbols::new(&image(Flavor::Kernel).elf)).fill_in(&mut events);
    let event = events.iter().rfind(|event| event.name == "cma_alloc_finish").unwrap();
    let callers = event.callers.join("\n");
    assert!(
        callers.contains("take(kernel/src/files/cma.rs:") && callers.contains("kernel/shell/src/session.rs:"),
        "{callers}"
    );
    assert!(events.iter().all(|event| event.callers.is_empty() == (event.name != "cma_alloc_finish")));
}
