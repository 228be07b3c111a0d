//! Several workers in one table: who belongs to it, who comes and goes, what each of them is told to be, and that nothing
//! is left behind of those that went.

use crate::support::{Followed, Python, Target, Terminal, any_python, presets, pythons, run, sessions};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const FROM: [&str; 2] = ["--session-from", "call_ref"];

/// tests/targets/pool.py under control. Dropped: its standard input ends, and so it and all of its children.
struct Pool {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    workers: BTreeSet<i64>,
}

impl Pool {
    fn start(python: &Python, count: usize) -> Pool {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/pool.py");
        let mut child = Command::new(&python.command()[0])
            .args(&python.command()[1..])
            .args([script, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a Python starts");
        let mut pool = Pool {
            stdin: child.stdin.take(),
            lines: BufReader::new(child.stdout.take().expect("piped")).lines(),
            child,
            workers: BTreeSet::new(),
        };
        let ready = pool.hear();
        let workers = ready["workers"].as_array().expect("a list").iter();
        pool.workers = workers.filter_map(Value::as_i64).collect();
        pool
    }

    fn hear(&mut self) -> Value {
        let line = self.lines.next().expect("the pool lives").expect("UTF-8");
        serde_json::from_str(&line).expect("JSON")
    }

    fn tell(&mut self, command: &str) -> Value {
        let stdin = self.stdin.as_mut().expect("open");
        writeln!(stdin, "{command}").expect("the pool listens");
        self.hear()
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// One that needs no chroot: the pool's script is where it is.
fn python() -> Option<&'static Python> {
    any_python()?;
    pythons().iter().find(|python| python.command().len() == 1)
}

#[test]
fn a_pool_is_one_table_and_a_document_each() {
    let Some(python) = python() else { return };
    let pool = Pool::start(python, 3);
    let base = [
        "--pid",
        &pool.pid(),
        "--children",
        "--once",
        "--window",
        "500ms",
        FROM[0],
        FROM[1],
    ];
    let table = run(&base);
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.stdout.contains("pool of 3 workers"), "{table:?}");
    for worker in &pool.workers {
        let rows = table
            .stdout
            .lines()
            .filter(|line| line.starts_with("│ s-") && line.contains(&worker.to_string()));
        assert_eq!(rows.count(), 2, "{worker}: {table:?}");
    }
    let mut all = base.to_vec();
    all.push("--json");
    let documents = run(&all);
    let documents: Vec<Value> = documents
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a document"))
        .collect();
    let told: BTreeSet<i64> = documents
        .iter()
        .filter_map(|one| one["worker"]["pid"].as_i64())
        .collect();
    assert_eq!(
        (told, documents.len()),
        (pool.workers.clone(), 3),
        "not the parent, and not its sleep"
    );
    for document in &documents {
        assert_eq!(sessions(document), ["s-0", "s-1"]);
        let [pss, rss] = ["pss_mb", "rss_mb"].map(|key| document["worker"][key].as_f64().expect(key));
        assert!(
            pss > 0.0 && pss < rss,
            "forked from one parent, they share pages: {pss} of {rss}"
        );
    }
}

#[test]
fn who_comes_is_taken_up_and_who_goes_is_let_go_with_its_threads() {
    let Some(python) = python() else { return };
    let mut pool = Pool::start(python, 2);
    let mut otop = Followed::below(&pool.pid(), &FROM);
    otop.until_it_is_about(&pool.workers.clone());
    let per_worker = (otop.threads() - 1) / 2;
    assert_eq!(otop.threads(), 1 + 2 * per_worker);

    let new = pool.tell("start")["pid"].as_i64().expect("a number");
    pool.workers.insert(new);
    otop.until_it_is_about(&pool.workers.clone());
    assert_eq!(otop.threads(), 1 + 3 * per_worker);

    let old = *pool.workers.iter().next().expect("one");
    pool.tell(&format!("kill {old}"));
    pool.workers.remove(&old);
    otop.until_it_is_about(&pool.workers.clone());
    assert_eq!(otop.threads(), 1 + 2 * per_worker);

    // Workers that live for milliseconds: some are seen, none is left.
    pool.tell("storm 60");
    otop.until_it_is_about(&pool.workers.clone());
    assert_eq!(otop.threads(), 1 + 2 * per_worker);

    drop(pool);
    while otop.next().is_some() {}
    let status = otop.child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn several_are_named_one_by_one() {
    let Some(python) = python() else { return };
    let pool = Pool::start(python, 3);
    let named: Vec<String> = pool.workers.iter().take(2).map(i64::to_string).collect();
    let ran = run(&[
        "--pid", &named[0], "--pid", &named[1], "--once", "--json", FROM[0], FROM[1],
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:?}");
    // The parent has no loop: it is named in vain beside one that has, and alone it is no pool.
    let ran = run(&[
        "--pid",
        &named[0],
        "--pid",
        &pool.pid(),
        "--once",
        "--json",
        FROM[0],
        FROM[1],
    ]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 1), "{ran:?}");
    let why = format!("process {} is Python that runs no event loop", pool.pid());
    assert!(ran.stderr.contains(&why), "{ran:?}");
    // One that is gone is named in vain too, and of none that is there it is an error.
    let gone = i32::MAX.to_string();
    let shape = ["--once", "--json", FROM[0], FROM[1]];
    let ran = run(&[&["--pid", &named[0], "--pid", &gone], &shape[..]].concat());
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 1), "{ran:?}");
    assert!(ran.stderr.contains("no process has PID 2147483647"), "{ran:?}");
    let also_gone = (i32::MAX - 1).to_string();
    let ran = run(&[&["--pid", &gone, "--pid", &also_gone], &shape[..]].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{ran:?}");
    let ran = run(&["--pid", &named[0], "--children", "--once", "--json", FROM[0], FROM[1]]);
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (Some(0), 1),
        "a worker is its own pool: {ran:?}"
    );
}

#[test]
fn a_pool_that_is_none() {
    let mut shell = Command::new("sh")
        .args(["-c", "sleep 60 & wait"])
        .stdin(Stdio::null())
        .spawn()
        .expect("a shell");
    let ran = run(&["--pid", &shell.id().to_string(), "--children", "--once"]);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.id())).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL);
    }
    let _ = shell.kill();
    let _ = shell.wait();
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(
        ran.stderr.contains("no asyncio worker runs below") && ran.stderr.contains("try: otop"),
        "{ran:?}"
    );
    for wrong in [
        &["--children"][..],
        &["--pid", "1", "--pid", "2", "--children"],
        &["blocks", "--pid", "1", "--pid", "2"],
    ] {
        assert_eq!(run(wrong).code, Some(2), "{wrong:?}");
    }
}

