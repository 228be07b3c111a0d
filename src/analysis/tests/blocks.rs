//! Blocks: where they begin and end, and whom a step blames.

use super::block_checks::*;
use super::stage::*;
use crate::model::*;

#[test]
fn cpu_blames_the_step() {
    let mut stage = stage();
    let began = stage.now;
    stage.step(of("a"), Doing::Run, 300.0);
    stage.run(50.0);
    let block = only(&mut stage);
    assert_eq!(block.session_id.as_deref(), Some("a"));
    assert_eq!(block.agent_name.as_deref(), Some("a-agent"));
    assert_eq!(block.step_session_id.as_deref(), Some("a"));
    assert_eq!(block.cause, Cause::Cpu);
    assert_ms(block.duration_ms, 300.0);
    assert_ms(block.causes_ms.cpu, 300.0);
    assert!(!block.ongoing && !block.duration_is_lower_bound);
    let expected = (i128::from(began) + REALTIME_OFFSET) as f64 / 1e9;
    assert!((block.started_at.unwrap() - expected).abs() < 0.0015);
    assert_eq!(slow(&mut stage), ["a"]);
    let report = stage.report();
    let row = row(&report, "a");
    assert_eq!((row.blocks, row.worst_block_ms), (1, Some(block.duration_ms)));
    assert_eq!(row.blocked_ms, block.duration_ms);
    assert_eq!(super::stage::row(&report, "b").worst_block_ms, None);
}

#[test]
fn a_system_call_blames_the_step_and_is_named() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(30.0);
    stage.doing(LOOP, Doing::Call(45));
    stage.run(200.0);
    stage.doing(LOOP, Doing::Call(1));
    stage.run(40.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!(
        (block.cause, block.syscall.as_deref()),
        (Cause::Syscall, Some("recvfrom"))
    );
    assert_ms(block.causes_ms.syscall, 240.0);
    assert_ms(block.causes_ms.cpu, 30.0);
    assert_eq!(slow(&mut stage), ["a"]);
}

#[test]
fn sixty_short_steps_are_no_block() {
    let mut stage = stage();
    for _ in 0..60 {
        stage.begin(LOOP, of("a"), Doing::Run);
        stage.run(5.0);
    }
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    assert!(stage.blocks().is_empty());
    assert!(slow(&mut stage).is_empty());
}

#[test]
fn two_blocks_in_a_row_are_two() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(70.0);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(90.0);
    stage.end(LOOP, Doing::WaitForGil);
    stage.run(60.0);
    stage.doing(LOOP, Doing::Select);
    stage.run(10.0);
    let blocks = stage.blocks();
    let lengths: Vec<f64> = blocks.iter().map(|block| block.duration_ms).collect();
    assert_eq!(lengths.len(), 3, "{lengths:?}");
    for (got, expected) in lengths.into_iter().zip([60.0, 90.0, 70.0]) {
        assert_ms(got, expected);
    }
}

#[test]
fn just_under_the_threshold_is_none_and_just_over_is_one() {
    for (ms, blocks) in [(48.0, 0), (52.0, 1)] {
        let mut stage = stage().jittered(3);
        for _ in 0..50 {
            stage.step(of("a"), Doing::Run, ms);
            stage.run(7.3);
        }
        assert_eq!(stage.blocks().len(), 50 * blocks, "{ms} ms");
    }
}

#[test]
fn a_step_that_sets_its_own_id_is_the_sessions_that_it_worked_for_longest() {
    for (first, second, blamed) in [(60.0, 20.0, "a"), (20.0, 60.0, "b"), (30.0, 30.0, "b")] {
        let mut stage = stage();
        // Who it is for is found out in the step: that is not a session less.
        stage.begin(LOOP, Owner::Nobody, Doing::Run);
        stage.run(100.0);
        for (id, ms) in [
            ("a", first / 2.0),
            ("b", second / 2.0),
            ("a", first / 2.0),
            ("b", second / 2.0),
        ] {
            stage.owner(LOOP, of(id));
            stage.run(ms);
        }
        stage.end(LOOP, Doing::Select);
        stage.run(5.0);
        let block = only(&mut stage);
        assert_eq!(block.session_id.as_deref(), Some(blamed), "{first} ms a, {second} ms b");
        assert_ms(block.duration_ms, 100.0 + first + second);
    }
}

#[test]
fn a_loop_that_waits_between_two_steps_for_anything_but_events_is_blocked_by_nobody() {
    for (syscall, is_block) in [
        (1, true),
        (45, true),
        (232, false),
        (23, false),
        (7, false),
        (-1, false),
    ] {
        let mut stage = stage();
        stage.step(of("a"), Doing::Run, 5.0);
        stage.doing(LOOP, Doing::Call(syscall));
        stage.run(200.0);
        stage.step(of("a"), Doing::Run, 5.0);
        stage.run(20.0);
        let report = stage.report();
        assert_eq!(report.blocks.len(), usize::from(is_block), "{syscall}");
        if let Some(block) = report.blocks.first() {
            assert_eq!((&block.session_id, block.cause), (&None, Cause::Syscall));
            assert_ms(block.duration_ms, 200.0);
        }
        let busy = report.worker.loop_pct.expect("the loop was seen");
        assert!(if is_block { busy > 80.0 } else { busy < 10.0 }, "{syscall}: {busy}");
    }
}

