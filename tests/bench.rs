//! The benchmarks, against what they were: `tests/bench-baseline.json` is in the repository, and changes only with a
//! commit that says why. `cargo run -- bench --json tests/bench-baseline.json` makes it anew.
//!
//! They count instructions, so a busy host changes nothing, and one run is enough to compare. Another compiler's code takes
//! another number of them: the file says which it was, and what fails says when it is not the same.

use std::path::Path;
use std::sync::OnceLock;

use qemu::bench::check::{self, Worse, grew};
use qemu::bench::results::{self, Results};
use qemu::bench::run::{Measured, measure};
use qemu::bench::{DEFAULT_BOARD, boot, figures, scale};
use qemu::board::{Board, boards_dir};
use qemu::image::Flavor;
use qemu::session::Outcome;
use qemu::setup::{Host, Tool, compiler, ensure};
use tests::boot::image;

/// Hundredths by which two runs may differ.
const SAME: u32 = 1;

fn run() -> Measured {
    ensure(&[Tool::Qemu, Tool::Dtc], &Host::here()).unwrap();
    let board = Board::load(&boards_dir(), DEFAULT_BOARD).unwrap();
    measure(&board, "", true).unwrap()
}

fn first() -> &'static Measured {
    static FIRST: OnceLock<Measured> = OnceLock::new();
    FIRST.get_or_init(run)
}

fn baseline() -> Results {
    results::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("bench-baseline.json")).unwrap()
}

/// That this is another compiler than the baseline's, if it is.
fn other_compiler() -> String {
    check::other_compiler(&baseline().rustc, &compiler().unwrap()).unwrap_or_default()
}

fn lines(worse: &[Worse]) -> String {
    worse.iter().map(|one| format!("\n{one}")).collect()
}

#[test]
fn everything_is_measured() {
    let Measured { rows, failures, status } = first();
    assert_eq!((failures.as_slice(), *status), (&[][..], 0));
    for figure in figures::all().unwrap() {
        assert_eq!(rows.iter().filter(|row| row.name == figure.name).count(), 1, "{}", figure.name);
    }
}

#[test]
fn the_image_that_is_flashed_boots_within_its_limits() {
    let board = Board::load(&boards_dir(), DEFAULT_BOARD).unwrap();
    let (cost, outcome) = boot(board, image(Flavor::Kernel)).unwrap();
    assert!(cost.met() && outcome == Outcome::Success, "{outcome}\n{cost}");
}

#[test]
fn nothing_is_worse_than_the_baseline() {
    let worse = check::worse(&baseline().rows, &first().rows, "");
    let how =
        "if it has to be: `cargo run -- bench --json tests/bench-baseline.json`, and say why in the commit";
    assert!(worse.is_empty(), "{}\n{}\n{how}", lines(&worse), other_compiler());
}

#[test]
fn a_row_that_got_worse_is_found() {
    let mut before = first().rows.clone();
    let row = before.iter_mut().find(|row| row.name == "memcpy/4K").unwrap();
    row.median -= row.median / 20;
    let worse = check::worse(&before, &first().rows, "");
    assert!(matches!(&worse[..], [Worse::Costs { name, .. }] if name == "memcpy/4K"), "{}", lines(&worse));
}

#[test]
fn missed_targets_and_only_those_have_reasons() {
    let complaints = figures::complaints(&figures::all().unwrap(), &first().rows);
    assert!(complaints.is_empty(), "{}\n{}", complaints.join("\n"), other_compiler());
}

/// What a `cma_alloc` costs that migrates depends on the pages it moves, not on the area, nor on how full that is.
#[test]
fn moving_pages_costs_the_same_in_small_areas_and_large_ones() {
    ensure(&[Tool::Qemu, Tool::Dtc], &Host::here()).unwrap();
    let Measured { rows, failures, status } = scale::measure_areas(&[8, 64, 256], true).unwrap();
    assert_eq!((failures.as_slice(), status), (&[][..], 0));
    let moving = rows.iter().filter(|row| row.name.ends_with("/moved") && row.median >= 64);
    assert!(moving.count() >= 20, "too few requests moved anything");
    let contradictions = scale::contradictions(&rows);
    assert!(contradictions.is_empty(), "{}", contradictions.join("\n"));
}

#[test]
fn two_runs_have_the_same_medians() {
    let (first, second) = (&first().rows, run().rows);
    assert_eq!(first.len(), second.len());
    for (one, other) in first.iter().zip(&second) {
        let differ = |(a, b): (u32, u32)| grew(a, b, SAME) || grew(b, a, SAME);
        assert_eq!(one.name, other.name);
        assert!(!differ((one.median, other.median)), "{one:?} {other:?}");
    }
}
