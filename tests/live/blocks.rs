//! Who blocks the loop: the one who did, in every place that code can block from, and nobody else; also when otop
//! comes in the middle of it. Judged by names and counts, not by times.

use crate::support::{Doc, FROM, Otop, Python, Target, WINDOW, any_python, once, one_python, pythons_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Shorter than every block that is made on purpose, longer than what a machine does by the way.
const LONG: f64 = 150.0;

/// Blocks one session from each place in turn; every block has its session and no session another's.
fn every_place(python: &Python, event_loop: &str) {
    let mut places = vec![
        ("child", "sleep"),
        ("child", "py"),
        ("main", "sleep"),
        ("callback", "sleep"),
        ("timer", "sleep"),
        ("async_gen", "c"),
        ("child", "gc"),
        ("to_thread", "c"), // holds the GIL: the loop can neither finish its step nor leave select
    ];
    if python.version() >= (3, 12) {
        places.push(("eager", "sleep"));
    }
    let count = places.len().to_string();
    let args = [
        "--sessions",
        &count,
        "--distractors",
        "20",
        "--busy",
        "0:10",
        "--step-ms",
        "1",
    ];
    let mut target = Target::sessions(python, event_loop, &args);
    // The first collection's ballast is built here, by a thread that is nobody's, before anything is watched.
    target.start("warm", None, None);
    target.block("warm", 1, "gc", "child");
    target.end("warm");
    let mut otop = Otop::follow(target.pid, &FROM);
    otop.fresh(1);
    let mut tries = BTreeMap::new();
    for (i, (place, kind)) in places.iter().enumerate() {
        let sid = format!("call-{i:04}");
        // C calls are not exact, and a thread's blocks the loop only from its next timer on.
        let ms = if *kind == "c" { 600 } else { 300 };
        tries.insert(sid.clone(), target.block_undisturbed(&sid, ms, kind, place));
    }
    let all: usize = tries.values().sum();
    otop.until("all blocks are reported", |_, blame| {
        let long = blame
            .nobody
            .iter()
            .filter(|block| block["duration_ms"].as_f64() >= Some(LONG));
        blame.of_at_least(LONG).values().sum::<usize>() + long.count() >= all
    });
    otop.settled();
    let found: BTreeMap<&String, usize> = otop
        .blame
        .blocks
        .iter()
        .map(|(sid, blocks)| (sid, blocks.len()))
        .collect();
    for ((sid, tries), what) in tries.iter().zip(&places) {
        let times = found.get(sid).copied().unwrap_or(0);
        // Only the last try was undisturbed: of those before it, nobody may be to blame but the machine.
        assert!(
            (1..=*tries).contains(&times),
            "{}: {what:?} {tries} times: {found:?}; {:?}",
            target.what,
            (otop.blame.blocks.get(sid), &otop.blame.nobody)
        );
        assert!(otop.blame.slow.contains(sid), "{}: {what:?}: never slow", target.what);
    }
    let wanted: BTreeSet<String> = tries.into_keys().collect();
    assert_eq!(otop.blame.anybody(), wanted, "{}: an innocent is blamed", target.what);
}

macro_rules! on_every_minor {
    ($($name:ident $minor:literal $event_loop:literal)*) => { $(
        #[test]
        fn $name() {
            crate::support::with_loop($minor, $event_loop, every_place);
        }
    )* };
}

on_every_minor! {
    every_place_on_3_08 "3.8" "asyncio"
    every_place_on_3_09 "3.9" "uvloop"
    every_place_on_3_10 "3.10" "asyncio"
    every_place_on_3_11 "3.11" "uvloop"
    every_place_on_3_12 "3.12" "asyncio"
    every_place_on_3_12_uvloop "3.12" "uvloop"
    every_place_on_3_13 "3.13" "asyncio"
    every_place_on_3_14 "3.14" "uvloop"
    every_place_on_3_15 "3.15" "asyncio"
}

/// Nanoseconds that a thread has waited for a CPU: the kernel's own word on who is to blame.
fn waited(target: &Target, thread: &serde_json::Value) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/task/{thread}/schedstat", target.pid)).expect("it lives");
    stat.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("schedstat has three numbers")
}

