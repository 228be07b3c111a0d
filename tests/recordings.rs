//! Everything that is made of a recording, by the program itself: every output as it is printed, every wrong input with
//! its words and its exit code. No worker is needed.

mod answer;

use answer::otop;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A second of a made-up worker: session a is asleep in recvfrom for 300 ms, and runs for 40; a thread works for job-b
/// for 200 ms.
fn recording() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/v1.otop");
    path.to_str().expect("UTF-8").to_owned()
}

/// The same as this version of the format has it, with a dump of the 445th millisecond.
fn newest() -> String {
    recording().replace("v1.otop", "v5.otop")
}

/// A folder of this test, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recordings-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("created");
    folder
}

fn name(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn the_table_and_the_documents() {
    let (file, json) = (recording(), |text: &str| {
        serde_json::from_str::<Value>(text).expect("JSON")
    });
    let once = otop(&["replay", &file, "--once"]);
    assert_eq!((once.code, once.stderr.as_str()), (Some(0), ""));
    for text in ["worker-1 · PID 1234", "job-b", "SLOW", "unattributed"] {
        assert!(once.stdout.contains(text), "{text}: {}", once.stdout);
    }
    let document = json(&otop(&["replay", &file, "--once", "--json"]).stdout);
    assert_eq!(document["sessions"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["blocks"][0]["syscall"], "recvfrom");

    let documents = otop(&["replay", &file, "--json", "--window", "250ms"]);
    let windows: Vec<Value> = documents.stdout.lines().map(json).collect();
    assert!((4..=5).contains(&windows.len()), "{}", documents.stdout);
    let cpu_s = |document: &Value| document["sessions"][1]["cpu_s"].as_f64().expect("a number");
    assert!(cpu_s(&windows[1]) < 0.01 && (0.15..0.25).contains(&cpu_s(windows.last().expect("one"))));

    let early = json(&otop(&["replay", &file, "--once", "--json", "--at", "300ms"]).stdout);
    assert_eq!(early["blocks"][0]["ongoing"], true, "{early}");
    assert_eq!(early["blocks"][0]["waiting"], 1);
}

#[test]
fn blocks_are_told_as_they_were() {
    let told = otop(&["replay", &recording(), "blocks"]);
    assert_eq!(told.code, Some(0));
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("so far (syscall: recvfrom) at agents/booking.py:10 in send")),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("blocked event loop for 300ms (syscall: recvfrom)")),
        "{lines:?}"
    );
    // What became of the worker it does not say.
    assert_eq!(told.stderr, "otop: the recording ends here, 1.0 s in\n");
}

#[test]
fn there_is_no_document_about_nothing() {
    for window in ["100ms", "300ms", "1s", "5s"] {
        let told = otop(&["replay", &recording(), "--json", "--window", window]);
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        let documents: Vec<Value> = told
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("a document"))
            .collect();
        let lengths: Vec<f64> = documents
            .iter()
            .map(|document| document["quality"]["window_s"].as_f64().expect("known"))
            .collect();
        assert!(
            !lengths.is_empty() && lengths.iter().all(|length| *length > 0.0),
            "{window}: {lengths:?}"
        );
        assert!(
            (lengths.iter().sum::<f64>() - 1.0).abs() < 0.05,
            "{window}: {lengths:?}"
        );
    }
}

