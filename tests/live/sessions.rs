//! Who is there: on every Python and loop, otop's rows equal the target's own list, by id, agent and tenant; they come
//! and go with it; every kind of text is an id; nothing is counted for a wrong one. Judged by the target's events and
//! otop's next documents alone.

use crate::support::{
    Doc, FROM, Labels, Otop, Python, Target, WINDOW, any_python, near, once, one_python, pythons, pythons_of, run,
};
use std::collections::BTreeSet;

const LONG: &str = "📞🎧🎤💬🔔📣📢🔈🔊📡";

/// The whole life of sessions on one Python and loop: the first ones, one that comes, one that goes, a hog, a blocker.
fn whole_life(python: &Python, event_loop: &str) {
    let mut target = Target::sessions(python, event_loop, &["--sessions", "5", "--distractors", "40"]);
    let mut otop = Otop::follow(target.pid, &FROM);

    let doc = otop.settled();
    assert_eq!(doc.labels(), target.alive(), "{}", target.what);
    assert_eq!(doc.0["schema"], 1);
    assert_eq!(doc.worker("pid"), target.pid);
    assert_eq!(doc.worker("python"), &target.python, "{}", target.what);
    assert_eq!(doc.worker("loop"), event_loop, "{}", target.what);
    assert_eq!(doc.worker("active_sessions"), 5);
    assert_memory_is_shared(&doc);

    let long = LONG.repeat(20); // 200 characters of four bytes
    target.start(&long, Some("éàü"), None);
    target.start("通話-1", None, Some("通話"));
    target.end("call-0002");
    let doc = otop.settled();
    assert_eq!(doc.labels(), target.alive(), "{}", target.what);
    assert_eq!(doc.labels()[&long], (Some("éàü".to_owned()), None));
    assert_memory_is_shared(&doc);

    // A hog of short steps uses the CPU and is not slow; a blocker is slow and uses none.
    target.tell(&["busy", "call-0001", "40", "2"]);
    target.until("ok", |_| true);
    let block = target.block("call-0003", 200, "sleep", "child");
    let doc = otop.until("the block is reported", |_, blame| !blame.blocks.is_empty());
    assert_eq!(doc.row("call-0003")["status"], "slow", "{}", target.what);
    let blocks = &otop.blame.blocks["call-0003"];
    assert_eq!(blocks.len(), 1, "{}: {blocks:?}", target.what);
    near(
        "duration of the block",
        blocks[0]["duration_ms"].as_f64().unwrap(),
        block["ms"].as_f64().unwrap(),
        0.2,
        20.0,
    );
    let doc = otop.settled();
    assert!(
        doc.row("call-0001")["cpu_pct"].as_f64() > Some(20.0),
        "{}: {}",
        target.what,
        doc.0
    );
    assert!(
        doc.row("call-0003")["cpu_pct"].as_f64().unwrap() < 5.0,
        "{}: {}",
        target.what,
        doc.0
    );
    assert_eq!(
        otop.blame.anybody(),
        BTreeSet::from(["call-0003".to_owned()]),
        "{}: {:?}",
        target.what,
        otop.blame
    );
    assert!(!"Tt".contains(target.state()), "{} is stopped", target.what);

    // Its end is no error: what there was is printed, and 0.
    target.quit();
    while otop.next().is_some() {}
    assert_eq!(otop.code(), Some(0), "{}", target.what);
}

/// The rows' equal shares sum to what the process has; whoever ended has none.
fn assert_memory_is_shared(doc: &Doc) {
    let sum: f64 = doc.rows().iter().filter_map(|row| row["mem_mb"].as_f64()).sum();
    near("the rows' memory", sum, doc.number("/worker/rss_mb"), 0.01, 1.0);
}

macro_rules! on_every_python {
    ($($name:ident $minor:literal $event_loop:literal)*) => { $(
        #[test]
        fn $name() {
            for python in pythons_of($minor) {
                if python.loops().contains(&$event_loop) {
                    whole_life(&python, $event_loop);
                } else {
                    crate::support::skip(&format!("uvloop on Python {}", python.label));
                }
            }
        }
    )* };
}

