//! `--once`: one window, then the table or the document. Where the loop is blocked already when otop comes, it ends early:
//! whoever looks at a sick worker must not wait for the end of a window to hear it. A window that is longer than the usual
//! one is kept, and the news told at once.

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::plan::{Measuring, WINDOW};
use crate::cli::wire::{Emergency, block_line};
use crate::cli::worker::Worker;
use crate::export::block_line::BlockEvent;
use crate::model::{Nanos, Pid, Report};
use std::time::Duration;

/// How long to wait for asyncio to be imported, where the window is longer: a worker that has just been started.
const ASYNCIO_PATIENCE: Duration = Duration::from_secs(1);

/// How long after the end of the window its last samples may come, before the window is taken as it is.
const LATE_SAMPLES: Duration = Duration::from_millis(200);

/// How long after the end of the window the rows may come: the first walk over a huge worker, on a busy machine. The same
/// command would not fare better the second time, so that it had better wait.
pub const FIRST_WALK: Duration = Duration::from_secs(60);
/// How long after the end of the window the first sample may come, where the walk is made.
const FIRST_SAMPLE: Duration = Duration::from_secs(5);
/// From here on the wait is told.
pub const LONG_WALK: Duration = Duration::from_secs(1);

/// Short, for the emergency has to be told within 100 ms of the threshold.
const STEP: Duration = Duration::from_millis(10);

/// A window's report; without rows where the first walk does not come to its end ([`Worker::has_sessions`]). Signals end
/// the process as they do by themselves: nothing was printed, so nothing was done.
pub fn watch(worker: &mut Worker, measuring: &Measuring) -> Result<Report, CliError> {
    watch_for(worker, measuring, (LONG_WALK, FIRST_WALK), &mut output::say)
}

/// The same. After the first of these times the wait for rows is told, after the second it ends.
pub(super) fn watch_for(
    worker: &mut Worker,
    measuring: &Measuring,
    (long_walk, first_walk): (Duration, Duration),
    say: &mut dyn FnMut(&str),
) -> Result<Report, CliError> {
    let start = worker.attached_at;
    let after = |patience: Duration| start + Nanos::from(patience);
    let end = after(measuring.window);
    let (mut has_said_it, mut has_said_why) = (false, false);
    loop {
        worker.take_in(STEP);
        let now = worker.now();
        output::check_open()?;
        if let Some(over) = worker.ending() {
            if worker.has_figure() {
                break;
            }
            return Err(over.early());
        }
        if worker.lacks_asyncio() && now >= after(measuring.window.min(ASYNCIO_PATIENCE)) {
            return Err(CliError::NoAsyncio(worker.pid));
        }
        if let Some(emergency) = is_told_now(worker, measuring, now) {
            // Whoever asks for a longer window wants its figures, where the first walk takes its time there are no rows
            // yet, and on a busy machine it is not known yet whose doing it is: the news can wait for none of these.
            if measuring.window <= WINDOW && worker.has_sessions() && emergency == Emergency::Certain {
                break;
            }
            if !has_said_it {
                has_said_it = true;
                for line in goes_on_to(worker, measuring) {
                    say(&line);
                }
            }
        }
        let is_complete = worker.has_reached(end) || now >= end + LATE_SAMPLES.into();
        if now >= end && is_complete && worker.has_figure() {
            break;
        }
        if now >= end + long_walk.into() && !worker.has_sessions() && !has_said_why {
            has_said_why = true;
            say(&still_walks(worker.pid, first_walk));
        }
        let patience = if worker.has_sessions() {
            FIRST_SAMPLE
        } else {
            first_walk
        };
        if now >= end + patience.into() {
            // What was sampled needs no walk.
            if worker.has_reached(start) {
                break;
            }
            let seconds = (measuring.window + patience).as_secs();
            return Err(CliError::NoFigure {
                pid: worker.pid,
                seconds,
            });
        }
    }
    Ok(worker.last_report())
}

/// Whether there is news of a block that began before otop looked, and cannot wait for the end of a window.
pub fn is_told_now(worker: &Worker, measuring: &Measuring, now: Nanos) -> Option<Emergency> {
    let after = |patience: Duration| worker.attached_at + Nanos::from(measuring.slow_threshold + patience);
    // The name of the one who blocks comes with the walk, and the news does not wait long for it.
    let names_are_due = after(Duration::from_millis(60));
    let is_due = worker.has_sessions() || now >= names_are_due;
    // A block that ends while it is looked at is no reason to cut the window short.
    worker
        .emergency()
        .filter(|_| is_due && now >= after(Duration::from_millis(45)))
}

/// Why nothing comes yet.
pub fn still_walks(pid: Pid, first_walk: Duration) -> String {
    let seconds = first_walk.as_secs();
    format!(
        "worker {pid}: the first walk over its tasks goes on (very many of them, or a busy machine); \
         --once waits for it, {seconds} s at most"
    )
}

/// The blocks that began before otop looked and go on, as `otop blocks` has them, and when the rest comes.
pub fn goes_on_to(worker: &Worker, measuring: &Measuring) -> Vec<String> {
    let rest = match measuring.window > WINDOW {
        true => format!("the window goes on to {} s", measuring.window.as_secs_f64()),
        // It ends with the first walk, or when it is known whose doing it is.
        false => "its rows follow".to_owned(),
    };
    let going_on = worker
        .blocks()
        .filter(|block| block.ongoing && block.duration_is_lower_bound);
    let line = |block| {
        let line = block_line(BlockEvent::Began, block, false);
        format!("{}; {rest}", line.trim_end())
    };
    going_on.map(line).collect()
}
