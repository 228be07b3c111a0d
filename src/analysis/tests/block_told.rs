//! Blocks as they are told: at once, revised, in which window, and with which names.

use super::super::Emergency;
use super::block_checks::*;
use super::stage::*;
use crate::model::*;

#[test]
fn a_block_that_goes_on_is_said_at_once_and_revised() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(49.0);
    assert!(stage.blocks().is_empty());
    stage.run(3.0);
    let block = only(&mut stage);
    assert!(block.ongoing && stage.engine.emergency().is_none());
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Cpu, Some("a")));
    assert_eq!(slow(&mut stage), ["a"]);
    let report = stage.report();
    assert_eq!(
        (row(&report, "a").blocks, row(&report, "a").blocked_ms),
        (1, block.duration_ms)
    );
    // Another thread takes the GIL and keeps it: now it is that one's fault.
    stage.begin(1, of("b"), Doing::Run);
    stage.doing(LOOP, Doing::WaitForGil);
    stage.gil = held_by(1, 9);
    stage.run(200.0);
    assert_eq!(slow(&mut stage), ["b"]);
    stage.end(LOOP, Doing::Select);
    stage.run(5.0);
    let block = only(&mut stage);
    assert!(!block.ongoing);
    assert_eq!(block.session_id.as_deref(), Some("b"));
    let report = stage.report();
    assert_eq!((row(&report, "a").blocks, row(&report, "b").blocks), (0, 1));
}

#[test]
fn slow_lasts_for_the_slow_window() {
    let mut stage = stage();
    stage.step(of("a"), Doing::Run, 60.0);
    stage.run(4_900.0);
    assert_eq!(slow(&mut stage), ["a"]);
    stage.run(200.0);
    assert!(slow(&mut stage).is_empty());
}

#[test]
fn a_block_from_before_the_attach_has_no_start() {
    let mut stage = Stage::new();
    stage.begin(LOOP, of("a"), Doing::Call(230));
    stage.run(49.0);
    stage.census(&["a"]);
    assert_eq!(stage.engine.emergency(), None);
    stage.run(3.0);
    stage.flush();
    assert_eq!(stage.engine.emergency(), Some(Emergency::Certain));
    let report = stage.report();
    assert_eq!(row(&report, "a").status, Status::Slow);
    let block = &report.blocks[0];
    assert!(block.ongoing && block.duration_is_lower_bound);
    assert_eq!((block.started_at, block.session_id.as_deref()), (None, Some("a")));
    assert_ms(block.duration_ms, 52.0);
    stage.run(1_000.0);
    stage.end(LOOP, Doing::Select);
    stage.run(5.0);
    let block = only(&mut stage);
    assert_eq!(stage.engine.emergency(), None);
    assert!(!block.ongoing && block.duration_is_lower_bound);
    assert_ms(block.duration_ms, 1_052.0);
}

/// Who looks at a worker that is stopped, or gets no CPU, must not wait for the end of a window to hear it either.
#[test]
fn what_the_machine_does_to_the_loop_is_an_emergency_too() {
    for (doing, cause, emergency, not_yet, by_then) in [
        (Doing::Stopped, Cause::Stopped, Emergency::Certain, 49.0, 52.0),
        (Doing::WaitForCpu, Cause::Unscheduled, Emergency::Open, 80.0, 95.0),
    ] {
        for within_step in [true, false] {
            let mut stage = Stage::new();
            match within_step {
                true => stage.begin(LOOP, of("a"), doing),
                false => stage.doing(LOOP, doing),
            }
            stage.run(not_yet);
            stage.flush();
            assert_eq!(stage.engine.emergency(), None, "{doing:?} {within_step}");
            stage.run(by_then - not_yet);
            stage.flush();
            assert_eq!(stage.engine.emergency(), Some(emergency), "{doing:?} {within_step}");
            let block = only(&mut stage);
            assert_eq!((block.cause, block.started_at, block.culprit), (cause, None, None));
        }
    }
}

