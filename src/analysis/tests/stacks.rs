//! Stacks and who waits: which line a block is said to be at, whom a collection of garbage is blamed on, and where a
//! session runs.

use super::super::Settings;
use super::stage::*;
use crate::model::*;
use std::sync::Arc;

const OWN: &str = "/srv/app/booking.py";
const INSTALLED: &str = "/srv/venv/lib/python3.12/site-packages/requests/adapters.py";
const LIBRARY: &str = "/usr/lib/python3.12/ssl.py";

/// `file:line in function`, innermost first.
fn stack(frames: &[(&str, &str, u32)]) -> Arc<Stack> {
    let frames = frames.iter().map(|(function, file, line)| {
        Arc::new(Frame {
            function: (*function).into(),
            file: (*file).into(),
            line: *line,
            first_line: 1,
        })
    });
    Arc::new(Stack {
        frames: frames.collect(),
        is_cut: false,
    })
}

fn lookup() -> Arc<Stack> {
    stack(&[
        ("read", LIBRARY, 99),
        ("send", INSTALLED, 667),
        ("lookup", OWN, 41),
        ("run", OWN, 7),
    ])
}

/// Two sessions, a thread of the second; stacks are taken.
fn stage() -> Stage {
    let hello = Hello {
        stack_rate_hz: Some(100.0),
        library: Some("/usr/lib/python3.12".to_owned()),
        ..hello()
    };
    let mut stage = Stage::with(Settings::default(), hello);
    stage.thread(1, "asyncio_0", false);
    stage.census(&["a", "b"]);
    stage.run(20.0);
    stage
}

fn seen(thread: u32, owner: Owner, at: u64, stack: Option<Arc<Stack>>) -> StackSample {
    StackSample {
        at: Nanos(at),
        thread: ThreadIndex(thread),
        owner,
        context_version: 1,
        in_step: true,
        state: State::Runnable,
        collecting: false,
        collects_explicitly: None,
        stack,
    }
}

/// Hands over the stacks of the time up to `until`.
fn hand_over(stage: &mut Stage, samples: Vec<StackSample>, until: u64) {
    stage.engine.observe(Observation::Stacks(StackBatch {
        ticks: samples.len() as u32,
        samples,
        until: Nanos(until),
        missed: 0,
        mode: StackMode::OwnCpu,
    }));
}

#[test]
fn a_block_is_at_the_line_of_own_code_that_was_seen_most() {
    let mut stage = stage();
    let began = stage.now;
    stage.step(of("a"), Doing::Call(45), 100.0);
    let ended = stage.now;
    stage.run(20.0);
    let at = |ms: u64| began + ms * 1_000_000;
    let other = stack(&[("parse", OWN, 88), ("lookup", OWN, 42), ("run", OWN, 7)]);
    let samples = vec![
        // What ran before the block is none of it.
        seen(0, Owner::Nobody, began - 5_000_000, Some(stack(&[("early", OWN, 1)]))),
        seen(0, of("a"), at(10), Some(lookup())),
        seen(0, of("a"), at(30), Some(other)),
        seen(0, of("a"), at(50), None),
        seen(1, of("b"), at(60), Some(stack(&[("elsewhere", OWN, 5)]))),
        seen(0, of("a"), at(70), Some(lookup())),
    ];
    hand_over(&mut stage, samples, ended + 1_000_000);
    let blocks = stage.blocks();
    let [block] = &blocks[..] else { panic!("{blocks:#?}") };
    assert!(!block.ongoing);
    assert_eq!(block.cause, Cause::Syscall);
    assert_eq!(
        (block.function.as_deref(), block.file.as_deref(), block.line),
        (Some("lookup"), Some(OWN), Some(41))
    );
    let lines: Vec<Option<u32>> = block.stack.iter().flatten().map(|place| place.line).collect();
    assert_eq!(lines, [Some(99), Some(667), Some(41), Some(7)]);
    let report = stage.report();
    assert_eq!(report.quality.unresolved, Some(1));
    assert_eq!(report.quality.stack_mode.as_deref(), Some("own-cpu"));
}

#[test]
fn an_ended_block_waits_for_its_stacks_but_not_for_ever() {
    let mut stage = stage();
    stage.step(of("a"), Doing::Run, 100.0);
    stage.run(60.0);
    let blocks = stage.blocks();
    assert!(blocks[0].ongoing, "{blocks:#?}");
    assert!(blocks[0].duration_ms < 102.0, "it grows no more");
    let id = blocks[0].id;
    stage.run(400.0);
    let blocks = stage.blocks();
    assert_eq!(blocks.len(), 1);
    assert!(!blocks[0].ongoing && blocks[0].id == id && blocks[0].stack.is_none());
}

