//! What mends a refusal, as a command that one would type, by who is told it and where. Knows nothing of how a refusal is
//! found.

use super::container::Container;
use super::permission::Refusal;
use super::privilege;
use super::sight::Sight;

impl Refusal {
    /// The one command that mends it, as one would type it; None: none is known.
    pub fn remedy(&self) -> Option<String> {
        self.remedies().into_iter().next()
    }

    /// All the ways to mend it, the first one the one to try first.
    pub fn remedies(&self) -> Vec<String> {
        self.remedies_for(&Standing::here(), &format!(" --pid {}", self.pid()))
    }

    /// The same where no process was named, and others may be refused like this one.
    pub fn remedies_for_any(&self) -> Vec<String> {
        self.remedies_for(&Standing::here(), "")
    }

    /// `whom`: otop's arguments that name the process, behind a blank.
    fn remedies_for(&self, standing: &Standing, whom: &str) -> Vec<String> {
        let sudo = || format!("sudo otop{whom}");
        if let Some(ways) = standing.ways_to_root(self, whom) {
            return ways;
        }
        match self {
            Refusal::MissingCapability {
                container: Some(container),
                ..
            }
            | Refusal::Seccomp {
                container: Some(container),
                ..
            } => container.ways_to(&["SYS_PTRACE"], whom),
            Refusal::MissingCapability { .. } => vec![format!("sudo capsh -- -c 'otop{whom}'")],
            Refusal::FilesOfAnother {
                container: Some(container),
                ..
            } => container.ways_to(&["SYS_PTRACE", "DAC_READ_SEARCH"], whom),
            // Root without it was born so: neither sudo nor a file's capabilities go over the bounding set.
            Refusal::FilesOfAnother { .. } if standing.is_root => {
                vec![format!(
                    "sudo otop{whom} from a shell that may have it (CapBnd in /proc/self/status)"
                )]
            }
            Refusal::FilesOfAnother { .. } => vec![SETCAP_FOR_ALL.to_owned(), sudo()],
            Refusal::YamaChildren { .. } => vec![
                "sudo sysctl kernel.yama.ptrace_scope=0".to_owned(),
                sudo(),
                SETCAP.to_owned(),
            ],
            Refusal::YamaAdmin { .. } => vec![sudo(), SETCAP.to_owned()],
            Refusal::YamaNobody { .. } => {
                vec!["sudo reboot, with kernel.yama.ptrace_scope=1 in /etc/sysctl.d".to_owned()]
            }
            Refusal::UserNamespace { .. } if whom.is_empty() => vec!["sudo otop on the host".to_owned()],
            Refusal::UserNamespace { .. } => {
                vec![format!("sudo otop{whom} on the host, with the PID that it has there")]
            }
            Refusal::Seccomp { .. } => vec![format!("sudo otop{whom} from a shell outside the filter")],
            Refusal::Lockdown { .. } => vec!["sudo reboot, with lockdown=none on the kernel's command line".to_owned()],
            Refusal::SecurityModule { .. } => vec!["sudo journalctl -k -g 'apparmor|avc|ptrace'".to_owned()],
            Refusal::OtherNumbers { sight, .. } => vec![way_to_own_numbers(*sight, whom)],
            Refusal::NoProc { .. } => vec![MOUNT_PROC.to_owned()],
            // To become root is no way for root.
            Refusal::Unexplained { .. } if standing.is_root => {
                vec!["journalctl -k -g 'apparmor|avc|ptrace'".to_owned()]
            }
            Refusal::OtherUser { .. }
            | Refusal::NotDumpable { .. }
            | Refusal::MoreCapable { .. }
            | Refusal::Hidden { .. }
            | Refusal::Unexplained { .. } => vec![sudo()],
        }
    }
}

/// Who is told how to mend it, and where.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// It runs as root, or did.
    is_root: bool,
    container: Option<Container>,
    /// Root may have SYS_PTRACE here.
    root_may_ptrace: bool,
}

impl Standing {
    fn here() -> Standing {
        Standing {
            is_root: nix::unistd::geteuid().is_root() || privilege::became().is_some(),
            container: Container::here(),
            root_may_ptrace: privilege::root_may_ptrace(),
        }
    }

    /// For who is not root in a container of a runtime's: its images have no `sudo`, and root there is given SYS_PTRACE by
    /// the runtime alone. None: this is not that place, or no matter of rights.
    fn ways_to_root(&self, refusal: &Refusal, whom: &str) -> Option<Vec<String>> {
        let container = self
            .container
            .filter(|container| !self.is_root && container.is_a_runtimes())?;
        let as_root = container.ways_to_be_root(self.root_may_ptrace, "SYS_PTRACE", whom);
        match refusal {
            // Where nothing else forbids it, the worker's own user needs no capability.
            Refusal::OtherUser {
                owner: [real, effective, saved],
                groups: [group, group_in_force, group_kept],
                ..
            } if !self.root_may_ptrace
                && real == effective
                && real == saved
                && group == group_in_force
                && group == group_kept =>
            {
                let as_owner = container.way_to_be(&format!("{real}:{group}"), whom);
                Some(as_owner.into_iter().chain(as_root).collect())
            }
            Refusal::OtherUser { .. }
            | Refusal::NotDumpable { .. }
            | Refusal::MoreCapable { .. }
            | Refusal::FilesOfAnother { .. }
            | Refusal::YamaChildren { .. }
            | Refusal::YamaAdmin { .. } => Some(as_root),
            _ => None,
        }
    }
}

