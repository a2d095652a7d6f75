//! The clock against exact arithmetic, the deadlines against a sorted map.

use super::*;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

extern crate std;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 512 }) })]

    /// Within 1 ns and 1 part in a billion of the exact value, for ten years.
    #[test]
    fn the_clock_is_right(frequency in 1_000_000u32..1_000_000_000, seconds in 0u64..315_360_000, part in any::<u32>(), start in any::<u32>()) {
        let clock = Clock::new(frequency, start.into()).unwrap();
        let elapsed = seconds * u64::from(frequency) + u64::from(part) % u64::from(frequency);
        let exact = u128::from(elapsed) * u128::from(NANOSECONDS) / u128::from(frequency);
        let reads = clock.nanoseconds(elapsed + u64::from(start));
        prop_assert!(u128::from(reads).abs_diff(exact) <= 1 + exact / 1_000_000_000, "{} {}", reads, exact);
        let tick = clock.ticks(exact as u64);
        prop_assert!(tick.abs_diff(elapsed + u64::from(start)) <= 1);
    }

    #[test]
    fn deadlines_come_in_order(ops in prop::collection::vec((0u64..50, prop::option::of(0u64..9), 0u64..4, any::<bool>()), 0..60)) {
        static RAN: AtomicU64 = AtomicU64::new(0);
        let (mut timers, mut now) = (Timers::new(), 0);
        // (deadline, order of arrival) -> (id, period)
        let mut model = BTreeMap::new();
        let mut arrivals = 0;
        for (delay, period, wait, cancel) in ops {
            let id = timers.add(now + delay, period, &|| _ = RAN.fetch_add(1, Ordering::Relaxed));
            model.insert((now + delay, arrivals), (id, period));
            arrivals += 1;
            now += wait;
            if cancel {
                let key = *model.keys().next().unwrap();
                let (id, _) = model.remove(&key).unwrap();
                prop_assert!(timers.cancel(id));
                prop_assert!(!timers.cancel(id));
            }
            while let Some((&(deadline, order), &(id, period))) = model.first_key_value().filter(|((at, _), _)| *at <= now) {
                prop_assert!(timers.pop_due(now).is_some());
                model.remove(&(deadline, order));
                if let Some(period) = period.map(|p| p.max(1)) {
                    let mut next = deadline;
                    while next <= now {
                        next += period;
                    }
                    model.insert((next, arrivals), (id, Some(period)));
                    arrivals += 1;
                }
            }
            prop_assert!(timers.pop_due(now).is_none());
            prop_assert_eq!(timers.next_deadline(), model.keys().next().map(|(at, _)| *at));
        }
    }
}

#[test]
fn usual_frequencies_are_exact() {
    let clock = Clock::new(62_500_000, 1000).unwrap();
    assert_eq!(clock.nanoseconds(1000 + 62_500_000 * 86_400), 86_400 * NANOSECONDS);
    assert_eq!(clock.nanoseconds(999), 0);
    assert_eq!(clock.ticks(17), 1002, "not before the deadline");
    assert_eq!(Clock::new(0, 0), None);
    assert_eq!(Clock::new(1, 0).unwrap().nanoseconds(3), 3 * NANOSECONDS);
}

#[derive(Default)]
struct Cpu(Option<u64>);

impl TimerCpu for Cpu {
    fn frequency(&self) -> u32 {
        1_000_000
    }
    fn now(&self) -> u64 {
        0
    }
    fn arm(&mut self, at: u64) {
        self.0 = Some(at);
    }
    fn disarm(&mut self) {
        self.0 = None;
    }
}

#[test]
fn the_comparator_follows_the_earliest_deadline() {
    let (mut timers, mut cpu) = (Timers::new(), Cpu(Some(7)));
    let clock = Clock::new(cpu.frequency(), cpu.now()).unwrap();
    program(&timers, &clock, &mut cpu);
    assert_eq!(cpu.0, None);
    timers.add(9_000, None, &|| ());
    timers.add(5_000, None, &|| ());
    program(&timers, &clock, &mut cpu);
    assert_eq!(cpu.0, Some(5));
}
