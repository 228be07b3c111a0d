//! `--socket`: what an OpenRTC worker itself serves at its introspection socket, as the same report. The protocol is one
//! line of JSON for each connection. What the worker does not serve stays unknown. A thread of its own asks, since a
//! worker whose loop is blocked lets the connection hang.

mod snapshot;

use super::error::CliError;
use super::table::live::Figures;
use crate::model::Report;
use crate::process::socket_owner;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

/// As long as the original waits.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// A line that is longer comes from something else.
const LONGEST_ANSWER: u64 = 64 << 20;

/// What a stream of documents makes of what comes. A worker that was seen is not given up for a while of silence, and its
/// end is the end of what there was.
#[derive(Default)]
pub struct Stream {
    has_told: bool,
    is_silent: bool,
    /// The last answer was no document.
    was_strange: bool,
}

/// What is to be done.
#[derive(Debug)]
pub enum Next {
    Document(Box<Report>),
    /// A document, after a word.
    Again(String, Box<Report>),
    Word(String),
    /// The end, with a word, after which all is done.
    Over(String),
    Nothing,
}

impl Stream {
    pub fn take(&mut self, answer: Result<Report, CliError>) -> Result<Next, CliError> {
        let error = match answer {
            Ok(report) => {
                self.has_told = true;
                self.was_strange = false;
                let report = Box::new(report);
                return Ok(match std::mem::take(&mut self.is_silent) {
                    true => Next::Again("the worker answers again".to_owned(), report),
                    false => Next::Document(report),
                });
            }
            Err(error) if !self.has_told => return Err(error),
            Err(error) => error,
        };
        let word = || match error.remedy() {
            Some(remedy) => format!("{error}; try: {remedy}"),
            None => error.to_string(),
        };
        match &error {
            CliError::SocketSilent { .. } if self.is_silent => Ok(Next::Nothing),
            CliError::SocketSilent { .. } => {
                self.is_silent = true;
                Ok(Next::Word(format!("{}; waiting for it", word())))
            }
            CliError::NoSocket { path, reason } => Ok(Next::Over(format!(
                "no worker serves {} any more ({reason})",
                path.display()
            ))),
            // One that ends in the middle of an answer leaves half of it; the next question shows whether it has.
            CliError::SocketStrange { .. } if !self.was_strange => {
                self.was_strange = true;
                Ok(Next::Word(format!("{error}; it is asked again")))
            }
            _ => Err(error),
        }
    }
}

/// The worker behind a socket.
pub struct Socket {
    answers: Receiver<Result<Report, CliError>>,
    ask: SyncSender<()>,
    last: Report,
    has_answered: bool,
}

