//! Where the sampler of ticks runs: beside the worker's loops, not on their CPUs. Knows nothing of ticks.
//!
//! A real-time thread is woken on the CPU that it ran on last, and takes it from any ordinary thread there, idle CPUs or
//! not (Linux, kernel/sched/rt.c: `select_task_rq_rt`). Were that the worker's, a thousand ticks a second would take some
//! per cent of it. Moved aside they cost it nothing, as long as there is another CPU.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// The calling thread's own place.
pub(super) struct Aside {
    /// Where it was allowed to run before; None: that cannot be asked, and nothing is changed.
    allowed: Option<CpuSet>,
    /// What it was kept off last; None: it was bound to nothing yet, or by somebody else since.
    avoided: Option<Vec<u32>>,
}

impl Aside {
    pub fn new() -> Aside {
        Aside {
            allowed: sched_getaffinity(SELF).ok(),
            avoided: None,
        }
    }

    /// Somebody else has bound the thread: the next `avoid` binds it anew.
    pub fn was_bound(&mut self) {
        self.avoided = None;
    }

    /// From now on runs on none of these CPUs, if others are allowed; else on all that are.
    pub fn avoid(&mut self, mut cpus: Vec<u32>) {
        cpus.sort_unstable();
        cpus.dedup();
        let Some(allowed) = self.allowed.filter(|_| self.avoided.as_ref() != Some(&cpus)) else {
            return;
        };
        let mut rest = allowed;
        for &cpu in &cpus {
            // A number that no set has is no CPU of this machine.
            let _ = rest.unset(cpu as usize);
        }
        let has_rest = (0..CpuSet::count()).any(|cpu| rest.is_set(cpu) == Ok(true));
        let _ = sched_setaffinity(SELF, if has_rest { &rest } else { &allowed });
        self.avoided = Some(cpus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_off_what_is_to_be_avoided_unless_that_is_all_there_is() {
        let allowed = sched_getaffinity(SELF).unwrap();
        let cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true));
        let cpus: Vec<u32> = cpus.map(|cpu| cpu as u32).collect();
        let first = cpus[0] as usize;
        let mut aside = Aside::new();
        for &cpu in cpus.iter().filter(|_| cpus.len() > 1) {
            aside.avoid(vec![cpu, cpu]);
            assert_eq!(sched_getaffinity(SELF).unwrap().is_set(cpu as usize), Ok(false));
        }
        aside.avoid(cpus);
        assert_eq!(sched_getaffinity(SELF), Ok(allowed));
        aside.avoid(vec![u32::MAX]);
        assert_eq!(sched_getaffinity(SELF), Ok(allowed));
        // Bound by somebody else to a CPU that is to be avoided as before.
        let mut one = CpuSet::new();
        one.set(first).expect("a CPU");
        sched_setaffinity(SELF, &one).expect("it is allowed");
        aside.avoid(vec![u32::MAX]);
        assert_eq!(sched_getaffinity(SELF), Ok(one));
        aside.was_bound();
        aside.avoid(vec![u32::MAX]);
        assert_eq!(sched_getaffinity(SELF), Ok(allowed));
    }
}
