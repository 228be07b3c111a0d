//! `otop demo` on a real terminal: its sessions are on the screen, its worker ends with otop however that ends, and a panic
//! gives the terminal back. Waits for what appears, never for time. Keys, signals and sizes: `live_terminal.rs`.

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Only a hang takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// otop on a terminal of its own.
struct Session {
    otop: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    before: String,
}

impl Session {
    fn start(arguments: &[&str], environment: &[(&str, &str)], (rows, cols): (u16, u16)) -> Session {
        let size = PtySize {
            rows,
            cols,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).expect("a pty");
        let before = settings(pair.master.as_ref());
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_otop"));
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        for (name, value) in environment {
            command.env(name, value);
        }
        let otop = pair.slave.spawn_command(command).expect("otop starts");
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size_of(rows), size_of(cols), 0)));
        let mut output = pair.master.try_clone_reader().expect("a reader");
        let drawn = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                drawn.lock().expect("no panic").process(&bytes[..count]);
            }
        });
        let keys = pair.master.take_writer().expect("a writer");
        Session {
            otop,
            master: pair.master,
            keys,
            screen,
            before,
        }
    }

    fn demo() -> Session {
        Session::start(&["demo"], &[], (40, 160))
    }

    fn text(&self) -> String {
        self.screen.lock().expect("no panic").screen().contents()
    }

    fn wait_for(&self, what: &str, seen: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !seen(&self.text()) {
            assert!(
                Instant::now() < end,
                "waited in vain for {what}; the screen:\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_for_text(&self, text: &str) {
        self.wait_for(text, |screen| screen.contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("typed");
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).expect("sent");
    }

    fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.otop.process_id().expect("a process")).expect("a pid fits"))
    }

    /// The worker that the demo has started.
    fn worker(&self) -> nix::unistd::Pid {
        let pid = self.pid();
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
            .expect("it runs")
            .map(|entry| entry.expect("an entry"));
        let children =
            threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
        let children = children.collect::<Vec<_>>().join(" ");
        let child = children
            .split_whitespace()
            .next()
            .expect("the demo has a worker")
            .parse()
            .expect("a number");
        nix::unistd::Pid::from_raw(child)
    }

    /// Exit code of otop; it must end by itself.
    fn end(&mut self) -> u32 {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.otop.try_wait().expect("asked") {
                return status.exit_code();
            }
            if Instant::now() > end {
                let _ = self.otop.kill();
                panic!("otop hangs; the screen:\n{}", self.text());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Normal screen, visible cursor, the settings that there were.
    fn assert_restored(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let normal = {
                let parser = self.screen.lock().expect("no panic");
                !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
            };
            if normal && settings(self.master.as_ref()) == self.before {
                return;
            }
            assert!(
                Instant::now() < end,
                "not restored: {}\nbefore: {}",
                settings(self.master.as_ref()),
                self.before
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.otop.kill();
        let _ = self.otop.wait();
    }
}

fn size_of(cells: u16) -> NonZero<u16> {
    NonZero::new(cells).expect("a terminal has a size")
}

/// Modes of the terminal, as text.
fn settings(master: &dyn MasterPty) -> String {
    let termios = master.get_termios().expect("a terminal");
    format!(
        "{:?} {:?} {:?}",
        termios.input_flags, termios.output_flags, termios.local_flags
    )
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
    let mut session = Session::demo();
    for text in ["hog-01", "blocker-02", "unattributed", "session(s)"] {
        session.wait_for_text(text);
    }
    assert_ne!(settings(session.master.as_ref()), session.before, "it is in raw mode");
    let worker = session.worker();
    session.press("q");
    assert_eq!(session.end(), 0);
    session.assert_restored();
    wait_for_end(worker);
}

#[test]
fn a_stopped_worker_is_said_to_be_stopped() {
    let mut session = Session::demo();
    session.wait_for_text("hog-01");
    let worker = session.worker();
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGSTOP).expect("sent");
    session.wait_for_text("STOPPED");
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGCONT).expect("sent");
    session.wait_for("the word to go", |screen| !screen.contains("STOPPED"));
    session.press("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_panic_is_one_line_on_a_terminal_that_was_given_back() {
    if !cfg!(debug_assertions) {
        // A release build cannot be asked to panic.
        return;
    }
    let mut session = Session::start(&["demo"], &[("OTOP_TEST_PANIC", "1")], (40, 160));
    assert_eq!(session.end(), 1);
    session.assert_restored();
    session.wait_for_text("otop: a mistake in otop itself");
    assert!(!session.text().contains("backtrace"), "{}", session.text());
}

#[test]
fn the_worker_ends_also_where_otop_is_killed() {
    let mut session = Session::demo();
    session.wait_for_text("hog-01");
    let worker = session.worker();
    session.signal(nix::sys::signal::Signal::SIGKILL);
    session.end();
    wait_for_end(worker);
}
