//! The tests inside the kernel, as the console command `selftest` reports them.
//!
//! ```text
//! ktest: mm::buddy::pairs ... ok
//! ktest: smp::ipi ... ignored: one CPU
//! ktest: 1 passed; 0 failed; 1 ignored
//! ```
//! How many there must be is not taken from that report: it is the size of the section in the ELF file that they
//! are registered in. A test that is silently absent, or counted wrongly, is a failure of its own.

use std::path::Path;

/// How one test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Ok,
    /// Badly, with the reason.
    Failed(String),
    /// It did not run, with the reason.
    Ignored(String),
}

/// The report of one `selftest`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Results {
    /// Each test that reported, in order.
    pub tests: Vec<(String, Ended)>,
    /// Passed, failed and ignored, as the last line counts them.
    pub summary: Option<[usize; 3]>,
}

/// Reads the output of `selftest`. Lines of the kernel's log may come between, and also between a test's name and its
/// end, which then stands at the start of a line of its own.
pub fn parse(output: &str) -> Results {
    let mut results = Results::default();
    let mut pending: Option<String> = None;
    for line in output.lines() {
        let Some((_, report)) = line.split_once("ktest: ") else {
            if let (Some(name), Some(ended)) = (&pending, parse_end(line)) {
                results.tests.push((name.clone(), ended));
                pending = None;
            }
            continue;
        };
        results.tests.extend(pending.take().map(without_end));
        match report.split_once(" ... ") {
            Some((name, text)) => match parse_end(text) {
                Some(ended) => results.tests.push((name.to_owned(), ended)),
                None => pending = Some(name.to_owned()),
            },
            None => results.summary = parse_summary(report).or(results.summary),
        }
    }
    results.tests.extend(pending.map(without_end));
    results
}

fn without_end(name: String) -> (String, Ended) {
    (name, Ended::Failed("it did not say how it ended".into()))
}

fn parse_end(text: &str) -> Option<Ended> {
    match text.trim_end().split_once(": ").unwrap_or((text.trim_end(), "")) {
        ("ok", "") => Some(Ended::Ok),
        ("ignored", reason) => Some(Ended::Ignored(reason.to_owned())),
        ("FAILED", reason) => Some(Ended::Failed(reason.to_owned())),
        _ => None,
    }
}

fn parse_summary(text: &str) -> Option<[usize; 3]> {
    let mut parts = text.trim_end().split("; ");
    let mut count = |what: &str| parts.next()?.strip_suffix(what)?.trim_end().parse().ok();
    Some([count("passed")?, count("failed")?, count("ignored")?])
}

impl Results {
    /// What is wrong with the report as a whole, given the number of tests in the image.
    ///
    /// # Errors
    /// One line.
    pub fn validate(&self, in_image: usize) -> Result<(), String> {
        let Some(summary) = self.summary else { return Err("the closing line did not come".into()) };
        let count = |wanted: fn(&Ended) -> bool| self.tests.iter().filter(|(_, ended)| wanted(ended)).count();
        let seen = [
            count(|ended| *ended == Ended::Ok),
            count(|ended| matches!(ended, Ended::Failed(_))),
            count(|ended| matches!(ended, Ended::Ignored(_))),
        ];
        if seen != summary {
            return Err(format!(
                "{seen:?} passed, failed, ignored were reported; the closing line says {summary:?}"
            ));
        }
        match self.tests.len() {
            0 => Err("there is not a single test".into()),
            ran if ran != in_image => Err(format!("{ran} tests reported, {in_image} are in the image")),
            _ => Ok(()),
        }
    }
}

/// The number of tests in the kernel's ELF file: a `Test` is a name (address, length) and a function (address).
///
/// # Errors
/// One line, when the file can't be read or has no such section.
pub fn count_in(elf: &Path) -> Result<usize, String> {
    const TEST_BYTES: u64 = 12;
    let fail = |what: &dyn std::fmt::Display| format!("{}: {what}", elf.display());
    let bytes = std::fs::read(elf).map_err(|error| fail(&error))?;
    let start = qemu::elf::symbol(&bytes, "__ktest_start").ok_or_else(|| fail(&"no symbol __ktest_start"))?;
    let end = qemu::elf::symbol(&bytes, "__ktest_end").ok_or_else(|| fail(&"no symbol __ktest_end"))?;
    Ok((end.saturating_sub(start) / TEST_BYTES) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "ktest: a::b ... ok\n[    1.000000] noise\nktest: c ... ignored: one CPU\n\
                          [    1.1] lockup?ktest: d ... FAILED: 1: 2 != 3\nktest: 1 passed; 1 failed; 1 ignored\n";

    #[test]
    fn each_test_has_its_end() {
        let results = parse(REPORT);
        let expected = [
            ("a::b".to_owned(), Ended::Ok),
            ("c".to_owned(), Ended::Ignored("one CPU".into())),
            ("d".to_owned(), Ended::Failed("1: 2 != 3".into())),
        ];
        assert_eq!(results.tests, expected);
        assert_eq!((results.summary, results.validate(3)), (Some([1, 1, 1]), Ok(())));
    }

    #[test]
    fn an_absent_or_miscounted_test_is_found() {
        assert!(parse(REPORT).validate(4).unwrap_err().contains("3 tests reported, 4 are in the image"));
        let without = REPORT.replace("ktest: a::b ... ok\n", "");
        assert!(parse(&without).validate(2).unwrap_err().contains("closing line says [1, 1, 1]"));
        let cut = REPORT.replace("ktest: 1 passed; 1 failed; 1 ignored\n", "");
        assert_eq!(parse(&cut).validate(3), Err("the closing line did not come".into()));
        assert!(parse("ktest: 0 passed; 0 failed; 0 ignored\n").validate(0).is_err());
    }

    #[test]
    fn the_log_may_come_between_a_name_and_its_end() {
        let text = "ktest: cma ... [    0.040712] cma: cma_alloc(cma c006b800, count 1, align 0)\n[    0.1] x\nok\n\
                    ktest: d ... [    0.2] x\nFAILED: 1\nktest: 1 passed; 1 failed; 0 ignored\n";
        let results = parse(text);
        let expected = [("cma".to_owned(), Ended::Ok), ("d".to_owned(), Ended::Failed("1".into()))];
        assert_eq!((&results.tests[..], results.validate(2)), (&expected[..], Ok(())));
    }

    #[test]
    fn what_is_not_clearly_ok_has_failed() {
        for text in ["okay", "ok: really", "", "skipped"] {
            let results = parse(&format!("ktest: a ... {text}\nktest: b ... ok\n"));
            assert!(matches!(&results.tests[0], (name, Ended::Failed(_)) if name == "a"), "{text}");
            assert_eq!(results.tests[1], ("b".to_owned(), Ended::Ok));
        }
        assert!(matches!(parse("ktest: a ... ").tests[0].1, Ended::Failed(_)));
    }
}
