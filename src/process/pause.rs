//! Stopping a process for one consistent instant, where the user asked for that (`--pause`): all of its threads, by
//! `PTRACE_SEIZE` and `PTRACE_INTERRUPT`, which send no signal that anybody would see. Knows nothing of what is read
//! meanwhile.
//!
//! However this ends, nobody stays stopped: the kernel lets go of all that a thread traces when that thread ends, be it
//! by `kill -9`. A process is therefore stopped by a thread that is there for nothing else, and ends when all is read.

use super::{Holds, ProcessError, read, threads};
use crate::model::{Pid, Tid};
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::time::{Duration, Instant};

/// A thread that the kernel cannot stop in this time sleeps where nothing wakes it (state D); nobody waits longer.
const LONGEST: Duration = Duration::from_secs(1);
/// Between two looks whether a thread has stopped.
const APART: Duration = Duration::from_micros(50);
/// New threads are looked for this often: those that were not stopped yet may have started some.
const ROUNDS: usize = 20;

/// Why a process could not be stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("thread {tid} of process {pid} may not be stopped: {why}")]
    Refused { pid: Pid, tid: Tid, why: String },
    #[error("thread {tid} of process {pid} did not stop within {} s", LONGEST.as_secs())]
    Stuck { pid: Pid, tid: Tid },
}

/// A process all of whose threads are stopped.
struct Paused {
    threads: Vec<Stopped>,
}

struct Stopped {
    tid: nix::unistd::Pid,
    /// What it was about to get: it gets it when it goes on.
    signal: Option<Signal>,
    /// It may be let go at once. One that was about to get a signal for which there is no word here keeps it only where
    /// the kernel lets go by itself.
    lets_go: bool,
}

impl Drop for Paused {
    fn drop(&mut self) {
        for stopped in self.threads.iter().filter(|stopped| stopped.lets_go) {
            // One that was killed meanwhile is gone.
            let _ = ptrace::detach(stopped.tid, stopped.signal);
        }
    }
}

/// Does `work` while the process is stopped. Returns what it gave, and how long the process was stopped. `holds` is told of
/// it, also where it could be stopped in part only.
pub fn while_paused<T: Send>(
    pid: Pid,
    holds: &Holds,
    work: impl FnOnce() -> T + Send,
) -> Result<(T, Duration), PauseError> {
    let traced = std::thread::scope(|scope| {
        let tracer = scope.spawn(|| {
            let hold = holds.begin();
            let paused = stop(pid)?;
            let result = work();
            drop(paused);
            Ok((result, hold.lasts()))
        });
        tracer.join()
    });
    match traced {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn stop(pid: Pid) -> Result<Paused, PauseError> {
    let mut paused = Paused { threads: Vec::new() };
    for _ in 0..ROUNDS {
        let mut new = Vec::new();
        for tid in threads(pid)? {
            let raw = nix::unistd::Pid::from_raw(tid.0);
            if paused.threads.iter().any(|stopped| stopped.tid == raw) {
                continue;
            }
            match ptrace::seize(raw, ptrace::Options::empty()).and_then(|()| ptrace::interrupt(raw)) {
                Ok(()) => new.push(tid),
                // It ended.
                Err(Errno::ESRCH) => {}
                Err(errno) => {
                    let why = match tracer(tid) {
                        Some(tracer) => format!("process {tracer} traces it"),
                        None => errno.desc().to_owned(),
                    };
                    return Err(PauseError::Refused { pid, tid, why });
                }
            }
        }
        if new.is_empty() {
            return match paused.threads.is_empty() {
                true => Err(ProcessError::Gone(pid).into()),
                false => Ok(paused),
            };
        }
        for tid in new {
            paused.threads.extend(wait_for(pid, tid)?);
        }
    }
    // It starts threads faster than they can be stopped; those that are stopped are let go.
    Err(PauseError::Stuck { pid, tid: Tid(pid.0) })
}

/// Who traces it already: there is room for one.
fn tracer(tid: Tid) -> Option<Pid> {
    let tracer = read::status(Pid(tid.0)).ok()?.tracerpid;
    // A thread does, and people know its process. In another namespace there is no number for it, which is 0 too.
    (tracer != 0).then(|| read::status(Pid(tracer)).map_or(Pid(tracer), |status| Pid(status.tgid)))
}

/// None: it ended instead.
fn wait_for(pid: Pid, tid: Tid) -> Result<Option<Stopped>, PauseError> {
    let raw = nix::unistd::Pid::from_raw(tid.0);
    let until = Instant::now() + LONGEST;
    let stopped = |signal, lets_go| {
        Ok(Some(Stopped {
            tid: raw,
            signal,
            lets_go,
        }))
    };
    loop {
        match waitpid(raw, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() >= until => return Err(PauseError::Stuck { pid, tid }),
            Ok(WaitStatus::StillAlive) => std::thread::sleep(APART),
            // A signal came first. The stop that was asked for is forgotten when it goes on.
            Ok(WaitStatus::Stopped(_, signal)) => return stopped(Some(signal), true),
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD | Errno::ESRCH) => {
                return Ok(None);
            }
            // The stop that was asked for, or one that a SIGSTOP had made before.
            Ok(_) => return stopped(None, true),
            Err(Errno::EINTR) => {}
            // A real-time signal came first.
            Err(_) => return stopped(None, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Nanos;
    use std::process::{Child, Command};

    fn state(pid: Pid) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.expect("a state")
    }

    fn sleeper() -> (Child, Pid) {
        let child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = Pid(i32::try_from(child.id()).expect("a pid"));
        (child, pid)
    }

    #[test]
    fn a_process_stands_still_meanwhile_and_goes_on_behind() {
        let (mut child, pid) = sleeper();
        let holds = Holds::default();
        let (inside, stopped) = while_paused(pid, &holds, || state(pid)).expect("a child may be stopped");
        assert_eq!(inside, 't');
        assert!(stopped > Duration::ZERO && holds.longest() >= stopped.into());
        assert_ne!(state(pid), 't');
        // It is still the one that it was: a signal ends it.
        child.kill().expect("ours");
        child.wait().expect("ours");
        assert!(matches!(
            while_paused(pid, &holds, || ()),
            Err(PauseError::Process(ProcessError::Gone(_)))
        ));
    }

    #[test]
    fn work_that_panics_leaves_nobody_stopped() {
        let (mut child, pid) = sleeper();
        let holds = Holds::default();
        let panics = || while_paused(pid, &holds, || std::panic::resume_unwind(Box::new("work")));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        let now = holds.longest() + Nanos(u64::MAX / 2);
        assert!(!holds.touch(now, now), "the hold is over");
        assert_ne!(state(pid), 't');
        child.kill().expect("ours");
        child.wait().expect("ours");
    }
}
