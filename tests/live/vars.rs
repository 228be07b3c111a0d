//! `otop vars`: what contextvars there are, on every Python; values only where they are asked for, a credential never,
//! and nothing hostile on the terminal.

use crate::support::{Ran, Target, any_python, one_python, presets, run};
use serde_json::Value;
use std::collections::BTreeSet;

fn vars(target: &Target, more: &[&str]) -> Ran {
    let pid = target.pid.to_string();
    let mut all = vec!["vars", "--pid", &pid];
    all.extend(more);
    let ran = run(&all);
    assert_eq!(ran.code, Some(0), "{}: {ran:?}", target.what);
    ran
}

fn document(target: &Target, more: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(more);
    serde_json::from_str(&vars(target, &all).stdout).expect("a JSON document")
}

fn variable<'d>(document: &'d Value, name: &str) -> &'d Value {
    let mut variables = document["variables"].as_array().expect("variables").iter();
    variables
        .find(|v| v["name"] == name)
        .unwrap_or_else(|| panic!("{name} in {document}"))
}

#[test]
fn holders_values_and_types_on_every_python() {
    for minor in ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"] {
        let Some(python) = one_python(minor) else { continue };
        let target = Target::launch(&python, "held.py", &[]);
        let found = document(&target, &[]);
        assert_eq!(found["tasks"], 13, "{}", target.what);
        assert_eq!(found["partial"], false, "{}", target.what);
        assert_eq!(found["session_from"], "tasks", "{}", target.what);
        for (name, class, tasks, distinct, credential) in [
            ("call_ref_id", "str", 12, 4, false),
            ("region", "str", 12, 1, false),
            ("log", "dict", 12, 4, false),
            ("user", "User", 12, 4, false),
            ("auth_token", "str", 12, 4, true),
            ("header", "str", 12, 4, true),
            ("database", "str", 12, 4, true),
            ("digest", "str", 12, 4, true),
            ("nothing", "NoneType", 12, 1, false),
        ] {
            let v = variable(&found, name);
            assert_eq!(
                (&v["tasks"], &v["distinct"]),
                (&tasks.into(), &distinct.into()),
                "{name}: {}",
                target.what
            );
            assert_eq!(v["types"][class], tasks, "{name}: {}", target.what);
            assert_eq!(v["credential"], credential, "{name}: {}", target.what);
            assert_eq!(v["values"], Value::Null, "{name}: {}", target.what);
        }
        let suggested = found["suggestions"].as_array().expect("suggestions");
        let specs: Vec<&str> = suggested.iter().filter_map(|s| s["session_from"].as_str()).collect();
        assert!(specs.starts_with(&["call_ref_id"]), "{specs:?} on {}", target.what);
        assert!(
            specs.contains(&"log[\"request_id\"]") && specs.contains(&"user.user_id"),
            "{specs:?}"
        );
        for never in ["auth_token", "header", "database", "api_key", "password", "digest"] {
            assert!(!specs.iter().any(|spec| spec.contains(never)), "{never} in {specs:?}");
        }
        // The line that is suggested works.
        let rows = crate::support::once(target.pid, &["--window", "100ms", "--session-from", specs[0]]);
        let ids: Vec<String> = rows.labels().into_keys().collect();
        assert_eq!(ids, ["call-0", "call-1", "call-2", "call-3"], "{}", target.what);
    }
}

#[test]
fn values_are_shown_where_they_are_asked_for_and_a_credential_never() {
    let Some(python) = any_python() else { return };
    let target = Target::launch(&python, "held.py", &[]);
    let secrets = ["plain-looking", "eyJ", "hunter", "secret-room", "9f86d081", "key-0"];
    for more in [&[][..], &["--json"]] {
        let ran = vars(&target, more);
        assert!(
            !ran.stdout.contains("call-0") && !ran.stdout.contains("eu\""),
            "{}",
            ran.stdout
        );
        assert!(
            !secrets.iter().any(|secret| ran.stdout.contains(secret)),
            "{}",
            ran.stdout
        );
    }
    for more in [&["--values"][..], &["--values", "--json"]] {
        let ran = vars(&target, more);
        assert!(
            ran.stdout.contains("call-0") && ran.stdout.contains("red"),
            "{}",
            ran.stdout
        );
        assert!(
            !secrets.iter().any(|secret| ran.stdout.contains(secret)),
            "{}",
            ran.stdout
        );
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!ran.stdout.contains(control), "{:?}", ran.stdout);
        assert!(ran.stdout.len() < 20_000, "{} bytes", ran.stdout.len());
        let starts = |line: &str| line.starts_with("name") || line.starts_with("next");
        assert!(!ran.stdout.lines().any(starts), "a line of its own: {}", ran.stdout);
    }
}

