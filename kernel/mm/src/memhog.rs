//! `memhog`: movable memory, filled with a pattern and verified.
//!
//! The pattern of a word depends on its address and on a seed, so a page that is lost, swapped with another or torn
//! shows. The caller maps the range, steps through the pages with its lock dropped in between, and unmaps it.

use crate::space::FaultOutcome;
use core::fmt;
use types::{PAGE_SIZE, VirtAddr};

/// Reaches user memory as the space itself does: on the target through its mappings, faults included.
pub trait UserMemory {
    /// Stores a word.
    ///
    /// # Errors
    /// Why the fault could not be handled.
    fn store(&mut self, virt: VirtAddr, value: u32) -> Result<(), FaultOutcome>;

    /// Loads a word.
    ///
    /// # Errors
    /// Why the fault could not be handled.
    fn load(&mut self, virt: VirtAddr) -> Result<u32, FaultOutcome>;
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemhogError {
    /// The memory can't be reached.
    Access {
        /// Where.
        virt: VirtAddr,
        /// Why.
        why: FaultOutcome,
    },
    /// The memory doesn't hold what was stored.
    Corrupt {
        /// Where.
        virt: VirtAddr,
        /// What was stored.
        stored: u32,
        /// What is there.
        found: u32,
    },
}

impl fmt::Display for MemhogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { virt, why } => write!(f, "memhog: {virt}: {why}"),
            Self::Corrupt { virt, stored, found } => {
                write!(f, "memhog: {virt}: stored {stored:#010x}, found {found:#010x}")
            }
        }
    }
}

/// A range that is filled and verified.
#[derive(Clone, Copy, Debug)]
pub struct Memhog {
    base: VirtAddr,
    pages: u32,
    seed: u32,
}

/// Knuth's multiplier: neighbouring addresses get words that differ in many bits.
const SPREAD: u32 = 0x9e37_79b1;

impl Memhog {
    /// `len` bytes from `base` on, whole pages.
    #[must_use]
    pub const fn new(base: VirtAddr, len: u32, seed: u32) -> Self {
        Self { base, pages: len / PAGE_SIZE, seed }
    }

    /// Pages to go through.
    #[must_use]
    pub const fn pages(&self) -> u32 {
        self.pages
    }

    fn words(&self, page: u32) -> impl Iterator<Item = VirtAddr> + use<> {
        let base = self.base.get() + page * PAGE_SIZE;
        (base..base + PAGE_SIZE).step_by(4).map(VirtAddr::new)
    }

    const fn pattern(&self, virt: VirtAddr) -> u32 {
        virt.get().wrapping_mul(SPREAD) ^ self.seed
    }

    /// Fills a page.
    ///
    /// # Errors
    /// [`MemhogError::Access`].
    pub fn fill(&self, memory: &mut impl UserMemory, page: u32) -> Result<(), MemhogError> {
        self.words(page).try_for_each(|virt| {
            memory.store(virt, self.pattern(virt)).map_err(|why| MemhogError::Access { virt, why })
        })
    }

    /// Verifies a page.
    ///
    /// # Errors
    /// [`MemhogError`], for the first word that is wrong.
    pub fn check(&self, memory: &mut impl UserMemory, page: u32) -> Result<(), MemhogError> {
        self.words(page).try_for_each(|virt| {
            let found = memory.load(virt).map_err(|why| MemhogError::Access { virt, why })?;
            let stored = self.pattern(virt);
            if found == stored { Ok(()) } else { Err(MemhogError::Corrupt { virt, stored, found }) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, string::ToString};

    #[derive(Default)]
    struct Flat(BTreeMap<u32, u32>);

    impl UserMemory for Flat {
        fn store(&mut self, virt: VirtAddr, value: u32) -> Result<(), FaultOutcome> {
            self.0.insert(virt.get(), value);
            Ok(())
        }

        fn load(&mut self, virt: VirtAddr) -> Result<u32, FaultOutcome> {
            self.0.get(&virt.get()).copied().ok_or(FaultOutcome::NoRegion)
        }
    }

    #[test]
    fn every_word_counts() {
        let hog = Memhog::new(VirtAddr::new(0x1_0000), 2 * PAGE_SIZE, 5);
        let mut memory = Flat::default();
        (0..hog.pages()).for_each(|page| hog.fill(&mut memory, page).unwrap());
        assert_eq!(memory.0.len() as u32, 2 * PAGE_SIZE / 4);
        assert_eq!(hog.check(&mut memory, 1), Ok(()));
        for at in [0x1_1000, 0x1_1ffc, 0x1_1404] {
            let kept = memory.0[&at];
            memory.0.insert(at, kept ^ 0x100);
            let error = hog.check(&mut memory, 1).unwrap_err();
            let virt = VirtAddr::new(at);
            assert_eq!(error, MemhogError::Corrupt { virt, stored: kept, found: kept ^ 0x100 });
            assert!(error.to_string().starts_with("memhog: 0x"), "{error}");
            memory.0.insert(at, kept);
        }
        // Two pages in each other's place.
        let swapped: BTreeMap<_, _> = memory.0.iter().map(|(at, word)| (at ^ 0x1000, *word)).collect();
        assert!(hog.check(&mut Flat(swapped), 0).is_err());
        memory.0.remove(&0x1_0008);
        let why = FaultOutcome::NoRegion;
        assert_eq!(
            hog.check(&mut memory, 0),
            Err(MemhogError::Access { virt: VirtAddr::new(0x1_0008), why })
        );
    }
}
