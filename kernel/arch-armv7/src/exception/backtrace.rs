//! Who called whom, by following frame records.
//!
//! With `-C force-frame-pointers` each Thumb function keeps r7 pointing at a record on its stack: the caller's r7 and,
//! four bytes above, the address it returns to, whose bit 0 says Thumb. start.S makes the oldest record pointer 0.
//! Functions in ARM state make no such records; as r7 belongs to their callers, the chain passes over them.
//!
//! ```text
//! r7 ─▶ │ r7 of the caller │ return address │        addresses grow ─▶
//!               └─────────────▶ │ r7 │ return address │
//! ```
//!
//! A record is believed only when it is a multiple of four, lies above the one before, and can be read.

/// Most addresses of a report.
const LIMIT: usize = 32;

/// Return addresses, the innermost first.
pub struct Backtrace<R> {
    fp: u32,
    left: usize,
    read: R,
}

impl<R: FnMut(u32) -> Option<u32>> Backtrace<R> {
    /// From the record at `fp`; `read` gives the word at an address, or `None` where there is no memory.
    pub const fn new(fp: u32, read: R) -> Self {
        Self { fp, left: LIMIT, read }
    }
}

impl<R: FnMut(u32) -> Option<u32>> Iterator for Backtrace<R> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let fp = self.fp;
        if fp == 0 || !fp.is_multiple_of(4) || self.left == 0 {
            return None;
        }
        let caller = (self.read)(fp)?;
        let address = (self.read)(fp.checked_add(4)?)?;
        self.left -= 1;
        self.fp = if caller > fp { caller } else { 0 };
        (address != 0).then_some(address & !1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    fn walk(fp: u32, words: &[(u32, u32)]) -> Vec<u32> {
        let memory: BTreeMap<u32, u32> = words.iter().copied().collect();
        Backtrace::new(fp, |addr| memory.get(&addr).copied()).collect()
    }

    #[test]
    fn follows_the_chain_to_its_end() {
        let stack = [(0x100, 0x120), (0x104, 11), (0x120, 0x200), (0x124, 20), (0x200, 0), (0x204, 31)];
        assert_eq!(walk(0x100, &stack), [10, 20, 30], "without the Thumb bit");
        assert_eq!(walk(0x120, &stack), [20, 30]);
        assert_eq!(walk(0, &stack), []);
    }

    #[test]
    fn a_broken_chain_ends_it() {
        assert_eq!(walk(0x100, &[(0x100, 0x100), (0x104, 10)]), [10], "a loop");
        assert_eq!(walk(0x100, &[(0x100, 0x80), (0x104, 10), (0x80, 0), (0x84, 20)]), [10], "downwards");
        assert_eq!(walk(0x100, &[(0x100, 0x121), (0x104, 10)]), [10], "no multiple of four");
        assert_eq!(walk(0x100, &[(0x100, 0x200), (0x104, 10)]), [10], "into nowhere");
        assert_eq!(walk(0x100, &[(0x100, 0x200)]), [], "half a record");
        assert_eq!(walk(u32::MAX - 3, &[(u32::MAX - 3, 0)]), [], "the end of the space");
    }

    #[test]
    fn an_endless_chain_ends() {
        let addresses = Backtrace::new(4, |addr| Some(if addr % 8 == 4 { addr + 8 } else { 7 }));
        assert_eq!(addresses.count(), LIMIT);
    }
}
