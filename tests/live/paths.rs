//! Where an id may stand: the path language of `--session-from` on every Python, against a target that keeps its ids in
//! all of these places at once; and what a path gets that leads nowhere.

use crate::support::{Python, Target, any_python, once, one_python, pythons_of, run};
use serde_json::Value;
use std::collections::BTreeSet;

/// A spec, and what it makes of a session's id and its place in the list.
type Case = (&'static str, fn(&str, u128) -> String);

const BASE: u128 = (0x0af7_6519_16cd_43dd << 64) + 0x8448_eb21_1c80_319c;

fn itself(sid: &str, _: u128) -> String {
    sid.to_owned()
}

fn uuid(_: &str, place: u128) -> String {
    let hex = format!("{:032x}", BASE + place);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

const CASES: &[Case] = &[
    ("plain", itself),
    ("'plain'", itself),
    ("dotted.name", itself),
    ("dotted.ticket", itself),
    ("'path.bare'", itself),
    ("path.bare", itself),
    ("inline.ticket", itself),
    ("materialized.ticket", itself),
    ("many.ticket", itself),
    ("many.field_59|strip('never')", |_, _| "59".to_owned()),
    ("slots.ticket", itself),
    ("mapping['user']['id']", itself),
    ("mapping['user']['schlüssel']", itself),
    ("mapping[\"user\"][7]", itself),
    ("mapping['span-'*].ticket|strip('x')|strip('span-')", |_, _| {
        String::new()
    }),
    ("mapping['span-'*][1]", itself),
    ("in_tuple[1]", itself),
    ("in_tuple[-1][-1]", itself),
    ("in_list[1][1]", itself),
    ("partial.args[1].ticket", itself),
    ("partial.keywords['ticket']", itself),
    ("number|hex(32)", |_, place| format!("{:032x}", BASE + place)),
    ("number", |_, place| (BASE + place).to_string()),
    ("small|hex", |_, place| format!("{place:x}")),
    ("uuid", uuid),
    ("uuid|hex", |_, place| format!("{:032x}", BASE + place)),
    ("subclass|strip('agent-')", itself),
    ("task:name|strip('call ')", itself),
    ("frame:session:sid", itself),
    ("frame:session:ticket.id", itself),
    ("frame:Worker.run_job:job_id", itself),
    ("frame:Worker.turns:turn_id", itself),
];

fn rows(target: &Target, specs: &[&str], window: &str) -> Value {
    let mut args = vec!["--window", window];
    for spec in specs {
        args.extend(["--session-from", spec]);
    }
    once(target.pid, &args).0
}

fn ids(doc: &Value) -> BTreeSet<String> {
    let rows = doc["sessions"].as_array().expect("sessions").iter();
    rows.map(|row| row["session_id"].as_str().expect("an id").to_owned())
        .collect()
}

/// `all`: each case; else only what depends on the loop, which is what runs.
fn every_path(python: &Python, event_loop: &str, all: bool) {
    let target = Target::launch(python, "paths.py", &["--loop", event_loop]);
    let ready = target.said.last().expect("ready").clone();
    let sids: Vec<&str> = ready["sids"]
        .as_array()
        .expect("ids")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(sids.len(), 4);
    for (spec, expected) in CASES.iter().filter(|_| all) {
        let expected: BTreeSet<String> = sids.iter().zip(0..).map(|(sid, place)| expected(sid, place)).collect();
        if expected.contains("") {
            continue; // a named tuple's field is a property: what is not stored is not found
        }
        let doc = rows(&target, &[spec], "100ms");
        assert_eq!(ids(&doc), expected, "{spec} on {}: {}", target.what, doc["quality"]);
        assert_eq!(doc["quality"]["unreadable"], 0, "{spec} on {}", target.what);
    }
    // A wrapper's own name, as stacks show it; before 3.11 its code does not know where it was defined.
    if all && !["3.8", "3.9", "3.10"].contains(&python.minor.as_str()) {
        let doc = rows(&target, &["frame:logged.<locals>.wrapper:args[1]"], "100ms");
        let expected: BTreeSet<String> = sids.iter().map(|&sid| sid.to_owned()).collect();
        assert_eq!(ids(&doc), expected, "{}", target.what);
    }
    // Several: the first that fits wins; one that gives nothing is passed over.
    for specs in [
        ["none", "plain"],
        ["plain", "small"],
        ["dotted.name", "none"],
        ["frame:nowhere:sid", "plain"],
    ] {
        let doc = rows(&target, &specs, "100ms");
        assert_eq!(
            ids(&doc),
            sids.iter().map(|&sid| sid.to_owned()).collect(),
            "{specs:?} on {}",
            target.what
        );
    }
    // What stands in a task or a frame says who serves a session that a contextvar names.
    let args = [
        "--session-from",
        "plain",
        "--agent-from",
        "task:name",
        "--tenant-from",
        "frame:session:sid",
    ];
    let doc = once(target.pid, &[&["--window", "100ms"][..], &args].concat());
    let expected = sids.iter().map(|sid| {
        let names = (Some(format!("call {sid}")), Some((*sid).to_owned()));
        ((*sid).to_owned(), names)
    });
    assert_eq!(doc.labels(), expected.collect(), "{}", target.what);
    // What runs is found as well as what waits.
    for spec in [
        "plain",
        "inline.ticket",
        "mapping['user']['id']",
        "in_list[1][1]",
        "task:name|strip('call ')",
        "frame:session:sid",
        "frame:Worker.run_job:job_id",
        "frame:Worker.turns:turn_id",
    ] {
        let doc = rows(&target, &[spec], "600ms");
        let cpu = |sid: &str| {
            let row = doc["sessions"]
                .as_array()
                .expect("sessions")
                .iter()
                .find(|row| row["session_id"] == sid);
            row.and_then(|row| row["cpu_pct"].as_f64()).expect("a share")
        };
        assert!(cpu("ticket-0") > 10.0, "{spec} on {}: {doc}", target.what);
        assert!(cpu("ticket-1") < 2.0, "{spec} on {}: {doc}", target.what);
        let nobody = doc["unattributed"]["cpu_pct"].as_f64().expect("a share");
        assert!(nobody < cpu("ticket-0"), "{spec} on {}: {doc}", target.what);
    }
}

macro_rules! on_every_python {
    ($($name:ident $minor:literal)*) => { $(
        #[test]
        fn $name() {
            for python in pythons_of($minor).into_iter().rev().take(1) {
                for event_loop in python.loops() {
                    let odd = python.version().1 % 2 == 1;
                    every_path(&python, event_loop, (event_loop == "uvloop") == odd || python.loops().len() == 1);
                }
            }
        }
    )* };
}

on_every_python! {
    every_path_on_3_08 "3.8"
    every_path_on_3_09 "3.9"
    every_path_on_3_10 "3.10"
    every_path_on_3_11 "3.11"
    every_path_on_3_12 "3.12"
    every_path_on_3_13 "3.13"
    every_path_on_3_14 "3.14"
    every_path_on_3_15 "3.15"
}

/// Without anything that names sessions: tasks belong to the task that waits for them, however it waits.
/// A module that was imported twice has its contextvar twice: none of the sessions is lost, and where the two differ neither
/// is believed, whichever lies first in memory.
#[test]
fn contextvars_of_one_name_are_all_asked() {
    let Some(python) = any_python() else { return };
    let mut expected: BTreeSet<String> = ["web", "job", "own"]
        .iter()
        .flat_map(|kind| (0..3).map(move |i| format!("{kind}-{i}")))
        .collect();
    expected.extend(["same".to_owned(), "? left | right".to_owned()]);
    // Addresses are others in every run.
    for _ in 0..3 {
        let target = Target::launch(&python, "twins.py", &[]);
        let doc = rows(&target, &["request_id"], "100ms");
        assert_eq!(ids(&doc), expected, "{}", target.what);
        assert_eq!(doc["worker"]["session_from"], "? request_id");
    }
}

#[test]
fn tasks_belong_to_the_root_that_waits_for_them() {
    for minor in ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        for event_loop in python.loops() {
            let target = Target::launch(
                &python,
                "paths.py",
                &["--loop", event_loop, "--sessions", "1", "--roots"],
            );
            let ready = target.said.last().expect("ready").clone();
            let expected = ready["roots"].as_object().expect("roots");
            assert!(expected.len() >= 6);
            let doc = rows(&target, &["task:root"], "100ms");
            // Many tasks may have been given one name: each is a row, and says where it is.
            let tasks = |name: &str| -> Vec<Value> {
                let rows = doc["sessions"].as_array().expect("rows").iter();
                let is_it =
                    |id: &str| id == name || id.strip_prefix(name).is_some_and(|rest| rest.starts_with(" at 0x"));
                let rows = rows.filter(|row| row["session_id"].as_str().is_some_and(is_it));
                rows.map(|row| row["tasks"].clone()).collect()
            };
            for (name, count) in expected {
                let rows = if name == "wait_direct" { 2 } else { 1 };
                assert_eq!(
                    tasks(name),
                    vec![count.clone(); rows],
                    "{name} on {}: {doc}",
                    target.what
                );
            }
            assert_eq!(tasks("call ticket-0"), [1], "{}", target.what);
            // What the program gave no name has asyncio's number, and what it runs.
            assert_eq!(tasks("Task-1 serve"), [1], "{}", target.what);
            let sum: i64 = doc["sessions"]
                .as_array()
                .expect("rows")
                .iter()
                .filter_map(|row| row["tasks"].as_i64())
                .sum();
            assert_eq!(doc["worker"]["tasks"], sum, "every task has its root: {}", target.what);
        }
    }
}

/// A path that leads nowhere, or to what is no id, is refused with what there is instead; and none of the values is said.
#[test]
fn a_path_that_leads_nowhere_is_refused_with_the_nearest_names() {
    let Some(python) = any_python() else { return };
    let target = Target::launch(&python, "paths.py", &[]);
    let pid = target.pid.to_string();
    let cases = [
        (
            "plane",
            "has a variable named \"plane\"",
            "try: otop --pid",
            "--session-from plain",
        ),
        (
            "inlin.ticket",
            "has a variable named \"inlin\"",
            "the likely ones are \"inline\"",
            "--session-from inline.ticket",
        ),
        (
            "path.bar",
            "has a variable named \"path.bar\"",
            "the likely ones are \"path.bare\"",
            "--session-from path.bare\n",
        ),
        (
            "partial",
            "gives a \"functools.partial\"",
            "it has .args[0]",
            "--session-from 'partial.args[0]'",
        ),
        (
            "in_tuple.tiket",
            "\"BOX\" has no .tiket",
            "it has [1]",
            "--session-from 'in_tuple[1]'",
        ),
        (
            "frame:session:si",
            "the coroutine \"session\" has no local \"si\"",
            "it has sid, ",
            "--session-from frame:session:sid\n",
        ),
        (
            "frame:session:ticket",
            "gives a \"types.SimpleNamespace\"",
            "it has .id, .number",
            "--session-from frame:session:ticket.id\n",
        ),
        (
            "frame:session:ticket.nid",
            "\"types.SimpleNamespace\" has no .nid",
            "it has .id",
            "--session-from frame:session:ticket.id\n",
        ),
        (
            "frame:Worker.run_job:job",
            "the coroutine \"Worker.run_job\" has no local \"job\"",
            "it has job_id, ",
            "--session-from frame:Worker.run_job:job_id\n",
        ),
        (
            "frame:idle:x",
            "the coroutine \"idle\" has no local \"x\"",
            "",
            "otop vars",
        ),
        ("frame:session:children", "gives a \"list\"", "no id", "otop vars"),
        (
            "inline.tiket",
            "\"Ticket\" has no .tiket",
            "it has .ticket",
            "--session-from inline.ticket",
        ),
        (
            "slots.tiket",
            "\"SubSlots\" has no .tiket",
            "it has .ticket",
            "--session-from slots.ticket",
        ),
        (
            "mapping['usr']",
            "\"dict\" has no [\"usr\"]",
            "it has [\"user\"]",
            "--session-from 'mapping[\"user\"][\"id\"]'",
        ),
        ("in_list[9]", "\"list\" has no [9]", "leads nowhere", "otop vars"),
        (
            "mapping['user']",
            "gives a \"dict\"",
            "no id: text, an int of up to 128 bits or a UUID is",
            "mapping[\"user\"][\"id\"]",
        ),
        (
            "inline",
            "gives a \"Ticket\"",
            "it has .kind, .ticket",
            "--session-from inline.kind",
        ),
        ("blob['session']", "gives a \"bytes\"", "no id", "otop vars"),
    ];
    for (spec, what, fact, remedy) in cases {
        let ran = run(&["--pid", &pid, "--once", "--window", "100ms", "--session-from", spec]);
        assert_eq!(ran.code, Some(1), "{spec}: {ran:?}");
        assert!(
            ran.stdout.is_empty() && ran.stderr.trim().lines().count() == 1,
            "{spec}: {ran:?}"
        );
        for word in [what, fact, remedy] {
            assert!(
                ran.stderr.contains(word),
                "{spec}: {word:?} is missing in {}",
                ran.stderr
            );
        }
        assert!(!ran.stderr.contains("ticket-"), "{spec}: a value in {}", ran.stderr);
    }
    // What may still come is no error, and hides none.
    for (specs, code, words) in [
        (&["frame:sesion:sid"][..], 0, "nearly so: session\n"),
        (
            &["frame:nowhere:x"],
            0,
            "no live task is in a coroutine of that name yet\n",
        ),
        (&["frame:nowhere:x", "plain"], 0, ""),
        (&["plane", "frame:nowhere:x"], 1, "--session-from plain\n"),
        (
            &["frame:nowhere:x", "inline.tiket"],
            1,
            "--session-from inline.ticket\n",
        ),
    ] {
        let mut args = vec!["--pid", &pid, "--once", "--json", "--window", "100ms"];
        args.extend(specs.iter().flat_map(|spec| ["--session-from", spec]));
        let ran = run(&args);
        assert_eq!(ran.code, Some(code), "{specs:?}: {ran:?}");
        assert!(
            ran.stderr.ends_with(words) && ran.stderr.is_empty() == words.is_empty(),
            "{specs:?}: {ran:?}"
        );
        let doc = serde_json::from_str::<Value>(&ran.stdout).unwrap_or_default();
        let is_met = doc["worker"]["session_from"].is_string();
        assert_eq!(is_met, code == 0 && words.is_empty(), "{specs:?}: {ran:?}");
    }
    // Unset, or None: it may still come, and is no error.
    for spec in [
        "none",
        "none.user",
        "frame:nowhere:x",
        "task:name|strip('call ')",
        "task:root",
    ] {
        let ran = run(&["--pid", &pid, "--once", "--window", "100ms", "--session-from", spec]);
        assert_eq!(ran.code, Some(0), "{spec}: {ran:?}");
    }
}
