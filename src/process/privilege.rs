//! What otop may, and giving up what it does not need: before it reads the first byte of somebody else's memory, for what
//! it reads there may be hostile. Knows nothing of what is read.
//!
//! Kept, and why:
//! - `SYS_PTRACE`: every read of memory asks for it, and `/proc/PID/{maps,exe,ns,root}` and `task/TID/syscall` too.
//! - `DAC_READ_SEARCH`: `mem` and `task/TID/syscall` are their owner's alone (0600, 0400), `fd` is (0500); threads that
//!   are born later are opened later.
//! - `SYS_NICE` and `CHECKPOINT_RESTORE` until the reading threads are set up: the real-time class, and
//!   `/proc/PID/map_files`, by which a deleted interpreter is opened (Linux 5.9 and later).
//! - `DAC_OVERRIDE` and `FOWNER`, by root that nobody called `sudo` for, where a file is to be written: such a root writes
//!   where root may, into other users' folders too. They are in force only while a file gets or loses its name
//!   (`to_write`), and no reading thread has them.
//!
//! Rights are a thread's own, and inherited by the threads that it starts (capabilities(7)).

use super::facts::{Credentials, credentials};
use super::gates::{CAP_DAC_READ_SEARCH, CAP_SYS_NICE, CAP_SYS_PTRACE};
use crate::model::Pid;
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use std::sync::OnceLock;

/// Whom `settle` made of root.
static BECAME: OnceLock<Uid> = OnceLock::new();

/// Needed for as long as otop reads.
const TO_READ: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];
/// Needed until it does.
const TO_SET_UP: [Capability; 2] = [Capability::CAP_SYS_NICE, Capability::CAP_CHECKPOINT_RESTORE];

/// Needed while a file gets or loses its name in a folder that is another user's, or closed to its own.
const TO_WRITE: [Capability; 2] = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER];

/// Why a right is still there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} could not be given up: {why}")]
pub struct NotGivenUp {
    what: &'static str,
    why: String,
}

/// Gives up what is not needed to set up and to read: under `sudo` being root, for the user who called it, and all
/// capabilities but the four. To be called before there is a second thread. `writes`: a file may be asked for, which root
/// in its own name writes as root.
///
/// Does nothing without `SYS_PTRACE`: the kernel then lets otop read what has its own user and no more capabilities than
/// it has itself (`cap_ptrace_access_check`), so that each one given up could be the one that counts.
pub fn settle(writes: bool) -> Result<(), NotGivenUp> {
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_PTRACE).unwrap_or(false) {
        return Ok(());
    }
    let _ = nix::sys::prctl::set_no_new_privs();
    if let Some((user, group)) = caller() {
        become_user(user, group).map_err(|errno| NotGivenUp {
            what: "root",
            why: errno.desc().to_owned(),
        })?;
        let _ = BECAME.set(user);
    }
    let kept = TO_READ.into_iter().chain(TO_SET_UP);
    if writes && geteuid().is_root() {
        keep(kept, &TO_WRITE)
    } else {
        keep(kept, &[])
    }
}

/// The user that otop has become, where `settle` gave up being root.
pub fn became() -> Option<Uid> {
    BECAME.get().copied()
}

/// Gives up, for a thread that reads, all that is not for reading.
pub fn only_read() {
    // It goes by `settle`'s rule, and what could not be given up there has been said.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_PTRACE).unwrap_or(false) {
        let _ = keep(TO_READ.into_iter(), &[]);
    }
}

/// Gives up, for the thread that has set up reading, what was needed for that; what `settle` left it to write with stays.
pub fn is_set_up() {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_PTRACE).unwrap_or(false) {
        let _ = keep(TO_READ.into_iter(), &TO_WRITE);
    }
}

/// Does something with the name of a file that was asked for, with what `settle` kept for that in force meanwhile.
pub fn to_write<T>(what: impl FnOnce() -> T) -> T {
    let in_force = |capability: Capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let permitted = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let asleep = TO_WRITE
        .into_iter()
        .filter(|&capability| permitted.contains(&capability) && !in_force(capability));
    let asleep: Vec<Capability> = asleep.collect();
    // What cannot be raised is missed by what is done, which says so.
    for capability in &asleep {
        let _ = caps::raise(None, CapSet::Effective, *capability);
    }
    let done = what();
    for capability in asleep {
        let _ = caps::drop(None, CapSet::Effective, capability);
    }
    done
}

