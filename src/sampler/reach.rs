//! How well otop could sample on this machine: what the kernel lets its sampling thread have. Asks by trying, on a thread
//! that ends with it. Knows nothing of what is sampled.

use super::scheduling;
use crate::bpf::{ChainReader, Layout, Refusal};
use crate::model::Pid;
use nix::sched::{sched_getaffinity, sched_setaffinity};

/// What a sampling thread may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The real-time class, in which it wakes in time also on a loaded CPU.
    pub realtime: bool,
    /// The CPUs that the worker may run on; false where a cpuset keeps otop off them. None: no worker was named, or its
    /// CPUs may not be asked.
    pub worker_cpus: Option<bool>,
}

/// What a sampling thread for `pid` would be given.
pub fn reach(pid: Option<Pid>) -> Reach {
    let nothing = Reach {
        realtime: false,
        worker_cpus: None,
    };
    let tried = std::thread::Builder::new()
        .name("otop-reach".to_owned())
        .spawn(move || Reach {
            realtime: scheduling::be_woken_in_time(),
            worker_cpus: pid.and_then(may_run_where),
        });
    tried.map_or(nothing, |thread| thread.join().unwrap_or(nothing))
}

/// Whether stacks may be read by interrupts: by giving the kernel a program for some worker.
pub fn may_interrupt() -> Result<(), Refusal> {
    let layout = Layout {
        words: (0, 64),
        pointed: (0, 64),
        top: 8,
        through: None,
        head: 64,
        next: 0,
    };
    ChainReader::load(layout).map(drop)
}

/// Moves the calling thread to the CPUs of `pid`, if the kernel lets it.
fn may_run_where(pid: Pid) -> Option<bool> {
    let cpus = sched_getaffinity(nix::unistd::Pid::from_raw(pid.0)).ok()?;
    Some(sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_run_where_its_own_process_runs_and_asking_changes_nothing() {
        let own = Pid(i32::try_from(std::process::id()).expect("a pid fits"));
        let before = sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("own CPUs");
        assert_eq!(reach(Some(own)).worker_cpus, Some(true));
        assert_eq!(reach(None).worker_cpus, None);
        assert_eq!(sched_getaffinity(nix::unistd::Pid::from_raw(0)), Ok(before));
    }
}
