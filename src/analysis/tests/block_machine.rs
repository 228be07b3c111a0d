//! Blocks that are the machine's doing, and those of which too little is known.

use super::block_checks::*;
use super::stage::*;
use crate::model::*;

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
    stage.pause = Some(Pause {
        held: Some(Nanos(2_000_000)),
        ..Pause::default()
    });
    stage.census(&["a"]);
    stage.run(1.0);
    assert_eq!(
        stage.report().worker.condition,
        None,
        "it may have been otop that stopped it"
    );
    stage.pause = None;
    stage.doing(LOOP, Doing::Run);
    stage.run(10.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Stopped, None));
    assert_ms(block.causes_ms.stopped, 502.0);
}

/// The samples say that it stands still, the walk by what.
#[test]
fn a_frozen_worker_is_said_to_be() {
    let mut stage = stage();
    stage.doing(LOOP, Doing::Stopped);
    stage.doing(1, Doing::Stopped);
    stage.frozen = true;
    stage.census(&["a"]);
    assert_eq!(stage.report().worker.condition.as_deref(), Some("frozen"));
    stage.run(2.0);
    assert_eq!(stage.report().worker.condition.as_deref(), Some("frozen"));
    stage.doing(LOOP, Doing::Select);
    stage.run(2.0);
    assert_eq!(stage.report().worker.condition, None, "the samples know better by now");
}

/// A page fault, or a thread that stands still for a reason that nobody could say.
#[test]
fn asleep_outside_of_system_calls_is_none_of_them() {
    let mut stage = stage();
    stage.step(of("a"), Doing::Call(-1), 100.0);
    stage.run(10.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.syscall.as_deref()), (Cause::Unknown, None));
    assert_ms(block.causes_ms.unknown, 100.0);
    assert_eq!(block.causes_ms.syscall, 0.0);
}

/// A step that runs for `before` and 19.8 ms, with a hold of 29.4 ms in it. `looks`: ticks fall into that.
fn held_step(before: f64, looks: bool) -> (Stage, Block) {
    let mut stage = stage();
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(before);
    stage.hold(29.4, looks);
    stage.run(19.8);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    let block = only(&mut stage);
    (stage, block)
}

/// `--pause`: what otop held the worker for is `stopped`, to the nanosecond, and no part of the step.
#[test]
fn what_otop_held_is_no_part_of_the_step() {
    for looks in [true, false] {
        let (mut stage, block) = held_step(20.4, looks);
        let blamed = (block.cause, block.session_id.as_deref());
        assert_eq!(blamed, (Cause::Cpu, None), "{looks}");
        assert_eq!(block.grounds.acquitted_by, Some(Cause::Stopped), "{looks}");
        assert!((block.causes_ms.stopped - 29.4).abs() < 1e-3, "{looks}: {block:?}");
        assert_ms(block.causes_ms.cpu, 40.2);
        assert!(slow(&mut stage).is_empty(), "{looks}");
    }
}

/// A step that is long enough without it is blamed as before.
#[test]
fn a_hold_acquits_no_step_that_is_long_by_itself() {
    for looks in [true, false] {
        let (_, block) = held_step(40.4, looks);
        let blamed = (block.cause, block.session_id.as_deref());
        assert_eq!(blamed, (Cause::Cpu, Some("a")), "{looks}");
        assert_ms(block.causes_ms.cpu, 60.2);
    }
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
        let mut stage = super::block_checks::stage();
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
    // What the hypervisor took would be known by then: it is asked before a batch.
    stage.run(70.0);
    let block = only(&mut stage);
    assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Unknown, Some("a")));
    assert_ms(block.causes_ms.unknown, 100.0);
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
