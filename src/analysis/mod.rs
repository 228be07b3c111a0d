//! Turns observations into a report: who uses the CPU, who holds the loop, who blocks it and why. Pure: no clock, no
//! process, no terminal; the time is passed in, so the same observations give the same report. Knows nothing of how
//! anything is read or drawn.
//!
//! The way of a sample: `threads` keeps what is known of its thread, `accounting` books its CPU time, `loop_time` the
//! loop's, `blocks` watches for stretches without progress (`where_time_went`, `gil` and `clock_watch` say where their
//! time went, `culprit` judges, `block_log` keeps). `windows` adds the books up in `tally`s, `sessions` knows who is
//! live, and `reporting` (with `worker` and `lateness`) makes the report of it all.

mod accounting;
mod block_log;
mod blocks;
mod call_tree;
mod clock_watch;
mod culprit;
mod difference;
mod division;
mod gil;
mod history;
mod lateness;
mod ledger;
mod loop_time;
mod moment;
pub mod pool;
mod profile;
mod reporting;
mod resolution;
mod sessions;
mod stacks;
mod step_owner;
mod syscall_names;
mod tally;
mod threads;
mod where_time_went;
mod windows;
mod worker;

#[cfg(test)]
mod tests;

use crate::model::{
    Batch, Block, Census, Ending, Hello, Nanos, Observation, OwnCode, Owner, Report, State, ThreadIndex,
};
pub use call_tree::{CallTree, Called, FrameId, Node, NodeId, Taken};
pub use difference::{Change, Of, changes, unlike, whole};
pub use profile::{By, Mark, Mode, Narrow, Profile, Wanted};
pub use resolution::TICKS_IN_A_BLOCK;

use block_log::{Asked, BlockLog, Charge};
use blocks::Stretch;
use history::History;
use ledger::Ledger;
use moment::{Before, Moment};
use resolution::Resolution;
use sessions::Sessions;
use stacks::Stacks;
use tally::Tally;
use threads::Threads;
use windows::Windows;

/// What the user may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the percentages of [`Engine::report`] are about.
    pub window: Nanos,
    /// A stretch of this length without progress is a block.
    pub slow_threshold: Nanos,
    /// For so long after a block its culprit stays slow.
    pub slow_window: Nanos,
    /// Places whose files are own code, beside those that are so anyway.
    pub own: Vec<String>,
}

/// A block that was under way when otop came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Emergency {
    /// So far most of it is the machine's doing: a busy one slows a culprit down, who shows only later.
    Open,
    /// It has passed the threshold also without what may have been only the machine's.
    Certain,
}

/// For so long beyond the threshold, what the machine does to a loop may pass by itself before it is an emergency. Together
/// with the 50 ms of a batch it stays within the 100 ms that the news may take.
const MACHINE_PATIENCE: Nanos = Nanos(40_000_000);

/// An ended block waits for its stacks no longer than this.
const PATIENCE: Nanos = Nanos(250_000_000);
/// What the hypervisor took is known no later than a scheduler tick (10 ms at HZ 100) after it gave it back.
const STEAL_IS_LATE: Nanos = Nanos(10_000_000);

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            window: Nanos::from_millis(1_000),
            slow_threshold: Nanos::from_millis(50),
            slow_window: Nanos::from_millis(5_000),
            own: Vec::new(),
        }
    }
}

