//! What the live tests stand on: the Pythons of this machine, targets that tell their own truth, and otop itself,
//! always as the binary that a user runs. It knows nothing of otop's code, only of its contract: flags, JSON, exit
//! codes. Everything here waits for events (a target's line, otop's next document); the deadlines are only there to
//! turn a hang into a failure.
#![allow(dead_code)] // each test file uses its part

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine, short enough for a person who waits for a hang to fail.
const DEADLINE: Duration = Duration::from_secs(60);

/// Half of the second in which a session must show or be gone: the third document after an event ends more than one
/// second after it, so it may not be wrong any more. Documents are counted, never time.
pub const WINDOW: &str = "500ms";

// ---- Pythons ---------------------------------------------------------------------------------------------------

/// One Python that targets can be started with: an entry of scripts/pythons' JSON files.
#[derive(Clone, Debug)]
pub struct Python {
    pub label: String,
    pub minor: String,
    command: Vec<String>,
    root: Option<PathBuf>,
    pub uvloop: bool,
    pythonpath: Option<String>,
    contained: bool,
}

impl Python {
    /// The same Python in mount and PID namespaces of its own, as a container has it: on the host its files have other
    /// paths, or none, and its process another number. None: it is not one that lies in a root of its own.
    pub fn in_a_container(&self) -> Option<Python> {
        // On a file system that only the container has, so that no path of it exists on the host.
        const INSIDE: &str = "mount -t tmpfs none /mnt && mkdir /mnt/root && mount --bind \"$0\" /mnt/root \\
            && mount -t proc proc /mnt/root/proc && exec chroot /mnt/root \"$@\"";
        let root = self.root.as_ref()?.to_str()?;
        let mut command: Vec<String> = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            INSIDE,
            root,
        ]
        .map(str::to_owned)
        .into();
        command.extend(self.command.iter().skip(2).cloned()); // without "chroot ROOT"
        Some(Python {
            command,
            contained: true,
            ..self.clone()
        })
    }

    /// (3, 12) of "3.12", so that versions compare as numbers.
    pub fn version(&self) -> (u32, u32) {
        let mut parts = self
            .minor
            .split('.')
            .map(|part| part.parse().expect("a minor version is two numbers"));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    pub fn loops(&self) -> Vec<&'static str> {
        if self.uvloop {
            vec!["asyncio", "uvloop"]
        } else {
            vec!["asyncio"]
        }
    }
}

/// Says that something was left out, past libtest's capture: a skip nobody reads is a test nobody ran.
pub fn skip(what: &str) {
    assert!(std::env::var_os("OTOP_REQUIRE_ALL").is_none(), "required here: {what}");
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    std::env::var_os("OTOP_TEST_CACHE").map_or_else(|| home.join(".cache/otop-tests"), PathBuf::from)
}

fn read_pythons(variable: &str, file: &str) -> Vec<Python> {
    let path = std::env::var_os(variable).map_or_else(|| cache().join(file), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Vec::new();
    };
    let entries: Vec<Value> = serde_json::from_str(&text).expect("scripts/pythons writes a JSON list");
    let word = |value: &Value| value.as_str().map(str::to_owned);
    entries
        .iter()
        .map(|entry| Python {
            label: word(&entry["label"]).expect("label"),
            minor: word(&entry["minor"]).expect("minor"),
            command: entry["command"]
                .as_array()
                .expect("command")
                .iter()
                .filter_map(word)
                .collect(),
            root: word(&entry["root"]).map(PathBuf::from),
            uvloop: entry["uvloop"] == true,
            pythonpath: word(&entry["pythonpath"]),
            contained: false,
        })
        .filter(|python| python.root.is_none() || nix::unistd::geteuid().is_root()) // chroot
        .collect()
}

/// Without scripts/pythons: the python3 of the PATH, so that `cargo test` alone tests something live.
fn python_of_the_path() -> Option<Python> {
    const ASK: &str = "import sys; print(sys.executable, '%d.%d.%d' % sys.version_info[:3])";
    let out = Command::new("python3").args(["-c", ASK]).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let (path, version) = text.trim().rsplit_once(' ')?;
    Some(Python {
        label: version.to_owned(),
        minor: version.rsplit_once('.')?.0.to_owned(),
        command: vec![path.to_owned()],
        root: None,
        uvloop: false,
        pythonpath: None,
        contained: false,
    })
}

/// Every Python there is; empty (and said) where this user may not read other processes.
pub fn pythons() -> &'static [Python] {
    static FOUND: OnceLock<Vec<Python>> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Ok(why) = std::env::var("OTOP_NO_LIVE") {
            skip(&why);
            return Vec::new();
        }
        let found = read_pythons("OTOP_PYTHONS", "pythons.json");
        if found.is_empty() {
            python_of_the_path().into_iter().collect()
        } else {
            found
        }
    })
}

