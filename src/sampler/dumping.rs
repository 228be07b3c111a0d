//! Looks at everything: one, for `otop dump`, which attaches, stops the worker where that is asked for, reads, and ends.
//! Knows nothing of what is shown of it, nor of when a recording takes its own.

use super::{AttachOptions, clock, monotonic, naming};
use crate::identity::Naming;
use crate::memory::Fault;
use crate::model::{Dump, DumpAsked, DumpWorker, OwnCode, Pid};
use crate::process::{self, Holds, PauseError};
use crate::source::error::AttachError;
use crate::source::{Attachment, Broken, Walker};
use nix::time::ClockId;

/// A look that fails because a list changed under it is taken anew so often.
const TRIES: usize = 5;

/// Takes dumps of one worker.
pub(super) struct Dumper {
    walker: Walker,
    worker: DumpWorker,
    naming: Naming,
    own: OwnCode,
}

impl Dumper {
    pub fn open(attachment: &Attachment, naming: Naming, own: OwnCode) -> Result<Dumper, AttachError> {
        let Attachment {
            plan, proved, lists, ..
        } = attachment;
        let pid = plan.pid;
        let walker = Walker::open(plan.clone(), *proved, lists.clone(), naming.clone(), own.clone())
            .map_err(|e| AttachError::io(format!("/proc/{pid}/mem"), &e))?;
        let worker = DumpWorker {
            pid: pid.0,
            name: process::uts_hostname(pid),
            python: plan.version.to_string(),
            session_from: None,
        };
        Ok(Dumper {
            walker,
            worker,
            naming,
            own,
        })
    }

    /// Looks once. `is_paused`: the worker stands still.
    pub fn look(&mut self, asked: &DumpAsked, is_paused: bool) -> Result<Dump, Broken> {
        let mut left = TRIES;
        loop {
            let taken_at = clock(ClockId::CLOCK_REALTIME).as_secs_f64();
            let worker = DumpWorker {
                session_from: Some(self.naming.rules(self.naming.fits()).name),
                ..self.worker.clone()
            };
            left -= 1;
            match self
                .walker
                .dump(asked, worker, &self.own, is_paused, taken_at, monotonic)
            {
                Err(Broken::Fault(fault)) if left > 0 && !matches!(fault, Fault::Gone | Fault::Denied) => {}
                done => return done,
            }
        }
    }
}

/// What one look saw, and what is to be said of the options.
pub struct Dumped {
    pub dump: Dump,
    pub notes: Vec<String>,
}

/// Looks once at `pid`; None: it has not imported asyncio.
pub fn dump(pid: Pid, options: &AttachOptions, asked: &DumpAsked) -> Result<Option<Dumped>, AttachError> {
    let attachment = crate::source::attach(pid)?;
    if attachment.lists.is_none() {
        return Ok(None);
    }
    let (naming, notes) = naming::naming(&attachment, options)?;
    let library = attachment.heap.library(&attachment.plan.runtime).unwrap_or_default();
    let own = OwnCode::new(library, options.own.clone());
    let mut dumper = Dumper::open(&attachment, naming, own)?;
    let looked = match options.pauses {
        false => dumper.look(asked, false),
        true => {
            let look = || dumper.look(asked, true);
            let (looked, stopped) = process::while_paused(pid, &Holds::default(), look).map_err(not_paused)?;
            looked.map(|dump| Dump {
                paused_ms: Some(stopped.as_secs_f64() * 1e3),
                ..dump
            })
        }
    };
    looked
        .map(|dump| Some(Dumped { dump, notes }))
        .map_err(|broken| broken.into_error(pid, &attachment.plan.version.to_string()))
}

pub(super) fn not_paused(error: PauseError) -> AttachError {
    match error {
        PauseError::Process(error) => error.into(),
        PauseError::Refused { pid, .. } | PauseError::Stuck { pid, .. } => AttachError::NotPaused {
            pid,
            why: error.to_string(),
        },
    }
}
