//! Presets against the real packages: small programs that use one each (tests/targets/presets.py), or two at once, seen
//! from outside without a flag. And what there is where nothing names sessions.

use crate::support::{Labels, Otop, Target, any_python, once, presets};
use serde_json::Value;

/// The target's own list of its sessions.
fn truth(target: &Target) -> Labels {
    let ready = target.said.last().expect("ready");
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let sessions = ready["sessions"].as_array().expect("sessions").iter();
    sessions
        .map(|s| (word(&s["sid"]).expect("an id"), (word(&s["agent"]), word(&s["tenant"]))))
        .collect()
}

/// Runs the program and looks at it once, without a flag: its rows, and what the header says they are from.
fn fits(label: &str, package: &str, session_from: &str) {
    let Some(python) = presets(label) else { return };
    let target = Target::launch(&python, "presets.py", &[package]);
    let doc = once(target.pid, &["--window", "200ms"]);
    assert_eq!(doc.worker("session_from"), session_from, "{}", target.what);
    let expected = truth(&target);
    assert_eq!(expected.len(), 3);
    assert_eq!(doc.labels(), expected, "{}", target.what);
    assert_eq!(doc.0["quality"]["unreadable"], 0, "{}", target.what);
}

macro_rules! presets_that_fit {
    ($($name:ident $label:literal $session_from:literal)*) => { $(
        #[test]
        fn $name() {
            fits($label, stringify!($name), $session_from);
        }
    )* };
}

presets_that_fit! {
    structlog "presets" "structlog"
    structlog_request "presets" "structlog"
    loguru "presets" "loguru"
    opentelemetry "presets" "opentelemetry"
    opentelemetry_baggage "presets" "opentelemetry (baggage)"
    asgi_correlation_id "presets" "asgi-correlation-id"
    starlette_context "presets" "starlette-context"
    starlette_context_session "presets" "starlette-context"
    sentry "presets" "sentry"
    sentry_requests "presets" "sentry"
    sentry_tags "presets" "sentry (tags)"
    langgraph "presets" "langgraph"
    langchain "presets" "langchain-core"
    quart "presets" "quart"
    flask "presets" "flask"
    mcp "presets" "mcp"
    mcp_http "presets" "mcp"
    arq "presets" "arq"
    dramatiq "presets" "dramatiq"
}

/// mcp 1.x keeps its request in a contextvar.
#[test]
fn mcp_1() {
    fits("presets-mcp1", "mcp", "mcp");
}

#[test]
fn mcp_1_http() {
    fits("presets-mcp1", "mcp_http", "mcp");
}

/// Spans without an SDK all have the same number, which is none.
#[test]
fn traces_without_an_sdk_name_no_session() {
    let Some(python) = presets("presets") else { return };
    let target = Target::launch(&python, "presets.py", &["opentelemetry_api"]);
    let doc = once(target.pid, &["--window", "200ms"]);
    assert_eq!(doc.worker("session_from"), "tasks", "{}", target.what);
    let ids: Vec<String> = doc.labels().into_keys().collect();
    assert!(ids.len() >= 3 && ids.iter().all(|id| id != &"0".repeat(32)), "{ids:?}");
}

/// Two at once: which wins is fixed, and the other is said only where it names sessions that the first does not.
#[test]
fn the_log_context_goes_before_the_trace() {
    let Some(python) = presets("presets") else { return };
    for packages in [["structlog", "opentelemetry"], ["asgi_correlation_id", "opentelemetry"]] {
        let target = Target::launch(&python, "presets.py", &packages);
        let doc = once(target.pid, &["--window", "200ms"]);
        let name = packages[0].replace('_', "-");
        assert_eq!(doc.worker("session_from"), &name, "{}", target.what);
        assert_eq!(doc.labels(), truth(&target), "{}", target.what);
    }
}

/// A preset that comes to fit in a task that was there before is seen at once, and not when everything is looked at anew.
#[test]
fn an_id_that_a_task_is_given_late_is_its_session() {
    let Some(python) = any_python() else { return };
    let mut target = Target::launch(&python, "two_ids.py", &[]);
    let mut otop = Otop::follow(target.pid, &[]);
    let ids = |doc: &crate::support::Doc| doc.labels().into_keys().collect::<Vec<String>>();
    otop.until("the requests", |doc, _| ids(doc).len() == 3);
    target.tell(&["late"]);
    target.until("late", |_| true);
    // All is looked at anew every 14 s; this is there with the second walk.
    let told = std::time::Instant::now();
    otop.until("the call", |doc, _| ids(doc) == ["call-late", "request-0", "request-1"]);
    assert!(told.elapsed().as_secs() < 9, "{:?}", told.elapsed());
}

/// A package's variable is the package's also where that is imported only then, and at once.
#[test]
fn a_package_that_is_imported_late_is_named() {
    let Some(python) = any_python() else { return };
    let mut target = Target::launch(&python, "two_ids.py", &["--none-yet"]);
    let mut otop = Otop::follow(target.pid, &[]);
    otop.until("the tasks", |doc, _| doc.worker("session_from") == "tasks");
    target.tell(&["import"]);
    target.until("import", |_| true);
    // Imports are looked at every 14 s.
    let told = std::time::Instant::now();
    let doc = otop.until("the request", |doc, _| doc.labels().contains_key("request-import"));
    assert!(told.elapsed().as_secs() < 9, "{:?}", told.elapsed());
    assert_eq!(doc.worker("session_from"), "asgi-correlation-id");
}

