//! `bench scale`: growth, over the RAM of the machine, how much of it is in use, and how full a CMA area is.
//!
//! A machine is booted for each size of RAM and of area; the benchmark image's `scale/…` does the rest. The rows have their
//! parameters in their names, and become lines of [`Plot`]s here:
//!
//! ```text
//! scale/pages/mem=128M/used=75/order-0-pair        x: used   line: mem    a plot an operation
//! scale/cma/area=64M/full=50/take=1024K            x: moved  line: area   cost by pages moved
//! scale/cma/area=64M/full=50/take=1024K/moved      x: area   line: full   cost of 1 MiB by size of the area
//! ```

use std::collections::BTreeMap;

use super::results::Row;
use super::run::{Measured, measure_in};
use super::svg::{Axis, Plot, Scale, Series};
use crate::board::{Board, boards_dir};
use crate::error::Result;
use crate::request::Request;
use crate::size::Size;

/// What begins the names of all rows of this kind.
pub const PREFIX: &str = "scale/";
const PAGES: &str = "scale/pages";
const AREAS: &str = "scale/cma";
/// The board that takes any size of RAM.
const BOARD: &str = "virt";
const RAM: [&str; 4] = ["8M", "128M", "1G", "2G"];
/// Sizes of CMA areas in MiB.
const AREA_MIB: [u32; 7] = [8, 16, 32, 64, 128, 256, 512];
/// RAM of the machines with areas: as much as there can be without highmem, so that all of them are alike.
const AREA_RAM: &str = "704M";
const CMDLINE: &str = "console=ttyAMA0";
/// How much more the same request may take that moves as many pages in an area of another size: caches of free pages, and
/// pages of tables, are met at other places.
const SAME_PAGES: f64 = 1.2;
/// What a call may take beside its pages, and how much more a page may take than the cheapest: those that stay free have to
/// be looked at as well.
const CALL: f64 = 5000.0;
const A_PAGE: f64 = 1.5;
/// The request whose cost is shown by the size of the area, in KiB.
const SHOWN_REQUEST: &str = "1024K";

/// The operations over memory in use: key, and what it is.
const OPERATIONS: [(&str, &str); 5] = [
    ("order-0-pair", "alloc_pages and __free_pages of one page"),
    ("order-0-burst", "256 pages taken, then given back: the share of one"),
    ("order-3-pair", "alloc_pages and __free_pages of order 3"),
    ("kmalloc-64-pair", "kmalloc and kfree of 64 bytes"),
    ("vmalloc-64K-pair", "vmalloc and vfree of 64 KiB"),
];

/// Boots all machines that `filter` wants to know of.
///
/// # Errors
/// When an image can't be built or a machine can't be booted.
pub fn measure(filter: &str, quiet: bool) -> Result<Measured> {
    let mut all = Measured::default();
    for mem in RAM.into_iter().filter(|_| !filter.starts_with(AREAS)) {
        all.add(boot(PAGES, mem, CMDLINE.to_owned(), quiet)?);
    }
    if !filter.starts_with(PAGES) {
        all.add(measure_areas(&AREA_MIB, quiet)?);
    }
    all.rows.retain(|row| row.name.contains(filter));
    Ok(all)
}

/// Boots a machine for a CMA area of each of these sizes, in MiB.
///
/// # Errors
/// As [`measure`].
pub fn measure_areas(sizes: &[u32], quiet: bool) -> Result<Measured> {
    let mut all = Measured::default();
    for mib in sizes {
        all.add(boot(AREAS, AREA_RAM, format!("{CMDLINE} cma={mib}M"), quiet)?);
    }
    Ok(all)
}

fn boot(kind: &str, mem: &str, cmdline: String, quiet: bool) -> Result<Measured> {
    let (board, mem) = (Board::load(&boards_dir(), BOARD)?, Size::parse(mem).ok());
    measure_in(Request { mem, cmdline: Some(cmdline), ..Request::new(board) }, kind, quiet)
}

