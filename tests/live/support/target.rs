//! A program of tests/targets that runs, tells its truth and takes commands.

use super::{DEADLINE, Labels, Python, collect, favoured, labels, lines};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

/// A program of tests/targets that is running. Dropped: killed.
pub struct Target {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Receiver<String>,
    errors: Arc<Mutex<String>>,
    /// Everything it has said, oldest first.
    pub said: Vec<Value>,
    pub pid: i32,
    pub python: String,
    pub what: String,
    _machine: Arc<Hold>,
}

thread_local! {
    /// What this test holds of the machine: one hold, however many targets it starts.
    static HELD: RefCell<Weak<Hold>> = const { RefCell::new(Weak::new()) };
}

struct Hold {
    _lock: File,
}

/// The live tests run side by side, in threads or processes, but for the one that takes the machine's CPUs away: that
/// one runs alone. It keeps the gate while it waits for the others to end, so that it does not wait for ever.
fn machine(alone: bool) -> Arc<Hold> {
    HELD.with_borrow_mut(|held| {
        if let Some(hold) = held.upgrade() {
            return hold;
        }
        let [gate, lock] = ["gate", "lock"].map(|name| {
            let name = format!("otop-live-tests-{}.{name}", nix::unistd::geteuid());
            File::create(std::env::temp_dir().join(name)).expect("a lock file")
        });
        if alone { gate.lock() } else { gate.lock_shared() }.expect("the gate");
        if alone { lock.lock() } else { lock.lock_shared() }.expect("the machine");
        let hold = Arc::new(Hold { _lock: lock });
        *held = Arc::downgrade(&hold);
        hold
    })
}

/// Where the target's file lies as the Python that runs it sees it: in a chroot it has to be copied there first.
fn place(python: &Python, script: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets");
    let Some(root) = &python.root else {
        return folder.join(script);
    };
    // Tests run side by side: everyone writes a file of its own and renames it over the same content.
    let inside = root.join("otop-targets");
    std::fs::create_dir_all(&inside).expect("the test cache is ours to write");
    for entry in std::fs::read_dir(&folder)
        .expect("tests/targets")
        .filter_map(Result::ok)
    {
        let name = entry.file_name().into_string().expect("targets have plain names");
        if name.ends_with(".py") {
            static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let new = inside.join(format!(".{name}.{}.{count}", std::process::id()));
            std::fs::copy(entry.path(), &new).expect("copy a target into its root");
            std::fs::rename(&new, inside.join(&name)).expect("rename a target in its root");
        }
    }
    Path::new("/otop-targets").join(script)
}

/// The one child of a process, by its number on the host.
fn only_child(pid: i32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a process of ours");
    children
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("one child of {pid}, not {children:?}"))
}

