//! Which step a thread is in, and whether it is still the same one as at the last look. Knows nothing of sessions and
//! of time: a function of the words that were read.
//!
//! A step is one callback of the loop: from entering its context to leaving it. `context_ver` of the thread moves by one
//! with every context that is entered or left, by a `Context.run` inside a step too; so it alone would cut such a step
//! in pieces. What tells steps apart:
//!
//! - stock asyncio: every callback is taken from `_ready` first, timers and sockets too. Same number of handles taken:
//!   same step.
//! - uvloop: a ready handle likewise, entered from within the idle handler's own context. Timers and sockets bypass
//!   `_ready`: there a step is told by libuv's turn counter, and by the callback that libuv runs (`libuv.rs`).
//! - other threads: by context and `context_ver`.

use crate::model::{Addr, LoopKind};

/// What was read of one thread at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepWords {
    /// The thread's context; NULL: none.
    pub context: Addr,
    pub version: u64,
    /// The outermost entered context of the chain that ends in `context`; NULL: none is entered, so no step.
    pub outermost: Addr,
    /// `context` is the outermost one itself.
    pub is_outermost: bool,
    /// Handles taken from `_ready`; None: not a loop, or not readable at this instant.
    pub taken: Option<u64>,
    /// libuv's turn counter.
    pub turn: Option<u64>,
    /// The callback that libuv runs; None: not asked, or not known.
    pub callback: Option<u64>,
}

/// Follows one thread.
#[derive(Clone, Debug, Default)]
pub struct StepTracker {
    last: Option<StepWords>,
    /// The queue was not readable at the last look.
    bridged: bool,
    /// Number of the step that is, or was last, run.
    serial: u64,
    progress: u64,
}

impl StepTracker {
    pub fn new() -> StepTracker {
        StepTracker::default()
    }

    /// Takes the next look. Returns the serial number of the step that the thread is in, if it is in one, and the
    /// number that moves with all visible progress.
    ///
    /// `kind` is that of the loop which the thread runs, None for other threads; `idle_context` the loop's, for uvloop.
    pub fn look(&mut self, words: StepWords, kind: Option<LoopKind>, idle_context: Option<Addr>) -> (Option<u64>, u64) {
        let in_step = |w: &StepWords| {
            // The idle handler between two ready handles is the loop's own business.
            let between = kind == Some(LoopKind::Uvloop) && Some(w.context) == idle_context;
            !w.outermost.is_null() && !between
        };
        let now = in_step(&words);
        match &self.last {
            None => {
                self.serial = 1;
                self.progress = 1;
            }
            Some(last) => {
                let before = in_step(last);
                let same_step = before && now && same_step(last, &words, self.bridged, kind, idle_context);
                if now && !same_step {
                    self.serial += 1;
                }
                let still = if now {
                    same_step
                } else {
                    !before && same_pause(last, &words)
                };
                if !still {
                    self.progress += 1;
                }
            }
        }
        // A queue that was read in the middle of a change says nothing: what it said before stands until it speaks again,
        // but not twice, or the short steps of a busy session would run into one.
        let bridges = words.taken.is_none() && now && self.last.is_some_and(|last| in_step(&last) && !self.bridged);
        let taken = if bridges {
            self.last.and_then(|last| last.taken)
        } else {
            words.taken
        };
        self.bridged = bridges;
        let same_words = |last: &StepWords| last.version == words.version && last.context == words.context;
        let callback = words
            .callback
            .or(self.last.filter(same_words).and_then(|last| last.callback));
        self.last = Some(StepWords {
            taken,
            callback,
            ..words
        });
        (now.then_some(self.serial), self.progress)
    }
}

/// Two looks, both between steps, with nothing run in between.
fn same_pause(last: &StepWords, now: &StepWords) -> bool {
    let taken_moved = matches!((last.taken, now.taken), (Some(a), Some(b)) if a != b);
    last.version == now.version && !taken_moved
}

