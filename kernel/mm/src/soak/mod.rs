//! What a soak test needs beside the thing it tests: chance, a judge, and figures.
//!
//! ```text
//! Random ─▶ what to do next
//! Promise ─▶ whether a request for contiguous pages must succeed     (independent of `cma` and `pages`)
//! Costs  ─▶ what the requests cost, by their size
//! ```

mod costs;
mod promise;

pub use costs::{CLASSES, Class, Costs, Outcome};
pub use promise::{Promise, Verdict};

use types::xorshift;

/// Marsaglia's xorshift: the same numbers for the same seed.
#[derive(Clone, Copy, Debug)]
pub struct Random(u32);

impl Random {
    /// From a seed; 0, which the generator can't leave, is another one.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        Self(if seed == 0 { 0x2545_f491 } else { seed })
    }

    /// The next number.
    pub const fn next(&mut self) -> u32 {
        self.0 = xorshift(self.0);
        self.0
    }

    /// A number below `end`, which is not 0.
    pub const fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }

    /// From 1 to `most`, each order of magnitude as likely as the others.
    pub const fn size(&mut self, most: u32) -> u32 {
        let order = self.below(most.ilog2() + 1);
        let size = (1 << order) + self.below(1 << order);
        if size > most { most } else { size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_all_magnitudes() {
        let mut random = Random::new(0);
        let (mut small, mut whole) = (0, 0);
        for _ in 0..10_000 {
            let size = random.size(1984);
            assert!((1..=1984).contains(&size));
            small += u32::from(size < 4);
            whole += u32::from(size == 1984);
        }
        assert!(small > 1000 && whole > 10, "{small} {whole}");
    }
}