/// The stacks of an end come from another thread: between the last ticks of one window and the first of the next.
#[test]
fn an_end_that_is_told_between_two_batches_is_in_one_window() {
    let ends = |stage: &mut Stage| {
        let blocks = stage.tumbling().blocks;
        blocks.iter().filter(|block| !block.ongoing).count()
    };
    let mut stage = stage();
    stage.step(of("a"), Doing::Run, 100.0);
    let ended = stage.now;
    stage.run(20.0);
    assert_eq!(ends(&mut stage), 0);
    hand_over(&mut stage, Vec::new(), ended);
    assert_eq!(ends(&mut stage), 1, "also where no tick came meanwhile");
    stage.run(20.0);
    assert_eq!(ends(&mut stage), 0);

    stage.step(of("a"), Doing::Run, 100.0);
    let ended = stage.now;
    stage.run(20.0);
    stage.flush();
    hand_over(&mut stage, Vec::new(), ended);
    assert_eq!(ends(&mut stage), 1);
    stage.run(20.0);
    assert_eq!(ends(&mut stage), 0);
}

#[test]
fn two_blocks_in_a_row_keep_their_numbers_and_their_stacks() {
    let mut stage = stage();
    let mut samples = Vec::new();
    for line in [1, 2] {
        stage.step(of("a"), Doing::Run, 60.0);
        samples.push(seen(
            0,
            of("a"),
            stage.now - 20_000_000,
            Some(stack(&[("work", OWN, line)])),
        ));
    }
    let ended = stage.now;
    stage.run(20.0);
    let before: Vec<u64> = stage.blocks().iter().map(|block| block.id).collect();
    assert_eq!(before.len(), 2);
    hand_over(&mut stage, samples, ended);
    let mut after = stage.blocks();
    after.sort_by_key(|block| block.id);
    let lines: Vec<(u64, Option<u32>)> = after.iter().map(|block| (block.id, block.line)).collect();
    assert_eq!(lines, [(1, Some(1)), (2, Some(2))]);
    assert!(after.iter().all(|block| before.contains(&block.id)));
}

#[test]
fn a_loop_that_waits_for_the_gil_is_at_the_holders_line() {
    let mut stage = stage();
    let began = stage.now;
    stage.gil = Gil {
        holder: Some(ThreadIndex(1)),
        switches: 7,
    };
    stage.begin(1, of("b"), Doing::Run);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    stage.run(120.0);
    stage.gil = Gil::default();
    stage.end(1, Doing::Call(202));
    stage.end(LOOP, Doing::Select);
    let ended = stage.now;
    stage.run(10.0);
    let samples = vec![
        seen(0, of("a"), began + 40_000_000, Some(stack(&[("innocent", OWN, 3)]))),
        seen(1, of("b"), began + 50_000_000, Some(stack(&[("hold", OWN, 12)]))),
    ];
    hand_over(&mut stage, samples, ended + 1);
    let block = &stage.blocks()[0];
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Gil, Some("b")));
    assert_eq!(block.function.as_deref(), Some("hold"));
}

/// `gc.collect()` in a thread, while the loop waits in its selector, or in another session's step.
#[test]
fn a_collection_in_a_thread_is_at_that_threads_line() {
    for (explicit, culprit) in [(Some(true), Some("b")), (Some(false), None)] {
        let mut stage = stage();
        let began = stage.now;
        stage.gil = Gil {
            holder: Some(ThreadIndex(1)),
            switches: 7,
        };
        stage.collecting = Some(true);
        stage.begin(1, of("b"), Doing::Run);
        stage.begin(LOOP, of("a"), Doing::WaitForGil);
        stage.run(120.0);
        stage.gil = Gil::default();
        stage.collecting = Some(false);
        stage.end(1, Doing::Call(202));
        stage.end(LOOP, Doing::Select);
        let ended = stage.now;
        stage.run(10.0);
        let collects = StackSample {
            collecting: true,
            collects_explicitly: explicit,
            ..seen(1, of("b"), began + 50_000_000, Some(stack(&[("collect", OWN, 12)])))
        };
        let innocent = seen(0, of("a"), began + 40_000_000, Some(stack(&[("innocent", OWN, 3)])));
        hand_over(&mut stage, vec![innocent, collects], ended + 1);
        let block = &stage.blocks()[0];
        assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Gc, culprit));
        assert_eq!(block.function.as_deref(), Some("collect"));
        assert_eq!(block.holder_session_id.as_deref(), Some("b"));
        assert_eq!(block.holder_thread.as_deref(), Some("asyncio_0 (1235)"));
        assert_eq!(block.step_session_id.as_deref(), Some("a"));
    }
}

