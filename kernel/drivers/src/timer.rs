//! Time from the generic timer, and things to do at a time.
//!
//! [`Clock`] turns ticks of the counter into nanoseconds since boot with a multiplication and a shift, as Linux's
//! `clocksource` does: a 64-bit division would be hundreds of instructions on a Cortex-A7, which has none.
//! [`Timers`] is the list of deadlines. The kernel holds it in a lock and runs what is due without the lock:
//!
//! ```text
//! interrupt: while let Some(action) = lock(timers).pop_due(now) { action() }
//!            lock(timers).next_deadline() -> comparator, or off
//! ```
//!
//! Source: ARM DDI 0406C, B8; Linux 6.1 `drivers/clocksource/arm_arch_timer.c`, `kernel/time/clocksource.c`
//! (`clocks_calc_mult_shift`).

use alloc::vec::Vec;

/// Nanoseconds in a second.
pub const NANOSECONDS: u64 = 1_000_000_000;

/// The CPU's side of the generic timer: the virtual counter and its comparator. `arch-armv7` implements it.
pub trait TimerCpu {
    /// Ticks a second as CNTFRQ has it; 0 when the firmware did not say.
    fn frequency(&self) -> u32;
    /// The counter.
    fn now(&self) -> u64;
    /// Raises the interrupt from the tick `at` on.
    fn arm(&mut self, at: u64);
    /// Raises no interrupt.
    fn disarm(&mut self);
}

/// Converts ticks of a counter to nanoseconds since a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    start: u64,
    frequency: u32,
    mult: u32,
    shift: u32,
}

impl Clock {
    /// A clock of `frequency` ticks a second that reads 0 at the tick `start`; `None` for a frequency of 0.
    #[must_use]
    pub fn new(frequency: u32, start: u64) -> Option<Self> {
        let scaled =
            |shift: u32| ((NANOSECONDS << shift) + u64::from(frequency) / 2).checked_div(frequency.into());
        let shift = (0..32).rev().find(|shift| scaled(*shift).is_some_and(|mult| mult <= u32::MAX.into()))?;
        Some(Self { start, frequency, mult: scaled(shift)? as u32, shift })
    }

    /// Ticks a second.
    #[must_use]
    pub const fn frequency(&self) -> u32 {
        self.frequency
    }

    /// Nanoseconds from the start to the tick `ticks`; 0 before it.
    #[must_use]
    pub const fn nanoseconds(&self, ticks: u64) -> u64 {
        let elapsed = ticks.saturating_sub(self.start);
        let (high, low) = (elapsed >> 32, elapsed & 0xffff_ffff);
        let mult = self.mult as u64;
        ((high * mult) << (32 - self.shift)) + ((low * mult) >> self.shift)
    }

    /// The first tick at which the clock reads at least `nanoseconds`, give or take the rounding of the clock.
    #[must_use]
    pub fn ticks(&self, nanoseconds: u64) -> u64 {
        let (seconds, rest) = (nanoseconds / NANOSECONDS, nanoseconds % NANOSECONDS);
        let frequency = u64::from(self.frequency);
        let part = (rest * frequency).div_ceil(NANOSECONDS);
        seconds.saturating_mul(frequency).saturating_add(part).saturating_add(self.start)
    }
}

/// What to do when the time comes; runs in the timer's interrupt.
pub type Action = &'static (dyn Fn() + Sync);

/// Names an entry of [`Timers`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId(u64);

struct Entry {
    id: TimerId,
    deadline: u64,
    period: Option<u64>,
    action: Action,
}

/// Deadlines, in nanoseconds, and their actions.
#[derive(Default)]
pub struct Timers {
    /// The next one last.
    entries: Vec<Entry>,
    created: u64,
}

impl Timers {
    /// No deadlines.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), created: 0 }
    }

    /// Runs `action` at `deadline` and then, with a `period`, again and again. A period of 0 counts as 1.
    pub fn add(&mut self, deadline: u64, period: Option<u64>, action: Action) -> TimerId {
        let id = TimerId(self.created);
        self.created += 1;
        self.insert(Entry { id, deadline, period: period.map(|period| period.max(1)), action });
        id
    }

    fn insert(&mut self, entry: Entry) {
        // Before its equals, so after them in time: first come, first served.
        let at = self.entries.partition_point(|other| other.deadline > entry.deadline);
        self.entries.insert(at, entry);
    }

    /// Takes an entry out; `false` when it has run already, or never was.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.id != id);
        self.entries.len() < before
    }

    /// The action of the earliest deadline, when that is not after `now`. A periodic one is put back, at the first
    /// multiple of its period after `now`: what was missed is not made up for.
    pub fn pop_due(&mut self, now: u64) -> Option<Action> {
        self.entries.pop_if(|entry| entry.deadline <= now).map(|mut entry| {
            let action = entry.action;
            if let Some(period) = entry.period {
                let missed = (now - entry.deadline) / period;
                entry.deadline = entry.deadline.saturating_add((missed + 1).saturating_mul(period));
                self.insert(entry);
            }
            action
        })
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.entries.last().map(|entry| entry.deadline)
    }
}

/// Sets the comparator to the earliest deadline, or switches it off. After every change of `timers`.
pub fn program(timers: &Timers, clock: &Clock, cpu: &mut dyn TimerCpu) {
    match timers.next_deadline() {
        Some(deadline) => cpu.arm(clock.ticks(deadline)),
        None => cpu.disarm(),
    }
}

#[cfg(test)]
mod tests;
