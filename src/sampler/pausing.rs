//! Holding the worker still for one look, as it is done wherever that is asked for (`--pause`): patience where a thread
//! did not stop in time, and what is said where it never may. Knows nothing of what is read meanwhile.

use crate::model::Pid;
use crate::process::{self, Holds, PauseError, WhilePaused};
use crate::source::error::AttachError;
use std::time::Duration;

/// A thread that did not stop in time had no CPU, mostly: that passes. So often it is tried,
const TRIES: usize = 10;
/// this far apart, so that the worker is held for a small share of the time.
const APART: Duration = Duration::from_millis(200);

/// Does `work` while the worker is held, for `at_most`.
pub(super) fn patiently<T>(
    pid: Pid,
    holds: &Holds,
    at_most: Duration,
    mut work: impl FnMut() -> T,
) -> Result<WhilePaused<T>, PauseError> {
    let mut left = TRIES;
    loop {
        left -= 1;
        match process::while_paused(pid, holds, at_most, &mut work) {
            Err(PauseError::Stuck { .. }) if left > 0 => std::thread::sleep(APART),
            done => return done,
        }
    }
}

pub(super) fn not_paused(error: PauseError) -> AttachError {
    match error {
        PauseError::Process(error) => error.into(),
        PauseError::Refused { pid, .. }
        | PauseError::Unreachable { pid, .. }
        | PauseError::Stuck { pid, .. }
        | PauseError::Breeds { pid }
        | PauseError::NoThread { pid, .. } => AttachError::NotPaused {
            pid,
            why: error.to_string(),
        },
    }
}