/// Everything that was concluded so far about one worker.
#[derive(Debug)]
pub struct Engine {
    hello: Hello,
    settings: Settings,
    resolution: Resolution,
    threads: Threads,
    sessions: Sessions,
    windows: Windows,
    history: History,
    log: BlockLog,
    stacks: Stacks,
    own: OwnCode,
    /// Blocks that ended, until their stacks are there too.
    unsettled: Vec<(ThreadIndex, Stretch)>,
    /// The last one, without its sessions.
    census: Option<Census>,
    ending: Option<Ending>,
    last_tick: Option<Nanos>,
    /// How long the machine has been suspended since the attach.
    suspended: Nanos,
    /// How long otop has held the worker since the attach.
    held: Nanos,
    /// When the hypervisor's takings were last asked, and what they were.
    steal: Option<(Nanos, Nanos)>,
    /// At the last tick that said so, all threads were stopped, or not.
    stopped: Option<(Nanos, bool)>,
    /// What was booked and lies in no slice yet.
    booked: Tally,
    /// Threads that ended, whose sums can be divided once they are in a slice.
    to_divide: Vec<ThreadIndex>,
    otop_cpu: Option<Nanos>,
    dropped_batches: u64,
    batches: u64,
    ticks: u64,
    /// What a profile of all the time since the attach is made of; None: nobody wants one.
    ledger: Option<Box<Ledger>>,
}

impl Engine {
    /// An engine that has observed nothing yet.
    pub fn new(hello: Hello, settings: Settings) -> Engine {
        Engine {
            resolution: Resolution::new(period(hello.rate_hz)),
            own: OwnCode::new(hello.library.clone(), settings.own.clone()),
            windows: Windows::new(settings.window),
            hello,
            settings,
            threads: Threads::default(),
            sessions: Sessions::default(),
            history: History::default(),
            log: BlockLog::default(),
            stacks: Stacks::default(),
            unsettled: Vec::new(),
            census: None,
            ending: None,
            last_tick: None,
            suspended: Nanos::ZERO,
            held: Nanos::ZERO,
            steal: None,
            stopped: None,
            booked: Tally::default(),
            to_divide: Vec::new(),
            otop_cpu: None,
            dropped_batches: 0,
            batches: 0,
            ticks: 0,
            ledger: None,
        }
    }

    /// An engine that keeps what [`Engine::profile`] needs, which grows with the time.
    pub fn profiling(hello: Hello, settings: Settings) -> Engine {
        Engine {
            ledger: Some(Box::default()),
            ..Engine::new(hello, settings)
        }
    }

    /// The call tree of all that was observed; empty where [`Engine::profiling`] was not asked for.
    pub fn profile(&self, wanted: &Wanted) -> Profile {
        profile::profile(self, wanted)
    }

    /// Takes one observation, in the order in which they were made.
    pub fn observe(&mut self, observation: Observation) {
        if self.ending.is_some() {
            return;
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.observe(&observation);
        }
        match observation {
            Observation::Batch(batch) => self.batch(&batch),
            Observation::Census(census) => self.census(*census),
            Observation::Labels(key, labels) => {
                self.sessions.name(key, &labels);
                self.log.name(key, &labels);
            }
            Observation::Stacks(batch) => {
                self.booked.stacks(&batch);
                self.stacks.observe(batch);
                self.judge_blocks(false);
            }
            Observation::Waiting(waiting) => self.stacks.waiting(waiting),
            // Shown as it is: nothing is concluded from it.
            Observation::Dump(..) => {}
            Observation::Ended(ending) => self.ended(ending),
        }
    }

    /// What is so at `now` (`CLOCK_MONOTONIC`), with percentages over the last [`Settings::window`].
    pub fn report(&mut self, now: Nanos) -> Report {
        self.close_epoch(true);
        let now = self.instant(now);
        reporting::assemble(self, now, &self.windows.sliding(now))
    }

    /// What is so at `now`, with percentages over the time since the last tumbling report, or since the attach.
    pub fn tumbling_report(&mut self, now: Nanos) -> Report {
        self.close_epoch(true);
        let window = self.windows.tumble();
        reporting::assemble(self, self.instant(now), &window)
    }

