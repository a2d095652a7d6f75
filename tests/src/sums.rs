//! The numbers of `/proc` against each other: sums that must come out whichever file they are taken from.
//!
//! The files are read one after the other and reading allocates, so numbers of free and of slab memory may differ by
//! [`SLACK`] between two of them; sums within a file may not.

use std::collections::BTreeMap;

use qemu::session::Report;

/// kB by which a number may change from one file to the next.
const SLACK: u64 = 64;
/// kB of a page.
const PAGE: u64 = 4;
/// Most bytes of metadata a page.
const METADATA: u64 = 16;

type Numbers = BTreeMap<String, u64>;

/// What the files said, in kB.
#[derive(Default)]
struct Files {
    meminfo: Numbers,
    vmstat: Numbers,
    managed: Option<u64>,
    present: Option<u64>,
    buddy: Option<u64>,
    types: Option<u64>,
    slabs: Option<u64>,
    vmalloc: Option<u64>,
}

/// `name: 12 kB` and `name 12` lines.
fn numbers(text: &str) -> Numbers {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.trim_end_matches(':').to_owned(), words.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// The number behind `name` in each line that begins with it, added up.
fn field(text: &str, name: &str) -> u64 {
    let behind = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == name).then(|| words.next()?.parse::<u64>().ok()).flatten()
    };
    text.lines().filter_map(behind).sum()
}

/// Blocks by order at the end of each line that `of` takes, in kB.
fn blocks(text: &str, of: impl Fn(&str) -> bool) -> u64 {
    let line = |line: &str| {
        let counts: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let orders = &counts[counts.len().saturating_sub(11)..];
        orders.iter().enumerate().map(|(order, count)| count << order).sum::<u64>()
    };
    text.lines().filter(|text| of(text)).map(line).sum::<u64>() * PAGE
}

/// Pages of all slabs, in kB: `num_slabs` times `pagesperslab`.
fn slabs(text: &str) -> u64 {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let slabs: u64 = words.get(14)?.parse().ok()?;
        Some(slabs * words.get(5)?.parse::<u64>().ok()?)
    };
    text.lines().filter_map(line).sum::<u64>() * PAGE
}

/// Pages of vmalloc areas, in kB.
fn vmalloc(text: &str) -> u64 {
    let pages = |line: &str| {
        line.split_whitespace().find_map(|word| word.strip_prefix("pages=")?.parse::<u64>().ok())
    };
    text.lines().filter_map(pages).sum::<u64>() * PAGE
}

impl Files {
    fn of(report: &Report) -> Self {
        let mut files = Self::default();
        for answer in &report.answers {
            let text = answer.output.as_str();
            match answer.command.as_str() {
                "cat /proc/meminfo" => files.meminfo = numbers(text),
                "cat /proc/vmstat" => files.vmstat = numbers(text),
                "cat /proc/zoneinfo" => {
                    files.managed = Some(field(text, "managed") * PAGE);
                    files.present = Some(field(text, "present") * PAGE);
                }
                "cat /proc/buddyinfo" => files.buddy = Some(blocks(text, |line| line.starts_with("Node"))),
                "cat /proc/pagetypeinfo" => files.types = Some(blocks(text, |line| line.contains(", type "))),
                "cat /proc/slabinfo" => files.slabs = Some(slabs(text)),
                "cat /proc/vmallocinfo" => files.vmalloc = Some(vmalloc(text)),
                _ => {}
            }
        }
        files
    }

    /// The sum of lines of meminfo.
    fn mem(&self, names: &[&str]) -> Option<u64> {
        names.iter().map(|&name| self.meminfo.get(name).copied()).sum()
    }

    /// Pages that vmstat counts, in kB.
    fn pages(&self, name: &str) -> Option<u64> {
        Some(self.vmstat.get(name)? * PAGE)
    }

