//! What decides on this machine, whatever the worker: who otop runs as, what it may, and what the kernel lets it have.
//! Knows nothing of any worker.

use super::finding::Finding;
use crate::cli::error::shell_word;
use crate::cli::wire::{self, NoInterrupts};
use crate::model::Pid;
use crate::process::container::Container;
use crate::process::cpu_group::{CpuGroup, NoRealtime, Quota};
use crate::process::gates::{self, CAP_SYS_NICE, CAP_SYS_PTRACE, Said};
use crate::process::namespaces::{self, Namespace};
use crate::process::permission::Refusal;
use crate::process::privilege;
use crate::process::remedies::{MOUNT_PROC, way_to_own_numbers};
use crate::process::sight::{self, Sight};
use crate::process::{Credentials, cpus_allowed, credentials};
use std::path::Path;

/// The PID namespace that the machine booted with (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

pub fn findings() -> Vec<Finding> {
    let own = sight::own();
    let mut findings = Vec::new();
    match credentials(own) {
        Ok(ours) => findings.extend([runs_as(&ours), capabilities(&ours)]),
        Err(_) => findings.push(Finding::unknown("otop", UNSEEN_SELF)),
    }
    findings.push(place());
    findings.push(sampling(own));
    findings.push(interrupts(
        wire::may_interrupt(),
        nix::unistd::geteuid().is_root(),
        Container::here(),
    ));
    findings.push(quota(&CpuGroup::own(), Container::here()));
    findings
}

const UNSEEN_SELF: &str = "cannot be asked here: /proc/self/status is not to be seen";
pub const UNSEEN_SYSCTL: &str = "cannot be asked here: /proc/sys is not to be seen";
pub const UNSEEN_SECURITY: &str = "cannot be asked here: /sys/kernel/security is not to be seen";

/// What forbids reading whatever the worker; with a worker the same is said of it.
pub fn rules() -> Vec<Finding> {
    let own = sight::own();
    let ours = credentials(own);
    let may_ptrace = ours
        .as_ref()
        .is_ok_and(|ours| ours.effective_capabilities & (1 << CAP_SYS_PTRACE) != 0);
    let filter = ours.ok().map(|ours| ours.seccomp);
    vec![
        yama(gates::yama(), own, may_ptrace),
        seccomp(filter),
        lockdown(gates::lockdown()),
    ]
}

fn yama(said: Said<u32>, own: Pid, may_ptrace: bool) -> Finding {
    match said {
        Said::Unknown => Finding::unknown("yama", UNSEEN_SYSCTL),
        Said::None => Finding::ok("yama", "this kernel has none"),
        Said::This(0) => Finding::ok("yama", "kernel.yama.ptrace_scope is 0"),
        Said::This(scope @ (1 | 2)) if may_ptrace => Finding::ok(
            "yama",
            format!("kernel.yama.ptrace_scope is {scope}, and otop has SYS_PTRACE"),
        ),
        Said::This(scope) => {
            let refusal = match scope {
                1 => Refusal::YamaChildren { pid: own },
                2 => Refusal::YamaAdmin { pid: own },
                _ => Refusal::YamaNobody { pid: own },
            };
            Finding::no("yama", refusal.to_string(), refusal.remedies_for_any())
        }
    }
}

fn seccomp(filter: Option<u32>) -> Finding {
    match filter {
        None => Finding::unknown("seccomp", UNSEEN_SELF),
        Some(0) => Finding::ok("seccomp", "otop is under no filter"),
        Some(mode) => Finding::unknown(
            "seccomp",
            format!("otop is under a filter (mode {mode}); --pid tells whether it lets it read"),
        ),
    }
}

fn lockdown(said: Said<String>) -> Finding {
    match said {
        Said::Unknown => Finding::unknown("lockdown", UNSEEN_SECURITY),
        Said::None => Finding::ok("lockdown", "none"),
        Said::This(mode) => Finding::unknown("lockdown", format!("{mode}; --pid tells whether it lets otop read")),
    }
}

fn runs_as(ours: &Credentials) -> Finding {
    let [_, user, _] = ours.uids;
    let runs_as = privilege::standing();
    let may_ptrace = ours.effective_capabilities & (1 << CAP_SYS_PTRACE) != 0;
    if may_ptrace && privilege::kept_too_much(ours) {
        let filter = if ours.seccomp == 0 {
            ""
        } else {
            ": a seccomp filter forbids capset"
        };
        let ways = (ours.seccomp != 0).then(|| privilege::way_out_of_filter(Container::here()));
        return Finding::limited(
            "otop",
            format!(
                "runs as {runs_as}; what else it was given it could not give up (CapPrm {:016x}){filter}",
                ours.permitted_capabilities
            ),
            ways.into_iter().collect(),
        );
    }
    let fact = match ours.effective_capabilities & (1 << CAP_SYS_PTRACE) {
        0 => format!("runs as {runs_as}: it may read that user's own processes, if Yama lets it"),
        _ => format!("runs as {runs_as}; what else it was given it has given up"),
    };
    let fact = match (std::env::var("SUDO_USER"), user) {
        (Ok(_), 1..) => format!("{fact}, being root too"),
        _ => fact,
    };
    Finding::ok("otop", fact)
}

