//! One sample in its place: what it says, when it was taken, and what was seen of the same thread before it. Knows
//! nothing of what is concluded from it.

use crate::model::{Gil, Nanos, Owner, Sample, SessionKey, State, Tick};

/// The previous sample of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub at: Nanos,
    pub sample: Sample,
    /// How long the machine had been suspended since the attach, all told, when it was taken.
    pub suspended: Nanos,
    /// How long otop had held the worker since the attach, all told.
    pub held: Nanos,
    pub gil: Gil,
    pub collecting: Option<bool>,
}

impl Before {
    /// What is to be remembered of this moment.
    pub fn of(moment: &Moment<'_>) -> Before {
        Before {
            at: moment.at,
            sample: *moment.sample,
            suspended: moment.suspended,
            held: moment.held,
            gil: moment.tick.gil,
            collecting: moment.tick.collecting,
        }
    }
}

/// A sample, with what is needed to judge it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    pub at: Nanos,
    pub tick: &'a Tick,
    pub sample: &'a Sample,
    /// All samples of this tick, other threads' too.
    pub all: &'a [Sample],
    pub before: Option<Before>,
    /// When the tick before this one was, of whatever threads.
    pub previous_tick: Option<Nanos>,
    /// What one sample stands for.
    pub period: Nanos,
    /// How long the machine has been suspended since the attach, all told.
    pub suspended: Nanos,
    /// How long otop has held the worker since the attach, all told.
    pub held: Nanos,
    /// What the hypervisor had taken by then, since the machine booted, as it was last asked before.
    pub steal: Option<Nanos>,
}

impl Moment<'_> {
    /// Time since the thread's previous sample; one period for its first.
    pub fn gap(&self) -> Nanos {
        self.before.map_or(self.period, |before| self.at - before.at)
    }

    /// The part of the gap in which otop held the worker.
    pub fn held_in_gap(&self) -> Nanos {
        let held = self.before.map_or(Nanos::ZERO, |before| self.held - before.held);
        held.min(self.gap())
    }

    /// The part of the gap for which no sample stands, nanoseconds. The schedule is jittered, so that two ticks in a
    /// row may lie two periods apart though none is missing; only what is longer is a gap.
    pub fn excess(&self) -> f64 {
        let gap = self.gap();
        if gap.0 > self.period.0.saturating_mul(2) {
            (gap - self.period).0 as f64
        } else {
            0.0
        }
    }

    /// There were ticks since the thread's last sample, for that long, which did not ask of it: one that has nothing to do
    /// is left out.
    pub fn left_out(&self) -> Nanos {
        match (self.before, self.previous_tick) {
            (Some(before), Some(previous)) => previous - before.at,
            _ => Nanos::ZERO,
        }
    }

    /// The thread was in one and the same step, of the same owner, over the whole gap.
    pub fn same_step_as_before(&self) -> bool {
        self.before.is_some_and(|before| {
            self.sample.step.is_some()
                && before.sample.step == self.sample.step
                && before.sample.owner == self.sample.owner
        })
    }

    /// This tick's sample of another thread.
    pub fn of_thread(&self, thread: crate::model::ThreadIndex) -> Option<&Sample> {
        self.all.iter().find(|sample| sample.thread == thread)
    }
}

/// The session that a sample was proved to belong to.
pub(super) fn session_of(owner: Owner) -> Option<SessionKey> {
    match owner {
        Owner::Session(key) => Some(key),
        Owner::Nobody | Owner::Torn | Owner::Unreadable => None,
    }
}

/// A loop between two steps that sleeps in this system call of x86-64 waits for something to do: `epoll_wait`,
/// `epoll_pwait`, `epoll_pwait2`, `select`, `pselect6`, `poll`, `ppoll`. In any other it does not look at what is ready, as
/// where asyncio's own exception handler logs into a pipe that is full. −1: a page fault, of which nothing is known.
pub(super) fn waits_for_events(syscall: i32) -> bool {
    matches!(syscall, 232 | 281 | 441 | 23 | 270 | 7 | 271 | -1)
}

/// The kernel did not say that the thread sleeps; whether it really ran is for the clocks to say.
pub(super) fn looks_on_cpu(state: State) -> bool {
    matches!(state, State::Runnable | State::Unknown)
}
