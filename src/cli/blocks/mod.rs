//! `otop blocks`: a line for each block, as it happens, until the time is up, the worker ends, the reader goes, a key or a
//! signal comes. Knows nothing of how a line reads.

pub mod arguments;
pub mod events;
pub mod plan;
pub mod sight;
#[cfg(test)]
mod tests;

use super::arguments::values::written;
use super::error::CliError;
use super::signals::Signals;
use super::worker::Worker;
use super::{output, wire};
use crate::export::block_line::BlockEvent;
use crate::model::{Block, Nanos};
use crate::tui::QuitKey;
use crate::view::block_words::own_ms;
use events::{Events, Look};
use plan::Following;
use sight::Sight;
use std::collections::BTreeMap;
use std::time::Duration;

const STEP: Duration = Duration::from_millis(20);

/// How long after the end of the time its last samples may come.
const LATE_SAMPLES: Duration = Duration::from_millis(200);

/// How long after the end of the time the first figure may come: the first walk over a huge worker.
const FIRST_FIGURE: Duration = Duration::from_secs(5);

/// Says one event. An error: nobody listens any more.
pub type Tell<'a> = &'a mut dyn FnMut(BlockEvent, &Block) -> Result<(), CliError>;

/// Prints every event, and listens to keys and signals meanwhile.
pub fn show(worker: &mut Worker, following: &Following) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    // In a pipeline the keys may be another program's.
    let key = output::has_terminal().then(QuitKey::listen).flatten();
    if key.is_some() {
        let threshold = Duration::from_millis(worker.shortest_block().as_millis_f64().ceil() as u64);
        let threshold = written(threshold);
        output::say(&format!(
            "follows blocks of {threshold} and longer in worker {}; q ends",
            worker.pid
        ));
    }
    let mut wants_to_quit = || key.as_ref().is_some_and(QuitKey::was_pressed);
    let mut tell = |event, block: &Block| output::write(&wire::block_line(event, block, following.json));
    Ok(follow(
        worker,
        following,
        &signals,
        &mut wants_to_quit,
        &mut tell,
        &mut output::say,
    )?)
}

/// Says a word that is no event.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// Tells every event. `wants_to_quit`: somebody has pressed the key.
pub fn follow(
    worker: &mut Worker,
    following: &Following,
    signals: &Signals,
    wants_to_quit: &mut dyn FnMut() -> bool,
    tell: Tell<'_>,
    say: Say<'_>,
) -> Result<(), CliError> {
    let threshold = following.measuring.slow_threshold.into();
    let mut told = Told {
        limit: following.fail_on,
        sight: Sight::of(threshold, worker.rate_hz, following.fail_on, worker.now()),
        events: Events::default(),
        counted: BTreeMap::new(),
    };
    let followed = follow_on(worker, following, signals, wants_to_quit, &mut told, tell, say);
    let is_done = match &followed {
        Ok(()) => true,
        Err(error) => error.is_closed_output(),
    };
    match told.verdict() {
        Some(met) if is_done => Err(met),
        None if is_done => {
            // Not met is the word of what was seen.
            if let Some(word) = told.sight.last_word() {
                say(&word);
            }
            followed
        }
        _ => followed,
    }
}

fn follow_on(
    worker: &mut Worker,
    following: &Following,
    signals: &Signals,
    wants_to_quit: &mut dyn FnMut() -> bool,
    told: &mut Told,
    tell: Tell<'_>,
    say: Say<'_>,
) -> Result<(), CliError> {
    let end = following.time.map(|time| worker.attached_at + time.into());
    let mut has_said_why_nothing_comes = false;
    loop {
        worker.take_in(STEP);
        if let Some(word) = told.sight.look(worker.now(), worker.shortest_block()) {
            say(&word);
        }
        output::check_open()?;
        if signals.raised() || wants_to_quit() {
            worker.settle();
            return told.look(worker, true, tell);
        }
        if let Some(end) = worker.ending() {
            if !worker.has_figure() {
                return Err(end.early());
            }
            told.look(worker, true, tell)?;
            say(&end.words());
            return Ok(());
        }
        if worker.lacks_asyncio() && !has_said_why_nothing_comes {
            has_said_why_nothing_comes = true;
            say("asyncio is not imported yet, so there is no loop to block; waiting for it");
        }
        let now = worker.now();
        if let Some(end) = end.filter(|end| now >= *end) {
            let is_complete = worker.has_reached(end) || now >= end + LATE_SAMPLES.into();
            if is_complete && worker.has_figure() {
                worker.settle();
                told.look(worker, true, tell)?;
                // Silence would be taken for a loop that never was blocked.
                return match worker.lacks_asyncio() {
                    true => Err(CliError::NoAsyncio(worker.pid)),
                    false => Ok(()),
                };
            }
            if now >= end + FIRST_FIGURE.into() {
                let seconds = (now - worker.attached_at).as_secs_f64() as u64;
                return Err(CliError::NoFigure {
                    pid: worker.pid,
                    seconds,
                });
            }
        }
        told.look(worker, false, tell)?;
    }
}

/// What was told, and what of it counts for `--fail-on`.
struct Told {
    limit: Option<Duration>,
    sight: Sight,
    events: Events,
    /// Length of each block that counts, in milliseconds, by its number.
    counted: BTreeMap<u64, f64>,
}

impl Told {
    fn look(&mut self, worker: &Worker, is_last: bool, tell: Tell<'_>) -> Result<(), CliError> {
        let (seen_until, attached) = worker.wall_clocks();
        let look = Look {
            now: worker.now(),
            seen_until,
            attached,
            gap_s: (3.0 / worker.rate_hz).max(0.02),
            stacks_come: worker.stacks_come,
            is_last,
        };
        for block in worker.blocks() {
            // What is said of one that goes on may change; what is left of it at the end counts.
            if is_last || !block.ongoing {
                self.count(block);
            }
        }
        for (event, block) in self.events.since_last(worker.blocks(), &look) {
            tell(event, block)?;
        }
        Ok(())
    }

    fn count(&mut self, block: &Block) {
        let is_met = self
            .limit
            .is_some_and(|limit| own_ms(block) >= Nanos::from(limit).as_millis_f64());
        if is_met {
            self.counted.insert(block.id, block.duration_ms);
        }
    }

    /// The error that says that there was what must not be.
    fn verdict(&self) -> Option<CliError> {
        let longest_ms = self.counted.values().copied().max_by(f64::total_cmp)?;
        Some(CliError::FailOnMet {
            limit: self.limit?,
            blocks: self.counted.len(),
            longest_ms,
        })
    }
}
