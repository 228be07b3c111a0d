//! Which of a thread's samples were on a CPU, and by how much its clock grew. The clock gives the total, the samples
//! divide it later, over a whole window (`tally`): dividing from tick to tick would be biased, because most short steps
//! fall between two samples. Knows nothing of windows, of steps as blocks, or of which sessions are live.
//!
//! Two things about the kernel decide the design. A thread that waits for a CPU looks exactly like one that runs; the
//! wait shows in `run_delay` only when it is over. And the clock of a running thread is up to a scheduler tick old. So
//! samples that look on-CPU wait here until the clock moves, and are booked together with its growth: what is booked
//! was on a CPU, weights and growth fall into the same slice, and nothing is lost between windows.

use super::moment::{Moment, looks_on_cpu, session_of};
use super::tally::ThreadTally;
use crate::model::{Nanos, SessionKey, State};
use std::collections::{BTreeMap, VecDeque};

/// Three scheduler ticks at HZ 250: a thread whose clock stands still for longer does not run, whatever else is said.
pub(super) const CLOCK_STANDS_STILL: Nanos = Nanos(12_000_000);

/// What a thread did for so long without a sample is not taken for what it did before or after.
const UNKNOWN: Nanos = Nanos(100_000_000);

/// At most so many samples wait for the clock; older ones have waited for over a second and were not on a CPU.
const MOST_WAITING: usize = 2048;

/// So many owe at most,
const MOST_OWED: usize = 256;
/// so much,
const LONGEST_OWED: f64 = 50e6;
/// and of one sample so much is taken: something of it is always left, or the thread's time would be nobody's.
const MOST_PAID: f64 = 0.9;

/// A sample that looks on-CPU and waits for the clock to confirm it.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    at: Nanos,
    session: Option<SessionKey>,
    /// Nanoseconds that it stands for.
    weight: f64,
    /// The kernel said Runnable; else it said nothing.
    said_runnable: bool,
}

/// The CPU account of one thread.
#[derive(Debug, Default)]
pub(super) struct CpuMeter {
    /// Highest clock seen; a clock that runs backwards is not believed.
    cpu: Option<Nanos>,
    run_delay: Option<Nanos>,
    /// When the clocks were last read.
    asked_at: Nanos,
    waiting: VecDeque<Waiting>,
    /// Waits for a CPU that no sample gave back yet, nanoseconds, by whose they were.
    owed: BTreeMap<Option<SessionKey>, f64>,
}

impl CpuMeter {
    /// Books a sample. True: the clock moved since it was last read.
    pub fn observe(&mut self, moment: &Moment<'_>, tally: &mut ThreadTally) -> bool {
        let mut moment = *moment;
        if moment.left_out() >= UNKNOWN {
            // What it used meanwhile was in the worker's clock when it was used, and was nobody's there.
            *self = CpuMeter::default();
            moment.before = None;
        }
        let moment = &moment;
        let in_gap = on_cpu_in_gap(moment);
        let waited = self.grown_delay(moment.sample.run_delay);
        // What no sample stands for is the first to have been the wait.
        let waited_in_gap = waited.min(in_gap);
        if waited > 0.0 {
            let taken = self.take_back(waited - waited_in_gap, moment.at);
            self.owe(waited - waited_in_gap - taken, moment);
        }
        let mut gap_weight = (in_gap - waited_in_gap).min(self.most_run(moment));
        if in_gap == 0.0 && moment.excess() >= UNKNOWN.0 as f64 {
            // It slept at both ends of a long gap, and what it did in between nobody saw.
            let clocks = moment.sample.cpu.zip(self.cpu);
            gap_weight = clocks.map_or(0.0, |(now, then)| ((now - then).0 as f64).min(moment.excess()));
        }
        if gap_weight > 0.0 {
            let same = moment.same_step_as_before();
            self.waiting.push_back(Waiting {
                at: moment.at,
                session: if same { session_of(moment.sample.owner) } else { None },
                weight: gap_weight,
                said_runnable: true,
            });
        }
        let moved = self.read_clock(moment, tally);
        if looks_on_cpu(moment.sample.state) {
            let session = session_of(moment.sample.owner);
            let weight = self.pay(session, moment.period.0 as f64);
            self.waiting.push_back(Waiting {
                at: moment.at,
                session,
                weight,
                said_runnable: moment.sample.state == State::Runnable,
            });
        }
        if self.cpu.is_none() {
            // Nothing to divide: without a clock the thread's time is nobody's.
            self.waiting.clear();
        }
        while self.waiting.len() > MOST_WAITING {
            self.waiting.pop_front();
        }
        moved
    }

    /// The longest that the thread can have run since its clock was last read, staleness allowed for, nanoseconds.
    fn most_run(&self, moment: &Moment<'_>) -> f64 {
        match (moment.sample.cpu, self.cpu) {
            (Some(now), Some(then)) => (now - then + CLOCK_STANDS_STILL).0 as f64,
            _ => f64::INFINITY,
        }
    }

