//! Compares what a run showed with what a scenario expects.

use qemu::session::{Answer, Outcome, Report};

use crate::scenario::{Expected, Grown, Pattern, Scenario, Step};
use crate::sums;

/// Everything that is not as expected, a line each; empty if all is.
pub fn check(scenario: &Scenario, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(check_outcome(scenario, &report.outcome));
    wrong.extend(missing("the console", &scenario.log, &report.log));
    wrong.extend(unwanted("the console", &scenario.never, &report.log));
    for (at, step) in scenario.commands.iter().enumerate() {
        wrong.extend(check_step(step, report.answers.get(at), scenario.outcome));
        wrong.extend(step.grown.as_ref().and_then(|grown| check_growth(grown, report, at)));
    }
    if scenario.sums {
        wrong.extend(sums::wrong(report));
    }
    wrong.extend(scenario.keeps.and_then(|(ram, most)| sums::keeps_more(report, ram, most)));
    wrong
}

fn check_growth(Grown { line, since, by }: &Grown, report: &Report, at: usize) -> Option<String> {
    let grown = sums::grown(report, line, *since, at);
    (grown != Some(*by)).then(|| format!("{line} has grown by {grown:?}, expected {by}"))
}

fn check_outcome(scenario: &Scenario, outcome: &Outcome) -> Option<String> {
    let failing = scenario.commands.iter().find(|step| step.status != 0);
    let expected = match (scenario.outcome, failing) {
        (Expected::Commands, None) => matches!(outcome, Outcome::Success),
        (Expected::Commands, Some(step)) => {
            matches!(outcome, Outcome::Failed { command, .. } if *command == step.run)
        }
        (Expected::Panic, _) => matches!(outcome, Outcome::Panicked),
        (Expected::Timeout, _) => matches!(outcome, Outcome::TimedOut { .. }),
    };
    (!expected).then(|| format!("the run ended with {outcome:?}"))
}

fn check_step(step: &Step, answer: Option<&Answer>, ending: Expected) -> Vec<String> {
    let Some(answer) = answer else { return vec![format!("never ran: {}", step.run)] };
    let what = format!("the output of '{}'", step.run);
    let mut wrong = Vec::new();
    if answer.status != Some(step.status) && ending == Expected::Commands {
        wrong.push(format!("{what} ended with status {:?}, expected {}", answer.status, step.status));
    }
    wrong.extend(missing(&what, &step.lines, &answer.output));
    wrong.extend(unwanted(&what, &step.never, &answer.output));
    if let Some(bytes) = &step.same_as
        && crate::host::bytes(bytes).is_none_or(|bytes| bytes != answer.output.as_bytes())
    {
        wrong.push(format!("{what} is not the host's {bytes:?}"));
    }
    if let Some(all) = &step.all {
        wrong.extend(differs(&what, all, &answer.output));
    }
    wrong
}

/// The first expected line that does not come after those before it.
fn missing(what: &str, expected: &[Pattern], text: &str) -> Option<String> {
    let mut lines = text.lines();
    let mut before: Option<&Pattern> = None;
    for pattern in expected {
        if !lines.any(|line| pattern.matches(line)) {
            let after = before.map(|before| format!(", after: {before}")).unwrap_or_default();
            return Some(format!("{what} lacks: {pattern}{after}"));
        }
        before = Some(pattern);
    }
    None
}

fn unwanted(what: &str, never: &[Pattern], text: &str) -> Option<String> {
    let found = never.iter().find(|pattern| text.lines().any(|line| pattern.matches(line)))?;
    Some(format!("{what} has: {found}"))
}

fn differs(what: &str, all: &[Pattern], text: &str) -> Option<String> {
    let count = text.lines().count();
    if let Some((line, pattern)) = text.lines().zip(all).find(|(line, pattern)| !pattern.matches(line)) {
        return Some(format!("{what} has the line: {line}\n    expected: {pattern}"));
    }
    (count != all.len()).then(|| format!("{what} has {count} lines, expected {}", all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENARIO: &str = r#"
        about = "an example"
        board = "virt"
        log = ["one", "/^thr/"]
        never = ["/BUG/"]
        [[commands]]
        run = "free"
        lines = ["Mem: 1"]
        [[commands]]
        run = "tftp hello.txt"
        same-as = { tftp = "hello.txt" }
        [[commands]]
        run = "cat x"
        status = 1
        all = ["cat: x: No such file"]
    "#;

    fn scenario() -> Scenario {
        toml::from_str(SCENARIO).unwrap()
    }

    fn answer(command: &str, output: &str, status: u32) -> Answer {
        Answer { command: command.into(), output: output.into(), status: Some(status) }
    }

    fn good() -> Report {
        Report {
            outcome: Outcome::Failed { command: "cat x".into(), status: 1 },
            log: "[    0.000000] one\ntwo\n[    0.100000] three\n".into(),
            answers: vec![
                answer("free", "Mem: 1\n", 0),
                answer("tftp hello.txt", "Hello from the host\n", 0),
                answer("cat x", "cat: x: No such file\n", 1),
            ],
        }
    }

    #[test]
    fn a_good_report_passes() {
        assert_eq!(check(&scenario(), &good()), Vec::<String>::new());
    }

    #[test]
    fn each_deviation_is_found() {
        type Change = fn(&mut Report);
        let changes: [(Change, &str); 10] = [
            (|r| r.outcome = Outcome::Success, "the run ended with Success"),
            (|r| r.outcome = Outcome::Panicked, "the run ended with Panicked"),
            (|r| r.log = "three\none\n".into(), "the console lacks: /^thr/, after: one"),
            (|r| r.log.clear(), "the console lacks: one"),
            (|r| r.log.push_str("BUG: x\n"), "the console has: /BUG/"),
            (|r| r.answers[0].output.clear(), "the output of 'free' lacks: Mem: 1"),
            (
                |r| r.answers[1].output.push('!'),
                "the output of 'tftp hello.txt' is not the host's Tftp(\"hello.txt\")",
            ),
            (|r| r.answers[2].status = None, "ended with status None, expected 1"),
            (|r| r.answers[2].output.push_str("more\n"), "has 2 lines, expected 1"),
            (|r| r.answers.truncate(2), "never ran: cat x"),
        ];
        for (change, expected) in changes {
            let mut report = good();
            change(&mut report);
            let wrong = check(&scenario(), &report).join("\n");
            assert!(wrong.contains(expected), "{wrong}");
        }
    }

    #[test]
    fn a_line_that_comes_once_is_not_found_twice() {
        let twice: Scenario = toml::from_str("about = 'x'\nboard = 'virt'\nlog = ['one', 'one']").unwrap();
        let report = Report { outcome: Outcome::Success, answers: Vec::new(), ..good() };
        assert_eq!(check(&twice, &report), ["the console lacks: one, after: one"]);
    }

    #[test]
    fn panics_and_timeouts_are_told_apart() {
        for (expected, outcome, fits) in [
            ("panic", Outcome::Panicked, true),
            ("panic", Outcome::TimedOut { command: None }, false),
            ("timeout", Outcome::TimedOut { command: None }, true),
            ("timeout", Outcome::Success, false),
        ] {
            let text = format!("about = 'x'\nboard = 'virt'\noutcome = '{expected}'");
            let report = Report { outcome, answers: Vec::new(), ..good() };
            assert_eq!(check(&toml::from_str(&text).unwrap(), &report).is_empty(), fits, "{expected}");
        }
    }
}