on_every_python! {
    whole_life_on_3_08_asyncio "3.8" "asyncio"    whole_life_on_3_08_uvloop "3.8" "uvloop"
    whole_life_on_3_09_asyncio "3.9" "asyncio"    whole_life_on_3_09_uvloop "3.9" "uvloop"
    whole_life_on_3_10_asyncio "3.10" "asyncio"   whole_life_on_3_10_uvloop "3.10" "uvloop"
    whole_life_on_3_11_asyncio "3.11" "asyncio"   whole_life_on_3_11_uvloop "3.11" "uvloop"
    whole_life_on_3_12_asyncio "3.12" "asyncio"   whole_life_on_3_12_uvloop "3.12" "uvloop"
    whole_life_on_3_13_asyncio "3.13" "asyncio"   whole_life_on_3_13_uvloop "3.13" "uvloop"
    whole_life_on_3_14_asyncio "3.14" "asyncio"   whole_life_on_3_14_uvloop "3.14" "uvloop"
    whole_life_on_3_15_asyncio "3.15" "asyncio"   whole_life_on_3_15_uvloop "3.15" "uvloop"
}

/// A worker in a container, seen from the host.
#[test]
fn in_a_container() {
    let found: Vec<Python> = pythons().iter().filter_map(Python::in_a_container).collect();
    if found.is_empty() {
        crate::support::skip(
            "a worker in a container: no Python in a root of its own (scripts/pythons --all makes some)",
        );
    }
    for (i, python) in found.iter().enumerate() {
        let event_loop = if python.uvloop && i % 2 == 0 {
            "uvloop"
        } else {
            "asyncio"
        };
        whole_life(python, event_loop);
    }
}

/// Nobody has called yet, or nobody any more: a table that says so, and no error.
#[test]
fn a_worker_without_sessions() {
    let Some(python) = any_python() else { return };
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "0"]);
    assert_eq!(once(target.pid, &FROM).labels(), Labels::new());
    // Nothing that otop knows names sessions there: tasks stand for them, and that is said.
    let doc = once(target.pid, &[]);
    assert_eq!(doc.worker("session_from"), "tasks");
    let ids: Vec<String> = doc.labels().into_keys().collect();
    assert_eq!(ids, ["Task-1 serve_loop"]);
    target.start("first", None, None);
    target.end("first");
    assert_eq!(once(target.pid, &FROM).labels(), Labels::new());
}

/// Ids that the task sets itself, after it was created with none.
#[test]
fn ids_that_are_set_inside_the_task() {
    for minor in ["3.8", "3.12", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        for event_loop in python.loops() {
            let mut target = Target::sessions(&python, event_loop, &["--sessions", "3", "--set-inside"]);
            let mut otop = Otop::follow(target.pid, &FROM);
            target.start("late", Some("a"), Some("t"));
            assert_eq!(otop.settled().labels(), target.alive(), "{}", target.what);
        }
    }
}

/// Every width of CPython's strings, short and of 200 characters.
#[test]
fn ids_of_every_kind_of_text() {
    for minor in ["3.8", "3.11", "3.12", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        for kind in ["ascii", "latin1", "bmp", "astral"] {
            for length in ["0", "200"] {
                let args = ["--sessions", "3", "--id-kind", kind, "--id-length", length];
                let mut target = Target::sessions(&python, "asyncio", &args);
                let mut all = FROM.to_vec();
                all.extend(["--window", "200ms"]);
                let doc = once(target.pid, &all);
                assert_eq!(doc.labels(), target.alive(), "{}", target.what);
            }
        }
    }
}

