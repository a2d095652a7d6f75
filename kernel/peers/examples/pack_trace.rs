//! Packs a recording from standard input to standard output, as `src/heap/boot.trace` was made.
//!
//! A line an operation: the object's address in hexadecimal, and its size in bytes, 0 for a free. To record, let the
//! kernel's global allocator (`kernel/src/heap.rs`) print such lines.

use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let recorded = text.lines().filter_map(|line| {
        let (address, size) = line.split_once(' ')?;
        Some((u64::from_str_radix(address, 16).ok()?, size.trim().parse().ok()?))
    });
    std::io::stdout().write_all(&peers::heap::pack(recorded))
}
