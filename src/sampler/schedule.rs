//! When to take samples: once in every period, at a random place in it. Knows nothing of what is sampled.

use crate::model::Nanos;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

/// One tick in every period, at a random place in it, so that no habit of the worker can hide between two ticks.
pub(super) struct Schedule {
    period: u64,
    origin: u64,
    /// Number of the period that the next tick is for.
    next: u64,
    random: u64,
}

impl Schedule {
    pub fn new(rate_hz: f64, now: Nanos) -> Schedule {
        let period = (1e9 / rate_hz) as u64;
        Schedule {
            period: period.max(1),
            origin: now.0,
            next: 0,
            random: now.0 | 1,
        }
    }

    /// When to take the next tick, and how many periods went by without one.
    pub fn next(&mut self, now: Nanos) -> (Nanos, u32) {
        let current = now.0.saturating_sub(self.origin) / self.period;
        let missed = current.saturating_sub(self.next);
        self.next = self.next.max(current);
        // xorshift64: any noise will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let at = self.origin + self.next * self.period + self.random % self.period;
        self.next += 1;
        (Nanos(at), u32::try_from(missed).unwrap_or(u32::MAX))
    }
}

/// Sleeps until `at`, `CLOCK_MONOTONIC`.
pub(super) fn sleep_until(at: Nanos) {
    let at = nix::sys::time::TimeSpec::new((at.0 / 1_000_000_000) as i64, (at.0 % 1_000_000_000) as i64);
    // A signal may cut it short: the tick is then early, by nobody's loss.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tick_in_every_period_and_every_missed_one_is_counted() {
        let mut schedule = Schedule::new(1000.0, Nanos(5));
        let mut now = Nanos(5);
        for period in 0..1000u64 {
            let (at, missed) = schedule.next(now);
            assert_eq!(missed, 0);
            assert_eq!((at.0 - 5) / 1_000_000, period);
            now = at;
        }
        // The sampler did not get to run for ten periods.
        let (at, missed) = schedule.next(Nanos(5 + 1_010_000_000));
        assert_eq!((missed, (at.0 - 5) / 1_000_000), (10, 1010));
    }
}