impl Socket {
    /// Begins to ask, `period` after each answer again.
    pub fn open(path: &Path, period: Duration) -> Socket {
        let (tell, answers) = mpsc::channel();
        let (ask, asked) = mpsc::sync_channel(1);
        let path = path.to_owned();
        std::thread::spawn(move || {
            loop {
                let more = answer(&path, &mut |answer| tell.send(answer).is_ok());
                // Asked again at the next period, or at once.
                if !more || asked.recv_timeout(period) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        Socket {
            answers,
            ask,
            last: snapshot::nothing(),
            has_answered: false,
        }
    }

    /// The next answer, or why there is none.
    pub fn next(&self) -> Option<Result<Report, CliError>> {
        self.answers.recv_timeout(Duration::from_millis(50)).ok()
    }

    fn take(&mut self, answer: Result<Report, CliError>) {
        match answer {
            Ok(report) => {
                self.last = report;
                self.has_answered = true;
            }
            // The last figures stay, with what happened.
            Err(error) => {
                let remedy = error.remedy().unwrap_or_default();
                self.last.worker.condition = Some(format!("lost: {error}; try: {remedy}"));
            }
        }
    }
}

impl Figures for Socket {
    fn take_in(&mut self, patience: Duration) {
        if let Ok(first) = self.answers.recv_timeout(patience) {
            self.take(first);
        }
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer);
        }
    }

    fn report(&mut self) -> Report {
        self.last.clone()
    }

    fn hurry(&mut self) {
        let _ = self.ask.try_send(());
    }
}

/// Asks once and tells what comes; false: nobody wants to know any more. While the worker is silent, it says so every
/// two seconds and goes on waiting on the same connection, so that no queue of them builds up in front of a sick worker.
fn answer(path: &Path, tell: &mut dyn FnMut(Result<Report, CliError>) -> bool) -> bool {
    let mut silence = Silence::default();
    let Some(connected) = connect(path, &mut || tell(Err(silence.goes_on(path)))) else {
        return false;
    };
    let stream = match connected.and_then(|s| s.set_read_timeout(Some(PATIENCE)).map(|()| s)) {
        Ok(stream) => stream,
        Err(error) => return tell(Err(no_connection(path, &error))),
    };
    let mut reader = BufReader::new(stream.take(LONGEST_ANSWER));
    let mut line = Vec::new();
    loop {
        match reader.read_until(b'\n', &mut line) {
            Ok(_) => {
                return tell(snapshot::report(&line, socket_owner(path)).map_err(|reason| strange(path, reason)));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if !tell(Err(silence.goes_on(path))) {
                    return false;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return tell(Err(strange(path, error.to_string()))),
        }
    }
}

/// Connects. Where the worker's queue of connections is full the kernel lets that wait, without an end; so a thread waits
/// in it, and `is_silent` is told every two seconds. None: nobody wants to know any more.
fn connect(path: &Path, is_silent: &mut dyn FnMut() -> bool) -> Option<std::io::Result<UnixStream>> {
    let (tell, connected) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || tell.send(UnixStream::connect(&path)));
    loop {
        match connected.recv_timeout(PATIENCE) {
            Ok(connected) => return Some(connected),
            Err(RecvTimeoutError::Disconnected) => return Some(Err(ErrorKind::Other.into())),
            Err(RecvTimeoutError::Timeout) if is_silent() => {}
            Err(RecvTimeoutError::Timeout) => return None,
        }
    }
}

/// How long one connection has been waited for and in.
#[derive(Default)]
struct Silence {
    seconds: u64,
}

impl Silence {
    fn goes_on(&mut self, path: &Path) -> CliError {
        self.seconds += PATIENCE.as_secs();
        CliError::SocketSilent {
            path: path.to_owned(),
            seconds: self.seconds,
            owner: socket_owner(path),
        }
    }
}

fn no_connection(path: &Path, error: &std::io::Error) -> CliError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::PermissionDenied => CliError::SocketDenied { path },
        ErrorKind::NotFound => CliError::NoSocket {
            path,
            reason: "there is no such file".to_owned(),
        },
        ErrorKind::ConnectionRefused => CliError::NoSocket {
            path,
            reason: "the file is there, but nobody listens".to_owned(),
        },
        _ => CliError::NoSocket {
            path,
            reason: error.to_string(),
        },
    }
}