/// It slept at several lines, each time for a little, and computed at one, which was seen more often than each of those.
#[test]
fn the_line_is_one_of_what_is_blamed() {
    let mut stage = stage();
    let began = stage.now;
    stage.begin(LOOP, of("a"), Doing::Call(230));
    stage.run(150.0);
    stage.doing(LOOP, Doing::Run);
    stage.run(60.0);
    stage.end(LOOP, Doing::Select);
    let ended = stage.now;
    stage.run(10.0);
    let at = |ms: u64, line: u32, state: State| StackSample {
        state,
        ..seen(0, of("a"), began + ms * 1_000_000, Some(stack(&[("work", OWN, line)])))
    };
    let sleeps = State::Syscall(230);
    let samples = vec![
        at(10, 1, sleeps),
        at(40, 2, sleeps),
        at(45, 2, sleeps),
        at(70, 3, sleeps),
        at(155, 9, State::Runnable),
        at(165, 9, State::Runnable),
        at(175, 9, State::Runnable),
    ];
    hand_over(&mut stage, samples, ended + 1);
    let block = &stage.blocks()[0];
    assert_eq!((block.cause, block.line), (Cause::Syscall, Some(2)));
}

#[test]
fn a_stack_that_is_cut_says_so() {
    let mut stage = stage();
    stage.step(of("a"), Doing::Run, 100.0);
    let ended = stage.now;
    stage.run(10.0);
    let cut = Stack {
        is_cut: true,
        ..Stack::clone(&stack(&[("work", OWN, 4)]))
    };
    hand_over(
        &mut stage,
        vec![seen(0, of("a"), ended - 50_000_000, Some(Arc::new(cut)))],
        ended + 1,
    );
    let block = &stage.blocks()[0];
    let functions: Vec<_> = block
        .stack
        .iter()
        .flatten()
        .filter_map(|at| at.function.as_deref())
        .collect();
    assert_eq!(functions, ["work", OUTER_FRAMES_CUT]);
}

/// A step of 150 ms, of which all but the first 20 ms collect garbage. Returns the block once it is judged.
fn collection(explicit: Option<bool>) -> Block {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.gil.holder = Some(ThreadIndex(LOOP));
    stage.collecting = Some(false);
    stage.run(20.0);
    stage.collecting = Some(true);
    stage.run(130.0);
    stage.collecting = Some(false);
    stage.end(LOOP, Doing::Select);
    let ended = stage.now;
    stage.run(10.0);
    let sample = StackSample {
        collecting: true,
        collects_explicitly: explicit,
        ..seen(0, of("a"), ended - 50_000_000, Some(lookup()))
    };
    hand_over(&mut stage, vec![sample], ended);
    let slow = stage.report().sessions.iter().any(|row| row.status == Status::Slow);
    let block = stage.blocks().remove(0);
    assert_eq!(slow, block.session_id.is_some());
    assert_eq!(block.step_session_id.as_deref(), Some("a"));
    block
}

#[test]
fn garbage_blames_nobody_unless_it_was_called_for() {
    for explicit in [Some(false), None] {
        let block = collection(explicit);
        assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Gc, None));
        let gc = block.causes_ms.gc.unwrap();
        assert!(
            (gc - 130.0).abs() < 3.0 && (block.causes_ms.cpu - 20.0).abs() < 3.0,
            "{block:#?}"
        );
    }
    let block = collection(Some(true));
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Gc, Some("a")));
}

#[test]
fn nobody_said_whether_garbage_was_collected() {
    let mut stage = stage();
    stage.step(of("a"), Doing::Run, 100.0);
    stage.run(400.0);
    let block = &stage.blocks()[0];
    assert_eq!((block.cause, block.causes_ms.gc), (Cause::Cpu, None));
}

