//! What a thread's clocks say about a stretch of its time: for how long it ran, for how long it waited for a CPU, and
//! whether it seems to be waiting now. Knows nothing of steps, of the GIL, or of sums over sessions.

use super::accounting::CLOCK_STANDS_STILL;
use crate::model::{Nanos, Sample, State};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClockWatch {
    cpu: Option<Grown>,
    run_delay: Option<Grown>,
    /// Since when the clock has stood still though the thread looks runnable.
    still_since: Nanos,
    asked_at: Nanos,
}

#[derive(Clone, Copy, Debug)]
struct Grown {
    from: Nanos,
    to: Nanos,
}

impl ClockWatch {
    /// Begins with the first sample of the stretch. What the clock showed just before it, where that is known, is where
    /// the count begins; not so for the wait: one that was over by the first sample belongs to what was before.
    pub fn new(at: Nanos, before: Option<&Sample>, sample: &Sample) -> ClockWatch {
        let mut watch = ClockWatch {
            still_since: at,
            asked_at: at,
            ..ClockWatch::default()
        };
        watch.cpu = before
            .and_then(|before| before.cpu)
            .map(|from| Grown { from, to: from });
        watch.see(at, sample);
        watch
    }

    pub fn see(&mut self, at: Nanos, sample: &Sample) {
        if let Some(now) = sample.cpu {
            let moved = self.cpu.is_none_or(|cpu| now > cpu.to);
            if moved || !matches!(sample.state, State::Runnable | State::Unknown) {
                self.still_since = at;
            }
            self.asked_at = at;
        }
        grow(&mut self.cpu, sample.cpu);
        grow(&mut self.run_delay, sample.run_delay);
    }

    /// Goes on to this sample without counting what the clocks gained since the last one: that was spent on something that
    /// is counted elsewhere.
    pub fn pass(&mut self, at: Nanos, sample: &Sample) {
        let before = [self.ran(), self.waited()].map(|nanos| Nanos(nanos as u64));
        self.see(at, sample);
        let after = [self.ran(), self.waited()].map(|nanos| Nanos(nanos as u64));
        for (grown, (before, after)) in [&mut self.cpu, &mut self.run_delay]
            .into_iter()
            .zip(before.into_iter().zip(after))
        {
            if let Some(grown) = grown {
                grown.from += after - before;
            }
        }
    }

    /// Both clocks were read.
    pub fn are_known(&self) -> bool {
        self.cpu.is_some() && self.run_delay.is_some()
    }

    /// On a CPU, nanoseconds.
    pub fn ran(&self) -> f64 {
        length(self.cpu)
    }

    /// Waiting for a CPU, nanoseconds; only waits that are over.
    pub fn waited(&self) -> f64 {
        length(self.run_delay)
    }

    /// Waiting for a CPU now, as far as can be told, nanoseconds.
    pub fn waits_now(&self) -> f64 {
        let still = self.asked_at - self.still_since;
        if still > CLOCK_STANDS_STILL {
            still.0 as f64
        } else {
            0.0
        }
    }
}

fn grow(grown: &mut Option<Grown>, now: Option<Nanos>) {
    if let Some(now) = now {
        let grown = grown.get_or_insert(Grown { from: now, to: now });
        grown.to = grown.to.max(now);
    }
}

fn length(grown: Option<Grown>) -> f64 {
    grown.map_or(0.0, |grown| (grown.to - grown.from).0 as f64)
}
