//! Who uses the CPU: otop's sums against the target's own clocks. Steps, threads, and what is nobody's. The tolerances
//! are wide, for a loaded machine: scripts/truth judges precision, these judge that nothing is lost, counted twice or
//! given to another.

use crate::support::{FROM, Otop, Python, Target, near, one_python, with_loop};
use std::collections::BTreeMap;

/// Reads both sides' clocks, otop's document first, the target's answer right after it.
fn look(otop: &mut Otop, target: &mut Target, n: usize) -> (f64, BTreeMap<String, f64>, f64, BTreeMap<String, f64>) {
    let doc = otop.fresh(n);
    let (process, truth) = target.cpu();
    let said = doc.rows().iter().map(|row| {
        (
            row["session_id"].as_str().unwrap().to_owned(),
            row["cpu_s"].as_f64().expect("cpu_s after the first window"),
        )
    });
    (doc.cpu_total(), said.collect(), process, truth)
}

/// Two hogs of different size and step, one session that works in a thread, and idle ones, over some seconds.
fn every_second(python: &Python, event_loop: &str) {
    let args = [
        "--sessions",
        "6",
        "--busy",
        "1:20",
        "--step-ms",
        "1",
        "--threads",
        "3:25",
        "--distractors",
        "40",
    ];
    let mut target = Target::sessions(python, event_loop, &args);
    target.tell(&["busy", "call-0002", "10", "0.2"]);
    target.until("ok", |_| true);
    let mut otop = Otop::follow(target.pid, &FROM);
    let (total, said, process, truth) = look(&mut otop, &mut target, 2);
    let (total_2, said_2, process_2, truth_2) = look(&mut otop, &mut target, 10);

    near(
        &format!("{}: the whole", target.what),
        total_2 - total,
        process_2 - process,
        0.10,
        0.1,
    );
    let used = process_2 - process;
    for sid in target.alive().keys() {
        let zero = 0.0;
        let truly = truth_2.get(sid).unwrap_or(&zero) - truth.get(sid).unwrap_or(&zero);
        // A step costs its loop something, too, and that is the session's: so the truth is a lower bound.
        let got = said_2[sid] - said[sid];
        near(
            &format!("{}: {sid} of {used:.2} s", target.what),
            got,
            truly,
            0.25,
            0.15,
        );
    }
    assert!(
        otop.blame.anybody().is_empty(),
        "short steps block nobody: {:?}",
        otop.blame
    );
}

#[test]
fn every_second_of_cpu_is_somebodys() {
    for (minor, event_loop) in [
        ("3.8", "asyncio"),
        ("3.11", "uvloop"),
        ("3.12", "asyncio"),
        ("3.15", "uvloop"),
    ] {
        with_loop(minor, event_loop, every_second);
    }
}

/// Callbacks have a context of their own, which nobody has met before: what they share with others, their set of variables,
/// is known. That this is quick enough for the shortest of them is no test's to judge on a loaded machine.
fn own_contexts(python: &Python, event_loop: &str) {
    let args = ["--sessions", "4", "--callbacks", "0:2000", "--callbacks", "1:2000"];
    let mut target = Target::sessions(python, event_loop, &args);
    let mut otop = Otop::follow(target.pid, &FROM);
    let (_, said, _, truth) = look(&mut otop, &mut target, 2);
    let (_, said_2, _, truth_2) = look(&mut otop, &mut target, 6);
    for sid in target.alive().keys() {
        let zero = 0.0;
        let truly = truth_2.get(sid).unwrap_or(&zero) - truth.get(sid).unwrap_or(&zero);
        let got = said_2[sid] - said[sid];
        near(&format!("{}: {sid}", target.what), got, truly, 0.25, 0.15);
    }
}

#[test]
fn steps_in_contexts_of_their_own_are_their_sessions() {
    for (minor, event_loop) in [
        ("3.8", "asyncio"),
        ("3.12", "asyncio"),
        ("3.13", "uvloop"),
        ("3.15", "asyncio"),
    ] {
        with_loop(minor, event_loop, own_contexts);
    }
}

/// What runs in a plain executor has no context: it is nobody's, and it is not lost.
#[test]
fn work_without_a_context_is_unattributed() {
    let Some(python) = one_python("3.12") else { return };
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "2"]);
    let mut otop = Otop::follow(target.pid, &FROM);
    let before = otop.fresh(2);
    target.block("call-0000", 1000, "py", "executor");
    let after = otop.settled();
    let unattributed = after.number("/unattributed/cpu_s") - before.number("/unattributed/cpu_s");
    assert!(unattributed > 0.8, "{unattributed} s of 1 s in {}", after.0);
    let session =
        after.row("call-0000")["cpu_s"].as_f64().unwrap() - before.row("call-0000")["cpu_s"].as_f64().unwrap();
    assert!(session < 0.2, "{session} s are the session's, which had no part in it");
}
