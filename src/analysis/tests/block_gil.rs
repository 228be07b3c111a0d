//! Blocks that wait for the GIL: who kept it, who yielded, and who is blamed.

use super::block_checks::*;
use super::stage::*;
use crate::model::*;

#[test]
fn waiting_for_the_gil_in_a_step_blames_the_holder() {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Run);
    stage.gil = held_by(1, 5);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    stage.run(120.0);
    stage.gil = held_by(LOOP, 6);
    stage.end(1, Doing::Call(202));
    stage.doing(LOOP, Doing::Run);
    stage.run(5.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!(block.cause, Cause::Gil);
    assert_ms(block.causes_ms.gil, 120.0);
    assert_eq!(block.session_id.as_deref(), Some("b"));
    assert_eq!(block.step_session_id.as_deref(), Some("a"));
    assert_eq!(block.holder_session_id.as_deref(), Some("b"));
    assert_eq!(block.holder_thread.as_deref(), Some("asyncio_0 (1235)"));
    assert_eq!(slow(&mut stage), ["b"]);
}

#[test]
fn waiting_for_the_gil_between_steps_blames_the_holder_at_once() {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Run);
    stage.gil = held_by(1, 5);
    stage.doing(LOOP, Doing::WaitForGil);
    stage.run(80.0);
    let block = only(&mut stage);
    assert!(block.ongoing);
    assert_eq!((block.session_id.as_deref(), block.step_session_id), (Some("b"), None));
    assert_eq!(slow(&mut stage), ["b"]);
}

/// A loop that waits for the GIL of thread 1, with ticks missing while it was awake to ask for it once more: its clock moved,
/// by next to nothing. Behind them the GIL has changed hands so often.
fn awake_while_ticks_are_missing(switches: u64) -> Stage {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Run);
    stage.gil = held_by(1, 5);
    stage.doing(LOOP, Doing::WaitForGil);
    stage.run(100.0);
    stage.doing(LOOP, Doing::Run);
    stage.miss(0.05, 0.05);
    stage.doing(LOOP, Doing::WaitForGil);
    stage.miss(8.0, 8.0);
    stage.gil = held_by(1, switches);
    stage.doing(LOOP, Doing::Run);
    stage.run(0.9);
    stage.doing(LOOP, Doing::WaitForGil);
    stage.run(100.0);
    stage
}

#[test]
fn one_hold_is_one_also_where_ticks_are_missing() {
    let mut stage = awake_while_ticks_are_missing(5);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Gil, Some("b")));
    assert_ms(block.duration_ms, 209.0);
    // Another thread had it in between: then the loop may have run.
    assert_eq!(awake_while_ticks_are_missing(7).blocks().len(), 2);
}

/// A waiting thread wakes every 5 ms to ask for the GIL; on a busy machine it waits for a CPU first.
#[test]
fn one_hold_is_one_also_where_the_loop_wakes_in_between() {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Run);
    stage.gil = held_by(1, 5);
    for _ in 0..10 {
        stage.doing(LOOP, Doing::WaitForGil);
        stage.run(8.0);
        stage.doing(LOOP, Doing::WaitForCpu);
        stage.run(3.0);
    }
    stage.doing(LOOP, Doing::WaitForGil);
    stage.run(2.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Gil, Some("b")));
}

/// Ticks are missing, and the loop woke meanwhile; but the GIL has not changed hands.
#[test]
fn a_gap_does_not_cut_the_wait_for_one_hold() {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Run);
    stage.gil = held_by(1, 5);
    stage.doing(LOOP, Doing::WaitForGil);
    stage.run(40.0);
    for _ in 0..3 {
        stage.miss(4.0, 4.0);
        stage.doing(LOOP, Doing::Run);
        stage.miss(0.4, 0.4);
        stage.doing(LOOP, Doing::WaitForGil);
        stage.run(40.0);
    }
    let block = only(&mut stage);
    assert_eq!(block.session_id.as_deref(), Some("b"));
    assert_ms(block.duration_ms, 173.0);
}

#[test]
fn a_holder_of_no_session_is_nobodys_fault() {
    let mut stage = stage();
    stage.doing(1, Doing::Run);
    stage.gil = held_by(1, 5);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    stage.run(120.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id), (Cause::Gil, None));
    assert_eq!(block.holder_thread.as_deref(), Some("asyncio_0 (1235)"));
}

