//! Blocks: every cause and every rule of blame, played.

use super::stage::*;
use crate::model::*;

fn assert_ms(got: f64, expected: f64) {
    assert!(
        (got - expected).abs() <= 3.0_f64.max(expected * 0.01),
        "{got} ms, expected {expected}"
    );
}

/// The only block so far; its causes sum to its duration.
fn only(stage: &mut Stage) -> Block {
    let mut blocks = stage.blocks();
    assert_eq!(blocks.len(), 1, "{blocks:#?}");
    let block = blocks.remove(0);
    assert_ms_sum(&block);
    block
}

fn assert_ms_sum(block: &Block) {
    let causes = block.causes_ms;
    let sum = causes.cpu
        + causes.syscall
        + causes.gil
        + causes.gc.unwrap_or(0.0)
        + causes.unscheduled
        + causes.stolen
        + causes.stopped
        + causes.suspended
        + causes.unknown;
    assert!((sum - block.duration_ms).abs() < 0.01, "{sum} of {block:?}");
}

fn held_by(thread: u32, switches: u64) -> Gil {
    Gil {
        holder: Some(ThreadIndex(thread)),
        switches,
    }
}

fn slow(stage: &mut Stage) -> Vec<String> {
    let report = stage.report();
    report
        .sessions
        .iter()
        .filter(|row| row.status == Status::Slow)
        .map(|row| row.session_id.clone())
        .collect()
}

/// Two sessions and a thread of the second.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.thread(1, "asyncio_0", false);
    stage.census(&["a", "b"]);
    stage.run(20.0);
    stage
}

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

#[test]
fn a_starved_step_blames_nobody_while_it_lasts_and_after() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(10.0);
    stage.doing(LOOP, Doing::WaitForCpu);
    stage.run(200.0);
    let ongoing = only(&mut stage);
    assert_eq!(
        (ongoing.cause, ongoing.session_id.as_deref(), ongoing.ongoing),
        (Cause::Unscheduled, None, true)
    );
    assert!(slow(&mut stage).is_empty());
    stage.doing(LOOP, Doing::Run);
    stage.run(10.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Unscheduled, None));
    assert_ms(block.causes_ms.unscheduled, 200.0);
    assert_ms(block.causes_ms.cpu, 20.0);
    assert!(slow(&mut stage).is_empty());
}

#[test]
fn starved_between_steps_blames_nobody() {
    let mut stage = stage();
    stage.doing(LOOP, Doing::WaitForCpu);
    stage.run(100.0);
    stage.step(of("a"), Doing::Run, 2.0);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Unscheduled, None));
    assert_ms(block.causes_ms.unscheduled, 100.0);
}

/// A wait that was over when the step began is not the step's.
#[test]
fn a_wait_before_the_step_does_not_acquit_the_step() {
    let mut stage = stage();
    stage.doing(LOOP, Doing::WaitForCpu);
    stage.run(200.0);
    stage.step(of("a"), Doing::Run, 100.0);
    stage.run(10.0);
    let block = &stage.blocks()[0];
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Cpu, Some("a")));
    assert_ms(block.causes_ms.cpu, 100.0);
}

#[test]
fn stopped_blames_nobody() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(10.0);
    stage.doing(LOOP, Doing::Stopped);
    stage.run(500.0);
    assert_eq!(stage.report().worker.condition, None, "the other thread is not stopped");
    stage.doing(1, Doing::Stopped);
    stage.run(2.0);
    assert_eq!(stage.report().worker.condition.as_deref(), Some("stopped"));
    stage.doing(LOOP, Doing::Run);
    stage.run(10.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Stopped, None));
    assert_ms(block.causes_ms.stopped, 502.0);
}

#[test]
fn a_machine_that_slept_blames_nobody() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(10.0);
    stage.suspend(60_000.0);
    stage.run(10.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Suspended, None));
    assert_ms(block.duration_ms, 60_020.0);
    // The wall clock went on meanwhile: what begins later, begins a minute later.
    let began = stage.now;
    stage.step(of("a"), Doing::Run, 100.0);
    stage.run(10.0);
    let expected = (i128::from(began) + REALTIME_OFFSET) as f64 / 1e9 + 60.0;
    assert!((stage.blocks()[0].started_at.unwrap() - expected).abs() < 0.0015);
    let slept_while_idle = {
        let mut stage = super::blocks::stage();
        stage.suspend(60_000.0);
        stage.run(100.0);
        stage.blocks()
    };
    assert!(slept_while_idle.is_empty(), "an idle loop is not blocked by sleep");
}

