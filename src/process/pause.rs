//! Stopping a process for one consistent instant, where the user asked for that (`--pause`): all of its threads, by
//! `PTRACE_SEIZE` and `PTRACE_INTERRUPT`, which send no signal that anybody would see. Knows nothing of what is read
//! meanwhile.
//!
//! However this ends, nobody stays stopped: the kernel lets go of all that a thread traces when that thread ends, be it
//! by `kill -9`. A process is therefore stopped by a thread that is there for nothing else, and ends when all is read, or
//! when it has held the process for as long as it may: whoever reads, and may be without a CPU, has no say in that.
//! Only an otop that is suspended itself holds on; hence `not_to_be_suspended`.

use super::{Holds, ProcessError, State, credentials, read, state, threads};
use crate::model::{Pid, Tid};
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// For so long those that have stopped wait for one that has not. A thread that sleeps stops within some ten microseconds,
/// and so does one that runs; one in state D does not for as long as it is.
const STOPS_WITHIN: Duration = Duration::from_millis(10);
/// One that waits for a CPU stops as soon as it gets one. The others, which would have to wait too, are held for longer then.
const GETS_A_CPU_WITHIN: Duration = Duration::from_millis(50);
/// Between two looks whether a thread has stopped.
const APART: Duration = Duration::from_micros(50);
/// New threads are looked for this often: those that were not stopped yet may have started some.
const ROUNDS: usize = 20;
/// A thread that is in state D at so many looks, this far apart, is not waited for while others are held. Most are there
/// for a disk, and are back at once.
const LOOKS: usize = 5;
const LOOKS_APART: Duration = Duration::from_millis(1);

/// Why a process could not be stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("thread {tid} of process {pid} may not be stopped: {why}")]
    Refused { pid: Pid, tid: Tid, why: String },
    /// Nobody was stopped.
    #[error("thread {tid} of process {pid} sleeps where no signal reaches it (state D), and cannot be stopped there")]
    Unreachable { pid: Pid, tid: Tid },
    #[error("thread {tid} of process {pid} did not stop within {} ms", .within.as_millis())]
    Stuck { pid: Pid, tid: Tid, within: Duration },
    #[error("process {pid} starts threads faster than they can be stopped")]
    Breeds { pid: Pid },
    #[error("no thread could be started to stop process {pid}: {why}")]
    NoThread { pid: Pid, why: String },
}

/// What was done while a process was stopped.
#[derive(Debug, PartialEq, Eq)]
pub struct WhilePaused<T> {
    pub result: T,
    /// For how long it was stopped.
    pub held: Duration,
    /// It was stopped until all was done; false: that took too long, and it ran before.
    pub whole: bool,
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

/// Blocks the signals by which a shell suspends a program (Ctrl-Z, and reading or writing from the background), for the
/// calling thread and those that it starts: who is suspended while it holds another process holds it until it goes on.
/// Against SIGSTOP and a freezer there is nothing to be done.
pub fn not_to_be_suspended() {
    let mut suspending = SigSet::empty();
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        suspending.add(signal);
    }
    // Blocked and not caught: who may not write from the background, and catches that, tries again for ever.
    let _ = suspending.thread_block();
}

