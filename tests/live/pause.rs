//! `--pause` of the table: the worker is stopped for each walk, goes on afterwards, is not said to be stopped nor blocked,
//! and where it may not be stopped that is said. Judged by what is said, not by times.

use crate::support::{FROM, Otop, Target, one_python, run};
use nix::sys::ptrace;
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
        otop.signal(nix::sys::signal::Signal::SIGINT);
        assert_eq!(otop.code(), Some(0));
        assert!(!matches!(target.state(), 't' | 'T'), "{}", target.what);
        assert_eq!(target.alive().len(), 4, "{}: it goes on", target.what);
        target.quit();
    }
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
