//! May this process's memory be read, and if not, which of the kernel's checks said no. The kernel answers all of them
//! with the same "operation not permitted", so each is asked again here, in the kernel's own order
//! (`__ptrace_may_access`), until one is found that cannot have passed.

use super::namespaces;
use super::{Credentials, ProcessError, credentials, maps};
use crate::model::Pid;
use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use std::io::IoSliceMut;

const CAP_SYS_PTRACE: u32 = 19;

/// How the memory can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By `process_vm_readv`, many places at once.
    Scattered,
    /// By `/proc/PID/mem` alone, since a filter forbids the call.
    File,
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
        in_container: bool,
    },
    #[error(
        "process {pid} has forbidden core dumps and with them reading (PR_SET_DUMPABLE; the files of /proc/{pid} are root's)"
    )]
    NotDumpable { pid: Pid },
    #[error("process {pid} has capabilities that otop has not (CapPrm {theirs:016x} against {ours:016x})")]
    MoreCapable { pid: Pid, theirs: u64, ours: u64 },
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
    Seccomp { pid: Pid, mode: u32, in_container: bool },
    #[error("the kernel is locked down (/sys/kernel/security/lockdown: {mode})")]
    Lockdown { pid: Pid, mode: String },
    #[error("a security module says no, for every other check passes (active: {modules})")]
    SecurityModule { pid: Pid, modules: String },
    #[error("/proc hides process {pid} from this user (mounted with hidepid)")]
    Hidden { pid: Pid },
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
            | Refusal::YamaChildren { pid }
            | Refusal::YamaAdmin { pid }
            | Refusal::YamaNobody { pid }
            | Refusal::UserNamespace { pid, .. }
            | Refusal::Seccomp { pid, .. }
            | Refusal::Lockdown { pid, .. }
            | Refusal::SecurityModule { pid, .. }
            | Refusal::Hidden { pid }
            | Refusal::Unexplained { pid, .. } => pid,
        }
    }

    /// The one command that mends it, as one would type it.
    pub fn remedy(&self) -> String {
        match self {
            Refusal::MissingCapability { in_container: true, .. } | Refusal::Seccomp { in_container: true, .. } => {
                "docker run --cap-add SYS_PTRACE …".to_owned()
            }
            Refusal::MissingCapability { pid, .. } => format!("sudo capsh -- -c 'otop --pid {pid}'"),
            Refusal::YamaChildren { .. } => "sudo sysctl kernel.yama.ptrace_scope=0".to_owned(),
            Refusal::YamaNobody { .. } => "sudo reboot, with kernel.yama.ptrace_scope=1 in /etc/sysctl.d".to_owned(),
            Refusal::UserNamespace { pid, .. } => {
                format!("sudo otop --pid {pid} on the host, with the PID that it has there")
            }
            Refusal::Seccomp { pid, .. } => format!("sudo otop --pid {pid} from a shell outside the filter"),
            Refusal::Lockdown { .. } => "sudo reboot, with lockdown=none on the kernel's command line".to_owned(),
            Refusal::SecurityModule { .. } => "sudo journalctl -k -g 'apparmor|avc|ptrace'".to_owned(),
            Refusal::OtherUser { pid, .. }
            | Refusal::NotDumpable { pid }
            | Refusal::MoreCapable { pid, .. }
            | Refusal::YamaAdmin { pid }
            | Refusal::Hidden { pid }
            | Refusal::Unexplained { pid, .. } => format!("sudo otop --pid {pid}"),
        }
    }
}

/// Tries the real thing: one byte of its memory.
pub fn check(pid: Pid) -> Result<Access, NoAccess> {
    let mappings = match maps(pid) {
        Ok(mappings) => mappings,
        // The list of mappings needs a lesser right than the memory does.
        Err(ProcessError::Denied { .. }) => return Err(refusal(pid, Errno::EACCES).into()),
        Err(ProcessError::Gone(_)) if is_hidden(pid) => return Err(Refusal::Hidden { pid }.into()),
        Err(error) => return Err(error.into()),
    };
    // Only a file's or the heap's pages: the kernel's own (vvar) refuse everybody.
    let Some(target) = mappings.iter().find(|mapping| mapping.readable && mapping.inode != 0) else {
        return Ok(Access::Scattered);
    };
    match read_one_byte(pid, target.start) {
        // A fault is no refusal: the right was checked before the address was.
        Ok(_) | Err(Errno::EFAULT | Errno::EIO | Errno::ENOMEM) => Ok(Access::Scattered),
        Err(Errno::ESRCH) => Err(ProcessError::Gone(pid).into()),
        Err(errno) => match std::fs::File::open(format!("/proc/{pid}/mem")) {
            Ok(_) => Ok(Access::File),
            Err(_) => Err(refusal(pid, errno).into()),
        },
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

/// `/proc/PID` does not exist for us, yet a signal could be asked for.
fn is_hidden(pid: Pid) -> bool {
    // Signal 0 asks only; nothing is sent.
    pid.0 > 0
        && matches!(
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.0), None),
            Ok(()) | Err(Errno::EPERM)
        )
}

