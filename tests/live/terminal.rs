//! otop in a real terminal (a pseudo-terminal and an emulator behind it): what a person sees of a live worker, what the
//! keys do, and that the terminal is as it was afterwards, however it ends. How the table is drawn at which size is
//! tested without a terminal elsewhere; nothing of that is known here but the words in it.

use crate::support::{FROM, Target, Terminal, any_python};

fn target() -> Option<Target> {
    Some(Target::sessions(
        &any_python()?,
        "asyncio",
        &["--sessions", "4", "--busy", "1:20"],
    ))
}

#[test]
fn the_live_table_and_q() {
    let Some(mut target) = target() else { return };
    let mut terminal = Terminal::live(120, 40, &target, &[]);
    terminal.until_text(&[
        "call-0000",
        "call-0001",
        "call-0002",
        "call-0003",
        "unattributed",
        "tenant-2",
    ]);
    assert!(terminal.is_alternate(), "what was on the screen before comes back");
    target.start("newcomer", Some("a"), None);
    terminal.until_text(&["newcomer"]);
    target.end("call-0002");
    terminal.until("the one that ended is gone", |terminal| {
        !terminal.text().contains("call-0002")
    });
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
    terminal.is_restored();
}

#[test]
fn a_small_terminal_and_one_that_changes_its_size() {
    let Some(target) = target() else { return };
    let mut terminal = Terminal::live(40, 10, &target, &[]);
    terminal.until_text(&["session", "cpu%", "status", "call-0000"]);
    for (columns, rows) in [(200, 50), (20, 5), (1, 1), (80, 24)] {
        terminal.resize(columns, rows);
    }
    terminal.until_text(&[
        "session",
        "agent",
        "tenant",
        "dur(s)",
        "mem(MB)",
        "cpu%",
        "status",
        "call-0003",
    ]);
    terminal.press("\u{3}"); // Ctrl-C
    assert_eq!(terminal.end(), Some(0));
    terminal.is_restored();
}

#[test]
fn the_terminal_is_restored_after_a_signal() {
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let Some(target) = target() else { return };
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
        let mut terminal = Terminal::live(80, 24, &target, &[]);
        terminal.until_text(&["call-0000"]);
        terminal.signal(signal);
        terminal.end();
        terminal.is_restored();
    }
}

/// The last figures stay, with what happened, until it is quit.
#[test]
fn a_worker_that_dies_leaves_its_last_table() {
    let Some(target) = target() else { return };
    let mut terminal = Terminal::live(100, 30, &target, &[]);
    terminal.until_text(&["call-0000", "call-0003"]);
    let before = terminal.text().to_lowercase();
    drop(target);
    let words = ["ended", "exited", "gone", "killed"];
    let told = |text: &str| words.iter().any(|word| text.to_lowercase().contains(word));
    assert!(!told(&before), "{before}");
    terminal.until("what happened", |terminal| told(&terminal.text()));
    assert!(terminal.text().contains("call-0000"), "{}", terminal.text());
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
    terminal.is_restored();
}

#[test]
fn a_terminal_that_vanishes_ends_it() {
    let Some(target) = target() else { return };
    let mut terminal = Terminal::live(80, 24, &target, &[]);
    terminal.until_text(&["call-0000"]);
    terminal.vanish();
    terminal.ends();
}

#[test]
fn keys() {
    let Some(target) = target() else { return };
    let mut terminal = Terminal::live(120, 40, &target, &[]);
    terminal.until_text(&["call-0000", "call-0003"]);

    terminal.press("/0001\r");
    terminal.until("only the one that fits", |terminal| {
        let text = terminal.text();
        text.contains("call-0001") && !text.contains("call-0002") && text.contains("hidden")
    });
    assert!(terminal.text().contains("unattributed"), "{}", terminal.text());

    // The id of the selected row goes to the clipboard as a terminal takes it: base64 of call-0001.
    terminal.press("jky");
    terminal.until("the id in an OSC 52", |terminal| {
        String::from_utf8_lossy(&terminal.bytes).contains("\u{1b}]52;c;Y2FsbC0wMDAx")
    });

    terminal.press("?");
    terminal.until_text(&["quit", "pin", "freeze"]);
    terminal.press("?");
    terminal.until_text(&["call-0001", "unattributed"]);
    terminal.press("\u{1b}[A\u{1b}[B\u{1b}[5~\u{1b}[6~<>Irsf pp");
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
    terminal.is_restored();
}

