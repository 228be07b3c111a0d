//! `otop record` against programs that know what they did: totals, stacks and marks in what is written; and what is left
//! when it is ended early, or killed.

use crate::support::{FROM, OTOP, Target, any_python, folder, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Only a hang takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A recording that is under way.
struct Recording(Child);

impl Recording {
    fn start(pid: i32, path: &Path, arguments: &[&str]) -> Recording {
        let mut command = Command::new(OTOP);
        command
            .args(["record", "--for", "10m", "--pid"])
            .arg(pid.to_string())
            .arg("-o")
            .arg(path);
        command.args(FROM).args(arguments);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("otop starts");
        Recording(child)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).expect("a PID")), signal).expect("it runs");
    }

    /// Exit code and what it said.
    fn ended(self) -> (Option<i32>, String) {
        let output = self.0.wait_with_output().expect("it ends");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A recording that grows beside, to know that otop has begun: its file is there at once.
fn begun(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 1_000)
}

/// How much time is in a recording, which may still grow.
fn recorded_s(path: &Path) -> f64 {
    let replayed = run(&["replay", path.to_str().expect("UTF-8"), "--json", "--window", "10m"]);
    let document: Option<serde_json::Value> = serde_json::from_str(&replayed.stdout).ok();
    let window = document.and_then(|document| document["quality"]["window_s"].as_f64());
    window.unwrap_or(0.0)
}

#[test]
fn blocks_are_whole_in_a_recording_that_was_ended_early_and_in_one_that_was_killed() {
    let Some(python) = any_python() else { return };
    let folder = folder("record-blocks");
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "3"]);
    let (killed, folded) = (folder.join("killed.otop"), folder.join("blocks.folded"));
    let whole = Recording::start(target.pid, &killed, &[]);
    let early = Recording::start(target.pid, &folded, &["--mode", "blocked"]);
    wait_for("the recording grows", || begun(&killed));
    // Nothing is seen of the second one before it is done; its first samples come with the next of the first's.
    let before = recorded_s(&killed);
    wait_for("a second has been recorded", || recorded_s(&killed) > before + 1.0);
    let blocks: Vec<f64> = (0..3)
        .map(|_| {
            target.block("call-0001", 250, "sleep", "child")["ms"]
                .as_f64()
                .expect("the target measures")
        })
        .collect();
    let before = recorded_s(&killed);
    wait_for("what was last is in the file", || recorded_s(&killed) > before + 1.5);
    early.signal(Signal::SIGINT);
    whole.signal(Signal::SIGKILL);
    let (code, said) = early.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("are in ") && said.contains("blocks.folded"), "{said}");
    whole.ended();

    let truth: f64 = blocks.iter().sum();
    let text = std::fs::read_to_string(&folded).expect("written");
    let micros = |line: &str| line.rsplit_once(' ').and_then(|(_, count)| count.parse::<f64>().ok());
    let of_session: Vec<&str> = text.lines().filter(|line| line.starts_with("call-0001;")).collect();
    let total: f64 = of_session.iter().filter_map(|line| micros(line)).sum::<f64>() / 1e3;
    crate::support::near("milliseconds blocked", total, truth, 0.05, 30.0);
    let asleep: f64 = of_session
        .iter()
        .filter(|line| line.contains("block_sleep (") && line.contains("[syscall "))
        .filter_map(|line| micros(line))
        .sum::<f64>()
        / 1e3;
    assert!(asleep > 0.8 * total, "{asleep} of {total} ms: {text}");

    let replayed = run(&["replay", killed.to_str().expect("UTF-8"), "blocks"]);
    let of_session = replayed
        .stdout
        .lines()
        .filter(|line| line.contains("session_id=call-0001 blocked event loop"));
    assert_eq!(of_session.count(), 3, "{} {}", replayed.stdout, replayed.stderr);
    assert!(replayed.stderr.contains("was cut off"), "{}", replayed.stderr);
    target.quit();
}

#[test]
fn what_cannot_be_written_fails_before_anything_is_sampled() {
    let Some(python) = any_python() else { return };
    let folder = folder("record-refused");
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let there = folder.join("there.svg");
    std::fs::write(&there, "mine").expect("written");
    let (code, said) = Recording::start(target.pid, &there, &[]).ended();
    assert_eq!(code, Some(1));
    assert!(said.contains("is there already; try: --force"), "{said}");
    assert_eq!(std::fs::read(&there).expect("there"), b"mine");
    target.quit();
}

#[test]
fn under_sudo_a_recording_belongs_to_the_caller() {
    use std::os::unix::fs::MetadataExt;
    let Some(python) = any_python() else { return };
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    const CALLER: u32 = 65_534;
    let folder = folder("sudo");
    std::os::unix::fs::chown(&folder, Some(CALLER), Some(CALLER)).expect("root may");
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let path = folder.join("caller.otop");
    let caller = CALLER.to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_otop"))
        .args(["record", "--for", "200ms", "--pid", &target.pid.to_string(), "-o"])
        .arg(&path)
        .args(FROM)
        .envs([("SUDO_UID", &caller), ("SUDO_GID", &caller)])
        .output()
        .expect("it ends by itself");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = std::fs::metadata(&path).expect("there");
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (CALLER, CALLER, 0o600));
    target.quit();
}

