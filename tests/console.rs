//! The QEMU scenarios and the kernel's own tests, each a test of its own: `cargo test -p tests -- NAME`.
//!
//! The kernel's tests are known only once a board has run them, so that comes first (unless only others are asked
//! for); their trials then say how each ended, `ignored` included.

use std::process::{ExitCode, exit};
use std::sync::Mutex;
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};
use qemu::board::{Board, boards_dir, names};
use qemu::image::Flavor;
use qemu::plan::Plan;
use qemu::request::Request;
use qemu::session::Report;
use qemu::setup::{Host, Tool, ensure};
use tests::ktest::{self, Ended};
use tests::scenario::{self, Scenario};
use tests::{boot, check};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let scenarios = scenario::all().unwrap_or_else(|line| give_up(&line));
    if args.list {
        let names =
            scenarios.into_iter().map(|(name, _)| Trial::test(format!("scenario::{name}"), || Ok(())));
        return libtest_mimic::run(&args, names.collect()).exit_code();
    }
    prepare();
    let (mut testing, playing): (Vec<_>, Vec<_>) = scenarios.into_iter().partition(|(_, s)| s.selftest);
    testing.retain(|(name, _)| wanted(&args, &format!("selftest::{name}")));
    let mut trials = vec![one_image()];
    trials.extend(selftests(testing));
    trials.extend(playing.into_iter().map(|(name, scenario)| played(&name, scenario)));
    libtest_mimic::run(&args, trials).exit_code()
}

fn give_up(line: &dyn std::fmt::Display) -> ! {
    eprintln!("error: {line}");
    exit(2)
}

/// Gets what is missing on this machine and builds the image that most scenarios boot.
fn prepare() {
    let boards = names(&boards_dir()).and_then(|names| {
        names.iter().map(|name| Board::load(&boards_dir(), name)).collect::<Result<Vec<_>, _>>()
    });
    let u_boots = boards.map(|boards| boards.into_iter().filter_map(|board| board.spec.u_boot));
    let mut tools = vec![Tool::Qemu, Tool::Dtc];
    tools.extend(u_boots.unwrap_or_else(|error| give_up(&error)).map(|u_boot| Tool::UBoot(u_boot.files)));
    ensure(&tools, &Host::here()).unwrap_or_else(|error| give_up(&error));
    boot::image(Flavor::Kernel);
}

/// Whether the filter may leave anything whose name starts like this.
fn wanted(args: &Arguments, prefix: &str) -> bool {
    let Some(filter) = &args.filter else { return true };
    filter.contains(prefix) || prefix.contains(filter.as_str())
}

fn failure(reasons: &[String], report: &Report) -> Failed {
    format!("{}\n---- the whole console ----\n{}", reasons.join("\n"), report.log).into()
}

fn played(name: &str, scenario: Scenario) -> Trial {
    Trial::test(format!("scenario::{name}"), move || {
        let (report, mut wrong) = boot::play(&scenario)?;
        wrong.extend(check::check(&scenario, &report));
        if wrong.is_empty() { Ok(()) } else { Err(failure(&wrong, &report)) }
    })
}

/// Runs the kernel's tests in these scenarios, as many at a time as there are cores, and makes a trial of each.
fn selftests(scenarios: Vec<(String, Scenario)>) -> Vec<Trial> {
    let left = Mutex::new(scenarios.into_iter());
    let next = || left.lock().ok()?.next();
    let worker = || {
        let play = |(name, scenario): (String, Scenario)| reported(&name, &scenario, boot::play(&scenario));
        std::iter::from_fn(next).flat_map(play).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|_| give_up(&"the harness panicked")))
            .collect()
    })
}

/// A trial for the run as a whole, and one for each of the kernel's tests.
fn reported(
    name: &str,
    scenario: &Scenario,
    report: qemu::error::Result<(Report, Vec<String>)>,
) -> Vec<Trial> {
    let name = format!("selftest::{name}");
    let (report, mut wrong) = match report {
        Ok(found) => found,
        Err(error) => return vec![Trial::test(name, move || Err(error.into()))],
    };
    let answer = report.answers.iter().rev().find(|answer| answer.command == "selftest");
    let results = ktest::parse(answer.map_or("", |answer| &answer.output));
    wrong.extend(check::check(scenario, &report));
    let image = boot::image(scenario.flavor());
    wrong.extend(ktest::count_in(&image.elf).and_then(|count| results.validate(count)).err());
    let whole = if wrong.is_empty() { Ok(()) } else { Err(failure(&wrong, &report)) };
    let mut trials = vec![Trial::test(&name, move || whole)];
    for (test, ended) in results.tests {
        let ignored = matches!(ended, Ended::Ignored(_));
        let run = move || match ended {
            Ended::Ok => Ok(()),
            Ended::Failed(reason) => Err(reason.into()),
            Ended::Ignored(reason) => Err(format!("it can't run here: {reason}").into()),
        };
        trials.push(Trial::test(format!("{name}::{test}"), run).with_ignored_flag(ignored));
    }
    trials
}

/// Every way of booting every board hands over the same image bytes.
fn one_image() -> Trial {
    Trial::test("image::the_same_bytes_boot_every_board_and_u_boot", || {
        let image = boot::image(Flavor::Kernel);
        let zimage = std::fs::read(&image.zimage)?;
        for board in names(&boards_dir())? {
            let board = Board::load(&boards_dir(), &board)?;
            for u_boot in [false, true] {
                if u_boot && board.spec.u_boot.is_none() {
                    continue;
                }
                let plan = Plan::new(Request { u_boot, ..Request::new(board.clone()) })?;
                plan.write(image)?;
                let file = plan.image_file();
                if !std::fs::read(&file)?.windows(zimage.len()).any(|bytes| bytes == zimage) {
                    return Err(
                        format!("{}: not the image of the others in {}", board.name, file.display()).into()
                    );
                }
            }
        }
        Ok(())
    })
}