#[test]
fn a_step_whose_session_cannot_be_read_is_a_block_of_nobodys() {
    let mut stage = stage();
    stage.begin(LOOP, Owner::Unreadable, Doing::Call(230));
    stage.run(1_500.0);
    stage.end(LOOP, Doing::Select);
    stage.run(5.0);
    let block = only(&mut stage);
    assert_eq!((block.session_id, block.cause), (None, Cause::Syscall));
    assert_ms(block.duration_ms, 1_500.0);
}

#[test]
fn unreadable_samples_do_not_cut_a_block() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(30.0);
    stage.unreadable(LOOP, 30.0);
    stage.run(30.0);
    stage.end(LOOP, Doing::Select);
    stage.run(5.0);
    assert_ms(only(&mut stage).duration_ms, 90.0);
}

#[test]
fn a_gap_between_steps_joins_nothing() {
    let mut stage = stage();
    stage.doing(LOOP, Doing::Run);
    stage.run(2.0);
    // Asleep, for all anybody knows.
    stage.doing(LOOP, Doing::Select);
    stage.miss(100.0, 100.0);
    stage.doing(LOOP, Doing::Run);
    stage.run(2.0);
    stage.doing(LOOP, Doing::Select);
    stage.run(5.0);
    assert!(stage.blocks().is_empty());
}

#[test]
fn a_gap_before_a_step_adds_nothing_to_it() {
    let mut stage = stage();
    stage.miss(200.0, 200.0);
    stage.step(of("a"), Doing::Run, 20.0);
    stage.miss(200.0, 200.0);
    stage.run(5.0);
    assert!(stage.blocks().is_empty());
}

#[test]
fn two_loops_are_blocked_apart() {
    let mut stage = stage();
    stage.thread(2, "second", true);
    stage.run(5.0);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.begin(2, of("b"), Doing::Call(230));
    stage.run(100.0);
    let mut culprits: Vec<_> = stage
        .blocks()
        .into_iter()
        .map(|block| block.session_id.unwrap())
        .collect();
    culprits.sort();
    assert_eq!(culprits, ["a", "b"]);
    stage.end(LOOP, Doing::Select);
    stage.step(of("a"), Doing::Run, 70.0);
    stage.run(5.0);
    let began: Vec<f64> = stage
        .report()
        .blocks
        .iter()
        .map(|block| block.started_at.unwrap())
        .collect();
    assert_eq!(began.len(), 3);
    assert!(began.is_sorted_by(|one, next| one >= next), "newest first: {began:?}");
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(70.0);
    stage.end(LOOP, Doing::Select);
    stage.end_thread(2);
    stage.run(5.0);
    assert!(stage.blocks().iter().all(|block| !block.ongoing));
    assert_eq!(stage.blocks().len(), 4);
}

/// The loop wanted to go on between steps all through a gap: its clocks, or its not having run at all, prove it.
#[test]
fn a_gap_between_steps_that_the_clocks_account_for_is_one_block() {
    for (doing, cause) in [
        (Doing::WaitForCpu, Cause::Unscheduled),
        (Doing::Run, Cause::Cpu),
        (Doing::WaitForGil, Cause::Gil),
    ] {
        let mut stage = stage();
        stage.doing(LOOP, doing);
        stage.run(20.0);
        stage.miss(100.0, 100.0);
        stage.run(20.0);
        stage.end(LOOP, Doing::Select);
        stage.run(5.0);
        let block = only(&mut stage);
        assert_eq!((block.cause, block.session_id.as_deref()), (cause, None));
        assert_ms(block.duration_ms, 140.0);
    }
}

#[test]
fn a_loop_that_is_not_seen_any_more_is_not_said_to_be_blocked() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(100.0);
    stage.unreadable(LOOP, 950.0);
    assert!(only(&mut stage).ongoing);
    stage.unreadable(LOOP, 150.0);
    let block = only(&mut stage);
    assert!(!block.ongoing);
    assert_ms(block.duration_ms, 100.0);
}

#[test]
fn a_thread_that_runs_no_loop_any_more_is_not_blocked() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(100.0);
    assert!(only(&mut stage).ongoing);
    let facts = ThreadFacts {
        index: ThreadIndex(LOOP),
        tid: Tid(1234),
        name: "MainThread".into(),
        is_loop: false,
    };
    stage.engine.observe(Observation::Batch(Batch {
        threads: vec![facts],
        ..Batch::default()
    }));
    stage.run(100.0);
    let block = only(&mut stage);
    assert!(!block.ongoing);
    assert_ms(block.duration_ms, 100.0);
}
