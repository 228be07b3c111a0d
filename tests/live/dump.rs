//! `otop dump` held against a target that asks its own Python: every chain of every task, line by line, and what it waits
//! for; a wedged loop; a pause, and its end by force. Judged by what is said, not by times.

use crate::support::{OTOP, Python, Target, one_python, pythons, pythons_of};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

fn otop(target: &Target, arguments: &[&str]) -> Command {
    let mut command = Command::new(OTOP);
    command.args(["dump", "--pid", &target.pid.to_string(), "--session-from", "call_ref"]);
    command.args(arguments);
    command
}

fn dump(target: &Target, arguments: &[&str]) -> Value {
    let out = otop(target, arguments).arg("--json").output().expect("otop runs");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {errors}", target.what);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|why| panic!("{}: {why}", target.what))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// All tasks of a dump by name, each with its session.
fn by_name(dump: &Value) -> BTreeMap<String, (Option<String>, Value)> {
    let mut tasks = BTreeMap::new();
    let mut take = |session: Option<&str>, work: &Value| {
        for task in list(&work["tasks"]) {
            let name = task["name"].as_str().expect("a name").to_owned();
            let old = tasks.insert(name.clone(), (session.map(str::to_owned), task.clone()));
            assert!(old.is_none(), "{name} is there twice");
        }
    };
    for session in list(&dump["sessions"]) {
        take(session["session_id"].as_str(), session);
    }
    take(None, &dump["no_session"]);
    tasks
}

/// Function, file and line of each link. uvloop's coroutines are Cython's, which have no frames: the target's Python shows
/// made-up ones.
fn places(chain: &Value) -> Vec<(String, String, u64)> {
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    let links = list(chain)
        .iter()
        .filter(|link| !word(&link["file"]).starts_with("uvloop/"));
    links
        .map(|link| {
            (
                word(&link["function"]),
                word(&link["file"]),
                link["line"].as_u64().unwrap_or(0),
            )
        })
        .collect()
}

fn chains_and_waits(python: &Python, event_loop: &str, more: &[&str]) {
    let arguments = [&["--loop", event_loop], more].concat();
    let mut target = Target::launch(python, "waits.py", &arguments);
    let ready = target.said.first().expect("ready").clone();
    let what = target.what.clone();
    // It says that it is ready just before its loop goes to sleep.
    let end = Instant::now() + DEADLINE;
    let dump = loop {
        let dump = dump(&target, &[]);
        if dump["loops"][0]["state"] == "idle" {
            break dump;
        }
        assert!(Instant::now() < end, "{what}: {}", dump["loops"]);
    };
    assert_eq!(dump["changed"], 0, "{what}: nothing moves in it");
    assert_eq!(dump["unreadable"], 0, "{what}");
    assert_eq!(dump["paused_ms"], Value::Null, "{what}");
    let told = by_name(&dump);
    let truth = list(&ready["tasks"]);
    assert!(truth.len() > 25, "{what}");
    for task in truth {
        let name = task["name"].as_str().expect("a name");
        let (session, told) = told.get(name).unwrap_or_else(|| panic!("{what}: {name} is missing"));
        assert_eq!(places(&told["chain"]), places(&task["chain"]), "{what}: {name}");
        assert_eq!(told["state"], "waiting", "{what}: {name}: {told}");
        if let Some(known) = task["session"].as_str() {
            assert_eq!(session.as_deref(), Some(known), "{what}: {name}");
        }
    }
    let kinds = ready["kinds"].as_object().expect("kinds");
    assert!(kinds.len() > 20, "{what}: {kinds:?}");
    for (kind, waits_for) in kinds {
        let (_, told) = told
            .get(&format!("{kind}/main"))
            .unwrap_or_else(|| panic!("{what}: no {kind}"));
        let told = &told["waits_for"];
        if let Some(waits_for) = waits_for.as_str() {
            assert_eq!(told["kind"], waits_for, "{what}: {kind}: {told}");
        }
    }
    for name in ["condition_lock/main", "notified/main"] {
        assert_eq!(told[name].1["waits_for"]["what"], "Condition's lock", "{what}: {name}");
    }
    let own = ["own_lock/main", "own_semaphore/main", "own_event/main"].map(|name| &told[name].1["waits_for"]["what"]);
    assert_eq!(own, ["TracedLock", "Limiter.acquire", "Gate.wait"], "{what}");
    if event_loop == "asyncio" {
        let fds = ["stream/main", "pipe/main"].map(|name| told[name].1["waits_for"]["fd"].as_u64());
        assert!(fds.iter().all(Option::is_some), "{what}: {fds:?}");
    }
    // Whom they wait for.
    let tasks = |name: &str| told[name].1["waits_for"]["tasks"].clone();
    assert_eq!(
        tasks("gather/main"),
        serde_json::json!(["gather/a", "gather/b"]),
        "{what}"
    );
    assert_eq!(tasks("task/main"), serde_json::json!(["task/only"]), "{what}");
    assert_eq!(tasks("wait/main"), serde_json::json!(["wait/waited"]), "{what}");
    assert_eq!(tasks("shield/main"), serde_json::json!(["shield/shielded"]), "{what}");
    if event_loop == "asyncio" {
        let sleep = &told["sleep/main"].1;
        let [waited, left] = [&sleep["waited_s"], &sleep["waits_for"]["left_s"]].map(|s| s.as_f64().expect("seconds"));
        assert!(
            waited > 0.0 && (waited + left - 3600.0).abs() < 0.001,
            "{what}: {waited} and {left}"
        );
    }
    // A thread works for its session, and is where it is.
    let session = list(&dump["sessions"])
        .iter()
        .find(|session| session["session_id"] == "thread");
    let thread = &list(&session.expect("thread")["threads"])[0];
    let works = list(&thread["stack"])
        .iter()
        .any(|frame| frame["function"] == "in_thread");
    assert!(works, "{what}: {thread}");
    target.quit();
}

#[test]
fn every_chain_and_what_it_waits_for_on_every_python() {
    for python in pythons() {
        for event_loop in python.loops() {
            chains_and_waits(python, event_loop, &[]);
        }
    }
}

#[test]
fn tasks_of_python_code_are_told_like_others() {
    for minor in ["3.8", "3.11", "3.12", "3.13"] {
        if let Some(python) = one_python(minor) {
            chains_and_waits(&python, "asyncio", &["--python-tasks"]);
        }
    }
}

fn wedged(python: &Python, event_loop: &str) {
    let mut target = Target::launch(python, "waits.py", &["--loop", event_loop]);
    let what = target.what.clone();
    target.tell(&["later", "sleep", "100"]);
    target.until("later", |_| true);
    target.tell(&["block", "worker-a", "60000"]);
    let blocking = target.until("blocking", |_| true);
    // It says so just before.
    let end = Instant::now() + DEADLINE;
    let (dump, running) = loop {
        let dump = dump(&target, &[]);
        let running = by_name(&dump)["worker-a/main"].1.clone();
        let last = list(&running["chain"]).last().cloned().unwrap_or_default();
        if last["line"] == blocking["line"] && last["function"] == "asleep" {
            break (dump, running);
        }
        assert!(Instant::now() < end, "{what}: {running}");
    };
    assert_eq!(running["state"], "running", "{what}");
    assert_eq!(
        running["chain"][0]["function"], "for_orders",
        "{what}: from the task's own coroutine on"
    );
    assert_eq!(dump["loops"][0]["state"], "running", "{what}");
    assert_eq!(dump["loops"][0]["session_id"], "worker-a", "{what}");
    let others = by_name(&dump);
    let others = others
        .values()
        .filter(|(session, task)| session.is_some() && task["state"] == "waiting");
    assert!(others.count() > 25, "{what}");
    let session = list(&dump["sessions"])
        .iter()
        .find(|session| session["session_id"] == "worker-a");
    assert_eq!(session.expect("worker-a")["threads"][0]["is_loop"], true, "{what}");
    let sleeper = list(&dump["sessions"])
        .iter()
        .find(|session| session["session_id"] == "sleep");
    let callbacks = &sleeper.expect("sleep")["callbacks"];
    if event_loop == "uvloop" {
        assert_eq!(callbacks, &Value::Null, "{what}");
        return;
    }
    let later = list(callbacks)
        .iter()
        .find(|callback| callback["function"] == "in_thread");
    let later = later.unwrap_or_else(|| panic!("{what}: {callbacks}"));
    let due = later["due_in_s"].as_f64().expect("seconds");
    assert!(later["kind"] == "timer" && due > 0.0 && due < 100.0, "{what}: {later}");
    let wakes = list(callbacks).iter().any(|callback| callback["wakes"] == "sleep/main");
    assert!(wakes, "{what}: {callbacks}");
}

#[test]
fn a_wedged_loop_is_shown_on_every_python() {
    for python in pythons() {
        for event_loop in python.loops() {
            wedged(python, event_loop);
        }
    }
}

/// Dumps a loop that two sessions share, in steps that are over long before all tasks are read.
fn churned(python: &Python, event_loop: &str) {
    let mut target = Target::launch(python, "waits.py", &["--empty", "--loop", event_loop]);
    let what = target.what.clone();
    target.tell(&["crowd", "300", "1"]);
    target.until("crowd", |_| true);
    target.tell(&["churn"]);
    target.until("churn", |_| true);
    let end = Instant::now() + DEADLINE;
    let (mut dumps, mut caught) = (0, 0);
    while dumps < 6 || caught < 1 {
        assert!(
            Instant::now() < end,
            "{what}: {caught} of {dumps} told whose step it was"
        );
        let dump = dump(&target, &[]);
        let event_loop = &dump["loops"][0];
        assert_ne!(event_loop["state"], "idle", "{what}: {event_loop}");
        dumps += 1;
        // Nothing else runs in it: a step of no session is one that could not be told.
        let told = event_loop["session_id"].is_string() || event_loop["unreadable"] == true;
        assert!(told || event_loop["state"].is_null(), "{what}: {event_loop}");
        assert!(
            event_loop["unreadable"] == false || dump["unreadable"].as_u64() > Some(0),
            "{what}: {dump}"
        );
        for session in list(&dump["sessions"]) {
            let id = session["session_id"].as_str().expect("an id");
            for thread in list(&session["threads"]) {
                assert_eq!(event_loop["session_id"], id, "{what}: it works for one");
                let churns = |frame: &&Value| {
                    frame["function"]
                        .as_str()
                        .is_some_and(|name| name.starts_with("churn_"))
                };
                // Between the begin of a step and its first line there is no frame yet.
                for frame in list(&thread["stack"]).iter().filter(churns) {
                    assert_eq!(frame["function"], id, "{what}: {thread}");
                    caught += 1;
                }
            }
        }
    }
    target.quit();
}

#[test]
fn a_loop_that_never_rests_is_not_idle_and_its_step_is_its_own_sessions() {
    for minor in ["3.8", "3.12", "3.14"] {
        if let Some(python) = one_python(minor) {
            for event_loop in python.loops() {
                churned(&python, event_loop);
            }
        }
    }
}

#[test]
fn it_narrows_and_the_tree_says_the_same() {
    for python in pythons_of("3.12") {
        let mut target = Target::launch(&python, "waits.py", &[]);
        let one = dump(&target, &["--session", "lock"]);
        let ids: Vec<&Value> = list(&one["sessions"])
            .iter()
            .map(|session| &session["session_id"])
            .collect();
        assert_eq!(ids, ["lock"]);
        assert_eq!(one["no_session"], Value::Null);
        assert_eq!(
            dump(&target, &["--session", "nobody"])["sessions"],
            serde_json::json!([])
        );
        assert_eq!(dump(&target, &["--agent", "nobody"])["sessions"], serde_json::json!([]));
        let tree = otop(&target, &["--session", "lock"]).output().expect("otop runs");
        let tree = String::from_utf8(tree.stdout).expect("UTF-8");
        assert!(
            tree.contains("lock: 1 task\n└─ lock/main waiting for lock (Lock)\n"),
            "{tree}"
        );
        assert!(tree.contains("\n   * targets/waits.py:"), "{tree}");
        target.quit();
    }
}

#[test]
fn a_task_whose_name_is_a_credential_is_not_told_by_it() {
    let names = [
        "eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6eyJyb29tIjoieCJ9fQ.c2lnbmF0dXJl",
        "sk-proj-0123456789abcdef",
        "postgres://app:hunter2@db/x",
    ];
    for python in pythons_of("3.12") {
        let mut target = Target::launch(&python, "waits.py", &["--empty"]);
        target.tell(&[["named"].as_slice(), names.as_slice()].concat());
        target.until("named", |_| true);
        for arguments in [&["--json"] as &[&str], &[]] {
            let out = otop(&target, arguments).output().expect("otop runs");
            let text = String::from_utf8(out.stdout).expect("UTF-8");
            // By its own line, and by that of the one who waits for it.
            assert_eq!(text.matches("(credential ").count(), 2 * names.len(), "{text}");
            assert!(names.iter().all(|name| !text.contains(name)), "{text}");
        }
        target.quit();
    }
}

/// What of a dump is not of its instant.
fn timeless(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["taken_at", "took_ms", "recorded", "waited_s", "left_s", "due_in_s"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(timeless);
        }
        Value::Array(all) => all.iter_mut().for_each(timeless),
        _ => {}
    }
}