/// The claim that a `cma_alloc` which migrates costs what its pages cost, and nothing else: how these rows contradict it.
pub fn contradictions(rows: &[Row]) -> Vec<String> {
    let moving = || takings(rows).filter(|taking| taking.moved > 0);
    let dearer = |taking: &Taking<'_>, than: f64, part: f64| f64::from(taking.cost) > than * part;
    let a_page = |taking: &Taking<'_>| f64::from(taking.cost) / f64::from(taking.moved);
    let cheapest_page = moving().map(|taking| a_page(&taking)).fold(f64::INFINITY, f64::min);
    let mut found = Vec::new();
    for taking in moving() {
        let Taking { area, full, take, moved, cost } = taking;
        let request =
            format!("{take} of {area} MiB, {full} % full: {cost} instructions for {moved} pages moved");
        let alike = moving().filter(|other| (other.take, other.full, other.moved) == (take, full, moved));
        let cheapest = alike.map(|other| other.cost.into()).fold(f64::INFINITY, f64::min);
        if dearer(&taking, cheapest, SAME_PAGES) {
            found.push(format!("{request}, {cheapest} in another area"));
        }
        if dearer(&taking, CALL + cheapest_page * f64::from(moved), A_PAGE) {
            found.push(format!("{request}, elsewhere a page takes {cheapest_page:.0}"));
        }
        if f64::from(moved) * 4.0 > mib(take).unwrap_or(0.0) * 1024.0 {
            found.push(format!("{request}, which is more than it asked for"));
        }
    }
    found
}

/// The parameters in a row's name, and what follows them.
fn parameters(name: &str) -> BTreeMap<&str, &str> {
    let parts = name.split('/').map(|part| part.split_once('=').unwrap_or(("", part)));
    parts.collect()
}

/// `128M` or `1024K`, in MiB.
fn mib(text: &str) -> Option<f64> {
    let number: f64 = text.trim_end_matches(['K', 'M']).parse().ok()?;
    Some(if text.ends_with('K') { number / 1024.0 } else { number })
}

/// Every plot that `rows` have points for.
pub fn plots(rows: &[Row]) -> Vec<Plot> {
    let used = OPERATIONS.iter().map(|&(key, what)| by_use(rows, key, what));
    let all = used.chain([by_moved(rows), by_area(rows)]);
    all.filter(|plot| !plot.series.is_empty()).collect()
}

/// Points by the line that they are on, lines in the order of their number.
#[derive(Default)]
struct Lines(BTreeMap<u64, (String, Vec<(f64, f64)>)>);

impl Lines {
    fn add(&mut self, order: f64, label: impl FnOnce() -> String, point: (f64, f64)) {
        self.0.entry(order as u64).or_insert_with(|| (label(), Vec::new())).1.push(point);
    }

    fn series(self) -> Vec<Series> {
        let sorted = |(label, mut points): (String, Vec<(f64, f64)>)| {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Series { label, points }
        };
        self.0.into_values().map(sorted).collect()
    }
}

fn by_use(rows: &[Row], key: &str, what: &str) -> Plot {
    let mut lines = Lines::default();
    for row in rows.iter().filter(|row| row.name.starts_with(PAGES) && row.name.ends_with(key)) {
        let parameters = parameters(&row.name);
        let number = |name: &str| parameters.get(name).and_then(|&text| mib(text));
        if let (Some(mem), Some(used)) = (number("mem"), number("used")) {
            lines.add(mem, || format!("{mem} MiB of RAM"), (used, row.median.into()));
        }
    }
    let note = "Instructions by QEMU's -icount, median of 31, board virt. All memory that a request may take is taken by \
                single pages and given back in random order; where nothing large enough is free, there is no point.";
    Plot {
        subject: format!("pages-{key}"),
        title: what.to_owned(),
        x: Axis {
            label: "memory in use, % of what requests may take".into(),
            scale: Scale::Linear(0.0, 100.0),
        },
        y: Axis { label: "instructions".into(), scale: Scale::FromZero },
        note: note.into(),
        series: lines.series(),
    }
}

/// A `cma_alloc`: size of the area in MiB, hundredths in use, KiB asked for, pages moved, cost.
struct Taking<'r> {
    area: f64,
    full: f64,
    take: &'r str,
    moved: u32,
    cost: u32,
}

fn takings(rows: &[Row]) -> impl Iterator<Item = Taking<'_>> {
    let costs = rows.iter().filter(|row| row.name.starts_with(AREAS) && !row.name.ends_with("/moved"));
    costs.filter_map(|row| {
        let moved = format!("{}/moved", row.name);
        let moved = rows.iter().find(|other| other.name == moved)?.median;
        let parameters = parameters(&row.name);
        let (area, full) = (mib(parameters.get("area")?)?, mib(parameters.get("full")?)?);
        Some(Taking { area, full, take: parameters.get("take")?, moved, cost: row.median })
    })
}

const AREAS_NOTE: &str = "Instructions by QEMU's -icount, board virt with 704 MiB of RAM. The area is filled page by page by two \
                          address spaces in turn, and half full after one of them has ended.";