/// The thread ends with the batch that tells the end of the block, before anything is judged.
#[test]
fn a_holder_that_has_ended_keeps_its_name() {
    let mut stage = stage();
    stage.doing(1, Doing::Run);
    stage.gil = held_by(1, 5);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    stage.run(60.0);
    stage.gil = held_by(LOOP, 6);
    stage.end_thread(1);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert!(!block.ongoing);
    assert_eq!((block.cause, block.session_id), (Cause::Gil, None));
    assert_eq!(block.holder_thread.as_deref(), Some("asyncio_0 (1235)"));
    assert_ms(block.grounds.gil_kept_ms, 60.0);
}

/// A block in which thread 1, of session b, holds the GIL once for so long, and others yield it for 150 ms.
fn held_among_others(hold: f64) -> Block {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Run);
    stage.thread(2, "other", false);
    stage.doing(2, Doing::Run);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    for turn in 0..30 {
        stage.gil = held_by(2, 10 + turn);
        stage.run(5.0);
    }
    stage.gil = held_by(1, 50);
    stage.run(hold);
    stage.gil = held_by(LOOP, 51);
    stage.doing(LOOP, Doing::Run);
    stage.run(2.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    only(&mut stage)
}

#[test]
fn one_long_hold_is_blamed_also_among_others_that_yield() {
    let block = held_among_others(90.0);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Gil, Some("b")));
    assert_eq!(block.holder_thread.as_deref(), Some("asyncio_0 (1235)"));
    assert_ms(block.grounds.gil_kept_ms, 90.0);
    let block = held_among_others(40.0);
    assert_eq!((block.session_id, block.holder_thread), (None, None));
}

#[test]
fn a_thread_that_yields_blocks_nobody() {
    // The step does `own` ms itself in bits of 2 ms, and waits 5 ms for the GIL before each.
    for (own, culprit) in [(30, None), (60, Some("a"))] {
        let mut stage = stage();
        stage.begin(1, of("b"), Doing::Run);
        stage.begin(LOOP, of("a"), Doing::WaitForGil);
        for turn in 0..own / 2 {
            stage.gil = held_by(1, 10 + 2 * turn);
            stage.doing(LOOP, Doing::WaitForGil);
            stage.run(5.0);
            stage.gil = held_by(LOOP, 11 + 2 * turn);
            stage.doing(LOOP, Doing::Run);
            stage.run(2.0);
        }
        stage.end(LOOP, Doing::Select);
        stage.run(10.0);
        let block = only(&mut stage);
        assert_eq!(block.cause, Cause::Gil);
        assert_eq!(block.session_id.as_deref(), culprit, "{own} ms of its own");
        assert_eq!(block.grounds.gil_kept_ms, 0.0);
        assert_eq!(slow(&mut stage), culprit.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_holder_that_is_starved_itself_is_not_blamed() {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::WaitForCpu);
    stage.gil = held_by(1, 5);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    stage.run(120.0);
    assert_eq!(only(&mut stage).session_id, None, "while it goes on");
    stage.doing(1, Doing::Run);
    stage.run(0.1);
    stage.gil = held_by(LOOP, 6);
    stage.doing(LOOP, Doing::Run);
    stage.run(1.9);
    stage.end(LOOP, Doing::Select);
    stage.run(5.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Unscheduled, None));
    assert_ms(block.causes_ms.unscheduled, 120.0);
    assert!(slow(&mut stage).is_empty());
}

/// Two looks see the same holder, but the GIL was given away and taken back in between: the loop lost the race, nobody
/// kept the GIL.
#[test]
fn the_same_holder_after_a_change_of_hands_has_yielded() {
    for (switches, culprit) in [(2, None), (0, Some("b"))] {
        let mut stage = stage();
        stage.begin(1, of("b"), Doing::Run);
        stage.begin(LOOP, of("a"), Doing::WaitForGil);
        for turn in 0..24 {
            stage.gil = held_by(1, turn * switches);
            stage.run(5.0);
        }
        assert_eq!(
            only(&mut stage).session_id.as_deref(),
            culprit,
            "{switches} switches a turn"
        );
    }
}

#[test]
fn a_holder_that_sleeps_with_the_gil_is_blamed() {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Call(230));
    stage.gil = held_by(1, 5);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    stage.run(120.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Gil, Some("b")));
    assert_eq!(slow(&mut stage), ["b"]);
}

