//! What comes of a worker, for the tests of the formats and of recordings: a worker of a second, with two sessions, a thread and a block. Knows nothing of
//! the formats.

use crate::analysis::{Engine, Profile, Settings, Wanted};
use crate::model::*;
use std::sync::Arc;

const BEGAN: u64 = 1_000_000_000_000;
/// x86-64's `recvfrom`.
const RECVFROM: i32 = 45;
pub const A: &str = "job-a;<b>&\u{1b}[31m\u{202e}";

pub fn origin() -> Origin {
    Origin {
        otop: "0.1.0".to_owned(),
        command: Some("python worker.py --token ***".to_owned()),
        judging: Some(Judging {
            slow_threshold: Nanos(50_000_000),
            slow_window: Nanos(5_000_000_000),
            own: Vec::new(),
        }),
    }
}

fn stack(functions: &[&str]) -> Arc<Stack> {
    let frame = |(place, function): (usize, &&str)| {
        Arc::new(Frame {
            function: Arc::from(*function),
            file: "/srv/app/agents/booking.py".into(),
            line: 10 + place as u32,
            first_line: 1,
        })
    };
    Arc::new(Stack {
        frames: functions.iter().enumerate().map(frame).collect(),
        is_cut: false,
    })
}

fn labels(id: &str) -> Arc<Labels> {
    Arc::new(Labels {
        session_id: id.to_owned(),
        agent: Some("booking".to_owned()),
        tenant: None,
    })
}

pub fn hello() -> Hello {
    Hello {
        pid: Pid(1234),
        python: "3.12.1".to_owned(),
        name: Some("worker-1".to_owned()),
        session_from: Some("openrtc".to_owned()),
        attached_at: Nanos(BEGAN),
        realtime_offset: 1_700_000_000_000_000_000 - i128::from(BEGAN),
        started_unix: Some(1_699_999_000.0),
        vcpus: Some(2),
        rate_hz: 1_000.0,
        stack_rate_hz: Some(100.0),
        library: None,
    }
}

/// Between its call and its run `a` waits for a message; the thread of `b` has not begun to work.
fn dump(at: Nanos) -> Dump {
    let frame = |function: &str, file: &str, line, own| DumpFrame {
        function: function.to_owned(),
        file: file.to_owned(),
        line: Some(line),
        own,
    };
    let task = DumpTask {
        name: Some("Task-7".to_owned()),
        state: TaskState::Waiting,
        waited_s: None,
        waits_for: Some(WaitsFor {
            kind: WaitKind::Queue,
            what: Some("Queue.get".to_owned()),
            tasks: Vec::new(),
            left_s: None,
            fd: None,
            pid: None,
        }),
        chain: vec![
            frame("turn", "/srv/app/agents/booking.py", 30, true),
            frame("Queue.get", "/usr/lib/python3.12/asyncio/queues.py", 158, false),
        ],
        is_cut: false,
        changed: false,
    };
    let session = |id: &str, tasks| {
        let labels = labels(id);
        DumpSession {
            session_id: labels.session_id.clone(),
            agent_name: labels.agent.clone(),
            tenant: labels.tenant.clone(),
            work: DumpWork {
                tasks,
                callbacks: Some(Vec::new()),
                threads: Vec::new(),
            },
        }
    };
    Dump {
        schema: 1,
        worker: DumpWorker {
            pid: 1234,
            name: Some("worker-1".to_owned()),
            python: "3.12.1".to_owned(),
            session_from: Some("openrtc".to_owned()),
        },
        taken_at: (i128::from(at.0) + hello().realtime_offset) as f64 / 1e9,
        took_ms: 3.0,
        recorded: None,
        paused_ms: None,
        changed: 0,
        unreadable: 0,
        tasks: 2,
        loops: Vec::new(),
        sessions: vec![
            session(A, vec![task.clone()]),
            session(
                "job-b",
                vec![DumpTask {
                    name: None,
                    state: TaskState::Ready,
                    waits_for: None,
                    ..task
                }],
            ),
        ],
        no_session: Some(DumpWork::default()),
    }
}