fn by_moved(rows: &[Row]) -> Plot {
    let mut lines = Lines::default();
    for Taking { area, moved, cost, .. } in takings(rows).filter(|taking| taking.moved > 0) {
        lines.add(area, || format!("area of {area} MiB"), (moved.into(), cost.into()));
    }
    Plot {
        subject: "cma-moved".into(),
        title: "cma_alloc that moves pages, by the pages it moves".into(),
        x: Axis { label: "pages moved".into(), scale: Scale::Log },
        y: Axis { label: "instructions".into(), scale: Scale::Log },
        note: format!("{AREAS_NOTE} Requests of 64 KiB to a quarter of the area, 50 and 100 % full."),
        series: lines.series(),
    }
}

fn by_area(rows: &[Row]) -> Plot {
    let mut lines = Lines::default();
    for Taking { area, full, cost, .. } in takings(rows).filter(|taking| taking.take == SHOWN_REQUEST) {
        lines.add(full, || format!("{full} % full of movable pages"), (area, cost.into()));
    }
    Plot {
        subject: "cma-area".into(),
        title: "cma_alloc of 1 MiB, by the size of the area".into(),
        x: Axis { label: "size of the area, MiB".into(), scale: Scale::Log },
        y: Axis { label: "instructions".into(), scale: Scale::Log },
        note: AREAS_NOTE.into(),
        series: lines.series(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::row;
    use super::*;

    #[test]
    fn rows_become_points_on_lines() {
        let rows = [
            row("scale/pages/mem=1024M/used=50/order-0-pair", 7),
            row("scale/pages/mem=8M/used=99/order-0-pair", 9),
            row("scale/pages/mem=8M/used=1/order-0-pair", 8),
            row("scale/pages/mem=8M/used=1/order-0-burst", 70),
        ];
        let plots = plots(&rows);
        assert_eq!(
            plots.iter().map(|plot| &*plot.subject).collect::<Vec<_>>(),
            ["pages-order-0-pair", "pages-order-0-burst"]
        );
        let [small, large] = &plots[0].series[..] else { panic!("two lines") };
        assert_eq!((&*small.label, &small.points[..]), ("8 MiB of RAM", &[(1.0, 8.0), (99.0, 9.0)][..]));
        assert_eq!((&*large.label, &large.points[..]), ("1024 MiB of RAM", &[(50.0, 7.0)][..]));
    }

    #[test]
    fn costs_meet_the_pages_that_were_moved() {
        let rows = [
            row("scale/cma/area=64M/full=50/take=1024K", 90_000),
            row("scale/cma/area=64M/full=50/take=1024K/moved", 128),
            row("scale/cma/area=64M/full=0/take=1024K", 900),
            row("scale/cma/area=64M/full=0/take=1024K/moved", 0),
            row("scale/cma/area=8M/full=0/take=64K", 500),
        ];
        let plots = plots(&rows);
        assert_eq!(
            plots[0].series[0].points,
            [(128.0, 90_000.0)],
            "what moves nothing has no place on a logarithmic axis"
        );
        let by_area: Vec<_> = plots[1].series.iter().map(|line| (&*line.label, line.points[0])).collect();
        assert_eq!(
            by_area,
            [("0 % full of movable pages", (64.0, 900.0)), ("50 % full of movable pages", (64.0, 90_000.0))]
        );
    }

    #[test]
    fn a_cost_that_grows_with_the_area_is_found() {
        let taking = |area: u32, take: u32, moved: u32, cost: u32| {
            let name = format!("scale/cma/area={area}M/full=100/take={take}K");
            [row(&name, cost), row(&format!("{name}/moved"), moved)]
        };
        let fair =
            [taking(8, 1024, 256, 465_000), taking(512, 1024, 256, 466_000), taking(8, 64, 16, 33_000)];
        assert_eq!(contradictions(fair.as_flattened()), [""; 0]);
        let searching = [taking(8, 1024, 256, 465_000), taking(512, 1024, 256, 600_000)];
        let found = contradictions(searching.as_flattened());
        assert_eq!(
            found,
            ["1024K of 512 MiB, 100 % full: 600000 instructions for 256 pages moved, 465000 in another area"]
        );
        let square = [taking(8, 1024, 256, 465_000), taking(512, 8192, 2048, 7_440_000)];
        assert!(contradictions(square.as_flattened())[0].ends_with("elsewhere a page takes 1816"));
        let twice = contradictions(taking(8, 1024, 257, 465_000).as_slice());
        assert!(twice[0].ends_with("more than it asked for"), "{twice:?}");
    }

    #[test]
    fn nothing_measured_is_no_plot() {
        assert!(plots(&[row("pages/order-0/pair", 70)]).is_empty());
    }
}
