//! The house rules that Rust does not enforce within one crate: which room may know which other room, and which outside
//! package may be named where. ARCHITECTURE.md draws the picture; this is the picture as data.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From a PID to observations. A room knows those before it; `process` stands beside `memory`.
const READING: [&str; 8] = [
    "process", "memory", "bpf", "cpython", "asyncio", "identity", "source", "sampler",
];

/// From observations to what is shown. A room knows those before it, but `tui` and `export` do not know each other.
const EXPLAINING: [&str; 4] = ["analysis", "view", "tui", "export"];

/// Stand alone beside both: they know `model` and nothing else.
const BESIDE: [&str; 1] = ["recording"];

/// What every room knows.
const SHARED: &str = "model";

/// Outside packages and the rooms that may name them.
const PACKAGES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli"]),
    ("caps", &["process"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("crossterm", &["tui", "cli"]),
    ("flate2", &["recording", "export"]),
    ("foldhash", &["memory"]),
    ("inferno", &["export"]),
    (
        "nix",
        &[
            "process", "memory", "bpf", "cpython", "source", "sampler", "tui", "cli", "demo",
        ],
    ),
    ("object", &["memory", "cpython"]),
    ("procfs", &["process"]),
    ("py_spy", &["memory", "cpython"]),
    ("ratatui", &["tui"]),
    ("remoteprocess", &["memory", "cpython"]),
    ("serde", &["model", "export", "cli"]),
    ("serde_json", &["export", "cli"]),
    ("signal_hook", &["tui", "cli"]),
    (
        "thiserror",
        &[
            "process",
            "memory",
            "bpf",
            "cpython",
            "asyncio",
            "identity",
            "source",
            "sampler",
            "recording",
            "view",
            "cli",
            "demo",
        ],
    ),
    ("unicode_segmentation", &["view"]),
    ("unicode_width", &["view"]),
];

/// The rooms that `room` may name; None: a room that is not in the picture.
fn may_know(room: &str) -> Option<Vec<&'static str>> {
    if room == SHARED {
        return Some(Vec::new());
    }
    if let Some(place) = READING.iter().position(|known| *known == room) {
        let before = if room == "process" { 0 } else { place };
        return Some(READING[..before].iter().copied().chain([SHARED]).collect());
    }
    if let Some(place) = EXPLAINING.iter().position(|known| *known == room) {
        let before = EXPLAINING[..place]
            .iter()
            .copied()
            .filter(|known| !(room == "export" && *known == "tui"));
        return Some(before.chain([SHARED]).collect());
    }
    if BESIDE.contains(&room) {
        return Some(vec![SHARED]);
    }
    match room {
        // The sample worker is a process that otop starts; its tests look at it with `process`.
        "demo" => Some(vec![SHARED, "process"]),
        "cli" => Some(
            READING
                .into_iter()
                .chain(EXPLAINING)
                .chain(BESIDE)
                .chain(["demo", SHARED])
                .collect(),
        ),
        _ => None,
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            found.push(entry);
        }
    }
    found
}

/// The rooms with the code of their files, without comments and without what stands in double quotes.
fn rooms() -> Vec<(String, PathBuf, String)> {
    let source = source();
    let in_rooms = files(&source).into_iter().filter_map(|file| {
        let inside = file.strip_prefix(&source).expect("below src").to_owned();
        let room = inside
            .parent()
            .and_then(|parent| parent.iter().next())
            .map(|room| room.to_string_lossy().into_owned());
        // `lib.rs` and `main.rs` are the door.
        let text = fs::read_to_string(&file).expect("UTF-8");
        room.map(|room| (room, inside, code_of(&text)))
    });
    in_rooms.collect()
}

fn code_of(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or(""));
    lines
        .map(|line| line.split('"').step_by(2).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The names that follow `prefix`: `crate::a` and `crate::{a::x, b}`.
fn names_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        // `my_crate::` is another word.
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => names.extend(first_word(rest)),
            Some(list) => names.extend(members(list)),
        }
    }
    names
}

/// The first words of a brace's members, not of what is nested in them.
fn members(list: &str) -> Vec<String> {
    let (mut depth, mut member, mut found) = (0, String::new(), Vec::new());
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.extend(first_word(&std::mem::take(&mut member))),
            c if depth == 0 => member.push(c),
            _ => {}
        }
    }
    found.extend(first_word(&member));
    found
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.trim_start().chars().take_while(|c| is_word(*c)).collect();
    (!word.is_empty()).then_some(word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn rooms_know_only_the_rooms_before_them() {
    let mut broken = Vec::new();
    for (room, file, code) in rooms() {
        let Some(known) = may_know(&room) else {
            broken.push(format!(
                "{}: the room {room} has no place in tests/layering.rs",
                file.display()
            ));
            continue;
        };
        for named in names_after(&code, "crate::") {
            // Macros and items of the crate's root are no rooms.
            let is_room = source().join(&named).is_dir();
            if is_room && named != room && !known.contains(&named.as_str()) {
                broken.push(format!("{}: {room} must not know {named}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn outside_packages_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for (room, file, code) in rooms() {
        for (package, allowed) in PACKAGES {
            let is_named = !names_after(&code, &format!("{package}::")).is_empty();
            if is_named && !allowed.contains(&room.as_str()) {
                broken.push(format!("{}: {package} has no place in {room}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_dependency_has_a_place() {
    let manifest = fs::read_to_string(source().with_file_name("Cargo.toml")).expect("UTF-8");
    let dependencies = manifest
        .split("[dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("\n[").next());
    for line in dependencies
        .expect("a section of dependencies")
        .lines()
        .filter(|line| line.contains('='))
    {
        let name = line.split(['=', '.']).next().unwrap_or("").trim().replace('-', "_");
        assert!(
            PACKAGES.iter().any(|(package, _)| *package == name),
            "{name} has no place in tests/layering.rs"
        );
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in files(&source()) {
        let text = fs::read_to_string(&file).expect("UTF-8");
        assert!(
            text.is_empty() || text.starts_with("//!"),
            "{} begins without a word",
            file.display()
        );
    }
}

#[test]
fn the_scan_sees_what_it_should() {
    let code =
        code_of("use crate::{a::{x, y}, b}; // crate::comment\nlet s = \"crate::text\"; crate::c::d(); my_crate::e");
    assert_eq!(
        names_after(&code, "crate::").into_iter().collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
}
