//! The real OpenRTC worker, introspection off, no flags: ids, agents, tenants and durations equal the pool's own
//! records at every look; slow names who blocked and nobody else; also while it is stuck, and while it drains.

use crate::support::{Doc, Labels, Otop, Target, near, once, openrtc, run};
use serde_json::Value;
use std::collections::BTreeMap;

/// Longer than anything that the packages themselves do in one step, shorter than what we do on purpose.
const OURS: f64 = 200.0;

const LOOPS: [&str; 2] = ["asyncio", "uvloop"];

fn start(minor: &str, event_loop: &str, more: &[&str]) -> Option<Target> {
    let python = openrtc(minor)?;
    let mut args = vec!["--loop", event_loop];
    args.extend(more);
    let mut target = Target::launch(&python, "openrtc_worker.py", &args);
    target.until("started", |_| true);
    Some(target)
}

/// The pool's own records, at this moment.
fn pool(target: &mut Target) -> Value {
    target.tell(&["pool"]);
    target.until("pool", |_| true)
}

fn pool_labels(pool: &Value) -> Labels {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let rows = pool["sessions"].as_array().expect("a list");
    rows.iter()
        .map(|row| {
            (
                word(&row["sid"]).expect("an id"),
                (word(&row["agent"]), word(&row["tenant"])),
            )
        })
        .collect()
}

fn durations(pool: &Value) -> BTreeMap<String, f64> {
    let rows = pool["sessions"].as_array().expect("a list").iter();
    rows.filter_map(|row| Some((row["sid"].as_str()?.to_owned(), row["duration_s"].as_f64()?)))
        .collect()
}

/// One look: the pool is asked before and after the document, and what held throughout must be in it.
fn equals_the_pool(otop: &mut Otop, target: &mut Target) -> Doc {
    let before = pool(target);
    let doc = otop.settled();
    let after = pool(target);
    assert_eq!(
        pool_labels(&before),
        pool_labels(&after),
        "{}: nothing comes or goes meanwhile",
        target.what
    );
    assert_eq!(doc.labels(), pool_labels(&after), "{}", target.what);
    let (least, most) = (durations(&before), durations(&after));
    for row in doc.rows() {
        let sid = row["session_id"].as_str().expect("an id");
        let said = row["duration_s"].as_f64().expect("a duration");
        // The document was made between the two answers; the slack is for clocks that are read one after another.
        assert!(
            least[sid] - 0.05 <= said && said <= most[sid] + 0.05,
            "{}: {row}: {least:?} {most:?}",
            target.what
        );
        assert_eq!(
            row["duration_is_lower_bound"], false,
            "{}: OpenRTC keeps it: {row}",
            target.what
        );
        assert_eq!(row["pinned"], false, "{row}");
    }
    for key in ["started", "failed", "max_sessions", "draining", "last_error"] {
        assert_eq!(doc.worker(key), &after[key], "{}: {key}", target.what);
    }
    assert_eq!(
        doc.worker("active_sessions"),
        after["sessions"].as_array().map_or(0, Vec::len),
        "{}",
        target.what
    );
    doc
}

