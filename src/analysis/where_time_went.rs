//! Where the time of one stretch of a loop went. Each half of the time between two samples has the state of the sample
//! next to it; what was runnable is told apart by the clocks. The parts always sum to the stretch. Knows nothing of
//! when a stretch begins or ends, nor of who is to blame.

use super::accounting::CLOCK_STANDS_STILL;
use super::clock_watch::ClockWatch;
use super::gil::{GilSums, GilWaits};
use super::moment::{Before, Moment};
use crate::model::{Gil, Nanos, Sample, SessionKey, State, ThreadIndex};

/// The kernel tells what the hypervisor took in hundredths of a second, rounded down.
const STEAL_UNIT: Nanos = Nanos(10_000_000);
/// At most so many system calls are told apart in one stretch.
const MOST_SYSCALLS: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct WhereTimeWent {
    runnable: f64,
    not_said: f64,
    stopped: f64,
    stolen: f64,
    suspended: f64,
    /// Asleep outside of any system call: in a page fault, or where nobody could say that it was frozen.
    asleep: f64,
    syscalls: Vec<(i32, f64)>,
    /// The part of `runnable` and `not_said` in which the loop's thread collected garbage.
    collected: f64,
    /// Somebody said whether garbage was collected.
    collecting_said: bool,
    gil: GilWaits,
    clocks: ClockWatch,
    /// What the hypervisor had taken before.
    steal_before: Option<Nanos>,
}

/// The parts, nanoseconds; they sum to the stretch.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    pub cpu: f64,
    pub syscall: f64,
    pub gil: GilSums,
    /// Collecting garbage, in the loop's own thread or in the one that held the GIL; None: nobody said.
    pub gc: Option<f64>,
    pub unscheduled: f64,
    pub stolen: f64,
    pub stopped: f64,
    pub suspended: f64,
    pub unknown: f64,
    /// The system call that took most, x86-64 number.
    pub longest_syscall: Option<i32>,
}

impl WhereTimeWent {
    /// The stretch begins `lead` nanoseconds before this moment.
    pub fn begin(moment: &Moment<'_>, lead: f64) -> WhereTimeWent {
        let before = moment.before.as_ref().map(|before| &before.sample);
        let mut went = WhereTimeWent {
            clocks: ClockWatch::new(moment.at, before, moment.sample),
            steal_before: moment.steal,
            ..WhereTimeWent::default()
        };
        if moment.sample.state == State::GilWait {
            went.gil.observe(moment);
        }
        went.add(&Side::now(moment), lead);
        went
    }

    /// The stretch went on from the sample before to this one; the machine was suspended meanwhile for `suspended`.
    pub fn go_on(&mut self, before: &Before, moment: &Moment<'_>, suspended: Nanos) {
        let held = moment.held_in_gap().0 as f64;
        self.stopped += held;
        let gap = moment.gap().0 as f64 - held;
        let stolen = stolen_in(&before.sample, moment);
        self.stolen += stolen;
        self.suspended += suspended.0 as f64;
        // What was stolen is taken from the ends that looked runnable.
        let ends = [before.sample.state, moment.sample.state];
        let runnable = ends.iter().filter(|state| may_have_run(**state)).count().max(1) as f64;
        // A sample that was taken while otop held the worker is of that time, which is counted already.
        let in_hold = |state: State| held > 0.0 && state == State::Stopped;
        let half = |state: State, other: State| {
            let share = match (in_hold(state), in_hold(other)) {
                (true, false) => 0.0,
                (false, true) => gap,
                _ => gap / 2.0,
            };
            share - if may_have_run(state) { stolen / runnable } else { 0.0 }
        };
        let asked = self.asks(before.sample.state, before.gil);
        self.add(&Side::before(before), half(ends[0], ends[1]));
        if moment.sample.state == State::GilWait {
            self.gil.observe(moment);
        } else {
            self.gil.stop(moment);
        }
        self.add(&Side::now(moment), half(ends[1], ends[0]));
        match asked && self.asks(moment.sample.state, moment.tick.gil) {
            true => self.clocks.pass(moment.at, moment.sample),
            false => self.clocks.see(moment.at, moment.sample),
        }
    }

    /// The loop waits for the GIL, asleep or awake to ask for it once more.
    fn asks(&self, state: State, gil: Gil) -> bool {
        state == State::GilWait || (may_have_run(state) && self.gil.asks_for(gil))
    }

    /// The stretch ended `tail` nanoseconds after the sample before, and by this moment something else was seen.
    pub fn end(&mut self, before: &Before, moment: &Moment<'_>, tail: f64) {
        self.add(&Side::before(before), tail);
        self.gil.stop(moment);
        self.clocks.see(moment.at, moment.sample);
    }

    /// The sessions of those that held the GIL.
    pub fn holders(&self) -> impl Iterator<Item = SessionKey> {
        self.gil.sessions()
    }

    fn add(&mut self, side: &Side, nanos: f64) {
        self.collecting_said |= side.collecting.is_some();
        let collecting = side.collecting == Some(true);
        let by_itself = collecting && side.gil.holder.is_none_or(|holder| holder == side.thread);
        if may_have_run(side.state) && self.gil.asks_for(side.gil) {
            self.gil.add(nanos, collecting);
            return;
        }
        match side.state {
            State::Runnable | State::Unknown if by_itself => self.collected += nanos,
            _ => {}
        }
        match side.state {
            State::Runnable => self.runnable += nanos,
            State::Unknown => self.not_said += nanos,
            State::Stopped => self.stopped += nanos,
            State::GilWait => self.gil.add(nanos, collecting && !by_itself),
            State::Syscall(..0) => self.asleep += nanos,
            State::Syscall(number) => self.add_syscall(number, nanos),
        }
    }