#[test]
fn a_holder_whose_session_is_proved_later_is_blamed() {
    let mut stage = stage();
    stage.begin(1, Owner::Torn, Doing::Run);
    stage.gil = held_by(1, 5);
    stage.doing(LOOP, Doing::WaitForGil);
    stage.run(10.0);
    stage.owner(1, of("b"));
    stage.run(110.0);
    assert_eq!(only(&mut stage).session_id.as_deref(), Some("b"));
}

#[test]
fn a_loop_is_not_the_holder_that_it_waits_for() {
    let mut stage = stage();
    stage.gil = held_by(LOOP, 5);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    stage.run(120.0);
    let block = only(&mut stage);
    assert_eq!(
        (block.cause, block.session_id, block.holder_thread),
        (Cause::Gil, None, None)
    );
}

/// On a starved machine the loop, which wakes every 5 ms to ask, waits for a CPU most of the time, and so does the holder. What
/// the holder did run is its own doing, however long the machine made it.
#[test]
fn a_holder_that_ran_for_long_is_blamed_also_where_it_was_starved() {
    let starved = |runs: f64| {
        let mut stage = stage();
        stage.begin(1, of("b"), Doing::Run);
        stage.gil = held_by(1, 5);
        stage.begin(LOOP, of("a"), Doing::WaitForGil);
        stage.run(5.0);
        for _ in 0..10 {
            stage.doing(LOOP, Doing::WaitForCpu);
            stage.doing(1, Doing::WaitForCpu);
            stage.run(90.0);
            stage.doing(1, Doing::Run);
            stage.run(runs);
            stage.doing(LOOP, Doing::WaitForGil);
            stage.run(2.0);
        }
        stage.gil = held_by(LOOP, 6);
        stage.end(1, Doing::Call(202));
        stage.doing(LOOP, Doing::Run);
        stage.run(3.0);
        stage.end(LOOP, Doing::Select);
        stage.run(10.0);
        only(&mut stage)
    };
    let block = starved(12.0);
    assert_eq!(
        (block.cause, block.session_id.as_deref()),
        (Cause::Unscheduled, Some("b")),
        "{block:#?}"
    );
    assert_eq!(block.holder_session_id.as_deref(), Some("b"));
    // Of the time before the loop could ask for the first time nothing is the holder's.
    assert!((block.causes_ms.gil - 133.0).abs() < 10.0, "{block:#?}");
    assert!((block.causes_ms.unscheduled - 912.0).abs() < 10.0, "{block:#?}");
    let block = starved(1.0);
    assert_eq!(block.session_id, None, "35 ms of its own are no block: {block:#?}");
}

/// Python code yields as soon as it is asked. On a machine that gives the loop no CPU to ask, it runs on.
#[test]
fn a_holder_that_could_not_be_asked_to_yield_is_not_blamed() {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Run);
    stage.gil = held_by(1, 5);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    stage.run(5.0);
    stage.doing(LOOP, Doing::WaitForCpu);
    stage.run(120.0);
    stage.doing(LOOP, Doing::WaitForGil);
    stage.run(1.0);
    stage.gil = held_by(LOOP, 6);
    stage.doing(LOOP, Doing::Run);
    stage.run(3.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!(
        (block.cause, block.session_id.as_deref()),
        (Cause::Unscheduled, None),
        "{block:#?}"
    );
}

/// Another thread collects garbage, and waits for a CPU most of the time.
#[test]
fn a_collection_that_is_starved_is_the_machines() {
    let mut stage = stage();
    stage.begin(1, of("b"), Doing::Run);
    stage.gil = held_by(1, 5);
    stage.collecting = Some(true);
    stage.begin(LOOP, of("a"), Doing::WaitForGil);
    stage.run(14.0);
    stage.doing(1, Doing::WaitForCpu);
    stage.run(168.0);
    stage.doing(1, Doing::Run);
    stage.run(4.0);
    stage.gil = held_by(LOOP, 6);
    stage.collecting = Some(false);
    stage.end(1, Doing::Call(202));
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!(
        (block.cause, block.session_id.as_deref()),
        (Cause::Unscheduled, None),
        "{block:#?}"
    );
    assert!(
        block.causes_ms.gc.is_some_and(|gc| (gc - 18.0).abs() < 6.0),
        "{block:#?}"
    );
}
