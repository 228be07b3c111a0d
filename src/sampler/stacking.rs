//! The stack sampler's thread: when to take stacks, and when to hand on what was taken. Knows nothing of what is read.

use super::affinity::Affinity;
use super::aside::Aside;
use super::labels::Unsaid;
use super::schedule::{Schedule, sleep_until};
use super::{ended, monotonic, scheduling};
use crate::memory::Fault;
use crate::model::{Nanos, Observation, StackBatch};
use crate::process::privilege;
use crate::source::{Plan, StackReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

/// How long a batch is collected: every hand-over wakes another thread, which costs more than a stack.
const BATCH: Nanos = Nanos(50_000_000);
const SURVEY_EVERY: Nanos = Nanos(200_000_000);
/// Where threads come by the dozen, they are listed at most this often.
const SURVEY_AT_MOST: Nanos = Nanos(5_000_000);
/// A sleep of this length gives up the CPU.
const SURELY_SLEEPS: Nanos = Nanos(20_000);
const LOOK_EVERY: Nanos = Nanos(1_000_000_000);
const FORGET_EVERY: Nanos = Nanos(10_000_000_000);

/// Takes stacks until told to stop, or the worker ends.
pub fn run(mut reader: StackReader, plan: &Plan, rate_hz: f64, to: &SyncSender<Observation>, stop: &AtomicBool) {
    let real_time = scheduling::be_woken_in_time();
    privilege::only_read();
    let mut seat = Affinity::new();
    // Who interrupts a CPU is not to run on it.
    let mut aside = Aside::new();
    let mut interrupts = false;
    let mut schedule = Schedule::new(rate_hz, monotonic());
    let mut planned = None;
    // Nothing was done since the last tick that may have cost the CPU.
    let mut quiet = false;
    let mut batch = StackBatch::default();
    let mut unsaid = Unsaid::default();
    let mut began = monotonic();
    let (mut surveyed, mut looked, mut forgot) = (Nanos::ZERO, began, began);
    while !stop.load(Ordering::Relaxed) {
        let now = monotonic();
        let since = now - surveyed;
        if since >= SURVEY_EVERY || (reader.is_stale() && since >= SURVEY_AT_MOST) {
            if let Err(fault) = reader.survey() {
                return ended(plan, &fault.to_string(), to);
            }
            if interrupts != reader.interrupts() {
                // The one has its own CPU, the other goes where the worker is.
                interrupts = !interrupts;
                seat = Affinity::new();
                aside.was_bound();
            }
            if interrupts {
                aside.avoid(reader.loop_cpus());
            }
            surveyed = monotonic();
            quiet = false;
        }
        let at = planned.unwrap_or_else(|| {
            let (at, missed) = schedule.next(monotonic());
            batch.missed = batch.missed.saturating_add(missed);
            at
        });
        // A rate below that of the batches must not hold back what was seen, nor how far it was looked.
        let until = at.min(began + BATCH);
        let sleeps = monotonic() + SURELY_SLEEPS < until;
        sleep_until(until);
        let slept_once = real_time && sleeps && quiet;
        let woke = monotonic();
        planned = Some(at).filter(|&at| woke < at);
        quiet = planned.is_none();
        if planned.is_none() {
            if slept_once {
                seat.slept_once();
            }
            match reader.tick(&mut seat, &monotonic, &mut batch) {
                Ok(()) => {}
                // More reading than any sane tick takes: nothing of it is known.
                Err(Fault::Budget | Fault::Unmapped | Fault::Implausible(_)) => batch.missed += 1,
                Err(fault) => return ended(plan, &fault.to_string(), to),
            }
        }
        if woke - looked >= LOOK_EVERY {
            reader.look_again();
            looked = woke;
        }
        if woke - forgot >= FORGET_EVERY {
            reader.forget();
            forgot = woke;
        }
        if woke - began >= BATCH {
            began = woke;
            quiet = false;
            unsaid.say(reader.take_new_labels(), to);
            let mut full = std::mem::take(&mut batch);
            full.until = monotonic();
            match to.try_send(Observation::Stacks(full)) {
                Ok(()) => {}
                // Nobody took them: instants of which nothing is known.
                Err(TrySendError::Full(Observation::Stacks(lost))) => batch.missed = lost.missed + lost.ticks,
                Err(_) => return,
            }
        }
    }
}
