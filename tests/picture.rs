//! The picture of memory, looked at by a program: screenshots and the SVG, square by square, against the memory map as
//! text and against what the files of `/proc` and `/sys` count.
//!
//! The colours of pixels are turned into kinds by their nearness alone. Commands that run after the display was drawn
//! take and give back a few pages of their own; [`SLACK`] allows for that, and for nothing in the kinds that such commands
//! don't touch.

use std::path::Path;
use std::time::Duration;

use picture::page_map::PageMap;
use picture::{Kind, Layout, Rectangle, RgbColor, Size, Totals};
use qemu::board::{Board, boards_dir};
use qemu::error::Error;
use qemu::image::Flavor;
use qemu::map;
use qemu::plan::Plan;
use qemu::request::Request;
use qemu::run::{Inputs, run};
use qemu::screenshot;
use qemu::session::{Outcome, Purpose, Report};
use qemu::trace;
use regex::Regex;

/// Pages by which the kernel's own and the free ones may differ: what the console takes while it answers.
const SLACK: u32 = 24;

/// Kinds that nothing touches between drawing and counting.
const STILL: [Kind; 11] = [
    Kind::Hole,
    Kind::FreeCma,
    Kind::Movable,
    Kind::CmaMovable,
    Kind::PageTable,
    Kind::Dma,
    Kind::CmaTaken,
    Kind::Pinned,
    Kind::Image,
    Kind::Boot,
    Kind::Region,
];

/// A machine whose display at the end goes to `screenshot`.
fn request(board: &str, screenshot: Option<&Path>) -> Request {
    let board = Board::load(&boards_dir(), board).unwrap();
    let append = Some(map::OPTION.to_owned());
    Request {
        once: true,
        icount: true,
        append,
        screenshot: screenshot.map(Into::into),
        ..Request::new(board)
    }
}

/// Runs the commands, then those that [`Seen`] is made from.
fn boot(board: &str, commands: &[&str], screenshot: Option<&Path>) -> Report {
    play(&Plan::new(request(board, screenshot)).unwrap(), commands)
}

fn play(plan: &Plan, commands: &[&str]) -> Report {
    let asked = [map::COMMAND, "cat /proc/meminfo", "cat /sys/kernel/debug/cma/cma-reserved/used"];
    let commands: Vec<_> = commands.iter().chain(&asked).map(|&command| command.to_owned()).collect();
    let timeout = Some(Duration::from_secs(300));
    let report = run(
        plan,
        tests::boot::image(Flavor::Kernel),
        Purpose::Commands(&commands),
        timeout,
        &mut (),
        Inputs::default(),
    )
    .unwrap();
    assert_eq!(report.outcome, Outcome::Success, "{}", report.log);
    report
}

/// What the machine says of itself.
struct Seen {
    map: PageMap,
    meminfo: String,
    cma_used: u32,
}

impl Seen {
    fn new(report: &Report) -> Self {
        let [.., map, meminfo, used] = &report.answers[..] else { panic!("{}", report.log) };
        Self {
            map: PageMap::parse(&map.output).unwrap(),
            meminfo: meminfo.output.clone(),
            cma_used: used.output.trim().parse().unwrap(),
        }
    }

    /// A line of `/proc/meminfo`, in pages.
    fn pages(&self, name: &str) -> u32 {
        let value = self.meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib: u32 = value.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
        kib / 4
    }

    fn layout(&self, image: &screenshot::Image) -> Layout {
        Layout::new(Size::new(image.width, image.height), self.map.spans.iter().cloned())
    }

    /// Compares pages of each kind with the counters.
    fn check_counts(&self, totals: &Totals, slack: u32) {
        let of = |kind| totals.of(kind);
        assert_eq!(of(Kind::CmaTaken), self.cma_used, "cma-reserved/used");
        assert_eq!(of(Kind::CmaTaken) + of(Kind::CmaMovable) + of(Kind::FreeCma), self.pages("CmaTotal"));
        assert_eq!(of(Kind::FreeCma), self.pages("CmaFree"));
        assert_eq!(
            of(Kind::Movable) + of(Kind::CmaMovable) + of(Kind::Pinned),
            self.pages("AnonPages") + self.pages("Shmem")
        );
        assert_eq!(of(Kind::PageTable), self.pages("PageTables"));
        let large = self.map.pages.iter().filter(|pages| pages.owner == "kmalloc");
        let large: usize = large.map(|pages| pages.pfns.len()).sum();
        near("Slab", of(Kind::Slab), self.pages("Slab") + large as u32, slack);
        let free = totals.sum(Kind::is_free) - of(Kind::PerCpu) - of(Kind::Isolated);
        near("MemFree", free, self.pages("MemFree"), slack);
    }
}

