//! Counting what an operation costs, without what counting costs.
//!
//! On the target the counter counts instructions, so a cost is exact and the same every time; the host's criterion
//! benchmarks measure time and need none of this.

use core::hint::black_box;

/// Something that only grows; it may wrap around.
pub trait Counter {
    /// Its value now. Memory accesses of the program don't move across the call.
    fn now(&self) -> u32;
}

/// Measurements to find out what reading the counter costs.
const CALIBRATIONS: u32 = 32;

/// A counter, and what reading it costs.
#[derive(Debug, Clone, Copy)]
pub struct Meter<C> {
    counter: C,
    reading: u32,
}

impl<C: Counter> Meter<C> {
    /// Finds out what reading `counter` costs.
    pub fn new(counter: C) -> Self {
        let mut meter = Self { counter, reading: 0 };
        let empty = (0..CALIBRATIONS).map(|_| meter.time(|| ()).0).min();
        meter.reading = empty.unwrap_or(0);
        meter
    }

    /// What `operation` costs, and what it returns.
    #[inline(always)]
    pub fn time<R>(&self, operation: impl FnOnce() -> R) -> (u32, R) {
        let start = self.counter.now();
        let result = operation();
        let end = self.counter.now();
        (end.wrapping_sub(start).saturating_sub(self.reading), result)
    }

    /// What `turns` turns of a loop over `operation` cost, without the loop itself. `operation` gets the number of the
    /// turn.
    ///
    /// # Errors
    /// The first of `operation`'s, which ends the loop.
    #[inline(always)]
    pub fn turns<E>(&self, turns: u32, mut operation: impl FnMut(u32) -> Result<(), E>) -> Result<u32, E> {
        let (empty, ()) = self.time(|| (0..turns).for_each(|turn| _ = black_box(turn)));
        let (cost, result) = self.time(|| (0..turns).try_for_each(|turn| operation(black_box(turn))));
        result.map(|()| cost.saturating_sub(empty))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// Every reading costs 5; work is done by adding to it.
    struct Fake<'a>(&'a Cell<u32>);

    impl Counter for Fake<'_> {
        fn now(&self) -> u32 {
            self.0.set(self.0.get().wrapping_add(5));
            self.0.get()
        }
    }

    fn work(clock: &Cell<u32>, cost: u32) {
        clock.set(clock.get().wrapping_add(cost));
    }

    #[test]
    fn reading_the_counter_costs_nothing() {
        let clock = Cell::new(100);
        let meter = Meter::new(Fake(&clock));
        assert_eq!(meter.time(|| ()), (0, ()));
        assert_eq!(meter.time(|| work(&clock, 17)), (17, ()));
        let turn = |_| -> Result<(), ()> {
            work(&clock, 3);
            Ok(())
        };
        assert_eq!(meter.turns(10, turn), Ok(30));
    }

    #[test]
    fn a_counter_may_wrap() {
        let clock = Cell::new(0);
        let meter = Meter::new(Fake(&clock));
        clock.set(u32::MAX - 2);
        assert_eq!(meter.time(|| work(&clock, 40)).0, 40);
    }

    #[test]
    fn an_error_ends_the_loop() {
        let clock = Cell::new(0);
        let meter = Meter::new(Fake(&clock));
        let mut last = 0;
        let result = meter.turns(9, |turn| {
            last = turn;
            if turn == 4 { Err("four") } else { Ok(()) }
        });
        assert_eq!((result, last), (Err("four"), 4));
    }
}
