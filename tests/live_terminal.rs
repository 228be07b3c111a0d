//! otop in a real terminal (a pseudo-terminal and an emulator behind it): what a person sees of a live worker, what the
//! keys do, and that the terminal is as it was afterwards, however it ends. How the table is drawn at which size is
//! tested without a terminal elsewhere; nothing of that is known here but the words in it.

mod support;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use support::{FROM, Target, any_python};

const DEADLINE: Duration = Duration::from_secs(30);

struct Terminal {
    emulator: vt100::Parser,
    bytes: Vec<u8>,
    output: Receiver<Vec<u8>>,
    writer: Option<Box<dyn Write + Send>>,
    master: Option<Box<dyn MasterPty + Send>>,
    child: Box<dyn Child + Send + Sync>,
    modes: String,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        pixel_width: 0,
        pixel_height: 0,
    }
}

impl Terminal {
    fn start(columns: u16, rows: u16, args: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let pair = native_pty_system()
            .openpty(size(columns, rows))
            .expect("a pseudo-terminal");
        let modes = modes(&*pair.master);
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_otop"));
        command.args(args);
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).expect("otop starts");
        let mut reader = pair.master.try_clone_reader().expect("the master's output");
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 16384];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    return; // nobody looks any more: the last holder of the terminal lets it go
                }
            }
        });
        let nonzero = |n| NonZeroU16::new(n).expect("a terminal has a size");
        Terminal {
            emulator: vt100::Parser::new(nonzero(rows), nonzero(columns), 0),
            bytes: Vec::new(),
            output,
            writer: Some(pair.master.take_writer().expect("the master's input")),
            master: Some(pair.master),
            child,
            modes,
        }
    }

    fn live(columns: u16, rows: u16, target: &Target, environment: &[(&str, &str)]) -> Terminal {
        let pid = target.pid.to_string();
        let mut args = vec!["--pid", &pid];
        args.extend(FROM);
        Terminal::start(columns, rows, &args, environment)
    }

    fn text(&self) -> String {
        self.emulator.screen().contents()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.emulator.process(bytes);
        self.bytes.extend(bytes);
    }

    /// Waits until the screen fits.
    #[track_caller]
    fn until(&mut self, what: &str, fits: impl Fn(&Terminal) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !fits(self) {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.take(&bytes),
                Err(why) => panic!("never: {what} ({why}); the screen:\n{}", self.text()),
            }
        }
    }

    #[track_caller]
    fn until_text(&mut self, words: &[&str]) {
        self.until(&format!("{words:?}"), |terminal| {
            words.iter().all(|word| terminal.text().contains(word))
        });
    }

    fn press(&mut self, keys: &str) {
        let writer = self.writer.as_mut().expect("the terminal is there");
        writer
            .write_all(keys.as_bytes())
            .and_then(|()| writer.flush())
            .expect("the terminal takes keys");
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        let nonzero = |n| NonZeroU16::new(n).expect("a terminal has a size");
        self.emulator.set_size(nonzero(rows), nonzero(columns));
        self.master
            .as_ref()
            .expect("the terminal is there")
            .resize(size(columns, rows))
            .expect("a new size");
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = self
            .child
            .process_id()
            .and_then(|pid| i32::try_from(pid).ok())
            .expect("it runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits for its end; the exit code, None where a signal ended it.
    fn end(&mut self) -> Option<u32> {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            assert!(Instant::now() < end, "otop does not end; the screen:\n{}", self.text());
            match self.output.recv_timeout(Duration::from_millis(20)) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                // The output has ended before the process has: it is about to.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
            self.take(&bytes);
        }
        status.signal().is_none().then(|| status.exit_code())
    }

    /// As a shell needs it back: the usual screen, a cursor, and lines that are edited and echoed.
    #[track_caller]
    fn is_restored(&self) {
        let screen = self.emulator.screen();
        assert!(!screen.alternate_screen(), "left in the alternate screen");
        assert!(!screen.hide_cursor(), "left without a cursor");
        assert_eq!(
            modes(&**self.master.as_ref().expect("the terminal is there")),
            self.modes,
            "left in raw mode"
        );
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The terminal's modes, as text: portable-pty's nix is another version than ours, so its types are only printed.
fn modes(master: &dyn MasterPty) -> String {
    let termios = master.get_termios().expect("a terminal has modes");
    format!(
        "{:?} {:?} {:?}",
        termios.local_flags, termios.input_flags, termios.output_flags
    )
}

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
    assert!(
        terminal.emulator.screen().alternate_screen(),
        "what was on the screen before comes back"
    );
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
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};
    let Some(target) = target() else { return };
    for signal in [SIGTERM, SIGINT, SIGHUP] {
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
    // Everyone who holds the terminal lets it go: we here, the reading thread with the next picture.
    let (_, nobody) = channel();
    terminal.output = nobody;
    terminal.writer = None;
    terminal.master = None;
    let end = Instant::now() + DEADLINE;
    while terminal.child.try_wait().expect("a child can be waited for").is_none() {
        assert!(Instant::now() < end, "otop goes on without a terminal");
        std::thread::sleep(Duration::from_millis(5));
    }
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
