//! What sessions wait for, and who waits for a blocked loop: the reading side itself, held against a target that asks
//! its own Python. Judged by names and lines, not by times.

use crate::support::{Python, Target, pythons, pythons_of};
use otop::model::{Census, Observation, SessionKey};
use otop::sampler::{AttachOptions, Attached, attach};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

fn watched(target: &Target) -> Attached {
    let options = AttachOptions {
        rate_hz: 100.0,
        session_from: vec![otop::identity::Spec::variable("call_ref")],
        ..AttachOptions::default()
    };
    attach(otop::model::Pid(target.pid), &options).unwrap_or_else(|why| panic!("{}: {why}", target.what))
}

/// The next observation from which `wanted` gets something.
fn next<T>(attached: &Attached, what: &str, mut wanted: impl FnMut(Observation) -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let observation = attached.observations.recv_timeout(left);
        if let Some(found) = wanted(observation.unwrap_or_else(|why| panic!("{what}: {why}"))) {
            return found;
        }
    }
}

fn census(attached: &Attached, what: &str, fits: impl Fn(&Census) -> bool) -> Census {
    next(attached, what, |observation| match observation {
        Observation::Census(census) if fits(&census) => Some(*census),
        _ => None,
    })
}

/// The line that is to be shown of a session: of its main task the innermost one in the target's own file.
fn wanted(ready: &Value) -> BTreeMap<String, (String, u64)> {
    let file = ready["file"].as_str().expect("a file");
    let mut lines = BTreeMap::new();
    for task in ready["tasks"].as_array().expect("tasks") {
        let (Some(session), Some(name)) = (task["session"].as_str(), task["name"].as_str()) else {
            continue;
        };
        let chain = task["chain"].as_array().expect("a chain");
        let own = chain.iter().rev().find(|place| place["file"] == file);
        if let (true, Some(own)) = (name.ends_with("/main"), own) {
            let function = own["function"].as_str().expect("a name").to_owned();
            lines.insert(session.to_owned(), (function, own["line"].as_u64().expect("a line")));
        }
    }
    assert!(lines.len() > 20, "{lines:?}");
    lines
}

fn sessions_show_where_they_wait(python: &Python, event_loop: &str) {
    let mut target = Target::launch(python, "waits.py", &["--loop", event_loop]);
    let ready = target.said.first().expect("ready").clone();
    let wanted = wanted(&ready);
    let attached = watched(&target);
    // Once when all is new, and once from what is remembered.
    for _ in 0..2 {
        let census = census(&attached, &target.what, |census| census.sessions.len() >= wanted.len());
        let shown: BTreeMap<String, (String, u64)> = census
            .sessions
            .iter()
            .filter_map(|session| {
                let reading = session.reading.as_ref()?;
                assert_eq!(reading.state, "waiting", "{}: {session:?}", target.what);
                let place = (reading.function.to_string(), u64::from(reading.line));
                Some((session.labels.session_id.clone(), place))
            })
            .collect();
        for (session, place) in &wanted {
            // A session with several tasks shows the oldest of those that have own code; here all have, and none has a
            // number: then it is any one of them, always the same.
            let several = ["gather", "task", "wait", "shield", "task_group", "notified"].contains(&session.as_str());
            if !several {
                assert_eq!(shown.get(session), Some(place), "{}: {session}", target.what);
            } else {
                assert!(shown.contains_key(session), "{}: {session}", target.what);
            }
        }
    }
    target.quit();
}

#[test]
fn sessions_show_where_they_wait_on_every_python() {
    for python in pythons() {
        for event_loop in python.loops() {
            sessions_show_where_they_wait(python, event_loop);
        }
    }
}

fn who_waits_for_a_blocked_loop(python: &Python, event_loop: &str) {
    let args = ["--sessions", "6"];
    let mut target = Target::sessions(python, event_loop, &args);
    let attached = watched(&target);
    let census = census(&attached, &target.what, |census| census.sessions.len() == 6);
    let ids: BTreeMap<SessionKey, String> = census
        .sessions
        .iter()
        .map(|session| (session.key, session.labels.session_id.clone()))
        .collect();
    let all: BTreeSet<String> = ids.values().cloned().collect();
    // Every session has a timer that is due five times a second: in two seconds all of them wait.
    target.begin_block("call-0002", 2000, "sleep", "main");
    let mut waiting = BTreeSet::new();
    next(&attached, &target.what, |observation| {
        let Observation::Waiting(seen) = observation else {
            return None;
        };
        if event_loop == "uvloop" {
            assert_eq!(seen.sessions, None, "{}", target.what);
            return Some(());
        }
        let sessions = seen.sessions.unwrap_or_else(|| panic!("{}: not known", target.what));
        let named: BTreeSet<String> = sessions.iter().filter_map(|key| ids.get(key).cloned()).collect();
        assert_eq!(named.len(), sessions.len(), "{}: a session that is none", target.what);
        // What waits goes on to wait while the block lasts.
        assert!(
            named.is_superset(&waiting),
            "{}: {named:?} after {waiting:?}",
            target.what
        );
        waiting = named;
        (waiting == all).then_some(())
    });
    target.until("block_end", |_| true);
}

#[test]
fn who_waits_for_a_blocked_loop_is_said_on_every_python() {
    for python in pythons() {
        for event_loop in python.loops() {
            who_waits_for_a_blocked_loop(python, event_loop);
        }
    }
}

#[test]
fn nobody_waits_for_a_loop_that_does_its_work() {
    for python in pythons_of("3.12") {
        // One session works half of the time, in steps of five milliseconds.
        let mut target = Target::sessions(
            &python,
            "asyncio",
            &["--sessions", "6", "--busy", "0:50", "--step-ms", "5"],
        );
        let attached = watched(&target);
        // Eight walks are two seconds.
        let (mut walks, mut waits) = (0, 0);
        next(&attached, &target.what, |observation| {
            match observation {
                Observation::Census(_) => walks += 1,
                Observation::Waiting(_) => waits += 1,
                _ => {}
            }
            (walks == 8).then_some(())
        });
        // Where the machine takes the CPU away, a loop does stand still.
        assert!(waits <= 2, "{}: {waits} times", target.what);
        target.quit();
    }
}
