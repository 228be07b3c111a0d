//! `--once` and `--json` for several workers: the loops of `once` and `json`, for each worker by its own windows. Knows
//! nothing of who comes and goes; `fleet` does.

use crate::cli::error::CliError;
use crate::cli::fleet::{Fleet, MOST, Member};
use crate::cli::output;
use crate::cli::plan::{Measuring, WINDOW};
use crate::cli::signals::Signals;
use crate::cli::table::once::{FIRST_WALK, LONG_WALK, goes_on_to, is_told_now, still_walks};
use crate::cli::wire::Emergency;
use crate::cli::worker::{Worker, now};
use crate::model::{Nanos, Pid, Report};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long after the end of a window its last samples may come.
const LATE_SAMPLES: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_millis(20);

/// One window of all of them, or less where one is blocked already. A window that is longer than the usual one is kept, as
/// of one worker, and the news told at once. Those who come meanwhile are taken with what they have; for the rows of those
/// who were there at the beginning it waits, as of one worker.
/// Returns one of these whose rows did not come all the same.
pub fn once(fleet: &mut Fleet, measuring: &Measuring) -> Result<Option<Pid>, CliError> {
    once_for(fleet, measuring, (LONG_WALK, FIRST_WALK), &mut output::say)
}

/// The same. After the first of these times the wait for rows is told, after the second it ends.
pub(super) fn once_for(
    fleet: &mut Fleet,
    measuring: &Measuring,
    (long_walk, first_walk): (Duration, Duration),
    say: &mut dyn FnMut(&str),
) -> Result<Option<Pid>, CliError> {
    let begin = now();
    let after = |patience: Duration| begin + Nanos::from(patience);
    if fleet.is_empty() {
        return Err(fleet.nobody());
    }
    let end = after(measuring.window + LATE_SAMPLES);
    let mut told: BTreeSet<Pid> = BTreeSet::new();
    let first: BTreeSet<Pid> = fleet.members().map(|member| member.worker.pid).collect();
    let mut said_of: BTreeSet<Pid> = BTreeSet::new();
    let without_rows = loop {
        fleet.wait(STEP);
        output::check_open()?;
        let mut members = 0;
        let (mut complete, mut emergency) = (0, false);
        let mut walked_on = Vec::new();
        for member in fleet.members() {
            members += 1;
            complete += usize::from(member.worker.has_reached(after(measuring.window)));
            let is_over = member.worker.ending().is_some();
            if first.contains(&member.worker.pid) && !is_over && !member.worker.has_sessions() {
                walked_on.push(member.worker.pid);
            }
            let Some(what) = is_told_now(&member.worker, measuring, now()) else {
                continue;
            };
            let is_whole = member.worker.has_sessions() && what == Emergency::Certain;
            emergency |= is_whole;
            // What a longer window hides until its end, or the first walk until it is made, is told when it is known.
            if (measuring.window > WINDOW || !is_whole) && told.insert(member.worker.pid) {
                for line in goes_on_to(&member.worker, measuring) {
                    say(&format!("worker {}: {line}", member.worker.pid));
                }
            }
        }
        if emergency && measuring.window <= WINDOW {
            break None;
        }
        let now = now();
        if walked_on.is_empty() && (complete == members || now >= end) {
            break None;
        }
        if now >= after(measuring.window + first_walk) {
            break walked_on.first().copied();
        }
        if now >= after(measuring.window + long_walk) {
            for pid in walked_on.into_iter().filter(|pid| said_of.insert(*pid)) {
                say(&still_walks(pid, first_walk));
            }
        }
    };
    say_left_out(fleet.left_out().too_many);
    for member in fleet.members() {
        member.worker.settle();
    }
    let has_gone = |member: &mut Member| member.worker.ending().is_some() && !member.worker.has_figure();
    if fleet.members().all(has_gone) {
        let how = "all of them".to_owned();
        return Err(CliError::EndedEarly { pid: fleet.root(), how });
    }
    Ok(without_rows)
}

/// Takes a worker's report, with its memory (PSS, bytes) where that is known; an error ends all.
pub type Tell<'a> = dyn FnMut(&Report, Option<u64>) -> Result<(), CliError> + 'a;

/// Each worker's report for every window of its own; ends with the last worker, the reader, or a signal.
pub fn stream(
    fleet: &mut Fleet,
    measuring: &Measuring,
    signals: &Signals,
    tell: &mut Tell<'_>,
) -> Result<(), CliError> {
    let window = Nanos::from(measuring.window);
    let mut said = 0;
    let mut told = false;
    loop {
        fleet.wait(STEP);
        output::check_open()?;
        if signals.raised() {
            return Ok(());
        }
        let too_many = fleet.left_out().too_many;
        if too_many > said {
            said = too_many;
            say_left_out(said);
        }
        for mut ended in fleet.take_ended() {
            if ended.worker.has_figure() {
                tell(&ended.worker.tumbling_report(now()), ended.pss())?;
                told = true;
                if let Some(word) = ended.worker.last_word() {
                    output::say(&word);
                }
            }
        }
        if fleet.is_over() {
            let how = "all of them".to_owned();
            return match told {
                true => Ok(()),
                false => Err(CliError::EndedEarly { pid: fleet.root(), how }),
            };
        }
        for member in fleet.members() {
            let (now, end) = (now(), member.window_end);
            if now < end || !is_complete(&member.worker, end, now) {
                continue;
            }
            let report = member.worker.tumbling_report(end);
            tell(&report, member.pss())?;
            told = true;
            // A machine that slept leaves no queue of empty windows behind.
            let passed = (now - end).0 / window.0.max(1);
            member.window_end += Nanos(window.0.saturating_mul(passed + 1));
        }
    }
}

fn is_complete(worker: &Worker, end: Nanos, now: Nanos) -> bool {
    worker.has_reached(end) || now >= end + LATE_SAMPLES.into()
}

fn say_left_out(count: usize) {
    if count > 0 {
        output::say(&format!(
            "{count} more workers are not watched: {MOST} is the most at once"
        ));
    }
}
