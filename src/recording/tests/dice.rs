//! Observations of all kinds that look random, the same for the same seed.

use crate::model::*;
use std::sync::Arc;

/// Numbers that look random, the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }

    pub fn coin(&mut self) -> bool {
        self.roll(2) == 0
    }

    /// Small mostly, and anything sometimes.
    pub fn number(&mut self) -> u64 {
        match self.roll(8) {
            0 => self.0,
            1 => u64::MAX,
            _ => self.roll(1_000_000),
        }
    }

    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Dice) -> T) -> Option<T> {
        if self.coin() { Some(make(self)) } else { None }
    }

    pub fn many<T>(&mut self, most: u64, mut make: impl FnMut(&mut Dice) -> T) -> Vec<T> {
        (0..self.roll(most + 1)).map(|_| make(self)).collect()
    }

    pub fn text(&mut self) -> String {
        ["", "a", "job-1", "会議 🚀", "\x1b[31m;\n", "/srv/app/agents/booking.py"][self.roll(6) as usize].to_owned()
    }

    pub fn key(&mut self) -> SessionKey {
        SessionKey(self.roll(5))
    }

    pub fn thread(&mut self) -> ThreadIndex {
        ThreadIndex(self.roll(4) as u32)
    }

    pub fn owner(&mut self) -> Owner {
        match self.roll(5) {
            0 => Owner::Nobody,
            1 => Owner::Torn,
            2 => Owner::Unreadable,
            _ => Owner::Session(self.key()),
        }
    }

    pub fn state(&mut self) -> State {
        match self.roll(6) {
            0 => State::Runnable,
            1 => State::GilWait,
            2 => State::Stopped,
            3 => State::Unknown,
            _ => State::Syscall(self.roll(400) as i32 - 5),
        }
    }

    pub fn labels(&mut self) -> Labels {
        Labels {
            session_id: self.text(),
            agent: self.maybe(Dice::text),
            tenant: self.maybe(Dice::text),
        }
    }

    pub fn stack(&mut self) -> Arc<Stack> {
        let frames = self.many(5, |dice| {
            Arc::new(Frame {
                function: dice.text().into(),
                file: dice.text().into(),
                line: dice.roll(9) as u32,
                first_line: dice.roll(3) as u32,
            })
        });
        Arc::new(Stack {
            frames: frames.into(),
            is_cut: self.coin(),
        })
    }

    pub fn batch(&mut self) -> Batch {
        Batch {
            ticks: self.many(4, |dice| Tick {
                at: Nanos(dice.number()),
                late: Nanos(dice.number()),
                own_wait: Nanos(dice.number()),
                suspended: Nanos(dice.number()),
                held: Nanos::ZERO,
                gil: Gil {
                    holder: dice.maybe(Dice::thread),
                    switches: dice.number(),
                },
                collecting: dice.maybe(Dice::coin),
                first: dice.roll(9) as u32,
                count: dice.roll(9) as u32,
            }),
            samples: self.many(6, |dice| Sample {
                thread: dice.thread(),
                owner: dice.owner(),
                within: dice.maybe(Dice::owner),
                step: dice.maybe(Dice::number),
                progress: dice.number(),
                state: dice.state(),
                cpu: dice.maybe(Dice::number).map(Nanos),
                run_delay: dice.maybe(Dice::number).map(Nanos),
            }),
            threads: self.many(2, |dice| ThreadFacts {
                index: dice.thread(),
                tid: Tid(dice.roll(9) as i32 - 1),
                name: dice.text(),
                is_loop: dice.coin(),
            }),
            ended: self.many(2, Dice::thread),
            missed: self.roll(5) as u32,
            process_cpu: self.maybe(Dice::number).map(Nanos),
            otop_cpu: Nanos(self.number()),
            dropped_batches: self.number(),
            steal: self.maybe(Dice::number).map(Nanos),
        }
    }

    pub fn stacks(&mut self) -> StackBatch {
        let known: Vec<Arc<Stack>> = (0..3).map(|_| self.stack()).collect();
        StackBatch {
            samples: self.many(6, |dice| StackSample {
                at: Nanos(dice.number()),
                thread: dice.thread(),
                owner: dice.owner(),
                context_version: dice.number(),
                in_step: dice.coin(),
                state: dice.state(),
                collecting: dice.coin(),
                collects_explicitly: dice.maybe(Dice::coin),
                stack: dice.maybe(|dice| Arc::clone(&known[dice.roll(3) as usize])),
            }),
            until: Nanos(self.number()),
            ticks: self.roll(9) as u32,
            missed: self.roll(9) as u32,
            mode: match self.roll(3) {
                0 => StackMode::OwnCpu,
                1 => StackMode::Interrupt,
                _ => StackMode::OtherCpu,
            },
        }
    }

    pub fn census(&mut self) -> Census {
        Census {
            at: Nanos(self.number()),
            took: Nanos(self.number()),
            sessions: self.many(3, |dice| SessionFacts {
                key: dice.key(),
                labels: Arc::new(dice.labels()),
                live: dice.coin(),
                tasks: dice.roll(99) as u32,
                started_unix: dice.maybe(|dice| dice.number() as f64 / 7.0),
                errored: dice.coin(),
                pinned: dice.coin(),
                reading: dice.maybe(|dice| crate::model::Reading {
                    function: dice.text().into(),
                    file: dice.text().into(),
                    line: dice.roll(99) as u32,
                    state: ["running", "waiting"][dice.roll(2) as usize],
                }),
            }),
            loops: self.many(3, |dice| LoopFacts {
                kind: [LoopKind::Asyncio, LoopKind::Uvloop, LoopKind::Other][dice.roll(3) as usize],
                thread: dice.maybe(Dice::thread),
                ready: dice.maybe(|dice| dice.roll(9) as u32),
                tasks: dice.roll(9) as u32,
            }),
            tasks: self.roll(99) as u32,
            session_from: self.coin().then(|| self.text()),
            asyncio_imported: self.coin(),
            pool: self.maybe(|dice| PoolFacts {
                draining: dice.maybe(Dice::coin),
                max_sessions: dice.maybe(Dice::number),
                started: dice.maybe(Dice::number),
                failed: dice.maybe(Dice::number),
                last_error: dice.maybe(Dice::text),
                uptime_s: dice.maybe(|dice| dice.number() as f64 / 3.0),
            }),
            rss_bytes: self.maybe(Dice::number),
            host: HostFacts {
                cpu_pct: self.maybe(|dice| dice.number() as f64 / 3.0),
                mem_used_bytes: self.maybe(Dice::number),
                mem_total_bytes: self.maybe(Dice::number),
                swap_used_bytes: self.maybe(Dice::number),
                swap_total_bytes: self.maybe(Dice::number),
                load: self.maybe(|dice| [dice.number() as f64, 0.1, -0.0]),
                net_rate_bps: self.maybe(|dice| dice.number() as f64),
            },
            unreadable: self.roll(9) as u32,
            stopped: self.coin(),
            frozen: false,
            pause: None,
        }
    }

    fn places(&mut self) -> Vec<DumpFrame> {
        self.many(4, |dice| DumpFrame {
            function: dice.text(),
            file: dice.text(),
            line: dice.maybe(|dice| dice.roll(9) as u32),
            own: dice.coin(),
        })
    }

    fn work(&mut self) -> DumpWork {
        let states = [
            TaskState::Running,
            TaskState::Ready,
            TaskState::Waiting,
            TaskState::Unknown,
        ];
        DumpWork {
            tasks: self.many(4, |dice| DumpTask {
                name: dice.maybe(Dice::text),
                state: states[dice.roll(4) as usize],
                waited_s: dice.maybe(|dice| dice.number() as f64 / 7.0),
                waits_for: dice.maybe(|dice| WaitsFor {
                    kind: WaitKind::ALL[dice.roll(16) as usize],
                    what: dice.maybe(Dice::text),
                    tasks: dice.many(3, Dice::text),
                    left_s: dice.maybe(|dice| -(dice.number() as f64)),
                    fd: dice.maybe(|dice| dice.roll(9) as i32 - 1),
                    pid: dice.maybe(|dice| dice.number() as i64),
                }),
                chain: dice.places(),
                is_cut: dice.coin(),
                changed: dice.coin(),
            }),
            callbacks: self.maybe(|dice| {
                dice.many(3, |dice| DumpCallback {
                    kind: ["ready", "timer"][dice.roll(2) as usize],
                    function: dice.maybe(Dice::text),
                    file: dice.maybe(Dice::text),
                    line: dice.maybe(|dice| dice.roll(9) as u32),
                    due_in_s: dice.maybe(|dice| dice.number() as f64),
                    wakes: dice.maybe(Dice::text),
                })
            }),
            threads: self.many(2, |dice| DumpThread {
                name: dice.maybe(Dice::text),
                tid: dice.maybe(|dice| dice.roll(99) as i32),
                is_loop: dice.coin(),
                stack: dice.places(),
                is_cut: dice.coin(),
                unreadable: dice.coin(),
            }),
        }
    }

    pub fn dump(&mut self) -> Dump {
        Dump {
            schema: 1,
            worker: DumpWorker {
                pid: self.roll(9_999) as i32,
                name: self.maybe(Dice::text),
                python: self.text(),
                session_from: self.maybe(Dice::text),
            },
            taken_at: self.number() as f64 / 3.0,
            took_ms: self.number() as f64 / 3.0,
            recorded: None,
            paused_ms: None,
            changed: self.roll(9) as u32,
            unreadable: self.roll(9) as u32,
            tasks: self.roll(9) as u32,
            loops: self.many(2, |dice| {
                let state = dice.maybe(|dice| ["running", "idle"][dice.roll(2) as usize]);
                DumpLoop {
                    kind: ["asyncio", "uvloop", "other"][dice.roll(3) as usize],
                    thread: dice.maybe(Dice::text),
                    tid: dice.maybe(|dice| dice.roll(99) as i32),
                    state,
                    session_id: dice.maybe(Dice::text),
                    unreadable: state.is_some() && dice.coin(),
                    ready: dice.maybe(|dice| dice.roll(9) as u32),
                    timers: dice.maybe(|dice| dice.roll(9) as u32),
                }
            }),
            sessions: self.many(3, |dice| DumpSession {
                session_id: dice.text(),
                agent_name: dice.maybe(Dice::text),
                tenant: dice.maybe(Dice::text),
                work: dice.work(),
            }),
            no_session: self.maybe(Dice::work),
        }
    }

    pub fn observation(&mut self) -> Observation {
        match self.roll(9) {
            0 => Observation::Census(Box::new(self.census())),
            1 => Observation::Waiting(Waiting {
                at: Nanos(self.number()),
                thread: self.thread(),
                sessions: self.maybe(|dice| dice.many(4, Dice::key)),
                peer: self.maybe(|dice| Peer {
                    syscall: dice.roll(400) as i32,
                    address: format!("10.0.0.5:{}", dice.roll(60_000)).into(),
                }),
            }),
            2 => Observation::Labels(self.key(), Arc::new(self.labels())),
            3 => Observation::Ended(match self.roll(3) {
                0 => Ending::Exited,
                1 => Ending::Execed,
                _ => Ending::Lost(self.text()),
            }),
            4 | 5 => Observation::Stacks(self.stacks()),
            6 => Observation::Dump(Nanos(self.number()), Box::new(self.dump())),
            _ => Observation::Batch(self.batch()),
        }
    }
}