    /// What, two ways to get it, and by how much they may differ.
    fn equations(&self) -> Vec<(&'static str, Option<u64>, Option<u64>, u64)> {
        let mem = |names: &[&str]| self.mem(names);
        vec![
            ("MemTotal and managed", mem(&["MemTotal"]), self.managed, 0),
            ("MemTotal and LowTotal + HighTotal", mem(&["MemTotal"]), mem(&["LowTotal", "HighTotal"]), 0),
            ("MemFree and LowFree + HighFree", mem(&["MemFree"]), mem(&["LowFree", "HighFree"]), 0),
            ("Slab and its two parts", mem(&["Slab"]), mem(&["SReclaimable", "SUnreclaim"]), 0),
            ("Active and its two parts", mem(&["Active"]), mem(&["Active(anon)", "Active(file)"]), 0),
            ("MemFree and buddyinfo", mem(&["MemFree"]), self.buddy, SLACK),
            ("buddyinfo and pagetypeinfo", self.buddy, self.types, SLACK),
            ("Slab and slabinfo", mem(&["Slab"]), self.slabs, SLACK),
            ("VmallocUsed and vmallocinfo", mem(&["VmallocUsed"]), self.vmalloc, 0),
            ("MemFree and nr_free_pages", mem(&["MemFree"]), self.pages("nr_free_pages"), SLACK),
            (
                "SUnreclaim and nr_slab_unreclaimable",
                mem(&["SUnreclaim"]),
                self.pages("nr_slab_unreclaimable"),
                SLACK,
            ),
            (
                "SReclaimable and nr_slab_reclaimable",
                mem(&["SReclaimable"]),
                self.pages("nr_slab_reclaimable"),
                SLACK,
            ),
            (
                "PageTables and nr_page_table_pages",
                mem(&["PageTables"]),
                self.pages("nr_page_table_pages"),
                0,
            ),
            ("AnonPages and nr_anon_pages", mem(&["AnonPages"]), self.pages("nr_anon_pages"), 0),
            (
                "KernelStack and nr_kernel_stack",
                mem(&["KernelStack"]),
                self.vmstat.get("nr_kernel_stack").copied(),
                0,
            ),
            ("CmaFree and nr_free_cma", mem(&["CmaFree"]), self.pages("nr_free_cma"), SLACK),
        ]
    }
}

/// Every sum that does not come out, and every file that is lacking.
pub fn wrong(report: &Report) -> Vec<String> {
    let compare = |(what, one, other, slack)| match (one, other) {
        (Some(one), Some(other)) if u64::abs_diff(one, other) <= slack => None,
        (Some(one), Some(other)) => Some(format!("{what} differ: {one} kB and {other} kB")),
        _ => Some(format!("{what}: not to be found")),
    };
    Files::of(report).equations().into_iter().filter_map(compare).collect()
}

/// What is wrong with the RAM that the kernel keeps: `ram` kB are there, at most `most` may not be in MemTotal, and the
/// memory map may take [`METADATA`] bytes a page.
pub fn keeps_more(report: &Report, ram: u64, most: u64) -> Option<String> {
    let Some((kept, bytes, present)) = kept_and_metadata(report, ram) else {
        return Some("what the kernel keeps: not to be found".to_owned());
    };
    if kept > most {
        Some(format!("the kernel keeps {kept} kB, at most {most} are allowed"))
    } else if bytes > METADATA * present + PAGE * 1024 {
        Some(format!("{bytes} bytes of metadata for {present} pages"))
    } else {
        None
    }
}

/// Of `ram` kB, those that are not in MemTotal; bytes of metadata, and the pages that they are for.
fn kept_and_metadata(report: &Report, ram: u64) -> Option<(u64, u64, u64)> {
    let files = Files::of(report);
    let kept = ram.checked_sub(files.mem(&["MemTotal"])?)?;
    let present = files.present? / PAGE;
    let total =
        report.log.lines().find_map(|line| line.split("Total pages: ").nth(1)?.trim().parse::<u64>().ok())?;
    Some((kept, present.checked_sub(total)? * PAGE * 1024, present))
}

