//! One worker that is being watched: takes the observations in, and keeps what the loops (`live`, `once`, `json`) have to
//! know besides the report. Knows nothing of terminals and formats.

use super::plan::Measuring;
use super::wire::{Attached, Engine, Settings};
use crate::model::{Block, Ending, Nanos, Observation, Pid, Report};
use nix::time::{ClockId, clock_gettime};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

/// So many blocks can be looked at again.
const MOST_RECENT: usize = 200;

pub struct Worker {
    pub pid: Pid,
    pub attached_at: Nanos,
    /// Samples a second that were asked for.
    pub rate_hz: f64,
    /// Full stacks are read.
    pub stacks_come: bool,
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC` at the attach, nanoseconds.
    realtime_offset: i128,
    engine: Engine,
    /// Blocks as they were shown last, by their number: one that is over stays as it is.
    shown: BTreeMap<u64, Arc<Block>>,
    observations: Receiver<Observation>,
    seen: Seen,
    _stop: Box<dyn Any>,
}

/// What has come so far.
#[derive(Debug, Default)]
struct Seen {
    last_tick: Option<Nanos>,
    /// How long the machine has been suspended since the attach.
    suspended: Nanos,
    /// What the last walk said of asyncio; None: there was no walk yet.
    asyncio_imported: Option<bool>,
    ending: Option<Ending>,
}

impl Worker {
    pub fn new(attached: Attached, measuring: &Measuring) -> Worker {
        let settings = Settings {
            window: measuring.window.into(),
            slow_threshold: measuring.slow_threshold.into(),
            slow_window: measuring.slow_window.into(),
            own: measuring.own.clone(),
        };
        Worker {
            pid: attached.hello.pid,
            attached_at: attached.hello.attached_at,
            rate_hz: attached.hello.rate_hz,
            stacks_come: attached.hello.stack_rate_hz.is_some(),
            realtime_offset: attached.hello.realtime_offset,
            engine: Engine::new(attached.hello, settings),
            shown: BTreeMap::new(),
            observations: attached.observations,
            seen: Seen::default(),
            _stop: attached.stop,
        }
    }

    /// Waits for the next observation, but not longer than this, and takes in all that have come.
    pub fn take_in(&mut self, patience: Duration) {
        if self.seen.ending.is_some() {
            std::thread::sleep(patience);
            return;
        }
        let first = match self.observations.recv_timeout(patience) {
            Ok(observation) => observation,
            Err(RecvTimeoutError::Timeout) => return,
            // The reading side always says why it ends, unless it fell over.
            Err(RecvTimeoutError::Disconnected) => Observation::Ended(Ending::Lost("otop stopped reading".to_owned())),
        };
        self.take(first);
        while let Ok(observation) = self.observations.try_recv() {
            self.take(observation);
        }
    }

    /// Takes in what has come, and waits for nothing; whether anything had.
    pub fn take_waiting(&mut self) -> bool {
        let mut came = false;
        while self.seen.ending.is_none() {
            let observation = match self.observations.try_recv() {
                Ok(observation) => observation,
                Err(TryRecvError::Empty) => return came,
                Err(TryRecvError::Disconnected) => Observation::Ended(Ending::Lost("otop stopped reading".to_owned())),
            };
            self.take(observation);
            came = true;
        }
        came
    }

    fn take(&mut self, observation: Observation) {
        match &observation {
            Observation::Batch(batch) => {
                self.seen.last_tick = batch.ticks.last().map(|tick| tick.at).or(self.seen.last_tick);
                for tick in &batch.ticks {
                    self.seen.suspended += tick.suspended;
                }
            }
            Observation::Census(census) => self.seen.asyncio_imported = Some(census.asyncio_imported),
            Observation::Labels(..) | Observation::Stacks(_) | Observation::Waiting(_) => {}
            Observation::Ended(ending) => self.seen.ending = Some(ending.clone()),
        }
        self.engine.observe(observation);
    }

    /// The sliding window up to now, after which nothing more is asked.
    pub fn last_report(&mut self) -> Report {
        self.settle();
        self.report()
    }

    /// Judges what has ended though its last stacks have not come: nothing more is asked afterwards.
    pub fn settle(&mut self) {
        self.engine.settle();
    }

    /// Blocks, newest first: those that go on, then those that ended.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.engine.blocks()
    }

    /// Up to when the worker was seen, and when otop attached: `CLOCK_REALTIME`, seconds.
    pub fn wall_clocks(&self) -> (f64, f64) {
        let wall = |at: Nanos| self.realtime_offset.saturating_add(i128::from(at.0)) as f64 / 1e9;
        let seen_until = self.seen.last_tick.unwrap_or(self.attached_at) + self.seen.suspended;
        (wall(seen_until), wall(self.attached_at))
    }

    /// The sliding window up to now.
    pub fn report(&mut self) -> Report {
        self.engine.report(now())
    }

    /// The same, with the recent blocks for whoever looks at them.
    pub fn report_with_blocks(&mut self) -> Report {
        let mut report = self.report();
        let known = std::mem::take(&mut self.shown);
        for block in self.engine.blocks().take(MOST_RECENT) {
            let is_same = |shown: &&Arc<Block>| !shown.ongoing && shown.session_id == block.session_id;
            let shown = known.get(&block.id).filter(is_same);
            let shown = shown.map_or_else(|| Arc::new(block.clone()), Arc::clone);
            self.shown.insert(block.id, Arc::clone(&shown));
            report.recent.push(shown);
        }
        report
    }

    /// The window since the last call of this.
    pub fn tumbling_report(&mut self, at: Nanos) -> Report {
        self.engine.tumbling_report(at)
    }

    /// The loop is blocked now, and has been since before otop looked.
    pub fn emergency(&self) -> bool {
        self.engine.emergency()
    }

    /// There is something to show: a walk over the sessions, and samples.
    pub fn has_figure(&self) -> bool {
        self.seen.asyncio_imported.is_some() && self.seen.last_tick.is_some()
    }

    /// The sessions are known, whatever was measured of them.
    pub fn has_sessions(&self) -> bool {
        self.seen.asyncio_imported.is_some()
    }

    pub fn lacks_asyncio(&self) -> bool {
        self.seen.asyncio_imported == Some(false)
    }

    /// All samples up to then have arrived, or nothing more will.
    pub fn has_reached(&self, instant: Nanos) -> bool {
        self.seen.ending.is_some() || self.seen.last_tick.is_some_and(|last| last >= instant)
    }

    /// How it ended, in a word; None: it runs.
    pub fn ending(&self) -> Option<String> {
        self.seen.ending.as_ref().map(|ending| match ending {
            Ending::Exited => "exited".to_owned(),
            Ending::Execed => "it runs another program now".to_owned(),
            Ending::Lost(why) => why.clone(),
        })
    }
}

/// `CLOCK_MONOTONIC`.
pub fn now() -> Nanos {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Nanos::ZERO, |time| Nanos::from(Duration::from(time)))
}
