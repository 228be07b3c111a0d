//! One look at everything, for `otop dump`: attaches, stops the worker where that is asked for, reads, and ends. Knows
//! nothing of what is shown of it.

use super::{AttachOptions, clock, monotonic, naming};
use crate::memory::Fault;
use crate::model::{Dump, DumpWorker, OwnCode, Pid};
use crate::process::{self, PauseError};
use crate::source::error::AttachError;
use crate::source::{Attachment, Broken, DumpAsked, Walker};
use nix::time::ClockId;

/// A look that fails because a list changed under it is taken anew so often.
const TRIES: usize = 5;

/// Looks once at `pid`.
pub fn dump(pid: Pid, options: &AttachOptions, asked: &DumpAsked, pause: bool) -> Result<Dump, AttachError> {
    let attachment = crate::source::attach(pid)?;
    let naming = naming::naming(&attachment, options)?;
    let Attachment {
        plan,
        proved,
        lists,
        heap,
    } = attachment;
    let python = plan.version.to_string();
    let worker = DumpWorker {
        pid: pid.0,
        name: process::uts_hostname(pid),
        python: python.clone(),
        session_from: Some(naming.rules(naming.fits()).name),
    };
    let own = OwnCode::new(heap.library(&plan.runtime).unwrap_or_default(), options.own.clone());
    let mut walker = Walker::open(plan, proved, lists, naming, own.clone())
        .map_err(|e| AttachError::io(format!("/proc/{pid}/mem"), &e))?;
    let mut look = |is_paused| {
        let mut left = TRIES;
        loop {
            let taken_at = clock(ClockId::CLOCK_REALTIME).as_secs_f64();
            left -= 1;
            match walker.dump(asked, worker.clone(), &own, is_paused, taken_at, monotonic) {
                Err(Broken::Fault(fault)) if left > 0 && !matches!(fault, Fault::Gone | Fault::Denied) => {}
                done => return done,
            }
        }
    };
    let looked = match pause {
        false => look(false),
        true => {
            let (looked, stopped) = process::while_paused(pid, || look(true)).map_err(not_paused)?;
            looked.map(|dump| Dump {
                paused_ms: Some(stopped.as_secs_f64() * 1e3),
                ..dump
            })
        }
    };
    looked.map_err(|broken| broken.into_error(pid, &python))
}

fn not_paused(error: PauseError) -> AttachError {
    match error {
        PauseError::Process(error) => error.into(),
        PauseError::Refused { pid, .. } | PauseError::Stuck { pid, .. } => AttachError::NotPaused {
            pid,
            why: error.to_string(),
        },
    }
}