/// How much the line `name` of the answer of step `at` is above that of step `since`.
pub fn grown(report: &Report, name: &str, since: usize, at: usize) -> Option<i64> {
    let value = |step: usize| Some(field(&report.answers.get(step)?.output, name) as i64);
    Some(value(at)? - value(since)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qemu::session::{Answer, Outcome};

    fn report(answers: &[(&str, &str)]) -> Report {
        let answer = |&(command, output): &(&str, &str)| Answer {
            command: command.into(),
            output: output.into(),
            status: Some(0),
        };
        Report {
            outcome: Outcome::Success,
            log: "Built 1 zonelists in Zone order, mobility grouping on.  Total pages: 32640\n".into(),
            answers: answers.iter().map(answer).collect(),
        }
    }

    #[test]
    fn numbers_of_each_file() {
        assert_eq!(numbers("MemTotal:  12 kB\nnr_x 3\n\n# text\n").len(), 2);
        assert_eq!(field("  present  5\nx 1\n  present 7\n", "present"), 12);
        assert_eq!(blocks("Node 0, zone Normal 1 2 0 0 0 0 0 0 0 0 1\n", |_| true), (1 + 4 + 1024) * 4);
        let slab = "kmalloc-8 12 504 8 504 2 : tunables 0 0 0 : slabdata 1 3 0\n# name\n";
        assert_eq!(slabs(slab), 3 * 2 * 4);
        assert_eq!(vmalloc("0xc8-0xc9 8192 x pages=1 vmalloc\n0xca-0xcb 8192 phys=0x1 ioremap\n"), 4);
    }

    #[test]
    fn a_sum_that_is_off_is_named() {
        let meminfo = "MemTotal: 100 kB\nLowTotal: 96 kB\nHighTotal: 0 kB\n";
        let wrong =
            wrong(&report(&[("cat /proc/meminfo", meminfo), ("cat /proc/zoneinfo", " managed 25\n")]));
        assert!(wrong.contains(&"MemTotal and LowTotal + HighTotal differ: 100 kB and 96 kB".to_owned()));
        assert!(wrong.contains(&"Slab and slabinfo: not to be found".to_owned()));
        assert!(!wrong.iter().any(|line| line.starts_with("MemTotal and managed")));
    }

    #[test]
    fn what_the_kernel_keeps() {
        let files =
            [("cat /proc/meminfo", "MemTotal: 129600 kB\n"), ("cat /proc/zoneinfo", " present 32768\n")];
        assert_eq!(keeps_more(&report(&files), 131_072, 1472), None);
        assert!(
            keeps_more(&report(&files), 131_072, 1471).is_some_and(|line| line.contains("keeps 1472 kB"))
        );
        let more = [files[0], ("cat /proc/zoneinfo", " present 32780\n")];
        assert!(keeps_more(&report(&more), 131_072, 1536).is_some_and(|line| line.contains("of metadata")));
    }

    #[test]
    fn what_was_not_measured_is_wrong() {
        let total = ("cat /proc/meminfo", "MemTotal: 129600 kB\n");
        let fewer_present_than_in_zones = [total, ("cat /proc/zoneinfo", " present 1\n")];
        let no_log =
            Report { log: String::new(), ..report(&[total, ("cat /proc/zoneinfo", " present 32768\n")]) };
        for report in [report(&[]), report(&[total]), report(&fewer_present_than_in_zones), no_log] {
            let line = keeps_more(&report, 131_072, 1536);
            assert_eq!(line.as_deref(), Some("what the kernel keeps: not to be found"));
        }
    }

    #[test]
    fn growth_between_two_steps() {
        let steps = [("a", "MemTotal: 5 kB\n"), ("b", ""), ("a", "MemTotal: 9 kB\n")];
        assert_eq!(grown(&report(&steps), "MemTotal:", 0, 2), Some(4));
    }
}