fn near(what: &str, shown: u32, counted: u32, slack: u32) {
    assert!(shown.abs_diff(counted) <= slack, "{what}: {shown} pages shown, {counted} counted");
}

/// The kind with the nearest colour, which has to be near enough for 16 bits a pixel.
fn kind_of(pixel: [u8; 3]) -> Kind {
    let distance = |kind: &Kind| {
        let color = kind.color();
        let parts = [(color.r(), pixel[0]), (color.g(), pixel[1]), (color.b(), pixel[2])];
        parts.into_iter().map(|(a, b)| a.abs_diff(b)).max().unwrap()
    };
    let nearest = Kind::ALL.into_iter().min_by_key(distance).unwrap();
    assert!(distance(&nearest) <= 12, "{pixel:?} is the colour of nothing");
    nearest
}

/// What a square shows: one colour all over.
fn square(image: &screenshot::Image, area: Rectangle) -> Kind {
    let pixels = area.rows().flat_map(|y| area.columns().map(move |x| image.at(x as u32, y as u32)));
    let mut kinds = pixels.map(kind_of);
    let first = kinds.next().unwrap();
    assert!(kinds.all(|kind| kind == first), "a square of several colours at {area:?}");
    first
}

/// Compares each square with the hardest kind of its pages, and counts where they differ.
fn compare(seen: &Seen, image: &screenshot::Image, slack: u32) -> Totals {
    let layout = seen.layout(image);
    let (mut shown, mut differ) = (Totals::default(), Vec::new());
    for (first, pfns) in layout.pages(0..layout.squares()) {
        let per_square = layout.pages_per_square();
        for (nth, start) in pfns.clone().step_by(per_square as usize).enumerate() {
            let kind = square(image, layout.square(first + nth as u32));
            let pages = start..(start + per_square).min(pfns.end);
            let kinds = pages.clone().map(|pfn| seen.map.at(pfn).map_or(Kind::Hole, |pages| pages.kind));
            let hardest = kinds.max().unwrap();
            shown.add(kind, pages.len() as u32);
            if kind != hardest {
                let quiet = STILL.contains(&kind) || STILL.contains(&hardest);
                assert!(!quiet, "{start:#x} is shown as {kind:?}, and is {hardest:?}");
                differ.push(start);
            }
        }
    }
    assert!(differ.len() as u32 <= slack, "{} squares differ, from {:#x} on", differ.len(), differ[0]);
    shown
}

fn screenshot_of(commands: &[&str]) -> (Report, Seen, screenshot::Image) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("screen.png");
    let report = boot("vexpress-a7", commands, Some(&file));
    let image = screenshot::Image::from_png(&std::fs::read(&file).unwrap()).unwrap();
    let seen = Seen::new(&report);
    (report, seen, image)
}

#[test]
fn the_display_shows_what_proc_counts() {
    let alloc = "echo 1024 > /sys/kernel/debug/cma/cma-reserved/alloc";
    let (_, seen, image) = screenshot_of(&["memhog 80M", alloc, "fb refresh"]);
    assert_eq!((image.width, image.height), (1024, 768));
    assert_eq!(seen.layout(&image).pages_per_square(), 1, "the picture shows each page");
    let totals = compare(&seen, &image, SLACK);
    seen.check_counts(&totals, SLACK);
    assert!(totals.of(Kind::CmaTaken) >= 1024 && totals.of(Kind::CmaMovable) > 0, "the test shows nothing");
    for (name, pages, kind) in [("fb", 0x300, Kind::Region), ("mma_heap_name0", 0x1000, Kind::Region)] {
        let region = seen.map.regions.all().iter().find(|region| region.name == name).unwrap();
        assert_eq!(region.pfns.len(), pages);
        assert!(region.pfns.clone().all(|pfn| seen.map.at(pfn).unwrap().kind == kind), "{name}");
    }
}

#[test]
fn a_machine_that_is_off_has_no_picture() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("screen.png");
    let plan = Plan::new(request("vexpress-a7", Some(&file))).unwrap();
    let commands = ["poweroff".to_owned()];
    let timeout = Some(Duration::from_secs(300));
    let image = tests::boot::image(Flavor::Kernel);
    let ended = run(&plan, image, Purpose::Commands(&commands), timeout, &mut (), Inputs::default());
    assert!(matches!(ended, Err(Error::Screenshot { .. })) && !file.exists());
}

#[test]
fn a_square_for_several_pages_shows_the_hardest() {
    let (_, seen, image) = screenshot_of(&["memhog 30M", "fb mode 640x480-16"]);
    assert_eq!((image.width, image.height), (640, 480));
    assert!(seen.layout(&image).pages_per_square() > 1);
    compare(&seen, &image, SLACK);
}