fn whole_life(minor: &str, event_loop: &str) {
    let Some(mut target) = start(minor, event_loop, &["--sessions", "4"]) else {
        return;
    };
    let mut otop = Otop::follow(target.pid, &[]);
    let doc = equals_the_pool(&mut otop, &mut target);
    assert_eq!(doc.worker("loop"), event_loop, "{}", target.what);
    // Its spans name no session that OpenRTC does not.
    assert_eq!(doc.worker("session_from"), "openrtc", "{}", target.what);
    let host = nix::unistd::gethostname()
        .expect("a host name")
        .into_string()
        .expect("a plain host name");
    assert_eq!(doc.worker("name"), &host);
    let memory: f64 = doc.rows().iter().filter_map(|row| row["mem_mb"].as_f64()).sum();
    near("the rows' memory", memory, doc.number("/worker/rss_mb"), 0.01, 1.0);

    // A call that is still being set up is a session already; its root task still has the ids.
    target.tell(&["start", "AJ_held", "dental", "initech", "held"]);
    target.until("session_start", |event| event["sid"] == "AJ_held");
    let doc = equals_the_pool(&mut otop, &mut target);
    assert_eq!(
        doc.labels()["AJ_held"],
        (Some("dental".to_owned()), Some("initech".to_owned()))
    );
    target.tell(&["block", "AJ_held", "250", "sleep", "main"]);
    target.until("block_end", |_| true);
    let doc = otop.until("the block in the root task is reported", |_, blame| {
        !blame.of_at_least(OURS).is_empty()
    });
    let held = BTreeMap::from([("AJ_held".to_owned(), 1)]);
    assert_eq!(otop.blame.of_at_least(OURS), held, "{}", target.what);
    assert_eq!(doc.row("AJ_held")["status"], "slow", "{}", target.what);
    target.tell(&["go", "AJ_held"]);
    target.until("ok", |_| true);
    equals_the_pool(&mut otop, &mut target);

    // Every other place, each from a session of its own.
    let places = [
        ("child", "py", 400),
        ("callback", "sleep", 400),
        ("timer", "sleep", 400),
        ("to_thread", "c", 800), // the loop is blocked only from its next timer on, and C calls are not exact
    ];
    let sids: Vec<String> = pool_labels(&pool(&mut target))
        .into_keys()
        .filter(|sid| sid != "AJ_held")
        .collect();
    let mut tries = BTreeMap::from([("AJ_held".to_owned(), 1)]);
    for (sid, (place, kind, ms)) in sids.iter().zip(places) {
        tries.insert(sid.clone(), target.block_undisturbed(sid, ms, kind, place));
    }
    otop.until("the blocks are reported", |_, blame| {
        let nobody = blame
            .nobody
            .iter()
            .filter(|block| block["duration_ms"].as_f64() >= Some(OURS));
        blame.of_at_least(OURS).values().sum::<usize>() + nobody.count() >= tries.values().sum()
    });
    let doc = otop.settled();
    let found = otop.blame.of_at_least(OURS);
    assert!(
        found.keys().eq(tries.keys()),
        "{}: {places:?} by {sids:?}: {:?}",
        target.what,
        otop.blame
    );
    // Of a block that was disturbed nobody in the worker need be the culprit, but nobody blocked more often.
    assert!(
        found.iter().all(|(sid, times)| times <= &tries[sid]),
        "{}: {tries:?}: {:?}",
        target.what,
        otop.blame
    );
    let slow = doc
        .rows()
        .iter()
        .filter(|row| row["status"] == "slow" && row["blocks"] == 0);
    assert_eq!(slow.count(), 0, "{}: slow without a block: {}", target.what, doc.0);

    // The ids are reset in the root task by now; what it does while the call closes is the session's nevertheless.
    target.tell(&["block", "AJ_held", "300", "sleep", "closing"]);
    target.tell(&["end", "AJ_held"]);
    target.until("session_end", |event| event["sid"] == "AJ_held");
    otop.until("the block at its end is reported", |_, blame| {
        blame.of_at_least(OURS).get("AJ_held") == Some(&2)
    });
    assert!(
        otop.blame.of_at_least(OURS).keys().eq(tries.keys()),
        "{}: {:?}",
        target.what,
        otop.blame
    );
    equals_the_pool(&mut otop, &mut target);

    // A session that cannot be built leaves the counters and no live row.
    target.tell(&["start", "AJ_fails", "dental", "initech", "fail"]);
    target.until("session_end", |event| event["sid"] == "AJ_fails");
    let doc = equals_the_pool(&mut otop, &mut target);
    assert_eq!(doc.worker("failed"), 1, "{}", target.what);

    target.tell(&["drain"]);
    target.until("drain", |_| true);
    let doc = equals_the_pool(&mut otop, &mut target);
    assert_eq!(doc.worker("draining"), true, "{}", target.what);
    otop.until("the window of the last block is over and all drain", |doc, _| {
        doc.rows().iter().all(|row| row["status"] == "draining")
    });
}

macro_rules! on_every_environment {
    ($($name:ident $minor:literal $event_loop:literal)*) => { $(
        #[test]
        fn $name() {
            whole_life($minor, $event_loop);
        }
    )* };
}

on_every_environment! {
    openrtc_on_3_11_asyncio "3.11" "asyncio"   openrtc_on_3_11_uvloop "3.11" "uvloop"
    openrtc_on_3_12_asyncio "3.12" "asyncio"   openrtc_on_3_12_uvloop "3.12" "uvloop"
    openrtc_on_3_13_asyncio "3.13" "asyncio"   openrtc_on_3_13_uvloop "3.13" "uvloop"
}

