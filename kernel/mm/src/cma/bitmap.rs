//! A bitmap over the caller's memory, searched a word at a time.

/// One bit for 2^order_per_bit pages; set: a driver has them.
#[derive(Debug, Default)]
pub(crate) struct Bitmap<'m> {
    words: &'m mut [u32],
    bits: u32,
    /// Words from the first on that have no zero bit: a search for one need not look at them.
    full: u32,
}

const WORD: u32 = u32::BITS;
/// Words that are looked at together.
const CHUNK: usize = 8;

impl<'m> Bitmap<'m> {
    /// Words for that many bits.
    pub(crate) const fn words_for(bits: u32) -> usize {
        bits.div_ceil(WORD) as usize
    }

    /// All zero. `words` holds at least [`Bitmap::words_for`] `bits`.
    pub(crate) fn new(words: &'m mut [u32], bits: u32) -> Self {
        words.fill(0);
        Self { words, bits, full: 0 }
    }

    pub(crate) fn words(&self) -> &[u32] {
        &self.words[..Self::words_for(self.bits)]
    }

    /// Sets or clears `[start, start + count)`.
    #[inline]
    pub(crate) fn assign(&mut self, start: u32, count: u32, set: bool) {
        let (first, bit) = (start / WORD, start % WORD);
        if bit + count < WORD {
            let mask = !(u32::MAX << count) << bit;
            self.blend(first as usize, mask, set);
        } else {
            self.assign_words(start, start + count, set);
        }
        if !set {
            self.full = self.full.min(first);
        }
    }

    #[inline(never)]
    fn assign_words(&mut self, start: u32, end: u32, set: bool) {
        let (first, last) = ((start / WORD) as usize, (end / WORD) as usize);
        self.blend(first, u32::MAX << (start % WORD), set);
        if let Some(whole) = self.words.get_mut(first + 1..last) {
            // With constants, each of these is a memset.
            if set { whole.fill(u32::MAX) } else { whole.fill(0) }
        }
        self.blend(last, !(u32::MAX << (end % WORD)), set);
    }

    /// Sets or clears the bits of `mask` in a word; there may be no such word when there are no such bits.
    #[inline]
    fn blend(&mut self, word: usize, mask: u32, set: bool) {
        if let Some(word) = self.words.get_mut(word) {
            *word = if set { *word | mask } else { *word & !mask };
        }
    }

    /// The first bit at or above `start` that is `set`, below `end`; `end` when there is none.
    #[inline]
    fn find(&self, start: u32, end: u32, set: bool) -> u32 {
        let skip = if set { 0 } else { u32::MAX };
        let first = (start / WORD) as usize;
        let words = self.words.get(first..Self::words_for(end)).unwrap_or(&[]);
        let Some((word, rest)) = words.split_first() else { return end };
        let wanted = (word ^ skip) >> (start % WORD);
        if wanted != 0 {
            return (start + wanted.trailing_zeros()).min(end);
        }
        match rest.is_empty() {
            true => end,
            false => Self::find_beyond(rest, (first as u32 + 1) * WORD, skip).min(end),
        }
    }

    /// The first bit in `words` that differs from those of `skip`, counted from `base`; `u32::MAX` when there is none.
    #[inline(never)]
    fn find_beyond(words: &[u32], base: u32, skip: u32) -> u32 {
        let mut at = 0;
        // Long runs are passed some words at a time.
        for chunk in words.chunks_exact(CHUNK) {
            if chunk.iter().fold(0, |differ, word| differ | (word ^ skip)) != 0 {
                break;
            }
            at += CHUNK;
        }
        let rest = words[at..].iter().position(|&word| word != skip);
        rest.map_or(u32::MAX, |nth| {
            let differ = words[at + nth] ^ skip;
            base + (at + nth) as u32 * WORD + differ.trailing_zeros()
        })
    }

    /// The first zero bit.
    #[inline(always)]
    fn first_zero(&self) -> Option<u32> {
        let word = self.words.get(self.full as usize)?;
        Some(self.full * WORD + word.trailing_ones()).filter(|&zero| zero < self.bits)
    }

    /// The first `count` zero bits, at a place that with `offset` added is a multiple of `mask` + 1.
    #[inline(always)]
    pub(crate) fn first_fit(&mut self, count: u32, mask: u32, offset: u32) -> Option<u32> {
        while self.words.get(self.full as usize) == Some(&u32::MAX) {
            self.full += 1;
        }
        if count == 1 && mask == 0 { self.first_zero() } else { self.fit_from((0, 0), count, mask, offset) }
    }

