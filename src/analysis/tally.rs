//! Sums over a stretch of time, which can be added up: a slice of some tens of milliseconds, a window, an epoch.
//! Divides what the threads' clocks say by what the samples say. Knows nothing of how the sums are collected, of
//! blocks, or of which sessions are live.

use super::lateness::Lateness;
use crate::model::{Nanos, SessionKey, StackBatch, ThreadIndex};
use std::collections::BTreeMap;

// Ordered maps throughout: sums of floating-point numbers depend on their order, and a replay must be exact.

/// Nanoseconds of several sessions, and of nobody.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    pub sessions: BTreeMap<SessionKey, f64>,
    /// Of no session, or of one that could not be told.
    pub nobody: f64,
}

impl Shares {
    pub fn add(&mut self, session: Option<SessionKey>, nanos: f64) {
        if nanos <= 0.0 {
            return;
        }
        match session {
            Some(key) => *self.sessions.entry(key).or_default() += nanos,
            None => self.nobody += nanos,
        }
    }

    pub fn total(&self) -> f64 {
        self.sessions.values().sum::<f64>() + self.nobody
    }

    /// Adds `other`, each share times `factor`.
    pub fn add_scaled(&mut self, other: &Shares, factor: f64) {
        for (key, nanos) in &other.sessions {
            self.add(Some(*key), nanos * factor);
        }
        self.add(None, other.nobody * factor);
    }

    /// Makes the shares of sessions that are over nobody's.
    pub fn fold(&mut self, over: &dyn Fn(SessionKey) -> bool) {
        let nobody = &mut self.nobody;
        self.sessions.retain(|key, nanos| {
            let keep = !over(*key);
            if !keep {
                *nobody += *nanos;
            }
            keep
        });
    }
}

/// One thread.
#[derive(Clone, Debug, Default)]
pub(super) struct ThreadTally {
    /// What its on-CPU clock grew by, nanoseconds.
    pub cpu: f64,
    /// Weights of the samples in which it was on a CPU.
    pub on_cpu: Shares,
    /// Weights of the samples in which the loop was not idle, by the owner of the step; between steps nobody's.
    pub held: Shares,
    /// Weights of all samples of a loop thread.
    pub observed: f64,
    /// True time that those samples cover.
    pub elapsed: f64,
}

impl ThreadTally {
    pub fn merge(&mut self, other: &ThreadTally) {
        self.cpu += other.cpu;
        self.on_cpu.add_scaled(&other.on_cpu, 1.0);
        self.held.add_scaled(&other.held, 1.0);
        self.observed += other.observed;
        self.elapsed += other.elapsed;
    }

    /// The clock's growth, divided by the samples. Without a sample on a CPU it is no session's.
    pub fn cpu_shares(&self) -> Shares {
        let mut shares = Shares::default();
        let weights = self.on_cpu.total();
        if weights > 0.0 {
            shares.add_scaled(&self.on_cpu, self.cpu / weights);
        }
        shares
    }

    /// True time by holder of the loop: the weights are periods, which jitter makes a little too many or too few.
    /// Never more than `length`, though a thread may first be seen again after a gap longer than that.
    pub fn held_shares(&self, length: f64) -> Shares {
        let mut shares = Shares::default();
        if self.observed > 0.0 {
            shares.add_scaled(&self.held, self.elapsed.min(length) / self.observed);
        }
        shares
    }
}

/// The sums.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Where the stretch begins and ends; None while it is empty.
    pub span: Option<(Nanos, Nanos)>,
    /// The number of its first slice.
    pub first_slice: Option<u64>,
    /// What the whole worker used on CPUs, nanoseconds; at least the sum over `threads`.
    pub total_cpu: f64,
    /// What otop itself used, nanoseconds; None while that is not known.
    pub otop_cpu: Option<f64>,
    pub ticks: u64,
    /// Samples that count.
    pub kept: u64,
    pub torn: u64,
    pub unreadable: u64,
    /// Ticks that never came: left out by the sampler, or thrown away with their batch.
    pub dropped: u64,
    pub late: Lateness,
    /// Instants at which stacks were to be read, and were.
    pub stack_ticks: u64,
    /// Of them, samples without a stack that could be proved.
    pub unresolved: u64,
    pub threads: BTreeMap<ThreadIndex, ThreadTally>,
    /// Of threads that ended and whose sums were divided early.
    ended_cpu: Shares,
    ended_held: Shares,
}

