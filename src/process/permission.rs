//! May this process's memory be read, and if not, why, and what mends it. Tries the real thing; where the kernel says no,
//! `gates` finds which of its checks it was.

use super::container::Container;
use super::gates::{self, Circumstances};
use super::sight::{self, Sight};
use super::{ProcessError, facts, maps};
use crate::model::Pid;
use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use std::io::IoSliceMut;
use std::os::unix::fs::MetadataExt;

/// How the memory can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By `process_vm_readv`, many places at once.
    Scattered,
    /// By `/proc/PID/mem` alone, since a filter forbids the call.
    File,
    /// There is nothing to read: a thread of the kernel has no memory.
    Nothing,
}

/// The check that failed, with the fact that shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("process {pid} belongs to user {} and group {}, otop runs as user {user} and group {group}", ids(.owner), ids(.groups))]
    OtherUser {
        pid: Pid,
        owner: [u32; 3],
        groups: [u32; 3],
        user: u32,
        group: u32,
    },
    #[error("otop is root without the capability SYS_PTRACE (CapEff {effective:016x})")]
    MissingCapability {
        pid: Pid,
        effective: u64,
        container: Option<Container>,
    },
    #[error(
        "process {pid} has forbidden core dumps and with them reading (PR_SET_DUMPABLE; the files of /proc/{pid} are root's)"
    )]
    NotDumpable { pid: Pid },
    #[error("process {pid} has capabilities that otop has not (CapPrm {theirs:016x} against {ours:016x})")]
    MoreCapable { pid: Pid, theirs: u64, ours: u64 },
    #[error(
        "with SYS_PTRACE otop may read process {pid}, but not open its files in /proc, which are user {owner}'s alone: \
         that takes DAC_READ_SEARCH too"
    )]
    FilesOfAnother {
        pid: Pid,
        owner: u32,
        container: Option<Container>,
    },
    #[error("Yama lets a process read its own children only (kernel.yama.ptrace_scope is 1)")]
    YamaChildren { pid: Pid },
    #[error("Yama lets only SYS_PTRACE read other processes (kernel.yama.ptrace_scope is 2)")]
    YamaAdmin { pid: Pid },
    #[error("Yama lets nobody read other processes until the next boot (kernel.yama.ptrace_scope is 3)")]
    YamaNobody { pid: Pid },
    #[error(
        "process {pid} lives in a user namespace where otop's capabilities do not count ({theirs} against otop's {ours})"
    )]
    UserNamespace { pid: Pid, theirs: String, ours: String },
    #[error("a seccomp filter forbids otop to read other processes (Seccomp: {mode} in /proc/self/status)")]
    Seccomp {
        pid: Pid,
        mode: u32,
        container: Option<Container>,
    },
    #[error("the kernel is locked down (/sys/kernel/security/lockdown: {mode})")]
    Lockdown { pid: Pid, mode: String },
    #[error("a security module says no, for every other check passes (active: {modules})")]
    SecurityModule { pid: Pid, modules: String },
    #[error("/proc hides process {pid} from this user (mounted with hidepid)")]
    Hidden { pid: Pid },
    #[error(
        "{}, so that what is process {pid} there is another one, or none, for the kernel", .sight.told()
    )]
    OtherNumbers { pid: Pid, sight: Sight },
    #[error("/proc is not mounted, and all that otop learns of a process stands there")]
    NoProc { pid: Pid },
    #[error("the kernel says \"{errno}\" though every check that is known passes")]
    Unexplained { pid: Pid, errno: String },
}

/// Not being allowed, or not being there at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAccess {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl Refusal {
    /// The process that may not be read.
    pub fn pid(&self) -> Pid {
        match *self {
            Refusal::OtherUser { pid, .. }
            | Refusal::MissingCapability { pid, .. }
            | Refusal::NotDumpable { pid }
            | Refusal::MoreCapable { pid, .. }
            | Refusal::FilesOfAnother { pid, .. }
            | Refusal::YamaChildren { pid }
            | Refusal::YamaAdmin { pid }
            | Refusal::YamaNobody { pid }
            | Refusal::UserNamespace { pid, .. }
            | Refusal::Seccomp { pid, .. }
            | Refusal::Lockdown { pid, .. }
            | Refusal::SecurityModule { pid, .. }
            | Refusal::Hidden { pid }
            | Refusal::OtherNumbers { pid, .. }
            | Refusal::NoProc { pid }
            | Refusal::Unexplained { pid, .. } => pid,
        }
    }
}

