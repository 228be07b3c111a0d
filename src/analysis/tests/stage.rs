//! A worker made of nothing, for the tests: threads that run, wait, sleep and step by a script, with clocks that behave
//! as the kernel's do (a running thread's is a scheduler tick old, a wait shows when it is over), and a sampler that
//! looks at them. What the engine concludes can then be held against what was played.

use super::super::{Engine, Settings};
use crate::model::*;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const LOOP: u32 = 0;
pub const EPOLL_WAIT: i32 = 232;
/// The kernel brings the clock of a running thread up to date this often.
const SCHEDULER_TICK: u64 = 4_000_000;
/// What the hypervisor took is told in units of this, rounded down, and noticed at the next tick of the slowest scheduler.
const STEAL_UNIT: u64 = 10_000_000;
pub const ATTACHED_AT: u64 = 1_000_000_000_000;
/// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`, nanoseconds.
pub const REALTIME_OFFSET: i128 = 1_700_000_000_000_000_000;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Run,
    WaitForCpu,
    /// On a CPU that the hypervisor took.
    Stolen,
    WaitForGil,
    Call(i32),
    Stopped,
    /// Asleep in epoll_wait.
    Select,
}

#[derive(Clone, Debug)]
struct Actor {
    doing: Doing,
    owner: Owner,
    step: Option<u64>,
    serial: u64,
    progress: u64,
    cpu: u64,
    shown_cpu: u64,
    delay: u64,
    shown_delay: u64,
    /// The clocks are read.
    clocks: bool,
    /// The state is read.
    states: bool,
    /// The step is seen.
    steps: bool,
    /// The sampler asks of it.
    asked: bool,
}

pub struct Stage {
    pub engine: Engine,
    pub now: u64,
    period: u64,
    next_tick: u64,
    /// Largest displacement of a tick, nanoseconds.
    jitter: u64,
    random: u64,
    actors: BTreeMap<u32, Actor>,
    pub gil: Gil,
    pub collecting: Option<bool>,
    /// CPU time of threads that are not watched.
    pub other_cpu: u64,
    batch: Batch,
    ticks_per_batch: usize,
    late: (u64, u64),
    suspended: u64,
    held: u64,
    holding: bool,
    /// What the hypervisor took, and what of it the machine has noticed, nanoseconds; None: nobody asks.
    pub steal: Option<(u64, u64)>,
    /// What the script really did, nanoseconds.
    pub truth: BTreeMap<Option<SessionKey>, u64>,
    pub rss: Option<u64>,
    pub draining: Option<bool>,
    /// What a census could not read.
    pub unreadable: u32,
    /// What the next census says of having stopped the worker.
    pub pause: Option<Pause>,
    pub frozen: bool,
}

pub fn hello() -> Hello {
    Hello {
        pid: Pid(1234),
        python: "3.12.1".to_owned(),
        name: Some("host".to_owned()),
        session_from: Some("openrtc".to_owned()),
        attached_at: Nanos(ATTACHED_AT),
        realtime_offset: REALTIME_OFFSET,
        started_unix: Some(1_700_000_000.0),
        vcpus: Some(2),
        rate_hz: 1_000.0,
        stack_rate_hz: None,
        library: None,
    }
}

pub fn key(id: &str) -> SessionKey {
    SessionKey::of(id)
}

pub fn of(id: &str) -> Owner {
    Owner::Session(key(id))
}

pub fn facts(id: &str) -> SessionFacts {
    SessionFacts {
        key: key(id),
        labels: Arc::new(Labels {
            session_id: id.to_owned(),
            agent: Some(format!("{id}-agent")),
            tenant: None,
        }),
        live: true,
        tasks: 3,
        started_unix: None,
        errored: false,
        pinned: false,
        reading: None,
    }
}

impl Stage {
    /// One event loop, asleep in select, on thread 0.
    pub fn new() -> Stage {
        Stage::with(Settings::default(), hello())
    }

