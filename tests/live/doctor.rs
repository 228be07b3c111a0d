//! The doctor says what attaching would do: the same words, the same exit code, and every check there is, whatever the
//! process; with the ways out of each kind of box.

use crate::support::{OTOP, Ran, Target, any_python, in_a_container, pythons, run, run_command, skip};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Every check that a worker's diagnosis names.
const CHECKS: [&str; 27] = [
    "otop",
    "capabilities",
    "place",
    "scheduling",
    "interrupts",
    "cpu quota",
    "process",
    "user",
    "dumpable",
    "worker's capabilities",
    "yama",
    "user namespace",
    "seccomp",
    "lockdown",
    "security module",
    "pid namespace",
    "mount namespace",
    "memory",
    "interpreter",
    "version",
    "layout",
    "asyncio",
    "loops",
    "uvloop",
    "sessions",
    "rate",
    "stacks",
];

/// The document of `otop doctor --json`, which must say the code that it ends with.
fn diagnosis(ran: &Ran) -> Value {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(document["exit_code"].as_i64(), ran.code.map(i64::from), "{ran:?}");
    assert!(ran.stderr.is_empty(), "said once, on stdout: {ran:?}");
    document
}

fn check<'d>(document: &'d Value, name: &str) -> &'d Value {
    let checks = document["checks"].as_array().expect("a list of checks");
    let found = checks.iter().find(|check| check["check"] == name);
    found.unwrap_or_else(|| panic!("no check {name} in {document}"))
}

fn names(document: &Value) -> Vec<&str> {
    let checks = document["checks"].as_array().expect("a list of checks");
    checks.iter().filter_map(|check| check["check"].as_str()).collect()
}

/// Doctor and attach, by the same user in the same place: one code, and the attach's one line is among what the doctor
/// says is wrong.
#[track_caller]
fn agree(pid: i32, code: i32, culprit: &str, as_somebody: &dyn Fn(&mut Command)) -> Value {
    let pid = pid.to_string();
    let run = |args: &[&str]| {
        let mut command = Command::new(OTOP);
        command.args(args).args(["--pid", &pid]);
        as_somebody(&mut command);
        run_command(&mut command)
    };
    let attached = run(&["--once", "--window", "200ms"]);
    let document = diagnosis(&run(&["doctor", "--json"]));
    assert_eq!(
        (attached.code, &document["exit_code"]),
        (Some(code), &Value::from(code)),
        "{attached:?} {document}"
    );
    let check = check(&document, culprit);
    assert_eq!(check["verdict"], "no", "{document}");
    let said = format!(
        "otop: {}; try: {}",
        check["fact"].as_str().expect("a fact"),
        check["mend"][0].as_str().expect("a way to mend it")
    );
    assert_eq!(attached.stderr.trim(), said, "the same words");
    let text = run(&["doctor"]);
    assert!(text.stdout.contains(&format!("exit code {code}")), "{text:?}");
    assert_eq!(text.code, Some(code), "{text:?}");
    document
}

fn plainly(_: &mut Command) {}

#[test]
fn a_worker_that_can_be_watched_on_every_python() {
    for python in pythons() {
        for event_loop in python.loops() {
            let target = Target::sessions(python, event_loop, &["--sessions", "2"]);
            let ran = run(&["doctor", "--json", "--pid", &target.pid.to_string()]);
            let document = diagnosis(&ran);
            assert_eq!(names(&document), CHECKS, "{}", target.what);
            assert_eq!(ran.code, Some(0), "{}: {ran:?}", target.what);
            for name in CHECKS {
                let verdict = &check(&document, name)["verdict"];
                assert!(
                    verdict == "ok" || verdict == "limited",
                    "{}: {name} in {document}",
                    target.what
                );
            }
            let fact = |name: &str| check(&document, name)["fact"].as_str().unwrap_or_default().to_owned();
            assert_eq!(fact("version"), format!("Python {}", python.label));
            assert_eq!(fact("layout"), "verified");
            assert!(fact("loops").starts_with(event_loop), "{}: {document}", target.what);
            assert_eq!(
                fact("uvloop") == "not imported",
                event_loop != "uvloop",
                "{}: {document}",
                target.what
            );
            assert!(fact("interpreter").contains("python"), "{document}");
        }
    }
}

#[test]
fn what_cannot_be_watched_has_the_words_and_the_code_of_attaching() {
    let Some(python) = any_python() else { return };
    let mut gone = Command::new("true").spawn().expect("true");
    let number = i32::try_from(gone.id()).expect("a pid");
    // Ended, and left as a zombie.
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(nix::unistd::Pid::from_raw(number)), ended).expect("it ends");
    let document = agree(number, 3, "process", &plainly);
    assert!(
        check(&document, "process")["fact"].to_string().contains("zombie"),
        "{document}"
    );
    gone.wait().expect("it ends");
    let document = agree(number, 3, "process", &plainly);
    assert_eq!(
        names(&document).last(),
        Some(&"process"),
        "there is nothing more to ask"
    );

    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep");
    let document = agree(i32::try_from(sleeper.id()).expect("a pid"), 5, "interpreter", &plainly);
    sleeper.kill().expect("ours");
    sleeper.wait().expect("it ends");
    assert_eq!(names(&document), CHECKS);
    assert_eq!(check(&document, "version")["fact"], "not reached");

    // Where the kernel's own threads can be seen.
    if std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd") {
        let document = agree(2, 5, "interpreter", &plainly);
        assert!(
            check(&document, "interpreter")["fact"]
                .to_string()
                .contains("thread of the kernel"),
            "{document}"
        );
    }

    let plain = Target::launch(&python, "not_asyncio.py", &[]);
    let document = agree(plain.pid, 5, "asyncio", &plainly);
    assert_eq!(check(&document, "version")["verdict"], "ok");
}