    /// As [`Bitmap::first_fit`], at or above `start`, for a caller who knows that the bits from `start` to `clear` are
    /// zero: they are not looked at again, so going from one place to the next costs what is new in it, however long both
    /// are.
    #[inline(never)]
    pub(crate) fn fit_from(
        &self,
        (start, clear): (u32, u32),
        count: u32,
        mask: u32,
        offset: u32,
    ) -> Option<u32> {
        let mut start = start.max(self.full * WORD);
        loop {
            let zero = self.find(start, self.bits, false);
            let place = (zero.checked_add(offset)?.checked_add(mask)? & !mask).checked_sub(offset)?;
            let end = place.checked_add(count).filter(|&end| end <= self.bits)?;
            let set = self.find(place.max(clear), end, true);
            if set == end {
                return Some(place);
            }
            start = set + 1;
        }
    }

    /// The runs of zero bits: first bit and length.
    pub(crate) fn zero_runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let start = self.find(at, self.bits, false);
            let end = self.find(start, self.bits, true);
            at = end;
            (start < self.bits).then(|| (start, end - start))
        })
    }

    /// Bits that are set.
    pub(crate) fn count(&self) -> u32 {
        self.words().iter().map(|word| word.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    /// The search as spec section 5 words it, over a plain vector.
    fn model_fit(model: &[bool], start: usize, count: usize, mask: usize, offset: usize) -> Option<u32> {
        (start..model.len())
            .find(|&at| {
                (at + offset) & mask == 0
                    && at + count <= model.len()
                    && !model[at..at + count].contains(&true)
            })
            .map(|at| at as u32)
    }

    /// A page that comes and goes in a hole below a large buffer doesn't lead past the buffer each time.
    #[test]
    fn a_hole_is_found_where_it_was() {
        let mut words = [0; 64];
        let mut bitmap = Bitmap::new(&mut words, 64 * WORD);
        bitmap.assign(0, 63 * WORD, true);
        bitmap.assign(3, 1, false);
        for _ in 0..2 {
            assert_eq!(bitmap.first_fit(1, 0, 0), Some(3));
            bitmap.assign(3, 1, true);
            assert_eq!(bitmap.full, 0, "nobody searches beyond");
            bitmap.assign(3, 1, false);
        }
        bitmap.assign(3, 1, true);
        assert_eq!(bitmap.first_fit(1, 0, 0), Some(63 * WORD));
        assert_eq!(bitmap.full, 63);
    }

    proptest! {
        #![proptest_config(crate::pages::tests::world::proptest_config(256))]
        #[test]
        fn agrees_with_a_vector_of_bools(
            bits in 1..200u32,
            ops in prop::collection::vec((0..200u32, 0..70u32, any::<bool>()), 0..20),
            start in 0..200u32, count in 1..80u32, align in 0..5u32, offset in 0..16u32,
        ) {
            let mut words = vec![u32::MAX; Bitmap::words_for(bits)];
            let mut bitmap = Bitmap::new(&mut words, bits);
            let mut model = vec![false; bits as usize];
            for (from, len, set) in ops {
                let (from, to) = (from.min(bits), (from + len).min(bits));
                bitmap.assign(from, to.saturating_sub(from), set);
                model[from as usize..to as usize].fill(set);
            }
            let mask = (1 << align) - 1;
            let offset = offset & mask;
            let zeros = model.iter().skip(start as usize).take_while(|bit| !**bit).count() as u32;
            for clear in [start, start + zeros / 2, start + zeros] {
                prop_assert_eq!(
                    bitmap.fit_from((start, clear), count, mask, offset),
                    model_fit(&model, start as usize, count as usize, mask as usize, offset as usize)
                );
            }
            for (count, mask, offset) in [(count, mask, offset), (1, 0, 0)] {
                prop_assert_eq!(
                    bitmap.first_fit(count, mask, offset),
                    model_fit(&model, 0, count as usize, mask as usize, offset as usize)
                );
            }
            prop_assert_eq!(bitmap.count() as usize, model.iter().filter(|bit| **bit).count());
            let runs: Vec<_> = bitmap.zero_runs().flat_map(|(at, len)| at..at + len).collect();
            let zeros: Vec<_> = (0..bits).filter(|&bit| !model[bit as usize]).collect();
            prop_assert_eq!(runs, zeros);
        }
    }
}
