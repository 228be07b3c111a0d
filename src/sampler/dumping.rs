//! Looks at everything: one, for `otop dump`, which attaches, stops the worker where that is asked for, reads, and ends.
//! Knows nothing of what is shown of it, nor of when a recording takes its own.

use super::{AttachOptions, clock, monotonic, naming, pausing, scheduling};
use crate::identity::Naming;
use crate::memory::Fault;
use crate::model::{Dump, DumpAsked, DumpWorker, OwnCode, Pid};
use crate::process::{self, Holds};
use crate::source::error::AttachError;
use crate::source::{Attachment, Broken, Walker};
use nix::time::ClockId;
use std::thread;
use std::time::Duration;

/// The longest that the worker is held for a look: one over a hundred thousand tasks fits.
const HELD_AT_MOST: Duration = Duration::from_secs(1);
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
        true => look_in_pause(&mut dumper, pid, asked)?,
    };
    looked
        .map(|dump| Some(Dumped { dump, notes }))
        .map_err(|broken| broken.into_error(pid, &attachment.plan.version.to_string()))
}

/// Looks once while the worker is held; by a thread of its own, which goes first as long as it waits.
fn look_in_pause(dumper: &mut Dumper, pid: Pid, asked: &DumpAsked) -> Result<Result<Dump, Broken>, AttachError> {
    process::not_to_be_suspended();
    let look = || {
        scheduling::go_first_with_children();
        pausing::patiently(pid, &Holds::default(), HELD_AT_MOST, || dumper.look(asked, true))
    };
    let looked = thread::scope(|scope| {
        let looking = thread::Builder::new()
            .name("otop-dump".to_owned())
            .spawn_scoped(scope, look);
        looking.map(|looking| looking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let paused = looked
        .map_err(|e| AttachError::io("starting the otop-dump thread", &e))?
        .map_err(pausing::not_paused)?;
    // It is of one instant, or not what was asked for.
    if !paused.whole {
        return Err(AttachError::NotPaused {
            pid,
            why: format!(
                "it was not read within {} s, and is held for no longer than that",
                HELD_AT_MOST.as_secs()
            ),
        });
    }
    let paused_ms = Some(paused.held.as_secs_f64() * 1e3);
    Ok(paused.result.map(|dump| Dump { paused_ms, ..dump }))
}
