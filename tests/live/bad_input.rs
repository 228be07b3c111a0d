//! What bad input gets: the word and the exit code of the contract, one line and the command that mends it, never a
//! panic or a hang; and what happens when the worker ends, is replaced or is stopped while it is watched.

use crate::support::{FROM, OTOP, Otop, Ran, Target, any_python, in_a_container, pythons, run, run_command, skip};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Everything but a usage error: its code, one line (wrapped by nobody: there is no terminal), and no backtrace.
#[track_caller]
fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(ran.stdout.is_empty(), "a figure in spite of the refusal: {ran:?}");
    assert!(!ran.stderr.trim().is_empty(), "no word: {ran:?}");
    assert!(
        ran.stderr.trim().lines().count() <= 2,
        "what is wrong, and what mends it: {ran:?}"
    );
    assert!(
        !ran.stderr.contains("panicked") && !ran.stderr.contains("backtrace"),
        "{ran:?}"
    );
    let said = ran.stderr.to_lowercase();
    for word in words {
        assert!(said.contains(&word.to_lowercase()), "{word:?} is missing: {ran:?}");
    }
}

fn once_at(pid: i32, more: &[&str]) -> Ran {
    let pid = pid.to_string();
    let mut all = vec!["--pid", &pid, "--once", "--window", "200ms"];
    all.extend(more);
    run(&all)
}

#[test]
fn usage_errors_are_claps() {
    let cases: &[&[&str]] = &[
        &["--pid", "nonsense"],
        &["--pid", "-1"],
        &["--pid", "0"],
        &["--no-such-flag"],
        &["no-such-command"],
        &["--pid", "1", "--sort", "bogus"],
        &["--pid", "1", "--status", "bogus"],
        &["--pid", "1", "--refresh-rate", "fast"],
        &["--pid", "1", "--rate", "0"],
        &["--pid", "1", "--rate", "-5"],
        &["--pid", "1", "--window", "0s"],
        &["--pid", "1", "--window", "soon"],
        &["--pid", "1", "--slow-threshold", "bogus"],
        &["--pid", "1", "--columns", "bogus"],
    ];
    for case in cases {
        let ran = run(case);
        assert_eq!(ran.code, Some(2), "{case:?}: {ran:?}");
        assert!(
            ran.stderr.contains("error:") && ran.stdout.is_empty(),
            "{case:?}: {ran:?}"
        );
    }
    assert!(
        run(&["--pid", "1", "--sort", "mem"]).stderr.contains("mem_mb"),
        "the tip, or the list of what is possible"
    );
}

#[test]
fn no_such_process() {
    let mut gone = Command::new("true").spawn().expect("true");
    let pid = i32::try_from(gone.id()).expect("a pid");
    gone.wait().expect("it ends");
    refused(&once_at(pid, &[]), 3, &[&pid.to_string()]);
}

#[test]
fn another_program_is_not_python() {
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep");
    let ran = once_at(i32::try_from(sleeper.id()).expect("a pid"), &[]);
    sleeper.kill().expect("ours");
    sleeper.wait().expect("it ends");
    refused(&ran, 5, &["python"]);
}

#[test]
fn python_without_asyncio() {
    for python in pythons() {
        let target = Target::launch(python, "not_asyncio.py", &[]);
        let once = once_at(target.pid, &[]);
        refused(&once, 5, &["asyncio"]);
        let dump = run_command(Command::new(OTOP).args(["dump", "--pid", &target.pid.to_string()]));
        refused(&dump, 5, &["asyncio"]);
        assert_eq!(dump.stderr, once.stderr);
    }
}

/// Seen before it had asyncio and after: the same process, another answer.
#[test]
fn python_that_gets_asyncio_later() {
    let Some(python) = any_python() else { return };
    let mut target = Target::launch(&python, "late_asyncio.py", &["--sessions", "2"]);
    let before = once_at(target.pid, &FROM);
    refused(&before, 5, &["asyncio"]);
    target.tell(&["go"]);
    target.until("started", |_| true);
    let after = once_at(target.pid, &FROM);
    assert_eq!(after.code, Some(0), "{after:?}");
    assert!(after.stdout.contains("call-0001"), "{after:?}");
}

/// A variable that nobody set: its name is told, and the one that was likely meant.
#[test]
fn a_session_variable_that_does_not_exist() {
    let Some(python) = any_python() else { return };
    let target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    let ran = once_at(target.pid, &["--session-from", "call_reff"]);
    assert!(!matches!(ran.code, Some(0) | None), "{ran:?}");
    refused(&ran, ran.code.unwrap_or_default(), &["call_reff", "call_ref"]);
    assert!(
        ran.stderr.replace("call_reff", "").contains("call_ref"),
        "the likely one: {ran:?}"
    );
}

