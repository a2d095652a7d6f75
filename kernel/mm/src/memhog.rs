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

    /// Stores what `word` says into each word of the page at `page`.
    ///
    /// # Errors
    /// Why the fault could not be handled.
    fn store_page(&mut self, page: VirtAddr, word: impl Fn(VirtAddr) -> u32) -> Result<(), FaultOutcome> {
        words(page).try_for_each(|virt| self.store(virt, word(virt)))
    }

    /// The first word of the page at `page` that is not what `word` says, and what it is.
    ///
    /// # Errors
    /// Why the fault could not be handled.
    fn find_other(
        &mut self,
        page: VirtAddr,
        word: impl Fn(VirtAddr) -> u32,
    ) -> Result<Option<(VirtAddr, u32)>, FaultOutcome> {
        for virt in words(page) {
            let found = self.load(virt)?;
            if found != word(virt) {
                return Ok(Some((virt, found)));
            }
        }
        Ok(None)
    }
}

/// The words of the page at `page`.
pub fn words(page: VirtAddr) -> impl Iterator<Item = VirtAddr> {
    (page.get()..page.get() + PAGE_SIZE).step_by(4).map(VirtAddr::new)
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemhogError {
    /// The memory can't be reached.
    Access {
        /// The page.
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
            Self::Access { virt, why } => write!(f, "{virt}: {why}"),
            Self::Corrupt { virt, stored, found } => {
                write!(f, "{virt}: stored {stored:#010x}, found {found:#010x}")
            }
        }
    }
}

/// What a number of pages is used for, so that all that address spaces can do with memory is done with some of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shares {
    /// A private region; a fork of the space sees it too.
    pub private: u32,
    /// Of that region, pages from its start that are locked.
    pub locked: u32,
    /// Of that region, pages at its end that the fork stores to: as many copies.
    pub copied: u32,
    /// A region that both spaces share.
    pub shared: u32,
    /// Pages of the private region that are pinned, one in each [`Shares::PIN_DISTANCE`]: as many copies, because the
    /// fork has them as well.
    pub pinned: u32,
}

impl Shares {
    /// Pages from one pin to the next.
    pub const PIN_DISTANCE: u32 = 256;

    /// Of `pages` pages: private, copied, shared and pinned ones add up to them.
    #[must_use]
    pub const fn of(pages: u32) -> Self {
        let (copied, shared) = (pages / 16, pages / 16);
        // No pins among what the fork stores to: nobody would have to be given a copy there.
        let pinned = (pages - shared - 2 * copied) / (Self::PIN_DISTANCE + 1);
        let private = pages - copied - shared - pinned;
        Self { private, locked: private / 8, copied, shared, pinned }
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

    /// Where page number `page` is.
    #[must_use]
    pub const fn at(&self, page: u32) -> VirtAddr {
        VirtAddr::new(self.base.get() + page * PAGE_SIZE)
    }

    /// What the word at `virt` holds.
    #[must_use]
    pub const fn pattern(&self, virt: VirtAddr) -> u32 {
        virt.get().wrapping_mul(SPREAD) ^ self.seed
    }

    /// Fills a page.
    ///
    /// # Errors
    /// [`MemhogError::Access`].
    pub fn fill(&self, memory: &mut impl UserMemory, page: u32) -> Result<(), MemhogError> {
        let virt = self.at(page);
        memory.store_page(virt, |virt| self.pattern(virt)).map_err(|why| MemhogError::Access { virt, why })
    }

    /// Verifies a page.
    ///
    /// # Errors
    /// [`MemhogError`], for the first word that is wrong.
    pub fn check(&self, memory: &mut impl UserMemory, page: u32) -> Result<(), MemhogError> {
        let virt = self.at(page);
        match memory.find_other(virt, |virt| self.pattern(virt)) {
            Ok(None) => Ok(()),
            Ok(Some((virt, found))) => Err(MemhogError::Corrupt { virt, stored: self.pattern(virt), found }),
            Err(why) => Err(MemhogError::Access { virt, why }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, string::ToString};

    #[test]
    fn shares_add_up_and_do_not_meet() {
        for pages in (0..600).chain([8192, 65_536, 262_144]) {
            let Shares { private, locked, copied, shared, pinned } = Shares::of(pages);
            assert_eq!(private + copied + shared + pinned, pages);
            assert!(locked + copied <= private);
            // The last pin lies before what the fork stores to.
            let last = pinned.saturating_sub(1) * Shares::PIN_DISTANCE;
            assert!(pinned == 0 || last < private - copied, "{pages}");
            assert!(pages < 320 || pinned > 0 && locked > 0 && copied > 0 && shared > 0);
        }
    }

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
            assert!(error.to_string().starts_with("0x"), "{error}");
            memory.0.insert(at, kept);
        }
        // Two pages in each other's place.
        let swapped: BTreeMap<_, _> = memory.0.iter().map(|(at, word)| (at ^ 0x1000, *word)).collect();
        assert!(hog.check(&mut Flat(swapped), 0).is_err());
        memory.0.remove(&0x1_0008);
        let why = FaultOutcome::NoRegion;
        assert_eq!(
            hog.check(&mut memory, 0),
            Err(MemhogError::Access { virt: VirtAddr::new(0x1_0000), why })
        );
    }
}
