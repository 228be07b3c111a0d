//! otop in a terminal: a pseudo-terminal and an emulator behind it. Waits for what appears on the screen; the deadline is
//! only there to turn a hang into a failure. Knows nothing of what is on the screen.

use super::{DEADLINE, FROM, Target};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// otop, and what it has drawn. Dropped: killed.
pub struct Terminal {
    emulator: vt100::Parser,
    /// All that was written, as it was.
    pub bytes: Vec<u8>,
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
    pub fn start(columns: u16, rows: u16, args: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let pair = native_pty_system()
            .openpty(size(columns, rows))
            .expect("a pseudo-terminal");
        let modes = modes(&*pair.master);
        let mut command = CommandBuilder::new(super::OTOP);
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

    /// The live table of this target.
    pub fn live(columns: u16, rows: u16, target: &Target, environment: &[(&str, &str)]) -> Terminal {
        let pid = target.pid.to_string();
        let mut args = vec!["--pid", &pid];
        args.extend(FROM);
        Terminal::start(columns, rows, &args, environment)
    }

    pub fn text(&self) -> String {
        self.emulator.screen().contents()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.emulator.process(bytes);
        self.bytes.extend(bytes);
    }

    /// Waits until the screen fits.
    #[track_caller]
    pub fn until(&mut self, what: &str, fits: impl Fn(&Terminal) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !fits(self) {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.take(&bytes),
                Err(why) => panic!("never: {what} ({why}); the screen:\n{}", self.text()),
            }
        }
    }

    #[track_caller]
    pub fn until_text(&mut self, words: &[&str]) {
        self.until(&format!("{words:?}"), |terminal| {
            words.iter().all(|word| terminal.text().contains(word))
        });
    }

    /// The alternate screen: what was there before comes back.
    pub fn is_alternate(&self) -> bool {
        self.emulator.screen().alternate_screen()
    }

    /// Keys come one by one.
    pub fn is_raw(&self) -> bool {
        modes(&**self.master.as_ref().expect("the terminal is there")) != self.modes
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        let pid = self.child.process_id().and_then(|pid| i32::try_from(pid).ok());
        nix::unistd::Pid::from_raw(pid.expect("it runs"))
    }

    /// Everyone who holds the terminal lets it go: we here, the reading thread with the next picture.
    pub fn vanish(&mut self) {
        let (_, nobody) = channel();
        self.output = nobody;
        self.writer = None;
        self.master = None;
    }

    /// Waits for its end, without looking at what it writes.
    pub fn ends(&mut self) {
        let end = Instant::now() + DEADLINE;
        while self.child.try_wait().expect("a child can be waited for").is_none() {
            assert!(Instant::now() < end, "otop goes on without a terminal");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn press(&mut self, keys: &str) {
        let writer = self.writer.as_mut().expect("the terminal is there");
        writer
            .write_all(keys.as_bytes())
            .and_then(|()| writer.flush())
            .expect("the terminal takes keys");
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        let nonzero = |n| NonZeroU16::new(n).expect("a terminal has a size");
        self.emulator.set_size(nonzero(rows), nonzero(columns));
        self.master
            .as_ref()
            .expect("the terminal is there")
            .resize(size(columns, rows))
            .expect("a new size");
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).expect("it runs");
    }

    /// Waits for its end; the exit code, None where a signal ended it.
    pub fn end(&mut self) -> Option<u32> {
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
    pub fn is_restored(&self) {
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