    /// By how much the wait for a CPU grew since it was last read, nanoseconds.
    fn grown_delay(&mut self, run_delay: Option<Nanos>) -> f64 {
        let Some(now) = run_delay else { return 0.0 };
        let grown = self.run_delay.map_or(0.0, |then| (now - then).0 as f64);
        self.run_delay = Some(self.run_delay.map_or(now, |then| then.max(now)));
        grown
    }

    /// A wait for a CPU, `delay` nanoseconds long, ended somewhere between the last reading of the clocks and `now`.
    /// Each sample loses the share of its weight that is the chance of its having lain in the wait, if every end is
    /// equally likely. Samples from before the last reading that still wait here have seen the clock stand still: the
    /// thread has not run since, so they are all of the step in which it waits.
    /// Returns what they lost.
    fn take_back(&mut self, delay: f64, now: Nanos) -> f64 {
        let (then, now) = (self.asked_at.0 as f64, now.0 as f64);
        let mut taken = 0.0;
        if delay <= 0.0 || now <= then {
            return taken;
        }
        for sample in self.waiting.iter_mut().rev() {
            let at = sample.at.0 as f64;
            let chance = ((now.min(at + delay) - then.max(at)) / (now - then)).clamp(0.0, 1.0);
            taken += sample.weight * chance;
            sample.weight *= 1.0 - chance;
            if chance <= 0.0 && at <= then {
                break;
            }
        }
        taken
    }

    /// A thread that is woken waits for a CPU before it runs, mostly for less than a period: now and then a sample lies in
    /// such a wait and looks like one on a CPU, and seldom does the same reading tell of both. So what a wait after sleep
    /// was too long by is kept, and is paid by the samples that look on-CPU where the thread had slept.
    fn owe(&mut self, nanos: f64, moment: &Moment<'_>) {
        let Some(before) = moment.before.filter(|before| !looks_on_cpu(before.sample.state)) else {
            return;
        };
        if nanos > 0.0 && (self.owed.len() < MOST_OWED || self.owed.contains_key(&session_of(before.sample.owner))) {
            let owed = self.owed.entry(session_of(before.sample.owner)).or_default();
            *owed = (*owed + nanos).min(LONGEST_OWED);
        }
    }

    /// What is left of a sample's weight.
    fn pay(&mut self, session: Option<SessionKey>, weight: f64) -> f64 {
        let Some(owed) = self.owed.get_mut(&session) else {
            return weight;
        };
        let paid = owed.min(weight * MOST_PAID);
        *owed -= paid;
        if *owed <= 0.0 {
            self.owed.remove(&session);
        }
        weight - paid
    }

    /// Takes over the clock, and books what it confirms. True: it moved.
    fn read_clock(&mut self, moment: &Moment<'_>, tally: &mut ThreadTally) -> bool {
        let Some(now) = moment.sample.cpu else { return false };
        let grown = self.cpu.map_or(Nanos::ZERO, |then| now - then);
        self.cpu = Some(self.cpu.map_or(now, |then| then.max(now)));
        self.asked_at = moment.at;
        tally.cpu += grown.0 as f64;
        let moved = grown > Nanos::ZERO;
        // The clock of a thread that went to sleep is exact: whatever looked on-CPU before was, even if it was so for
        // the instant between the reading of the state and that of the clock.
        if moved || !looks_on_cpu(moment.sample.state) {
            self.book(grown.0 as f64, tally);
        }
        moved
    }

    /// Books all that waits, now that the clock has grown by `grown` nanoseconds.
    fn book(&mut self, grown: f64, tally: &mut ThreadTally) {
        let delay_is_kept = self.run_delay.is_some_and(|delay| delay > Nanos::ZERO);
        let mut left = grown;
        for sample in self.waiting.drain(..).rev() {
            // Where the kernel says no state, or keeps no account of waits, the clock alone has to tell: the thread ran
            // for as long as it says, and last.
            let clock_alone = !sample.said_runnable || !delay_is_kept;
            let weight = if clock_alone {
                sample.weight.min(left)
            } else {
                sample.weight
            };
            left = (left - weight).max(0.0);
            tally.on_cpu.add(sample.session, weight);
        }
    }

    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.waiting.len() + self.owed.len()
    }
}

/// The thread's time on a CPU in a gap for which no sample stands, as far as its two ends tell, nanoseconds.
fn on_cpu_in_gap(moment: &Moment<'_>) -> f64 {
    let Some(before) = moment.before else { return 0.0 };
    let ends = [before.sample.state, moment.sample.state];
    moment.excess() * ends.iter().filter(|state| looks_on_cpu(**state)).count() as f64 / 2.0
}