    pub fn with(settings: Settings, hello: Hello) -> Stage {
        let period = (1e9 / hello.rate_hz) as u64;
        let mut stage = Stage {
            engine: Engine::new(hello, settings),
            now: ATTACHED_AT,
            period,
            next_tick: ATTACHED_AT + period / 2,
            jitter: 0,
            random: 1,
            actors: BTreeMap::new(),
            gil: Gil::default(),
            collecting: None,
            other_cpu: 0,
            batch: Batch {
                steal: Some(Nanos::ZERO),
                ..Batch::default()
            },
            ticks_per_batch: 50,
            late: (0, 0),
            suspended: 0,
            held: 0,
            holding: false,
            steal: Some((0, 0)),
            truth: BTreeMap::new(),
            rss: Some(100 << 20),
            draining: None,
            unreadable: 0,
            pause: None,
            frozen: false,
        };
        stage.thread(LOOP, "MainThread", true);
        stage
    }

    /// Ticks lie anywhere in their period.
    pub fn jittered(mut self, seed: u64) -> Stage {
        self.jitter = self.period;
        self.random = seed;
        self
    }

    pub fn thread(&mut self, index: u32, name: &str, is_loop: bool) {
        self.actors.insert(
            index,
            Actor {
                doing: Doing::Select,
                owner: Owner::Nobody,
                step: None,
                serial: 0,
                progress: 0,
                cpu: 5_000_000,
                shown_cpu: 5_000_000,
                delay: 1_000,
                shown_delay: 1_000,
                clocks: true,
                states: true,
                steps: true,
                asked: true,
            },
        );
        let tid = Tid(1234 + index as i32);
        self.batch.threads.push(ThreadFacts {
            index: ThreadIndex(index),
            tid,
            name: name.to_owned(),
            is_loop,
        });
    }

    pub fn end_thread(&mut self, index: u32) {
        self.other_cpu += self.actor(index).shown_cpu;
        self.actors.remove(&index);
        self.batch.ended.push(ThreadIndex(index));
    }

    pub fn blind(&mut self, index: u32, clocks: bool, states: bool) {
        let actor = self.actor(index);
        (actor.clocks, actor.states) = (clocks, states);
    }

    /// Whether the sampler asks of a thread.
    pub fn ask(&mut self, index: u32, asked: bool) {
        self.actor(index).asked = asked;
    }

    /// The context cannot be read for so long.
    pub fn unreadable(&mut self, index: u32, ms: f64) {
        let owner = std::mem::replace(&mut self.actor(index).owner, Owner::Unreadable);
        self.actor(index).steps = false;
        self.run(ms);
        (self.actor(index).owner, self.actor(index).steps) = (owner, true);
    }

    fn actor(&mut self, index: u32) -> &mut Actor {
        self.actors.get_mut(&index).expect("no such actor")
    }

    pub fn doing(&mut self, index: u32, doing: Doing) {
        let actor = self.actor(index);
        // The kernel brings the clocks up to date when a thread leaves its CPU, or gets one.
        actor.shown_cpu = actor.cpu;
        if actor.doing == Doing::WaitForCpu && doing != Doing::WaitForCpu {
            actor.shown_delay = actor.delay;
        }
        actor.doing = doing;
    }

    pub fn owner(&mut self, index: u32, owner: Owner) {
        self.actor(index).owner = owner;
    }

    pub fn begin(&mut self, index: u32, owner: Owner, doing: Doing) {
        self.doing(index, doing);
        let actor = self.actor(index);
        actor.serial += 1;
        actor.progress += 1;
        (actor.step, actor.owner) = (Some(actor.serial), owner);
    }

    pub fn end(&mut self, index: u32, doing: Doing) {
        self.doing(index, doing);
        let actor = self.actor(index);
        actor.progress += 1;
        (actor.step, actor.owner) = (None, Owner::Nobody);
    }

    /// One step of the loop that does one thing.
    pub fn step(&mut self, owner: Owner, doing: Doing, ms: f64) {
        self.begin(LOOP, owner, doing);
        self.run(ms);
        self.end(LOOP, Doing::Select);
    }

