//! What the kernel says of one thread at every sample: what it does (`syscall`), and how long it ran and waited for a
//! CPU (`schedstat`). The files stay open, because opening them costs more than reading them. Knows nothing of CPython.

use super::{Freezer, State};
use crate::model::{Nanos, Pid, Tid};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The open files of one thread.
#[derive(Debug)]
pub struct ThreadClock {
    schedstat: Option<File>,
    syscall: Option<File>,
    stat: Option<File>,
}

/// What the thread does, as `/proc/PID/task/TID/syscall` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// On a CPU, or waiting for one.
    Runnable,
    /// Asleep in a system call, whose first two arguments come along, and the thread's stack pointer.
    Syscall {
        number: i32,
        first: u64,
        second: u64,
        stack: u64,
    },
    /// Asleep outside of any system call (a page fault).
    Asleep,
}

impl ThreadClock {
    /// Opens what may be opened; what may not reads as None.
    pub fn open(pid: Pid, tid: Tid) -> ThreadClock {
        let open = |file| File::open(format!("/proc/{pid}/task/{tid}/{file}")).ok();
        ThreadClock {
            schedstat: open("schedstat"),
            syscall: open("syscall"),
            stat: open("stat"),
        }
    }

    /// On-CPU time since the thread began, and time that it has waited for a CPU.
    pub fn times(&self) -> Option<(Nanos, Nanos)> {
        self.account().map(|(cpu, delay, _)| (cpu, delay))
    }

    /// Both times, and `runs`. The first is up to one scheduler
    /// tick old while the thread runs on another CPU; the second grows when a wait ends.
    pub fn account(&self) -> Option<(Nanos, Nanos, u64)> {
        let mut buffer = [0; 96];
        let mut words = words(read(self.schedstat.as_ref()?, &mut buffer)?);
        let mut next = || decimal(words.next()?);
        Some((Nanos(next()?), Nanos(next()?), next()?))
    }

    /// How often the thread was given a CPU since it began (`schedstat`, third field). A thread that sleeps, and is found
    /// with the same number later, has not run in between.
    pub fn runs(&self) -> Option<u64> {
        self.account().map(|(_, _, runs)| runs)
    }

    /// The CPU that the thread is on, or was on last (`stat`, field 39).
    pub fn cpu(&self) -> Option<u32> {
        let mut buffer = [0; 512];
        // Field 3 is the first one behind the name.
        let fields = behind_name(self.stat.as_ref()?, &mut buffer)?;
        fields.split(' ').nth(39 - 3)?.parse().ok()
    }

    /// What the thread does now; None: the kernel does not say.
    pub fn doing(&self) -> Option<Doing> {
        let mut buffer = [0; 256];
        parse_syscall(read(self.syscall.as_ref()?, &mut buffer)?)
    }

    /// Stopped by a signal or a tracer, or frozen with its group.
    pub fn is_stopped(&self, freezer: &Freezer) -> Option<bool> {
        let mut buffer = [0; 512];
        let state = behind_name(self.stat.as_ref()?, &mut buffer)?.chars().next()?;
        let state = State::from(state);
        Some(state.is_stopped() || freezer.holds(state))
    }
}

/// `stat` from its third field on. The name before is in brackets, may hold brackets and spaces itself, and need not be
/// UTF-8: the kernel cuts it at fifteen bytes.
fn behind_name<'b>(file: &File, buffer: &'b mut [u8]) -> Option<&'b str> {
    let length = file.read_at(buffer, 0).ok()?;
    let bytes = buffer.get(..length)?;
    let end = bytes.windows(2).rposition(|pair| pair == b") ")?;
    std::str::from_utf8(bytes.get(end + 2..)?).ok()
}

fn read<'b>(file: &File, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let length = file.read_at(buffer, 0).ok()?;
    buffer.get(..length)
}

/// What stands between blanks. These texts are read a thousand times a second, and are the kernel's own: what the standard
/// library does for any text costs several times as much.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b' ' | b'\n'))
}

/// A number of the kernel's; None: it is none.
fn decimal(word: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    (!word.is_empty()).then_some(number)
}

/// As `decimal`, of `0x7f55a8`.
fn hexadecimal(word: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for byte in word.strip_prefix(b"0x")? {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u64::from(digit);
    }
    (word.len() > 2).then_some(number)
}

/// `running`, or `-1 0xSP 0xPC`, or `NR 0xARG0 … 0xSP 0xPC` (fs/proc/base.c, `proc_pid_syscall`).
fn parse_syscall(text: &[u8]) -> Option<Doing> {
    let mut words = words(text);
    match words.next()? {
        b"running" => Some(Doing::Runnable),
        b"-1" => Some(Doing::Asleep),
        number => {
            let mut hex = |skip| hexadecimal(words.nth(skip)?);
            Some(Doing::Syscall {
                number: i32::try_from(decimal(number)?).ok()?,
                first: hex(0)?,
                second: hex(0)?,
                stack: hex(4)?,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_three_ways_of_saying_it() {
        assert_eq!(parse_syscall(b"running\n"), Some(Doing::Runnable));
        assert_eq!(parse_syscall(b"-1 0x7ffe 0x7f00\n"), Some(Doing::Asleep));
        let futex = b"202 0x7f55a8 0x189 0x0 0x0 0x0 0xffffffff 0x7ffe 0x7f00\n";
        assert_eq!(
            parse_syscall(futex),
            Some(Doing::Syscall {
                number: 202,
                first: 0x7f55a8,
                second: 0x189,
                stack: 0x7ffe
            })
        );
        for text in [
            "",
            "\n",
            "202 7f",
            "202 0x",
            "202",
            "0xca 0x1 0x1 0x1 0x1 0x1 0x1 0x1 0x1",
            "99999999999 0x1",
        ] {
            assert_eq!(parse_syscall(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(hexadecimal(b"0xffffffffffffffff"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn own_thread_runs_and_its_clock_moves() {
        let pid = Pid(std::process::id() as i32);
        let clock = ThreadClock::open(pid, Tid(nix::unistd::gettid().as_raw()));
        // The kernel brings it up to date when the thread leaves its CPU.
        while clock.account().is_some_and(|(cpu, ..)| cpu == Nanos::ZERO) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(clock.is_stopped(&Freezer::default()), Some(false));
        assert!(clock.runs().is_some_and(|runs| runs > 0));
    }

    #[test]
    fn a_name_may_be_any_bytes() {
        let named = std::thread::spawn(|| {
            // The last of them is half of a letter.
            std::fs::write("/proc/thread-self/comm", b"a) b \xc3\x84 (c) \xc3").unwrap();
            let clock = ThreadClock::open(Pid(std::process::id() as i32), Tid(nix::unistd::gettid().as_raw()));
            (clock.is_stopped(&Freezer::default()), clock.cpu().is_some())
        });
        assert_eq!(named.join().unwrap(), (Some(false), true));
    }

    #[test]
    fn the_cpu_is_the_one_that_the_thread_was_bound_to() {
        let own = nix::unistd::Pid::from_raw(0);
        let allowed = nix::sched::sched_getaffinity(own).unwrap();
        let clock = ThreadClock::open(Pid(std::process::id() as i32), Tid(nix::unistd::gettid().as_raw()));
        for cpu in (0..nix::sched::CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)) {
            let mut one = nix::sched::CpuSet::new();
            one.set(cpu).unwrap();
            nix::sched::sched_setaffinity(own, &one).unwrap();
            assert_eq!(clock.cpu(), Some(cpu as u32));
        }
    }
}
