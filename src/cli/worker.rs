//! One worker that is being watched: takes the observations in, and keeps what the loops (`live`, `once`, `json`) have to
//! know besides the report. Knows nothing of terminals and formats.

use super::error::CliError;
use super::plan::Measuring;
use super::replay::player::Player;
use super::table::minutes;
use super::wire::{Attached, Emergency, Engine, Profile, Settings, Wanted};
use crate::model::{Block, Dump, Ending, Hello, Judging, Nanos, Observation, Origin, Pid, Report, SessionKey};
use crate::recording::{Part, Recorder, Ring};
use nix::time::{ClockId, clock_gettime};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
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
    hello: Hello,
    settings: Settings,
    engine: Engine,
    feed: Feed,
    keeps: Keeps,
    /// Blocks as they were shown last, by their number: one that is over stays as it is.
    shown: BTreeMap<u64, Arc<Block>>,
    seen: Seen,
}

/// Where the observations come from.
enum Feed {
    Live {
        observations: Receiver<Observation>,
        _stop: Box<dyn Any>,
    },
    Recorded(Box<Player>),
}

/// What is kept of them, beside what the engine makes of them.
enum Keeps {
    Nothing,
    /// The last minutes.
    Ring(Ring),
    /// All of them, until they are taken.
    All {
        recorder: Recorder,
        parts: Vec<Part>,
    },
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
    /// Nothing is left of the recording, and it does not say that the worker had ended.
    recording_ends: bool,
    dump: Option<(Nanos, Box<Dump>)>,
    counts: Counts,
    /// Sessions that were met; None: nobody asks.
    met: Option<BTreeSet<SessionKey>>,
    /// Who was live at the last walk, and whether that changed since it was asked.
    live: Vec<SessionKey>,
    others_live: bool,
    /// Others did already at the census before, which had not read everything.
    missed: bool,
}

/// How much has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub ticks: u64,
    pub stacks: u64,
    /// Different ones that were met, in all; counted where a file is to hold them, up to [`MOST_SESSIONS`].
    pub sessions: u64,
}

/// So many sessions are told apart: a recording may go on for a week.
pub const MOST_SESSIONS: usize = 100_000;

/// Something comes every 50 ms as long as otop runs. Where a recording is silent for so long, otop was stopped itself, or the
/// file was made up: nobody wants to be told of each of those windows.
const LONG_SILENCE: Nanos = Nanos(10_000_000_000);

/// Why nothing more comes.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The worker is over for otop, and how.
    Worker(Pid, String),
    /// It may go on, but may no longer be read, and why.
    Unreadable(Pid, String),
    /// The recording is, so many seconds in; what became of the worker it does not say.
    Recording(f64),
}

impl End {
    /// As it is said where there were figures.
    pub fn words(&self) -> String {
        match self {
            End::Worker(pid, how) => format!("worker {pid} has ended ({how})"),
            End::Unreadable(pid, why) if why.is_empty() => format!("worker {pid} can no longer be read"),
            End::Unreadable(pid, why) => format!("worker {pid} can no longer be read ({why})"),
            End::Recording(seconds) => format!("the recording ends here, {seconds:.1} s in"),
        }
    }

    /// Where there were none.
    pub fn early(self) -> CliError {
        match self {
            End::Worker(pid, how) | End::Unreadable(pid, how) => CliError::EndedEarly { pid, how },
            End::Recording(seconds) => CliError::RecordingEndsEarly { seconds },
        }
    }
}

impl Worker {
    pub fn new(attached: Attached, measuring: &Measuring) -> Worker {
        let Attached {
            hello,
            observations,
            stop,
            notes: _,
        } = attached;
        let live = Feed::Live {
            observations,
            _stop: stop,
        };
        Worker::fed(hello, live, measuring)
    }

    /// A worker of the past.
    pub fn recorded(hello: Hello, player: Player, measuring: &Measuring) -> Worker {
        Worker::fed(hello, Feed::Recorded(Box::new(player)), measuring)
    }

