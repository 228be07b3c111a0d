//! What otop gives up, what it keeps, and that what it keeps is enough: also for a thread of another user's worker that
//! was born after the attach.

use crate::support::{FROM, OTOP, Target, any_python, pythons, skip};
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Numbers of `linux/capability.h`.
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;

/// `otop --json`, started by root in the name of somebody. Dropped: killed.
struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    fn on(target: &Target, sudo_user: Option<&str>) -> Started {
        let mut command = Command::new(OTOP);
        command
            .args(["--json", "--window", "300ms", "--pid", &target.pid.to_string()])
            .args(FROM);
        command.env_remove("SUDO_UID").env_remove("SUDO_GID");
        if let Some(user) = sudo_user {
            command.envs([("SUDO_UID", user), ("SUDO_GID", user)]);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("otop is built with its tests");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Started { child, lines }
    }

    fn next(&mut self) -> Value {
        let line = self.lines.next().expect("otop goes on").expect("UTF-8");
        serde_json::from_str(&line).expect("a document")
    }

    /// Name, user, and permitted capabilities of each of its threads.
    fn threads(&self) -> Vec<(String, u32, u64)> {
        let folder = format!("/proc/{}/task", self.child.id());
        let threads = std::fs::read_dir(folder).expect("it runs").filter_map(Result::ok);
        threads
            .map(|thread| {
                let status = std::fs::read_to_string(thread.path().join("status")).expect("it runs");
                let field = |name: &str| {
                    let line = status.lines().find(|line| line.starts_with(name)).expect(name);
                    line.split_whitespace().nth(1).expect("a value").to_owned()
                };
                let permitted = u64::from_str_radix(&field("CapPrm:"), 16).expect("hex");
                (field("Name:"), field("Uid:").parse().expect("a number"), permitted)
            })
            .collect()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn root_is_given_up_for_who_called_and_what_is_kept_is_enough() {
    let Some(python) = any_python() else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("giving up root: this is not root");
    }
    for (sudo_user, user) in [
        (Some("65534"), 65534),
        (None, 0),
        (Some("0"), 0),
        (Some("-1"), 0),
        (Some("x"), 0),
    ] {
        let mut target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
        let mut otop = Started::on(&target, sudo_user);
        otop.next();
        let threads = otop.threads();
        assert!(threads.len() >= 3, "{threads:?}");
        for (name, runs_as, permitted) in &threads {
            assert_eq!(*runs_as, user, "{sudo_user:?}: {threads:?}");
            assert_eq!(
                *permitted,
                SYS_PTRACE | DAC_READ_SEARCH,
                "{sudo_user:?}: {name} of {threads:?}"
            );
        }
        // The threads of these came after: their files are opened by what was kept. What a thread does in the kernel is
        // told to the owner of its files alone.
        let sid = target.alive().keys().next().expect("a session").clone();
        target.tell(&["block", &sid, "400", "sleep", "main"]);
        let block = loop {
            let document = otop.next();
            let blocks = document["blocks"].as_array().cloned().unwrap_or_default();
            let ended = blocks.into_iter().find(|block| block["ongoing"] == false);
            if let Some(block) = ended {
                break block;
            }
        };
        assert_eq!(
            (&block["session_id"], &block["cause"]),
            (&Value::from(sid), &Value::from("syscall")),
            "{block}"
        );
        assert!(
            block["syscall"]
                .as_str()
                .is_some_and(|name| name.contains("nanosleep") || name.contains("select")),
            "{block}"
        );
    }
}

/// Without SYS_PTRACE the kernel compares capabilities, and each one given up could be the one that counts: a root that is
/// as poor as its worker still reads it.
#[test]
fn a_root_without_the_right_reads_what_has_no_more_than_itself() {
    // One that needs no chroot, for which the poor have no right either.
    let Some(python) = pythons().iter().find(|python| python.command().len() == 1) else {
        return skip("root without SYS_PTRACE: no Python in this root");
    };
    if !nix::unistd::geteuid().is_root() {
        return skip("root without SYS_PTRACE: this is not root");
    }
    // The target is this test's child and has its capabilities: those of both are taken away first.
    const POOR: &str = "-sys_ptrace,-sys_admin";
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/sessions.py");
    let mut worker = Command::new("setpriv")
        .args(["--bounding-set", POOR, "--inh-caps", "-all"])
        .args(python.command())
        .args([script, "--control", "--sessions", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("setpriv");
    let mut said = BufReader::new(worker.stdout.take().expect("piped")).lines();
    let started = said.any(|line| line.is_ok_and(|line| line.contains("\"started\"")));
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", POOR, "--inh-caps", "-all", OTOP]);
    command
        .args([
            "--once",
            "--json",
            "--window",
            "300ms",
            "--pid",
            &worker.id().to_string(),
        ])
        .args(FROM);
    let ran = crate::support::run_command(&mut command);
    let _ = worker.kill();
    let _ = worker.wait();
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if !matches!(yama.trim(), "" | "0") {
        return skip("root without SYS_PTRACE: Yama forbids it");
    }
    assert!(started);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("call-0000"), "{ran:?}");
}

/// What Docker gives a container's root, with SYS_PTRACE added: no right to read all files, but the one over them. Also of
/// one whom `sudo` was called by there, whose user may not open what is root's.
#[test]
fn a_containers_root_with_the_one_capability_reads_what_the_kernel_lets_it() {
    const DOCKER: &str = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,\
                          +net_raw,+sys_chroot,+mknod,+audit_write,+setfcap,+sys_ptrace";
    let Some(python) = any_python() else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("a container's root: this is not root");
    }
    let target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let pid = target.pid.to_string();
    for sudo_user in [None, Some("65534")] {
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set", DOCKER, "--inh-caps", "-all", OTOP])
            .args(["--once", "--json", "--window", "300ms", "--pid", &pid])
            .args(FROM)
            .env_remove("SUDO_UID")
            .env_remove("SUDO_GID");
        if let Some(user) = sudo_user {
            command.envs([("SUDO_UID", user), ("SUDO_GID", user)]);
        }
        let ran = crate::support::run_command(&mut command);
        assert_eq!(ran.code, Some(0), "{sudo_user:?}: {ran:?}");
        assert!(ran.stdout.contains("call-0000"), "{ran:?}");
    }
}

/// Which of the two says no, and not that the process was not there: this test, for who may not see it in `/proc` or sees
/// it under a number that is another's for the kernel.
#[test]
fn a_process_that_proc_does_not_show_is_not_said_to_be_none() {
    if !nix::unistd::geteuid().is_root() {
        return skip("hidepid and PID namespaces: this is not root");
    }
    let pid = std::process::id().to_string();
    // The build's own folder may be closed to others.
    let otop = std::env::temp_dir().join(format!("otop-{pid}")).display().to_string();
    std::fs::copy(OTOP, &otop).expect("copied");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&otop, everybody).expect("opened");
    let hidden = |arguments: &str| {
        let nobody = "setpriv --reuid 65533 --regid 65533 --clear-groups";
        let script = format!("mount -t proc -o hidepid=2 proc /proc && exec {nobody} {otop} {arguments}");
        crate::support::run_command(Command::new("unshare").args(["-m", "sh", "-c", &script]))
    };
    let foreign = |arguments: &str| {
        let words = arguments.split_whitespace();
        crate::support::run_command(Command::new("unshare").args(["-p", "-f", &otop]).args(words))
    };
    for arguments in [
        "--once --pid",
        "vars --pid",
        "dump --pid",
        "doctor --pid",
        "--once --children --pid",
    ] {
        let arguments = format!("{arguments} {pid}");
        for (ran, fact) in [
            (hidden(&arguments), "/proc hides process"),
            (foreign(&arguments), "PID namespace around otop's"),
        ] {
            assert_eq!(ran.code, Some(4), "{arguments}: {ran:?}");
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(said.contains(fact) && !said.contains("does not exist"), "{ran:?}");
            assert!(!said.contains("the same as otop's"), "{ran:?}");
        }
    }
    let ran = hidden("--once --pid 4194304");
    assert_eq!(ran.code, Some(3), "{ran:?}");
    for (ran, fact) in [
        (hidden(""), "/proc hides the processes"),
        (foreign(""), "PID namespace around otop's"),
    ] {
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.contains(fact), "{ran:?}");
    }
    let _ = std::fs::remove_file(&otop);
}
