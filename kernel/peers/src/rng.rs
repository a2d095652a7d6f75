//! Random numbers that are the same on every machine (Marsaglia, "Xorshift RNGs", 2003).

use alloc::vec::Vec;
use types::xorshift;

/// A 32-bit xorshift.
#[derive(Clone, Debug)]
pub struct Rng(u32);

impl Rng {
    /// The sequence of `seed`.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 = xorshift(self.0);
        ((u64::from(self.0) * u64::from(limit)) >> 32) as u32
    }

    /// Brings `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }

    /// `0..count` in a random order.
    #[must_use]
    pub fn order(&mut self, count: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_each_number_once_and_is_not_sorted() {
        let mut order = Rng::new(1).order(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_stay_below_their_limit_and_reach_it() {
        let mut rng = Rng::new(7);
        let seen: Vec<u32> = (0..1000).map(|_| rng.below(10)).collect();
        assert!((0..10).all(|number| seen.contains(&number)) && seen.iter().all(|&number| number < 10));
    }
}
