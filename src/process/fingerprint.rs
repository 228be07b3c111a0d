//! Tells whether a PID still means the process, and the program in it, that it meant at attach: numbers are given out
//! again, and `exec` puts another program under the same number.

use super::{ProcessError, facts::State, read};
use crate::model::Pid;
use std::os::linux::fs::MetadataExt;
use std::time::Duration;

/// The kernel lets a process's memory go early in an `exec`, and says where the new stack begins last of all. So long is
/// waited for that, by someone who can read nothing more anyway: the new program's file may have to come from a disk.
const SETTLES: Duration = Duration::from_millis(100);
const LOOKS_AGAIN: Duration = Duration::from_millis(1);

/// What a process is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    pid: Pid,
    /// In kernel ticks since boot: two processes of one number differ in it.
    start_time: u64,
    /// Device and inode of the program; None where it may not be asked.
    program: Option<(u64, u64)>,
    /// Where its first stack begins. The kernel chooses it anew at every `exec`, which gives away a process that
    /// starts the very same program again. 0 where it may not be asked.
    stack: u64,
    /// It has memory; a process that is ending loses it before it becomes a zombie.
    has_memory: bool,
}

/// What became of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    Same,
    /// It ended; its number is free, a zombie's, or another process's.
    Exited,
    /// It runs another program, or the same one from its beginning.
    Execed,
}

impl Fingerprint {
    pub fn of(pid: Pid) -> Result<Fingerprint, ProcessError> {
        let stat = read::stat(pid)?;
        if State::from(stat.state).has_ended() {
            return Err(ProcessError::Gone(pid));
        }
        // `stat` follows the link to the file itself, also where it was deleted or lies in another mount namespace.
        let program = std::fs::metadata(format!("/proc/{pid}/exe"))
            .ok()
            .map(|m| (m.st_dev(), m.st_ino()));
        Ok(Fingerprint {
            pid,
            start_time: stat.starttime,
            program,
            stack: stat.startstack,
            has_memory: stat.vsize > 0,
        })
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The same number, given out at another time: for tests, which cannot make the kernel do it.
    #[cfg(test)]
    pub fn of_an_earlier_process(mut self) -> Fingerprint {
        self.start_time -= 1;
        self
    }

    /// Looks again.
    pub fn still_same(&self) -> Sameness {
        match Fingerprint::of(self.pid) {
            Ok(now) => self.compare(&now),
            Err(ProcessError::Gone(_) | ProcessError::Zombie(_)) => Sameness::Exited,
            // Not being told is no proof of a change; whoever reads its memory will hear of it.
            Err(_) => Sameness::Same,
        }
    }

    /// The same for someone who could not read its memory any more: an `exec` that the kernel is still in the middle of
    /// is waited for, since so far it looks like a process that is what it was.
    pub fn what_became(&self) -> Sameness {
        let looks = SETTLES.as_millis() / LOOKS_AGAIN.as_millis();
        settled((0..looks).map(|_| self.still_same()), || {
            std::thread::sleep(LOOKS_AGAIN)
        })
    }

    fn compare(&self, now: &Fingerprint) -> Sameness {
        let changed_program = matches!((self.program, now.program), (Some(then), Some(now)) if then != now);
        let changed_stack = self.stack != 0 && now.stack != 0 && self.stack != now.stack;
        let lost_memory = self.has_memory && !now.has_memory;
        if self.start_time != now.start_time || lost_memory {
            Sameness::Exited
        } else if changed_program || changed_stack {
            Sameness::Execed
        } else {
            Sameness::Same
        }
    }
}

/// The first of these looks that shows a change.
fn settled(looks: impl Iterator<Item = Sameness>, pause: impl Fn()) -> Sameness {
    for look in looks {
        if look != Sameness::Same {
            return look;
        }
        pause();
    }
    Sameness::Same
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    fn fingerprint() -> Fingerprint {
        Fingerprint {
            pid: Pid(7),
            start_time: 100,
            program: Some((1, 2)),
            stack: 0x7000,
            has_memory: true,
        }
    }

    #[test]
    fn another_start_time_is_another_process_whatever_it_runs() {
        let now = Fingerprint {
            start_time: 101,
            ..fingerprint()
        };
        assert_eq!(fingerprint().compare(&now), Sameness::Exited);
        assert_eq!(
            fingerprint().compare(&Fingerprint { stack: 1, ..now }),
            Sameness::Exited
        );
    }

    #[test]
    fn another_program_or_the_same_from_its_beginning_is_an_exec() {
        assert_eq!(
            fingerprint().compare(&Fingerprint {
                program: Some((1, 3)),
                ..fingerprint()
            }),
            Sameness::Execed
        );
        assert_eq!(
            fingerprint().compare(&Fingerprint {
                stack: 0x7100,
                ..fingerprint()
            }),
            Sameness::Execed
        );
    }

    #[test]
    fn a_process_that_is_ending_has_ended() {
        let now = Fingerprint {
            has_memory: false,
            stack: 0,
            program: None,
            ..fingerprint()
        };
        assert_eq!(fingerprint().compare(&now), Sameness::Exited);
        assert_eq!(now.compare(&now), Sameness::Same, "a kernel thread never had any");
    }

    #[test]
    fn what_may_not_be_asked_proves_nothing() {
        let hidden = Fingerprint {
            program: None,
            stack: 0,
            ..fingerprint()
        };
        assert_eq!(fingerprint().compare(&hidden), Sameness::Same);
        assert_eq!(hidden.compare(&fingerprint()), Sameness::Same);
    }

    #[test]
    fn an_exec_that_goes_on_is_waited_for_and_what_stays_the_same_is_not_waited_for_for_ever() {
        let in_exec = Fingerprint {
            stack: 0,
            ..fingerprint()
        };
        let behind_it = Fingerprint {
            stack: 0x7100,
            ..fingerprint()
        };
        let looks = |seen: [&Fingerprint; 3]| settled(seen.map(|now| fingerprint().compare(now)).into_iter(), || {});
        assert_eq!(looks([&in_exec, &in_exec, &behind_it]), Sameness::Execed);
        assert_eq!(looks([&in_exec, &in_exec, &in_exec]), Sameness::Same);
        let own = Fingerprint::of(Pid(i32::try_from(std::process::id()).expect("a pid fits"))).expect("it runs");
        assert_eq!(own.what_became(), Sameness::Same);
    }

    #[test]
    fn an_exec_of_the_same_program_is_seen_and_so_is_the_end() {
        let mut child = Command::new("sh")
            .args(["-c", "echo up; read line; exec sh -c 'read line'"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let pid = Pid(i32::try_from(child.id()).expect("a pid fits"));
        // The child is a copy of this program until its own exec; a shell that speaks has that behind it.
        child
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut [0; 2])
            .expect("it says that it is up");
        let shell = Fingerprint::of(pid).expect("it runs");
        assert_eq!(shell.still_same(), Sameness::Same);
        let mut stdin = child.stdin.take().expect("piped");
        writeln!(stdin, "go").expect("written");
        let mut seen = shell.still_same();
        for _ in 0..500 {
            if seen != Sameness::Same {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            seen = shell.still_same();
        }
        assert_eq!(seen, Sameness::Execed);
        drop(stdin);
        child.wait().expect("waited");
        assert_eq!(shell.still_same(), Sameness::Exited);
    }
}
