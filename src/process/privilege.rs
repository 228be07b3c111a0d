//! What otop may, and giving up what it does not need: before it reads the first byte of somebody else's memory, for what
//! it reads there may be hostile. Knows nothing of what is read.
//!
//! Kept, and why:
//! - `SYS_PTRACE`: every read of memory asks for it, and `/proc/PID/{maps,exe,ns,root}` and `task/TID/syscall` too.
//! - `DAC_READ_SEARCH`: `mem` and `task/TID/syscall` are their owner's alone (0600, 0400), `fd` is (0500); threads that
//!   are born later are opened later. Where it is not given, `DAC_OVERRIDE`, which opens them too: a container's root has
//!   that one and not the other (Docker's and Podman's defaults).
//! - `SYS_NICE`, `CHECKPOINT_RESTORE`, `BPF` and `PERFMON` until the reading threads are set up: the real-time class,
//!   `/proc/PID/map_files`, by which a deleted interpreter is opened (Linux 5.9 and later), and the program that reads stacks.
//! - `DAC_OVERRIDE` and `FOWNER`, by root that nobody called `sudo` for, where a file is to be written: such a root writes
//!   where root may, into other users' folders too. They are in force only while a file gets or loses its name
//!   (`to_write`), and no reading thread has them.
//!
//! Rights are a thread's own, and inherited by the threads that it starts (capabilities(7)).

use super::container::Container;
use super::facts::{Credentials, credentials};
use super::gates::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SYS_NICE, CAP_SYS_PTRACE};
use crate::model::Pid;
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use std::sync::OnceLock;

/// Whom `settle` made of root.
static BECAME: OnceLock<Uid> = OnceLock::new();

/// Needed for as long as otop reads, of what is permitted.
fn to_read(permitted: &CapsHashSet) -> [Capability; 2] {
    let files = match permitted.contains(&Capability::CAP_DAC_READ_SEARCH) {
        true => Capability::CAP_DAC_READ_SEARCH,
        false => Capability::CAP_DAC_OVERRIDE,
    };
    [Capability::CAP_SYS_PTRACE, files]
}

/// Needed until it does.
const TO_SET_UP: [Capability; 4] = [
    Capability::CAP_SYS_NICE,
    Capability::CAP_CHECKPOINT_RESTORE,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
];

/// Needed while a file gets or loses its name in a folder that is another user's, or closed to its own.
const TO_WRITE: [Capability; 2] = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER];

/// Why a right is still there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} could not be given up: {why}")]
pub struct NotGivenUp {
    what: &'static str,
    why: String,
}

impl NotGivenUp {
    /// What mends it; None: no filter forbids it, and what else does is not known.
    pub fn remedy(&self) -> Option<String> {
        let filter = credentials(super::sight::own()).map_or(0, |ours| ours.seccomp);
        (filter != 0).then(|| way_out_of_filter(Container::here()))
    }
}

/// Where a seccomp filter forbids to give up a right (`capset`).
pub fn way_out_of_filter(container: Option<Container>) -> String {
    match container {
        Some(Container::Kubernetes) => {
            "securityContext: {seccompProfile: {type: Unconfined}} in the container's spec".to_owned()
        }
        Some(container) => format!("{} run --security-opt seccomp=unconfined …", container.runtime()),
        None => "sudo otop … from a shell outside the filter".to_owned(),
    }
}

/// Gives up what is not needed to set up and to read: under `sudo` being root, for the user who called it, and all
/// capabilities but those above. To be called before there is a second thread. `writes`: a file may be asked for, which root
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
    if writes && geteuid().is_root() {
        keep(&TO_SET_UP, &TO_WRITE)
    } else {
        keep(&TO_SET_UP, &[])
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
        let _ = keep(&[], &[]);
    }
}

/// Gives up, for the thread that has set up reading, what was needed for that; what `settle` left it to write with stays.
pub fn is_set_up() {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_PTRACE).unwrap_or(false) {
        let _ = keep(&[], &TO_WRITE);
    }
}

/// What is permitted that reading and setting up do not take: where it was to be given up, it could not be.
pub fn kept_too_much(ours: &Credentials) -> bool {
    let (files, _) = right_to_files(ours);
    let needed = TO_SET_UP.iter().map(|capability| u32::from(capability.index()));
    let needed = needed.chain([CAP_SYS_PTRACE, files]);
    ours.permitted_capabilities & !needed.fold(0, |bits, number| bits | 1 << number) != 0
}

/// Whether root may have SYS_PTRACE here.
pub fn root_may_ptrace() -> bool {
    is_in_bounds(Capability::CAP_SYS_PTRACE)
}

/// Whether root may have SYS_NICE here.
pub fn root_may_nice() -> bool {
    is_in_bounds(Capability::CAP_SYS_NICE)
}