/// Started by somebody who may not read the worker: which check failed, and what mends it.
#[test]
fn not_permitted() {
    const NOBODY: u32 = 65534;
    let Some(python) = any_python() else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("not permitted: only root can start otop as another user");
    }
    let target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    // Where the checkout lies in root's home, nobody cannot reach the binary: a copy in a place that everyone can.
    let copy = std::env::temp_dir().join(format!("otop-not-permitted-{}", std::process::id()));
    std::fs::copy(OTOP, &copy).expect("a copy of the binary");
    let mut command = Command::new(&copy);
    command
        .args(["--pid", &target.pid.to_string(), "--once"])
        .uid(NOBODY)
        .gid(NOBODY);
    let ran = run_command(&mut command);
    std::fs::remove_file(&copy).expect("our own copy");
    let way = if in_a_container() { "CONTAINER" } else { "sudo" };
    refused(&ran, 4, &[way, &format!("otop --pid {}", target.pid)]);
}

/// Different causes, different texts.
#[test]
fn no_two_causes_share_a_text() {
    let Some(python) = any_python() else { return };
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep");
    let other = i32::try_from(sleeper.id()).expect("a pid");
    let plain = Target::launch(&python, "not_asyncio.py", &[]);
    let worker = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let ran = [
        once_at(other, &[]),
        once_at(plain.pid, &[]),
        once_at(worker.pid, &["--session-from", "no_such_variable"]),
        once_at(i32::MAX, &[]),
    ];
    sleeper.kill().expect("ours");
    sleeper.wait().expect("it ends");
    let mut texts: Vec<String> = ran
        .iter()
        .map(|ran| ran.stderr.chars().filter(|c| !c.is_ascii_digit()).collect())
        .collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), ran.len(), "{ran:?}");
}

#[test]
fn a_worker_that_ends_while_it_is_watched() {
    use nix::sys::signal::Signal::SIGKILL;
    let Some(python) = any_python() else { return };
    for how in ["quit", "kill", "exec"] {
        let mut target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
        let mut otop = Otop::follow(target.pid, &FROM);
        assert_eq!(otop.fresh(2).labels(), target.alive());
        match how {
            "quit" => target.quit(),
            "kill" => target.signal(SIGKILL),
            _ => target.tell(&["exec"]),
        }
        while let Some(doc) = otop.next() {
            assert_eq!(doc.worker("pid"), target.pid);
        }
        let said = otop.stderr();
        assert_eq!(otop.code(), Some(0), "{how}: there were figures");
        assert!(!said.contains("panicked"), "{how}: {said}");
    }
}

/// Killed in the middle of the one window that --once takes: what there was, or a word that there was nothing.
#[test]
fn a_worker_that_is_killed_within_the_only_window() {
    use nix::sys::signal::Signal::SIGKILL;
    let Some(python) = any_python() else { return };
    let target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    let mut other = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    let pid = target.pid.to_string();
    let long = std::thread::spawn(move || {
        let mut all = vec!["--pid", &pid, "--once", "--window", "20s"];
        all.extend(FROM);
        run(&all)
    });
    // Two documents from another otop: by then the first one, started before it, has long been looking.
    Otop::follow(other.pid, &FROM).fresh(2);
    target.signal(SIGKILL);
    let ran = long.join().expect("otop ends");
    match ran.code {
        Some(0) => assert!(ran.stdout.contains("call-0000"), "{ran:?}"),
        Some(6) => refused(&ran, 6, &[]),
        _ => panic!("{ran:?}"),
    }
    assert!(!other.alive().is_empty() && target.said.iter().all(|event| event["ev"] != "bye"));
}

#[test]
fn a_closed_pipe_counts_as_done() {
    let Some(python) = any_python() else { return };
    let target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    let mut otop = Otop::follow(target.pid, &FROM);
    otop.fresh(1);
    let (code, said) = otop.code_without_a_reader();
    assert_eq!((code, said.as_str()), (Some(0), ""), "as with | head");
}

/// Without a PID and without a terminal: a list, and 2; our two workers are on it.
#[test]
fn several_workers_are_listed() {
    let Some(python) = any_python() else { return };
    let one = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let two = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
    let ran = run(&[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let all = format!("{}{}", ran.stdout, ran.stderr);
    for pid in [one.pid, two.pid] {
        assert!(
            all.split_whitespace()
                .any(|word| word.trim_matches(',') == pid.to_string()),
            "{pid} in {ran:?}"
        );
    }
}

/// The bundled worker, from the one command of the README, without a terminal: a snapshot, and nobody is left behind.
#[test]
fn the_demo_prints_a_snapshot_and_cleans_up() {
    if any_python().is_none() {
        return;
    }
    let ran = run(&["demo"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.contains("session") && ran.stdout.contains("unattributed"),
        "{ran:?}"
    );
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:?}");
}
