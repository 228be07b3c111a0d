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
    let stream = match UnixStream::connect(path).and_then(|s| s.set_read_timeout(Some(PATIENCE)).map(|()| s)) {
        Ok(stream) => stream,
        Err(error) => return tell(Err(no_connection(path, &error))),
    };
    let mut reader = BufReader::new(stream.take(LONGEST_ANSWER));
    let mut line = Vec::new();
    let mut waited = 0;
    loop {
        match reader.read_until(b'\n', &mut line) {
            Ok(_) => {
                return tell(snapshot::report(&line, socket_owner(path)).map_err(|reason| strange(path, reason)));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                waited += PATIENCE.as_secs();
                let owner = socket_owner(path);
                if !tell(Err(CliError::SocketSilent {
                    path: path.to_owned(),
                    seconds: waited,
                    owner,
                })) {
                    return false;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return tell(Err(strange(path, error.to_string()))),
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
