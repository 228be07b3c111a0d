//! The CPU that a reading thread is bound to, and how often it lost it. Knows nothing of what is read there.

use super::monotonic;
use crate::model::Nanos;
use crate::source::Seat;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use std::cell::Cell;

/// A CPU that was refused is not asked for again before this.
const REFUSED_FOR: Nanos = Nanos(1_000_000_000);
/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// The calling thread's own place.
pub(super) struct Affinity {
    cpu: Option<u32>,
    /// Where it was allowed to run before it was bound.
    before: Option<CpuSet>,
    /// CPUs that it may not run on (a cpuset, or none with that number), and when that was said.
    refused: Vec<(u32, Nanos)>,
    /// Switches as last asked for, if nobody slept since.
    last: Cell<Option<u64>>,
    /// Switches as they must be now, unless the CPU was lost.
    expected: Cell<Option<u64>>,
}

impl Affinity {
    pub fn new() -> Affinity {
        Affinity {
            last: Cell::new(None),
            expected: Cell::new(None),
            cpu: None,
            before: sched_getaffinity(SELF).ok(),
            refused: Vec::new(),
        }
    }

    /// To be called after a sleep that gave up the CPU once, if nothing else did since switches were asked for: the next
    /// answer needs no call then. If it did, that answer is too low, which proves less, and never more.
    pub fn slept_once(&self) {
        self.expected.set(self.last.take().map(|last| last.wrapping_add(1)));
    }

    fn refuse(&mut self, cpu: u32) -> bool {
        self.refused.push((cpu, monotonic()));
        // Reading from elsewhere is no reason to crowd the CPU that it was on last.
        if let (Some(_), Some(before)) = (self.cpu.take(), &self.before) {
            let _ = sched_setaffinity(SELF, before);
        }
        false
    }
}

impl Seat for Affinity {
    fn cpu(&self) -> Option<u32> {
        self.cpu
    }

    fn move_to(&mut self, cpu: u32) -> bool {
        if !self.refused.is_empty() {
            let now = monotonic();
            self.refused.retain(|&(_, since)| now - since < REFUSED_FOR);
            if self.refused.iter().any(|&(refused, _)| refused == cpu) {
                return false;
            }
        }
        let mut one = CpuSet::new();
        // The kernel takes the CPUs of the set that are allowed here: with one alone, that one or an error.
        if one.set(cpu as usize).is_err() || sched_setaffinity(SELF, &one).is_err() {
            return self.refuse(cpu);
        }
        self.cpu = Some(cpu);
        true
    }

    fn switches(&self) -> u64 {
        if let Some(expected) = self.expected.take() {
            return expected;
        }
        // It exists since Linux 2.6.26. Where it fails nothing is proved: two readings always differ.
        let switches = getrusage(UsageWho::RUSAGE_THREAD).map_or_else(
            |_| monotonic().0,
            |u| (u.voluntary_context_switches() as u64).wrapping_add(u.involuntary_context_switches() as u64),
        );
        self.last.set(Some(switches));
        switches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::sched_getcpu;

    #[test]
    fn moves_where_it_may_and_is_refused_where_it_may_not() {
        let mut seat = Affinity::new();
        let allowed = sched_getaffinity(SELF).unwrap();
        for cpu in (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)) {
            assert!(seat.move_to(cpu as u32));
            assert_eq!((seat.cpu(), sched_getcpu()), (Some(cpu as u32), Ok(cpu)));
        }
        for none in [CpuSet::count() as u32 - 1, u32::MAX] {
            assert!(!seat.move_to(none) && !seat.move_to(none));
            assert_eq!(seat.cpu(), None);
        }
        assert_eq!(sched_getaffinity(SELF), Ok(allowed));
    }

    #[test]
    fn a_thread_that_slept_has_lost_its_cpu() {
        let seat = Affinity::new();
        let before = seat.switches();
        std::thread::sleep(std::time::Duration::from_micros(200));
        assert!(seat.switches() > before);
    }

    #[test]
    fn a_sleep_is_one_switch_and_what_comes_on_top_shows() {
        let seat = Affinity::new();
        let sleep = || std::thread::sleep(std::time::Duration::from_millis(2));
        seat.switches();
        sleep();
        sleep();
        seat.slept_once();
        let expected = seat.switches();
        let real = seat.switches();
        assert!(real > expected);
        // Without a real answer since the last sleep there is none to expect.
        seat.slept_once();
        seat.slept_once();
        sleep();
        assert!(seat.switches() > real);
    }
}
