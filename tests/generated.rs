//! The man pages and the completions in the repository are what the flags' definition gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of this test, empty.
fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("created");
    directory
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn compare(what: &str, kept: &str) {
    let made = scratch(what);
    let status = Command::new(env!("CARGO_BIN_EXE_otop"))
        .args(["generate", what])
        .arg(&made)
        .status()
        .expect("run");
    assert!(status.success());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(kept);
    assert_eq!(files(&made), files(&kept));
    for name in files(&made) {
        let (made, kept) = (fs::read(made.join(&name)), fs::read(kept.join(&name)));
        assert!(
            made.expect("made") == kept.expect("kept"),
            "{name} has drifted: cargo run -- generate {what} {what}"
        );
    }
}

#[test]
fn the_man_pages_are_those_of_the_flags() {
    compare("man", "man");
}

#[test]
fn the_completions_are_those_of_the_flags() {
    compare("completions", "completions");
}
