//! `--json`: one document per window, a line each, until the worker ends, the reader goes, or a signal comes.

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::signals::Signals;
use crate::cli::table::plan::Look;
use crate::cli::worker::{End, Worker};
use crate::model::{Nanos, Report};
use std::time::Duration;

/// How long after the end of a window its last samples may come.
const LATE_SAMPLES: Duration = Duration::from_millis(200);

const STEP: Duration = Duration::from_millis(50);

/// Tells every window's report, and says once why all of them are empty.
pub fn stream(
    worker: &mut Worker,
    look: &Look,
    signals: &Signals,
    tell: &mut dyn FnMut(&Report) -> Result<(), CliError>,
    say: &mut dyn FnMut(&str),
) -> Result<(), CliError> {
    let window = Nanos::from(look.measuring.window);
    let mut end = worker.attached_at + window;
    let mut has_told = false;
    let mut has_said_why_nothing_comes = false;
    loop {
        let now = worker.now();
        worker.take_in(STEP.min(Duration::from(end - now).max(Duration::from_millis(1))));
        output::check_open()?;
        if signals.raised() {
            return Ok(());
        }
        if let Some(over) = worker.ending() {
            if !worker.has_figure() {
                return Err(over.early());
            }
            let report = worker.tumbling_report(now);
            // That a worker has ended is news by itself, that a recording has is none.
            let is_news = report.quality.window_s > 0.0 || matches!(over, End::Worker(..)) || !has_told;
            return if is_news { tell(&report) } else { Ok(()) };
        }
        if now >= end && (worker.has_reached(end) || now >= end + LATE_SAMPLES.into()) {
            let report = worker.tumbling_report(end);
            if worker.lacks_asyncio() && !has_said_why_nothing_comes {
                has_said_why_nothing_comes = true;
                say("asyncio is not imported yet, so there are no sessions to see; waiting for it");
            }
            tell(&report)?;
            has_told = true;
            // A machine that slept leaves no queue of empty windows behind.
            let passed = (now - end).0 / window.0.max(1);
            end += Nanos(window.0.saturating_mul(passed + 1));
        }
    }
}

/// The same, and in the end what happened to the worker: a document has no place for that.
pub fn watch(
    worker: &mut Worker,
    look: &Look,
    signals: &Signals,
    tell: &mut dyn FnMut(&Report) -> Result<(), CliError>,
    say: &mut dyn FnMut(&str),
) -> Result<(), CliError> {
    stream(worker, look, signals, tell, say)?;
    if let Some(word) = worker.last_word() {
        say(&word);
    }
    Ok(())
}
