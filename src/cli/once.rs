//! `--once`: one window, then the table or the document. Ends early where the loop is blocked already when otop comes:
//! whoever looks at a sick worker must not wait for the end of a window to hear it.

use super::error::CliError;
use super::output;
use super::plan::Measuring;
use super::worker::Worker;
use crate::model::{Nanos, Report};
use std::time::Duration;

/// How long to wait for asyncio to be imported, where the window is longer: a worker that has just been started.
const ASYNCIO_PATIENCE: Duration = Duration::from_secs(1);

/// How long after the end of the window its last samples may come, before the window is taken as it is.
const LATE_SAMPLES: Duration = Duration::from_millis(200);

/// How long after the end of the window the first figure may come: the first walk over a huge worker.
const FIRST_FIGURE: Duration = Duration::from_secs(5);

/// Short, for the emergency has to be told within 100 ms of the threshold.
const STEP: Duration = Duration::from_millis(10);

/// A window's report. Signals end the process as they do by themselves: nothing was printed, so nothing was done.
pub fn watch(worker: &mut Worker, measuring: &Measuring) -> Result<Report, CliError> {
    let start = worker.attached_at;
    let after = |patience: Duration| start + Nanos::from(patience);
    let end = after(measuring.window);
    loop {
        worker.take_in(STEP);
        let now = worker.now();
        output::check_open()?;
        if let Some(how) = worker.ending() {
            if worker.has_figure() {
                break;
            }
            return Err(CliError::EndedEarly { pid: worker.pid, how });
        }
        if worker.lacks_asyncio() && now >= after(measuring.window.min(ASYNCIO_PATIENCE)) {
            return Err(CliError::NoAsyncio(worker.pid));
        }
        // The name of the one who blocks comes with the walk; it is not waited for in vain.
        let names_are_due = after(measuring.slow_threshold + Duration::from_millis(60));
        // A block that ends while it is looked at is no reason to cut the window short.
        let goes_on = now >= after(measuring.slow_threshold + Duration::from_millis(45));
        if goes_on && worker.emergency() && (worker.has_sessions() || now >= names_are_due) {
            break;
        }
        let is_complete = worker.has_reached(end) || now >= end + LATE_SAMPLES.into();
        if now >= end && is_complete && worker.has_figure() {
            break;
        }
        if now >= end + FIRST_FIGURE.into() {
            let seconds = (measuring.window + FIRST_FIGURE).as_secs();
            return Err(CliError::NoFigure {
                pid: worker.pid,
                seconds,
            });
        }
    }
    Ok(worker.last_report())
}
