//! The stretches of time that a report can be about: the sliding window (a ring of slices), the tumbling one, the open
//! epoch of the figures since attach, and the history of a value a second. Also makes the worker's total fit its
//! threads' clocks. Knows nothing of single samples, of blocks, or of which sessions are live.

use super::tally::Tally;
use crate::model::{Nanos, SessionKey, ThreadIndex};
use std::collections::VecDeque;

/// Batches are gathered into slices of at least this length, which bounds the ring.
const SLICE: Nanos = Nanos(40_000_000);
/// An epoch that nobody asks for is closed at this length.
const LONGEST_EPOCH: Nanos = Nanos(2_000_000_000);
/// A report closes an epoch of this length, so that at one report a second what was said of the time since attach is
/// final.
const REPORTED_EPOCH: Nanos = Nanos(900_000_000);
const HISTORY: usize = 60;
const SECOND: u64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Windows {
    length: Nanos,
    slices: VecDeque<Tally>,
    next_slice: u64,
    tumbling: Tally,
    /// The number of the slice that the tumbling window begins with.
    tumbling_from: u64,
    epoch: Tally,
    /// All that the worker used since attach, nanoseconds.
    total_cpu: f64,
    total: TotalCpu,
    history: History,
}

impl Windows {
    pub fn new(length: Nanos) -> Windows {
        Windows {
            length,
            slices: VecDeque::new(),
            next_slice: 0,
            tumbling: Tally::default(),
            tumbling_from: 0,
            epoch: Tally::default(),
            total_cpu: 0.0,
            total: TotalCpu::default(),
            history: History::default(),
        }
    }

    /// Takes over what one batch said. `process_cpu` is the worker's clock at its end.
    pub fn add(&mut self, mut batch: Tally, process_cpu: Option<Nanos>) {
        let of_threads = batch.threads.values().map(|thread| thread.cpu).sum();
        batch.first_slice = Some(self.next_slice);
        self.next_slice += 1;
        batch.total_cpu = self.total.grow(of_threads, process_cpu);
        self.total_cpu += batch.total_cpu;
        self.tumbling.merge(&batch);
        self.epoch.merge(&batch);
        if let Some((start, end)) = batch.span {
            self.history.add(start, end, batch.total_cpu);
        }
        match self.slices.back_mut() {
            Some(last) if last.length() < SLICE.0 as f64 => last.merge(&batch),
            _ => self.slices.push_back(batch),
        }
        let newest = self.newest();
        while self.slices.len() > 1
            && self
                .slices
                .front()
                .is_some_and(|slice| !reaches(slice, newest, self.length))
        {
            self.slices.pop_front();
        }
    }

    /// The number that the next slice will have.
    pub fn next_slice(&self) -> u64 {
        self.next_slice
    }

    /// When the last tick was; zero before the first.
    pub fn newest(&self) -> Nanos {
        self.slices
            .back()
            .and_then(|slice| slice.span)
            .map_or(Nanos::ZERO, |(_, end)| end)
    }

    /// The last `length` before `now`, in whole slices.
    pub fn sliding(&self, now: Nanos) -> Tally {
        let mut window = Tally::default();
        for slice in self.slices.iter().filter(|slice| reaches(slice, now, self.length)) {
            window.merge(slice);
        }
        window
    }

    /// Everything since this was last called. What is told between its last batch and the next one is told in this
    /// window: the next begins with a number of its own.
    pub fn tumble(&mut self) -> Tally {
        let mut window = std::mem::take(&mut self.tumbling);
        window.first_slice = Some(self.tumbling_from);
        self.next_slice += 1;
        self.tumbling_from = self.next_slice;
        window
    }

    /// The epoch, if it is long enough to be closed (for a report, where one is made); it is divided by the caller and
    /// forgotten here.
    pub fn close_epoch(&mut self, for_report: bool) -> Option<Tally> {
        let least = if for_report { REPORTED_EPOCH } else { LONGEST_EPOCH };
        (self.epoch.length() >= least.0 as f64).then(|| std::mem::take(&mut self.epoch))
    }

    /// The epoch that is not closed yet.
    pub fn open_epoch(&self) -> &Tally {
        &self.epoch
    }

    /// On-CPU time of the worker since attach, nanoseconds.
    pub fn total_cpu(&self) -> f64 {
        self.total_cpu
    }

