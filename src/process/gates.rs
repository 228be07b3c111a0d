//! The kernel's checks on reading another process's memory (`__ptrace_may_access` in kernel/ptrace.c, and the security
//! modules behind it), asked again one by one: the kernel answers all of them with the same "operation not permitted".
//! Knows what stands in the way, not what the kernel said; `permission` tries the real thing.

use super::container::Container;
use super::namespaces;
use super::permission::Refusal;
use super::sight;
use super::{Credentials, ProcessError, credentials};
use crate::model::Pid;
use nix::errno::Errno;
use std::path::Path;

/// Numbers of `linux/capability.h`.
pub const CAP_SYS_PTRACE: u32 = 19;
pub const CAP_SYS_NICE: u32 = 23;
pub const CAP_DAC_OVERRIDE: u32 = 1;
pub const CAP_DAC_READ_SEARCH: u32 = 2;

/// What a file of the kernel's says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<T> {
    This(T),
    /// There is none of it in this kernel, or it is off.
    None,
    /// The file's folder is not to be seen from here.
    Unknown,
}

impl<T> Said<T> {
    /// What it says, where it says something.
    pub fn this(&self) -> Option<&T> {
        match self {
            Said::This(this) => Some(this),
            Said::None | Said::Unknown => None,
        }
    }
}

/// What is known of both sides.
#[derive(Clone, Debug)]
pub struct Circumstances {
    pub ours: Credentials,
    pub theirs: Credentials,
    /// `kernel.yama.ptrace_scope`.
    pub yama: Said<u32>,
    /// Otop's capabilities count in the worker's user namespace; None: not known.
    pub capabilities_count: Option<bool>,
    /// The worker's and otop's, `user:[inode]`; None: it may not be asked.
    pub user_namespaces: (Option<String>, Option<String>),
    /// The worker lets its memory be dumped (`PR_SET_DUMPABLE`).
    pub dumpable: bool,
    /// `integrity` or `confidentiality`.
    pub lockdown: Said<String>,
    /// The active security modules with commas between them.
    pub modules: Said<String>,
    pub container: Option<Container>,
}

/// One of the kernel's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yama where it stops everybody, root too.
    YamaNobody,
    /// The worker's user and group are otop's, or otop has SYS_PTRACE.
    Owner,
    Dumpable,
    /// The worker has no capability that otop lacks.
    Capabilities,
    Yama,
    UserNamespace,
    Seccomp,
    Lockdown,
    SecurityModule,
}

/// In the order in which the first that fails is named.
pub const GATES: [Gate; 9] = [
    Gate::YamaNobody,
    // Where no capability counts, none that otop could be given is what is missing.
    Gate::UserNamespace,
    Gate::Owner,
    Gate::Dumpable,
    Gate::Capabilities,
    Gate::Yama,
    Gate::Seccomp,
    Gate::Lockdown,
    Gate::SecurityModule,
];

impl Gate {
    /// It can only be suspected: that there is a filter or a module does not say that it refuses.
    pub fn is_suspicion(self) -> bool {
        matches!(self, Gate::Seccomp | Gate::Lockdown | Gate::SecurityModule)
    }

    /// SYS_PTRACE opens it.
    fn wants_a_capability(self) -> bool {
        matches!(self, Gate::Owner | Gate::Dumpable | Gate::Capabilities | Gate::Yama)
    }

    /// What mends its refusal there.
    pub fn remedies(self, refusal: &Refusal, pid: Pid, seen: &Circumstances) -> Vec<String> {
        let outside = Gate::UserNamespace.refusal(pid, seen);
        match outside.filter(|_| self.wants_a_capability()) {
            Some(outside) => outside.remedies(),
            None => refusal.remedies(),
        }
    }

    /// How it refuses; None: it passes, or nothing is known against it.
    pub fn refusal(self, pid: Pid, seen: &Circumstances) -> Option<Refusal> {
        let refusal = self.refusal_of_a_user(pid, seen)?;
        let lacks_only_the_capability = self.wants_a_capability() && seen.ours.uids[1] == 0;
        // Whatever root lacks here, the capability would give it.
        Some(if lacks_only_the_capability {
            Refusal::MissingCapability {
                pid,
                effective: seen.ours.effective_capabilities,
                container: seen.container,
            }
        } else {
            refusal
        })
    }