/// The emergency itself: the loop has been stuck for a while when otop comes, and stays so.
fn in_the_middle(python: &Python, event_loop: &str, kind: &str, place: &str) {
    let mut target = Target::sessions(python, event_loop, &["--sessions", "5", "--distractors", "40"]);
    let alive = target.alive();
    let begun = target.begin_block("call-0003", 9000, kind, place);
    let what = format!("{} {kind} in {place}", target.what);
    let mut args = FROM.to_vec();
    args.extend(["--window", WINDOW]);
    if place == "to_thread" {
        // A thread that holds the GIL blocks nobody before the loop has something to do: by the end of one look it had.
        once(target.pid, &args);
    }
    // Where the machine itself kept the blocker from running, it is to blame: then another look, within the same block.
    let doc = (0..6).find_map(|_| {
        let (before, start) = (waited(&target, &begun["thread"]), Instant::now());
        let doc = once(target.pid, &args);
        assert_eq!(doc.labels(), alive, "{what}");
        let share = (waited(&target, &begun["thread"]) - before) / 1e9 / start.elapsed().as_secs_f64();
        (share < 0.3).then_some(doc)
    });
    let doc = doc.unwrap_or_else(|| panic!("{what}: too busy a machine to judge"));
    let ongoing: Vec<_> = doc.blocks().iter().filter(|block| block["ongoing"] == true).collect();
    assert_eq!(ongoing.len(), 1, "{what}: {:?}", doc.blocks());
    let block = ongoing[0];
    assert_eq!(block["session_id"], "call-0003", "{what}: {block}");
    assert!(block["started_at"].is_null(), "it began before otop looked: {block}");
    assert_eq!(block["duration_is_lower_bound"], true, "{block}");
    assert_eq!(doc.row("call-0003")["status"], "slow", "{what}");
    let slow: Vec<_> = doc.rows().iter().filter(|row| row["status"] == "slow").collect();
    assert_eq!(slow.len(), 1, "{what}: {slow:?}");
    if kind == "sleep" {
        // Its thread for commands still answers, and what it said before this answer has been read: no end among it.
        target.cpu();
        let over = target.said.iter().any(|event| event["ev"] == "block_end");
        assert!(!over, "{what}: otop came too late to have been in the middle");
    }
}

#[test]
fn attach_in_the_middle_of_a_sleeping_step() {
    for python in ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]
        .into_iter()
        .flat_map(pythons_of)
    {
        in_the_middle(&python, "asyncio", "sleep", "child");
    }
}

#[test]
fn attach_in_the_middle_on_uvloop() {
    for minor in ["3.8", "3.11", "3.12", "3.13", "3.15"] {
        let Some(python) = one_python(minor).filter(|python| python.uvloop) else {
            continue;
        };
        in_the_middle(&python, "uvloop", "sleep", "callback");
        in_the_middle(&python, "uvloop", "py", "main");
    }
}

#[test]
fn attach_in_the_middle_of_a_thread_that_holds_the_gil() {
    for minor in ["3.8", "3.11", "3.12", "3.13", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        for event_loop in python.loops() {
            in_the_middle(&python, event_loop, "c", "to_thread");
        }
    }
}

/// A thread that works in Python yields the GIL every few milliseconds; one that sleeps has no need of it.
#[test]
fn threads_that_yield_block_nobody() {
    for minor in ["3.8", "3.12", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        let mut target = Target::sessions(&python, "asyncio", &["--sessions", "3", "--busy", "0:10"]);
        let mut otop = Otop::follow(target.pid, &FROM);
        otop.fresh(1);
        target.block("call-0001", 1000, "py", "to_thread");
        target.block("call-0002", 500, "sleep", "to_thread");
        otop.settled();
        assert!(otop.blame.anybody().is_empty(), "{}: {:?}", target.what, otop.blame);
    }
}

/// Held by a thread that is nobody's: it is told, and no session is blamed for it.
#[test]
fn a_plain_executor_that_holds_the_gil_is_no_sessions_fault() {
    let Some(python) = one_python("3.12") else { return };
    let mut target = Target::sessions(
        &python,
        "asyncio",
        &["--sessions", "3", "--busy", "0:20", "--step-ms", "1"],
    );
    let mut otop = Otop::follow(target.pid, &FROM);
    otop.fresh(1);
    target.block("call-0001", 400, "c", "executor");
    otop.until("the block is reported", |_, blame| !blame.nobody.is_empty());
    otop.settled();
    assert!(otop.blame.anybody().is_empty(), "{}: {:?}", target.what, otop.blame);
}

/// A machine that gives the worker too little: the loop is late and nobody in it is to blame.
#[test]
fn a_starved_machine_makes_nobody_slow() {
    for (minor, event_loop) in [("3.8", "asyncio"), ("3.12", "uvloop"), ("3.15", "asyncio")] {
        let Some(python) = one_python(minor).filter(|python| python.loops().contains(&event_loop)) else {
            continue;
        };
        let mut target = Target::launch(&python, "starve.py", &["10", "--loop", event_loop]);
        target.until("started", |_| true);
        let mut otop = Otop::follow(target.pid, &FROM);
        for _ in 0..6 {
            otop.fresh(1);
        }
        assert!(otop.blame.anybody().is_empty(), "{}: {:?}", target.what, otop.blame);
        target.tell(&["cpu"]);
        let lag = target.until("cpu", |_| true)["worst_lag_ms"].as_f64().unwrap_or(0.0);
        assert!(
            lag > 75.0,
            "{}: was not starved, so this judged nothing: {lag} ms late at most",
            target.what
        );
    }
}