    /// Lets time pass, and the sampler look.
    pub fn run(&mut self, ms: f64) {
        let until = self.now + (ms * 1e6) as u64;
        while self.next_tick <= until {
            let tick = self.next_tick.max(self.now);
            self.pass(tick);
            self.tick();
            let planned = (tick - ATTACHED_AT) / self.period + 1;
            self.random = self
                .random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let off = if self.jitter == 0 {
                self.period / 2
            } else {
                (self.random >> 33) % self.jitter
            };
            self.next_tick = (ATTACHED_AT + planned * self.period + off).max(tick + 1);
        }
        self.pass(until);
    }

    /// Lets time pass without a look: the sampler wakes late, and waited for a CPU itself for `own_wait_ms`.
    pub fn miss(&mut self, ms: f64, own_wait_ms: f64) {
        self.pass(self.now + (ms * 1e6) as u64);
        self.next_tick = self.now;
        self.late = ((ms * 1e6) as u64, (own_wait_ms * 1e6) as u64);
        self.batch.missed += (ms as u32).saturating_sub(1);
    }

    /// otop itself holds the worker, and its sampler looks meanwhile, or comes late for as long.
    pub fn hold(&mut self, ms: f64, looks: bool) {
        let doing = self
            .actors
            .iter()
            .map(|(index, actor)| (*index, actor.doing))
            .collect::<Vec<_>>();
        for (index, _) in &doing {
            self.doing(*index, Doing::Stopped);
        }
        let end = self.now + (ms * 1e6) as u64;
        self.holding = true;
        match looks {
            true => self.run(ms),
            false => self.miss(ms, 0.0),
        }
        self.holding = false;
        assert_eq!(self.now, end);
        for (index, doing) in doing {
            self.doing(index, doing);
        }
    }

    /// The machine sleeps; no clock but the wall's moves.
    pub fn suspend(&mut self, ms: f64) {
        self.suspended += (ms * 1e6) as u64;
    }

    fn pass(&mut self, until: u64) {
        let passed = until - self.now;
        self.held += if self.holding { passed } else { 0 };
        for actor in self.actors.values_mut() {
            match actor.doing {
                Doing::Run => {
                    actor.cpu += passed;
                    let owner = if let Owner::Session(key) = actor.owner {
                        Some(key)
                    } else {
                        None
                    };
                    *self.truth.entry(owner).or_default() += passed;
                    let ticked = until / SCHEDULER_TICK * SCHEDULER_TICK;
                    if ticked > self.now {
                        actor.shown_cpu = actor.cpu - (until - ticked);
                    }
                }
                Doing::WaitForCpu => actor.delay += passed,
                Doing::Stolen => {
                    if let Some((taken, _)) = &mut self.steal {
                        *taken += passed;
                    }
                }
                _ => {}
            }
        }
        let is_back = self.actors.values().all(|actor| actor.doing != Doing::Stolen);
        if let Some((taken, noticed)) = &mut self.steal
            && is_back
            && self.now / STEAL_UNIT != until / STEAL_UNIT
        {
            *noticed = *taken;
        }
        self.now = until;
    }

    fn tick(&mut self) {
        let first = self.batch.samples.len() as u32;
        for (index, actor) in self.actors.iter().filter(|(_, actor)| actor.asked) {
            let state = match actor.doing {
                _ if !actor.states => State::Unknown,
                Doing::Run | Doing::WaitForCpu | Doing::Stolen => State::Runnable,
                Doing::WaitForGil => State::GilWait,
                Doing::Call(number) => State::Syscall(number),
                Doing::Stopped => State::Stopped,
                Doing::Select => State::Syscall(EPOLL_WAIT),
            };
            self.batch.samples.push(Sample {
                thread: ThreadIndex(*index),
                owner: actor.owner,
                within: None,
                step: actor.step.filter(|_| actor.steps),
                progress: actor.progress,
                state,
                cpu: actor.clocks.then_some(Nanos(actor.shown_cpu)),
                run_delay: actor.clocks.then_some(Nanos(actor.shown_delay)),
            });
        }
        let (late, own_wait) = std::mem::take(&mut self.late);
        self.batch.ticks.push(Tick {
            at: Nanos(self.now),
            late: Nanos(late),
            own_wait: Nanos(own_wait),
            suspended: Nanos(std::mem::take(&mut self.suspended)),
            held: Nanos(std::mem::take(&mut self.held)),
            gil: self.gil,
            collecting: self.collecting,
            first,
            count: self.batch.samples.len() as u32 - first,
        });
        if self.batch.ticks.len() >= self.ticks_per_batch {
            self.flush();
        }
    }

