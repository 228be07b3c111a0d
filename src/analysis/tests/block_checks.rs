//! What the tests of blocks ask of a stage. Knows nothing of what a test plays.

use super::stage::*;
use crate::model::*;

pub fn assert_ms(got: f64, expected: f64) {
    assert!(
        (got - expected).abs() <= 3.0_f64.max(expected * 0.01),
        "{got} ms, expected {expected}"
    );
}

/// The only block so far; its causes sum to its duration.
pub fn only(stage: &mut Stage) -> Block {
    let mut blocks = stage.blocks();
    assert_eq!(blocks.len(), 1, "{blocks:#?}");
    let block = blocks.remove(0);
    assert_ms_sum(&block);
    block
}

pub fn assert_ms_sum(block: &Block) {
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

pub fn held_by(thread: u32, switches: u64) -> Gil {
    Gil {
        holder: Some(ThreadIndex(thread)),
        switches,
    }
}

pub fn slow(stage: &mut Stage) -> Vec<String> {
    let report = stage.report();
    report
        .sessions
        .iter()
        .filter(|row| row.status == Status::Slow)
        .map(|row| row.session_id.clone())
        .collect()
}

/// Two sessions and a thread of the second.
pub fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.thread(1, "asyncio_0", false);
    stage.census(&["a", "b"]);
    stage.run(20.0);
    stage
}
