//! The walker thread: how often to walk, whether the worker is stopped for it, and how often to look whether loops make
//! progress. Knows nothing of what is read then.

use super::{ended, monotonic, own_cpu};
use crate::memory::Fault;
use crate::model::{Census, Ending, Nanos, Observation, Pause};
use crate::process::{self, Holds, PauseError, ProcessError, Sameness, privilege};
use crate::source::{Broken, Plan, Walker};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SendError, SyncSender};
use std::time::Duration;

/// A session is to show, and to be gone, within a second: two walks, and time to draw.
const EVERY: Duration = Duration::from_millis(350);
/// A walk may take this share of the time at most; a program with very many tasks is walked less often.
const SHARE: u32 = 20;
/// The longest pause, for programs with a hundred thousand tasks.
const LONGEST: Duration = Duration::from_secs(5);

/// Between the walks, the loops are looked at so often: a block of the threshold (50 ms) is seen twice while it lasts.
const WATCH: Duration = Duration::from_millis(25);

/// Walks, and between the walks watches the loops, until told to stop or the worker ends. `pauses`: the worker is stopped
/// for each walk, and this is told of it.
pub fn run(mut walker: Walker, plan: &Plan, pauses: Option<&Holds>, to: &SyncSender<Observation>, stop: &AtomicBool) {
    privilege::only_read();
    let mut next_walk = monotonic();
    while !stop.load(Ordering::Relaxed) {
        let seen = match monotonic() >= next_walk {
            true => walk(&mut walker, plan, pauses, to).map(|pause| next_walk = monotonic() + pause),
            false => watch(&mut walker, plan, to),
        };
        match seen {
            Ok(()) => {}
            Err(End::Worker(detail)) => return ended(plan, &detail, to),
            Err(End::Said(ending)) => {
                let _ = to.send(Observation::Ended(ending));
                return;
            }
            Err(End::Nobody) => return,
        }
        std::thread::park_timeout(WATCH.min(Duration::from(next_walk - monotonic())));
    }
}

/// Why there is nothing more to do.
enum End {
    /// The worker can no longer be read.
    Worker(String),
    Said(Ending),
    /// Nobody listens.
    Nobody,
}

impl From<SendError<Observation>> for End {
    fn from(_: SendError<Observation>) -> End {
        End::Nobody
    }
}

/// Walks once. Returns for how long not to walk again.
fn walk(walker: &mut Walker, plan: &Plan, pauses: Option<&Holds>, to: &SyncSender<Observation>) -> Result<Nanos, End> {
    // A worker that ended and whose number was given out again would be read by `process_vm_readv` without a word.
    if plan.fingerprint.still_same() != Sameness::Same {
        return Err(End::Worker(String::new()));
    }
    let (walked, took, pause) = match pauses {
        Some(holds) => walk_in_pause(walker, plan, holds)?,
        None => {
            let (walked, took) = timed(|| walker.walk(monotonic));
            (walked, took, None)
        }
    };
    match walked {
        Ok(census) => {
            to.send(Observation::Census(Box::new(Census { pause, ..census })))?;
            Ok((took * SHARE).clamp(EVERY, LONGEST).into())
        }
        Err(Broken::Fault(fault @ (Fault::Gone | Fault::Denied))) => Err(End::Worker(fault.to_string())),
        // The worker changed under the walk: the next one will do.
        Err(Broken::Fault(_)) => Ok(EVERY.into()),
        Err(Broken::Refused(refused)) => Err(End::Said(Ending::Lost(format!("layout refused: {refused}")))),
    }
}

/// What a walk saw, what it took, and what became of the pause.
type Walked = (Result<Census, Broken>, Duration, Option<Pause>);

/// Walks while the worker is stopped; where that may not be any more (a debugger came), while it runs.
fn walk_in_pause(walker: &mut Walker, plan: &Plan, holds: &Holds) -> Result<Walked, End> {
    let stopped = walker.is_stopped();
    match process::while_paused(plan.pid, holds, || timed(|| walker.walk_in(stopped, monotonic))) {
        Ok(((walked, took), held)) => Ok((walked, took, Some(Pause::Held(held.into())))),
        Err(PauseError::Process(ProcessError::Gone(_))) => Err(End::Worker(String::new())),
        Err(refused) => {
            let (walked, took) = timed(|| walker.walk(monotonic));
            Ok((walked, took, Some(Pause::Refused(refused.to_string()))))
        }
    }
}

/// `work`, and what it used of a CPU. Not the clock on the wall: on a loaded machine a walk that had to wait for a CPU is
/// no reason to look less often.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = own_cpu();
    let done = work();
    (done, Duration::from(own_cpu() - before))
}

/// Looks once whether the loops make progress.
fn watch(walker: &mut Walker, plan: &Plan, to: &SyncSender<Observation>) -> Result<(), End> {
    match walker.watch(monotonic) {
        Ok(waiting) => {
            if !waiting.is_empty() && plan.fingerprint.still_same() != Sameness::Same {
                return Err(End::Worker(String::new()));
            }
            for waiting in waiting {
                to.send(Observation::Waiting(waiting))?;
            }
            Ok(())
        }
        Err(Broken::Fault(fault @ (Fault::Gone | Fault::Denied))) => Err(End::Worker(fault.to_string())),
        // The next look will do.
        Err(_) => Ok(()),
    }
}