#[test]
fn watching_goes_on_while_commands_run() {
    let alloc = "echo 512 > /sys/kernel/debug/cma/cma-reserved/alloc";
    let busy = "selftest mm::pages_and_interrupts";
    let (report, seen, image) =
        screenshot_of(&["fb watch", "memhog 60M", alloc, "fb", busy, "fb", "selftest mm::meminfo_adds_up"]);
    let drawn = |answer: usize| -> u32 {
        let line = report.answers[answer].output.lines().find_map(|line| line.strip_prefix("drawn"));
        line.unwrap().trim().parse().unwrap()
    };
    // The selftest runs for seconds, and validates the allocator's records afterwards.
    assert!(drawn(5) >= drawn(3) + 10, "{} pictures before, {} after: {}", drawn(3), drawn(5), report.log);
    // What follows the last look of the timer are the commands that count, with long outputs.
    let totals = compare(&seen, &image, 1024);
    assert_eq!(totals.of(Kind::CmaTaken), seen.cma_used);
    let movable = [Kind::Movable, Kind::CmaMovable, Kind::Pinned].map(|kind| totals.of(kind));
    assert_eq!(movable.iter().sum::<u32>(), seen.pages("AnonPages") + seen.pages("Shmem"));
}

/// Squares of each kind in an SVG, read without the crate that wrote it.
fn svg_totals(svg: &str) -> Totals {
    let rect = Regex::new(r#"<rect [^>]*fill="(#[0-9a-f]{6})" data-kind="(.)" data-squares="(\d+)"><title>"#)
        .unwrap();
    let mut totals = Totals::default();
    for found in rect.captures_iter(svg) {
        let byte = |at: usize| u8::from_str_radix(&found[1][at..at + 2], 16).unwrap();
        let kind = kind_of([byte(1), byte(3), byte(5)]);
        assert_eq!(Kind::from_letter(found[2].chars().next().unwrap()), Some(kind));
        totals.add(kind, found[3].parse().unwrap());
    }
    totals
}

#[test]
fn the_svg_of_a_board_without_display_shows_what_proc_counts() {
    let alloc = "echo 1024 > /sys/kernel/debug/cma/cma-reserved/alloc";
    let report = boot("ssd202", &["memhog 80M", alloc], None);
    let seen = Seen::new(&report);
    let text = &report.answers[2].output;
    let svg = map::svg(text, &|_| None).unwrap();
    let totals = svg_totals(&svg);
    seen.check_counts(&totals, SLACK);
    assert!(totals.of(Kind::CmaMovable) > 0 && totals.of(Kind::CmaTaken) >= 1024);
    let title = Regex::new(
        r"<title>[0-9a-f]{8}-[0-9a-f]{8} 4096K\nCMA taken: \w+\nin cma-reserved\n(from .*\n)?age ",
    )
    .unwrap();
    assert!(title.is_match(&svg), "{svg}");
    assert!(Regex::new(r"movable in CMA: space \d+\nin cma-reserved\n").unwrap().is_match(&svg));
}

/// What the trace of a run tells of an allocation that moved pages is what the display shows at the end of the same run.
#[test]
fn the_display_shows_what_the_trace_tells() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("screen.png");
    let plan = Plan::new(Request { trace: true, ..request("vexpress-a7", Some(&file)) }).unwrap();
    let report = play(&plan, &["memhog 96M --check", "echo 1 > /dev/cma_test", "fb refresh"]);
    let image = screenshot::Image::from_png(&std::fs::read(&file).unwrap()).unwrap();
    let seen = Seen::new(&report);
    seen.check_counts(&compare(&seen, &image, SLACK), SLACK);

    let events = trace::events(&plan, tests::boot::image(Flavor::Kernel)).unwrap();
    let taken = events.iter().rfind(|event| event.name == "cma_alloc_finish").unwrap();
    let (start, count) = (taken.number("pfn"), taken.number("count"));
    assert_eq!(count, 256, "{taken:?}");
    let layout = seen.layout(&image);
    let shown = |pfn: u64| square(&image, layout.square(layout.square_of(pfn as u32).unwrap()));
    (start..start + count).for_each(|pfn| assert_eq!(shown(pfn), Kind::CmaTaken, "{pfn:#x}"));
    let moved: Vec<_> = events
        .iter()
        .filter(|event| {
            event.name == "mm_migrate_page" && (start..start + count).contains(&event.number("pfn"))
        })
        .collect();
    assert!(moved.len() > 100, "{} pages were in the way", moved.len());
    for page in moved {
        let kind = shown(page.number("new_pfn"));
        assert!(matches!(kind, Kind::Movable | Kind::CmaMovable), "{page:?} is shown as {kind:?}");
    }
}