#[test]
fn those_who_waited_are_counted_once_and_without_the_culprit() {
    let mut stage = stage();
    let began = stage.now;
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(100.0);
    for (ms, sessions) in [(45, vec![key("a"), key("b")]), (90, vec![key("b"), key("c")])] {
        stage.engine.observe(Observation::Waiting(Waiting {
            at: Nanos(began + ms * 1_000_000),
            thread: ThreadIndex(LOOP),
            sessions: Some(sessions),
            peer: None,
        }));
    }
    stage.end(LOOP, Doing::Select);
    stage.run(400.0);
    assert_eq!(stage.blocks()[0].waiting, Some(2));
    // Where timers cannot be read, nothing is said.
    let began = stage.now;
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(100.0);
    stage.engine.observe(Observation::Waiting(Waiting {
        at: Nanos(began + 45_000_000),
        thread: ThreadIndex(LOOP),
        sessions: None,
        peer: None,
    }));
    stage.end(LOOP, Doing::Select);
    stage.run(400.0);
    assert_eq!(stage.blocks()[0].waiting, None);
}

#[test]
fn a_system_call_has_the_other_end_of_its_socket() {
    let mut stage = stage();
    let look = |at, syscall, address: &str| {
        Observation::Waiting(Waiting {
            at: Nanos(at),
            thread: ThreadIndex(LOOP),
            sessions: None,
            peer: Some(Peer {
                syscall,
                address: address.into(),
            }),
        })
    };
    let began = stage.now;
    stage.begin(LOOP, of("a"), Doing::Call(45));
    stage.run(100.0);
    // One of another call, and one of the time before.
    stage.engine.observe(look(began + 30_000_000, 1, "10.0.0.6:80"));
    stage.engine.observe(look(began + 60_000_000, 45, "10.0.0.5:5432"));
    stage.end(LOOP, Doing::Select);
    stage.run(400.0);
    assert_eq!(stage.blocks()[0].syscall.as_deref(), Some("recvfrom 10.0.0.5:5432"));
    stage.begin(LOOP, of("a"), Doing::Call(45));
    stage.run(100.0);
    stage.end(LOOP, Doing::Select);
    stage.run(400.0);
    assert_eq!(stage.blocks()[0].syscall.as_deref(), Some("recvfrom"));
}

#[test]
fn a_thread_pools_plumbing_yields_to_the_own_line_that_waits_for_it() {
    let place = |ran: &str, waits: &str| {
        let mut stage = stage();
        let reading = Reading {
            function: "fetch".into(),
            file: waits.into(),
            line: 3,
            state: "waiting",
        };
        stage.census_of(vec![SessionFacts {
            reading: Some(reading),
            ..facts("a")
        }]);
        let began = stage.now;
        stage.begin(LOOP, of("a"), Doing::Run);
        stage.run(40.0);
        stage.end(LOOP, Doing::Select);
        let samples = vec![seen(0, of("a"), began + 20_000_000, Some(stack(&[("run", ran, 58)])))];
        let now = stage.now;
        hand_over(&mut stage, samples, now);
        stage.run(60.0);
        let place = stage.report().sessions[0].place.clone().unwrap();
        (place.function.unwrap().to_string(), place.state.unwrap())
    };
    let plumbing = "/usr/lib/python3.12/concurrent/futures/thread.py";
    let (waits, runs) = (("fetch".to_owned(), "waiting"), ("run".to_owned(), "running"));
    assert_eq!(place(plumbing, OWN), waits);
    assert_eq!(place(plumbing, plumbing), runs);
    assert_eq!(place(OWN, OWN), runs);
}

#[test]
fn a_session_is_where_it_runs_or_else_where_it_waits() {
    let mut stage = stage();
    let began = stage.now;
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(40.0);
    stage.end(LOOP, Doing::Select);
    let samples = vec![seen(0, of("a"), began + 20_000_000, Some(lookup()))];
    let now = stage.now;
    hand_over(&mut stage, samples, now);
    stage.run(60.0);
    let report = stage.report();
    let place = |id: &str| {
        report
            .sessions
            .iter()
            .find(|row| row.session_id == id)
            .unwrap()
            .place
            .clone()
    };
    let running = place("a").unwrap();
    assert_eq!((running.line, running.state), (Some(41), Some("running")));
    assert_eq!(place("b"), None);
    let stack = |id: &str| report.sessions.iter().find(|row| row.session_id == id)?.stack.clone();
    assert_eq!(stack("a"), Some(lookup()), "its page shows it");
    assert_eq!(stack("b"), None);
}