    fn refusal_of_a_user(self, pid: Pid, seen: &Circumstances) -> Option<Refusal> {
        let (ours, theirs) = (&seen.ours, &seen.theirs);
        let (user, group) = (ours.uids[0], ours.gids[0]);
        match self {
            Gate::YamaNobody => (seen.yama == Said::This(3)).then_some(Refusal::YamaNobody { pid }),
            gate if gate.wants_a_capability() && seen.may_ptrace() => None,
            Gate::Owner => {
                let same = theirs.uids.iter().all(|&uid| uid == user) && theirs.gids.iter().all(|&gid| gid == group);
                (!same).then_some(Refusal::OtherUser {
                    pid,
                    owner: theirs.uids,
                    groups: theirs.gids,
                    user,
                    group,
                })
            }
            Gate::Dumpable => (!seen.dumpable).then_some(Refusal::NotDumpable { pid }),
            Gate::Capabilities => {
                let (theirs, ours) = (theirs.permitted_capabilities, ours.permitted_capabilities);
                (theirs & !ours != 0).then_some(Refusal::MoreCapable { pid, theirs, ours })
            }
            Gate::Yama => match seen.yama {
                Said::This(1) => Some(Refusal::YamaChildren { pid }),
                Said::This(2) => Some(Refusal::YamaAdmin { pid }),
                _ => None,
            },
            Gate::UserNamespace => (seen.capabilities_count == Some(false)).then(|| {
                let (theirs, ours) = seen.user_namespaces.clone();
                let shown = |namespace: Option<String>| namespace.unwrap_or_else(|| "unreadable".to_owned());
                Refusal::UserNamespace {
                    pid,
                    theirs: shown(theirs),
                    ours: shown(ours),
                }
            }),
            Gate::Seccomp => (ours.seccomp != 0).then_some(Refusal::Seccomp {
                pid,
                mode: ours.seccomp,
                container: seen.container,
            }),
            Gate::Lockdown => seen.lockdown.this().map(|mode| Refusal::Lockdown {
                pid,
                mode: mode.clone(),
            }),
            Gate::SecurityModule => {
                let known = ["selinux", "apparmor", "smack", "tomoyo", "landlock"];
                let modules = seen.modules.this().cloned().unwrap_or_default();
                let may_refuse = known.iter().any(|module| modules.contains(module));
                may_refuse.then_some(Refusal::SecurityModule { pid, modules })
            }
        }
    }
}

/// The first check that cannot have passed, for a read that the kernel has refused with `errno`.
pub fn explain(pid: Pid, seen: &Circumstances, errno: Errno) -> Refusal {
    let found = GATES.into_iter().find_map(|gate| gate.refusal(pid, seen));
    found.unwrap_or_else(|| Refusal::Unexplained {
        pid,
        errno: errno.desc().to_owned(),
    })
}

impl Circumstances {
    pub fn look(pid: Pid) -> Result<Circumstances, ProcessError> {
        let (ours, theirs) = (credentials(sight::own())?, credentials(pid)?);
        let shown = |inode: Option<u64>| inode.map(|inode| format!("user:[{inode}]"));
        Ok(Circumstances {
            ours,
            theirs,
            yama: yama(),
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
            lockdown: lockdown(),
            modules: modules(),
            container: Container::here(),
        })
    }

    /// Otop has SYS_PTRACE, though perhaps not in the worker's user namespace.
    pub fn may_ptrace(&self) -> bool {
        self.ours.effective_capabilities & (1 << CAP_SYS_PTRACE) != 0
    }
}

/// `kernel.yama.ptrace_scope`.
pub fn yama() -> Said<u32> {
    yama_below(Path::new("/proc/sys/kernel"))
}

fn yama_below(folder: &Path) -> Said<u32> {
    match line_of(&folder.join("yama/ptrace_scope")) {
        Some(scope) => scope.parse().map_or(Said::Unknown, Said::This),
        // Every kernel has this one: without it the folder is not to be seen (`subset=pid`, no /proc).
        None if folder.join("ostype").exists() && !folder.join("yama").exists() => Said::None,
        None => Said::Unknown,
    }
}

/// How far the kernel is locked down.
pub fn lockdown() -> Said<String> {
    lockdown_below(Path::new(SECURITY))
}

fn lockdown_below(folder: &Path) -> Said<String> {
    let Some(text) = line_of(&folder.join("lockdown")) else {
        // The kernel shows this one wherever it shows any.
        return match folder.join("lsm").exists() && !folder.join("lockdown").exists() {
            true => Said::None,
            false => Said::Unknown,
        };
    };
    let mode = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    match mode {
        Some(("none", _)) => Said::None,
        Some((mode, _)) => Said::This(mode.to_owned()),
        None => Said::Unknown,
    }
}

/// The active security modules, `capability,yama,apparmor`.
fn modules() -> Said<String> {
    line_of(&Path::new(SECURITY).join("lsm")).map_or(Said::Unknown, Said::This)
}

/// Where the security modules show themselves, where that is mounted (securityfs).
const SECURITY: &str = "/sys/kernel/security";

fn line_of(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn owner_of(path: &str) -> Option<u32> {
    use std::os::linux::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| metadata.st_uid())
}

#[cfg(test)]
#[path = "gates_tests.rs"]
mod tests;
