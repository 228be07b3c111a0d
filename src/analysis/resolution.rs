//! How often the worker is really seen, and so how short a block can be: where the machine is too busy, the sampler gets
//! fewer ticks than were asked for, or lowers its rate by itself. Knows nothing of what is seen.

use crate::model::Nanos;
use std::collections::VecDeque;

/// What is counted over.
const OVER: Nanos = Nanos(1_000_000_000);
/// A rate within so much of the one that was asked for is that one: missing ticks are gaps, and are treated as such.
const KEPT: f64 = 0.75;
/// So many ticks make a block: one to see it, and one on either side to see its ends.
pub const TICKS_IN_A_BLOCK: u64 = 3;

/// The ticks of the last second.
#[derive(Debug)]
pub(super) struct Resolution {
    asked: Nanos,
    /// By batch: when its last tick was, and how many it had.
    batches: VecDeque<(Nanos, u64)>,
    ticks: u64,
}

/// So many ticks at once are not what comes of a low rate.
const RESUMED: u64 = 10;

impl Resolution {
    pub fn new(asked: Nanos) -> Resolution {
        Resolution {
            asked,
            batches: VecDeque::new(),
            ticks: 0,
        }
    }

    /// Takes a batch of so many ticks, of which the first was at `from` and the last at `until`.
    pub fn batch(&mut self, from: Nanos, until: Nanos, ticks: u64) {
        if ticks == 0 {
            return;
        }
        // After a pause, in which batches were dropped or the machine stood still, it begins anew: what one tick stands for
        // is not the pause. Single ticks far apart are no pause but a rate.
        let paused = self.batches.back().is_some_and(|(last, _)| from - *last >= OVER);
        if paused && ticks >= RESUMED {
            self.batches.clear();
            self.ticks = 0;
        }
        self.batches.push_back((until, ticks));
        self.ticks += ticks;
        // The first one is where the count begins.
        while self.batches.len() > 2 && self.batches.get(1).is_some_and(|(at, _)| until - *at >= OVER) {
            let first = self.batches.pop_front();
            self.ticks -= first.map_or(0, |(_, ticks)| ticks);
        }
    }

    /// What one tick stands for.
    pub fn period(&self) -> Nanos {
        let (Some((from, first)), Some((until, _))) = (self.batches.front(), self.batches.back()) else {
            return self.asked;
        };
        let (span, ticks) = (*until - *from, self.ticks - first);
        let got = Nanos(span.0.checked_div(ticks).unwrap_or(self.asked.0));
        // Of less than half a second nothing is concluded.
        if span.0 < OVER.0 / 2 || self.asked.0 as f64 >= KEPT * got.0 as f64 {
            self.asked
        } else {
            got
        }
    }

    /// The shortest block that can be told, where that is longer than `threshold`.
    pub fn shortest_block(&self, threshold: Nanos) -> Option<Nanos> {
        let shortest = Nanos(self.period().0.saturating_mul(TICKS_IN_A_BLOCK));
        (shortest > threshold).then_some(shortest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const THRESHOLD: Nanos = Nanos(50 * MS);

    /// Seconds of batches of 50 ms, each with so many ticks.
    fn after(resolution: &mut Resolution, from_ms: u64, seconds: u64, ticks: u64) {
        for batch in 1..=seconds * 20 {
            let until = Nanos((from_ms + batch * 50) * MS);
            resolution.batch(until - Nanos(49 * MS), until, ticks);
        }
    }

    #[test]
    fn a_rate_that_is_kept_is_the_one_that_was_asked_for() {
        let mut resolution = Resolution::new(Nanos(MS));
        assert_eq!(resolution.period(), Nanos(MS));
        after(&mut resolution, 0, 3, 42);
        assert_eq!(resolution.period(), Nanos(MS));
        assert_eq!(resolution.shortest_block(THRESHOLD), None);
    }

    #[test]
    fn a_rate_that_is_not_kept_raises_the_threshold_and_comes_back() {
        let mut resolution = Resolution::new(Nanos(MS));
        after(&mut resolution, 0, 2, 50);
        after(&mut resolution, 2_000, 2, 2);
        assert_eq!(resolution.period(), Nanos(25 * MS));
        assert_eq!(resolution.shortest_block(THRESHOLD), Some(Nanos(75 * MS)));
        after(&mut resolution, 4_000, 2, 50);
        assert_eq!(resolution.period(), Nanos(MS));
    }

    #[test]
    fn a_low_rate_that_was_asked_for_sees_no_short_block_either() {
        let resolution = Resolution::new(Nanos(100 * MS));
        assert_eq!(resolution.shortest_block(THRESHOLD), Some(Nanos(300 * MS)));
    }

    #[test]
    fn a_pause_is_no_rate() {
        let mut resolution = Resolution::new(Nanos(MS));
        after(&mut resolution, 0, 2, 50);
        for batch in 1..=40 {
            let until = Nanos((5_000 + 50 * batch) * MS);
            resolution.batch(until - Nanos(49 * MS), until, 50);
            assert_eq!(resolution.period(), Nanos(MS), "batch {batch}");
        }
        // One tick every two seconds is one.
        let mut resolution = Resolution::new(Nanos(MS));
        for tick in 1..=4 {
            let at = Nanos(tick * 2_000 * MS);
            resolution.batch(at, at, 1);
        }
        assert_eq!(resolution.period(), Nanos(2_000 * MS));
    }

    #[test]
    fn it_does_not_grow() {
        let mut resolution = Resolution::new(Nanos(MS));
        after(&mut resolution, 0, 60, 50);
        assert!(resolution.batches.len() <= 22, "{}", resolution.batches.len());
    }
}
