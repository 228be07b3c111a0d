//! Puts a report together from what the other files know. Knows nothing of how they came to know it.

use super::block_log::Charge;
use super::sessions::{Session, Worst};
use super::stacks::Typical;
use super::tally::{Shares, Tally};
use super::{Engine, percent, wall_clock, worker};
use crate::model::{
    Nanos, Quality, Report, SCHEMA, SessionFacts, SessionKey, SessionReport, Stack, Status, Unattributed, Where,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const MIB: f64 = 1_048_576.0;
/// A session that was met in this share of the stacks runs; one that was met in less waits, mostly.
const RUNS: f64 = 0.03;

/// Blocks that a session is the culprit of and that go on.
#[derive(Clone, Copy, Default)]
struct Ongoing {
    blocks: u64,
    blocked_ms: f64,
    worst: Worst,
    is_lower_bound: bool,
}

/// What all rows need.
struct Context<'a> {
    engine: &'a Engine,
    now: Nanos,
    /// Length of the window, nanoseconds; None: nothing was seen in it.
    length: Option<f64>,
    loop_seen: bool,
    draining: bool,
    memory_share: Option<f64>,
    cpu: Shares,
    /// On-CPU time since the last epoch was closed.
    open_cpu: Shares,
    held: Shares,
    ongoing: BTreeMap<SessionKey, Ongoing>,
    places: HashMap<SessionKey, Typical>,
    /// Instants of the window at which stacks were read.
    stack_ticks: f64,
}

/// The report of a window.
pub(super) fn assemble(engine: &Engine, now: Nanos, window: &Tally) -> Report {
    let length = Some(window.length()).filter(|length| *length > 0.0);
    let census = engine.census.as_ref();
    let context = Context {
        engine,
        now,
        length,
        loop_seen: window.threads.values().any(|thread| thread.observed > 0.0),
        draining: census
            .and_then(|census| census.pool.as_ref())
            .and_then(|pool| pool.draining)
            .unwrap_or(false),
        memory_share: engine.sessions.memory_share(census.and_then(|census| census.rss_bytes)),
        cpu: window.cpu(),
        open_cpu: engine.windows.open_epoch().cpu(),
        held: window.held(),
        ongoing: ongoing(engine),
        stack_ticks: window.stack_ticks as f64,
        places: window
            .span
            .map(|(from, _)| engine.stacks.places_since(from, &engine.own))
            .unwrap_or_default(),
    };
    let mut sessions = Vec::new();
    // All that is not a row's is unattributed: so rows and unattributed always add up to the total.
    let mut unattributed_cpu = window.total_cpu;
    let mut unattributed_since_attach = engine.windows.total_cpu();
    let mut unattributed_held = context.held.total();
    for (key, session) in engine.sessions.iter() {
        if let Some(row) = context.row(key, session) {
            unattributed_cpu -= context.cpu_of(key);
            unattributed_since_attach -= context.cpu_since_attach(key, session);
            unattributed_held -= context.held_by(key);
            sessions.push(row);
        }
    }
    sessions.sort_by(|one, other| one.session_id.cmp(&other.session_id));
    Report {
        schema: SCHEMA,
        worker: worker::report(engine, now, window),
        sessions,
        unattributed: Unattributed {
            cpu_pct: length.map(|length| percent(unattributed_cpu.max(0.0), length)),
            cpu_s: engine.last_tick.map(|_| unattributed_since_attach.max(0.0) / 1e9),
            loop_pct: context.of_loop(unattributed_held.max(0.0)),
        },
        blocks: engine
            .log
            .since(window.first_slice.unwrap_or(engine.windows.next_slice())),
        quality: quality(engine, window),
        unix_now: Some(wall_clock(&engine.hello, now, engine.suspended)),
        recent: Vec::new(),
        history: engine.history.stretches(),
        pool: None,
    }
}