    fn fed(hello: Hello, feed: Feed, measuring: &Measuring) -> Worker {
        let settings = Settings {
            window: measuring.window.into(),
            slow_threshold: measuring.slow_threshold.into(),
            slow_window: measuring.slow_window.into(),
            own: measuring.own.clone(),
        };
        Worker {
            pid: hello.pid,
            attached_at: hello.attached_at,
            rate_hz: hello.rate_hz,
            stacks_come: hello.stack_rate_hz.is_some(),
            realtime_offset: hello.realtime_offset,
            engine: Engine::new(hello.clone(), settings.clone()),
            hello,
            settings,
            feed,
            keeps: Keeps::Nothing,
            shown: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// Keeps what [`Worker::profile`] needs. Said before anything is taken in.
    pub fn keep_profile(&mut self) {
        self.engine = Engine::profiling(self.hello.clone(), self.settings.clone());
        self.seen.met = Some(BTreeSet::new());
    }

    /// Keeps the last minutes.
    pub fn keep_last(&mut self, ring: Ring) {
        self.keeps = Keeps::Ring(ring);
    }

    /// Keeps all that comes, until [`Worker::take_parts`] takes it.
    pub fn keep_all(&mut self) {
        self.keeps = Keeps::All {
            recorder: Recorder::default(),
            parts: Vec::new(),
        };
        self.seen.met = Some(BTreeSet::new());
    }

    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// What a file of it says of where it comes from.
    pub fn origin(&self) -> Origin {
        let Settings {
            slow_threshold,
            slow_window,
            own,
            ..
        } = self.settings.clone();
        let judging = Judging {
            slow_threshold,
            slow_window,
            own,
        };
        super::record::origin(self.pid, judging)
    }

    pub fn counts(&self) -> Counts {
        self.seen.counts
    }

    /// What time it is where the worker is: `CLOCK_MONOTONIC`, of this machine or of the one that recorded.
    pub fn now(&self) -> Nanos {
        match &self.feed {
            Feed::Live { .. } => now(),
            Feed::Recorded(player) => player.now(),
        }
    }

    /// The recording, if it is one.
    pub fn player(&self) -> Option<&Player> {
        match &self.feed {
            Feed::Live { .. } => None,
            Feed::Recorded(player) => Some(player),
        }
    }

    /// Parts of a recording that have become whole; the last one too, if it `is_last`.
    pub fn take_parts(&mut self, is_last: bool) -> Vec<Part> {
        let Keeps::All { recorder, parts } = &mut self.keeps else {
            return Vec::new();
        };
        if is_last {
            parts.extend(recorder.close());
        }
        std::mem::take(parts)
    }

    /// Parts that were too large to be kept.
    pub fn parts_left_out(&self) -> u64 {
        match &self.keeps {
            Keeps::All { recorder, .. } => recorder.left_out(),
            Keeps::Nothing | Keeps::Ring(_) => 0,
        }
    }

    /// The call tree of all that came.
    pub fn profile(&self, wanted: &Wanted) -> Profile {
        self.engine.profile(wanted)
    }

    /// Lets a recording pass up to then, and takes in all that came meanwhile. Going back begins it anew.
    pub fn pass(&mut self, until: Nanos) {
        let Feed::Recorded(player) = &mut self.feed else {
            return;
        };
        if until < player.now() {
            player.rewind();
            self.engine = Engine::new(self.hello.clone(), self.settings.clone());
            self.shown = BTreeMap::new();
            self.seen = Seen::default();
        }
        while let Feed::Recorded(player) = &mut self.feed
            && let Some(observation) = player.next_until(until)
        {
            self.take(observation);
        }
        if let Feed::Recorded(player) = &mut self.feed {
            player.pass(until);
        }
    }

    /// The same, with what comes next, but not further than this.
    fn pass_a_step(&mut self, patience: Duration) {
        let Feed::Recorded(player) = &mut self.feed else {
            return;
        };
        let limit = player.now() + patience.into();
        match player.next_until(limit) {
            Some(observation) => {
                self.take(observation);
                let now = self.now();
                self.pass(now);
            }
            None if player.is_over() => {
                self.seen.recording_ends = true;
            }
            None => {
                let next = player.next_at().filter(|next| *next - limit > LONG_SILENCE);
                player.pass(next.unwrap_or(limit));
            }
        }
    }

    /// Waits for the next observation, but not longer than this, and takes in all that have come.
    pub fn take_in(&mut self, patience: Duration) {
        let Feed::Live { observations, .. } = &self.feed else {
            return self.pass_a_step(patience);
        };
        if self.seen.ending.is_some() {
            std::thread::sleep(patience);
            return;
        }
        let first = match observations.recv_timeout(patience) {
            Ok(observation) => observation,
            Err(RecvTimeoutError::Timeout) => return,
            // The reading side always says why it ends, unless it fell over.
            Err(RecvTimeoutError::Disconnected) => Observation::Ended(Ending::Lost("otop stopped reading".to_owned())),
        };
        self.take(first);
        while let Feed::Live { observations, .. } = &self.feed
            && let Ok(observation) = observations.try_recv()
        {
            self.take(observation);
        }
    }

    /// Takes in what has come, and waits for nothing; whether anything had.
    pub fn take_waiting(&mut self) -> bool {
        let mut came = false;
        while let Feed::Live { observations, .. } = &self.feed
            && self.seen.ending.is_none()
        {
            let observation = match observations.try_recv() {
                Ok(observation) => observation,
                Err(TryRecvError::Empty) => return came,
                Err(TryRecvError::Disconnected) => Observation::Ended(Ending::Lost("otop stopped reading".to_owned())),
            };
            self.take(observation);
            came = true;
        }
        came
    }

    /// Whether a session came or went since this was last asked.
    pub fn others_live(&mut self) -> bool {
        std::mem::take(&mut self.seen.others_live)
    }

    fn take(&mut self, observation: Observation) {
        let came = self.now();
        match &mut self.keeps {
            Keeps::Nothing => {}
            Keeps::Ring(ring) => ring.take(came, &observation),
            Keeps::All { recorder, parts } => parts.extend(recorder.take(came, &observation)),
        }
        match &observation {
            Observation::Batch(batch) => {
                self.seen.counts.ticks += batch.ticks.len() as u64;
                self.seen.last_tick = batch.ticks.last().map(|tick| tick.at).or(self.seen.last_tick);
                for tick in &batch.ticks {
                    self.seen.suspended += tick.suspended;
                }
            }
            Observation::Census(census) => {
                self.seen.asyncio_imported = Some(census.asyncio_imported);
                let live = census.sessions.iter().filter(|facts| facts.live).map(|facts| facts.key);
                let live: Vec<SessionKey> = live.collect();
                for key in &live {
                    self.seen.meet(*key);
                }
                let others = live != self.seen.live;
                self.seen.others_live |= others || self.seen.missed;
                // Who is missing where not everything was read keeps its row until the next census.
                self.seen.missed = others && census.unreadable > 0;
                self.seen.live = live;
            }
            Observation::Stacks(batch) => self.seen.counts.stacks += batch.samples.len() as u64,
            Observation::Labels(key, _) => self.seen.meet(*key),
            Observation::Waiting(_) | Observation::Dump(..) => {}
            Observation::Ended(ending) => self.seen.ending = Some(ending.clone()),
        }
        match observation {
            // Of a worker that runs another one can be had.
            Observation::Dump(at, dump) => {
                if let Feed::Recorded(_) = self.feed {
                    self.seen.dump = Some((at, dump));
                }
            }
            observation => self.engine.observe(observation),
        }
    }

    /// The last dump of a recording up to now, and when it was taken.
    pub fn dump(&self) -> Option<(Nanos, &Dump)> {
        self.seen.dump.as_ref().map(|(at, dump)| (*at, &**dump))
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

    /// The shortest stretch that is a block now: what was asked for, or the shortest that can be seen.
    pub fn shortest_block(&self) -> Nanos {
        self.engine.threshold()
    }

    /// Up to when the worker was seen, and when otop attached: `CLOCK_REALTIME`, seconds.
    pub fn wall_clocks(&self) -> (f64, f64) {
        let wall = |at: Nanos| self.realtime_offset.saturating_add(i128::from(at.0)) as f64 / 1e9;
        let seen_until = self.seen.last_tick.unwrap_or(self.attached_at) + self.seen.suspended;
        (wall(seen_until), wall(self.attached_at))
    }

    /// The sliding window up to now.
    pub fn report(&mut self) -> Report {
        let now = self.now();
        let mut report = self.engine.report(now);
        if let Keeps::Ring(ring) = &self.keeps {
            report.quality.kept_s = ring.from().map(|from| (now - from).as_secs_f64());
            report.quality.kept_bytes = Some(ring.bytes() as u64);
        }
        report
    }

    /// Writes the last minutes into a file; returns what is to be said of it.
    pub fn write_minutes(&mut self, name: &str) -> String {
        let (now, origin) = (self.now(), self.origin());
        let Keeps::Ring(ring) = &mut self.keeps else {
            return "nothing is kept that could be written".to_owned();
        };
        let written = minutes::write(ring, name, (&origin, &self.hello, &self.settings), now);
        written.unwrap_or_else(|error| error.in_table())
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
    pub fn emergency(&self) -> Option<Emergency> {
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
        let is_over = self.seen.ending.is_some() || self.seen.recording_ends;
        is_over || self.seen.last_tick.is_some_and(|last| last >= instant)
    }

    /// Why nothing more comes; None: more may.
    pub fn ending(&self) -> Option<End> {
        let worker = self.seen.ending.as_ref().map(|ending| match ending {
            Ending::Exited => End::Worker(self.pid, "exited".to_owned()),
            Ending::Execed => End::Worker(self.pid, "it runs another program now".to_owned()),
            Ending::Lost(why) => End::Unreadable(self.pid, why.clone()),
        });
        let recording = || End::Recording((self.now() - self.attached_at).as_secs_f64());
        worker.or_else(|| self.seen.recording_ends.then(recording))
    }

    /// What happened to it, for whoever watched until then; None: it runs, or is of the past.
    pub fn last_word(&self) -> Option<String> {
        let is_live = matches!(self.feed, Feed::Live { .. });
        self.ending().filter(|_| is_live).map(|end| end.words())
    }
}

impl Seen {
    fn meet(&mut self, key: SessionKey) {
        if let Some(met) = &mut self.met
            && met.len() < MOST_SESSIONS
        {
            met.insert(key);
            self.counts.sessions = met.len() as u64;
        }
    }
}

/// `CLOCK_MONOTONIC`.
pub fn now() -> Nanos {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Nanos::ZERO, |time| Nanos::from(Duration::from(time)))
}