    /// Whether a block that began before the attach goes on, and cannot wait to be told.
    pub fn emergency(&self) -> Option<Emergency> {
        let threshold = self.threshold().as_millis_f64();
        let what = |block: &Block| {
            let causes = &block.causes_ms;
            // To be stopped is seen at one look.
            let certain =
                causes.cpu + causes.syscall + causes.gil + causes.gc.unwrap_or(0.0) + causes.unknown + causes.stopped;
            // While the machine slept, nobody waited for otop's word.
            let awake = block.duration_ms - causes.suspended;
            match certain >= threshold {
                true => Some(Emergency::Certain),
                false => (awake >= threshold + MACHINE_PATIENCE.as_millis_f64()).then_some(Emergency::Open),
            }
        };
        let blocks = self.log.going_on().map(|entry| &entry.block);
        blocks
            .filter(|block| block.duration_is_lower_bound)
            .filter_map(what)
            .max()
    }

    /// Judges what has ended though its last stacks have not come: for a report after which nobody asks any more.
    pub fn settle(&mut self) {
        self.judge_blocks(true);
    }

    /// Blocks, newest first: those that go on, then the last thousand that ended.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.log.entries().map(|entry| &entry.block)
    }

    /// A stretch of this length is a block: what the user set, or the shortest that can be seen.
    pub fn threshold(&self) -> Nanos {
        let set = self.settings.slow_threshold;
        self.resolution.shortest_block(set).unwrap_or(set)
    }

    fn batch(&mut self, batch: &Batch) {
        if let Some(steal) = batch.steal {
            self.steal = Some((self.last_tick.unwrap_or(self.hello.attached_at), steal));
        }
        let mut ended = Vec::new();
        for facts in &batch.threads {
            let thread = self.threads.announce(facts);
            if !facts.is_loop {
                ended.extend(thread.blocks.finish().map(|stretch| (facts.index, stretch)));
            }
        }
        if let (Some(first), Some(last)) = (batch.ticks.first(), batch.ticks.last()) {
            self.resolution.batch(first.at, last.at, batch.ticks.len() as u64);
        }
        for tick in &batch.ticks {
            self.tick(batch, tick, &mut ended);
        }
        let now = self.last_tick.unwrap_or(self.hello.attached_at);
        for (index, thread) in self.threads.iter_mut() {
            ended.extend(thread.blocks.lost_sight(now).map(|stretch| (index, stretch)));
        }
        self.blocks_ended(ended);
        for index in &batch.ended {
            self.thread_ended(*index);
        }
        self.judge_blocks(false);
        self.book(batch);
    }

    fn tick(&mut self, batch: &Batch, tick: &crate::model::Tick, ended: &mut Vec<(ThreadIndex, Stretch)>) {
        // A clock that runs backwards stands still here.
        let at = self.last_tick.map_or(tick.at, |last| last.max(tick.at));
        let previous_tick = self.last_tick;
        let begins = previous_tick.unwrap_or(at - self.resolution.period());
        self.booked.span = Some((self.booked.span.map_or(begins, |(start, _)| start), at));
        self.last_tick = Some(at);
        self.suspended += tick.suspended;
        self.held += tick.held;
        self.ticks += 1;
        self.booked.ticks += 1;
        self.booked.late.add(tick.late);

        let samples = batch.samples_of(tick);
        if samples.iter().any(|sample| sample.state != State::Unknown) {
            self.stopped = Some((at, samples.iter().all(|sample| sample.state == State::Stopped)));
        }
        for sample in samples {
            match sample.owner {
                Owner::Session(key) => {
                    self.booked.kept += 1;
                    self.sessions.sampled(key, at);
                }
                Owner::Nobody => self.booked.kept += 1,
                Owner::Torn => self.booked.torn += 1,
                Owner::Unreadable => self.booked.unreadable += 1,
            }
            let thread = self.threads.entry(sample.thread);
            let moment = Moment {
                at,
                tick,
                sample,
                all: samples,
                before: thread.before,
                previous_tick,
                period: self.resolution.period(),
                suspended: self.suspended,
                held: self.held,
                steal: self.steal.map(|(_, steal)| steal),
            };
            let clock_moved = thread.meter.observe(&moment, &mut thread.tally);
            if thread.is_loop() {
                loop_time::observe(&moment, clock_moved, &mut thread.tally);
                ended.extend(thread.blocks.observe(&moment).map(|stretch| (sample.thread, stretch)));
            }
            if let Some(ledger) = &mut self.ledger {
                ledger.sample(&moment, thread.is_loop());
            }
            thread.before = Some(Before::of(&moment));
        }
    }

    /// Makes a slice of what the batch's ticks booked.
    fn book(&mut self, batch: &Batch) {
        let new_drops = batch.dropped_batches.saturating_sub(self.dropped_batches);
        self.dropped_batches = self.dropped_batches.max(batch.dropped_batches);
        // How many ticks were in a batch that nobody took is not known: as many as in the others.
        let ticks_per_batch = self.ticks.checked_div(self.batches).unwrap_or(batch.ticks.len() as u64);
        let dropped = new_drops
            .saturating_mul(ticks_per_batch)
            .saturating_add(u64::from(batch.missed));
        self.booked.dropped = self.booked.dropped.saturating_add(dropped);
        self.batches += 1;
        if self.booked.span.is_none() {
            return;
        }
        for (index, thread) in self.threads.iter_mut() {
            let tally = std::mem::take(&mut thread.tally);
            if tally.cpu > 0.0 || tally.observed > 0.0 || tally.on_cpu.total() > 0.0 {
                self.booked.threads.entry(index).or_default().merge(&tally);
            }
        }
        if let Some(before) = self.otop_cpu.replace(batch.otop_cpu) {
            self.booked.otop_cpu = Some((batch.otop_cpu - before).0 as f64);
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.book(&self.booked);
        }
        self.windows.add(std::mem::take(&mut self.booked), batch.process_cpu);
        for index in self.to_divide.drain(..) {
            self.windows.end_thread(index);
        }
        self.close_epoch(false);
    }

    fn thread_ended(&mut self, index: ThreadIndex) {
        let Some(mut thread) = self.threads.remove(index) else {
            return;
        };
        self.booked.threads.entry(index).or_default().merge(&thread.tally);
        self.to_divide.push(index);
        let stretch = thread.blocks.finish();
        self.blocks_ended(stretch.map(|stretch| (index, stretch)));
    }

    fn census(&mut self, mut census: Census) {
        for facts in census
            .sessions
            .iter()
            .filter(|facts| !self.sessions.is_named(facts.key))
        {
            self.log.name(facts.key, &facts.labels);
        }
        let stretches = self.threads.iter().filter_map(|(_, thread)| thread.blocks.ongoing());
        let stretches = stretches.chain(self.unsettled.iter().map(|(_, stretch)| stretch));
        let spoken_of = stretches.flat_map(Stretch::sessions).collect();
        if self.sessions.census(&census, &spoken_of) {
            let sessions = &self.sessions;
            self.windows.fold(&|key| !sessions.is_known(key));
        }
        self.booked.unreadable = self.booked.unreadable.saturating_add(u64::from(census.unreadable));
        census.sessions = Vec::new();
        for index in self.threads.forgotten(self.last_tick.unwrap_or_default()) {
            self.thread_ended(index);
        }
        self.stacks.forget(census.at, |index| self.threads.get(index).is_some());
        self.census = Some(census);
    }

    fn ended(&mut self, ending: Ending) {
        let stretches: Vec<_> = self
            .threads
            .iter_mut()
            .filter_map(|(index, thread)| thread.blocks.finish().map(|stretch| (index, stretch)))
            .collect();
        self.blocks_ended(stretches);
        self.judge_blocks(true);
        self.ending = Some(ending);
    }

    /// Takes stretches that ended. Their stacks come a little later, from another thread.
    fn blocks_ended(&mut self, ended: impl IntoIterator<Item = (ThreadIndex, Stretch)>) {
        let threshold = self.threshold();
        let blocks = ended.into_iter().filter(|(_, stretch)| stretch.duration() >= threshold);
        self.unsettled.extend(blocks);
    }

    /// Judges the blocks that ended and of which everything is known that will be (`all`: whether it is or not), and those
    /// that go on.
    fn judge_blocks(&mut self, all: bool) {
        let now = self.last_tick.unwrap_or_default();
        let (stacks_until, stacks_come) = (self.stacks.until(), self.hello.stack_rate_hz.is_some());
        let (asked_at, steal) = self.steal.unzip();
        let is_settled = |stretch: &Stretch| {
            let stacks = !stacks_come || stacks_until >= stretch.until;
            let steal = asked_at.is_none_or(|at| at >= stretch.until + STEAL_IS_LATE) || !stretch.went.awaits_steal();
            all || (stacks && steal) || now - stretch.until > PATIENCE
        };
        let (settled, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.unsettled)
            .into_iter()
            .partition(|(_, stretch)| is_settled(stretch));
        self.unsettled = rest;
        let asked = Asked {
            slice: self.windows.next_slice(),
            threshold: self.threshold(),
            steal,
            hello: &self.hello,
            sessions: &self.sessions,
            threads: &self.threads,
            stacks: &self.stacks,
            own: &self.own,
        };
        let mut charges = Vec::new();
        for (thread, stretch) in &settled {
            if let Some(entry) = self.log.ended(*thread, stretch, &asked) {
                charges.push(Charge::of(entry));
                if let Some(ledger) = &mut self.ledger {
                    ledger.block(*thread, entry);
                }
            }
        }
        let loops = self.threads.iter().filter(|(_, thread)| thread.is_loop());
        let stuck = loops.filter_map(|(index, thread)| Some((index, thread.blocks.ongoing()?)));
        let unsettled = self.unsettled.iter().map(|(index, stretch)| (*index, stretch));
        self.log.go_on(stuck.chain(unsettled), &asked);
        for charge in charges {
            self.sessions.block_ended(&charge, self.settings.slow_window);
        }
    }

    /// Divides the time of the epoch among the sessions, if the epoch is long enough.
    fn close_epoch(&mut self, for_report: bool) {
        if let Some(epoch) = self.windows.close_epoch(for_report) {
            self.sessions.add_cpu(&epoch.cpu());
            self.history.add(&epoch);
        }
    }

    /// `now`; but time stands still for a worker that is gone, so that its last figures stay.
    fn instant(&self, now: Nanos) -> Nanos {
        let census = self.census.as_ref().map(|census| census.at);
        match (&self.ending, self.last_tick.max(census)) {
            (Some(_), Some(last)) => now.min(last),
            _ => now,
        }
    }
}

/// `CLOCK_REALTIME` seconds of an instant by which the machine had been suspended for `suspended` since the attach.
fn wall_clock(hello: &Hello, at: Nanos, suspended: Nanos) -> f64 {
    hello
        .realtime_offset
        .saturating_add(i128::from(at.0))
        .saturating_add(i128::from(suspended.0)) as f64
        / 1e9
}

/// Percent; 0 of nothing.
fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole * 100.0 } else { 0.0 }
}

fn period(rate_hz: f64) -> Nanos {
    let rate = if rate_hz.is_finite() && rate_hz > 0.0 {
        rate_hz
    } else {
        1_000.0
    };
    Nanos((1e9 / rate.clamp(0.01, 1e6)) as u64)
}

#[cfg(test)]
impl Engine {
    /// Number of entries that it holds, blocks aside, for the tests of its bounds.
    fn entries(&self) -> usize {
        self.threads.entries()
            + self.stacks.entries()
            + self.sessions.entries()
            + self.windows.entries()
            + self.booked.entries()
    }
}