/// All micro versions of one minor version.
pub fn pythons_of(minor: &str) -> Vec<Python> {
    let found: Vec<Python> = pythons()
        .iter()
        .filter(|python| python.minor == minor)
        .cloned()
        .collect();
    if found.is_empty() {
        skip(&format!(
            "Python {minor}: not on this machine (scripts/pythons --all installs it)"
        ));
    }
    found
}

/// One Python of a minor version; of none in particular: the newest. None: said, and the caller is done.
pub fn one_python(minor: &str) -> Option<Python> {
    pythons_of(minor).into_iter().next_back()
}

pub fn any_python() -> Option<Python> {
    let found = pythons().last().cloned();
    if found.is_none() {
        skip("no Python to start a target with");
    }
    found
}

/// The environment with the real OpenRTC for one minor version.
pub fn openrtc(minor: &str) -> Option<Python> {
    let found = read_pythons("OTOP_OPENRTC", "openrtc.json")
        .into_iter()
        .find(|python| python.minor == minor);
    if std::env::var_os("OTOP_NO_LIVE").is_some() {
        return None;
    }
    if found.is_none() {
        skip(&format!(
            "OpenRTC on Python {minor}: not on this machine (scripts/pythons --openrtc installs it)"
        ));
    }
    found
}

// ---- targets ---------------------------------------------------------------------------------------------------

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
        let mut command = Command::new(&python.command[0]);
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

// ---- otop ------------------------------------------------------------------------------------------------------

/// How otop is told which variables sessions.py labels its sessions with.
pub const FROM: [&str; 6] = [
    "--session-from",
    "call_ref",
    "--agent-from",
    "call_handler",
    "--tenant-from",
    "call_customer",
];

/// One document of `otop --json`.
#[derive(Clone, Debug)]
pub struct Doc(pub Value);

impl Doc {
    pub fn rows(&self) -> &[Value] {
        self.0["sessions"]
            .as_array()
            .unwrap_or_else(|| panic!("no sessions in {}", self.0))
    }

    /// Who is there, as otop says it. A row that stays for its error is not there any more.
    pub fn labels(&self) -> Labels {
        let live: Vec<Value> = self
            .rows()
            .iter()
            .filter(|row| row["status"] != "errored")
            .cloned()
            .collect();
        assert_eq!(
            live.len(),
            live.iter()
                .map(|row| row["session_id"].to_string())
                .collect::<BTreeSet<_>>()
                .len()
        );
        labels(&live, "session_id", "agent_name", "tenant")
    }

    pub fn row(&self, sid: &str) -> &Value {
        let row = self.rows().iter().find(|row| row["session_id"] == sid);
        row.unwrap_or_else(|| panic!("no row for {sid} in {}", self.0))
    }

    pub fn worker(&self, key: &str) -> &Value {
        let value = &self.0["worker"];
        assert!(value.get(key).is_some(), "the contract has worker.{key}: {value}");
        &value[key]
    }

    pub fn number(&self, pointer: &str) -> f64 {
        let value = self.0.pointer(pointer);
        value
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("{pointer} is no number in {}", self.0))
    }

    pub fn blocks(&self) -> &[Value] {
        self.0["blocks"]
            .as_array()
            .unwrap_or_else(|| panic!("no blocks in {}", self.0))
    }

    /// Sessions' CPU plus unattributed, since attach: what must add up to what the process used.
    pub fn cpu_total(&self) -> f64 {
        let sessions: f64 = self.rows().iter().map(|row| row["cpu_s"].as_f64().unwrap_or(0.0)).sum();
        sessions + self.number("/unattributed/cpu_s")
    }
}

/// `otop --json`, followed document by document. Dropped: killed.
pub struct Otop {
    child: Child,
    output: Receiver<String>,
    errors: Arc<Mutex<String>>,
    pub blame: Blame,
}

/// Everybody who was ever called slow or blamed for a block, over all documents that were read.
#[derive(Clone, Debug, Default)]
pub struct Blame {
    pub slow: BTreeSet<String>,
    /// Blocks that are over, by whom they are blamed on.
    pub blocks: BTreeMap<String, Vec<Value>>,
    pub ongoing: BTreeSet<String>,
    /// Blocks that are over and that nobody is blamed for.
    pub nobody: Vec<Value>,
}

impl Blame {
    fn add(&mut self, doc: &Doc) {
        let slow = doc.rows().iter().filter(|row| row["status"] == "slow");
        self.slow
            .extend(slow.filter_map(|row| row["session_id"].as_str().map(str::to_owned)));
        for block in doc.blocks() {
            match (block["session_id"].as_str(), block["ongoing"] == true) {
                (Some(sid), true) => drop(self.ongoing.insert(sid.to_owned())),
                (Some(sid), false) => self.blocks.entry(sid.to_owned()).or_default().push(block.clone()),
                (None, false) => self.nobody.push(block.clone()),
                (None, true) => {}
            }
        }
    }