fn capabilities(ours: &Credentials) -> Finding {
    let has = |number: u32| ours.effective_capabilities & (1 << number) != 0;
    let known = [
        (CAP_SYS_PTRACE, "SYS_PTRACE"),
        (CAP_SYS_NICE, "SYS_NICE"),
        privilege::right_to_files(ours),
    ];
    let names = |wanted: bool| {
        let chosen = known.iter().filter(|(number, _)| has(*number) == wanted);
        chosen.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    };
    let fact = match (names(true), names(false)) {
        (some, none) if none.is_empty() => some,
        (some, none) if some.is_empty() => format!("without {none}"),
        (some, none) => format!("{some}; without {none}"),
    };
    Finding::ok(
        "capabilities",
        format!("{fact} (CapEff {:016x})", ours.effective_capabilities),
    )
}

/// Which processes can be seen from here at all.
fn place() -> Finding {
    let sight = sight::sight();
    match sight {
        Sight::Whole => {}
        Sight::OwnAlone => {
            return Finding::limited("place", sight.told(), vec!["sudo otop …".to_owned()]);
        }
        Sight::Outer | Sight::Foreign => {
            return Finding::no(
                "place",
                format!("{}: one number means two processes", sight.told()),
                vec![way_to_own_numbers(sight, " …")],
            );
        }
        Sight::NotMounted => return Finding::no("place", sight.told(), vec![MOUNT_PROC.to_owned()]),
    }
    let whole_machine = namespaces::own_inode(Namespace::Pid) == Some(FIRST_PID_NAMESPACE);
    match (Container::here(), whole_machine) {
        (None, true) => Finding::ok(
            "place",
            "otop sees all processes of this machine, those in containers too",
        ),
        (Some(container), true) => Finding::ok(
            "place",
            format!("otop runs in {}, with the PIDs of the whole machine", container.name()),
        ),
        (container, false) => {
            let name = container.map_or("a PID namespace of its own", Container::name);
            Finding::ok(
                "place",
                format!("otop runs in {name}, and sees the processes of that alone"),
            )
        }
    }
}

/// Which rates can be kept.
fn sampling(own: Pid) -> Finding {
    scheduling(&Scheduling {
        is_realtime: wire::reach(None).realtime,
        may_nice: credentials(own).is_ok_and(|ours| ours.effective_capabilities & (1 << CAP_SYS_NICE) != 0),
        is_root: nix::unistd::geteuid().is_root(),
        root_may_nice: privilege::root_may_nice(),
        is_outermost: namespaces::in_first_user_namespace(),
        refused_by: CpuGroup::own().no_realtime(),
        container: Container::here(),
        cpus: cpus_allowed(own),
    })
}

/// What decides whether otop gets the real-time class.
struct Scheduling {
    is_realtime: bool,
    may_nice: bool,
    is_root: bool,
    /// Root may have SYS_NICE here.
    root_may_nice: bool,
    /// Otop is in the user namespace in which alone SYS_NICE gives it.
    is_outermost: bool,
    refused_by: Option<NoRealtime>,
    container: Option<Container>,
    cpus: Option<String>,
}

/// Microseconds of each second: more than the sampler takes at 1 kHz.
const REALTIME_SHARE: u32 = 200_000;