impl Target {
    /// Starts it and waits until it says that it is ready.
    pub fn launch(python: &Python, script: &str, args: &[&str]) -> Target {
        let alone = script == "starve.py";
        let machine = machine(alone);
        let mut command = if alone {
            Command::new(&python.command[0])
        } else {
            favoured(&python.command[0])
        };
        command.args(&python.command[1..]).arg(place(python, script)).args(args);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
        if let Some(path) = &python.pythonpath {
            command.env("PYTHONPATH", path);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{:?} does not start: {e}", python.command));
        let mut target = Target {
            stdin: child.stdin.take(),
            output: lines(child.stdout.take().expect("piped")),
            errors: collect(child.stderr.take().expect("piped")),
            pid: i32::try_from(child.id()).expect("a pid"),
            child,
            said: Vec::new(),
            _machine: machine,
            python: python.label.clone(),
            what: format!("{script} {} on {}", args.join(" "), python.label),
        };
        let ready = target.until("ready", |_| true);
        if python.contained {
            assert_eq!(ready["pid"], 1, "{}: the first process of its namespace", target.what);
            target.pid = only_child(target.pid);
        } else {
            // chroot becomes the Python by exec; were that ever not so, otop would look at the wrong process.
            assert_eq!(ready["pid"], target.pid, "{}", target.what);
        }
        target
    }

    /// sessions.py under control, its first sessions started.
    pub fn sessions(python: &Python, event_loop: &str, args: &[&str]) -> Target {
        let mut all = vec!["--control", "--loop", event_loop];
        all.extend(args);
        let mut target = Target::launch(python, "sessions.py", &all);
        target.until("started", |_| true);
        target
    }

    /// The next event of that name that fits, past what was read already.
    pub fn until(&mut self, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let line = match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(why) => panic!(
                    "{}: no {event} ({why}); said {:?}; {}",
                    self.what,
                    self.tail(),
                    self.stderr()
                ),
            };
            let Ok(value) = serde_json::from_str::<Value>(&line) else {
                continue;
            }; // livekit's own log lines
            self.said.push(value.clone());
            assert!(event == "error" || value["ev"] != "error", "{}: {value}", self.what);
            if value["ev"] == event && fits(&value) {
                return value;
            }
        }
    }

    fn tail(&self) -> &[Value] {
        &self.said[self.said.len().saturating_sub(3)..]
    }

    pub fn stderr(&self) -> String {
        self.errors.lock().expect("no writer panics").clone()
    }

    /// A command, in plain words.
    pub fn tell(&mut self, words: &[&str]) {
        let line = words.join(" ");
        self.write(&line);
    }

    fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open until quit");
        writeln!(stdin, "{line}").unwrap_or_else(|e| panic!("{}: cannot be told {line:?}: {e}", self.what));
    }

    /// Starts a session; any text may be an id. Back when it is live.
    pub fn start(&mut self, sid: &str, agent: Option<&str>, tenant: Option<&str>) {
        let args = [sid, agent.unwrap_or("-"), tenant.unwrap_or("-")];
        self.write(&json!({"cmd": "start", "args": args}).to_string());
        self.until("session_start", |event| event["sid"] == sid);
    }

    /// Back when its last task is done.
    pub fn end(&mut self, sid: &str) {
        self.write(&json!({"cmd": "end", "args": [sid]}).to_string());
        self.until("session_end", |event| event["sid"] == sid);
    }

    /// Back when the block has begun.
    pub fn begin_block(&mut self, sid: &str, ms: u32, kind: &str, place: &str) -> Value {
        self.tell(&["block", sid, &ms.to_string(), kind, place]);
        self.until("block_start", |event| event["sid"] == sid)
    }

    /// Back when the block is over, with what it really was.
    pub fn block(&mut self, sid: &str, ms: u32, kind: &str, place: &str) -> Value {
        self.begin_block(sid, ms, kind, place);
        self.until("block_end", |event| event["sid"] == sid)
    }

    /// Blocks until it was done without the machine's help: where others want the same CPU most of a block can be theirs,
    /// and then nobody in the worker is to blame. The target's own clocks tell. Returns how often it blocked.
    pub fn block_undisturbed(&mut self, sid: &str, ms: u32, kind: &str, place: &str) -> usize {
        for tries in 1..=8 {
            let block = self.block(sid, ms, kind, place);
            let [wall, cpu] = ["ms", "cpu_ms"].map(|key| block[key].as_f64().expect("milliseconds"));
            let own = if kind == "sleep" { f64::from(ms) } else { cpu };
            if own > wall * 0.6 {
                return tries;
            }
        }
        panic!(
            "{}: no {ms} ms of CPU are to be had here at a stretch: too busy a machine to judge",
            self.what
        );
    }

    /// Its own answer to "who is there": id → (agent, tenant).
    pub fn alive(&mut self) -> Labels {
        self.tell(&["alive"]);
        let answer = self.until("alive", |_| true);
        labels(
            answer["sessions"].as_array().expect("alive lists sessions"),
            "sid",
            "agent",
            "tenant",
        )
    }

    /// Its own clocks: CPU seconds of the process, and of each session's steps and threads.
    pub fn cpu(&mut self) -> (f64, BTreeMap<String, f64>) {
        self.tell(&["cpu"]);
        let answer = self.until("cpu", |_| true);
        let sessions = answer["sessions"].as_object().expect("cpu has sessions");
        let sessions = sessions
            .iter()
            .map(|(sid, s)| (sid.clone(), s.as_f64().expect("seconds")))
            .collect();
        (answer["process"].as_f64().expect("seconds"), sessions)
    }

    pub fn quit(&mut self) {
        self.tell(&["quit"]);
        self.until("bye", |_| true);
        self.child.wait().expect("a child can be waited for");
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), signal).expect("the target lives");
    }

    /// One letter of /proc/PID/stat: otop may never put its target into T or t.
    pub fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("the target lives");
        stat.rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next())
            .expect("a stat line has a state")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
