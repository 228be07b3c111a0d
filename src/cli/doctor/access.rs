//! Whether the worker's memory may be read: each of the kernel's checks with what is known of both sides, and then the real
//! thing. Knows nothing of what is in the memory.

use super::failed;
use super::finding::Finding;
use super::machine::{UNSEEN_SECURITY, UNSEEN_SYSCTL};
use crate::cli::error::CliError;
use crate::model::Pid;
use crate::process::gates::{Circumstances, Gate, Said};
use crate::process::namespaces::{self, Namespace};
use crate::process::permission::{self, Access};
use crate::process::{Freezer, State, comm, command_line, masked, state};
use crate::source::error::AttachError;

/// The process as a person knows it.
pub fn what_it_is(pid: Pid) -> Finding {
    // What the doctor says is pasted into tickets.
    let command = masked(&command_line(pid).unwrap_or_default());
    let name = match command.trim() {
        "" => comm(pid).unwrap_or_default(),
        command => command.chars().take(200).collect(),
    };
    let freezer = Freezer::of(pid);
    match state(pid) {
        Ok(state) if freezer.holds(state) => Finding::limited(
            "process",
            format!("{name} (frozen with its control group: nothing in it moves)"),
            freezer.thaw(),
        ),
        Ok(State::Stopped | State::Traced) => Finding::limited(
            "process",
            format!("{name} (stopped: nothing in it moves)"),
            vec![format!("kill -CONT {pid}")],
        ),
        _ => Finding::ok("process", name),
    }
}

/// The kernel's checks, and what it says itself.
pub fn gates(pid: Pid, findings: &mut Vec<Finding>) {
    let answer = permission::check(pid);
    match Circumstances::look(pid) {
        Ok(seen) => findings.extend(NAMES.map(|(name, gates)| gate(pid, name, gates, &seen, answer.is_ok()))),
        Err(error) => findings.push(Finding::unknown("user", error.to_string())),
    }
    findings.extend([pid_namespace(pid), mount_namespace(pid)]);
    findings.push(match answer {
        Ok(Access::Nothing) => Finding::unknown("memory", "there is none that could be read: it maps no file"),
        Ok(Access::Scattered) => Finding::ok("memory", "may be read (one byte was)"),
        Ok(Access::File) => Finding::limited(
            "memory",
            "may be read by /proc/PID/mem alone, for a filter forbids process_vm_readv: ticks cost more",
            vec!["docker run --security-opt seccomp=unconfined …".to_owned()],
        ),
        Err(error) => failed("memory", &CliError::from(AttachError::from(error))),
    });
}

const NAMES: [(&str, &[Gate]); 8] = [
    ("user", &[Gate::Owner]),
    ("dumpable", &[Gate::Dumpable]),
    ("worker's capabilities", &[Gate::Capabilities]),
    ("yama", &[Gate::YamaNobody, Gate::Yama]),
    ("user namespace", &[Gate::UserNamespace]),
    ("seccomp", &[Gate::Seccomp]),
    ("lockdown", &[Gate::Lockdown]),
    ("security module", &[Gate::SecurityModule]),
];

/// `may_read`: the kernel lets otop read, so nothing stands in the way, whatever is suspected.
fn gate(pid: Pid, name: &'static str, gates: &[Gate], seen: &Circumstances, may_read: bool) -> Finding {
    let refusal = gates.iter().find_map(|gate| Some((gate, gate.refusal(pid, seen)?)));
    match refusal {
        Some((gate, refusal)) if !may_read && gate.is_suspicion() => {
            Finding::unknown(name, format!("it may be that {refusal}"))
        }
        Some((gate, refusal)) if !may_read => {
            Finding::no(name, refusal.to_string(), gate.remedies(&refusal, pid, seen))
        }
        _ => match fact(name, seen) {
            Ok(fact) => Finding::ok(name, fact),
            Err(why) if may_read => Finding::ok(name, format!("{why}; it lets otop read")),
            Err(why) => Finding::unknown(name, why),
        },
    }
}

