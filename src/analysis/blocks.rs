//! Stretches in which one loop made no progress: the state machine that finds where they begin and end. Fed with the
//! samples of one loop thread. Knows nothing of names, of reports, or of how a stretch is judged.

use super::moment::{Before, Moment, waits_for_events};
use super::step_owner::Workers;
use super::where_time_went::WhereTimeWent;
use crate::model::{Nanos, Owner, SessionKey, State};

/// A loop that has not been seen for so long is no longer said to be stuck.
const LOST_SIGHT: Nanos = Nanos(1_000_000_000);
/// What stays the same for as long as the loop makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StuckIn {
    /// One step, by its serial number.
    Step(u64),
    /// Between steps, wanting to go on, by the number of the progress that it made last.
    Between(u64),
}

/// A stretch of a loop without progress.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    stuck_in: StuckIn,
    pub began: Nanos,
    /// It was going on when the thread was first seen; it began earlier, nobody knows when.
    pub began_unseen: bool,
    /// How long the machine had been suspended since the attach, when the stretch began.
    pub suspended_before: Nanos,
    /// The end; of an ongoing one, up to where it was seen.
    pub until: Nanos,
    workers: Workers,
    pub went: WhereTimeWent,
    suspended: Nanos,
}

impl Stretch {
    /// Length, time in which the machine was suspended included.
    pub fn duration(&self) -> Nanos {
        self.until - self.began + self.suspended
    }

    /// The session to which the step belongs.
    pub fn owner(&self) -> Option<SessionKey> {
        self.workers.owner()
    }

    /// All sessions that what is said of it may name.
    pub fn sessions(&self) -> impl Iterator<Item = SessionKey> {
        self.workers.sessions().chain(self.went.holders())
    }
}

/// The machine of one loop thread.
#[derive(Debug, Default)]
pub(super) struct BlockMachine {
    stretch: Option<Stretch>,
    before: Option<Before>,
}

impl BlockMachine {
    /// Takes one sample; returns the stretch that it ended.
    pub fn observe(&mut self, moment: &Moment<'_>) -> Option<Stretch> {
        // Says nothing of its step. If the next one that does is in the same, this was in it too. In what is unreadable the
        // thread stood still: its step is known, only whose it is is not.
        let is_known = match moment.sample.owner {
            Owner::Torn => false,
            Owner::Unreadable => moment.sample.step.is_some(),
            Owner::Nobody | Owner::Session(_) => true,
        };
        if !is_known {
            return self.lost_sight(moment.at);
        }
        let moment = Moment {
            before: self.before,
            ..*moment
        };
        let now = stuck_in(&moment);
        let mut ended = None;
        if let (Some(stretch), Some(before)) = (&mut self.stretch, &self.before) {
            if now == Some(stretch.stuck_in) && proves_no_progress(before, &moment) {
                let suspended = moment.suspended - before.suspended;
                stretch.went.go_on(before, &moment, suspended);
                stretch.suspended += suspended;
                stretch.until = moment.at;
                if now.is_some_and(|now| matches!(now, StuckIn::Step(_))) {
                    stretch.workers.add(moment.sample, moment.gap());
                }
            } else {
                let tail = half_gap(&moment);
                stretch.went.end(before, &moment, tail.0 as f64);
                stretch.until = before.at + tail;
                ended = self.stretch.take();
            }
        }
        if self.stretch.is_none()
            && let Some(stuck_in) = now
        {
            self.stretch = Some(begin(stuck_in, &moment));
        }
        self.before = Some(Before::of(&moment));
        ended
    }

    /// The stretch that is going on.
    pub fn ongoing(&self) -> Option<&Stretch> {
        self.stretch.as_ref()
    }

    /// Ends what is going on where it was last seen: the thread, its loop or the worker is gone.
    pub fn finish(&mut self) -> Option<Stretch> {
        self.before = None;
        self.stretch.take()
    }

    /// Ends what is going on if it has not been seen for long.
    pub fn lost_sight(&mut self, now: Nanos) -> Option<Stretch> {
        let lost = self
            .stretch
            .as_ref()
            .is_some_and(|stretch| now - stretch.until > LOST_SIGHT);
        if lost { self.stretch.take() } else { None }
    }
}

fn stuck_in(moment: &Moment<'_>) -> Option<StuckIn> {
    match (moment.sample.step, moment.sample.state) {
        (Some(serial), _) => Some(StuckIn::Step(serial)),
        (None, State::Runnable | State::GilWait | State::Stopped) => Some(StuckIn::Between(moment.sample.progress)),
        (None, State::Syscall(number)) if !waits_for_events(number) => Some(StuckIn::Between(moment.sample.progress)),
        (None, State::Syscall(_) | State::Unknown) => None,
    }
}

/// Whether two samples that look stuck in the same are one stretch. A step's serial number proves it. Between steps a
/// loop may have slept in a gap, and woken, without running anything; then its clocks show less than the gap. Clocks that
/// stand still prove that it did not run at all, so that it waits where it waited. And as long as another thread's GIL has not
/// changed hands, the loop had none of it, whatever else it did.
fn proves_no_progress(before: &Before, moment: &Moment<'_>) -> bool {
    if moment.sample.step.is_some() || moment.excess() == 0.0 {
        return true;
    }
    // Whether it is seen asleep in its wait, or awake to ask for the GIL once more, as every 5 ms.
    let held_by_another = before.gil.holder.is_some_and(|holder| holder != moment.sample.thread);
    if held_by_another && before.gil == moment.tick.gil {
        return true;
    }
    let (Some(cpu_before), Some(cpu)) = (before.sample.cpu, moment.sample.cpu) else {
        return false;
    };
    let waited = match (before.sample.run_delay, moment.sample.run_delay) {
        (Some(then), Some(now)) => now - then,
        _ => Nanos::ZERO,
    };
    let wanted = cpu - cpu_before + waited;
    cpu == cpu_before || wanted.0 as f64 >= moment.gap().0 as f64 / 2.0
}

/// Half of the way to the neighbouring sample; where ticks are missing, no more than where it would have been: what was
/// not seen is not added to a block.
fn half_gap(moment: &Moment<'_>) -> Nanos {
    Nanos(moment.gap().0.min(moment.period.0.saturating_mul(2)) / 2)
}

fn begin(stuck_in: StuckIn, moment: &Moment<'_>) -> Stretch {
    let lead = if moment.before.is_some() {
        half_gap(moment)
    } else {
        Nanos::ZERO
    };
    let mut stretch = Stretch {
        stuck_in,
        began: moment.at - lead,
        began_unseen: moment.before.is_none(),
        suspended_before: moment.suspended,
        until: moment.at,
        workers: Workers::default(),
        went: WhereTimeWent::begin(moment, lead.0 as f64),
        suspended: Nanos::ZERO,
    };
    if matches!(stuck_in, StuckIn::Step(_)) {
        stretch.workers.add(moment.sample, lead);
    }
    stretch
}