#[test]
fn a_replay_takes_for_a_block_what_the_recording_did() {
    let Some(python) = any_python() else { return };
    let folder = folder("record-threshold");
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    let path = folder.join("x.otop");
    let recording = Recording::start(target.pid, &path, &["--slow-threshold", "10s"]);
    wait_for("the recording grows", || begun(&path));
    let before = recorded_s(&path);
    wait_for("a second has been recorded", || recorded_s(&path) > before + 1.0);
    target.block("call-0001", 300, "sleep", "child");
    let before = recorded_s(&path);
    wait_for("what was last is in the file", || recorded_s(&path) > before + 1.5);
    recording.signal(Signal::SIGINT);
    let (code, said) = recording.ended();
    assert_eq!(code, Some(0), "{said}");
    let of_session = |more: &[&str]| {
        let replayed = run(&[&["replay", path.to_str().expect("UTF-8"), "blocks"], more].concat());
        let lines = replayed.stdout.lines();
        lines
            .filter(|line| line.contains("session_id=call-0001 blocked event loop"))
            .count()
    };
    assert_eq!((of_session(&[]), of_session(&["--slow-threshold", "50ms"])), (0, 1));
    target.quit();
}

/// As in a container that is entered as root, where the program's folder is another user's.
#[test]
fn root_in_its_own_name_records_into_another_users_folder() {
    let Some(python) = any_python() else { return };
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = folder("another-users");
    std::os::unix::fs::chown(&folder, Some(65_534), Some(65_534)).expect("root may");
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    for name in ["w.otop", "w.svg"] {
        let path = folder.join(name);
        let output = Command::new(env!("CARGO_BIN_EXE_otop"))
            .args(["record", "--for", "200ms", "--pid", &target.pid.to_string(), "-o"])
            .arg(&path)
            .args(FROM)
            .env_remove("SUDO_UID")
            .env_remove("SUDO_GID")
            .output()
            .expect("it ends by itself");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(path.exists(), "{name}");
    }
    target.quit();
}

#[test]
fn under_sudo_what_the_caller_may_not_write_is_refused_at_once_with_a_path_that_will_do() {
    use std::os::unix::fs::PermissionsExt;
    let Some(python) = any_python() else { return };
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = folder("sudo-refused");
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let refused = |path: &Path, more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_otop"))
            .args(["record", "--for", "10m", "--pid", &target.pid.to_string(), "-o"])
            .arg(path)
            .args(more)
            .args(FROM)
            .envs([("SUDO_UID", "65534"), ("SUDO_GID", "65534")])
            .output()
            .expect("it ends by itself");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // Root's own folder, as /root is.
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).expect("its own");
    let said = refused(&folder.join("w.svg"), &[]);
    assert!(
        said.contains("otop writes as user 65534, who called sudo") && said.contains("; try: -o /tmp/w.svg"),
        "{said}"
    );
    // And as /tmp is, with a file of root's.
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o1777)).expect("its own");
    let there = folder.join("there.svg");
    std::fs::write(&there, "root's").expect("written");
    for more in [&[][..], &["--force"]] {
        let said = refused(&there, more);
        assert!(
            said.contains("another user's") && said.contains("new-there.svg"),
            "{said}"
        );
    }
    assert_eq!(std::fs::read(&there).expect("there"), b"root's");
    let files = std::fs::read_dir(&folder).expect("readable").count();
    assert_eq!(files, 1, "nothing hidden is left");
    target.quit();
}

#[test]
fn a_full_disk_ends_a_recording_and_what_was_written_is_kept() {
    let Some(python) = any_python() else { return };
    let folder = folder("record-full");
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "3", "--busy", "1:20"]);
    let path = folder.join("full.otop");
    // A file may have 16 kB and no more, and the signal that says so is ignored: the write fails, as on a full disk.
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", OTOP, "record", "--for", "10m", "--pid"]);
    command.arg(target.pid.to_string()).arg("-o").arg(&path).args(FROM);
    let output = command.output().expect("it ends by itself");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the recording ends there, and its first") && said.contains("are kept"),
        "{said}"
    );
    let replayed = run(&[
        "replay",
        path.to_str().expect("UTF-8"),
        "--once",
        "--json",
        "--at",
        "500ms",
    ]);
    assert!(
        replayed.stdout.contains("call-0001"),
        "{} {}",
        replayed.stdout,
        replayed.stderr
    );
    target.quit();
}

#[test]
fn a_worker_that_ends_leaves_what_there_was() {
    let Some(python) = any_python() else { return };
    let folder = folder("record-ended");
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    let path = folder.join("ended.otop");
    let recording = Recording::start(target.pid, &path, &[]);
    wait_for("the recording grows", || begun(&path));
    target.quit();
    let (code, said) = recording.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("has ended (exited)"), "{said}");
    let replayed = run(&["replay", path.to_str().expect("UTF-8"), "--once"]);
    assert!(
        replayed.stderr.is_empty() && replayed.stdout.contains("call-0000"),
        "{} {}",
        replayed.stdout,
        replayed.stderr
    );
}