/// What comes of a second, with when it came, in milliseconds since the attach: `a` sleeps in a call from 100 to 400 and
/// runs from 500 to 540, `b`'s thread runs from 600 to 800. A walk every quarter of a second.
pub fn observations() -> Vec<(Nanos, Observation)> {
    let (a, b) = (SessionKey::of(A), SessionKey::of("job-b"));
    let at = |ms: u64| Nanos(BEGAN + ms * 1_000_000);
    let mut all = vec![
        (at(1), Observation::Labels(a, labels(A))),
        (at(1), Observation::Labels(b, labels("job-b"))),
    ];
    let thread = |index: u32, name: &str| ThreadFacts {
        index: ThreadIndex(index),
        tid: Tid(1234 + index as i32),
        name: name.to_owned(),
        is_loop: index == 0,
    };
    let mut batch = Batch {
        threads: vec![thread(0, "MainThread"), thread(1, "asyncio_0")],
        ..Batch::default()
    };
    let mut stacks = StackBatch::default();
    let (send, lookup, work) = (stack(&["send", "main"]), stack(&["lookup", "main"]), stack(&["work"]));
    let mut cpu = [0, 0];
    for ms in 0..1_000 {
        let (step, owner, state, seen) = match ms {
            100..400 => (Some(1), Owner::Session(a), State::Syscall(RECVFROM), Some(&send)),
            500..540 => (Some(2), Owner::Session(a), State::Runnable, Some(&lookup)),
            _ => (None, Owner::Nobody, State::Syscall(232), None),
        };
        cpu[0] += if state == State::Runnable { 1_000_000 } else { 0 };
        let works = (600..800).contains(&ms);
        cpu[1] += if works { 1_000_000 } else { 0 };
        let (other, other_state) = match works {
            true => (Owner::Session(b), State::Runnable),
            false => (Owner::Nobody, State::Syscall(202)),
        };
        let first = batch.samples.len() as u32;
        for (index, owner, step, state) in [(0, owner, step, state), (1, other, works.then_some(1), other_state)] {
            batch.samples.push(Sample {
                thread: ThreadIndex(index),
                owner,
                within: None,
                step,
                progress: step.unwrap_or(0),
                state,
                cpu: cpu.get(index as usize).copied().map(Nanos),
                run_delay: Some(Nanos(1)),
            });
        }
        batch.ticks.push(Tick {
            at: at(ms),
            late: Nanos::ZERO,
            own_wait: Nanos::ZERO,
            suspended: Nanos::ZERO,
            held: Nanos::ZERO,
            gil: Gil::default(),
            collecting: Some(false),
            first,
            count: 2,
        });
        if ms % 10 == 5 {
            stacks.ticks += 1;
            let seen = [(0, owner, state, seen), (1, other, other_state, works.then_some(&work))];
            for (index, owner, state, stack) in seen {
                let Some(stack) = stack else { continue };
                stacks.samples.push(StackSample {
                    at: at(ms),
                    thread: ThreadIndex(index),
                    owner,
                    context_version: ms,
                    in_step: true,
                    state,
                    collecting: false,
                    collects_explicitly: None,
                    // One in ten is not resolved.
                    stack: (ms % 100 != 95).then(|| Arc::clone(stack)),
                });
            }
        }
        if ms % 250 == 10 {
            all.push((at(ms), Observation::Census(Box::new(census(at(ms), a, b)))));
        }
        if ms == 450 {
            all.push((at(ms), Observation::Dump(at(445), Box::new(dump(at(445))))));
        }
        if ms == 250 {
            all.push((
                at(ms),
                Observation::Waiting(Waiting {
                    at: at(ms),
                    thread: ThreadIndex(0),
                    sessions: Some(vec![b]),
                    peer: None,
                }),
            ));
        }
        if ms % 50 == 49 {
            batch.process_cpu = Some(Nanos(cpu.iter().sum()));
            batch.otop_cpu = Nanos(ms * 20_000);
            batch.steal = Some(Nanos(10_000_000));
            stacks.until = at(ms);
            all.push((at(ms) + Nanos(200_000), Observation::Batch(std::mem::take(&mut batch))));
            all.push((
                at(ms) + Nanos(400_000),
                Observation::Stacks(std::mem::take(&mut stacks)),
            ));
        }
    }
    all
}

fn census(at: Nanos, a: SessionKey, b: SessionKey) -> Census {
    let session = |key: SessionKey, id: &str| SessionFacts {
        key,
        labels: labels(id),
        live: true,
        tasks: 2,
        started_unix: Some(1_699_999_990.0),
        errored: false,
        pinned: false,
        reading: Some(Reading {
            function: "main".into(),
            file: "/srv/app/agents/booking.py".into(),
            line: 11,
            state: "waiting",
        }),
    };
    Census {
        at,
        took: Nanos(1_000_000),
        sessions: vec![session(a, A), session(b, "job-b")],
        loops: vec![LoopFacts {
            kind: LoopKind::Asyncio,
            thread: Some(ThreadIndex(0)),
            ready: Some(1),
            tasks: 4,
        }],
        tasks: 4,
        session_from: Some("openrtc".to_owned()),
        asyncio_imported: true,
        pool: None,
        rss_bytes: Some(64 << 20),
        host: HostFacts {
            cpu_pct: Some(12.5),
            load: Some([0.1, 0.2, 0.3]),
            ..HostFacts::default()
        },
        unreadable: 0,
        stopped: false,
        frozen: false,
        pause: None,
    }
}

/// The profile of that second.
pub fn profile(wanted: &Wanted) -> Profile {
    let mut engine = Engine::profiling(hello(), Settings::default());
    for (_, observation) in observations() {
        engine.observe(observation);
    }
    engine.settle();
    engine.profile(wanted)
}

/// One in which nothing was seen.
pub fn nothing() -> Profile {
    Engine::profiling(hello(), Settings::default()).profile(&Wanted::default())
}
