//! The judge of CMA's promise: a plain bitmap of the pages that can't move, and arithmetic.
//!
//! A request must succeed when a stretch has only pages that are free or can move, and when there is room elsewhere:
//! of `f` free pages, `n - m` are in a stretch of `n` with `m` to be moved, so `f - (n - m) >= m`, which is `f >= n`.

/// Free pages that somebody else may take while the request runs: interrupts, per-CPU lists.
const SLACK: u32 = 96;

/// What has to become of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The promise covers it.
    Must,
    /// It may fail for want of room elsewhere.
    May,
    /// There is no stretch for it.
    Cannot,
}

/// An area, by numbers of pages.
#[derive(Debug)]
pub struct Promise<'b> {
    base: u32,
    count: u32,
    /// A bit for each page: taken or pinned.
    fixed: &'b mut [u32],
}

impl<'b> Promise<'b> {
    /// An area of `count` pages from number `base` on, in which all can move; `bits` has a bit for each, all clear.
    #[must_use]
    pub fn new(base: u32, count: u32, bits: &'b mut [u32]) -> Self {
        assert!(bits.len() * 32 >= count as usize, "a bit for each page");
        Self { base, count, fixed: bits }
    }

    fn is_fixed(&self, at: u32) -> bool {
        self.fixed[(at / 32) as usize] >> (at % 32) & 1 == 1
    }

    /// From now on `count` pages from `pfn` on can't move, or can again. Pages outside of the area don't matter.
    /// How many of them were like that already: 0 when nobody has made a mistake.
    #[must_use]
    pub fn set(&mut self, pfn: u32, count: u32, fixed: bool) -> u32 {
        let mut wrong = 0;
        for page in pfn..pfn + count {
            let at = page.wrapping_sub(self.base);
            if at < self.count {
                wrong += u32::from(self.is_fixed(at) == fixed);
                let bit = 1 << (at % 32);
                let word = &mut self.fixed[(at / 32) as usize];
                *word = if fixed { *word | bit } else { *word & !bit };
            }
        }
        wrong
    }

    /// Whether `count` pages at a multiple of 2^`align` can all move.
    #[must_use]
    pub fn fits(&self, count: u32, align: u8) -> bool {
        let unit = 1u32 << align;
        let up = |at: u32| (self.base + at).next_multiple_of(unit) - self.base;
        let mut start = up(0);
        while start + count <= self.count {
            match (start..start + count).rev().find(|&at| self.is_fixed(at)) {
                None => return true,
                Some(at) => start = up(at + 1),
            }
        }
        false
    }

    /// What has to become of a request, when movable pages could take `room` pages more.
    #[must_use]
    pub fn verdict(&self, count: u32, align: u8, room: u32) -> Verdict {
        if !self.fits(count, align) {
            Verdict::Cannot
        } else if room >= count + SLACK {
            Verdict::Must
        } else {
            Verdict::May
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::Random;
    use std::vec::Vec;

    #[test]
    fn agrees_with_looking_at_every_place() {
        let mut random = Random::new(7);
        for _ in 0..300 {
            let (base, count) = (random.below(50), 1 + random.below(200));
            let mut bits = [0; 8];
            let mut promise = Promise::new(base, count, &mut bits);
            let mut plain: Vec<bool> = (0..count).map(|_| false).collect();
            for _ in 0..random.below(12) {
                let (at, len) = (random.below(count), random.size(16));
                for page in at..(at + len).min(count) {
                    assert_eq!(promise.set(base + page, 1, true) == 1, plain[page as usize]);
                    plain[page as usize] = true;
                }
            }
            for (len, align) in [(1, 0), (3, 1), (16, 4), (40, 2), (count, 0)] {
                let free = |at: u32| (at..at + len).all(|page| !plain[page as usize]);
                let fits = |at: &u32| (base + at).is_multiple_of(1 << align) && free(*at);
                let want = len <= count && (0..=count - len).any(|at| fits(&at));
                assert_eq!(promise.fits(len, align), want, "{len} at 2^{align} of {plain:?} from {base}");
                let verdict = if want { Verdict::Must } else { Verdict::Cannot };
                assert_eq!(promise.verdict(len, align, len + SLACK), verdict);
                let verdict = if want { Verdict::May } else { Verdict::Cannot };
                assert_eq!(promise.verdict(len, align, len), verdict);
            }
        }
    }

    #[test]
    fn mistakes_are_counted() {
        let mut bits = [0; 1];
        let mut promise = Promise::new(100, 20, &mut bits);
        assert_eq!(promise.set(105, 4, true), 0);
        assert_eq!(promise.set(107, 4, true), 2);
        assert_eq!(promise.set(90, 10, true), 0, "outside");
        assert_eq!(promise.set(105, 7, false), 1);
    }
}
