//! The session against a scripted peer that behaves as the kernel's shell does.

use super::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};

/// Text as it was shown, with `<` `>` around what commands printed.
#[derive(Default)]
struct Shown {
    text: String,
    end: Option<Outcome>,
}

impl View for Shown {
    fn console(&mut self, bytes: &[u8]) {
        self.text.push_str(&String::from_utf8_lossy(bytes));
    }

    fn output(&mut self, bytes: &[u8]) {
        self.text.push_str(&format!("<{}>", String::from_utf8_lossy(bytes)));
    }

    fn command(&mut self, line: &str) {
        self.text.push_str(line);
    }

    fn end(&mut self, outcome: &Outcome) {
        self.end = Some(outcome.clone());
    }
}

/// What the guest does when it receives a line.
type Reply = fn(&str) -> Vec<Input>;

/// A guest: its replies go to the session's inputs.
struct Guest {
    received: Vec<u8>,
    /// Lines received, and `END` for the work at the end.
    events: Rc<RefCell<Vec<String>>>,
    inputs: Sender<Input>,
    reply: Reply,
}

impl Write for Guest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.received.extend(bytes);
        if bytes.ends_with(b"\n") {
            self.events.borrow_mut().push(String::from_utf8_lossy(bytes).trim().to_owned());
            for input in (self.reply)(&String::from_utf8_lossy(bytes)) {
                self.inputs.send(input).unwrap();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn guest(text: &str) -> Input {
    Input::Guest(text.as_bytes().to_vec())
}

/// A healthy shell: `free` works, `bad` fails, `oops` panics, `hang` never ends, `poweroff` switches off.
fn shell(line: &str) -> Vec<Input> {
    match line {
        "\x16free\n" => vec![guest("\x02Mem: 1\r\n"), guest("\x030\r\n")],
        "\x16bad\n" => vec![guest("\x02bad: no\n\x037\n")],
        "\x16oops\n" => vec![
            guest("\x02Kernel panic - not syncing: x\n [<c0008000>]\n---[ end Kernel panic - "),
            guest("not syncing: x ]---\nmore"),
        ],
        "\x16hang\n" => vec![guest("\x02...")],
        "\x16poweroff\n" => vec![guest("\x02"), guest("reboot: Power down\n"), Input::GuestEnd],
        other => vec![guest(other)],
    }
}

struct Run {
    report: Report,
    shown: Shown,
    received: String,
    events: Vec<String>,
}

fn run(purpose: Purpose<'_>, reply: Reply, first: Vec<Input>, timeout: Option<Duration>) -> Run {
    let (inputs, receiver) = channel();
    first.into_iter().for_each(|input| inputs.send(input).unwrap());
    let events = Rc::new(RefCell::new(Vec::new()));
    let mut at_end = || events.borrow_mut().push("END".to_owned());
    let mut guest = Guest { received: Vec::new(), events: Rc::clone(&events), inputs, reply };
    let mut shown = Shown::default();
    let name = |line: &str| line.contains("[<c0008000>]").then(|| " start (boot/src/start.S:1)".to_owned());
    let session = Session::new(purpose, &mut guest, &mut shown, &name).at_end(&mut at_end);
    let report = session.run(&receiver, timeout.map(|timeout| Instant::now() + timeout));
    assert_eq!(shown.end.as_ref(), Some(&report.outcome), "the view learns of the end");
    let received = String::from_utf8(guest.received).unwrap();
    Run { report, shown, received, events: events.take() }
}

fn exec(commands: &[&str]) -> Run {
    let commands: Vec<_> = commands.iter().map(|&command| command.to_owned()).collect();
    let boot = vec![guest("[    0.000000] Booting\r\n"), guest("\x05# ")];
    run(Purpose::Commands(&commands), shell, boot, Some(Duration::from_millis(300)))
}

#[test]
fn commands_run_in_order_and_then_the_machine_goes_off() {
    let run = exec(&["free", "free"]);
    assert_eq!(run.report.outcome, Outcome::Success);
    assert_eq!(run.received, "\x16free\n\x16free\n\x16poweroff\n");
    assert_eq!(
        run.report.log,
        "[    0.000000] Booting\n# free\nMem: 1\n# free\nMem: 1\n# poweroff\nreboot: Power down\n"
    );
    assert_eq!(
        run.shown.text,
        "[    0.000000] Booting\n# free\n<Mem: 1\n># free\n<Mem: 1\n># poweroff\nreboot: Power down\n"
    );
    let answer = Answer { command: "free".into(), output: "Mem: 1\n".into(), status: Some(0) };
    assert_eq!(run.report.answers, [answer.clone(), answer]);
}

#[test]
fn nothing_is_sent_before_the_shell_is_ready() {
    let inputs = vec![guest("# a prompt without ENQ\n")];
    let run = run(Purpose::Commands(&["free".into()]), shell, inputs, Some(Duration::from_millis(50)));
    assert_eq!(run.report.outcome, Outcome::TimedOut { command: None });
    assert_eq!(run.received, "");
}

#[test]
fn the_first_failure_ends_it() {
    let run = exec(&["free", "bad", "free"]);
    assert_eq!(run.report.outcome, Outcome::Failed { command: "bad".into(), status: 7 });
    assert_eq!(run.report.outcome.status(), 1);
    assert_eq!(run.report.outcome.to_string(), "command failed with status 7: bad");
    assert_eq!(run.received, "\x16free\n\x16bad\n");
    assert_eq!(run.report.answers[1].status, Some(7));
}

#[test]
fn a_panic_ends_it_with_names_in_the_report() {
    let run = exec(&["oops", "free"]);
    assert_eq!((run.report.outcome.clone(), run.report.outcome.status()), (Outcome::Panicked, 1));
    assert!(run.report.log.contains(" [<c0008000>] start (boot/src/start.S:1)\n---[ end Kernel panic"));
    assert_eq!(run.report.answers[0].status, None);
    assert_eq!(run.received, "\x16oops\n");
}

#[test]
fn a_panic_while_booting_is_seen_too() {
    let boot = vec![guest(
        "Kernel panic - not syncing: no tree\n---[ end Kernel panic - not syncing: no tree ]---\r\n",
    )];
    let run = run(Purpose::Interactive { held: false }, shell, boot, None);
    assert_eq!(run.report.outcome, Outcome::Panicked);
}

#[test]
fn a_command_that_hangs_times_out() {
    let run = exec(&["hang"]);
    assert_eq!(run.report.outcome, Outcome::TimedOut { command: Some("hang".into()) });
    assert_eq!(run.report.outcome.status(), 3);
    assert_eq!(run.report.outcome.to_string(), "timed out in: hang");
}

#[test]
fn work_at_the_end_is_done_once_and_while_the_machine_is_on() {
    assert_eq!(exec(&["free", "free"]).events, ["\x16free", "\x16free", "END", "\x16poweroff"]);
    assert_eq!(exec(&[]).events, ["END", "\x16poweroff"]);
    assert_eq!(exec(&["bad", "free"]).events, ["\x16bad", "END"]);
    assert_eq!(exec(&["oops"]).events, ["\x16oops", "END"]);
    assert_eq!(exec(&["hang"]).events, ["\x16hang", "END"]);
    let gone = |_: &str| vec![Input::GuestEnd];
    let off = run(Purpose::Commands(&["free".to_owned()]), gone, vec![guest("\x05# ")], None);
    assert_eq!(off.events, ["\x16free"], "a machine that is off shows nothing");
}

#[test]
fn a_machine_that_goes_off_early_is_a_failure() {
    let gone = |line: &str| if line == "\x16free\n" { vec![Input::GuestEnd] } else { shell(line) };
    let boot = || vec![guest("\x05# ")];
    let commands = ["free".to_owned()];
    let during = run(Purpose::Commands(&commands), gone, boot(), None);
    assert_eq!(during.report.outcome, Outcome::Gone { command: "free".into() });
    let before = run(Purpose::Commands(&commands), gone, vec![Input::GuestEnd], None);
    assert_eq!(before.report.outcome, Outcome::Gone { command: "free".into() });
    assert_eq!(before.report.outcome.status(), 1);
}

#[test]
fn poweroff_and_reboot_as_last_commands_are_fine_but_not_before_others() {
    let off = |line: &str| match line {
        "\x16reboot\n" => vec![guest("\x02"), Input::GuestEnd],
        line => shell(line),
    };
    let go = |commands: &[&str]| {
        let commands: Vec<_> = commands.iter().map(|&command| command.to_owned()).collect();
        run(Purpose::Commands(&commands), off, vec![guest("\x05# ")], None).report.outcome
    };
    assert_eq!(go(&["poweroff"]), Outcome::Success);
    assert_eq!(go(&["free", "reboot"]), Outcome::Success);
    assert_eq!(go(&["poweroff", "free"]), Outcome::Gone { command: "poweroff".into() });
}

#[test]
fn a_poweroff_that_does_nothing_times_out() {
    let stuck = |line: &str| match line {
        "\x16poweroff\n" => vec![guest("\x02\x030\n")],
        line => shell(line),
    };
    let run = run(Purpose::Commands(&[]), stuck, vec![guest("\x05# ")], Some(Duration::from_millis(50)));
    assert_eq!(run.report.outcome, Outcome::TimedOut { command: Some("poweroff".into()) });
}

#[test]
fn a_poweroff_that_fails_is_a_failure() {
    let stuck = |_: &str| vec![guest("\x02\x031\n")];
    let run = run(Purpose::Commands(&[]), stuck, vec![guest("\x05# ")], None);
    assert_eq!(run.report.outcome, Outcome::Failed { command: "poweroff".into(), status: 1 });
}

#[test]
fn a_user_types_and_leaves() {
    let inputs = vec![guest("boot\n\x05# "), Input::User(b"free\r".to_vec()), Input::Leave];
    let run = run(Purpose::Interactive { held: false }, shell, inputs, None);
    assert_eq!((run.report.outcome.status(), run.received.as_str()), (0, "free\r"));
    assert_eq!(run.shown.text, "boot\n# ");
}

#[test]
fn a_signal_ends_it() {
    let run = run(Purpose::Interactive { held: false }, shell, vec![Input::Interrupted], None);
    assert_eq!(run.report.outcome.status(), 130);
}

#[test]
fn piped_input_waits_for_the_shell_and_its_end_ends_the_run() {
    let inputs = vec![Input::User(b"free\n".to_vec()), Input::UserEnd, guest("boot\n"), guest("\x05# ")];
    let started = Instant::now();
    let echo = |line: &str| vec![guest(line), guest("Mem: 1\n# ")];
    let run = run(Purpose::Interactive { held: true }, echo, inputs, None);
    assert_eq!(run.report.outcome, Outcome::Left);
    assert_eq!(run.report.log, "boot\n# free\nMem: 1\n# ");
    assert!(started.elapsed() >= SILENCE);
}