/// The emergency: stuck for nine seconds, and otop comes in the middle. The original says that there is no pool.
#[test]
fn openrtc_stuck_for_nine_seconds() {
    for (minor, event_loop, kind, place) in [
        ("3.11", "asyncio", "sleep", "child"),
        ("3.12", "uvloop", "sleep", "callback"),
        ("3.12", "asyncio", "c", "to_thread"),
        ("3.13", "uvloop", "py", "child"),
    ] {
        let Some(mut target) = start(minor, event_loop, &["--sessions", "3"]) else {
            continue;
        };
        let sid = pool_labels(&pool(&mut target))
            .into_keys()
            .nth(1)
            .expect("three sessions");
        let before = pool(&mut target);
        target.begin_block(&sid, 9000, kind, place);
        let doc = once(target.pid, &[]);
        assert_eq!(doc.labels(), pool_labels(&before), "{}", target.what);
        for (sid, least) in durations(&before) {
            assert!(
                doc.row(&sid)["duration_s"].as_f64() >= Some(least - 0.05),
                "{}: {}",
                target.what,
                doc.0
            );
        }
        let slow: Vec<_> = doc.rows().iter().filter(|row| row["status"] == "slow").collect();
        assert!(
            slow.len() == 1 && slow[0]["session_id"] == sid.as_str(),
            "{}: {slow:?}",
            target.what
        );
        let block = doc.blocks().iter().find(|block| block["ongoing"] == true);
        let block = block.unwrap_or_else(|| panic!("{} {kind} in {place}: {:?}", target.what, doc.blocks()));
        assert_eq!(block["session_id"], sid.as_str(), "{block}");
        // A thread that holds the GIL blocks the loop from its next timer on: that may be after otop came.
        let began_unseen = block["started_at"].is_null();
        assert_eq!(block["duration_is_lower_bound"], began_unseen, "{block}");
        assert!(began_unseen || place == "to_thread", "{block}");
    }
}

/// Sessions that come, greet, speak, fail and go by themselves: whoever held through a look is there, whoever was gone
/// before it is not.
#[test]
fn openrtc_under_churn() {
    for (minor, event_loop) in [("3.11", "uvloop"), ("3.12", "asyncio"), ("3.13", "uvloop")] {
        let args = [
            "--sessions",
            "6",
            "--churn",
            "4",
            "--fail-every",
            "4",
            "--greeting",
            "0.6",
            "--speak",
        ];
        let Some(mut target) = start(minor, event_loop, &args) else {
            continue;
        };
        let mut otop = Otop::follow(target.pid, &[]);
        for _ in 0..6 {
            let before = pool_labels(&pool(&mut target));
            let doc = otop.settled();
            let after = pool_labels(&pool(&mut target));
            let said = doc.labels();
            for (sid, labels) in &after {
                if before.contains_key(sid) {
                    assert_eq!(said.get(sid), Some(labels), "{}: {sid}", target.what);
                }
            }
            // Since `before` more than a second has passed: who is in neither answer came and went within it.
            let ended = |sid: &str| {
                target
                    .said
                    .iter()
                    .any(|event| event["ev"] == "session_end" && event["sid"] == *sid)
            };
            for sid in said
                .keys()
                .filter(|sid| !before.contains_key(*sid) && !after.contains_key(*sid))
            {
                assert!(ended(sid), "{}: {sid} was never there", target.what);
            }
        }
    }
}

/// The production way: pool.run(), livekit's `start` command with its own loop, threads and logs.
#[test]
fn openrtc_through_its_command_line() {
    for event_loop in LOOPS {
        let Some(mut target) = start("3.12", event_loop, &["--sessions", "3", "--cli"]) else {
            continue;
        };
        let mut otop = Otop::follow(target.pid, &[]);
        equals_the_pool(&mut otop, &mut target);
    }
}

/// What the worker itself serves at its socket, in the same table: the same people by the same names.
#[test]
fn the_workers_own_socket() {
    let socket = std::env::temp_dir().join(format!("otop-test-{}.sock", std::process::id()));
    let path = socket.to_str().expect("a plain path");
    let more = ["--sessions", "3", "--introspection", "on", "--socket", path];
    let Some(mut target) = start("3.12", "asyncio", &more) else {
        return;
    };
    let ran = run(&["--socket", path, "--once"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let truth = pool_labels(&pool(&mut target));
    for (sid, (agent, tenant)) in &truth {
        // The column may be narrower than the id; its beginning is another one for each.
        let row = ran.stdout.lines().find(|line| line.contains(&sid[.."AJ_000".len()]));
        let row = row.unwrap_or_else(|| panic!("{sid} in {ran:?}"));
        for label in [agent, tenant].into_iter().flatten() {
            assert!(row.contains(label.as_str()), "{label} in {row}");
        }
    }
    drop(target);
    let _ = std::fs::remove_file(socket); // it was killed, so it left it there
}
