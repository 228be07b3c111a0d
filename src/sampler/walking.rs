//! The walker thread: how often to walk. Knows nothing of what a walk reads.

use super::{clock, ended, monotonic};
use crate::memory::Fault;
use crate::model::{Ending, Nanos, Observation};
use crate::process::Sameness;
use crate::source::{Broken, Plan, Walker};
use nix::time::ClockId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// A session is to show, and to be gone, within a second: two walks, and time to draw.
const EVERY: Duration = Duration::from_millis(250);
/// A walk may take this share of the time at most; a program with very many tasks is walked less often.
const SHARE: u32 = 20;
/// The longest pause, for programs with a hundred thousand tasks.
const LONGEST: Duration = Duration::from_secs(5);

/// What this thread has used of a CPU.
fn own_cpu() -> Nanos {
    clock(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Walks until told to stop, or the worker ends.
pub fn run(mut walker: Walker, plan: &Plan, to: &SyncSender<Observation>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        // A worker that ended and whose number was given out again would be read by `process_vm_readv` without a word.
        match plan.fingerprint.still_same() {
            Sameness::Same => {}
            Sameness::Exited | Sameness::Execed => return ended(plan, "", to),
        }
        let before = own_cpu();
        let pause = match walker.walk(monotonic) {
            Ok(census) => {
                // Its own CPU, not the clock on the wall: on a loaded machine a walk that had to wait for a CPU is no
                // reason to look less often.
                let took = Duration::from(own_cpu() - before);
                if to.send(Observation::Census(Box::new(census))).is_err() {
                    return;
                }
                (took * SHARE).clamp(EVERY, LONGEST)
            }
            Err(Broken::Fault(fault @ (Fault::Gone | Fault::Denied))) => return ended(plan, &fault.to_string(), to),
            // The worker changed under the walk: the next one will do.
            Err(Broken::Fault(_)) => EVERY,
            Err(Broken::Refused(refused)) => {
                let _ = to.send(Observation::Ended(Ending::Lost(format!("layout refused: {refused}"))));
                return;
            }
        };
        std::thread::park_timeout(pause);
    }
}
