//! Repeated measurements, and what is said of them.

/// The smallest, the middle and the largest of `count` measurements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Stat {
    /// The smallest.
    pub min: u32,
    /// The middle one; of an even number, the lower of the two in the middle, so that it was measured too.
    pub median: u32,
    /// The largest.
    pub max: u32,
    /// How many there were.
    pub count: u32,
}

impl Stat {
    /// Of something that was measured once.
    #[must_use]
    pub const fn once(value: u32) -> Self {
        Self { min: value, median: value, max: value, count: 1 }
    }
}

/// Measurements in memory of the caller's.
#[derive(Debug)]
pub struct Samples<'a> {
    values: &'a mut [u32],
    len: usize,
}

impl<'a> Samples<'a> {
    /// Room for as many measurements as `values` has elements; what they are does not matter.
    pub const fn new(values: &'a mut [u32]) -> Self {
        Self { values, len: 0 }
    }

    /// Keeps a measurement. One that there is no room for is not kept.
    #[inline]
    pub fn push(&mut self, value: u32) {
        if let Some(slot) = self.values.get_mut(self.len) {
            *slot = value;
            self.len += 1;
        }
    }

    /// Forgets all measurements.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// What is said of them; `None` without any.
    pub fn stat(&mut self) -> Option<Stat> {
        let values = self.values.get_mut(..self.len)?;
        values.sort_unstable();
        let (&min, &max) = (values.first()?, values.last()?);
        let median = *values.get((values.len() - 1) / 2)?;
        Some(Stat { min, median, max, count: values.len() as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(values: &[u32]) -> Option<Stat> {
        let mut room = [7; 5];
        let mut samples = Samples::new(&mut room);
        values.iter().for_each(|&value| samples.push(value));
        samples.stat()
    }

    #[test]
    fn the_median_is_a_measurement() {
        assert_eq!(stat(&[]), None);
        assert_eq!(stat(&[3]), Some(Stat::once(3)));
        assert_eq!(stat(&[9, 3]), Some(Stat { min: 3, median: 3, max: 9, count: 2 }));
        assert_eq!(stat(&[5, 9, 1]), Some(Stat { min: 1, median: 5, max: 9, count: 3 }));
        assert_eq!(stat(&[4, 1, 3, 2]), Some(Stat { min: 1, median: 2, max: 4, count: 4 }));
    }

    #[test]
    fn what_does_not_fit_is_not_counted() {
        assert_eq!(stat(&[6, 5, 4, 3, 2, 1]), Some(Stat { min: 2, median: 4, max: 6, count: 5 }));
    }

    #[test]
    fn cleared_samples_are_gone() {
        let mut room = [0; 2];
        let mut samples = Samples::new(&mut room);
        samples.push(1);
        samples.clear();
        assert_eq!(samples.stat(), None);
        samples.push(8);
        assert_eq!(samples.stat(), Some(Stat::once(8)));
    }
}