/// A shell that waits for the Python it started, as `sudo`, `tini` and `uv run` do: the error names the Python.
#[test]
fn a_wrapper_names_its_python() {
    let Some(python) = python() else { return };
    let program = &python.command()[0];
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/pool.py");
    let mut shell = Command::new("sh")
        .args(["-c", "\"$0\" \"$1\" 0; true", program, script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut lines = BufReader::new(shell.stdout.take().expect("piped")).lines();
    let ready: Value = serde_json::from_str(&lines.next().expect("it starts").expect("UTF-8")).expect("JSON");
    let ran = run(&["--pid", &shell.id().to_string(), "--once"]);
    drop(shell.stdin.take());
    let _ = shell.wait();
    assert_eq!(ran.code, Some(5), "{ran:?}");
    let python = ready["pid"].to_string();
    assert!(
        ran.stderr.contains(&format!("process {python} below it is Python")),
        "{ran:?}"
    );
    assert!(ran.stderr.contains(&format!("try: otop --pid {python}")), "{ran:?}");
}

/// Which requests each worker of tests/targets/asgi_pool.py holds, by its own answers.
fn held(event: &Value) -> BTreeMap<i64, Vec<String>> {
    let mut by_worker: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (sid, pid) in event["held"].as_object().expect("requests") {
        let sids = by_worker.entry(pid.as_i64().expect("a number")).or_default();
        sids.push(sid.clone());
    }
    by_worker.values_mut().for_each(|sids| sids.sort_unstable());
    by_worker
}

/// A server as it is started in production, and a worker of it that crashes and is replaced.
fn real_server(name: &str) {
    let Some(python) = presets("presets") else { return };
    let mut target = Target::launch(&python, "asgi_pool.py", &[name]);
    let ready = target.said.last().expect("ready").clone();
    let server = ready["server"].as_i64().expect("a number");
    let workers = held(&ready);
    assert_eq!(workers.len(), 3, "{}", target.what);
    let mut otop = Followed::below(&server.to_string(), &[]);
    // gunicorn's parent runs a loop of its own, for its control socket; it serves no request.
    otop.until_they_have(&workers, |pid| pid == server);
    let old = *workers.keys().next().expect("one");
    target.tell(&["replace", &old.to_string()]);
    let workers = held(&target.until("replaced", |_| true));
    assert!(workers.len() == 3 && !workers.contains_key(&old), "{workers:?}");
    otop.until_they_have(&workers, |pid| pid == server);
}

#[test]
fn uvicorns_workers() {
    real_server("uvicorn");
}

#[test]
fn gunicorns_workers() {
    real_server("gunicorn");
}

/// gunicorn's parent runs a loop for its control socket: a row of that alone would hide where the work is. And a name that
/// no worker has is said, with the command for all of them.
#[test]
fn gunicorns_parent_names_its_workers_and_a_wrong_name_is_said_of_all() {
    let Some(python) = presets("presets") else { return };
    let target = Target::launch(&python, "asgi_pool.py", &["gunicorn"]);
    let server = target.said.last().expect("ready")["server"].to_string();
    for arguments in [
        &["--once", "--window", "200ms", "--pid", &server][..],
        &["doctor", "--pid", &server],
    ] {
        let ran = run(arguments);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        let words = [
            "nothing names sessions in this process; process ",
            " and 2 more below it are Python",
        ];
        assert!(
            ran.code == Some(0) && words.iter().all(|word| said.contains(word)),
            "{ran:?}"
        );
        assert!(said.contains(&format!("otop --pid {server} --children")), "{ran:?}");
    }
    let mut terminal = Terminal::start(150, 30, &["--pid", &server], &[]);
    terminal.until_text(&["ControlSocketServer", "more below it are Python; try: otop --pid"]);
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
    let ran = run(&[
        "--once",
        "--window",
        "200ms",
        "--pid",
        &server,
        "--children",
        "--session-from",
        "corelation_id",
    ]);
    let words = [
        "has a variable named \"corelation_id\"; the likely ones are \"correlation_id\"",
        &format!("otop --pid {server} --children --session-from correlation_id"),
        &format!(" (2 more Python processes are not watched for the like, below process {server})"),
    ];
    assert!(words.iter().all(|word| ran.stderr.contains(word)), "{ran:?}");
    assert!(
        ran.stdout.contains("3 PYTHON PROCESSES CANNOT BE WATCHED AS ASKED"),
        "{ran:?}"
    );
}

/// The master of a pool has imported asyncio and runs no loop: an empty table alone would hide where the work is.
#[test]
fn a_master_without_a_loop_names_its_workers() {
    let Some(python) = python() else { return };
    let pool = Pool::start(python, 2);
    let (pid, first) = (pool.pid(), pool.workers.first().copied().unwrap_or(0));
    let words = [
        "no loop runs; process ".to_owned(),
        " more below it are Python".to_owned(),
        format!("try: otop --pid {pid} --children"),
    ];
    for arguments in [
        &["--once", "--window", "200ms", "--pid", &pid][..],
        &["doctor", "--pid", &pid],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(words.iter().all(|word| said.contains(word.as_str())), "{ran:?}");
    }
    let ran = run(&["--once", "--window", "200ms", "--pid", &first.to_string()]);
    assert!(!ran.stderr.contains("no loop runs"), "{ran:?}");
}