fn scheduling(seen: &Scheduling) -> Finding {
    let cpus = seen.cpus.as_ref();
    let cpus = cpus.map_or(String::new(), |cpus| format!("; otop may use CPU {cpus}"));
    if seen.is_realtime {
        return Finding::ok(
            "scheduling",
            format!("the sampler gets the real-time class, and wakes in time on a busy CPU too{cpus}"),
        );
    }
    let nice = match seen.may_nice {
        true => "",
        false => " --cap-add SYS_NICE",
    };
    let outside = match seen.container {
        Some(_) => "sudo otop … on the host",
        None => "sudo otop … from a shell outside of this user namespace",
    };
    let (why, mend) = match (&seen.refused_by, seen.container) {
        (Some(group), container) => {
            let besides = if seen.may_nice {
                ""
            } else {
                ", and otop has no SYS_NICE"
            };
            let why = format!("{} is 0{besides}", group.file.display());
            let mend = match container {
                Some(container) if group.outside.is_none() => match container {
                    // No field of a pod's has it.
                    Container::Kubernetes => vec![outside.to_owned()],
                    _ => vec![
                        format!("{} run{nice} --cpu-rt-runtime {REALTIME_SHARE} …", container.runtime()),
                        outside.to_owned(),
                    ],
                },
                _ => by_hand(&group.file, &REALTIME_SHARE.to_string(), group.outside.as_deref()),
            };
            (why, mend)
        }
        (None, _) if seen.may_nice && !seen.is_outermost => (
            "SYS_NICE counts only in the machine's first user namespace, and otop is in another".to_owned(),
            vec![outside.to_owned()],
        ),
        (None, container) if seen.may_nice => (
            "though otop has SYS_NICE: a seccomp filter, or the group's share where the kernel has RT_GROUP_SCHED"
                .to_owned(),
            container.map(|_| outside.to_owned()).into_iter().collect(),
        ),
        (None, container) => (
            "SYS_NICE or RLIMIT_RTPRIO".to_owned(),
            match container {
                // What is added to a container reaches its root alone.
                Some(container) if !seen.is_root && container.is_a_runtimes() => {
                    container.ways_to_be_root(seen.root_may_nice, "SYS_NICE", " …")
                }
                Some(Container::Kubernetes) => {
                    vec!["securityContext: {capabilities: {add: [SYS_NICE]}} in the container's spec".to_owned()]
                }
                Some(container) => vec![format!("{} run --cap-add SYS_NICE …", container.runtime())],
                None => vec!["sudo otop …".to_owned()],
            },
        ),
    };
    Finding::limited(
        "scheduling",
        format!("the sampler gets no real-time class ({why}), and loses ticks on a busy CPU{cpus}"),
        mend,
    )
}

/// How stacks are read, which is what otop costs the worker itself.
fn interrupts(tried: Result<(), NoInterrupts>, is_root: bool, container: Option<Container>) -> Finding {
    const NAME: &str = "interrupts";
    let Err(refusal) = tried else {
        return Finding::ok(
            NAME,
            "a BPF program may copy stacks, which takes some microseconds of the worker's CPU each",
        );
    };
    let fact = format!(
        "no BPF program may copy stacks ({refusal}): otop reads them from the worker's CPU, some tens of µs each"
    );
    let on_host = || vec!["sudo otop … on the host".to_owned()];
    let ways = match (refusal, container) {
        // Also with the capabilities: what runs on a CPU is told by the numbers of the whole machine.
        (NoInterrupts::Namespace, _) => on_host(),
        (NoInterrupts::NotPermitted, None) if !is_root => vec!["sudo otop …".to_owned()],
        // What is added to a container reaches its root alone.
        (NoInterrupts::NotPermitted, Some(_)) if !is_root => on_host(),
        (NoInterrupts::NotPermitted, Some(container)) => container
            .ways_to(&["BPF", "PERFMON"], " …")
            .into_iter()
            .take(1)
            .chain(on_host())
            .collect(),
        (NoInterrupts::NotPermitted | NoInterrupts::NotSupported | NoInterrupts::Layout, _) => Vec::new(),
    };
    Finding::limited(NAME, fact, ways)
}

/// What otop uses at its defaults is some hundredths of a CPU; below this there is no room for an attach and a walk.
const ENOUGH_CPUS: f64 = 0.25;

fn quota(group: &CpuGroup, container: Option<Container>) -> Finding {
    const NAME: &str = "cpu quota";
    match group.quota() {
        None if !group.is_known() => Finding::unknown(NAME, "otop's control group cannot be found here"),
        None => Finding::ok(NAME, "none"),
        Some(quota) if quota.cpus >= ENOUGH_CPUS => Finding::ok(NAME, quota_words(&quota)),
        Some(quota) => Finding::limited(
            NAME,
            format!("{}; where that is used up otop loses ticks", quota_words(&quota)),
            out_of_quota(&quota, container),
        ),
    }
}

pub fn quota_words(quota: &Quota) -> String {
    format!(
        "otop's control group may use {:.2} CPUs ({}: {})",
        quota.cpus,
        quota.file.display(),
        quota.text
    )
}

/// What gives otop more than its group has, the easiest first.
pub fn out_of_quota(quota: &Quota, container: Option<Container>) -> Vec<String> {
    // A group below the container's own is none of its runtime's.
    match container.filter(|_| quota.outside.is_none()) {
        Some(Container::Kubernetes) => vec!["resources: {limits: {cpu: 1}} in the container's spec".to_owned()],
        // It changes one that runs.
        Some(container) => vec![format!("{} update --cpus 1 CONTAINER", container.runtime())],
        None => by_hand(&quota.file, quota.none, quota.outside.as_deref()),
    }
}

/// Where no runtime keeps the group, or it lies below the one that it keeps: to run otop in the uppermost one, or to write another word to the file.
fn by_hand(file: &Path, word: &str, outside: Option<&Path>) -> Vec<String> {
    let moved = outside.map(|members| format!("sudo sh -c 'echo $$ > {} && exec otop …'", members.display()));
    let written = format!("echo {word} | sudo tee {}", shell_word(&file.display().to_string()));
    moved.into_iter().chain([written]).collect()
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