/// A copy of the binary in a place that everyone can reach; removed with this.
struct Copy(std::path::PathBuf);

impl Copy {
    fn of_otop(name: &str) -> Copy {
        let copy = std::env::temp_dir().join(format!("otop-doctor-{name}-{}", std::process::id()));
        std::fs::copy(OTOP, &copy).expect("a copy of the binary");
        Copy(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Root without SYS_PTRACE is what a container's root is; the way out is that of the container it is in.
#[test]
fn each_container_has_its_own_way_to_the_right() {
    let Some(python) = any_python() else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("ways out of containers: only root can give up a right");
    }
    let target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    // The worker keeps more capabilities than otop has, as everything outside of a container does.
    let boxed = |marks: &[(&str, &str)], args: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set", "-sys_ptrace,-sys_admin", "--inh-caps", "-all", OTOP])
            .args(args)
            .args(["--pid", &target.pid.to_string()])
            .env_remove("KUBERNETES_SERVICE_HOST");
        command.envs(marks.iter().copied());
        run_command(&mut command)
    };
    let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    let ran = boxed(&pod, &["doctor", "--json"]);
    let document = diagnosis(&ran);
    assert_eq!(ran.code, Some(4), "{document}");
    for name in ["worker's capabilities", "memory"] {
        let check = check(&document, name);
        assert_eq!(check["verdict"], "no", "{document}");
        let ways = check["mend"].to_string();
        assert!(
            ways.contains("kubectl debug") && ways.contains("--profile=sysadmin"),
            "{document}"
        );
        assert!(!ways.contains("docker"), "{document}");
    }
    let line = boxed(&pod, &["--once"]).stderr;
    assert!(
        line.contains("SYS_PTRACE") && line.contains("try: kubectl debug"),
        "{line}"
    );
    // Another container: whatever runtime's, the capability is asked of it.
    let ran = boxed(&[("container", "lxc")], &["doctor"]);
    assert!(ran.stdout.contains("run --cap-add SYS_PTRACE"), "{ran:?}");
    assert!(ran.stdout.contains("--pid=container:NAME"), "{ran:?}");
}

#[test]
fn another_users_worker() {
    const NOBODY: u32 = 65534;
    let Some(python) = any_python() else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("another user's worker: only root can start otop as another user");
    }
    let target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let copy = Copy::of_otop("nobody");
    let mut command = Command::new(&copy.0);
    command.args(["doctor", "--json", "--pid", &target.pid.to_string()]);
    let ran = run_command(command.uid(NOBODY).gid(NOBODY));
    let document = diagnosis(&ran);
    assert_eq!(ran.code, Some(4), "{document}");
    for name in ["user", "memory"] {
        assert_eq!(check(&document, name)["verdict"], "no", "{document}");
        let mend = check(&document, name)["mend"][0].as_str().expect("a way");
        let way = if in_a_container() { "CONTAINER" } else { "sudo" };
        assert!(
            mend.contains(way) && mend.ends_with(&format!("otop --pid {}", target.pid)),
            "{document}"
        );
    }
    assert!(
        check(&document, "user")["fact"]
            .as_str()
            .is_some_and(|fact| fact.contains("belongs to user 0"))
    );
}

/// The capability that every tool asks for is not enough for another user's worker, and that is what is said: by all
/// commands, in the same words.
#[test]
fn another_users_worker_with_the_one_capability() {
    let Some(python) = any_python() else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("another user's worker: only root can start otop as another user");
    }
    let target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let copy = Copy::of_otop("capable");
    let pid = target.pid.to_string();
    let with = |capabilities: &str, args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
        run_command(command.arg(&copy.0).args(args).args(["--pid", &pid]))
    };
    for args in [&["--once"][..], &["dump"], &["vars"], &["blocks"], &["doctor"]] {
        let ran = with("+sys_ptrace", args);
        assert_eq!(ran.code, Some(4), "{args:?}: {ran:?}");
        let mend = match in_a_container() {
            true => "CONTAINER",
            false => "try: sudo setcap cap_sys_ptrace,cap_dac_read_search+ep",
        };
        let said = ran.stderr.clone() + &ran.stdout;
        assert!(
            said.contains("user 0's alone") && said.contains(mend),
            "{args:?}: {ran:?}"
        );
    }
    let document = diagnosis(&with("+sys_ptrace", &["doctor", "--json"]));
    assert_eq!(document["exit_code"], 4, "{document}");
    let ways = check(&document, "memory")["mend"].to_string();
    let way = if in_a_container() {
        "CONTAINER"
    } else {
        "cap_dac_read_search"
    };
    assert!(ways.contains(way), "{document}");
    let ran = with("+sys_ptrace,+dac_read_search", &["--once", "--window", "200ms"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// Without a PID: the machine, and whether there is anybody to watch.
#[test]
fn a_machine() {
    let Some(python) = any_python() else { return };
    let _target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let ran = run(&["doctor", "--json"]);
    let document = diagnosis(&ran);
    assert_eq!((ran.code, &document["pid"]), (Some(0), &Value::Null), "{document}");
    assert_eq!(check(&document, "workers")["verdict"], "ok");
}