/// It is in the bounding set, which nothing goes over.
fn is_in_bounds(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false)
}

/// Does something with the name of a file that was asked for, with what `settle` kept for that in force meanwhile; and for
/// who writes as a user, without the right over all files that is kept to read.
pub fn to_write<T>(what: impl FnOnce() -> T) -> T {
    write_as(geteuid().is_root(), what)
}

fn write_as<T>(root: bool, what: impl FnOnce() -> T) -> T {
    let in_force = |capability: Capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let permitted = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let turned: Vec<Capability> = TO_WRITE
        .into_iter()
        .filter(|&capability| permitted.contains(&capability) && in_force(capability) != root)
        .collect();
    let turn = |on: bool| {
        for &capability in &turned {
            // What cannot be raised is missed by what is done, which says so.
            let _ = match on {
                true => caps::raise(None, CapSet::Effective, capability),
                false => caps::drop(None, CapSet::Effective, capability),
            };
        }
    };
    turn(root);
    let done = what();
    turn(!root);
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

/// Of what the calling thread has, keeps what reading takes and these in force, and those at hand.
fn keep(besides: &[Capability], at_hand: &[Capability]) -> Result<(), NotGivenUp> {
    let failed = |error: caps::errors::CapsError| NotGivenUp {
        what: "a capability",
        why: error.to_string(),
    };
    let has = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let wanted = to_read(&has).into_iter().chain(besides.iter().copied());
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

/// The right by which the files of other users are opened, with its name.
pub fn right_to_files(ours: &Credentials) -> (u32, &'static str) {
    let has = |number: u32| ours.effective_capabilities & (1 << number) != 0;
    match has(CAP_DAC_READ_SEARCH) || !has(CAP_DAC_OVERRIDE) {
        true => (CAP_DAC_READ_SEARCH, "DAC_READ_SEARCH"),
        false => (CAP_DAC_OVERRIDE, "DAC_OVERRIDE"),
    }
}

fn in_words(ours: &Credentials) -> String {
    let has = |number: u32| ours.effective_capabilities & (1 << number) != 0;
    let known = [
        (CAP_SYS_PTRACE, "SYS_PTRACE"),
        right_to_files(ours),
        (CAP_SYS_NICE, "SYS_NICE"),
    ];
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
        assert_eq!(
            in_words(&ours(0, 1 << 19 | 1 << 1)),
            "root, with SYS_PTRACE and DAC_OVERRIDE"
        );
    }

    #[test]
    fn what_could_not_be_given_up_is_noticed() {
        let ours = |capabilities| Credentials {
            uids: [0; 3],
            gids: [0; 3],
            permitted_capabilities: capabilities,
            effective_capabilities: capabilities,
            seccomp: 2,
        };
        // SYS_PTRACE with DAC_READ_SEARCH or DAC_OVERRIDE, SYS_NICE and CHECKPOINT_RESTORE.
        for needed in [1 << 19 | 1 << 2, 1 << 19 | 1 << 1, 1 << 19 | 1 << 2 | 1 << 23 | 1 << 40] {
            assert!(!kept_too_much(&ours(needed)), "{needed:x}");
        }
        for more in [1 << 19 | 1 << 2 | 1 << 1, 1 << 19 | 1 << 21, 0x1ff_feff_ffff] {
            assert!(kept_too_much(&ours(more)), "{more:x}");
        }
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
        assert!(!before || left <= 2, "{left}");
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
            keep(&[], &TO_WRITE).expect("it may give up");
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

    /// A container's root by Docker's defaults and SYS_PTRACE; and the user whom `sudo` was called by there, who may read
    /// what root may, and write what that user may.
    #[test]
    fn where_the_right_to_read_files_is_not_given_the_one_over_files_stays_to_read() {
        let has = |set, capability| caps::has_cap(None, set, capability).unwrap_or(false);
        let needed = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_SYS_PTRACE];
        if !needed.into_iter().all(|capability| has(CapSet::Effective, capability)) {
            return;
        }
        let thread = std::thread::spawn(move || {
            for set in [CapSet::Effective, CapSet::Permitted] {
                caps::drop(None, set, Capability::CAP_DAC_READ_SEARCH).expect("it may give up");
            }
            let in_force = || has(CapSet::Effective, Capability::CAP_DAC_OVERRIDE);
            keep(&TO_SET_UP, &TO_WRITE).expect("it may give up");
            assert!(in_force());
            only_read();
            assert!(in_force());
            assert_eq!(caps::read(None, CapSet::Permitted).map_or(0, |set| set.len()), 2);
            assert_eq!([write_as(true, in_force), in_force()], [true; 2]);
            assert_eq!([write_as(false, in_force), in_force()], [false, true]);
        });
        thread.join().expect("all of it holds");
    }
}
