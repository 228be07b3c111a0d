//! The table: of a worker, of several, or of what a socket serves; as a picture that goes on, or as text or documents. Knows
//! nothing of how the figures are had.

pub mod arguments;
pub mod json;
pub mod live;
pub mod minutes;
pub mod once;
pub mod plan;
#[cfg(test)]
mod tests;

use super::error::CliError;
use super::fleet::{self, Fleet, Whom};
use super::plan::Plan;
use super::signals::Signals;
use super::socket::{Next, Socket, Stream};
use super::wire::{self, Reading};
use super::worker::Worker;
use super::{master, output, run};
use crate::model::{Pid, Report};
use plan::{Look, Shape};
use std::path::Path;

pub fn of_worker(worker: &mut Worker, look: &Look) -> anyhow::Result<()> {
    match look.shape {
        Shape::Live => {
            worker.keep_last(minutes::ring());
            live::watch(worker, look, &Signals::listen()?)?;
        }
        Shape::Json => {
            let mut tell = |report: &Report| output::write(&shown(report, look));
            json::watch(worker, look, &Signals::listen()?, &mut tell, &mut output::say)?;
        }
        Shape::Once | Shape::OnceJson => {
            let report = once::watch(worker, &look.measuring)?;
            output::write(&shown(&report, look))?;
            // The table has it in a line of its own, a document has no place for it.
            if look.shape == Shape::OnceJson
                && let Some(word) = worker.last_word()
            {
                output::say(&word);
            }
            if let Some((fact, way)) = master::hint(worker.pid, &report) {
                output::say(&format!("{fact}; try: {way}"));
            }
            let without_rows = (worker.ending().is_none() && !worker.has_sessions()).then_some(worker.pid);
            has_rows(without_rows, look)?;
        }
    }
    Ok(())
}

/// The table of several workers, or a document of each.
pub fn of_pool(whom: &Whom, plan: &Plan, look: &Look, reading: &dyn Reading) -> anyhow::Result<()> {
    let options = run::attach_options(&plan.naming, &look.measuring);
    let mut fleet = Fleet::open(whom.clone(), options, &look.measuring, reading)?;
    let document = |report: &Report, pss: Option<u64>| wire::member_json(report, &look.options, pss);
    let left_out = fleet.words(None);
    // Beneath the live table too, where they are read when it has gone; it shows the first itself.
    for word in &left_out {
        output::say(word);
    }
    match look.shape {
        Shape::Live => {
            let look = Look {
                words: left_out.into_iter().chain(look.words.clone()).collect(),
                ..look.clone()
            };
            live::watch(&mut fleet, &look, &Signals::listen()?)?;
        }
        Shape::Json => {
            let mut tell = |report: &Report, pss| output::write(&document(report, pss));
            fleet::once::stream(&mut fleet, &look.measuring, &Signals::listen()?, &mut tell)?;
        }
        Shape::Once => {
            let without_rows = fleet::once::once(&mut fleet, &look.measuring)?;
            output::write(&shown(&fleet.whole(), look))?;
            has_rows(without_rows, look)?;
        }
        Shape::OnceJson => {
            let without_rows = fleet::once::once(&mut fleet, &look.measuring)?;
            for member in fleet.members() {
                output::write(&document(&member.worker.report(), member.pss()))?;
                if let Some(word) = member.worker.last_word() {
                    output::say(&word);
                }
            }
            has_rows(without_rows, look)?;
        }
    }
    Ok(())
}

/// What was printed is not all that was asked for, where a worker's rows did not come.
fn has_rows(without: Option<Pid>, look: &Look) -> Result<(), CliError> {
    let seconds = (look.measuring.window + once::FIRST_WALK).as_secs();
    without.map_or(Ok(()), |pid| Err(CliError::NoRows { pid, seconds }))
}

/// What the worker itself serves.
pub fn of_socket(path: &Path, look: &Look) -> anyhow::Result<()> {
    let period = if look.shape == Shape::Json {
        look.measuring.window
    } else {
        look.refresh
    };
    let mut socket = Socket::open(path, period);
    if look.shape == Shape::Live {
        return Ok(live::watch(&mut socket, look, &Signals::listen()?)?);
    }
    let signals = if look.shape == Shape::Json {
        Signals::listen()?
    } else {
        Signals::default()
    };
    let mut stream = Stream::default();
    loop {
        output::check_open()?;
        if signals.raised() {
            return Ok(());
        }
        let Some(answer) = socket.next() else { continue };
        let report = match stream.take(answer)? {
            Next::Document(report) => report,
            Next::Again(word, report) => {
                output::say(&word);
                report
            }
            Next::Word(word) => {
                output::say(&word);
                continue;
            }
            Next::Over(word) => {
                output::say(&word);
                return Ok(());
            }
            Next::Nothing => continue,
        };
        output::write(&shown(&report, look))?;
        if look.shape != Shape::Json {
            return Ok(());
        }
    }
}

/// One report, once.
pub fn shown(report: &Report, look: &Look) -> String {
    match look.shape {
        Shape::Once | Shape::Live => wire::text(report, &look.options, output::width(), output::wants_colour()),
        Shape::OnceJson | Shape::Json => wire::json(report, &look.options),
    }
}