/// Does `work` while the process is stopped, which is at most for `at_most`: then it goes on, whether the work is done or
/// not. `holds` is told of it, also where the process could be stopped in part only.
///
/// The thread that stops it has the scheduling class of the calling one.
pub fn while_paused<T>(
    pid: Pid,
    holds: &Holds,
    at_most: Duration,
    work: impl FnOnce() -> T,
) -> Result<WhilePaused<T>, PauseError> {
    stays_unreachable(pid)?;
    std::thread::scope(|scope| {
        let (tell, told) = sync_channel(1);
        // Nothing is sent by it: it is over where its one end is dropped, as by a panic too.
        let (done, is_done) = sync_channel::<()>(0);
        let tracer = move || {
            let hold = holds.begin();
            let paused = match stop(pid, Instant::now() + at_most) {
                Ok(paused) => paused,
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return None;
                }
            };
            let _ = tell.send(Ok(()));
            let left = at_most.saturating_sub(hold.lasts());
            let whole = is_done.recv_timeout(left) != Err(RecvTimeoutError::Timeout);
            drop(paused);
            Some((hold.lasts(), whole))
        };
        let tracer = std::thread::Builder::new()
            .name("otop-pause".to_owned())
            .spawn_scoped(scope, tracer)
            .map_err(|error| PauseError::NoThread {
                pid,
                why: error.to_string(),
            })?;
        let gone = || PauseError::from(ProcessError::Gone(pid));
        told.recv().map_err(|_| gone())??;
        let result = work();
        drop(done);
        let held = match tracer.join() {
            Ok(held) => held,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let (held, whole) = held.ok_or_else(gone)?;
        Ok(WhilePaused { result, held, whole })
    })
}

/// An error where a thread stays where no stop reaches it. Found before anybody is held.
fn stays_unreachable(pid: Pid) -> Result<(), PauseError> {
    let is_unreachable = |tid: &Tid| state(Pid(tid.0)) == Ok(State::DiskSleep);
    let mut unreachable = threads(pid)?;
    unreachable.retain(is_unreachable);
    for _ in 1..LOOKS {
        if unreachable.is_empty() {
            return Ok(());
        }
        std::thread::sleep(LOOKS_APART);
        unreachable.retain(is_unreachable);
    }
    match unreachable.first() {
        Some(&tid) => Err(PauseError::Unreachable { pid, tid }),
        None => Ok(()),
    }
}

/// Stops all its threads, by `until` at the latest.
fn stop(pid: Pid, until: Instant) -> Result<Paused, PauseError> {
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
                // It ended, and its number is not free yet: a main thread's, as long as there are others.
                Err(_) if state(Pid(tid.0)).map_or(true, State::has_ended) => {}
                Err(errno) => {
                    let filter = credentials(Pid(nix::unistd::getpid().as_raw())).map_or(0, |own| own.seccomp);
                    return Err(PauseError::Refused {
                        pid,
                        tid,
                        why: why_refused(errno, tracer(tid), filter),
                    });
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
            paused.threads.extend(wait_for(pid, tid, until)?);
        }
    }
    // Those that are stopped are let go.
    Err(PauseError::Breeds { pid })
}

/// `filter`: the mode of otop's own system call filter. Reading was allowed, for which the kernel asks for the same rights.
fn why_refused(errno: Errno, tracer: Option<Pid>, filter: u32) -> String {
    match (tracer, filter) {
        (Some(tracer), _) => format!("process {tracer} traces it"),
        (None, 0) => errno.desc().to_owned(),
        (None, mode) => format!(
            "{}; otop is under a seccomp filter (Seccomp: {mode} in /proc/self/status), which may forbid ptrace alone",
            errno.desc()
        ),
    }
}

/// Who traces it already: there is room for one.
fn tracer(tid: Tid) -> Option<Pid> {
    let tracer = read::status(Pid(tid.0)).ok()?.tracerpid;
    // A thread does, and people know its process. In another namespace there is no number for it, which is 0 too.
    (tracer != 0).then(|| read::status(Pid(tracer)).map_or(Pid(tracer), |status| Pid(status.tgid)))
}

