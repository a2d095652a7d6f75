//! A bitmap of pages over words that the caller owns.

/// One bit a page; 1 is taken.
#[derive(Debug)]
pub struct Bitmap<'a> {
    words: &'a mut [u32],
    bits: u32,
    free: u32,
}

impl<'a> Bitmap<'a> {
    /// Words that a bitmap of `bits` takes.
    #[must_use]
    pub const fn words(bits: u32) -> usize {
        bits.div_ceil(32) as usize
    }

    /// An empty bitmap of `bits`; `None` when there are too few words.
    #[must_use]
    pub fn new(words: &'a mut [u32], bits: u32) -> Option<Self> {
        let words = words.get_mut(..Self::words(bits))?;
        words.fill(0);
        Some(Self { words, bits, free: bits })
    }

    /// Bits.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.bits
    }

    /// Whether there are no bits at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Bits that are 0.
    #[must_use]
    pub const fn free(&self) -> u32 {
        self.free
    }

    /// The words that `[start, start + count)` touches, with a mask of its bits in each.
    fn masks(start: u32, count: u32) -> impl Iterator<Item = (usize, u32)> {
        let end = start + count;
        (start / 32..if count == 0 { 0 } else { end.div_ceil(32) }).map(move |word| {
            let (from, to) = (start.max(word * 32) % 32, end.min(word * 32 + 32) - word * 32);
            (word as usize, (u32::MAX >> (32 - (to - from))) << from)
        })
    }

    /// Takes the first free run of `count` bits that begins at a multiple of the power of two `align`.
    #[inline]
    pub fn take(&mut self, count: u32, align: u32) -> Option<u32> {
        if (1..=align).contains(&count) && align <= u32::BITS {
            self.take_in_word(count, align)
        } else {
            self.take_any(count, align)
        }
    }

    /// The same for runs that never cross words.
    #[inline]
    fn take_in_word(&mut self, count: u32, align: u32) -> Option<u32> {
        let run = u32::MAX >> (u32::BITS - count);
        for (index, word) in self.words.iter_mut().enumerate() {
            let Some(bit) = fit(*word, run, align) else { continue };
            let start = index as u32 * u32::BITS + bit;
            if start + count > self.bits {
                return None;
            }
            *word |= run << bit;
            self.free -= count;
            return Some(start);
        }
        None
    }

    #[inline(never)]
    fn take_any(&mut self, count: u32, align: u32) -> Option<u32> {
        let last = self.bits.checked_sub(count).filter(|_| count > 0)?;
        let is_free =
            |&start: &u32| Self::masks(start, count).all(|(word, mask)| self.words[word] & mask == 0);
        let start = (0..=last).step_by(align as usize).find(is_free)?;
        Self::masks(start, count).for_each(|(word, mask)| self.words[word] |= mask);
        self.free -= count;
        Some(start)
    }

    /// Gives `count` bits back; whether all of them were taken. Nothing changes if not.
    #[inline]
    pub fn give_back(&mut self, start: u32, count: u32) -> bool {
        let bit = start % u32::BITS;
        match self.words.get_mut((start / u32::BITS) as usize) {
            Some(word) if count > 0 && count <= u32::BITS - bit => {
                // Bits behind the last one are never taken.
                let run = u32::MAX >> (u32::BITS - count) << bit;
                let taken = *word & run == run;
                if taken {
                    *word &= !run;
                    self.free += count;
                }
                taken
            }
            _ => self.give_back_any(start, count),
        }
    }

    #[inline(never)]
    fn give_back_any(&mut self, start: u32, count: u32) -> bool {
        let taken = start.checked_add(count).is_some_and(|end| end <= self.bits)
            && Self::masks(start, count).all(|(word, mask)| self.words[word] & mask == mask);
        if taken {
            self.free += count;
            Self::masks(start, count).for_each(|(word, mask)| self.words[word] &= !mask);
        }
        taken
    }
}

/// The first multiple of `align` at which `word` has none of the bits of `run`, of which there are at most `align`.
#[inline]
fn fit(word: u32, run: u32, align: u32) -> Option<u32> {
    let mut at = 0;
    while at < u32::BITS {
        at = (at + (word >> at).trailing_ones() + (align - 1)) & !(align - 1);
        let taken = word.checked_shr(at)? & run;
        if taken == 0 {
            return Some(at);
        }
        at += u32::BITS - taken.leading_zeros();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(testkit::cases(200, 8))]

        #[test]
        fn against_a_set(bits in 1..130u32, steps in prop::collection::vec((any::<bool>(), 0..140u32, 0..40u32, 0..6u32), 1..60)) {
            let mut words = [u32::MAX; 5];
            let mut bitmap = Bitmap::new(&mut words, bits).unwrap();
            let mut taken = BTreeSet::new();
            for (take, start, count, align) in steps {
                if take {
                    let align = 1 << align;
                    let fits = |s: &u32| s + count <= bits && (*s..s + count).all(|bit| !taken.contains(&bit));
                    let expected = (0..bits).step_by(align as usize).find(fits).filter(|_| count > 0);
                    prop_assert_eq!(bitmap.take(count, align), expected);
                    expected.into_iter().for_each(|s| taken.extend(s..s + count));
                } else {
                    let whole = start + count <= bits && (start..start + count).all(|bit| taken.contains(&bit));
                    prop_assert_eq!(bitmap.give_back(start, count), whole);
                    if whole {
                        taken.retain(|bit| !(start..start + count).contains(bit));
                    }
                }
                prop_assert_eq!(bitmap.free(), bits - taken.len() as u32);
            }
        }
    }

    #[test]
    fn too_few_words() {
        assert!(Bitmap::new(&mut [0], 33).is_none());
        assert!(Bitmap::new(&mut [], 0).is_some_and(|bitmap| bitmap.is_empty()));
    }
}
