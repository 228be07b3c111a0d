//! `otop blocks` at a real worker: what is told of whom, when, in which words, and with which exit code it ends. Judged by
//! names, order and counts, not by times.

use crate::support::{FROM, Otop, Target, any_python, run};
use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use serde_json::Value;

fn target() -> Option<Target> {
    Some(Target::sessions(&any_python()?, "asyncio", &["--sessions", "3"]))
}

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    FROM.iter().chain(more).copied().collect()
}

/// A line that blames this session, with these words in it.
fn is_of(line: &str, sid: &str, words: &str) -> bool {
    line.starts_with(&format!("[slow-session] session_id={sid} ")) && line.contains(words)
}

/// Lines up to one that fits, that one included.
#[track_caller]
fn lines_until(otop: &mut Otop, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let Some(line) = otop.line() else {
            panic!("otop ended; said {lines:?}; {}", otop.stderr())
        };
        lines.push(line);
        if lines.last().is_some_and(|line| fits(line)) {
            return lines;
        }
    }
}

/// otop blocks, once it is seen to follow.
fn follow(target: &mut Target, more: &[&str]) -> Otop {
    let mut otop = Otop::blocks(target.pid, &args(more));
    // Nothing is printed while nothing is blocked: blocks until one is told, of a session that is not judged.
    target.start("knock", None, None);
    for _ in 0..20 {
        target.block("knock", 120, "sleep", "child");
        if otop.line_within(std::time::Duration::from_millis(700)).is_some() {
            return otop;
        }
    }
    panic!("otop tells nothing; {}", otop.stderr());
}

#[test]
fn a_block_is_told_when_it_goes_on_and_when_it_is_over() {
    let Some(mut target) = target() else { return };
    let mut otop = follow(&mut target, &[]);
    target.begin_block("call-0001", 1500, "sleep", "child");
    let lines = lines_until(&mut otop, |line| is_of(line, "call-0001", " blocks event loop, for "));
    // It was said while it lasted: its end has not been told, nor has it come.
    assert!(
        lines.iter().all(|line| !is_of(line, "call-0001", " blocked ")),
        "{lines:?}"
    );
    let over = target.until("block_end", |event| event["sid"] == "call-0001");
    assert!(over["ms"].as_f64() >= Some(1500.0), "{over}");
    let lines = lines_until(&mut otop, |line| is_of(line, "call-0001", " blocked event loop for "));
    let last = lines.last().expect("one at least");
    assert!(
        last.contains("(syscall: clock_nanosleep)")
            || last.contains("(syscall: pselect6)")
            || last.contains("(syscall: select)"),
        "{last}"
    );
    assert!(
        lines[..lines.len() - 1].iter().all(|line| !line.contains("call-0001")),
        "told twice: {lines:?}"
    );
    otop.signal(SIGINT);
    assert_eq!(otop.code(), Some(0));
}

#[test]
fn a_block_from_before_the_attach_is_a_lower_bound() {
    let Some(mut target) = target() else { return };
    target.begin_block("call-0002", 4000, "sleep", "child");
    let mut otop = Otop::blocks(target.pid, &args(&[]));
    let lines = lines_until(&mut otop, |line| line.contains("call-0002"));
    assert!(is_of(&lines[0], "call-0002", " blocks event loop, for ≥ "), "{lines:?}");
    target.until("block_end", |event| event["sid"] == "call-0002");
    let lines = lines_until(&mut otop, |line| line.contains("call-0002"));
    assert!(is_of(&lines[0], "call-0002", " blocked event loop for ≥ "), "{lines:?}");
    otop.signal(SIGTERM);
    assert_eq!(otop.code(), Some(0));
}

#[test]
fn events_as_json_have_the_fields_of_a_block() {
    let Some(mut target) = target() else { return };
    let mut otop = follow(&mut target, &["--json"]);
    target.block("call-0000", 600, "sleep", "child");
    let of = |line: &str, event: &str| {
        let value: Value = serde_json::from_str(line).expect("a JSON object");
        value["event"] == event && value["session_id"] == "call-0000"
    };
    let lines = lines_until(&mut otop, |line| of(line, "ended"));
    let began: Vec<&String> = lines.iter().filter(|line| of(line, "began")).collect();
    assert_eq!(began.len(), 1, "{lines:?}");
    let [began, ended]: [Value; 2] = [began[0].as_str(), lines[lines.len() - 1].as_str()]
        .map(|line| serde_json::from_str(line).expect("a JSON object"));
    assert_eq!((&began["ongoing"], &ended["ongoing"]), (&true.into(), &false.into()));
    assert_eq!(began["started_at"], ended["started_at"], "{began} {ended}");
    assert!(began["duration_ms"].as_f64() < ended["duration_ms"].as_f64());
    for event in [&began, &ended] {
        let keys: Vec<&str> = event
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        for key in "event session_id agent_name tenant step_session_id holder_session_id holder_thread started_at \
                    duration_ms duration_is_lower_bound ongoing cause causes_ms syscall function file line stack waiting"
            .split_whitespace()
        {
            assert!(keys.contains(&key), "{key} is missing: {event}");
        }
    }
    // A worker that ends: what there was, and 0.
    target.quit();
    while otop.line().is_some() {}
    assert_eq!(otop.code(), Some(0));
}

#[test]
fn the_limit_that_is_met_is_seven() {
    let Some(mut target) = target() else { return };
    let mut otop = follow(&mut target, &["--fail-on", "400ms"]);
    target.block("call-0000", 200, "sleep", "child");
    lines_until(&mut otop, |line| is_of(line, "call-0000", " blocked "));
    target.block("call-0001", 600, "sleep", "child");
    lines_until(&mut otop, |line| is_of(line, "call-0001", " blocked "));
    otop.signal(SIGINT);
    while otop.line().is_some() {}
    let (code, said) = otop.end();
    assert_eq!(code, Some(7), "{said}");
    assert!(
        said.contains("otop: --fail-on 400ms was met by 1 block, the longest "),
        "{said}"
    );
}

#[test]
fn the_limit_is_not_met_by_a_quiet_worker() {
    let Some(mut target) = target() else { return };
    target.tell(&["busy", "call-0000", "20", "2"]);
    let pid = target.pid.to_string();
    let ran = run(&[&["blocks", "--pid", &pid, "--for", "1s", "--fail-on", "5s"][..], &FROM].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_reader_that_goes_ends_it() {
    let Some(mut target) = target() else { return };
    let mut otop = follow(&mut target, &[]);
    otop.close();
    target.block("call-0000", 200, "sleep", "child");
    let (code, said) = otop.code_without_a_reader();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.is_empty(), "{said}");
}

#[test]
fn what_is_wrong_has_its_code() {
    for (line, code) in [
        (&["blocks", "--pid", "0"][..], 2),
        (&["blocks", "--for", "soon"], 2),
        (&["blocks", "--fail-on", "20ms"], 2),
        (&["blocks", "--socket", "x"], 2),
        (&["blocks", "--once"], 2),
        (&["blocks", "--own", ""], 2),
        (&["blocks", "--stack-rate", "0"], 2),
        (&["blocks", "--pid", "2147483647"], 3),
    ] {
        let ran = run(line);
        assert_eq!(ran.code, Some(code), "{line:?}: {ran:?}");
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran:?}");
    }
}