/// The user and the group that called `sudo`, if that was not root and otop is.
fn caller() -> Option<(Uid, Gid)> {
    let number = |name| {
        std::env::var(name)
            .ok()?
            .parse::<u32>()
            .ok()
            .filter(|&id| id != u32::MAX)
    };
    let (user, group) = (number("SUDO_UID")?, number("SUDO_GID")?);
    (geteuid().is_root() && user != 0).then(|| (Uid::from_raw(user), Gid::from_raw(group)))
}

fn become_user(user: Uid, group: Gid) -> nix::Result<()> {
    // Else the capabilities would go with the user.
    nix::sys::prctl::set_keepcaps(true)?;
    setgroups(&[group])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    nix::sys::prctl::set_keepcaps(false)
}

/// Of what the calling thread has, keeps these in force, and those at hand.
fn keep(wanted: impl Iterator<Item = Capability>, at_hand: &[Capability]) -> Result<(), NotGivenUp> {
    let failed = |error: caps::errors::CapsError| NotGivenUp {
        what: "a capability",
        why: error.to_string(),
    };
    let has = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: CapsHashSet = wanted.filter(|capability| has.contains(capability)).collect();
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    let at_hand = at_hand.iter().copied().filter(|capability| has.contains(capability));
    let permitted: CapsHashSet = kept.into_iter().chain(at_hand).collect();
    caps::set(None, CapSet::Permitted, &permitted).map_err(failed)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).map_err(failed)
}

/// What otop runs as, in words: `user 1000, with SYS_PTRACE and DAC_READ_SEARCH`.
pub fn standing() -> String {
    let own = Pid(i32::try_from(std::process::id()).unwrap_or(0));
    match credentials(own) {
        Ok(ours) => in_words(&ours),
        Err(_) => format!("user {}", geteuid()),
    }
}

fn in_words(ours: &Credentials) -> String {
    let known = [
        (CAP_SYS_PTRACE, "SYS_PTRACE"),
        (CAP_DAC_READ_SEARCH, "DAC_READ_SEARCH"),
        (CAP_SYS_NICE, "SYS_NICE"),
    ];
    let has = |number: u32| ours.effective_capabilities & (1 << number) != 0;
    let names = known.iter().filter(|(number, _)| has(*number));
    let names: Vec<&str> = names.map(|(_, name)| *name).collect();
    let user = match ours.uids {
        [_, 0, _] => "root".to_owned(),
        [_, user, _] => format!("user {user}"),
    };
    match names.as_slice() {
        [] => format!("{user}, without capabilities"),
        [one] => format!("{user}, with {one}"),
        [first @ .., last] => format!("{user}, with {} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_runs_as_in_words() {
        let ours = |user, effective_capabilities| Credentials {
            uids: [user; 3],
            gids: [user; 3],
            permitted_capabilities: effective_capabilities,
            effective_capabilities,
            seccomp: 0,
        };
        assert_eq!(in_words(&ours(1000, 0)), "user 1000, without capabilities");
        assert_eq!(in_words(&ours(1000, 1 << 19)), "user 1000, with SYS_PTRACE");
        assert_eq!(
            in_words(&ours(0, u64::MAX)),
            "root, with SYS_PTRACE, DAC_READ_SEARCH and SYS_NICE"
        );
    }

    /// On a thread of its own, for what is given up does not come back.
    #[test]
    fn a_thread_that_only_reads_keeps_two_rights_at_most() {
        let may_ptrace = || caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_PTRACE).unwrap_or(false);
        let before = may_ptrace();
        let (kept, left) = std::thread::spawn(move || {
            only_read();
            (
                may_ptrace(),
                caps::read(None, CapSet::Permitted).map(|set| set.len()).unwrap_or(0),
            )
        })
        .join()
        .expect("it ends");
        assert_eq!(kept, before);
        assert!(!before || left <= TO_READ.len(), "{left}");
        assert_eq!(may_ptrace(), before, "the others keep theirs");
    }

    #[test]
    fn what_is_kept_to_write_with_is_in_force_while_something_is_written_alone() {
        let has = |set, capability| caps::has_cap(None, set, capability).unwrap_or(false);
        let needed = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_SYS_PTRACE];
        if !needed.into_iter().all(|capability| has(CapSet::Effective, capability)) {
            return;
        }
        let thread = std::thread::spawn(move || {
            let both = || [CapSet::Permitted, CapSet::Effective].map(|set| has(set, Capability::CAP_DAC_OVERRIDE));
            keep(TO_READ.into_iter(), &TO_WRITE).expect("it may give up");
            for _ in 0..2 {
                assert_eq!(both(), [true, false]);
                assert_eq!(to_write(both), [true, true]);
                is_set_up();
            }
            only_read();
            assert_eq!(to_write(both), [false, false]);
        });
        thread.join().expect("all of it holds");
    }
}