impl Context<'_> {
    /// None: the session has no row.
    fn row(&self, key: SessionKey, session: &Session) -> Option<SessionReport> {
        let facts = session.facts.as_ref()?;
        let ongoing = self.ongoing.get(&key).copied().unwrap_or_default();
        let status = session.status(self.now, ongoing.blocks > 0, self.draining)?;
        let (duration, duration_is_lower_bound) = self.duration(facts, session);
        let worst = session.worst.max(ongoing.worst);
        Some(SessionReport {
            key,
            session_id: facts.labels.session_id.clone(),
            worker: None,
            agent_name: facts.labels.agent.clone(),
            tenant: facts.labels.tenant.clone(),
            duration_s: Some(duration),
            duration_is_lower_bound,
            mem_mb: self
                .memory_share
                .filter(|_| status != Status::Errored)
                .map(|bytes| bytes / MIB),
            peak_mb: session.peak.map(|bytes| bytes / MIB),
            cpu_pct: self.length.map(|length| percent(self.cpu_of(key), length)),
            cpu_s: self.engine.last_tick.map(|_| self.cpu_since_attach(key, session) / 1e9),
            loop_pct: self.of_loop(self.held_by(key)),
            status,
            pinned: facts.pinned,
            tasks: Some(u64::from(facts.tasks)),
            blocks: session.blocks + ongoing.blocks,
            blocked_ms: session.blocked_ms + ongoing.blocked_ms,
            worst_block_ms: (worst.ms > 0.0).then_some(worst.ms),
            blocked_is_lower_bound: session.blocked_is_lower_bound || ongoing.is_lower_bound,
            worst_is_lower_bound: worst.is_lower_bound,
            place: self.place(key, facts),
            stack: self.runs_in(key).cloned(),
        })
    }

    /// Where the session runs, if it did so for more than a moment of the window; else where it waits. A place without own
    /// code, as in the plumbing of a thread pool, says less than one in the session's own code, where it waits for that.
    fn place(&self, key: SessionKey, facts: &SessionFacts) -> Option<Where> {
        let running = || {
            let stack = self.places.get(&key)?.stack.as_ref()?;
            let frame = stack.frames.get(self.engine.own.place(&stack.frames)?)?;
            Some(Where {
                state: Some("running"),
                ..Where::of(frame)
            })
        };
        let waiting = || {
            facts.reading.as_ref().map(|reading| Where {
                function: Some(Arc::clone(&reading.function)),
                file: Some(Arc::clone(&reading.file)),
                line: Some(reading.line),
                state: Some(reading.state),
            })
        };
        let is_own = |place: &Where| place.file.as_ref().is_some_and(|file| self.engine.own.is_own(file));
        match self.runs_in(key) {
            Some(_) => match (running(), waiting()) {
                (Some(running), Some(waiting)) if !is_own(&running) && is_own(&waiting) => Some(waiting),
                (running, waiting) => running.or(waiting),
            },
            None => waiting().or_else(running),
        }
    }

    /// The stack that it mostly had, if it ran for more than a moment of the window.
    fn runs_in(&self, key: SessionKey) -> Option<&Arc<Stack>> {
        let typical = self.places.get(&key)?;
        let runs = typical.resolved as f64 >= RUNS * self.stack_ticks;
        typical.stack.as_ref().filter(|_| runs)
    }

    /// Seconds, and whether they count only from when otop first saw the session.
    fn duration(&self, facts: &SessionFacts, session: &Session) -> (f64, bool) {
        match facts.started_unix {
            Some(started) => {
                let now = wall_clock(&self.engine.hello, self.now, self.engine.suspended);
                ((now - started).max(0.0), false)
            }
            None => ((self.now - session.first_seen).as_secs_f64(), true),
        }
    }

    fn cpu_of(&self, key: SessionKey) -> f64 {
        self.cpu.sessions.get(&key).copied().unwrap_or(0.0)
    }

    fn cpu_since_attach(&self, key: SessionKey, session: &Session) -> f64 {
        session.cpu + self.open_cpu.sessions.get(&key).copied().unwrap_or(0.0)
    }

    fn held_by(&self, key: SessionKey) -> f64 {
        self.held.sessions.get(&key).copied().unwrap_or(0.0)
    }

    fn of_loop(&self, nanos: f64) -> Option<f64> {
        self.length
            .filter(|_| self.loop_seen)
            .map(|length| percent(nanos, length))
    }
}

fn ongoing(engine: &Engine) -> BTreeMap<SessionKey, Ongoing> {
    let mut by_culprit: BTreeMap<SessionKey, Ongoing> = BTreeMap::new();
    for entry in engine.log.going_on() {
        if let Some(key) = entry.culprit {
            let ongoing = by_culprit.entry(key).or_default();
            ongoing.blocks += 1;
            ongoing.blocked_ms += entry.block.duration_ms;
            let worst = Worst::of(&Charge::of(entry));
            ongoing.worst = ongoing.worst.max(worst);
            ongoing.is_lower_bound |= worst.is_lower_bound;
        }
    }
    by_culprit
}

/// How good the figures of a window are.
pub(super) fn quality(engine: &Engine, window: &Tally) -> Quality {
    let length = window.length();
    let pause = engine.census.as_ref().and_then(|census| census.pause.as_ref());
    Quality {
        window_s: length / 1e9,
        hz_asked: engine.hello.rate_hz,
        hz_got: if length > 0.0 {
            window.ticks as f64 / (length / 1e9)
        } else {
            0.0
        },
        blocks_from_ms: engine
            .resolution
            .shortest_block(engine.settings.slow_threshold)
            .map(Nanos::as_millis_f64),
        stack_hz_asked: engine.hello.stack_rate_hz,
        stack_hz_got: engine
            .stacks
            .mode()
            .filter(|_| length > 0.0)
            .map(|_| window.stack_ticks as f64 / (length / 1e9)),
        stack_mode: engine.stacks.mode().map(|mode| mode.name().to_owned()),
        unresolved: engine.stacks.mode().map(|_| window.unresolved),
        samples: window.kept,
        torn: window.torn,
        unreadable: window.unreadable,
        dropped: window.dropped,
        late_p99_us: window.late.p99_us(),
        paused_ms: pause.map(|pause| pause.longest.as_millis_f64()),
        pause_refused: pause.and_then(|pause| pause.refused.clone()),
        paused_last_ms: pause.and_then(|pause| pause.held).map(Nanos::as_millis_f64),
        kept_s: None,
        kept_bytes: None,
        otop_cpu_pct: window
            .otop_cpu
            .filter(|_| length > 0.0)
            .map(|nanos| percent(nanos, length)),
    }
}
