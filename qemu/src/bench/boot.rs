//! `bench boot`: what it costs to come up.
//!
//! Under `--icount` one instruction takes one nanosecond of guest time, and the guest's clock starts with its
//! reset; so the time stamp of the `Memory:` line is the number of instructions up to it. The stamp is in
//! microseconds: the count is exact to 1,000 instructions. Sizes are those of the ELF file's sections.

use std::fmt;
use std::fs;
use std::time::Duration;

use super::grouped;
use crate::board::Board;
use crate::elf::{self, Sizes};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::plan::Plan;
use crate::request::Request;
use crate::run::{Inputs, run};
use crate::session::{Outcome, Purpose, Report};

/// The most instructions from reset to the `Memory:` line.
const MAX_INSTRUCTIONS: u64 = 1_500_000;
/// The most bytes of text, data and BSS.
const MAX_BYTES: u64 = 512 << 10;
const TIMEOUT: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootCost {
    /// From reset to the `Memory:` line, in steps of 1,000; `None` if that line did not come.
    pub instructions: Option<u64>,
    /// Of the image.
    pub sizes: Sizes,
}

/// Boots `board` once and measures.
///
/// # Errors
/// When it can't be booted.
pub fn boot(board: Board, image: &Image) -> Result<(BootCost, Outcome)> {
    let bytes = fs::read(&image.elf).map_err(Error::file("read", &image.elf))?;
    let bad_image = |reason| Error::BadImage { file: image.elf.clone(), reason };
    let sizes = elf::sizes(&bytes).map_err(bad_image)?;
    let request = Request { icount: true, once: true, devices: false, ..Request::new(board) };
    let plan = Plan::new(request)?;
    let Report { outcome, log, .. } =
        run(&plan, image, Purpose::Commands(&[]), Some(TIMEOUT), &mut (), Inputs::default())?;
    Ok((BootCost { instructions: instructions(&log), sizes }, outcome))
}

/// The time stamp of the `Memory:` line, in nanoseconds.
fn instructions(log: &str) -> Option<u64> {
    let line = log.lines().find(|line| line.contains("] Memory: "))?;
    let stamp = line.split(']').next()?.trim_start_matches('[').trim();
    let (seconds, micros) = stamp.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    Some(seconds * 1_000_000_000 + micros.parse::<u64>().ok()? * 1_000)
}

impl BootCost {
    /// Whether both targets are met. A stamp of zero is a clock that did not run.
    pub fn met(&self) -> bool {
        self.instructions.is_some_and(|count| (1..=MAX_INSTRUCTIONS).contains(&count))
            && self.sizes.total() <= MAX_BYTES
    }
}

impl fmt::Display for BootCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes { text, data, bss } = self.sizes;
        let count = self.instructions.map_or("not seen".to_owned(), grouped);
        let (max_count, max_bytes) = (grouped(MAX_INSTRUCTIONS), grouped(MAX_BYTES));
        writeln!(f, "{:<44}{:>12}{:>12}", "boot", "measured", "at most")?;
        writeln!(f, "{:<44}{count:>12}{max_count:>12}", "instructions, reset to Memory: (+-1,000)")?;
        writeln!(f, "{:<44}{:>12}", "text with rodata, bytes", grouped(text))?;
        writeln!(f, "{:<44}{:>12}", "data, bytes", grouped(data))?;
        writeln!(f, "{:<44}{:>12}", "bss, bytes", grouped(bss))?;
        write!(f, "{:<44}{:>12}{max_bytes:>12}", "text, data and bss, bytes", grouped(self.sizes.total()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_of_the_memory_line_counts() {
        let log = "[    0.000100] Booting\n[    0.001499] Memory: 96736K/113664K available\n[    2.5] x\n";
        assert_eq!(instructions(log), Some(1_499_000));
        assert_eq!(instructions("[    1.000002] Memory: 1K"), Some(1_000_002_000));
        assert_eq!(instructions("[    0.000100] Booting\n"), None);
        assert_eq!(instructions("[ odd ] Memory: 1K"), None);
    }

    #[test]
    fn targets_and_numbers() {
        let cost = |instructions, bss| BootCost { instructions, sizes: Sizes { text: 1, data: 2, bss } };
        assert!(cost(Some(1_500_000), (512 << 10) - 3).met());
        assert!(!cost(Some(1_500_001), 0).met());
        assert!(!cost(Some(1_000), 512 << 10).met());
        assert!(!cost(Some(0), 0).met() && !cost(None, 0).met());
        let text = cost(Some(1_234_000), 999).to_string();
        assert!(text.contains("1,234,000   1,500,000") && text.contains("1,002     524,288"), "{text}");
    }
}
