//! The bundled sample worker, for `otop demo`: finds a Python, starts the worker in it, and makes sure that it ends with
//! otop. The worker leaves no file behind: its program is handed over on its standard input, which stays open and whose
//! end is the worker's end, also where otop is killed. Knows nothing of how the worker is looked at.

use crate::model::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const WORKER: &str = include_str!("worker.py");

/// The name under which the program's frames appear.
const FILE_NAME: &str = "demo_worker.py";

/// Takes the program from standard input, so that its frames have a file name and no file is written.
const BOOTSTRAP: &str = "\
import sys
if not (3, 8) <= sys.version_info[:2] <= (3, 15):
    sys.exit('Python %d.%d' % sys.version_info[:2])
if not getattr(sys, '_is_gil_enabled', lambda: True)():
    sys.exit('a free-threaded build')
exec(compile(sys.stdin.buffer.read(int(sys.argv[1])), sys.argv[2], 'exec'))";

/// Starting an interpreter behind a version manager's wrapper takes a second on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The worker; it ends when this is dropped, or when otop does.
pub struct Demo {
    worker: Child,
    stdin: Option<ChildStdin>,
}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the sample worker needs a Python from 3.8 to 3.15, and none works here ({})", .tried.join("; "))]
    NoPython { tried: Vec<String> },
}

impl Demo {
    /// Starts the worker in the first Python of the PATH that can run it.
    pub fn start() -> Result<Demo, DemoError> {
        let mut tried = Vec::new();
        for program in pythons() {
            match start_in(&program) {
                Ok(demo) => return Ok(demo),
                Err(reason) => tried.push(format!("{program}: {reason}")),
            }
        }
        Err(DemoError::NoPython { tried })
    }

    pub fn pid(&self) -> Pid {
        Pid(i32::try_from(self.worker.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It ends by itself within milliseconds; one that is stopped would not, and this is our own child.
        for _ in 0..50 {
            if let Ok(Some(_)) = self.worker.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.worker.kill();
        let _ = self.worker.wait();
    }
}

/// The plain name first, which is the Python that the user means, then the versions from the newest.
fn pythons() -> Vec<String> {
    let versions = (8..=15).rev().map(|minor| format!("python3.{minor}"));
    std::iter::once("python3".to_owned())
        .chain(versions)
        .chain(std::iter::once("python".to_owned()))
        .collect()
}

fn start_in(program: &str) -> Result<Demo, String> {
    let mut worker = Command::new(program)
        // Isolated: neither the environment nor the directory changes what it imports.
        .args(["-I", "-c", BOOTSTRAP, &WORKER.len().to_string(), FILE_NAME])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for otop; the worker ends by its standard input.
        .process_group(0)
        .spawn()
        .map_err(|error| error.kind().to_string())?;
    let mut stdin = worker.stdin.take();
    let stdout = worker.stdout.take();
    let mut demo = Demo { worker, stdin: None };
    // A program that has ended already is told by its missing "ready".
    let _ = stdin.as_mut().map(|pipe| pipe.write_all(WORKER.as_bytes()));
    demo.stdin = stdin;

    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = stdout.map(|pipe| BufReader::new(pipe).take(100).read_line(&mut line));
        let _ = tell.send(line.trim() == "ready");
    });
    match told.recv_timeout(PATIENCE) {
        Ok(true) => Ok(demo),
        Ok(false) => Err(last_words(demo)),
        Err(_) => Err(format!("it did not start within {} s", PATIENCE.as_secs())),
    }
}

/// The last line that a worker wrote which did not start.
fn last_words(mut demo: Demo) -> String {
    let stderr = demo.worker.stderr.take();
    drop(demo);
    let mut bytes = Vec::new();
    let _ = stderr.map(|pipe| pipe.take(4096).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let line = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("it ended at once");
    line.chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Sameness, state, threads};

    #[test]
    fn the_worker_starts_and_ends_with_its_owner() {
        let demo = Demo::start().expect("a python3 is on this machine");
        let pid = demo.pid();
        assert!(
            threads(pid).expect("it runs").len() >= 2,
            "the loop, and the thread that watches the pipe"
        );
        let fingerprint = crate::process::Fingerprint::of(pid).expect("it runs");
        drop(demo);
        assert_eq!(fingerprint.still_same(), Sameness::Exited);
    }

    #[test]
    fn a_stopped_worker_is_no_reason_to_hang() {
        let demo = Demo::start().expect("a python3 is on this machine");
        let pid = demo.pid();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.0), nix::sys::signal::Signal::SIGSTOP).expect("sent");
        drop(demo);
        assert!(state(pid).is_err());
    }

    #[test]
    fn a_program_that_is_no_python_says_so() {
        assert!(start_in("otop-no-such-program").is_err());
        assert!(start_in("true").is_err_and(|reason| reason == "it ended at once"));
    }
}
