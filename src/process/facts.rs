//! Single facts about a process, each by its own function, so that a caller pays for what it asks.

use super::{ProcessError, read};
use crate::model::{Nanos, Pid, Tid};
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `PID_MAX_LIMIT` of 64-bit kernels.
const LARGEST_PID: i32 = 1 << 22;

/// The kernel's one-letter state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Sleeping,
    /// Asleep where no signal reaches it, mostly for a disk.
    DiskSleep,
    Stopped,
    /// Stopped by a tracer.
    Traced,
    /// Ended, not yet waited for; its memory is gone.
    Zombie,
    Dead,
    Other(char),
}

impl State {
    /// It runs nothing until somebody lets it go on.
    pub fn is_stopped(self) -> bool {
        matches!(self, State::Stopped | State::Traced)
    }

    /// It has ended, though its number may still be taken.
    pub fn has_ended(self) -> bool {
        matches!(self, State::Zombie | State::Dead)
    }
}

impl From<char> for State {
    fn from(letter: char) -> State {
        match letter {
            'R' => State::Running,
            'S' => State::Sleeping,
            'D' => State::DiskSleep,
            'T' => State::Stopped,
            't' => State::Traced,
            'Z' => State::Zombie,
            'X' | 'x' => State::Dead,
            other => State::Other(other),
        }
    }
}

/// Whose process it is and what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective, saved.
    pub uids: [u32; 3],
    /// Real, effective, saved.
    pub gids: [u32; 3],
    pub permitted_capabilities: u64,
    pub effective_capabilities: u64,
    /// Mode of the system call filter; 0: none.
    pub seccomp: u32,
}

/// `pid` is a process of its own: it exists, has not ended, and is not the number of a thread.
pub fn whole_process(pid: Pid) -> Result<(), ProcessError> {
    let status = read::status(pid)?;
    if status.tgid != pid.0 {
        return Err(ProcessError::Thread {
            thread: pid,
            process: Pid(status.tgid),
        });
    }
    match status.state.chars().next().map(State::from) {
        Some(State::Zombie) => Err(ProcessError::Zombie(pid)),
        Some(state) if state.has_ended() => Err(ProcessError::Gone(pid)),
        _ => Ok(()),
    }
}

/// State of the main thread, which is what stops with the whole process.
pub fn state(pid: Pid) -> Result<State, ProcessError> {
    Ok(State::from(read::stat(pid)?.state))
}

/// `VmRSS`; None for a process without memory (a kernel thread, a zombie).
pub fn rss_bytes(pid: Pid) -> Result<Option<u64>, ProcessError> {
    Ok(read::status(pid)?.vmrss.map(|kib| kib.saturating_mul(1024)))
}

/// Name as the kernel has it: at most 15 bytes, and the process may have chosen them; not fit for a terminal.
pub fn comm(pid: Pid) -> Result<String, ProcessError> {
    Ok(read::text(pid, "comm")?.trim_end_matches('\n').to_owned())
}

/// The arguments it was started with, or what it has written over them; not fit for a terminal.
pub fn command_line(pid: Pid) -> Result<Vec<String>, ProcessError> {
    let text = read::text(pid, "cmdline")?;
    Ok(text.trim_end_matches('\0').split('\0').map(str::to_owned).collect())
}

/// Kernel ids of its threads, ascending.
pub fn threads(pid: Pid) -> Result<Vec<Tid>, ProcessError> {
    let entries =
        std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| ProcessError::of(pid, "task", &error))?;
    let mut tids: Vec<Tid> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Tid))
        .collect();
    tids.sort_unstable();
    Ok(tids)
}

/// On-CPU time of all its threads, those that ended included, exact to the nanosecond; None where it is gone.
pub fn process_cpu(pid: Pid) -> Option<Nanos> {
    // The clock's number is made of the PID by shifting, and of 0 and of what the kernel never gives out (above 2^22)
    // it would make otop's own clock.
    if !(1..=LARGEST_PID).contains(&pid.0) {
        return None;
    }
    let clock = ClockId::pid_cpu_clock_id(nix::unistd::Pid::from_raw(pid.0)).ok()?;
    Some(Nanos::from(Duration::from(clock.now().ok()?)))
}

