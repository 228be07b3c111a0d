//! What decides on this machine, whatever the worker: who otop runs as, what it may, and what the kernel lets it have.
//! Knows nothing of any worker.

use super::finding::Finding;
use crate::cli::wire;
use crate::model::Pid;
use crate::process::container::Container;
use crate::process::gates::{self, CAP_DAC_READ_SEARCH, CAP_SYS_NICE, CAP_SYS_PTRACE};
use crate::process::namespaces::{self, Namespace};
use crate::process::permission::{MOUNT_PROC, Refusal, way_to_own_numbers};
use crate::process::privilege;
use crate::process::sight::{self, Sight};
use crate::process::{Credentials, cpus_allowed, credentials};

/// The PID namespace that the machine booted with (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

pub fn findings() -> Vec<Finding> {
    let own = sight::own();
    let mut findings = Vec::new();
    match credentials(own) {
        Ok(ours) => findings.extend([runs_as(&ours), capabilities(&ours)]),
        Err(error) => findings.push(Finding::unknown("otop", error.to_string())),
    }
    findings.push(place());
    findings.push(sampling(own));
    findings
}

/// What forbids reading whatever the worker; with a worker the same is said of it.
pub fn rules() -> Vec<Finding> {
    let own = sight::own();
    let may_ptrace = credentials(own).is_ok_and(|ours| ours.effective_capabilities & (1 << CAP_SYS_PTRACE) != 0);
    let yama = match gates::yama() {
        None => Finding::ok("yama", "this kernel has none"),
        Some(0) => Finding::ok("yama", "kernel.yama.ptrace_scope is 0"),
        Some(scope @ (1 | 2)) if may_ptrace => Finding::ok(
            "yama",
            format!("kernel.yama.ptrace_scope is {scope}, and otop has SYS_PTRACE"),
        ),
        Some(scope) => {
            let refusal = match scope {
                1 => Refusal::YamaChildren { pid: own },
                2 => Refusal::YamaAdmin { pid: own },
                _ => Refusal::YamaNobody { pid: own },
            };
            let ways = refusal.remedies().into_iter();
            let ways = ways.map(|way| way.replace(&format!(" --pid {own}"), ""));
            Finding::no("yama", refusal.to_string(), ways.collect())
        }
    };
    let filter = credentials(own).map_or(0, |ours| ours.seccomp);
    let seccomp = match filter {
        0 => Finding::ok("seccomp", "otop is under no filter"),
        mode => Finding::unknown(
            "seccomp",
            format!("otop is under a filter (mode {mode}); --pid tells whether it lets it read"),
        ),
    };
    let lockdown = match gates::lockdown() {
        None => Finding::ok("lockdown", "none"),
        Some(mode) => Finding::unknown("lockdown", format!("{mode}; --pid tells whether it lets otop read")),
    };
    vec![yama, seccomp, lockdown]
}

fn runs_as(ours: &Credentials) -> Finding {
    let [_, user, _] = ours.uids;
    let runs_as = privilege::standing();
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
        (CAP_DAC_READ_SEARCH, "DAC_READ_SEARCH"),
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
    let cpus = cpus_allowed(own).map_or(String::new(), |cpus| format!("; otop may use CPU {cpus}"));
    if wire::reach(None).realtime {
        return Finding::ok(
            "scheduling",
            format!("the sampler gets the real-time class, and wakes in time on a busy CPU too{cpus}"),
        );
    }
    let mut mend = vec!["sudo otop …".to_owned()];
    match Container::here() {
        Some(Container::Kubernetes) => {
            mend = vec!["securityContext: {capabilities: {add: [SYS_NICE]}} in the container's spec".to_owned()];
        }
        Some(_) => mend = vec!["docker run --cap-add SYS_NICE …".to_owned()],
        None => {}
    }
    Finding::limited(
        "scheduling",
        format!("the sampler gets no real-time class (SYS_NICE or RLIMIT_RTPRIO), and loses ticks on a busy CPU{cpus}"),
        mend,
    )
}