/// `pid` is a process of its own, as `facts` says it; and where it is not there to be asked, whether it is hidden.
pub fn whole_process(pid: Pid) -> Result<(), NoAccess> {
    let found = facts::whole_process(pid);
    if found.is_ok() && sight::has_own_numbers() {
        return Ok(());
    }
    match (sight::sight(), found) {
        (sight @ (Sight::Outer | Sight::Foreign), _) => Err(Refusal::OtherNumbers { pid, sight }.into()),
        (Sight::NotMounted, _) => Err(Refusal::NoProc { pid }.into()),
        (Sight::OwnAlone, Err(ProcessError::Gone(_) | ProcessError::Denied { .. })) if exists(pid) => {
            Err(Refusal::Hidden { pid }.into())
        }
        (_, found) => Ok(found?),
    }
}

/// Tries the real thing: one byte of its memory, and the file that has all of it.
pub fn check(pid: Pid) -> Result<Access, NoAccess> {
    let mappings = match maps(pid) {
        Ok(mappings) => mappings,
        // The list of mappings needs a lesser right than the memory does.
        Err(ProcessError::Denied { .. }) => return Err(refusal(pid, Errno::EACCES).into()),
        Err(ProcessError::Gone(_)) if exists(pid) => return Err(Refusal::Hidden { pid }.into()),
        Err(error) => return Err(error.into()),
    };
    // Only a file's or the heap's pages: the kernel's own (vvar) refuse everybody.
    let Some(target) = mappings.iter().find(|mapping| mapping.readable && mapping.inode != 0) else {
        return Ok(Access::Nothing);
    };
    match read_one_byte(pid, target.start) {
        // A fault is no refusal: the right was checked before the address was.
        Ok(_) | Err(Errno::EFAULT | Errno::EIO | Errno::ENOMEM) => files_open(pid).map(|()| Access::Scattered),
        Err(Errno::ESRCH) => Err(ProcessError::Gone(pid).into()),
        Err(errno) => match std::fs::File::open(format!("/proc/{pid}/mem")) {
            Ok(_) => Ok(Access::File),
            Err(_) => Err(refusal(pid, errno).into()),
        },
    }
}

/// The call asks for SYS_PTRACE alone, the file for its owner's right besides.
fn files_open(pid: Pid) -> Result<(), NoAccess> {
    let path = format!("/proc/{pid}/mem");
    match std::fs::File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let owner = std::fs::metadata(&path).map_or(0, |file| file.uid());
            Err(Refusal::FilesOfAnother {
                pid,
                owner,
                container: Container::here(),
            }
            .into())
        }
        // What else there may be is said where the file is needed.
        _ => Ok(()),
    }
}

fn read_one_byte(pid: Pid, address: u64) -> Result<usize, Errno> {
    let mut byte = [0u8; 1];
    let base = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    process_vm_readv(
        nix::unistd::Pid::from_raw(pid.0),
        &mut [IoSliceMut::new(&mut byte)],
        &[RemoteIoVec { base, len: 1 }],
    )
}

/// A signal could be asked for, whatever `/proc` shows.
fn exists(pid: Pid) -> bool {
    // Signal 0 asks only; nothing is sent.
    pid.0 > 0
        && matches!(
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.0), None),
            Ok(()) | Err(Errno::EPERM)
        )
}

fn refusal(pid: Pid, errno: Errno) -> Refusal {
    match Circumstances::look(pid) {
        Ok(seen) => gates::explain(pid, &seen, errno),
        Err(_) => Refusal::Unexplained {
            pid,
            errno: errno.desc().to_owned(),
        },
    }
}

/// Real, effective and saved id, as one number where they agree.
fn ids(ids: &[u32; 3]) -> String {
    match ids {
        [real, effective, saved] if real == effective && effective == saved => real.to_string(),
        [real, effective, saved] => format!("{real}/{effective}/{saved}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_may_be_read_and_nobodys_is_gone() {
        let own = Pid(i32::try_from(std::process::id()).expect("a pid fits"));
        assert_eq!(check(own), Ok(Access::Scattered));
        assert_eq!(
            check(Pid(i32::MAX)),
            Err(NoAccess::Process(ProcessError::Gone(Pid(i32::MAX))))
        );
        // A machine that shows its kernel's threads has this one.
        if facts::comm(Pid(2)).is_ok_and(|name| name == "kthreadd") {
            assert_eq!(check(Pid(2)), Ok(Access::Nothing));
        }
        assert_eq!(whole_process(own), Ok(()));
        assert_eq!(
            whole_process(Pid(i32::MAX)),
            Err(NoAccess::Process(ProcessError::Gone(Pid(i32::MAX))))
        );
    }
}