    /// Percent of one core, a value a second, oldest first.
    pub fn history(&self) -> Vec<f64> {
        self.history.values.iter().copied().collect()
    }

    pub fn end_thread(&mut self, thread: ThreadIndex) {
        self.tumbling.end_thread(thread);
        self.epoch.end_thread(thread);
    }

    /// Forgets sessions that are over, where time alone would not.
    pub fn fold(&mut self, over: &dyn Fn(SessionKey) -> bool) {
        self.tumbling.fold(over);
        self.epoch.fold(over);
    }

    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.slices.iter().map(|slice| 1 + slice.entries()).sum::<usize>()
            + self.tumbling.entries()
            + self.epoch.entries()
            + self.history.values.len()
    }
}

/// Most of the slice lies in the window that ends at `now`.
fn reaches(slice: &Tally, now: Nanos, window: Nanos) -> bool {
    slice
        .span
        .is_some_and(|(start, end)| start + Nanos((end - start).0 / 2) + window > now)
}

/// Makes one total of two clocks that are read at different instants: the worker's, and the sum of its threads'. The
/// worker's may lag behind the sum by a scheduler tick; then the total is the sum, and waits until the worker's clock
/// has caught up. So the total is never less than its parts, in any stretch, and never drifts from the worker's clock.
#[derive(Debug, Default)]
struct TotalCpu {
    process_cpu: Option<Nanos>,
    /// By how much the total is ahead of the worker's clock, nanoseconds.
    ahead: f64,
}

impl TotalCpu {
    /// The total's growth, nanoseconds.
    fn grow(&mut self, of_threads: f64, process_cpu: Option<Nanos>) -> f64 {
        let Some(now) = process_cpu else { return of_threads };
        let Some(then) = self.process_cpu else {
            self.process_cpu = Some(now);
            return of_threads;
        };
        self.process_cpu = Some(now.max(then));
        let of_process = (now - then).0 as f64;
        let total = of_threads.max(of_process - self.ahead);
        self.ahead += total - of_process;
        total
    }
}

/// The worker's use of CPUs, a value a second.
#[derive(Debug, Default)]
struct History {
    values: VecDeque<f64>,
    /// The second that is being filled.
    second: Option<u64>,
    cpu: f64,
    length: f64,
}

impl History {
    fn add(&mut self, start: Nanos, end: Nanos, cpu: f64) {
        let second = end.0 / SECOND;
        if self.second.is_some_and(|filled| second > filled) {
            self.values.push_back(super::percent(self.cpu, self.length));
            while self.values.len() > HISTORY {
                self.values.pop_front();
            }
            (self.cpu, self.length) = (0.0, 0.0);
        }
        self.second = Some(second);
        self.cpu += cpu;
        self.length += (end - start).0 as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_never_less_than_the_threads_and_does_not_drift() {
        let mut total = TotalCpu::default();
        total.grow(0.0, Some(Nanos(0)));
        // (threads, worker's clock) → total
        let steps = [
            (10.0, 6, 10.0),
            (10.0, 20, 10.0),
            (0.0, 20, 0.0),
            (5.0, 40, 20.0),
            (0.0, 41, 1.0),
        ];
        let mut sum = 0.0;
        for (threads, clock, expected) in steps {
            let grown = total.grow(threads, Some(Nanos(clock)));
            assert_eq!(grown, expected, "threads {threads}, clock {clock}");
            sum += grown;
        }
        assert_eq!(sum, 41.0);
    }

    #[test]
    fn without_the_workers_clock_the_threads_are_the_total() {
        let mut total = TotalCpu::default();
        assert_eq!(total.grow(7.0, None), 7.0);
        assert_eq!(total.grow(7.0, Some(Nanos(1_000))), 7.0);
        assert_eq!(total.grow(7.0, Some(Nanos(1_010))), 10.0);
        assert_eq!(
            total.grow(0.0, Some(Nanos(900))),
            0.0,
            "a clock that runs backwards adds nothing"
        );
    }

    #[test]
    fn history_has_a_value_a_second_and_sixty_at_most() {
        let mut history = History::default();
        for i in 0..100 * 20_u64 {
            history.add(Nanos(i * SECOND / 20), Nanos((i + 1) * SECOND / 20 - 1), 5e6);
        }
        assert_eq!(history.values.len(), 60);
        assert!(
            history.values.iter().all(|value| (value - 10.0).abs() < 0.01),
            "{:?}",
            history.values
        );
    }
}