/// Lets whoever may run this file read the processes of every user: README says what that means.
const SETCAP: &str = "sudo setcap cap_sys_ptrace+ep \"$(command -v otop)\"";

/// The same for the processes of other users, whose files in /proc are closed even to SYS_PTRACE.
const SETCAP_FOR_ALL: &str = "sudo setcap cap_sys_ptrace,cap_dac_read_search+ep \"$(command -v otop)\"";

pub const MOUNT_PROC: &str = "sudo mount -t proc proc /proc";

/// Where `/proc` and the kernel mean the same process. Into a namespace below one may go, into one above nobody may
/// (`pidns_install` in kernel/pid_namespace.c).
pub fn way_to_own_numbers(sight: Sight, arguments: &str) -> String {
    match sight {
        Sight::Foreign => format!("sudo nsenter --pid=/proc/1/ns/pid otop{arguments}"),
        _ => format!("sudo otop{arguments} from a shell outside of this PID namespace"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pid;

    const PID: Pid = Pid(77);
    const HOST: Standing = Standing {
        is_root: false,
        container: None,
        root_may_ptrace: true,
    };
    const ROOT: Standing = Standing { is_root: true, ..HOST };

    fn first(refusal: &Refusal, standing: Standing) -> String {
        let ways = refusal.remedies_for(&standing, " --pid 77");
        ways.into_iter().next().expect("there is a way")
    }

    #[test]
    fn every_cause_has_a_command_of_its_own_kind() {
        assert_eq!(first(&Refusal::NotDumpable { pid: PID }, HOST), "sudo otop --pid 77");
        assert_eq!(
            first(&Refusal::YamaChildren { pid: PID }, HOST),
            "sudo sysctl kernel.yama.ptrace_scope=0"
        );
        let in_container = Refusal::MissingCapability {
            pid: PID,
            effective: 0,
            container: Some(Container::Docker),
        };
        assert!(first(&in_container, ROOT).starts_with("docker run --cap-add SYS_PTRACE"));
        let unexplained = Refusal::Unexplained {
            pid: PID,
            errno: "no".to_owned(),
        };
        assert_eq!(first(&unexplained, HOST), "sudo otop --pid 77");
        assert!(!first(&unexplained, ROOT).contains("sudo"));
    }

    /// A file with capabilities that go over the bounding set cannot even be executed, and sudo goes over it no more.
    #[test]
    fn closed_files_are_opened_by_the_container_or_a_shell_that_may() {
        let files = |container| Refusal::FilesOfAnother {
            pid: PID,
            owner: 1000,
            container,
        };
        assert_eq!(
            first(&files(Some(Container::Docker)), ROOT),
            "docker run --cap-add SYS_PTRACE --cap-add DAC_READ_SEARCH …"
        );
        assert!(first(&files(None), ROOT).contains("CapBnd"));
        assert!(first(&files(None), HOST).starts_with("sudo setcap"));
    }

    /// Images have no sudo, and their root has no SYS_PTRACE but by the runtime.
    #[test]
    fn who_is_not_root_in_a_container_is_led_to_who_may() {
        let other = Refusal::OtherUser {
            pid: PID,
            owner: [33; 3],
            groups: [34; 3],
            user: 1000,
            group: 1000,
        };
        let within = |container, root_may_ptrace| Standing {
            container: Some(container),
            root_may_ptrace,
            ..HOST
        };
        let all = [
            other.clone(),
            Refusal::NotDumpable { pid: PID },
            Refusal::MoreCapable {
                pid: PID,
                theirs: 1,
                ours: 0,
            },
            Refusal::YamaChildren { pid: PID },
            Refusal::YamaAdmin { pid: PID },
            Refusal::FilesOfAnother {
                pid: PID,
                owner: 33,
                container: Some(Container::Docker),
            },
        ];
        for refusal in &all {
            assert_eq!(
                first(refusal, within(Container::Docker, true)),
                "docker exec -it -u 0 CONTAINER otop --pid 77"
            );
            assert!(first(refusal, within(Container::Kubernetes, false)).starts_with("kubectl debug"));
            assert!(!first(refusal, within(Container::Other, false)).contains("exec"));
        }
        for refusal in &all[1..] {
            let way = first(refusal, within(Container::Podman, false));
            assert!(
                way.starts_with("podman run") && way.contains("-u 0") && way.contains("--cap-add SYS_PTRACE"),
                "{way}"
            );
        }
        assert_eq!(
            first(&other, within(Container::Docker, false)),
            "docker exec -it -u 33:34 CONTAINER otop --pid 77"
        );
    }

    #[test]
    fn where_no_process_was_named_none_is() {
        let outside = Refusal::UserNamespace {
            pid: PID,
            theirs: "a".to_owned(),
            ours: "b".to_owned(),
        };
        for refusal in [
            Refusal::NotDumpable { pid: PID },
            outside,
            Refusal::YamaAdmin { pid: PID },
        ] {
            let ways = refusal.remedies_for(&HOST, "").concat();
            assert!(
                ways.contains("sudo otop") && !ways.to_lowercase().contains("pid"),
                "{ways}"
            );
        }
    }
}
