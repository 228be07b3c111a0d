//! When otop itself held a process (`--pause`), for those that read it meanwhile: what such a process does not do is otop's
//! doing and nobody else's. Knows nothing of how a process is held, nor of what is read.
//!
//! Readers come a thousand times a second and may not wait for whoever holds, which may be without a CPU just then; so
//! there are no locks. A hold is published by one store when it begins, and by one when it ends.

use crate::model::Nanos;
use nix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The last so many are remembered: seconds of them, as they are a third of a second apart.
const REMEMBERED: usize = 16;

/// The last holds, and the longest of all.
#[derive(Debug, Default)]
pub struct Holds {
    slots: [Slot; REMEMBERED],
    begun: AtomicUsize,
    longest: AtomicU64,
}

/// `CLOCK_MONOTONIC`, nanoseconds.
#[derive(Debug, Default)]
struct Slot {
    since: AtomicU64,
    /// 0: it goes on.
    until: AtomicU64,
}

/// A hold that goes on; it is over when this is dropped.
#[derive(Debug)]
pub struct Hold<'a> {
    holds: &'a Holds,
    slot: &'a Slot,
}

impl Holds {
    /// From now on the process is held. To be called by one at a time.
    pub fn begin(&self) -> Hold<'_> {
        let begun = self.begun.load(Ordering::Relaxed);
        let slot = &self.slots[begun % REMEMBERED];
        slot.since.store(monotonic().0, Ordering::Relaxed);
        // Whoever sees that it goes on, or the number, sees since when.
        slot.until.store(0, Ordering::Release);
        self.begun.store(begun.wrapping_add(1), Ordering::Release);
        Hold { holds: self, slot }
    }

    /// For how long the process was held between two instants.
    pub fn within(&self, from: Nanos, to: Nanos) -> Nanos {
        self.touching(from, to).fold(Nanos::ZERO, |sum, (since, until)| {
            sum + (until.min(to) - since.max(from))
        })
    }

    /// The process was held at some time between two instants, or at one of them.
    pub fn touch(&self, from: Nanos, to: Nanos) -> bool {
        self.touching(from, to).next().is_some()
    }

    /// The longest hold that is over.
    pub fn longest(&self) -> Nanos {
        Nanos(self.longest.load(Ordering::Relaxed))
    }

    /// The holds that touch what is between two instants; the beginning and the end of each.
    fn touching(&self, from: Nanos, to: Nanos) -> impl Iterator<Item = (Nanos, Nanos)> {
        let known = self.begun.load(Ordering::Acquire).min(REMEMBERED);
        self.slots[..known].iter().filter_map(move |slot| {
            let until = match slot.until.load(Ordering::Acquire) {
                0 => Nanos(u64::MAX),
                until => Nanos(until),
            };
            let since = Nanos(slot.since.load(Ordering::Relaxed));
            (since <= to && from <= until).then_some((since, until))
        })
    }
}

impl Hold<'_> {
    /// For how long already.
    pub fn lasts(&self) -> Duration {
        let since = Nanos(self.slot.since.load(Ordering::Relaxed));
        Duration::from(monotonic() - since)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let since = self.slot.since.load(Ordering::Relaxed);
        let now = monotonic().0.max(since).max(1);
        self.slot.until.store(now, Ordering::Release);
        self.holds.longest.fetch_max(now - since, Ordering::Relaxed);
    }
}

fn monotonic() -> Nanos {
    // This clock exists on every Linux.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Nanos::ZERO, |time| Nanos::from(Duration::from(time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_in_a_hold_or_not_also_when_it_is_judged_later() {
        let holds = Holds::default();
        let before = monotonic();
        assert!(!holds.touch(Nanos::ZERO, before), "nobody was held yet");
        let hold = holds.begin();
        let inside = monotonic();
        assert!(holds.touch(inside, inside), "it goes on");
        assert_eq!(holds.within(inside, inside + Nanos(5)), Nanos(5));
        std::thread::sleep(Duration::from_millis(1));
        drop(hold);
        let after = monotonic() + Nanos(1);
        assert!(holds.touch(inside, inside), "it is over, and was not then");
        assert!(holds.touch(before, after), "a part of it");
        assert!(!holds.touch(after, after));
        let held = holds.within(before, after);
        assert!(held >= Nanos::from_millis(1) && held < after - before, "{held:?}");
        assert_eq!(holds.longest(), held);
    }

    #[test]
    fn the_last_ones_are_remembered_and_the_longest_of_all() {
        let holds = Holds::default();
        let first = holds.begin();
        std::thread::sleep(Duration::from_millis(2));
        drop(first);
        let mut last = Nanos::ZERO;
        for _ in 0..2 * REMEMBERED {
            let _hold = holds.begin();
            last = monotonic();
        }
        assert!(holds.touch(last, last));
        assert!(!holds.touch(Nanos::ZERO, Nanos(1)));
        assert!(holds.longest() >= Nanos::from_millis(2));
    }
}