/// A part of each: it is no less of a block for it.
#[test]
fn what_was_stopped_counts_with_what_it_did_itself() {
    let mut stage = Stage::new();
    stage.begin(LOOP, of("a"), Doing::Call(230));
    stage.run(30.0);
    stage.doing(LOOP, Doing::Stopped);
    stage.run(25.0);
    stage.flush();
    assert_eq!(stage.engine.emergency(), Some(Emergency::Certain));
}

/// Nobody is to hear that it is nobody's doing, and nothing more.
#[test]
fn an_emergency_becomes_certain_when_the_culprit_shows() {
    let mut stage = Stage::new();
    stage.begin(LOOP, of("a"), Doing::WaitForCpu);
    stage.run(100.0);
    stage.flush();
    assert_eq!(stage.engine.emergency(), Some(Emergency::Open));
    stage.doing(LOOP, Doing::Run);
    stage.run(60.0);
    stage.flush();
    assert_eq!(stage.engine.emergency(), Some(Emergency::Certain));
    assert_eq!(only(&mut stage).culprit, Some(key("a")));
}

#[test]
fn a_machine_that_wakes_up_is_no_emergency() {
    let mut stage = Stage::new();
    stage.begin(LOOP, of("a"), Doing::Call(230));
    stage.run(10.0);
    stage.suspend(60_000.0);
    stage.run(20.0);
    stage.flush();
    assert!(only(&mut stage).ongoing && stage.engine.emergency().is_none());
}

#[test]
fn blocks_of_the_window_and_the_ongoing_one() {
    let mut stage = stage();
    stage.step(of("a"), Doing::Run, 60.0);
    stage.run(1_500.0);
    assert!(stage.report().blocks.is_empty());
    assert_eq!(stage.blocks().len(), 1);
    stage.step(of("b"), Doing::Run, 60.0);
    stage.run(10.0);
    let ids = |blocks: &[Block]| {
        blocks
            .iter()
            .map(|block| block.session_id.clone().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&stage.report().blocks), ["b"]);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(3_000.0);
    assert_eq!(ids(&stage.report().blocks), ["a"]);
}

/// A block whose end was seen by a batch that came after a report is in the next.
#[test]
fn tumbling_windows_tell_every_end() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(83.0);
    assert!(stage.tumbling().blocks[0].ongoing);
    assert!(
        stage.engine.tumbling_report(Nanos(stage.now)).blocks[0].ongoing,
        "in an empty window too"
    );
    stage.end(LOOP, Doing::Select);
    stage.run(5.0);
    let report = stage.tumbling();
    assert_eq!(report.blocks.len(), 1);
    assert!(!report.blocks[0].ongoing);
    stage.run(5.0);
    assert!(stage.tumbling().blocks.is_empty());
    // The end of the worker is the end of a block, and no tick comes after it.
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(80.0);
    assert!(stage.tumbling().blocks[0].ongoing);
    stage.engine.observe(Observation::Ended(Ending::Exited));
    let blocks = stage.engine.tumbling_report(Nanos(stage.now)).blocks;
    assert_eq!(blocks.len(), 1);
    assert!(!blocks[0].ongoing);
}

#[test]
fn names_that_come_late_are_filled_in() {
    let mut stage = Stage::new();
    stage.run(10.0);
    stage.step(of("new"), Doing::Run, 80.0);
    stage.run(10.0);
    assert_eq!(only(&mut stage).session_id, None);
    let labels = Labels {
        session_id: "new".into(),
        agent: Some("x".into()),
        tenant: Some("t".into()),
    };
    stage.engine.observe(Observation::Labels(key("new"), labels.into()));
    let block = only(&mut stage);
    assert_eq!(block.session_id.as_deref(), Some("new"));
    assert_eq!(
        (block.agent_name.as_deref(), block.tenant.as_deref()),
        (Some("x"), Some("t"))
    );
    assert_eq!(block.step_session_id.as_deref(), Some("new"));
}