/// What is known of both sides when the kernel has refused.
struct Circumstances {
    ours: Credentials,
    theirs: Credentials,
    /// None: `/proc/sys/kernel/yama` is absent, so Yama is.
    yama: Option<u32>,
    /// Otop's capabilities count in the worker's user namespace; None: not known.
    capabilities_count: Option<bool>,
    user_namespaces: (String, String),
    dumpable: bool,
    lockdown: Option<String>,
    modules: String,
    in_container: bool,
    errno: Errno,
}

fn refusal(pid: Pid, errno: Errno) -> Refusal {
    let own = Pid(i32::try_from(std::process::id()).unwrap_or(0));
    match (credentials(own), credentials(pid)) {
        (Ok(ours), Ok(theirs)) => explain(pid, &Circumstances::look(pid, ours, theirs, errno)),
        _ => Refusal::Unexplained {
            pid,
            errno: errno.desc().to_owned(),
        },
    }
}

impl Circumstances {
    fn look(pid: Pid, ours: Credentials, theirs: Credentials, errno: Errno) -> Circumstances {
        let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let shown = |inode: Option<u64>| inode.map_or("unreadable".to_owned(), |inode| format!("user:[{inode}]"));
        let lockdown = read("/sys/kernel/security/lockdown")
            .and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned()))
            .filter(|mode| mode != "none");
        Circumstances {
            ours,
            theirs,
            yama: read("/proc/sys/kernel/yama/ptrace_scope").and_then(|text| text.parse().ok()),
            // All namespaces descend from the first one, and capabilities count in descendants.
            capabilities_count: match namespaces::in_first_user_namespace() {
                true => Some(true),
                false => namespaces::shared_user(pid),
            },
            user_namespaces: (
                shown(namespaces::inode(pid, namespaces::Namespace::User)),
                shown(namespaces::own_inode(namespaces::Namespace::User)),
            ),
            // The kernel gives the files of a process that may not be dumped to root.
            dumpable: owner_of(&format!("/proc/{pid}/stat")).is_none_or(|owner| owner == theirs.uids[1]),
            lockdown,
            modules: read("/sys/kernel/security/lsm").unwrap_or_else(|| "not known".to_owned()),
            in_container: in_container(),
            errno,
        }
    }
}

fn owner_of(path: &str) -> Option<u32> {
    use std::os::linux::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| metadata.st_uid())
}

fn in_container() -> bool {
    let marked = ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|path| std::path::Path::new(path).exists());
    marked || std::env::var_os("container").is_some() || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn explain(pid: Pid, seen: &Circumstances) -> Refusal {
    let (ours, theirs) = (&seen.ours, &seen.theirs);
    let capable = ours.effective_capabilities & (1 << CAP_SYS_PTRACE) != 0;
    let (user, group) = (ours.uids[0], ours.gids[0]);
    let same_ids = theirs.uids.iter().all(|&uid| uid == user) && theirs.gids.iter().all(|&gid| gid == group);
    let missing = Refusal::MissingCapability {
        pid,
        effective: ours.effective_capabilities,
        in_container: seen.in_container,
    };

    if seen.yama == Some(3) {
        return Refusal::YamaNobody { pid };
    }
    if !capable {
        let is_root = ours.uids[1] == 0;
        // Whatever root lacks here, the capability would give it.
        if is_root && (!same_ids || !seen.dumpable || seen.yama.is_some_and(|scope| scope > 0)) {
            return missing;
        }
        if !same_ids {
            return Refusal::OtherUser {
                pid,
                owner: theirs.uids,
                groups: theirs.gids,
                user,
                group,
            };
        }
        if !seen.dumpable {
            return Refusal::NotDumpable { pid };
        }
        if theirs.permitted_capabilities & !ours.permitted_capabilities != 0 {
            let (theirs, ours) = (theirs.permitted_capabilities, ours.permitted_capabilities);
            return if is_root {
                missing
            } else {
                Refusal::MoreCapable { pid, theirs, ours }
            };
        }
        match seen.yama {
            Some(1) => return Refusal::YamaChildren { pid },
            Some(2) => return Refusal::YamaAdmin { pid },
            _ => {}
        }
    }
    if seen.capabilities_count == Some(false) {
        let (theirs, ours) = seen.user_namespaces.clone();
        return Refusal::UserNamespace { pid, theirs, ours };
    }
    if ours.seccomp != 0 {
        return Refusal::Seccomp {
            pid,
            mode: ours.seccomp,
            in_container: seen.in_container,
        };
    }
    if let Some(mode) = seen.lockdown.clone() {
        return Refusal::Lockdown { pid, mode };
    }
    if ["selinux", "apparmor", "smack", "tomoyo", "landlock"]
        .iter()
        .any(|module| seen.modules.contains(module))
    {
        return Refusal::SecurityModule {
            pid,
            modules: seen.modules.clone(),
        };
    }
    Refusal::Unexplained {
        pid,
        errno: seen.errno.desc().to_owned(),
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
#[path = "permission_tests.rs"]
mod tests;