#[test]
fn a_dump_is_the_last_one_up_to_then_and_says_how_old_it_is() {
    let file = newest();
    let tree = otop(&["replay", &file, "dump", "--at", "900ms"]);
    assert_eq!((tree.code, tree.stderr.as_str()), (Some(0), ""));
    for text in [
        "worker-1, PID 1234, Python 3.12.1: 2 sessions and 2 tasks in all",
        "0.4 s into the recording and 455 ms before the instant that is shown",
        "└─ Task-7 waiting for queue (Queue.get)\n   * agents/booking.py:30 in turn\n",
    ] {
        assert!(tree.stdout.contains(text), "{text}: {}", tree.stdout);
    }
    let json = |arguments: &[&str]| {
        let answer = otop(&[&["replay", &file, "dump", "--json"], arguments].concat());
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        serde_json::from_str::<Value>(&answer.stdout).expect("JSON")
    };
    let whole = json(&["--at", "500ms"]);
    assert_eq!(whole["recorded"], serde_json::json!({"at_s": 0.445, "age_s": 0.055}));
    assert_eq!(whole["sessions"][0]["tasks"][0]["waits_for"]["kind"], "queue");
    assert_eq!(whole["sessions"][0]["tasks"][0]["chain"][1]["own"], false);
    // Own code is judged when it is shown.
    let judged = json(&["--own", "/usr/lib/python3.12/asyncio"]);
    assert_eq!(judged["sessions"][0]["tasks"][0]["chain"][1]["own"], true);
    let narrowed = json(&["--session", "job-b"]);
    assert_eq!(narrowed["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(narrowed["no_session"], Value::Null);
}

#[test]
fn where_there_is_no_dump_that_is_said() {
    for (file, at, words) in [
        (
            recording(),
            "900ms",
            "v1.otop has no dumps: otop record takes them, older ones did not",
        ),
        (newest(), "300ms", "v5.otop has no dump of that instant or before"),
    ] {
        let answer = otop(&["replay", &file, "dump", "--at", at]);
        assert_eq!(answer.code, Some(1), "{}", answer.stdout);
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
        assert_eq!(answer.stderr.lines().count(), 1);
    }
}

#[test]
fn every_format_is_made_of_it() {
    let folder = folder("formats");
    for (file, begins) in [
        ("x.svg", &b"<?xml"[..]),
        ("x.folded", b"# otop: \""),
        ("x.speedscope.json", b"{"),
        ("x.firefox.json", b"{"),
        ("x.pb.gz", b"\x1f\x8b"),
    ] {
        let path = folder.join(file);
        let made = otop(&[
            "replay",
            &recording(),
            "-o",
            name(&path),
            "--mode",
            "wall",
            "--by",
            "agent",
        ]);
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{file}");
        assert!(std::fs::read(&path).expect("there").starts_with(begins), "{file}");
    }
    let printed = otop(&[
        "replay",
        &recording(),
        "-o",
        "-",
        "--format",
        "folded",
        "--mode",
        "cpu",
        "--session",
        "job-b",
    ]);
    let stacks: Vec<&str> = printed.stdout.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        stacks,
        [
            "job-b (threads);work (agents/booking.py:10) 180000",
            "job-b (threads);<unresolved> 20000"
        ]
    );
}

#[test]
fn two_sessions_of_it_are_compared() {
    let folder = folder("diff");
    let picture = folder.join("x.svg");
    let compared = otop(&[
        "diff",
        &recording(),
        "--session",
        "job-b",
        "--against-rest",
        "-o",
        name(&picture),
    ]);
    assert_eq!(compared.code, Some(0), "{}", compared.stderr);
    assert!(compared.stdout.contains("+90.0"), "{}", compared.stdout);
    let (of_loops, of_threads) = compared.stdout.split_once("other threads").expect("both halves");
    assert!(of_loops.contains("event loop") && !of_loops.contains("work (agents/booking.py)"));
    assert!(of_threads.contains("work (agents/booking.py)"));
    assert!(
        std::fs::read_to_string(&picture)
            .expect("there")
            .contains("work (agents/booking.py)")
    );
    let same = otop(&["diff", &recording(), &recording()]);
    assert!(same.stdout.contains("no function has changed"), "{}", same.stdout);
}

#[test]
fn a_profile_for_which_there_is_no_room_is_kept_as_far_as_it_goes() {
    let folder = folder("full");
    for (ending, of_lines) in [("svg", false), ("folded", true)] {
        let [whole, cut] = ["whole", "cut"].map(|name| folder.join(format!("{name}.{ending}")));
        assert_eq!(otop(&["replay", &recording(), "-o", name(&whole)]).code, Some(0));
        let whole = std::fs::read(whole).expect("there");
        // A file may have 700 bytes and no more, and the signal that says so is ignored: the write fails, as on a full disk.
        let output = Command::new("bash")
            .args(["-c", "trap '' XFSZ; exec prlimit --fsize=700 \"$@\"", "bash"])
            .args([env!("CARGO_BIN_EXE_otop"), "replay", &recording(), "-o", name(&cut)])
            .output()
            .expect("it ends by itself");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let kept = std::fs::read(&cut).expect("there");
        assert!(whole.len() > 700 && (1..=700).contains(&kept.len()), "{}", kept.len());
        assert!(whole.starts_with(&kept), "{said}");
        assert_eq!(kept.ends_with(b"\n"), of_lines, "{said}");
        assert!(said.contains("it is cut: ") && said.contains(" are kept"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn what_is_not_whole_is_read_up_to_there_and_what_is_foreign_is_refused() {
    let folder = folder("damaged");
    let whole = std::fs::read(recording()).expect("there");
    let cut = folder.join("cut.otop");
    // Without its end and a piece of its last part.
    std::fs::write(&cut, &whole[..whole.len() - 60]).expect("written");
    let answer = otop(&["replay", name(&cut), "--once", "--json"]);
    assert_eq!(answer.code, Some(0));
    assert!(
        answer
            .stderr
            .contains("was cut off, and was read up to its last whole part"),
        "{}",
        answer.stderr
    );
    assert!(answer.stdout.contains("job-b"));

    for (bytes, words) in [
        (&b""[..], "it is no recording of otop's"),
        (b"# a folded file\nmain 7\n", "it is no recording of otop's"),
        (&whole[..20], "cut off before anything was recorded"),
        (
            b"\x89otop\r\n\x1a\x07\x00",
            "a newer otop recorded it (format 7; this one reads up to 5)",
        ),
    ] {
        let path = folder.join("foreign.otop");
        std::fs::write(&path, bytes).expect("written");
        let answer = otop(&["replay", name(&path), "--once"]);
        assert_eq!(answer.code, Some(1), "{}", answer.stderr);
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
        assert_eq!(answer.stderr.lines().count(), 1);
    }
    // Nothing but what it is about: not a worker's end, and nothing that a list of those that run would mend.
    let about = 10 + 29 + u32::from_le_bytes(whole[11..15].try_into().expect("four")) as usize;
    std::fs::write(&cut, &whole[..about]).expect("written");
    let picture = folder.join("x.svg");
    for arguments in [
        &["--once"][..],
        &["--json"],
        &["blocks"],
        &["dump"],
        &["-o", name(&picture)],
    ] {
        let answer = otop(&[&["replay", name(&cut)], arguments].concat());
        assert_eq!(answer.code, Some(1), "{arguments:?}: {}", answer.stderr);
        let words = "cut.otop: it was cut off or is damaged, and nothing whole is left in it\n";
        assert!(answer.stderr.ends_with(words), "{arguments:?}: {}", answer.stderr);
        assert_eq!(answer.stderr.lines().count(), 1);
    }
    let nothing = otop(&["replay", name(&folder.join("none.otop")), "--once"]);
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.stderr.contains("No such file"), "{}", nothing.stderr);
}

#[test]
fn what_is_no_file_is_refused_by_what_it_is() {
    let folder = folder("no-file");
    let pipe = folder.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
    for (path, words) in [
        (name(&folder), "it is a folder; try: otop replay FILE"),
        (name(&pipe), "it is a pipe, which can be read only once"),
        ("-", "it is standard input, which can be read only once"),
        ("/dev/null", "it is a device or a socket, and no file"),
    ] {
        for command in [&["replay", path, "--once"][..], &["diff", path, &recording()]] {
            let answer = otop(command);
            assert_eq!(answer.code, Some(1), "{}", answer.stderr);
            assert!(answer.stderr.contains(words), "{}", answer.stderr);
            assert_eq!(answer.stderr.lines().count(), 1);
        }
    }
}

/// As in a container that is entered as root, where the program's folders are another user's.
#[test]
fn root_in_its_own_name_writes_where_root_may() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (others, closed) = (folder("another-users"), folder("closed"));
    chown(&others, Some(65_534), Some(65_534)).expect("root may");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o500)).expect("its own");
    let (recording, newest) = (recording(), newest());
    for folder in [&others, &closed] {
        let (profile, change) = (folder.join("w.svg"), folder.join("d.svg"));
        for arguments in [
            ["replay", recording.as_str(), "-o", name(&profile)].as_slice(),
            &["replay", &recording, "--force", "-o", name(&profile)],
            &["diff", &recording, &newest, "-o", name(&change)],
        ] {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_otop"));
            command.env_remove("SUDO_UID").env_remove("SUDO_GID");
            let ran = command.args(arguments).output().expect("it ends by itself");
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        }
        assert!(profile.exists() && change.exists());
    }
}

#[test]
fn nothing_is_overwritten_or_written_through_a_link() {
    let folder = folder("output");
    let (there, link, made) = (
        folder.join("there.svg"),
        folder.join("link.svg"),
        folder.join("made.svg"),
    );
    std::fs::write(&there, "mine").expect("written");
    std::os::unix::fs::symlink(&there, &link).expect("a link");
    let file = recording();
    for (arguments, words) in [
        (vec!["-o", name(&there)], "is there already; try: --force"),
        (vec!["-o", name(&link), "--force"], "is a symbolic link"),
        (
            vec!["-o", name(&folder), "--format", "folded", "--force"],
            "is a folder",
        ),
        (vec!["-o", "/dev/null", "--format", "folded", "--force"], "is a device"),
        (
            vec!["-o", "/no/such/folder/x.svg"],
            "there is no folder /no/such/folder; try: ",
        ),
    ] {
        let answer = otop(&[vec!["replay", &file], arguments].concat());
        assert_eq!(answer.code, Some(1), "{}", answer.stderr);
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
    }
    assert_eq!(std::fs::read(&there).expect("there"), b"mine");
    assert_eq!(otop(&["replay", &file, "-o", name(&there), "--force"]).code, Some(0));
    assert!(std::fs::read(&there).expect("there").starts_with(b"<?xml"));
    assert_eq!(otop(&["replay", &file, "-o", name(&made)]).code, Some(0));
    let names = std::fs::read_dir(&folder).expect("readable").count();
    assert_eq!(names, 3, "nothing is left over");
}

#[test]
fn usage_errors_say_what_would_be_right() {
    let file = recording();
    for (arguments, words) in [
        (
            vec!["record", "--pid", "1", "-o", "x.json"],
            "the ending of x.json does not tell the format: end it in one of .svg",
        ),
        (vec!["record", "--pid", "1"], "--output <FILE>"),
        (
            vec!["record", "--pid", "1", "--pid", "2", "-o", "x.svg"],
            "this command is about one --pid",
        ),
        (
            vec!["dump", "--pid", "1", "--pid", "2"],
            "this command is about one --pid",
        ),
        (
            vec!["blocks", "--pid", "1", "--fail-on", "10ms"],
            "--fail-on 10ms is below --slow-threshold 50ms",
        ),
        (
            vec!["record", "--pid", "1", "-o", "x.otop", "--mode", "cpu"],
            "a .otop recording holds everything",
        ),
        (
            vec!["record", "--pid", "1", "-o", "x.svg", "--mode", "real"],
            "wall, cpu, blocked",
        ),
        (
            vec!["record", "--pid", "1", "-o", "x.svg", "--for", "1ms"],
            "100ms to 168h",
        ),
        (vec!["replay", &file, "-o", "x.otop"], "it is a .otop recording already"),
        (vec!["replay", &file, "--mode", "cpu"], "--output <FILE>"),
        (
            vec!["replay", &file, "--once", "--mode", "cpu"],
            "--mode is for what -o writes: add -o FILE",
        ),
        (
            vec!["replay", &file, "dump", "--by", "agent"],
            "--by is for what -o writes",
        ),
        (
            vec!["replay", &file, "blocks", "--format", "folded"],
            "--format is for what -o writes",
        ),
        (
            vec!["replay", &file, "--json", "--force"],
            "--force is for what -o writes",
        ),
        (vec!["replay", &file, "--rate", "10"], "cannot be used with"),
        (
            vec!["replay", &file, "blocks", "--at", "1s"],
            "'--at <TIME>' cannot be used with 'blocks'",
        ),
        (
            vec!["replay", &file, "--session", "a"],
            "--session is for dump, and for what -o writes",
        ),
        (vec!["diff", &file], "<B>"),
        (vec!["diff", &file, "--session", "a"], "--against"),
        (
            vec!["diff", &file, &file, "-o", "x.pb.gz"],
            "a difference is written as .svg or .folded",
        ),
    ] {
        let answer = otop(&arguments);
        assert_eq!(answer.code, Some(2), "{arguments:?}: {}", answer.stderr);
        let usage = format!("Usage: otop {} ", arguments[0]);
        assert!(
            answer.stderr.contains(&usage)
                || answer.stderr.contains("possible values")
                || answer.stderr.contains("100ms to"),
            "{arguments:?}: {}",
            answer.stderr
        );
        assert!(answer.stderr.contains(words), "{arguments:?}: {}", answer.stderr);
    }
}
