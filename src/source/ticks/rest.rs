//! What the last tick saw, where that holds for as long as no thread runs: a worker that waits for something to do costs next
//! to nothing. Knows nothing of what was seen.

use super::{ASKED_EVERY, STOPPED_AFTER, TickReader};
use crate::memory::Fault;
use crate::process::Doing;
use crate::source::threads::{QUIET_TICKS, Thread};

impl TickReader {
    /// Every thread that matters slept from before its words were read until the end of the tick, and so did whoever had
    /// the GIL last: until one of them runs, or another takes the GIL, nothing of what was seen can change.
    pub(super) fn rests(&self) -> bool {
        let Some((last_holder, _)) = self.first.last_gil() else {
            return false;
        };
        let threads = &self.threads.all;
        threads
            .iter()
            .filter(|thread| thread.matters())
            .all(|thread| thread.rests)
            && threads
                .iter()
                .any(|thread| thread.rests && thread.state.address == last_holder)
            && !self.threads.stale
    }

    /// Asks whether what the last tick saw still holds. A worker that waits for something to do costs next to nothing so.
    pub(super) fn still_rests(&mut self) -> Result<bool, Fault> {
        if self.rest.is_none() || self.threads.stale {
            return Ok(false);
        }
        for thread in self.threads.all.iter_mut().filter(|thread| thread.rests) {
            let Some(clock) = &thread.clock else { return Ok(false) };
            let due = (thread.asleep + 1).is_multiple_of(STOPPED_AFTER);
            let runs = clock.runs();
            if due || runs.is_none() || runs != thread.slept.map(|(runs, _)| runs) {
                return Ok(false);
            }
            if (thread.asleep + 1).is_multiple_of(ASKED_EVERY) && clock.doing() == Some(Doing::Runnable) {
                thread.slept = None;
                return Ok(false);
            }
        }
        if self.threads.all.len() > 1 && !self.first.gil_is_unmoved(self.heap.memory())? {
            return Ok(false);
        }
        let quiet = |thread: &Thread| thread.quiet.saturating_add(1) == QUIET_TICKS;
        if self.threads.all.iter().any(quiet) {
            return Ok(false);
        }
        for thread in &mut self.threads.all {
            thread.asleep = thread.asleep.saturating_add(u32::from(thread.rests));
            thread.quiet = thread.quiet.saturating_add(u32::from(thread.quiet > 0));
        }
        Ok(true)
    }
}