/// None: it ended instead.
fn wait_for(pid: Pid, tid: Tid, until: Instant) -> Result<Option<Stopped>, PauseError> {
    let raw = nix::unistd::Pid::from_raw(tid.0);
    let since = Instant::now();
    let mut within = STOPS_WITHIN.min(until.saturating_duration_since(since));
    let stopped = |signal, lets_go| {
        Ok(Some(Stopped {
            tid: raw,
            signal,
            lets_go,
        }))
    };
    loop {
        match waitpid(raw, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if since.elapsed() >= within => {
                let longer = GETS_A_CPU_WITHIN.min(until.saturating_duration_since(since));
                if within >= longer || state(Pid(tid.0)) != Ok(State::Running) {
                    return Err(PauseError::Stuck { pid, tid, within });
                }
                within = longer;
            }
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

    fn letter(pid: Pid) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.expect("a state")
    }

    const LONG: Duration = Duration::from_secs(60);

    fn sleeper() -> (Child, Pid) {
        let child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = Pid(i32::try_from(child.id()).expect("a pid"));
        (child, pid)
    }

    #[test]
    fn a_process_stands_still_meanwhile_and_goes_on_behind() {
        let (mut child, pid) = sleeper();
        let holds = Holds::default();
        let paused = while_paused(pid, &holds, LONG, || letter(pid)).expect("a child may be stopped");
        assert_eq!((paused.result, paused.whole), ('t', true));
        assert!(paused.held > Duration::ZERO && holds.longest() >= paused.held.into());
        assert_ne!(letter(pid), 't');
        // It is still the one that it was: a signal ends it.
        child.kill().expect("ours");
        child.wait().expect("ours");
        assert!(matches!(
            while_paused(pid, &holds, LONG, || ()),
            Err(PauseError::Process(ProcessError::Gone(_)))
        ));
    }

    #[test]
    fn work_that_panics_leaves_nobody_stopped() {
        let (mut child, pid) = sleeper();
        let holds = Holds::default();
        let panics = || {
            while_paused(pid, &holds, LONG, || -> () {
                std::panic::resume_unwind(Box::new("work"))
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        let now = holds.longest() + Nanos(u64::MAX / 2);
        assert!(!holds.touch(now, now), "the hold is over");
        assert_ne!(letter(pid), 't');
        child.kill().expect("ours");
        child.wait().expect("ours");
    }

    #[test]
    fn work_that_takes_too_long_holds_nobody_longer() {
        let (mut child, pid) = sleeper();
        let holds = Holds::default();
        let work = || {
            // It is let go while the work goes on.
            while letter(pid) == 't' {
                std::thread::sleep(APART);
            }
        };
        let paused = while_paused(pid, &holds, Duration::from_millis(20), work).expect("a child may be stopped");
        assert!(!paused.whole && paused.held >= Duration::from_millis(20), "{paused:?}");
        child.kill().expect("ours");
        child.wait().expect("ours");
    }

    #[test]
    fn why_it_is_refused_is_who_traces_it_or_what_may_forbid_it() {
        let why = |tracer, filter| why_refused(Errno::EPERM, tracer, filter);
        assert_eq!(why(Some(Pid(12)), 2), "process 12 traces it");
        assert_eq!(why(None, 0), "Operation not permitted");
        assert!(why(None, 2).contains("Operation not permitted; otop is under a seccomp filter (Seccomp: 2"));
    }

    /// A main thread that has ended while others go on is a zombie that nobody may trace.
    #[test]
    fn a_thread_that_has_ended_is_no_reason() {
        let mut child = Command::new("sh").args(["-c", "exit 0"]).spawn().expect("sh");
        let pid = Pid(i32::try_from(child.id()).expect("a pid"));
        while letter(pid) != 'Z' {
            std::thread::sleep(APART);
        }
        let refused = while_paused(pid, &Holds::default(), LONG, || ());
        assert_eq!(refused, Err(PauseError::Process(ProcessError::Gone(pid))));
        child.wait().expect("ours");
    }

    #[test]
    fn who_holds_another_is_not_suspended_by_a_shell() {
        let thread = std::thread::spawn(|| {
            not_to_be_suspended();
            let child = std::thread::spawn(|| SigSet::thread_get_mask().expect("a mask"));
            child.join().expect("it ends")
        });
        let blocked = thread.join().expect("it ends");
        for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
            assert!(blocked.contains(signal), "{signal}");
        }
        assert!(!blocked.contains(Signal::SIGINT));
    }
}