impl Tally {
    /// Length in nanoseconds.
    pub fn length(&self) -> f64 {
        self.span.map_or(0.0, |(start, end)| (end - start).0 as f64)
    }

    /// Counts stacks.
    pub fn stacks(&mut self, batch: &StackBatch) {
        self.stack_ticks += u64::from(batch.ticks);
        self.unresolved += batch.samples.iter().filter(|sample| sample.stack.is_none()).count() as u64;
    }

    pub fn merge(&mut self, other: &Tally) {
        self.span = match (self.span, other.span) {
            (Some((start, end)), Some((other_start, other_end))) => Some((start.min(other_start), end.max(other_end))),
            (mine, theirs) => mine.or(theirs),
        };
        self.first_slice = self.first_slice.or(other.first_slice);
        self.total_cpu += other.total_cpu;
        self.otop_cpu = match (self.otop_cpu, other.otop_cpu) {
            (Some(mine), Some(theirs)) => Some(mine + theirs),
            (mine, theirs) => mine.or(theirs),
        };
        self.ticks += other.ticks;
        self.kept += other.kept;
        self.torn += other.torn;
        self.unreadable = self.unreadable.saturating_add(other.unreadable);
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.late.merge(&other.late);
        self.stack_ticks += other.stack_ticks;
        self.unresolved += other.unresolved;
        for (thread, tally) in &other.threads {
            self.threads.entry(*thread).or_default().merge(tally);
        }
        self.ended_cpu.add_scaled(&other.ended_cpu, 1.0);
        self.ended_held.add_scaled(&other.ended_held, 1.0);
    }

    /// On-CPU nanoseconds by session.
    pub fn cpu(&self) -> Shares {
        let mut shares = self.ended_cpu.clone();
        for thread in self.threads.values() {
            shares.add_scaled(&thread.cpu_shares(), 1.0);
        }
        shares
    }

    /// Nanoseconds for which the loops were held, by session; nobody's is the loops' own work and steps of nobody.
    pub fn held(&self) -> Shares {
        let mut shares = self.ended_held.clone();
        for thread in self.threads.values() {
            shares.add_scaled(&thread.held_shares(self.length()), 1.0);
        }
        shares
    }

    /// Nanoseconds for which this loop thread was not idle; None: no loop was seen in it.
    pub fn busy(&self, thread: ThreadIndex) -> Option<f64> {
        let tally = self.threads.get(&thread)?;
        (tally.observed > 0.0).then(|| tally.held_shares(self.length()).total())
    }

    /// Divides a thread's sums now and forgets the thread, so that a tally which nobody asks for stays small.
    pub fn end_thread(&mut self, thread: ThreadIndex) {
        let length = self.length();
        if let Some(tally) = self.threads.remove(&thread) {
            self.ended_cpu.add_scaled(&tally.cpu_shares(), 1.0);
            self.ended_held.add_scaled(&tally.held_shares(length), 1.0);
        }
    }

    /// Forgets the sessions that are over; their time becomes nobody's.
    pub fn fold(&mut self, over: &dyn Fn(SessionKey) -> bool) {
        for thread in self.threads.values_mut() {
            thread.on_cpu.fold(over);
            thread.held.fold(over);
        }
        self.ended_cpu.fold(over);
        self.ended_held.fold(over);
    }

    /// Number of entries that it holds, for the tests of its bounds.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        let of_threads: usize = self
            .threads
            .values()
            .map(|t| 1 + t.on_cpu.sessions.len() + t.held.sessions.len())
            .sum();
        of_threads + self.ended_cpu.sessions.len() + self.ended_held.sessions.len() + self.late.entries()
    }
}