/// Two looks, both in a step: in the same one?
fn same_step(
    last: &StepWords,
    now: &StepWords,
    bridged: bool,
    kind: Option<LoopKind>,
    idle_context: Option<Addr>,
) -> bool {
    if last.version == now.version {
        // Nothing was entered or left in between. The addresses agree too, unless memory was torn.
        return last.context == now.context;
    }
    let same_taken = match (last.taken, now.taken) {
        (Some(a), Some(b)) => a == b,
        (Some(_), None) => !bridged && last.outermost == now.outermost,
        _ => false,
    };
    match kind {
        // More contexts entered or left, but no handle taken: a `Context.run` or an eager task inside the step.
        Some(LoopKind::Asyncio) => same_taken,
        Some(LoopKind::Uvloop) => {
            let turn_moved = matches!((last.turn, now.turn), (Some(a), Some(b)) if a != b);
            if !same_taken || turn_moved || last.outermost != now.outermost {
                return false;
            }
            // Inside the idle handler the number of handles taken decides, as on stock asyncio. Elsewhere the same
            // context may have been left and entered again by the next callback, of the same socket or another one.
            // Where that cannot be told, a look into a nested context is taken to be of the same step.
            Some(now.outermost) == idle_context
                || match (last.callback, now.callback) {
                    (Some(then), Some(now)) => then == now,
                    _ => !now.is_outermost,
                }
        }
        // Nothing but the contexts to go by: nested ones belong to the step that entered the outermost.
        Some(LoopKind::Other) | None => last.outermost == now.outermost && !now.is_outermost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(context: u64, version: u64, outermost: u64, taken: u64) -> StepWords {
        StepWords {
            context: Addr(context),
            version,
            outermost: Addr(outermost),
            is_outermost: context == outermost,
            taken: Some(taken),
            turn: Some(1),
            callback: None,
        }
    }

    fn run(kind: Option<LoopKind>, looks: &[StepWords]) -> Vec<Option<u64>> {
        let mut tracker = StepTracker::new();
        looks.iter().map(|w| tracker.look(*w, kind, Some(Addr(9))).0).collect()
    }

    const STOCK: Option<LoopKind> = Some(LoopKind::Asyncio);
    const UVLOOP: Option<LoopKind> = Some(LoopKind::Uvloop);

    #[test]
    fn stock_steps_go_by_handles_taken() {
        // Idle, a step of session 1, a nested run in it, back, the next step in the same context, idle.
        let looks = [
            words(7, 10, 0, 4),
            words(1, 11, 1, 5),
            words(2, 12, 1, 5),
            words(1, 13, 1, 5),
            words(1, 15, 1, 6),
            words(7, 16, 0, 6),
        ];
        assert_eq!(run(STOCK, &looks), [None, Some(2), Some(2), Some(2), Some(3), None]);
    }

    #[test]
    fn progress_stands_still_only_while_nothing_ran() {
        let mut tracker = StepTracker::new();
        let looks = [
            words(7, 10, 0, 4),
            words(7, 10, 0, 4),
            words(7, 12, 0, 5),
            words(1, 13, 1, 6),
            words(2, 14, 1, 6),
        ];
        let progress: Vec<u64> = looks.iter().map(|w| tracker.look(*w, STOCK, None).1).collect();
        assert_eq!(progress[0], progress[1]);
        assert!(progress[1] < progress[2] && progress[2] < progress[3]);
        assert_eq!(progress[3], progress[4]);
    }

    #[test]
    fn uvloop_ready_handles_go_by_handles_taken() {
        // 9 is the idle handler's context: alone it is no step; 1 within it is.
        let looks = [
            words(9, 1, 9, 4),
            words(1, 2, 9, 5),
            words(2, 3, 9, 5),
            words(1, 4, 9, 5),
            words(1, 6, 9, 6),
        ];
        assert_eq!(run(UVLOOP, &looks), [None, Some(2), Some(2), Some(2), Some(3)]);
    }

    #[test]
    fn uvloop_sockets_that_bypass_ready_are_steps_of_their_own() {
        let looks = [words(1, 1, 1, 4), words(1, 3, 1, 4), words(1, 5, 1, 4)];
        assert_eq!(run(UVLOOP, &looks), [Some(1), Some(2), Some(3)]);
        let nested = [words(1, 1, 1, 4), words(2, 2, 1, 4)];
        assert_eq!(run(UVLOOP, &nested), [Some(1), Some(1)]);
    }

    #[test]
    fn uvloop_callbacks_that_libuv_tells_apart_are_steps_whatever_contexts_they_enter() {
        let in_callback = |words: StepWords, callback| StepWords {
            callback: Some(callback),
            ..words
        };
        // One step that enters other contexts, and leaves them again: its words are asked for where they changed.
        let one = [
            in_callback(words(1, 1, 1, 4), 70),
            words(1, 1, 1, 4),
            in_callback(words(1, 9, 1, 4), 70),
            in_callback(words(2, 10, 1, 4), 70),
            in_callback(words(1, 15, 1, 4), 70),
        ];
        assert_eq!(run(UVLOOP, &one), [Some(1); 5]);
        // Two steps of one context in one turn, both caught while they are in another.
        let two = [in_callback(words(2, 2, 1, 4), 70), in_callback(words(2, 6, 1, 4), 71)];
        assert_eq!(run(UVLOOP, &two), [Some(1), Some(2)]);
    }

    #[test]
    fn a_queue_that_was_read_in_the_middle_of_a_change_cuts_no_step_and_joins_none() {
        let torn = |version| StepWords {
            taken: None,
            ..words(1, version, 1, 0)
        };
        // One step with nested runs, the middle look torn.
        assert_eq!(
            run(STOCK, &[words(1, 11, 1, 5), torn(13), words(1, 15, 1, 5)]),
            [Some(1), Some(1), Some(1)]
        );
        // Another handle was taken meanwhile.
        assert_eq!(
            run(STOCK, &[words(1, 11, 1, 5), torn(13), words(1, 15, 1, 6)]),
            [Some(1), Some(1), Some(2)]
        );
        // Steps so short that the queue is never readable: none may grow long.
        assert_eq!(
            run(STOCK, &[torn(11), torn(13), torn(15), torn(17)]),
            [Some(1), Some(2), Some(3), Some(4)]
        );
        let looks = [words(1, 11, 1, 5), torn(13), torn(15), torn(17), words(1, 19, 1, 9)];
        assert_eq!(run(STOCK, &looks), [Some(1), Some(1), Some(2), Some(3), Some(4)]);
    }
}