/// Two of the same right that say different things: neither is believed, and both are shown.
#[test]
fn where_two_disagree_there_is_a_question_mark_and_the_candidates() {
    let Some(python) = presets("presets") else { return };
    let target = Target::launch(&python, "presets.py", &["structlog", "loguru_other"]);
    let doc = once(target.pid, &["--window", "200ms"]);
    assert_eq!(doc.worker("session_from"), "? structlog, loguru", "{}", target.what);
    let ids: Vec<String> = doc.labels().into_keys().collect();
    let expected: Vec<String> = (0..3).map(|i| format!("? session-{i} | other-{i}")).collect();
    assert_eq!(ids, expected, "{}", target.what);
    // The user decides.
    let doc = once(
        target.pid,
        &["--window", "200ms", "--session-from", "loguru_context['session_id']"],
    );
    let ids: Vec<String> = doc.labels().into_keys().collect();
    assert_eq!(ids, ["other-0", "other-1", "other-2"], "{}", target.what);
}

/// Two of the same right that say the same: no question.
#[test]
fn where_two_agree_there_is_none() {
    let Some(python) = presets("presets") else { return };
    let target = Target::launch(&python, "presets.py", &["structlog", "loguru"]);
    let doc = once(target.pid, &["--window", "200ms"]);
    assert_eq!(doc.worker("session_from"), "structlog, loguru", "{}", target.what);
    assert_eq!(doc.labels(), truth(&target), "{}", target.what);
}

/// Two agents in one session, and presets that differ about a tenant: the candidates, and not the first that was met.
#[test]
fn where_agents_or_tenants_disagree_there_is_a_question_mark_and_the_candidates() {
    let Some(python) = presets("presets") else { return };
    let target = Target::launch(&python, "presets.py", &["structlog_handoff"]);
    let doc = once(target.pid, &["--window", "500ms"]);
    assert_eq!(doc.labels(), truth(&target), "{}", target.what);
    let target = Target::launch(&python, "presets.py", &["structlog", "loguru_tenant"]);
    let doc = once(target.pid, &["--window", "500ms"]);
    for (sid, (agent, tenant)) in doc.labels() {
        let number = sid.rsplit('-').next().expect("a number");
        assert_eq!(
            tenant.as_deref(),
            Some(format!("? nobody | tenant-{number}").as_str()),
            "{sid}"
        );
        assert!(agent.is_some_and(|agent| agent.starts_with("agent-")), "{sid}");
    }
    assert_eq!(doc.labels().len(), 3);
}

/// A better preset that comes late takes no row from those that it does not name, and a request with two ids is one row.
#[test]
fn what_the_best_preset_does_not_name_the_next_one_does_and_nothing_is_two_sessions() {
    let Some(python) = any_python() else { return };
    let mut target = Target::launch(&python, "two_ids.py", &[]);
    let mut otop = Otop::follow(target.pid, &[]);
    let requests = ["request-0", "request-1", "request-2"];
    let ids = |doc: &crate::support::Doc| doc.labels().into_keys().collect::<Vec<String>>();
    let doc = otop.until("the requests", |doc, _| ids(doc) == requests);
    // The program's own variable, called as the package's.
    assert_eq!(doc.worker("session_from"), "correlation_id");

    target.tell(&["call"]);
    target.until("call", |_| true);
    let with_call = ["call-1", "request-0", "request-1", "request-2"];
    otop.until("the call beside them, once", |doc, _| ids(doc) == with_call);
    for _ in 0..4 {
        let doc = otop.fresh(1);
        assert_eq!(ids(&doc), with_call);
        assert_eq!(doc.worker("session_from"), "structlog (also correlation_id)");
        assert_eq!(doc.row("call-1")["tasks"], 2, "the outer task, and the inner one");
    }
    // And the samples go by the same.
    for _ in 0..20 {
        target.tell(&["block"]);
        target.until("blocked", |_| true);
        if otop.fresh(2).row("request-1")["blocks"].as_f64() > Some(0.0) {
            break;
        }
    }
    assert!(otop.fresh(1).row("request-1")["blocks"].as_f64() > Some(0.0));

    // What stands beside two sessions is neither's, and none itself.
    target.tell(&["fan"]);
    target.until("fan", |_| true);
    let with_fan = ["call-1", "fan-1", "fan-2", "request-0", "request-1", "request-2"];
    let doc = otop.until("the two calls of one request", |doc, _| ids(doc) == with_fan);
    assert_eq!(
        (&doc.row("fan-1")["tasks"], &doc.row("fan-2")["tasks"]),
        (&1.into(), &1.into())
    );

    target.tell(&["end"]);
    target.until("end", |_| true);
    otop.until("the call is gone", |doc, _| ids(doc) == with_fan[1..]);
}
