//! What requests of each size cost: exact extremes, and quantiles from buckets an eighth of an octave wide.

use core::fmt;

/// Classes of sizes: 1 page, 2, 3 to 4, 5 to 8, ... pages.
pub const CLASSES: usize = 18;
/// Costs below this share a bucket.
const LEAST: u32 = 6;
/// Buckets: eight for each power of two.
const BUCKETS: usize = (32 - LEAST as usize) * 8;

/// What a request did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Pages asked for.
    pub pages: u32,
    /// Nanoseconds; instructions where the machine counts them so.
    pub cost: u32,
    /// Pages moved.
    pub moved: u32,
    /// Stretches that were tried.
    pub attempts: u32,
}

/// The figures of the requests of some sizes.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    count: u32,
    least: u32,
    most: u32,
    moved: u64,
    moved_most: u32,
    attempts: u32,
    buckets: [u16; BUCKETS],
}

impl Class {
    /// Of no requests yet.
    pub const EMPTY: Self = Self {
        count: 0,
        least: u32::MAX,
        most: 0,
        moved: 0,
        moved_most: 0,
        attempts: 0,
        buckets: [0; BUCKETS],
    };
}

/// The figures of many requests, in memory that the caller provides. Displays as a table.
#[derive(Debug)]
pub struct Costs<'m> {
    classes: &'m mut [Class; CLASSES],
}

impl<'m> Costs<'m> {
    /// In these places, all [empty](Class::EMPTY).
    pub const fn new(classes: &'m mut [Class; CLASSES]) -> Self {
        Self { classes }
    }
}

/// The bucket of a cost.
const fn bucket(cost: u32) -> usize {
    let cost = if cost < 1 << LEAST { 1 << LEAST } else { cost };
    let octave = cost.ilog2();
    ((octave - LEAST) * 8 + (cost >> (octave - 3) & 7)) as usize
}

/// The largest cost in a bucket.
const fn ceiling(bucket: usize) -> u32 {
    let (octave, part) = (bucket as u32 / 8 + LEAST, bucket as u32 % 8);
    (((9 + part as u64) << (octave - 3)) - 1) as u32
}

impl Class {
    /// What `part` in a thousand cost no more than.
    fn quantile(&self, part: u32) -> u32 {
        let rank = (u64::from(self.count) * u64::from(part)).div_ceil(1000) as u32;
        let mut seen = 0;
        for (at, &count) in self.buckets.iter().enumerate() {
            seen += u32::from(count);
            if seen >= rank {
                return ceiling(at).min(self.most);
            }
        }
        self.most
    }
}

impl Costs<'_> {
    /// Adds a request that succeeded.
    pub fn add(&mut self, outcome: Outcome) {
        let class = outcome.pages.next_power_of_two().trailing_zeros() as usize;
        let class = &mut self.classes[class.min(CLASSES - 1)];
        class.count += 1;
        class.least = class.least.min(outcome.cost);
        class.most = class.most.max(outcome.cost);
        class.moved += u64::from(outcome.moved);
        class.moved_most = class.moved_most.max(outcome.moved);
        class.attempts = class.attempts.max(outcome.attempts);
        let there = &mut class.buckets[bucket(outcome.cost)];
        *there = there.saturating_add(1);
    }

    /// The most stretches that one request has tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.classes.iter().map(|class| class.attempts).max().unwrap_or(0)
    }

    /// Pages moved by all requests.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.classes.iter().map(|class| class.moved).sum()
    }
}

impl fmt::Display for Costs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>12} {:>7} {:>9} {:>9} {:>9} {:>9} {:>10} {:>8}",
            "up to", "times", "min", "p50", "p99", "max", "most moved", "attempts"
        )?;
        for (order, class) in self.classes.iter().enumerate().filter(|(_, class)| class.count > 0) {
            let (kib, p50, p99) = (4u32 << order, class.quantile(500), class.quantile(990));
            let Class { count, least, most, moved_most, attempts, .. } = class;
            let columns = format_args!("{count:>7} {least:>9} {p50:>9} {p99:>9} {most:>9}");
            writeln!(f, "{kib:>8} KiB {columns} {moved_most:>10} {attempts:>8}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::Random;
    use std::{format, vec::Vec};

    #[test]
    fn quantiles_are_an_eighth_of_an_octave_off_at_most() {
        let mut random = Random::new(3);
        let mut classes = [Class::EMPTY; CLASSES];
        let mut costs = Costs::new(&mut classes);
        let mut all: Vec<u32> = (0..5000).map(|_| random.size(20_000_000)).collect();
        for &cost in &all {
            costs.add(Outcome { pages: 200, cost, moved: cost % 201, attempts: 1 });
        }
        all.sort_unstable();
        let class = &costs.classes[8];
        for part in [1, 500, 990, 1000] {
            let exact = all[(all.len() * part as usize).div_ceil(1000) - 1];
            let found = class.quantile(part);
            assert!(found >= exact && found - exact <= (exact / 8).max(71), "{part}: {found} for {exact}");
        }
        assert_eq!((class.least, class.most), (all[0], all[all.len() - 1]));
        assert_eq!(costs.moved(), all.iter().map(|&cost| u64::from(cost % 201)).sum());
    }

    #[test]
    fn every_cost_has_a_bucket_that_holds_it() {
        for cost in (0..32).flat_map(|shift| [1u32 << shift, (1 << shift) - 1, u32::MAX >> shift]) {
            assert!(ceiling(bucket(cost)) >= cost, "{cost}");
            assert!(bucket(cost) == 0 || ceiling(bucket(cost) - 1) < cost, "{cost}");
        }
    }

    #[test]
    fn sizes_go_to_their_class() {
        let mut classes = [Class::EMPTY; CLASSES];
        let mut costs = Costs::new(&mut classes);
        for (pages, cost) in [(1, 700), (3, 800), (4, 900), (2048, 2_000_000)] {
            costs.add(Outcome { pages, cost, moved: pages, attempts: 1 });
        }
        let text = format!("{costs}");
        let rows: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 3, "{text}");
        assert_eq!(rows[0], ["4", "KiB", "1", "700", "700", "700", "700", "1", "1"]);
        assert_eq!(rows[1][..4], ["16", "KiB", "2", "800"]);
        assert_eq!(rows[2][..3], ["8192", "KiB", "1"]);
        assert_eq!(costs.attempts(), 1);
    }
}
