//! The sampler thread: when to take a tick, and when to hand on what was taken. Knows nothing of what is read.

use super::aside::Aside;
use super::labels::Unsaid;
use super::pace::Pace;
use super::retelling::Told;
use super::schedule::{Schedule, sleep_until};
use super::{clock, ended, monotonic, scheduling};
use crate::memory::Fault;
use crate::model::{Batch, Gil, Nanos, Observation, Pid, Tick, Tid};
use crate::process::{self, StealClock, ThreadClock, privilege};
use crate::source::{Plan, TickReader};
use nix::time::ClockId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

/// How long a batch is collected: every hand-over wakes another thread, which costs more than a tick.
const BATCH: Nanos = Nanos(50_000_000);
const SURVEY_EVERY: Nanos = Nanos(200_000_000);
/// Where threads come by the dozen, they are listed at most this often.
const SURVEY_AT_MOST: Nanos = Nanos(5_000_000);
const FORGET_EVERY: Nanos = Nanos(10_000_000_000);
/// Lateness below this is the timer's own.
const LATE: Nanos = Nanos(1_000_000);

/// Takes ticks until told to stop, or the worker ends.
pub fn run(mut reader: TickReader, plan: &Plan, rate_hz: f64, to: &SyncSender<Observation>, stop: &AtomicBool) {
    // An ordinary thread is woken where there is room for it, by the kernel's own judgement.
    let mut aside = scheduling::be_woken_in_time().then(Aside::new);
    privilege::only_read();
    let mut schedule = Schedule::new(rate_hz, monotonic());
    let mut pace = Pace::new(rate_hz, monotonic());
    let mut steal = StealClock::open();
    let mut batch = Batch {
        steal: steal.read(),
        ..Batch::default()
    };
    let mut began = monotonic();
    let (mut surveyed, mut forgot) = (Nanos::ZERO, began);
    let mut asleep = sleep_offset();
    let own = OwnDelay::open();
    let mut own_wait = own.read();
    let mut dropped = 0;
    let mut unsaid = Unsaid::default();
    let mut told = Told::default();
    let mut now = monotonic();
    while !stop.load(Ordering::Relaxed) {
        let since = now - surveyed;
        if since >= SURVEY_EVERY || (reader.is_stale() && since >= SURVEY_AT_MOST) {
            if let Err(fault) = reader.survey(&mut batch) {
                return ended(plan, &fault.to_string(), to);
            }
            if let Some(aside) = &mut aside {
                aside.avoid(reader.loop_cpus());
            }
            now = monotonic();
            surveyed = now;
        }
        let (planned, missed) = schedule.next(now);
        batch.missed = batch.missed.saturating_add(missed);
        sleep_until(planned);
        let woke = monotonic();
        let late = woke - planned;
        let mut tick = Tick {
            at: woke,
            late,
            own_wait: Nanos::ZERO,
            suspended: Nanos::ZERO,
            held: Nanos::ZERO,
            gil: Gil::default(),
            collecting: None,
            first: 0,
            count: 0,
        };
        if late > LATE {
            let delay = own.read();
            (tick.own_wait, own_wait) = (delay - own_wait, delay);
            let offset = sleep_offset();
            (tick.suspended, asleep) = (offset - asleep, offset);
        }
        match reader.tick(tick, monotonic, &mut batch) {
            Ok(()) => {}
            // A tick that took more reading than any sane one: nothing of it is known.
            Err(Fault::Budget | Fault::Unmapped | Fault::Implausible(_)) => batch.missed += 1,
            Err(fault) => return ended(plan, &fault.to_string(), to),
        }
        if let Some(hz) = pace.tick(missed, woke) {
            schedule = Schedule::new(hz, monotonic());
        }
        if woke - forgot >= FORGET_EVERY {
            reader.forget();
            forgot = woke;
        }
        if woke - began >= BATCH {
            began = woke;
            unsaid.say(reader.take_new_labels(), to);
            // The next batch has about as many.
            let room = Batch {
                ticks: Vec::with_capacity(batch.ticks.len() + 8),
                samples: Vec::with_capacity(batch.samples.len() + 8),
                steal: steal.read(),
                ..Batch::default()
            };
            let mut full = std::mem::replace(&mut batch, room);
            full.process_cpu = process::process_cpu(plan.pid);
            full.otop_cpu = process::otop_cpu();
            full.dropped_batches = dropped;
            let then_told = told.with(&full);
            match to.try_send(Observation::Batch(full)) {
                Ok(()) => told = then_told,
                Err(TrySendError::Full(Observation::Batch(lost))) => {
                    dropped += 1;
                    // What is said once must not be lost with the samples.
                    let again = told.again(lost);
                    (batch.threads, batch.ended) = (again.threads, again.ended);
                }
                Err(_) => return,
            }
            own_wait = own.read();
        }
        now = monotonic();
    }
}

/// Grows by as much as the machine was suspended.
fn sleep_offset() -> Nanos {
    clock(ClockId::CLOCK_BOOTTIME) - clock(ClockId::CLOCK_MONOTONIC)
}

/// How long this thread has waited for a CPU since it began. The file stays open: on a busy machine it is read often.
struct OwnDelay(ThreadClock);

impl OwnDelay {
    fn open() -> OwnDelay {
        let own = nix::unistd::gettid().as_raw();
        OwnDelay(ThreadClock::open(Pid(std::process::id() as i32), Tid(own)))
    }

    fn read(&self) -> Nanos {
        self.0.times().map_or(Nanos::ZERO, |(_, delay)| delay)
    }
}
