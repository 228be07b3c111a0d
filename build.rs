//! Notes the commit that a release is built from, for `otop --version`: from git where this is a checkout, from cargo's own
//! note where it is a package of cargo's, else none. Knows nothing of the program.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=OTOP_COMMIT");
    // A debug build names no commit: each one would build everything anew.
    let is_release = std::env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    let commit = match std::env::var("OTOP_COMMIT") {
        Ok(given) => Some(given),
        Err(_) if is_release => of_git().or_else(of_cargo),
        Err(_) => None,
    };
    let commit = commit.filter(|text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
    if let Some(commit) = commit {
        println!("cargo:rustc-env=OTOP_BUILT_FROM={commit}");
    }
}

/// `0123abc45678`, with `-dirty` behind it where tracked files differ. Only of a checkout of otop itself, not of one that
/// it was unpacked into.
fn of_git() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // Not the index: whoever looks at a checkout writes it anew, and all would be built again.
    for moves in [".git/HEAD", ".git/logs/HEAD", "src", "Cargo.toml"] {
        if Path::new(moves).exists() {
            println!("cargo:rerun-if-changed={moves}");
        }
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(match changes.is_empty() {
        true => commit,
        false => commit + "-dirty",
    })
}

/// What git answers, without writing anything into the checkout.
fn git(question: &[&str]) -> Option<String> {
    let asked = Command::new("git").arg("--no-optional-locks").args(question).output();
    let answer = asked.ok().filter(|answer| answer.status.success())?;
    Some(String::from_utf8(answer.stdout).ok()?.trim().to_owned())
}

/// What `cargo package` notes: `{"git": {"sha1": "…"}}`.
fn of_cargo() -> Option<String> {
    println!("cargo:rerun-if-changed=.cargo_vcs_info.json");
    let text = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let sha1 = text.split("\"sha1\"").nth(1)?.split('"').nth(1)?;
    sha1.get(..12).map(str::to_owned)
}
