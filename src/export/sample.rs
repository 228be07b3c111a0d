//! A profile for the tests of the formats: a worker of a second, with two sessions, a thread and a block. Knows nothing of
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

/// In milliseconds: `a` sleeps in a call from 100 to 400 and runs from 500 to 540, `b`'s thread runs from 600 to 800.
pub fn profile(wanted: &Wanted) -> Profile {
    let (a, b) = (SessionKey::of(A), SessionKey::of("job-b"));
    let hello = Hello {
        pid: Pid(1234),
        python: "3.12.1".to_owned(),
        name: Some("worker-1".to_owned()),
        session_from: Some("openrtc".to_owned()),
        attached_at: Nanos(BEGAN),
        realtime_offset: 1_700_000_000_000_000_000 - i128::from(BEGAN),
        started_unix: None,
        vcpus: 2,
        rate_hz: 1_000.0,
        stack_rate_hz: Some(100.0),
        library: None,
    };
    let mut engine = Engine::profiling(hello, Settings::default());
    engine.observe(Observation::Labels(a, labels(A)));
    engine.observe(Observation::Labels(b, labels("job-b")));
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
        let at = Nanos(BEGAN + ms * 1_000_000);
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
                step,
                progress: step.unwrap_or(0),
                state,
                cpu: cpu.get(index as usize).copied().map(Nanos),
                run_delay: Some(Nanos(1)),
            });
        }
        batch.ticks.push(Tick {
            at,
            late: Nanos::ZERO,
            own_wait: Nanos::ZERO,
            suspended: Nanos::ZERO,
            gil: Gil::default(),
            collecting: Some(false),
            first,
            count: 2,
        });
        if ms % 10 == 5 {
            stacks.ticks += 1;
            for (index, owner, state, stack) in
                [(0, owner, state, seen), (1, other, other_state, works.then_some(&work))]
            {
                let Some(stack) = stack else { continue };
                stacks.samples.push(StackSample {
                    at,
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
    }
    batch.process_cpu = Some(Nanos(cpu.iter().sum()));
    stacks.until = Nanos(BEGAN + 1_000_000_000);
    engine.observe(Observation::Stacks(stacks));
    engine.observe(Observation::Batch(batch));
    engine.settle();
    engine.profile(wanted)
}

/// One in which nothing was seen.
pub fn nothing() -> Profile {
    let Profile { hello, .. } = profile(&Wanted::default());
    Engine::profiling(hello, Settings::default()).profile(&Wanted::default())
}
