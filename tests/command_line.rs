//! What a command line gets that is wrong, and what one gets whose process is not what it should be: one word on stderr,
//! and the exit code of the contract.

mod answer;

use answer::{Answer, otop};
use std::io::Read;
use std::process::Stdio;

#[test]
fn usage_errors_are_claps_with_what_would_be_right() {
    let cases: &[(&[&str], &str)] = &[
        (&["--pid", "0"], "1..="),
        (&["--pid", "-5"], "-5 is not in 1..="),
        (&["--pid", "python"], "invalid digit"),
        (&["--pid"], "a value is required"),
        (&["dump", "--pid", "1", "--pid", "2"], "this command is about one --pid"),
        (
            &["--sort", "bogus"],
            "mem_mb, cpu_pct, duration_s, agent_name, session_id",
        ),
        (&["--sort", "mem_md"], "tip: a similar value exists: 'mem_mb'"),
        (&["--status", "idle"], "all, active, slow, draining, errored"),
        (
            &["--columns", "session,bogus"],
            "\"bogus\" is not a column: one of session, agent",
        ),
        (&["--columns", ""], "is not a column"),
        (&["--rate", "0"], "0 is not in 1 to 10000"),
        (&["--rate", "NaN"], "NaN is not in 1 to 10000"),
        (&["--rate", "-1"], "-1 is not in 1 to 10000"),
        (&["--rate", "1e9"], "1 to 10000"),
        (&["--refresh-rate", "NaN"], "0.5 to 10"),
        (&["--window", "1"], "like 500ms, 1s or 2m"),
        (&["--window", "0s"], "100ms to 10m"),
        (&["--window", "1h"], "100ms to 10m"),
        (&["--slow-threshold", "0ms"], "1ms to 1m"),
        (&["--slow-threshold=-50ms"], "like 500ms"),
        (&["--slow-window", "2h"], "100ms to 1h"),
        (&["--session-from", ""], "a contextvar's name is needed"),
        (
            &["--session-from", "a..b"],
            "an attribute's name is missing\n  a..b\n    ^\n",
        ),
        (
            &["--tenant-from", "a[\"k\""],
            "the closing bracket is missing\n  a[\"k\"\n       ^",
        ),
        (&["--agent-from", "task:id"], "task:name"),
        (&["--socket", "x", "--pid", "1"], "cannot be used with"),
        (&["--socket", "x", "--session-from", "y"], "cannot be used with"),
        (&["--statsu", "slow"], "tip: a similar argument exists: '--status'"),
        (&["demo", "--pid", "1"], "unexpected argument '--pid'"),
        (&["blocks", "--fail-on", "20ms"], "add --slow-threshold 20ms"),
        (&["blocks", "--fail-on", "100ms", "--rate", "10"], "add --rate 30"),
        (&["blocks", "--for", "1ms"], "100ms to 168h"),
        (&["blocks", "--fail-on", "2h"], "1ms to 1h"),
        (&["blocks", "--own", " "], "like /srv/app/"),
        (&["blocks", "--socket", "x"], "unexpected argument '--socket'"),
        (&["--socket", "x", "--stack-rate", "10"], "cannot be used with"),
        (&["dumps"], "unrecognized subcommand"),
        (&["1234"], "unrecognized subcommand"),
    ];
    for (arguments, text) in cases {
        let answer = otop(arguments);
        assert_eq!(answer.code, Some(2), "{arguments:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(text), "{arguments:?}: {}", answer.stderr);
        assert!(answer.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let help = otop(&["--help"]);
    assert_eq!(help.code, Some(0));
    for word in [
        "--pid",
        "--socket",
        "--session-from",
        "Examples:",
        "Exit status:",
        "demo",
        "blocks",
        "--fail-on",
    ] {
        assert!(help.stdout.contains(word), "{word}");
    }
    assert!(!help.stdout.contains("generate"), "that is for those who build otop");
    let version = otop(&["--version"]).stdout;
    let expected = format!("otop {}", env!("CARGO_PKG_VERSION"));
    assert!(
        version.starts_with(&expected) && version.contains("3.8 to 3.15"),
        "{version}"
    );
    assert_eq!(
        otop(&["-V"]).stdout.trim_end(),
        version.lines().next().unwrap_or_default()
    );
    assert_eq!(otop(&["demo", "--help"]).code, Some(0));
    let blocks = otop(&["blocks", "--help"]);
    assert_eq!(blocks.code, Some(0));
    for word in [
        "--for",
        "--fail-on",
        "--slow-threshold",
        "[slow-session]",
        "[slow-loop]",
    ] {
        assert!(blocks.stdout.contains(word), "{word}");
    }
}

/// One line, with a remedy.
fn assert_one_line(answer: &Answer, code: i32, text: &str) {
    assert_eq!(answer.code, Some(code), "{}", answer.stderr);
    assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
    assert!(
        answer.stderr.starts_with("otop: ") && answer.stderr.contains("; try: "),
        "{}",
        answer.stderr
    );
    assert!(answer.stderr.contains(text), "{}", answer.stderr);
    assert!(answer.stdout.is_empty());
}

#[test]
fn a_number_without_a_process() {
    for shape in [
        &["--pid", "2147483647"][..],
        &["--pid", "2147483647", "--once"],
        &["--pid", "2147483647", "--json"],
    ] {
        assert_one_line(&otop(shape), 3, "no process has PID 2147483647");
    }
}

#[test]
fn a_number_of_a_thread() {
    let mut python = std::process::Command::new("python3")
        .args([
            "-c",
            "import sys, threading as t; t.Thread(target=sys.stdin.read).start(); print('up', flush=True)",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a python3 is on this machine");
    python
        .stdout
        .as_mut()
        .expect("piped")
        .read_exact(&mut [0; 2])
        .expect("it says that it is up");
    let threads = std::fs::read_dir(format!("/proc/{}/task", python.id())).expect("it runs");
    let names = threads.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let thread = names
        .into_iter()
        .find(|tid| *tid != python.id().to_string())
        .expect("two threads");
    let answer = otop(&["--pid", &thread, "--once"]);
    drop(python.stdin.take());
    python.wait().expect("waited");
    assert_one_line(&answer, 3, &format!("{thread} is a thread, of process {}", python.id()));
}

#[test]
fn a_socket_that_nobody_serves() {
    let path = format!("{}/nobody.sock", env!("CARGO_TARGET_TMPDIR"));
    assert_one_line(&otop(&["--socket", &path, "--once"]), 3, "there is no such file");
}

#[test]
fn a_refresh_rate_out_of_range_is_moved_with_a_word() {
    let answer = otop(&["--refresh-rate", "99", "--once", "--pid", "2147483647"]);
    assert!(
        answer
            .stderr
            .starts_with("otop: --refresh-rate 99 is not in 0.5 to 10 Hz; 10 is taken\n"),
        "{}",
        answer.stderr
    );
    assert_eq!(answer.code, Some(3), "the word is no error");
}