    /// Who is blamed for a block of at least that long that is over, and how often.
    pub fn of_at_least(&self, ms: f64) -> BTreeMap<String, usize> {
        let long = |blocks: &[Value]| {
            blocks
                .iter()
                .filter(|block| block["duration_ms"].as_f64() >= Some(ms))
                .count()
        };
        self.blocks
            .iter()
            .map(|(sid, blocks)| (sid.clone(), long(blocks)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Whom anything was ever said of.
    pub fn anybody(&self) -> BTreeSet<String> {
        self.slow
            .iter()
            .chain(self.blocks.keys())
            .chain(&self.ongoing)
            .cloned()
            .collect()
    }
}

fn otop() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otop"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Otop {
    pub fn follow(pid: i32, args: &[&str]) -> Otop {
        let mut child = otop()
            .args(["--pid", &pid.to_string(), "--json", "--window", WINDOW])
            .args(args)
            .spawn()
            .expect("otop is built with its tests");
        Otop {
            output: lines(child.stdout.take().expect("piped")),
            errors: collect(child.stderr.take().expect("piped")),
            child,
            blame: Blame::default(),
        }
    }

    fn read(&mut self, line: &str) -> Doc {
        let doc = Doc(serde_json::from_str(line).unwrap_or_else(|e| panic!("not a JSON document ({e}): {line}")));
        self.blame.add(&doc);
        doc
    }

    /// The next document; None: otop has ended.
    pub fn next(&mut self) -> Option<Doc> {
        match self.output.recv_timeout(DEADLINE) {
            Ok(line) => Some(self.read(&line)),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("otop prints nothing; {}", self.stderr()),
        }
    }

    fn must(&mut self) -> Doc {
        self.next().unwrap_or_else(|| panic!("otop ended: {}", self.stderr()))
    }

    /// The n-th document that is printed from now on.
    pub fn fresh(&mut self, n: usize) -> Doc {
        while let Ok(line) = self.output.try_recv() {
            self.read(&line);
        }
        for _ in 1..n {
            self.must();
        }
        self.must()
    }

    /// A document that ends more than a second from now: what has happened must be in it, what has ended must not.
    pub fn settled(&mut self) -> Doc {
        self.fresh(3)
    }

    /// Reads on until a document fits.
    pub fn until(&mut self, what: &str, fits: impl Fn(&Doc, &Blame) -> bool) -> Doc {
        let end = Instant::now() + DEADLINE;
        loop {
            let doc = self.must();
            if fits(&doc, &self.blame) {
                return doc;
            }
            assert!(
                Instant::now() < end,
                "never: {what}; blame {:?}; last {}",
                self.blame,
                doc.0
            );
        }
    }

    pub fn stderr(&self) -> String {
        self.errors.lock().expect("no writer panics").clone()
    }

    /// Waits for its end; its exit code.
    pub fn code(mut self) -> Option<i32> {
        let status = wait(&mut self.child);
        status.code()
    }

    /// Closes the pipe that it prints to, as `otop --json | head -1` does, and waits for its end.
    pub fn code_without_a_reader(mut self) -> (Option<i32>, String) {
        let (_, nobody) = channel();
        self.output = nobody; // the reading thread ends with its next line, and the pipe with it
        let code = wait(&mut self.child).code();
        (code, self.stderr())
    }
}

impl Drop for Otop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("otop does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What one call of otop gave.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs otop without a terminal, to its end.
pub fn run(args: &[&str]) -> Ran {
    run_command(otop().args(args))
}

pub fn run_command(command: &mut Command) -> Ran {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("otop is built with its tests");
    let stdout = lines(child.stdout.take().expect("piped"));
    let stderr = lines(child.stderr.take().expect("piped"));
    let code = wait(&mut child).code();
    Ran {
        code,
        stdout: rest(&stdout),
        stderr: rest(&stderr),
    }
}

/// All lines up to the end of the output: which comes, unless otop left somebody behind who holds it.
fn rest(output: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match output.recv_timeout(DEADLINE) {
            Ok(line) => text.extend([line.as_str(), "\n"]),
            Err(RecvTimeoutError::Disconnected) => return text,
            Err(RecvTimeoutError::Timeout) => panic!("otop has ended and somebody still holds its output"),
        }
    }
}

/// `otop --pid PID --once --json`, which must work.
pub fn once(pid: i32, args: &[&str]) -> Doc {
    let mut all = vec!["--pid".to_owned(), pid.to_string(), "--once".into(), "--json".into()];
    all.extend(args.iter().map(|&arg| arg.to_owned()));
    let ran = run(&all.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut documents = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON document"));
    let doc = Doc(documents.next().unwrap_or_else(|| panic!("one document: {ran:?}")));
    assert!(documents.next().is_none(), "--once prints one document: {ran:?}");
    doc
}

/// Within a share of it and an absolute slack: the tests judge sums, scripts/truth judges precision.
pub fn near(what: &str, got: f64, want: f64, share: f64, slack: f64) {
    assert!(
        (got - want).abs() <= want.abs() * share + slack,
        "{what}: {got:.3} where {want:.3} is true"
    );
}
