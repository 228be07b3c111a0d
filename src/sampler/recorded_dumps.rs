//! The thread that takes dumps for a recording: how often, so that a huge worker costs no more than a small one. Knows
//! nothing of what is in a dump.

use super::dumping::Dumper;
use super::{monotonic, own_cpu};
use crate::memory::Fault;
use crate::model::{DumpAsked, Nanos, Observation};
use crate::process::{Sameness, privilege};
use crate::source::{Broken, Plan};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// Old enough to be cheap, and young enough to tell of what went on.
const EVERY: Duration = Duration::from_secs(2);
/// Dumps may take this share of the time at most, one in so many: 0.5 %.
const SHARE: u32 = 200;
/// The longest pause, for programs with a hundred thousand tasks.
const LONGEST: Duration = Duration::from_secs(60);

/// Takes dumps until told to stop or the worker ends, which the walker says. It has a thread of its own: the walker looks
/// forty times a second whether a loop stands still, and a dump of ten thousand tasks would keep it from that.
pub fn run(mut dumper: Dumper, plan: &Plan, to: &SyncSender<Observation>, stop: &AtomicBool) {
    privilege::only_read();
    while !stop.load(Ordering::Relaxed) && plan.fingerprint.still_same() == Sameness::Same {
        let (at, before) = (monotonic(), own_cpu());
        match dumper.look(&DumpAsked::default(), false) {
            Ok(dump) => {
                if to.send(Observation::Dump(at, Box::new(dump))).is_err() {
                    return;
                }
            }
            Err(Broken::Fault(Fault::Gone | Fault::Denied)) | Err(Broken::Refused(_)) => return,
            // The worker changed under it: the next one will do.
            Err(Broken::Fault(_)) => {}
        }
        let took = Duration::from(own_cpu() - before);
        wait((took * SHARE).clamp(EVERY, LONGEST).into(), stop);
    }
}

fn wait(pause: Nanos, stop: &AtomicBool) {
    let end = monotonic() + pause;
    while !stop.load(Ordering::Relaxed) && monotonic() < end {
        std::thread::park_timeout(Duration::from(end - monotonic()));
    }
}
