//! Fault injection with the knobs of Linux (`lib/fault-inject.c`): `INTERVAL,PROBABILITY,SPACE,TIMES`, and which
//! requests are spared (`mm/fail_page_alloc.c`, `mm/failslab.c`).

use crate::Gfp;
use core::fmt;
use types::{Order, PAGE_SIZE, xorshift};

/// When to fail. The default never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultAttr {
    /// Only each n-th chance counts.
    pub interval: u32,
    /// Of those, so many percent fail.
    pub probability: u32,
    /// Bytes that are let through first.
    pub space: u32,
    /// How often to fail; -1 for ever.
    pub times: i32,
    /// Requests that may sleep are spared (`ignore-gfp-wait`).
    pub ignore_wait: bool,
    /// Requests that highmem would do for are spared (`ignore-gfp-highmem`).
    pub ignore_highmem: bool,
    /// Blocks of a smaller order are spared (`min-order`).
    pub min_order: u8,
    /// What is said: 0 nothing, 1 that a request fails, 2 who made it too.
    pub verbose: u8,
    count: u32,
    random: u32,
}

/// The value is not four numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultParseError;

impl fmt::Display for FaultParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAULT_INJECTION: failed to parse arguments: want INTERVAL,PROBABILITY,SPACE,TIMES")
    }
}

impl Default for FaultAttr {
    fn default() -> Self {
        Self {
            interval: 1,
            probability: 0,
            space: 0,
            times: 1,
            ignore_wait: false,
            ignore_highmem: false,
            min_order: 0,
            verbose: 2,
            count: 0,
            random: 0x9e37_79b9,
        }
    }
}

impl FaultAttr {
    /// Parses `INTERVAL,PROBABILITY,SPACE,TIMES`.
    ///
    /// # Errors
    /// [`FaultParseError`].
    pub fn parse(value: &str) -> Result<Self, FaultParseError> {
        let mut parts = value.split(',').map(str::trim);
        let mut next = || parts.next().ok_or(FaultParseError);
        let attr = Self {
            interval: next()?.parse().map_err(|_| FaultParseError)?,
            probability: next()?.parse().map_err(|_| FaultParseError)?,
            space: next()?.parse().map_err(|_| FaultParseError)?,
            times: next()?.parse().map_err(|_| FaultParseError)?,
            ..Self::default()
        };
        if parts.next().is_some() { Err(FaultParseError) } else { Ok(attr) }
    }

    /// The `nth` request fails, and no other; nothing is said. For tests that go through every failure.
    #[must_use]
    pub fn nth(nth: u32) -> Self {
        Self { interval: nth, probability: 100, times: 1, verbose: 0, ..Self::default() }
    }

    /// With what Linux spares until one says otherwise: a kernel boots with it, because what it can't do without may
    /// sleep.
    #[must_use]
    pub fn sparing(self) -> Self {
        Self { ignore_wait: true, ignore_highmem: true, min_order: 1, ..self }
    }

    /// Whether a request for pages with these flags shall fail.
    pub fn fails_pages(&mut self, gfp: Gfp, order: Order) -> bool {
        let spared = order.get() < self.min_order
            || self.ignore_highmem && gfp.contains(Gfp::__HIGHMEM)
            || self.spares(gfp);
        !spared && self.should_fail(PAGE_SIZE << order.get())
    }

    /// Whether a request for an object of `size` bytes with these flags shall fail.
    pub fn fails_object(&mut self, gfp: Gfp, size: u32) -> bool {
        !self.spares(gfp) && self.should_fail(size)
    }

    fn spares(&self, gfp: Gfp) -> bool {
        gfp.contains(Gfp::__NOFAIL) || self.ignore_wait && gfp.contains(Gfp::__DIRECT_RECLAIM)
    }

    /// Says that it makes a request fail, as `fail_dump` does.
    pub(crate) fn report(&self, name: &str, gfp: Gfp, dump_stack: fn()) {
        let Self { interval, probability, space, times, .. } = self;
        if self.verbose == 0 || gfp.contains(Gfp::__NOWARN) {
            return;
        }
        log::info!("FAULT_INJECTION: forcing a failure.");
        log::info!(
            "name {name}, interval {interval}, probability {probability}, space {space}, times {times}"
        );
        if self.verbose > 1 {
            dump_stack();
        }
    }

    /// Whether it can still fail anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.probability > 0 && self.times != 0
    }

    /// Whether this request of `size` bytes shall fail.
    pub fn should_fail(&mut self, size: u32) -> bool {
        if !self.is_on() {
            return false;
        }
        if self.space > size {
            self.space -= size;
            return false;
        }
        if self.interval > 1 {
            self.count = self.count.wrapping_add(1);
            if !self.count.is_multiple_of(self.interval) {
                return false;
            }
        }
        if self.probability <= self.percent() {
            return false;
        }
        if self.times > 0 {
            self.times -= 1;
        }
        true
    }

    /// 0 to 99, from a xorshift generator (Marsaglia 2003); the sequence is the same in every run.
    fn percent(&mut self) -> u32 {
        self.random = xorshift(self.random);
        self.random % 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(value: &str, requests: usize) -> std::vec::Vec<usize> {
        let mut attr = FaultAttr::parse(value).unwrap();
        (0..requests).filter(|_| attr.should_fail(10)).collect()
    }

    #[test]
    fn interval_space_and_times() {
        assert_eq!(failures("1,100,0,-1", 4), [0, 1, 2, 3]);
        assert_eq!(failures("3,100,0,2", 20), [2, 5]);
        assert_eq!(failures("1,100,25,3", 20), [2, 3, 4]);
        assert_eq!(failures("1,0,0,-1", 20), []);
        assert_eq!(failures("1,100,0,0", 20), []);
    }

    #[test]
    fn spares_what_linux_spares() {
        let mut attr = FaultAttr::parse("1,100,0,-1").unwrap().sparing();
        let (zero, one) = (Order::ZERO, Order::new(1).unwrap());
        assert!(!attr.fails_pages(Gfp::ATOMIC, zero) && attr.fails_pages(Gfp::ATOMIC, one));
        assert!(!attr.fails_pages(Gfp::KERNEL, one) && !attr.fails_pages(Gfp::ATOMIC | Gfp::__HIGHMEM, one));
        assert!(attr.fails_object(Gfp::ATOMIC, 8) && !attr.fails_object(Gfp::KERNEL, 8));
        attr = FaultAttr { ignore_wait: false, ignore_highmem: false, min_order: 0, ..attr };
        assert!(attr.fails_pages(Gfp::HIGHUSER_MOVABLE, zero) && attr.fails_object(Gfp::KERNEL, 8));
        assert!(!attr.fails_pages(Gfp::KERNEL | Gfp::__NOFAIL, zero));
        assert!(!attr.fails_object(Gfp::KERNEL | Gfp::__NOFAIL, 8));
    }

    #[test]
    fn probability_is_about_right() {
        let n = failures("1,25,0,-1", 10_000).len();
        assert!((2_200..2_800).contains(&n), "{n}");
    }

    #[test]
    fn four_numbers_or_nothing() {
        for bad in ["", "1,2,3", "1,2,3,4,5", "a,1,1,1", "1,,1,1", "1,1,1,99999999999"] {
            assert_eq!(FaultAttr::parse(bad), Err(FaultParseError), "{bad}");
        }
    }
}
