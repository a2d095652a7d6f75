//! `bench`: what the kernel's calls cost, in instructions, beside Linux's figures and our targets.
//!
//! ```text
//! run       boots images under --icount ─▶ lines of the bench package ─▶ results::Row
//! figures   qemu/bench/figures.toml: targets, Linux, floors, why a target is missed
//! table     rows and figures, for people        check   rows and earlier ones: what got worse
//! peers     rows of Contig beside other allocators, as matrices
//! scale     machines of many sizes, whose rows become plots: svg
//! page      all of it as a page of the documentation
//! boot      `bench boot`: reset to the Memory: line, and sizes
//! ```
//! Everything counts instructions of the guest (`-icount shift=0`), so it is the same on every machine; no cache or memory
//! cost is in it.

pub mod boot;
pub mod check;
pub mod command;
pub mod figures;
pub mod page;
pub mod peers;
pub mod results;
pub mod run;
pub mod scale;
pub mod svg;
pub mod table;

pub use boot::{BootCost, boot};

/// The board on which it is measured, if none is named.
pub const DEFAULT_BOARD: &str = "vexpress-a7";

/// `number` with a comma every three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_come_in_threes() {
        for (number, text) in [(0, "0"), (100, "100"), (1000, "1,000"), (13_300_000, "13,300,000")] {
            assert_eq!(grouped(number), text);
        }
    }
}