    fn add_syscall(&mut self, number: i32, nanos: f64) {
        match self.syscalls.iter().position(|(known, _)| *known == number) {
            Some(known) => self.syscalls[known].1 += nanos,
            None if self.syscalls.len() < MOST_SYSCALLS => self.syscalls.push((number, nanos)),
            None => self.not_said += nanos,
        }
    }

    /// Some of it is a riddle, unless it was the hypervisor's.
    pub fn awaits_steal(&self) -> bool {
        let parts = self.parts(false, None);
        parts.gil.riddle > 0.0 || (self.clocks.are_known() && parts.unknown > self.asleep)
    }

    /// The parts as they are known now. While the stretch is `ongoing`, a clock that stands still says that the thread
    /// waits for a CPU; once it is over the clocks have said all they will. `steal`: what the hypervisor had taken when it
    /// was last asked.
    pub fn parts(&self, ongoing: bool, steal: Option<Nanos>) -> Parts {
        let taken = match (self.steal_before, steal) {
            (Some(before), Some(now)) if now > before => (now - before + STEAL_UNIT).0 as f64,
            _ => 0.0,
        };
        let mut taken = (taken - self.stolen).max(0.0);
        let gil = self.gil.sums(&mut taken);
        let collected_by_holder = gil.collected;
        let mut parts = Parts {
            syscall: self.syscalls.iter().map(|(_, nanos)| nanos).sum(),
            longest_syscall: self
                .syscalls
                .iter()
                .max_by(|one, other| one.1.total_cmp(&other.1))
                .map(|(nr, _)| *nr),
            unscheduled: gil.unscheduled,
            stolen: self.stolen + gil.stolen,
            stopped: self.stopped,
            suspended: self.suspended,
            gil,
            ..Parts::default()
        };
        self.divide_runnable(ongoing, &mut taken, &mut parts);
        parts.unknown += self.asleep;
        // Garbage is collected on the CPU: of the time that looked so, what the clocks say was.
        let collected = self.collected.min(parts.cpu);
        parts.cpu -= collected;
        parts.gc = self.collecting_said.then_some(collected + collected_by_holder);
        parts
    }

    /// `taken`: what the hypervisor took of no thread that was told yet.
    fn divide_runnable(&self, ongoing: bool, taken: &mut f64, parts: &mut Parts) {
        let mut left = self.runnable;
        let mut waited = self.clocks.waited();
        let mut ran = self.clocks.ran();
        let take = |left: &mut f64, from: &mut f64| {
            let taken = left.min(*from);
            *left -= taken;
            *from -= taken;
            taken
        };
        parts.unscheduled += take(&mut left, &mut waited);
        parts.cpu += take(&mut left, &mut ran);
        if ongoing {
            let mut waits_now = self.clocks.waits_now();
            parts.unscheduled += take(&mut left, &mut waits_now);
        }
        // The clock of a running thread is a scheduler tick old: so much is no riddle.
        if left <= CLOCK_STANDS_STILL.0 as f64 {
            parts.cpu += left;
        } else if self.clocks.are_known() {
            // The clocks of a thread whose CPU the hypervisor took stand still, both of them (kernel/sched/core.c,
            // `update_rq_clock_task`), while the sampler goes on beside it.
            parts.stolen += take(&mut left, taken);
            match ongoing {
                // What the hypervisor took is said a little later.
                true => parts.unscheduled += left,
                false => parts.unknown += left,
            }
        } else {
            parts.unknown += left;
        }
        // Where the kernel said no state, only what the clocks prove is known.
        let mut not_said = self.not_said;
        parts.unscheduled += take(&mut not_said, &mut waited);
        parts.cpu += take(&mut not_said, &mut ran);
        parts.unknown += not_said;
    }
}

/// One of the two samples between which time went by.
struct Side {
    thread: ThreadIndex,
    state: State,
    gil: Gil,
    collecting: Option<bool>,
}

impl Side {
    fn now(moment: &Moment<'_>) -> Side {
        Side {
            thread: moment.sample.thread,
            state: moment.sample.state,
            gil: moment.tick.gil,
            collecting: moment.tick.collecting,
        }
    }

    fn before(before: &Before) -> Side {
        Side {
            thread: before.sample.thread,
            state: before.sample.state,
            gil: before.gil,
            collecting: before.collecting,
        }
    }
}

fn may_have_run(state: State) -> bool {
    matches!(state, State::Runnable | State::Unknown)
}

/// What the hypervisor took between two samples, nanoseconds: the sampler woke late though no other thread of this
/// machine had kept it from its CPU, and the thread neither ran nor waited meanwhile.
fn stolen_in(before: &Sample, moment: &Moment<'_>) -> f64 {
    if moment.excess() == 0.0 || !(may_have_run(before.state) || may_have_run(moment.sample.state)) {
        return 0.0;
    }
    let grown = |now: Option<Nanos>, then: Option<Nanos>| match (now, then) {
        (Some(now), Some(then)) => now - then,
        _ => Nanos::ZERO,
    };
    let accounted =
        grown(moment.sample.cpu, before.cpu) + grown(moment.sample.run_delay, before.run_delay) + moment.period;
    let late = moment.tick.late - moment.tick.own_wait;
    let gap = moment.gap() - moment.held_in_gap();
    let ends = [before.state, moment.sample.state]
        .iter()
        .filter(|state| may_have_run(**state))
        .count() as f64;
    (late.min(gap - accounted).0 as f64).min(gap.0 as f64 * ends / 2.0)
}

impl Parts {
    /// The part that somebody can be blamed for, nanoseconds.
    pub fn blameable(&self) -> f64 {
        self.cpu + self.syscall + self.gil.waited() + self.gc.unwrap_or(0.0) + self.unknown
    }
}