#[test]
fn a_worker_that_ends_ends_its_blocks() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(100.0);
    stage.flush();
    stage.engine.observe(Observation::Ended(Ending::Exited));
    assert!(!only(&mut stage).ongoing);
    let report = stage.engine.report(Nanos(stage.now + 60_000_000_000));
    assert_eq!(report.worker.condition.as_deref(), Some("exited"));
    assert_eq!(row(&report, "a").status, Status::Slow, "the last figures stay");
    assert!(report.worker.cpu_pct.unwrap() > 50.0);
    stage.census(&[]);
    stage.run(100.0);
    assert_eq!(stage.report().sessions.len(), 2, "nothing follows an end");
}

#[test]
fn names_that_a_census_brings_are_filled_in() {
    let mut stage = Stage::new();
    stage.run(10.0);
    stage.step(of("new"), Doing::Run, 80.0);
    stage.run(10.0);
    stage.census(&["new"]);
    assert_eq!(only(&mut stage).session_id.as_deref(), Some("new"));
}

/// What a session does last may block, and the walk that misses it comes before the block is over, or before the samples.
#[test]
fn a_session_that_ends_with_its_block_is_named() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(80.0);
    for _ in 0..4 {
        stage.census(&["b"]);
        stage.run(1_000.0);
    }
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    stage.census(&["b"]);
    let block = only(&mut stage);
    assert_eq!(block.session_id.as_deref(), Some("a"));
    assert!(!block.ongoing);

    let mut stage = self::stage();
    stage.census_at(stage.now + 100_000_000, vec![facts("b")]);
    stage.step(of("a"), Doing::Run, 80.0);
    stage.run(10.0);
    assert_eq!(only(&mut stage).session_id.as_deref(), Some("a"));
}

#[test]
fn a_holder_that_ends_with_its_hold_is_named() {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Run);
    stage.doing(LOOP, Doing::WaitForGil);
    stage.gil = held_by(1, 9);
    stage.run(200.0);
    // It has ended, and what it started in a thread has not.
    stage.census(&["a"]);
    stage.owner(1, Owner::Nobody);
    for _ in 0..4 {
        stage.run(1_000.0);
        stage.census(&["a"]);
    }
    stage.doing(LOOP, Doing::Select);
    stage.run(10.0);
    assert_eq!(only(&mut stage).session_id.as_deref(), Some("b"));
}

#[test]
fn names_that_come_before_the_first_sample_are_kept() {
    let mut stage = Stage::new();
    stage.run(10.0);
    stage.flush();
    stage
        .engine
        .observe(Observation::Labels(key("new"), facts("new").labels));
    stage.step(of("new"), Doing::Run, 80.0);
    stage.run(10.0);
    assert_eq!(only(&mut stage).session_id.as_deref(), Some("new"));
    // And nothing of it stays for long, nor of one that was never sampled.
    stage
        .engine
        .observe(Observation::Labels(key("other"), facts("other").labels));
    for _ in 0..6 {
        stage.run(3_000.0);
        stage.census(&[]);
    }
    assert_eq!(stage.engine.sessions.entries(), 0);
}

/// Whoever samples says a name once, and again ten seconds later at most.
#[test]
fn a_session_that_comes_back_has_its_name() {
    let mut stage = Stage::new();
    stage.run(10.0);
    stage.flush();
    stage
        .engine
        .observe(Observation::Labels(key("back"), facts("back").labels));
    stage.step(of("back"), Doing::Run, 80.0);
    for _ in 0..6 {
        stage.run(2_000.0);
        stage.census(&[]);
    }
    stage.step(of("back"), Doing::Run, 80.0);
    stage.run(10.0);
    let names: Vec<_> = stage.blocks().into_iter().map(|block| block.session_id).collect();
    assert_eq!(names, [Some("back".to_owned()), Some("back".to_owned())]);
}
