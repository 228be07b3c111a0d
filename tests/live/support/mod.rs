//! What the live tests stand on: the Pythons of this machine, targets that tell their own truth, and otop itself,
//! always as the binary that a user runs. It knows nothing of otop's code, only of its contract: flags, JSON, exit
//! codes. Everything here waits for events (a target's line, otop's next document); the deadlines are only there to
//! turn a hang into a failure.
#![allow(dead_code, unused_imports)] // each test file uses its part

mod followed;
pub mod micro;
mod otop;
mod pythons;
mod target;
mod terminal;

pub use followed::{Followed, sessions};
pub use otop::{Blame, Doc, FROM, OTOP, Otop, Ran, WINDOW, once, run, run_command};
pub use pythons::{Python, any_python, one_python, openrtc, presets, pythons, pythons_of};
pub use target::Target;
pub use terminal::Terminal;

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Long enough for a loaded machine, short enough for a person who waits for a hang to fail.
const DEADLINE: Duration = Duration::from_secs(60);

/// A folder of this test alone, empty.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("created");
    folder
}

/// Says that something was left out, past libtest's capture: a skip nobody reads is a test nobody ran.
pub fn skip(what: &str) {
    assert!(std::env::var_os("OTOP_REQUIRE_ALL").is_none(), "required here: {what}");
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// The tests run in a container of a runtime's, where other ways lead to a right than on a host.
pub fn in_a_container() -> bool {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() || marks.iter().any(|mark| Path::new(mark).exists())
}

/// A program that goes before others, where that is permitted, in a session and so a scheduling group of its own. What
/// is judged here is what a worker does to itself; on a busy machine most of a block is the machine's, and a sampler
/// that gets no CPU can only say so. The process that starts is the program's in the end: everybody execs.
fn favoured(program: &str) -> Command {
    const FAVOUR: &str =
        "{ echo -10 > /proc/self/autogroup; renice -n -10 -p $$; } >/dev/null 2>&1; exec \"$0\" \"$@\"";
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", FAVOUR, program]);
    command
}

/// Within a share of it and an absolute slack: the tests judge sums, scripts/truth judges precision.
pub fn near(what: &str, got: f64, want: f64, share: f64, slack: f64) {
    assert!(
        (got - want).abs() <= want.abs() * share + slack,
        "{what}: {got:.3} where {want:.3} is true"
    );
}

/// Session id → (agent, tenant), None where the variable is not set.
pub type Labels = BTreeMap<String, (Option<String>, Option<String>)>;

fn labels(rows: &[Value], sid: &str, agent: &str, tenant: &str) -> Labels {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    rows.iter()
        .map(|row| {
            (
                word(&row[sid]).expect("a session has an id"),
                (word(&row[agent]), word(&row[tenant])),
            )
        })
        .collect()
}

/// Lines of a child's output, as they come; the channel ends where the output ends.
fn lines<R: Read + Send + 'static>(stream: R) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// What a child says on stderr, for the message of a failing test.
fn collect<R: Read + Send + 'static>(mut stream: R) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let writer = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            writer
                .lock()
                .expect("no writer panics")
                .push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    });
    text
}

/// Judges one Python of this minor version with this loop; says what is missing.
pub fn with_loop(minor: &str, event_loop: &str, judge: impl FnOnce(&Python, &str)) {
    let Some(python) = one_python(minor) else { return };
    if python.loops().contains(&event_loop) {
        judge(&python, event_loop);
    } else {
        skip(&format!("uvloop on Python {}", python.label));
    }
}
