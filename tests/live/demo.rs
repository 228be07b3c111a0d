//! `otop demo` on a real terminal: its sessions are on the screen, its worker ends with otop however that ends, and a panic
//! gives the terminal back. Waits for what appears, never for time. Keys, signals and sizes: `terminal.rs`.

use crate::support::Terminal;
use std::time::{Duration, Instant};

/// Only a hang takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

fn demo() -> Terminal {
    Terminal::start(160, 40, &["demo"], &[])
}

/// The worker that the demo has started.
fn worker(demo: &Terminal) -> nix::unistd::Pid {
    let pid = demo.pid();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("it runs")
        .map(|entry| entry.expect("an entry"));
    let children = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let children = children.collect::<Vec<_>>().join(" ");
    let child = children.split_whitespace().next().expect("the demo has a worker");
    nix::unistd::Pid::from_raw(child.parse().expect("a number"))
}

fn is_alive(pid: nix::unistd::Pid) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let letter = state.rsplit(") ").next().and_then(|rest| rest.chars().next());
    letter.is_some_and(|letter| letter != 'Z' && letter != 'X')
}

fn wait_for_end(pid: nix::unistd::Pid) {
    let end = Instant::now() + PATIENCE;
    while is_alive(pid) {
        assert!(Instant::now() < end, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn q_gives_the_terminal_back_and_ends_the_worker() {
    let mut session = demo();
    session.until_text(&["hog-01", "blocker-02", "unattributed", "session(s)"]);
    assert!(session.is_raw());
    let worker = worker(&session);
    session.press("q");
    assert_eq!(session.end(), Some(0));
    session.is_restored();
    wait_for_end(worker);
}

#[test]
fn a_stopped_worker_is_said_to_be_stopped() {
    let mut session = demo();
    session.until_text(&["hog-01"]);
    let worker = worker(&session);
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGSTOP).expect("sent");
    session.until_text(&["STOPPED"]);
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGCONT).expect("sent");
    session.until("the word to go", |session| !session.text().contains("STOPPED"));
    session.press("q");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn a_panic_is_one_line_on_a_terminal_that_was_given_back() {
    if !cfg!(debug_assertions) {
        // A release build cannot be asked to panic.
        return;
    }
    let mut session = Terminal::start(160, 40, &["demo"], &[("OTOP_TEST_PANIC", "1")]);
    assert_eq!(session.end(), Some(1));
    session.is_restored();
    session.until_text(&["otop: a mistake in otop itself"]);
    assert!(!session.text().contains("backtrace"), "{}", session.text());
}

#[test]
fn the_worker_ends_also_where_otop_is_killed() {
    let mut session = demo();
    session.until_text(&["hog-01"]);
    let worker = worker(&session);
    session.signal(nix::sys::signal::Signal::SIGKILL);
    session.end();
    wait_for_end(worker);
}

#[test]
fn a_recording_is_steered() {
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/v1.otop");
    let mut terminal = Terminal::start(160, 40, &["replay", recording], &[]);
    terminal.until_text(&["job-b", "REPLAY 1 of 1 s, at its end"]);
    terminal.press(" [");
    terminal.until_text(&["REPLAY 0 of 1 s, paused"]);
    terminal.press("]");
    terminal.until_text(&["at its end"]);
    terminal.press("[+ ");
    terminal.until_text(&["at its end"]);
    terminal.press("w");
    terminal.until_text(&["the last minutes are kept while a worker is read live"]);
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
}