/// Takes a CPU for 300 ms, three times; says when it may, and when it has.
const BURNER: &str = "
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
except OSError:
    sys.exit('no right to a real-time thread')
for _ in range(3):
    time.sleep(0.4)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
";

/// A loop that has nothing to do, is woken by a timer, and gets no CPU: it waits for one, and does not sleep on.
#[test]
fn a_loop_that_is_woken_and_gets_no_cpu_is_blocked_and_nobody_is_to_blame() {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    let Some(python) = any_python() else { return };
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("of this thread");
    let cpu = (0..CpuSet::count()).rfind(|&cpu| allowed.is_set(cpu) == Ok(true));
    let cpu = cpu.expect("it runs on one");
    for event_loop in python.loops() {
        let target = Target::sessions(&python, event_loop, &["--sessions", "2", "--lag"]);
        let mut one = CpuSet::new();
        one.set(cpu).expect("a CPU of this machine");
        for task in std::fs::read_dir(format!("/proc/{}/task", target.pid)).expect("it lives") {
            let tid = task.expect("readable").file_name().to_string_lossy().parse();
            sched_setaffinity(Pid::from_raw(tid.expect("a number")), &one).expect("the target is ours");
        }
        let mut otop = Otop::follow(target.pid, &FROM);
        otop.settled();
        let burner = std::process::Command::new(&python.command()[0])
            .args(&python.command()[1..])
            .args(["-I", "-S", "-c", BURNER, &cpu.to_string()])
            .status();
        if !burner.expect("started").success() {
            eprintln!("{}: not judged without the right to a real-time thread", target.what);
            return;
        }
        let is_it = |block: &&Value| block["cause"] == "unscheduled" && block["duration_ms"].as_f64() >= Some(150.0);
        otop.until("each of the waits is reported", |_, blame| {
            blame.nobody.iter().filter(is_it).count() >= 3
        });
        assert!(otop.blame.anybody().is_empty(), "{}: {:?}", target.what, otop.blame);
    }
}

/// A worker that somebody else stopped blames nobody, neither then nor afterwards.
#[test]
fn a_stopped_worker_makes_nobody_slow() {
    use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
    let Some(python) = any_python() else { return };
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "3", "--busy", "0:30"]);
    let mut otop = Otop::follow(target.pid, &FROM);
    let alive = target.alive();
    otop.fresh(1);
    target.signal(SIGSTOP);
    let doc = otop.settled();
    assert_eq!(doc.labels(), alive, "the last figures stay");
    target.signal(SIGCONT);
    let doc: Doc = otop.settled();
    assert_eq!(doc.labels(), target.alive());
    assert!(otop.blame.anybody().is_empty(), "{:?}", otop.blame);
}

/// Stopped before otop came, while the loop slept: since when is not known, and it is not dated from the attach.
#[test]
fn a_worker_that_was_stopped_before_has_been_so_for_longer() {
    use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
    let Some(python) = any_python() else { return };
    let target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    target.signal(SIGSTOP);
    while target.state() != 'T' {
        std::thread::yield_now();
    }
    let doc = once(target.pid, &[&FROM[..], &["--window", WINDOW]].concat());
    target.signal(SIGCONT);
    let [block] = doc.blocks() else {
        panic!("one block: {:?}", doc.blocks())
    };
    assert_eq!(block["cause"], "stopped", "{block}");
    assert!(block["ongoing"] == true && block["session_id"].is_null(), "{block}");
    assert!(
        block["started_at"].is_null() && block["duration_is_lower_bound"] == true,
        "{block}"
    );
}

/// Slow is a state with an end: five seconds after the last block, or what --slow-window says.
#[test]
fn slow_ends_with_its_window_and_blocks_stay_counted() {
    let Some(python) = any_python() else { return };
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    let mut args = FROM.to_vec();
    args.extend(["--slow-window", "1s", "--slow-threshold", "100ms"]);
    let mut otop = Otop::follow(target.pid, &args);
    otop.fresh(1);
    target.block("call-0000", 60, "sleep", "child"); // under this threshold
    target.block("call-0001", 250, "sleep", "child");
    otop.until("it is slow", |doc, _| doc.row("call-0001")["status"] == "slow");
    let doc = otop.until("it is slow no more", |doc, _| {
        doc.row("call-0001")["status"] == "active"
    });
    assert_eq!(doc.row("call-0001")["blocks"], 1, "{}", doc.0);
    assert!(doc.row("call-0001")["blocked_ms"].as_f64() >= Some(LONG), "{}", doc.0);
    assert_eq!(doc.row("call-0000")["blocks"], 0, "{}", doc.0);
    assert_eq!(otop.blame.anybody(), BTreeSet::from(["call-0001".to_owned()]));
}
