//! Blocks while the hypervisor has the CPU of one thread, and otop's sampler goes on beside it.

use super::block_checks::*;
use super::stage::*;
use crate::model::*;

/// One step of 5 ms whose CPU the hypervisor takes for so long in its middle; what is told meanwhile, and at the end.
fn step_without_its_cpu(stage: &mut Stage, ms: f64) -> Block {
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(2.5);
    stage.doing(LOOP, Doing::Stolen);
    for _ in 0..ms as u32 {
        stage.run(1.0);
        assert!(slow(stage).is_empty(), "it would have been told too early");
    }
    stage.doing(LOOP, Doing::Run);
    stage.run(2.5);
    stage.end(LOOP, Doing::Select);
    for _ in 0..100 {
        stage.run(1.0);
        let blamed = stage
            .blocks()
            .iter()
            .any(|block| block.ongoing && block.culprit.is_some());
        assert!(!blamed, "{:?}", stage.blocks());
    }
    only(stage)
}

#[test]
fn a_thread_whose_cpu_was_taken_is_not_blamed() {
    // Its end lies anywhere in a batch, and between the scheduler's ticks.
    for offset in 0..54 {
        let mut stage = stage();
        stage.run(f64::from(offset));
        let block = step_without_its_cpu(&mut stage, 100.0);
        assert_eq!(
            (block.cause, block.session_id.as_deref()),
            (Cause::Stolen, None),
            "{offset}"
        );
        assert_ms(block.causes_ms.stolen, 100.0);
        assert_ms(block.causes_ms.cpu, 5.0);
        assert!(slow(&mut stage).is_empty());
    }
}

#[test]
fn where_nothing_was_taken_it_stays_a_riddle() {
    for steal in [None, Some((0, 0))] {
        let mut stage = stage();
        stage.begin(LOOP, of("a"), Doing::Run);
        stage.run(2.5);
        stage.doing(LOOP, Doing::Stolen);
        stage.steal = None;
        stage.run(100.0);
        stage.steal = steal;
        stage.doing(LOOP, Doing::Run);
        stage.run(2.5);
        stage.end(LOOP, Doing::Select);
        stage.run(300.0);
        let block = only(&mut stage);
        assert_eq!((block.cause, block.session_id.as_deref()), (Cause::Unknown, Some("a")));
        assert_ms(block.causes_ms.unknown, 100.0);
    }
}

#[test]
fn what_was_taken_of_another_cpu_acquits_nobody() {
    for doing in [Doing::Run, Doing::Call(230)] {
        let mut stage = stage();
        stage.doing(1, Doing::Stolen);
        stage.step(of("a"), doing, 100.0);
        stage.doing(1, Doing::Run);
        stage.run(100.0);
        let block = only(&mut stage);
        assert_eq!(block.session_id.as_deref(), Some("a"));
        assert_ms(block.causes_ms.stolen, 0.0);
    }
}

#[test]
fn the_holder_of_the_gil_whose_cpu_was_taken_is_not_blamed() {
    for (is_taken, session) in [(true, None), (false, Some("b"))] {
        let mut stage = stage();
        stage.begin(1, of("b"), Doing::Run);
        stage.gil = held_by(1, 5);
        stage.begin(LOOP, of("a"), Doing::WaitForGil);
        stage.run(2.0);
        stage.doing(1, if is_taken { Doing::Stolen } else { Doing::Run });
        stage.run(100.0);
        stage.doing(1, Doing::Run);
        stage.run(2.0);
        stage.gil = held_by(LOOP, 6);
        stage.end(1, Doing::Call(202));
        stage.doing(LOOP, Doing::Run);
        stage.run(2.0);
        stage.end(LOOP, Doing::Select);
        stage.run(100.0);
        let block = only(&mut stage);
        assert_eq!(block.session_id.as_deref(), session, "{block:?}");
        assert_ms(block.causes_ms.stolen, if is_taken { 100.0 } else { 0.0 });
    }
}
