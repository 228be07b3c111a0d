//! `--pause`: the worker is stopped for each walk of the table, or for a dump, and goes on afterwards; nobody is blamed for
//! that; and where it may not be stopped, or cannot be, that is said, and it is not held meanwhile. Judged by what is said,
//! not by times.

use crate::support::{FROM, Otop, Target, one_python, run};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::sync::mpsc::channel;

/// Traces `pid` until the thread that this gives is let go.
fn traced<T>(pid: i32, meanwhile: impl FnOnce() -> T) -> T {
    let (tell, told) = channel();
    let (let_go, wait) = channel::<()>();
    // Who traces is a thread; where it ends, the kernel lets go.
    let tracer = std::thread::spawn(move || {
        ptrace::seize(Pid::from_raw(pid), ptrace::Options::empty()).expect("a target of ours may be traced");
        tell.send(()).expect("somebody waits");
        let _ = wait.recv();
        ptrace::interrupt(Pid::from_raw(pid)).expect("it lives");
        waitpid(Pid::from_raw(pid), Some(WaitPidFlag::__WALL)).expect("it stops");
        ptrace::detach(Pid::from_raw(pid), None).expect("it is let go");
    });
    told.recv().expect("it is traced");
    let result = meanwhile();
    drop(let_go);
    tracer.join().expect("a tracer that ends");
    result
}

#[test]
fn the_worker_goes_on_after_each_walk_and_nobody_is_blamed_for_it() {
    for (minor, event_loop) in [("3.8", "asyncio"), ("3.13", "uvloop")] {
        let Some(python) = one_python(minor).filter(|python| python.loops().contains(&event_loop)) else {
            continue;
        };
        let mut target = Target::sessions(
            &python,
            event_loop,
            &["--sessions", "4", "--busy", "0:30", "--threads", "1:20"],
        );
        let mut otop = Otop::follow(target.pid, &[&["--pause"], &FROM[..]].concat());
        otop.until("all four", |document, _| document.rows().len() == 4);
        for _ in 0..6 {
            let document = otop.next().expect("otop goes on");
            let stopped = document.blocks().iter().filter(|block| block["cause"] == "stopped");
            let blamed: Vec<_> = stopped.filter(|block| !block["session_id"].is_null()).collect();
            assert!(blamed.is_empty(), "{}: {blamed:?}", target.what);
        }
        otop.signal(Signal::SIGINT);
        assert_eq!(otop.code(), Some(0));
        assert!(!matches!(target.state(), 't' | 'T'), "{}", target.what);
        assert_eq!(target.alive().len(), 4, "{}: it goes on", target.what);
        target.quit();
    }
}

/// Steps of 36 ms are no blocks; with a pause of some twenty of otop's own in them they last as long as one.
#[test]
fn a_step_that_otop_itself_makes_long_blames_nobody() {
    for (minor, event_loop) in [("3.12", "asyncio"), ("3.13", "uvloop")] {
        let Some(python) = one_python(minor).filter(|python| python.loops().contains(&event_loop)) else {
            continue;
        };
        let busy = [
            "--sessions",
            "4",
            "--tasks",
            "1500",
            "--busy",
            "0:70",
            "--step-ms",
            "36",
        ];
        let mut target = Target::sessions(&python, event_loop, &busy);
        let mut otop = Otop::follow(target.pid, &[&["--pause"], &FROM[..]].concat());
        let mut made_long = 0;
        for _ in 0..60 {
            let Some(document) = otop.next() else {
                panic!("{}: otop ended: {}", target.what, otop.stderr());
            };
            for block in document.blocks() {
                assert!(block["session_id"].is_null(), "{}: {block}", target.what);
                made_long += usize::from(block["causes_ms"]["stopped"].as_f64() >= Some(10.0));
            }
            if made_long >= 4 {
                break;
            }
        }
        assert!(made_long > 0, "{}: no step was made long", target.what);
        target.quit();
    }
}

/// A thread in state D does not stop, and those that did are not held for it.
#[test]
fn a_thread_that_cannot_be_stopped_is_not_waited_for() {
    let Some(python) = one_python("3.12") else { return };
    let mut target = Target::launch(&python, "vfork.py", &[]);
    let mut otop = Otop::follow(target.pid, &["--pause", "--session-from", "call_ref"]);
    let refused = "/quality/pause_refused";
    otop.until("a pause", |document, _| {
        document.0.pointer("/quality/paused_ms").is_some_and(|ms| !ms.is_null())
            && document.0.pointer(refused).is_some_and(|why| why.is_null())
    });
    target.tell(&["spawn"]);
    let tid = target.until("spawned", |_| true)["tid"].clone();
    let why = format!(
        "thread {tid} of process {} sleeps where no signal reaches it (state D), and cannot be stopped there",
        target.pid
    );
    let document = otop.until("a refusal", |document, _| {
        document.0.pointer(refused).is_some_and(|said| *said == why)
    });
    let longest = document.number("/quality/paused_ms");
    // All that is tried from now on holds nobody.
    for _ in 0..4 {
        let document = otop.next().expect("otop goes on");
        assert_eq!(document.0.pointer(refused), Some(&serde_json::json!(why)));
        assert_eq!(document.number("/quality/paused_ms"), longest);
        assert_eq!(document.rows().len(), 4, "it is read all the same");
    }
    let pid = target.pid.to_string();
    for command in [&["--once"][..], &["dump"]] {
        let ran = run(&[command, &["--pid", &pid, "--pause"]].concat());
        let expected =
            format!("otop: process {pid} cannot be stopped for --pause: {why}; try: the same without --pause\n");
        assert_eq!((ran.code, ran.stderr), (Some(1), expected));
    }
    target.quit();
}

/// The threads of `pid` that a shell can suspend it by.
fn suspendable(pid: i32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let blocked = tasks.filter_map(|task| {
        let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        u64::from_str_radix(blocked.trim(), 16).ok()
    });
    let suspends = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].map(|signal| 1 << (signal as u64 - 1));
    blocked
        .filter(|mask| suspends.iter().any(|bit| mask & bit == 0))
        .count()
}

/// A suspended otop would hold the worker for as long as it is suspended. Not tried: the kernel suspends nobody who has no
/// shell, and the tests may have none.
#[test]
fn an_otop_that_pauses_is_not_to_be_suspended() {
    let Some(python) = one_python("3.12") else { return };
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    for pauses in [true, false] {
        let pause: &[&str] = if pauses { &["--pause"] } else { &[] };
        let mut otop = Otop::follow(target.pid, &[pause, &FROM].concat());
        otop.next().expect("it is there");
        assert_eq!(suspendable(otop.pid()) == 0, pauses, "{pauses}");
        otop.signal(Signal::SIGTSTP);
        otop.signal(Signal::SIGCONT);
        otop.next().expect("otop goes on");
        otop.signal(Signal::SIGINT);
        assert_eq!(otop.code(), Some(0));
    }
    target.quit();
}

#[test]
fn where_the_worker_may_not_be_stopped_that_is_said() {
    let Some(python) = one_python("3.12") else { return };
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    let pid = target.pid.to_string();
    let once = [&["--pid", &pid, "--once", "--pause"], &FROM[..]].concat();
    let ran = run(&once);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("ms for each walk"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("THE WORKER IS STOPPED"), "{}", ran.stdout);

    let ran = traced(target.pid, || run(&once));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let expected = format!(
        "otop: process {pid} cannot be stopped for --pause: thread {pid} of process {pid} may not be stopped: process {} \
         traces it; try: the same without --pause\n",
        std::process::id()
    );
    assert_eq!(ran.stderr, expected);
    target.quit();
}