/// Python that has not imported asyncio: the live table waits for it.
#[test]
fn the_live_table_waits_for_asyncio() {
    let Some(python) = any_python() else { return };
    let mut target = Target::launch(&python, "late_asyncio.py", &["--sessions", "2"]);
    let mut terminal = Terminal::live(80, 24, &target, &[]);
    terminal.until_text(&["asyncio"]);
    target.tell(&["go"]);
    target.until("started", |_| true);
    terminal.until_text(&["call-0000", "call-0001"]);
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
    terminal.is_restored();
}

/// https://no-color.org: the table without colours; one look at it without any escape code.
#[test]
fn no_color() {
    let Some(target) = target() else { return };
    let mut terminal = Terminal::live(100, 30, &target, &[("NO_COLOR", "1")]);
    terminal.until_text(&["call-0000"]);
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
    let said = String::from_utf8_lossy(&terminal.bytes).into_owned();
    let coloured = said.split("\u{1b}[").skip(1).any(|code| {
        let (numbers, rest) = code.split_at(code.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(0));
        rest.starts_with('m')
            && numbers
                .split(';')
                .any(|n| matches!(n.parse(), Ok(30..=38 | 40..=48 | 90..=107)))
    });
    assert!(!coloured, "{said:?}");

    let pid = target.pid.to_string();
    let mut args = vec!["--pid", &pid, "--once", "--window", "200ms"];
    args.extend(FROM);
    let mut terminal = Terminal::start(100, 30, &args, &[("NO_COLOR", "1")]);
    assert_eq!(terminal.end(), Some(0));
    assert!(terminal.text().contains("call-0000"), "{}", terminal.text());
    assert!(
        !terminal.bytes.contains(&0x1b),
        "{:?}",
        String::from_utf8_lossy(&terminal.bytes)
    );
}

/// The list of blocks, the one who is to blame alone, and back.
#[test]
fn blocks_and_one_session_alone() {
    let Some(mut target) = target() else { return };
    // What a busy machine does to the worker is not what is asked for here.
    let pid = target.pid.to_string();
    let mut args = vec!["--pid", &pid, "--slow-threshold", "200ms"];
    args.extend(FROM);
    let mut terminal = Terminal::start(120, 40, &args, &[]);
    terminal.until_text(&["call-0000", "call-0003"]);
    terminal.press("b");
    terminal.until_text(&["no block since otop attached"]);
    target.block("call-0002", 400, "sleep", "child");
    terminal.until_text(&["call-0002", "clock_nanosleep", "block_sleep", "1 of 1"]);
    terminal.press("\r");
    terminal.until_text(&["call-0002 ·", "CPU since attach", "blocks: 1, "]);
    assert!(!terminal.text().contains("call-0001"), "{}", terminal.text());
    terminal.press("\u{1b}");
    terminal.until_text(&["cause and place"]);
    terminal.press("b");
    terminal.until_text(&["call-0000", "call-0001", "unattributed"]);
    terminal.press("/0001\r");
    terminal.until("only the one that fits", |terminal| {
        !terminal.text().contains("call-0003")
    });
    terminal.press("j\r");
    terminal.until_text(&["call-0001 ·", "none since otop attached"]);
    // A block that goes on stands above every page.
    target.begin_block("call-0003", 3000, "sleep", "callback");
    terminal.until_text(&["LOOP BLOCKED ", "by call-0003", "call-0001 ·"]);
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
    terminal.is_restored();
}

/// `otop blocks` in a terminal: lines, no other screen, and `q` is no text.
#[test]
fn blocks_are_lines_and_q_ends_them() {
    let Some(mut target) = target() else { return };
    let pid = target.pid.to_string();
    let args = [&["blocks", "--pid", &pid][..], &FROM].concat();
    let mut terminal = Terminal::start(120, 40, &args, &[]);
    terminal.until_text(&["follows blocks of 50ms and longer", "q ends"]);
    assert!(terminal.is_raw() && !terminal.is_alternate());
    target.block("call-0001", 400, "sleep", "child");
    terminal.until_text(&["[slow-session] session_id=call-0001 blocked event loop for "]);
    terminal.press("xq");
    assert_eq!(terminal.end(), Some(0));
    assert!(!terminal.text().contains("xq"), "{}", terminal.text());
    terminal.is_restored();

    let args = [&args[..], &["--fail-on", "100ms"]].concat();
    let mut terminal = Terminal::start(120, 40, &args, &[]);
    terminal.until_text(&["q ends"]);
    target.block("call-0001", 400, "sleep", "child");
    terminal.until_text(&["session_id=call-0001 blocked event loop for "]);
    terminal.press("\u{3}"); // Ctrl-C
    assert_eq!(terminal.end(), Some(7));
    assert!(
        terminal.text().contains("otop: --fail-on 100ms was met"),
        "{}",
        terminal.text()
    );
    terminal.is_restored();
}