#[test]
fn stolen_time_blames_nobody() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(10.0);
    // The hypervisor takes both CPUs: the sampler wakes late, and the thread's clocks have not moved.
    stage.doing(LOOP, Doing::Stopped);
    stage.miss(100.0, 0.0);
    stage.doing(LOOP, Doing::Run);
    stage.run(10.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Stolen, None));
    assert_ms(block.causes_ms.stolen, 99.0);
    assert!(slow(&mut stage).is_empty());
}

#[test]
fn a_late_sampler_does_not_acquit_a_step_that_ran() {
    for own_wait in [0.0, 100.0] {
        let mut stage = stage();
        stage.begin(LOOP, of("a"), Doing::Run);
        stage.run(10.0);
        stage.miss(100.0, own_wait);
        stage.run(10.0);
        stage.end(LOOP, Doing::Select);
        stage.run(10.0);
        let block = only(&mut stage);
        assert_eq!(
            (block.cause, block.session_id.as_deref()),
            (Cause::Cpu, Some("a")),
            "own wait {own_wait}"
        );
        assert_ms(block.duration_ms, 120.0);
    }
}

#[test]
fn without_clocks_the_cause_is_unknown() {
    let mut blind = Stage::new();
    blind.blind(LOOP, false, true);
    blind.census(&["a"]);
    blind.run(10.0);
    blind.step(of("a"), Doing::Run, 100.0);
    blind.run(10.0);
    let block = only(&mut blind);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Unknown, Some("a")));
}

#[test]
fn without_states_only_what_the_clocks_prove_is_known() {
    let mut stage = Stage::new();
    stage.blind(LOOP, true, false);
    stage.census(&["a"]);
    stage.run(10.0);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(40.0);
    stage.doing(LOOP, Doing::Call(230));
    stage.run(100.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Unknown, Some("a")));
    assert_ms(block.causes_ms.cpu, 40.0);
    assert_ms(block.causes_ms.unknown, 100.0);
}

#[test]
fn a_block_that_goes_on_is_said_at_once_and_revised() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(49.0);
    assert!(stage.blocks().is_empty());
    stage.run(3.0);
    let block = only(&mut stage);
    assert!(block.ongoing && !stage.engine.emergency());
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
    assert!(!stage.engine.emergency());
    stage.run(3.0);
    stage.flush();
    assert!(stage.engine.emergency());
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
    assert!(!stage.engine.emergency());
    assert!(!block.ongoing && block.duration_is_lower_bound);
    assert_ms(block.duration_ms, 1_052.0);
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
fn a_step_that_sets_its_own_id_is_its_last_ones() {
    let mut stage = stage();
    stage.begin(LOOP, Owner::Nobody, Doing::Run);
    stage.run(20.0);
    stage.owner(LOOP, of("a"));
    stage.run(60.0);
    stage.owner(LOOP, of("b"));
    stage.run(20.0);
    stage.end(LOOP, Doing::Select);
    stage.run(5.0);
    let block = only(&mut stage);
    assert_eq!(block.session_id.as_deref(), Some("b"));
    assert_ms(block.duration_ms, 100.0);
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

/// The sampler waited for a CPU itself, so nothing was stolen; and the thread's clocks say that it neither ran nor
/// waited.
#[test]
fn what_no_clock_explains_is_unknown_and_the_steps() {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(10.0);
    stage.doing(LOOP, Doing::Stopped);
    stage.miss(100.0, 100.0);
    stage.doing(LOOP, Doing::Run);
    stage.run(10.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Unknown, Some("a")));
    assert_ms(block.causes_ms.unknown, 100.0);
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

#[test]
fn without_states_a_wait_for_a_cpu_shows_in_its_clock() {
    let mut stage = Stage::new();
    stage.blind(LOOP, true, false);
    stage.census(&["a"]);
    stage.run(10.0);
    stage.begin(LOOP, of("a"), Doing::WaitForCpu);
    stage.run(100.0);
    stage.doing(LOOP, Doing::Run);
    stage.run(5.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Unscheduled, None));
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
