//! otop as a user runs it: followed document by document, or run to its end; and what it said of whom.

use super::{DEADLINE, Labels, collect, favoured, labels, lines};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Half of the second in which a session must show or be gone: the third document after an event ends more than one
/// second after it, so it may not be wrong any more. Documents are counted, never time.
pub const WINDOW: &str = "500ms";

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

/// The program under test.
pub const OTOP: &str = env!("CARGO_BIN_EXE_otop");

impl Otop {
    pub fn follow(pid: i32, args: &[&str]) -> Otop {
        Otop::start(&["--pid", &pid.to_string(), "--json", "--window", WINDOW], args)
    }

    /// `otop blocks`, followed line by line.
    pub fn blocks(pid: i32, args: &[&str]) -> Otop {
        Otop::start(&["blocks", "--pid", &pid.to_string()], args)
    }

    fn start(args: &[&str], more: &[&str]) -> Otop {
        let mut command = favoured(OTOP);
        command.args(args).args(more);
        let mut child = piped(&mut command).spawn().expect("otop is built with its tests");
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
        self.line().map(|line| self.read(&line))
    }

    /// The next line; None: otop has ended.
    pub fn line(&mut self) -> Option<String> {
        match self.output.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("otop prints nothing; {}", self.stderr()),
        }
    }

    /// A line that comes within this time. For a question that is asked again, not for a verdict.
    pub fn line_within(&mut self, patience: Duration) -> Option<String> {
        self.output.recv_timeout(patience).ok()
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

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).expect("it runs");
    }

    /// Waits for its end; its exit code.
    pub fn code(mut self) -> Option<i32> {
        let status = wait(&mut self.child);
        status.code()
    }

    /// Closes the pipe that it prints to: the reading thread ends with its next line, and the pipe with it.
    pub fn close(&mut self) {
        let (_, nobody) = channel();
        self.output = nobody;
    }

    /// Closes the pipe that it prints to, as `otop --json | head -1` does, and waits for its end.
    pub fn code_without_a_reader(mut self) -> (Option<i32>, String) {
        self.close();
        self.end()
    }

    /// Waits for its end; its exit code, and all that it said.
    pub fn end(&mut self) -> (Option<i32>, String) {
        let code = wait(&mut self.child).code();
        let end = Instant::now() + DEADLINE;
        // The thread that collects has seen the end too once it has let go of the text.
        while std::sync::Arc::strong_count(&self.errors) > 1 && Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
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

fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

/// Runs otop without a terminal, to its end.
pub fn run(args: &[&str]) -> Ran {
    run_command(Command::new(OTOP).args(args))
}

pub fn run_command(command: &mut Command) -> Ran {
    let mut child = piped(command).spawn().expect("otop is built with its tests");
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
    let ran = run_command(favoured(OTOP).args(all));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut documents = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON document"));
    let doc = Doc(documents.next().unwrap_or_else(|| panic!("one document: {ran:?}")));
    assert!(documents.next().is_none(), "--once prints one document: {ran:?}");
    doc
}