/// What is so where nothing is wrong; the error says that it cannot be learned here.
fn fact(name: &str, seen: &Circumstances) -> Result<String, String> {
    let by_right = if seen.may_ptrace() {
        ", and otop has SYS_PTRACE"
    } else {
        ""
    };
    Ok(match name {
        "user" => {
            let [_, theirs, _] = seen.theirs.uids;
            let [_, ours, _] = seen.ours.uids;
            match theirs == ours {
                true => format!("the worker's user {theirs} is otop's{by_right}"),
                false => format!("the worker is user {theirs}'s{by_right}"),
            }
        }
        "dumpable" if seen.dumpable => "the worker lets itself be read".to_owned(),
        "dumpable" => format!("the worker has forbidden core dumps{by_right}"),
        "worker's capabilities" => match seen.theirs.permitted_capabilities {
            0 => "it has none".to_owned(),
            some => format!("CapPrm {some:016x}{by_right}"),
        },
        "yama" => match seen.yama {
            Said::None => "this kernel has none".to_owned(),
            Said::This(scope) => format!("kernel.yama.ptrace_scope is {scope}{by_right}"),
            Said::Unknown => return Err(UNSEEN_SYSCTL.to_owned()),
        },
        "user namespace" => match &seen.user_namespaces {
            (Some(theirs), Some(ours)) if theirs == ours => format!("the same as otop's, {ours}"),
            (Some(theirs), Some(ours)) => format!("{theirs}, and otop's is {ours}"),
            (None, Some(ours)) => return Err(format!("may not be asked; otop's is {ours}")),
            (_, None) => return Err("may not be asked".to_owned()),
        },
        "seccomp" => match seen.ours.seccomp {
            0 => "otop is under no filter".to_owned(),
            mode => format!(
                "otop is under a filter (mode {mode}) that lets it read; --pause tells whether it may trace too"
            ),
        },
        "lockdown" => match &seen.lockdown {
            Said::None => "none".to_owned(),
            Said::This(mode) => mode.clone(),
            Said::Unknown => return Err(UNSEEN_SECURITY.to_owned()),
        },
        _ => match &seen.modules {
            Said::This(modules) => modules.clone(),
            Said::None | Said::Unknown => return Err(UNSEEN_SECURITY.to_owned()),
        },
    })
}

fn pid_namespace(pid: Pid) -> Finding {
    const NAME: &str = "pid namespace";
    match namespaces::numbers(pid).as_slice() {
        // Its number in a /proc that is not of otop's own namespace.
        [_] if namespaces::shared(pid, Namespace::Pid) == Some(false) => {
            Finding::unknown(NAME, "another than otop's, and that of /proc")
        }
        [_] => Finding::ok(NAME, "the same as otop's"),
        [.., inside] => Finding::ok(NAME, format!("its own, where it is process {inside}")),
        [] => Finding::unknown(NAME, "the kernel does not say"),
    }
}

fn mount_namespace(pid: Pid) -> Finding {
    const NAME: &str = "mount namespace";
    let root = std::fs::read_link(format!("/proc/{pid}/root")).ok();
    let chroot = root.filter(|root| root.as_os_str() != "/");
    let through = format!("its files are opened through /proc/{pid}/root");
    match (namespaces::shared(pid, Namespace::Mount), chroot) {
        (Some(true), None) => Finding::ok(NAME, "the same as otop's"),
        (Some(true), Some(root)) => Finding::ok(
            NAME,
            format!("the same, with {} as its root; {through}", root.display()),
        ),
        (Some(false), _) => Finding::ok(NAME, format!("its own; {through}")),
        (None, _) => Finding::unknown(NAME, "may not be asked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn credentials_of_a_command_line_are_not_said() {
        let mut shell = Command::new("sh")
            .args(["-c", "echo up; read line", "worker", "--api-token", "hunter2"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        // Until its own exec it is a copy of this program.
        let stdout = shell.stdout.as_mut().expect("piped");
        stdout.read_exact(&mut [0; 2]).expect("it says that it is up");
        let finding = what_it_is(Pid(i32::try_from(shell.id()).expect("a pid fits")));
        drop(shell.stdin.take());
        shell.wait().expect("waited");
        let text = format!("{finding:?}");
        assert!(
            text.contains("worker --api-token ***") && !text.contains("hunter2"),
            "{text}"
        );
    }
    #[test]
    fn what_cannot_be_learned_is_not_said_to_be_well() {
        let own = Pid(i32::try_from(std::process::id()).expect("a pid fits"));
        let mut seen = Circumstances::look(own).expect("this process");
        seen.ours.uids = [1000; 3];
        seen.yama = Said::Unknown;
        seen.lockdown = Said::Unknown;
        seen.modules = Said::Unknown;
        seen.user_namespaces.0 = None;
        seen.capabilities_count = None;
        for (name, gates) in NAMES {
            if matches!(name, "yama" | "user namespace" | "lockdown" | "security module") {
                let refused = gate(own, name, gates, &seen, false);
                assert_eq!(
                    (refused.verdict, refused.mend.len()),
                    (Verdict::Unknown, 0),
                    "{refused:?}"
                );
                // That it let otop read is known then.
                let read = gate(own, name, gates, &seen, true);
                assert_eq!(read.verdict, Verdict::Ok, "{read:?}");
                assert!(read.fact.ends_with("it lets otop read"), "{read:?}");
            }
        }
    }
}