    pub fn flush(&mut self) {
        let next = Batch {
            steal: self.steal.map(|(_, noticed)| Nanos(noticed / STEAL_UNIT * STEAL_UNIT)),
            ..Batch::default()
        };
        let mut batch = std::mem::replace(&mut self.batch, next);
        let shown: u64 = self.actors.values().map(|actor| actor.shown_cpu).sum();
        batch.process_cpu = Some(Nanos(shown + self.other_cpu));
        batch.otop_cpu = Nanos((self.now - ATTACHED_AT) / 50);
        self.engine.observe(Observation::Batch(batch));
    }

    pub fn census(&mut self, ids: &[&str]) {
        self.census_of(ids.iter().map(|id| facts(id)).collect());
    }

    pub fn census_of(&mut self, sessions: Vec<SessionFacts>) {
        self.census_at(self.now, sessions);
    }

    pub fn census_at(&mut self, at: u64, sessions: Vec<SessionFacts>) {
        self.flush();
        let census = Census {
            at: Nanos(at),
            took: Nanos(0),
            sessions,
            loops: vec![LoopFacts {
                kind: LoopKind::Asyncio,
                thread: Some(ThreadIndex(LOOP)),
                ready: Some(2),
                tasks: 7,
            }],
            tasks: 7,
            session_from: Some("openrtc".to_owned()),
            asyncio_imported: true,
            pool: self.draining.map(|draining| PoolFacts {
                draining: Some(draining),
                ..PoolFacts::default()
            }),
            rss_bytes: self.rss,
            host: HostFacts::default(),
            unreadable: self.unreadable,
            stopped: false,
            frozen: self.frozen,
            pause: self.pause.clone(),
        };
        self.engine.observe(Observation::Census(Box::new(census)));
    }

    pub fn report(&mut self) -> Report {
        self.flush();
        self.engine.report(Nanos(self.now))
    }

    pub fn tumbling(&mut self) -> Report {
        self.flush();
        self.engine.tumbling_report(Nanos(self.now))
    }

    pub fn blocks(&mut self) -> Vec<Block> {
        self.flush();
        self.engine.blocks().cloned().collect()
    }

    /// CPU time that the script gave to a session, seconds.
    pub fn true_cpu_s(&self, id: &str) -> f64 {
        self.truth.get(&Some(key(id))).copied().unwrap_or(0) as f64 / 1e9
    }
}

/// The row of a session.
pub fn row<'a>(report: &'a Report, id: &str) -> &'a SessionReport {
    report
        .sessions
        .iter()
        .find(|row| row.session_id == id)
        .unwrap_or_else(|| panic!("no row {id}"))
}

/// Rows and unattributed add up to the worker, in the window.
pub fn assert_adds_up(report: &Report) {
    let Some(total) = report.worker.cpu_pct else { return };
    let rows: f64 = report.sessions.iter().map(|row| row.cpu_pct.unwrap()).sum();
    let sum = rows + report.unattributed.cpu_pct.unwrap();
    assert!(
        (sum - total).abs() <= 1e-6 * total.max(1.0),
        "{rows} of sessions, {sum} in all, of {total}"
    );
    assert!(
        report
            .sessions
            .iter()
            .all(|row| row.cpu_pct.unwrap() >= 0.0 && row.cpu_s.unwrap() >= 0.0)
    );
}