/// What sits in the worker's memory never reaches the terminal as anything but text.
#[test]
fn control_characters_stay_in_the_worker() {
    let Some(python) = any_python() else { return };
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "0"]);
    let evil = "\u{1b}[31mred\u{7}\u{9b}2J\r\nnext\u{202e}";
    target.start(evil, Some("\u{1b}]0;title\u{7}"), Some("a\tb"));
    let doc = once(target.pid, &FROM);
    assert_eq!(doc.labels(), target.alive(), "JSON has the id as it is");
    let pid = target.pid.to_string();
    let mut all = vec!["--pid", &pid, "--once"];
    all.extend(FROM);
    let ran = run(&all);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("red"), "{ran:?}");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(
        !ran.stdout.contains(control) && !ran.stdout.contains('\u{202e}'),
        "{ran:?}"
    );
    assert!(
        !ran.stdout.lines().any(|line| line.starts_with("next")),
        "a line of its own: {ran:?}"
    );
    all.push("--json"); // which people look at in a terminal, too
    let ran = run(&all);
    assert!(ran.code == Some(0) && !ran.stdout.contains(control), "{ran:?}");
}

/// A queue consumer: one task that sets another id in the same context every few milliseconds.
#[test]
fn a_consumer_that_rebinds_its_id_gives_nobody_elses_figures() {
    for minor in ["3.8", "3.11", "3.12", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        for event_loop in python.loops() {
            let args = ["--sessions", "4", "--rebind-ms", "5", "--distractors", "40"];
            let mut target = Target::sessions(&python, event_loop, &args);
            let mut otop = Otop::follow(target.pid, &FROM);
            let steady = target.alive();
            let rebound = |n: u32| format!("rebind-{n}");
            let known: BTreeSet<String> = steady.keys().cloned().chain((0..4).map(rebound)).collect();
            for _ in 0..6 {
                let doc = otop.fresh(1);
                let ids: BTreeSet<String> = doc.labels().into_keys().collect();
                assert!(ids.is_subset(&known), "{}: {ids:?}", target.what);
                for row in doc.rows() {
                    let sid = row["session_id"].as_str().unwrap();
                    // 0 and 2 work, 1 and 3 set their id and sleep, the steady ones wait.
                    let works = sid == "rebind-0" || sid == "rebind-2";
                    let cpu = row["cpu_pct"].as_f64().unwrap_or(0.0);
                    assert!(
                        works || cpu < 6.0,
                        "{}: {cpu} % for {sid}, which does nothing",
                        target.what
                    );
                }
            }
            let ids: BTreeSet<String> = steady.into_keys().collect();
            assert!(
                otop.settled()
                    .labels()
                    .into_keys()
                    .collect::<BTreeSet<_>>()
                    .is_superset(&ids),
                "{}",
                target.what
            );
            assert!(otop.blame.anybody().is_empty(), "{}: {:?}", target.what, otop.blame);
        }
    }
}

/// Several loops in one process, each in a thread: all their sessions are there.
#[test]
fn several_loops_in_one_process() {
    for minor in ["3.8", "3.11", "3.12", "3.14", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        for event_loop in python.loops() {
            let mut target = Target::sessions(&python, event_loop, &["--sessions", "7", "--loops", "3"]);
            let mut otop = Otop::follow(target.pid, &FROM);
            let doc = otop.settled();
            assert_eq!(doc.labels(), target.alive(), "{}", target.what);
            assert_eq!(doc.worker("loops").as_array().map(Vec::len), Some(3), "{}", target.what);
            for event_loop in doc.worker("loops").as_array().into_iter().flatten() {
                let busy = event_loop["loop_pct"].as_f64().expect("a share of the window");
                assert!(busy < 30.0, "{}: nothing runs, and {event_loop}", target.what);
            }
            let long = |block: &&serde_json::Value| block["cause"] != "unscheduled" && block["cause"] != "stolen";
            let blocks: Vec<_> = doc.blocks().iter().filter(long).collect();
            assert!(blocks.is_empty(), "{}: nothing runs, and {blocks:?}", target.what);
            target.block("call-0001", 200, "sleep", "child"); // lives in the second loop
            otop.until("the block is reported", |_, blame| !blame.blocks.is_empty());
            assert_eq!(
                otop.blame.anybody(),
                BTreeSet::from(["call-0001".to_owned()]),
                "{}: {:?}",
                target.what,
                otop.blame
            );
        }
    }
}