/// More values than are told apart: a lower bound, and no longer an answer.
#[test]
fn ten_thousand_values_are_bounded() {
    let Some(python) = any_python() else { return };
    let target = Target::launch(&python, "held.py", &["--many", "10500"]);
    let found = document(&target, &["--values"]);
    let v = variable(&found, "per_task");
    assert_eq!((&v["tasks"], &v["distinct"]), (&10_500.into(), &10_000.into()), "{v}");
    assert_eq!(v["distinct_is_lower_bound"], true);
    assert!(v["values"].as_array().is_some_and(|values| values.len() <= 3), "{v}");
    // Not all of so many dictionaries are looked into, and that is said.
    let suggested = found["suggestions"].as_array().expect("suggestions").iter();
    let of_behind = |one: &&Value| one["session_from"] == "behind[\"item_id\"]";
    let behind = suggested.clone().find(of_behind).expect("what stands in dictionaries");
    assert_eq!(behind["is_lower_bound"], true, "{behind}");
    assert!(behind["distinct"].as_u64() < Some(10_500), "{behind}");
    assert_eq!(found["partial"], true);
    assert_eq!(suggested.clone().next().expect("one")["is_lower_bound"], false);
    // What sounds like an id goes before what merely has many values.
    assert_eq!(
        found["suggestions"][0]["session_from"], "call_ref_id",
        "{}",
        found["suggestions"]
    );
}

/// What names sessions in some contexts and is something else in others is no silence.
#[test]
fn contexts_in_which_an_id_is_none_are_said() {
    let Some(python) = any_python() else { return };
    let target = Target::launch(&python, "held.py", &[]);
    let pid = target.pid.to_string();
    let shape = ["--pid", &pid, "--once", "--window", "100ms", "--session-from"];
    let of = |spec: &str| run(&[&shape[..], &[spec]].concat());
    let ran = of("mixed");
    let word = "--session-from mixed: in 2 of 4 contexts it gives a \"list\", which is no id: these are unattributed";
    assert!(ran.code == Some(0) && ran.stderr.contains(word), "{ran:?}");
    assert!(!of("call_ref_id").stderr.contains("contexts"));
}

/// A package's sessions, which it keeps deeper than one step from a variable, or in none.
#[test]
fn what_a_package_names_sessions_by_is_proposed() {
    let Some(python) = presets("presets") else { return };
    for package in [
        "langgraph",
        "opentelemetry_baggage",
        "opentelemetry",
        "sentry_tags",
        "quart",
        "dramatiq",
        "arq",
        "mcp",
    ] {
        let target = Target::launch(&python, "presets.py", &[package]);
        let sessions = target.said.last().expect("ready")["sessions"].clone();
        let sessions = sessions.as_array().expect("sessions").iter();
        let truth: BTreeSet<&str> = sessions.map(|one| one["sid"].as_str().expect("an id")).collect();
        let found = document(&target, &[]);
        let suggested = found["suggestions"].as_array().expect("suggestions").iter();
        let specs: Vec<&str> = suggested.filter_map(|one| one["session_from"].as_str()).collect();
        let gives_them = |spec: &&str| {
            let rows = crate::support::once(target.pid, &["--window", "100ms", "--session-from", spec]);
            let ids: BTreeSet<String> = rows.labels().into_keys().collect();
            ids.iter().map(String::as_str).eq(truth.iter().copied())
        };
        assert!(specs.iter().any(gives_them), "{specs:?} of {package}");
    }
}

/// What two packages of one right say is not said to be agreed upon.
#[test]
fn names_that_disagree_are_said_to() {
    let Some(python) = presets("presets") else { return };
    let target = Target::launch(&python, "presets.py", &["structlog", "loguru_other"]);
    assert_eq!(document(&target, &[])["session_from"], "? structlog, loguru");
    let dump = run(&["dump", "--pid", &target.pid.to_string(), "--json"]);
    let dump: Value = serde_json::from_str(&dump.stdout).expect("a JSON document");
    assert_eq!(dump["worker"]["session_from"], "? structlog, loguru");
    let said = vars(&target, &[]).stdout;
    assert!(
        said.contains("sessions are named by structlog, loguru, which disagree: "),
        "{said}"
    );
}

#[test]
fn refusals_are_those_of_every_command() {
    let ran = run(&["vars", "--pid", "999999999"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let ran = run(&["vars", "--pid", "nonsense"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let Some(python) = any_python() else { return };
    let target = Target::launch(&python, "late_asyncio.py", &[]);
    let ran = run(&["vars", "--pid", &target.pid.to_string()]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
}