fn strange(path: &Path, reason: String) -> CliError {
    CliError::SocketStrange {
        path: PathBuf::from(path),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pid;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    const LINE: &[u8] = br#"{"worker": {"name": "vm", "uptime_s": 1.5, "active_sessions": 0}, "sessions": []}"#;

    fn listener(name: &str) -> (UnixListener, PathBuf) {
        let path = std::env::temp_dir().join(format!("otop-test-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        (UnixListener::bind(&path).expect("bound"), path)
    }

    fn one_answer(path: &Path) -> Result<Report, CliError> {
        let mut got = None;
        answer(path, &mut |answer| {
            got = Some(answer);
            false
        });
        got.expect("it always says something")
    }

    #[test]
    fn a_line_is_a_report() {
        let (listener, path) = listener("line");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accepted");
            stream
                .write_all(LINE)
                .and_then(|()| stream.write_all(b"\n"))
                .expect("written");
        });
        let report = one_answer(&path).expect("a report");
        server.join().expect("served");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(report.worker.name.as_deref(), Some("vm"));
    }

    #[test]
    fn a_silent_worker_is_not_an_absent_one() {
        let (listener, path) = listener("silent");
        let error = one_answer(&path).expect_err("nobody accepts");
        let CliError::SocketSilent { owner, seconds: 2, .. } = &error else {
            panic!("{error}")
        };
        let own = i32::try_from(std::process::id()).expect("a pid fits");
        assert_eq!(owner.map(|pid| pid.0), Some(own), "the advice names the worker");
        drop(listener);
        assert!(
            matches!(one_answer(&path), Err(CliError::NoSocket { .. })),
            "nobody listens any more"
        );
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(one_answer(&path), Err(CliError::NoSocket { .. })), "no file");
    }

    #[test]
    fn a_full_queue_of_connections_is_a_silent_worker_and_no_hang() {
        use std::process::{Command, Stdio};
        let path = std::env::temp_dir().join(format!("otop-test-{}-full.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        // std gives no say in how long the queue is.
        let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(0); \
                      c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); print('up', flush=True); \
                      sys.stdin.read(1); s.accept(); s.accept(); sys.stdin.read()";
        let mut python = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a python3 is on this machine");
        let stdout = python.stdout.as_mut().expect("piped");
        stdout.read_exact(&mut [0; 2]).expect("it says that it is up");
        let error = one_answer(&path).expect_err("nobody accepts");
        assert!(matches!(error, CliError::SocketSilent { seconds: 2, .. }), "{error}");
        // The same connection is waited for: when there is room, it is accepted, and then waited in.
        let mut silences = Vec::new();
        answer(&path, &mut |answer| {
            let Err(CliError::SocketSilent { seconds, .. }) = answer else {
                panic!("{answer:?}")
            };
            silences.push(seconds);
            if let Some(stdin) = &mut python.stdin {
                stdin.write_all(b"x").expect("it listens");
            }
            seconds < 4
        });
        drop(python.stdin.take());
        python.wait().expect("waited");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(silences, [2, 4]);
    }

    #[test]
    fn a_worker_that_was_seen_may_be_silent_and_its_end_is_no_error() {
        let path = PathBuf::from("/run/w.sock");
        let silent = |seconds| CliError::SocketSilent {
            path: path.clone(),
            seconds,
            owner: Some(Pid(7)),
        };
        let gone = || no_connection(&path, &ErrorKind::ConnectionRefused.into());
        let half = || strange(&path, "it closed the connection without a word".to_owned());
        for error in [silent(2), gone(), half()] {
            assert!(Stream::default().take(Err(error)).is_err(), "nothing was seen");
        }
        let mut stream = Stream::default();
        let mut take = |answer| stream.take(answer);
        assert!(matches!(take(Ok(snapshot::nothing())), Ok(Next::Document(_))));
        let Ok(Next::Word(word)) = take(Err(silent(2))) else {
            panic!("a word")
        };
        assert!(
            word.contains("nothing within 2 s") && word.contains("try: sudo otop --pid 7"),
            "{word}"
        );
        assert!(matches!(take(Err(silent(4))), Ok(Next::Nothing)), "it was said");
        assert!(matches!(take(Ok(snapshot::nothing())), Ok(Next::Again(..))));
        assert!(matches!(take(Err(silent(2))), Ok(Next::Word(_))), "another silence");
        assert!(matches!(take(Err(half())), Ok(Next::Word(_))));
        let Ok(Next::Over(word)) = take(Err(gone())) else {
            panic!("the end")
        };
        assert!(word.starts_with("no worker serves /run/w.sock any more"), "{word}");
        assert!(
            matches!(take(Err(half())), Err(CliError::SocketStrange { .. })),
            "twice is no end"
        );
    }

    #[test]
    fn what_is_no_worker_is_told_apart() {
        let (listener, path) = listener("strange");
        let server = std::thread::spawn(move || {
            for answer in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"", b"\xff\xfe{}\n", b"[]\n"] {
                let (mut stream, _) = listener.accept().expect("accepted");
                stream.write_all(answer).expect("written");
            }
        });
        for _ in 0..4 {
            assert!(matches!(one_answer(&path), Err(CliError::SocketStrange { .. })));
        }
        server.join().expect("served");
        std::fs::remove_file(&path).expect("removed");
    }
}