/// Sessions that come and go all the time: nobody who was never there, and the end of it is as empty as it should be.
#[test]
fn churn_leaves_nothing_behind() {
    for minor in ["3.9", "3.13"] {
        let Some(python) = one_python(minor) else { continue };
        let mut target = Target::sessions(&python, "asyncio", &["--sessions", "1"]);
        let mut otop = Otop::follow(target.pid, &FROM);
        otop.fresh(1);
        let mut ever: BTreeSet<String> = target.alive().into_keys().collect();
        for round in 0..30 {
            let sid = format!("churn-{round}");
            target.start(&sid, Some("a"), None);
            ever.insert(sid);
            if round >= 5 {
                target.end(&format!("churn-{}", round - 5));
            }
            if round % 5 == 0 {
                let ids: BTreeSet<String> = otop.fresh(1).labels().into_keys().collect();
                assert!(ids.is_subset(&ever), "{}: {ids:?}", target.what);
            }
        }
        assert_eq!(otop.settled().labels(), target.alive(), "{}", target.what);
        for (sid, _) in target.alive() {
            target.end(&sid);
        }
        let doc = otop.settled();
        assert_eq!(doc.labels(), Labels::new(), "{}", target.what);
        assert_eq!(doc.worker("active_sessions"), 0);
        // A task that failed and is still held by the program leaves a row that is not live, for ten seconds.
        target.start("doomed", None, None);
        otop.settled();
        target.tell(&["fail", "doomed"]);
        target.until("session_end", |event| event["sid"] == "doomed");
        assert_eq!(otop.settled().labels(), Labels::new(), "{}", target.what);
    }
}

/// The table: the original's nine columns in its order, a row a session, `unattributed` last, and plain text.
#[test]
fn the_table_without_a_terminal() {
    let Some(python) = any_python() else { return };
    let mut target = Target::sessions(&python, "asyncio", &["--sessions", "4"]);
    let pid = target.pid.to_string();
    let table = |more: &[&str]| {
        let mut all = vec!["--pid", &pid, "--once", "--window", WINDOW];
        all.extend(FROM);
        all.extend(more);
        let ran = run(&all);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            !ran.stdout.contains('\u{1b}'),
            "escape codes without a terminal: {ran:?}"
        );
        ran.stdout
    };
    let text = table(&[]);
    let heading = text
        .lines()
        .find(|line| line.contains("session") && line.contains("dur(s)"));
    let heading = heading.unwrap_or_else(|| panic!("no headings in:\n{text}"));
    let mut from = 0;
    for word in [
        "session", "agent", "tenant", "dur(s)", "mem(MB)", "peak", "cpu%", "status", "pin",
    ] {
        let at = heading[from..]
            .find(word)
            .unwrap_or_else(|| panic!("{word} is not in its place in: {heading}"));
        from += at + word.len();
    }
    for sid in target.alive().keys() {
        assert_eq!(
            text.lines().filter(|line| line.contains(sid.as_str())).count(),
            1,
            "{sid} in:\n{text}"
        );
    }
    let last = text.lines().rfind(|line| line.contains(char::is_alphabetic)); // past the frame
    let last = last.unwrap_or_default();
    assert!(last.contains("unattributed"), "the last row of:\n{text}");

    let sorted = table(&["--sort", "session_id"]);
    let place = |sid: &str| sorted.find(sid).unwrap_or_else(|| panic!("{sid} in:\n{sorted}"));
    assert!(
        place("call-0000") < place("call-0001") && place("call-0001") < place("call-0003"),
        "{sorted}"
    );

    let filtered = table(&["--agent", "agent-1"]);
    assert!(
        filtered.contains("call-0001") && !filtered.contains("call-0002"),
        "{filtered}"
    );
    assert!(
        filtered.contains("hidden") && filtered.contains("unattributed"),
        "{filtered}"
    );
    let filtered = table(&["--tenant", "tenant-2"]);
    assert!(
        filtered.contains("call-0002") && !filtered.contains("call-0001"),
        "{filtered}"
    );
    let filtered = table(&["--status", "slow"]);
    assert!(
        !filtered.contains("call-0001") && filtered.contains("unattributed"),
        "{filtered}"
    );
}