/// On-CPU time of otop itself.
pub fn otop_cpu() -> Nanos {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Nanos::ZERO, |time| Nanos::from(Duration::from(time)))
}

/// How long ago it was started, to the kernel's tick (10 ms).
pub fn uptime(pid: Pid) -> Result<Duration, ProcessError> {
    let started =
        Duration::from_millis(read::stat(pid)?.starttime.saturating_mul(1000) / procfs::ticks_per_second().max(1));
    // The start time counts from boot with the time in suspend, so BOOTTIME is its clock and MONOTONIC is not.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    Ok(now.saturating_sub(started))
}

/// When it was started, `CLOCK_REALTIME` seconds.
pub fn started_unix(pid: Pid) -> Result<f64, ProcessError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(now.as_secs_f64() - uptime(pid)?.as_secs_f64())
}

pub fn credentials(pid: Pid) -> Result<Credentials, ProcessError> {
    let status = read::status(pid)?;
    Ok(Credentials {
        uids: [status.ruid, status.euid, status.suid],
        gids: [status.rgid, status.egid, status.sgid],
        permitted_capabilities: status.capprm,
        effective_capabilities: status.capeff,
        seccomp: status.seccomp.unwrap_or(0),
    })
}

/// CPUs that it may run on, as the kernel writes them (`0-3,8`): its affinity, within its cpuset. None: not told.
pub fn cpus_allowed(pid: Pid) -> Option<String> {
    let ranges = read::status(pid).ok()?.cpus_allowed_list?;
    let range = |(first, last): (u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    Some(ranges.into_iter().map(range).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Pid {
        Pid(i32::try_from(std::process::id()).expect("a pid fits"))
    }

    #[test]
    fn the_facts_of_this_process_agree_with_what_it_knows_of_itself() {
        assert_eq!(whole_process(own()), Ok(()));
        assert!(!state(own()).expect("state").has_ended());
        assert!(rss_bytes(own()).expect("rss").expect("has memory") > 100_000);
        assert_eq!(
            command_line(own()).expect("command line"),
            std::env::args().collect::<Vec<_>>()
        );
        assert!(uptime(own()).expect("uptime") < Duration::from_secs(3600));
        assert_eq!(
            credentials(own()).expect("credentials").uids[1],
            nix::unistd::geteuid().as_raw()
        );
        assert!(process_cpu(own()).expect("cpu") <= otop_cpu());
        let cpus = cpus_allowed(own()).expect("every process may run somewhere");
        assert!(
            cpus.starts_with(|c: char| c.is_ascii_digit()) && !cpus.contains(' '),
            "{cpus}"
        );
    }

    #[test]
    fn a_thread_is_told_from_a_process() {
        let (tell, told) = std::sync::mpsc::channel();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let _ = tell.send(nix::unistd::gettid().as_raw());
            let _ = wait.recv();
        });
        let tid = told.recv().expect("the thread says its id");
        assert!(threads(own()).expect("threads").contains(&Tid(tid)));
        assert_eq!(
            whole_process(Pid(tid)),
            Err(ProcessError::Thread {
                thread: Pid(tid),
                process: own()
            })
        );
        drop(release);
        thread.join().expect("joined");
    }

    #[test]
    fn a_number_that_nobody_has_is_gone() {
        let nobody = Pid(i32::MAX);
        assert_eq!(whole_process(nobody), Err(ProcessError::Gone(nobody)));
        assert_eq!(process_cpu(nobody), None);
        assert_eq!(threads(nobody), Err(ProcessError::Gone(nobody)));
    }

    #[test]
    fn a_zombie_has_ended() {
        let mut child = std::process::Command::new("true").spawn().expect("spawned");
        let pid = Pid(i32::try_from(child.id()).expect("a pid fits"));
        for _ in 0..500 {
            if state(pid).is_ok_and(State::has_ended) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(whole_process(pid), Err(ProcessError::Zombie(pid)));
        child.wait().expect("waited");
    }
}