#[test]
fn a_recording_says_what_was_said_live() {
    for python in pythons_of("3.12").into_iter().chain(pythons_of("3.14")) {
        let mut target = Target::launch(&python, "waits.py", &[]);
        // It says that it is ready just before its loop goes to sleep.
        let end = Instant::now() + DEADLINE;
        while dump(&target, &[])["loops"][0]["state"] != "idle" {
            assert!(Instant::now() < end, "{}: never idle", target.what);
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dumped-{}.otop", target.pid));
        let mut record = Command::new(env!("CARGO_BIN_EXE_otop"));
        record.args([
            "record",
            "--for",
            "300ms",
            "--session-from",
            "call_ref",
            "--force",
            "-o",
        ]);
        record.arg(&path).args(["--pid", &target.pid.to_string()]);
        assert!(record.stderr(Stdio::null()).status().expect("otop runs").success());
        let mut live = dump(&target, &[]);
        target.quit();
        let out = Command::new(env!("CARGO_BIN_EXE_otop"))
            .arg("replay")
            .arg(&path)
            .args(["dump", "--json"])
            .output()
            .expect("otop runs");
        let errors = String::from_utf8_lossy(&out.stderr);
        let mut then: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{errors}"));
        let recorded = &then["recorded"];
        assert!(recorded["at_s"].as_f64() >= Some(0.0) && recorded["age_s"].as_f64() >= Some(0.0));
        timeless(&mut live);
        timeless(&mut then);
        assert_eq!(then, live, "{}", target.what);
        let _ = std::fs::remove_file(&path);
    }
}

#[test]
fn a_pause_is_one_instant_and_is_over_behind() {
    for python in pythons_of("3.12").into_iter().chain(pythons_of("3.8")) {
        // A worker that never rests, and a thread that does neither.
        let mut target = Target::sessions(
            &python,
            "asyncio",
            &["--sessions", "4", "--busy", "0:80", "--threads", "1:50"],
        );
        let paused = dump(&target, &["--pause"]);
        assert!(paused["paused_ms"].as_f64() > Some(0.0), "{}: {paused}", target.what);
        assert_eq!(
            (&paused["changed"], &paused["unreadable"]),
            (&Value::from(0), &Value::from(0)),
            "{}",
            target.what
        );
        assert_ne!(target.state(), 't', "{}", target.what);
        assert_eq!(target.alive().len(), 4, "{}: it goes on", target.what);
        target.quit();
    }
}

#[test]
fn otop_killed_in_a_pause_leaves_nobody_stopped() {
    for python in pythons_of("3.12") {
        let mut target = Target::launch(&python, "waits.py", &["--empty"]);
        target.tell(&["crowd", "4000", "1"]);
        target.until("crowd", |_| true);
        // Reading so many takes longer than being seen and killed.
        let mut otop = otop(&target, &["--pause", "--json"])
            .stdout(Stdio::null())
            .spawn()
            .expect("otop runs");
        let end = Instant::now() + DEADLINE;
        while target.state() != 't' {
            assert!(Instant::now() < end, "never stopped");
            assert!(otop.try_wait().expect("a child").is_none(), "too quick to be seen");
        }
        otop.kill().expect("a child");
        otop.wait().expect("a child");
        while matches!(target.state(), 't' | 'T') {
            assert!(Instant::now() < end, "still stopped");
        }
        target.tell(&["truth"]);
        target.until("truth", |_| true);
        target.quit();
    }
}

#[test]
fn a_control_character_in_a_name_does_not_reach_the_terminal() {
    if let Some(python) = one_python("3.12") {
        let mut target = Target::sessions(&python, "asyncio", &["--sessions", "0"]);
        target.start("evil\u{1b}[2J\u{202e}", None, None);
        for arguments in [&[][..], &["--json"]] {
            let out = otop(&target, arguments).output().expect("otop runs");
            let text = String::from_utf8(out.stdout).expect("UTF-8");
            assert!(text.contains("evil"), "{text}");
            assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
        }
        let _ = std::io::stderr().flush();
        target.quit();
    }
}
