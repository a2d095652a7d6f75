//! memblock against a model that knows nothing of regions: one cell a unit of address space.

mod fixed;
mod grow;
mod model;
mod random;

use super::{Memblock, Region};
use types::{PhysAddr, PhysRange};

/// `[base, base + size)`.
fn range(base: u32, size: u32) -> PhysRange {
    PhysRange::new(PhysAddr::new(base), size)
}

/// A table as plain numbers: base, size, flags.
fn listing(table: &super::Table<'_>) -> std::vec::Vec<(u32, u32, u32)> {
    table.regions().iter().map(|r| (r.base, r.size, r.flags.bits())).collect()
}

/// Runs a test on a memblock with tables of this many entries.
fn with_memblock<R>(entries: usize, test: impl FnOnce(&mut Memblock<'_>) -> R) -> R {
    let mut memory = std::vec![Region::EMPTY; entries];
    let mut reserved = std::vec![Region::EMPTY; entries];
    test(&mut Memblock::new(&mut memory, &mut reserved))
}

/// A small generator (xorshift64*), so that a failing sequence is named by one number.
pub(super) struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * u64::from(limit)) >> 32) as u32
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.below(one_in) == 0
    }
}
