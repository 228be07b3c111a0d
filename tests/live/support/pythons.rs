//! The Pythons that targets can be started with: what scripts/pythons found, or else the python3 of the PATH.

use super::skip;
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// One Python that targets can be started with: an entry of scripts/pythons' JSON files.
#[derive(Clone, Debug)]
pub struct Python {
    pub label: String,
    pub minor: String,
    pub(super) command: Vec<String>,
    pub(super) root: Option<PathBuf>,
    pub uvloop: bool,
    pub(super) pythonpath: Option<String>,
    pub(super) contained: bool,
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

    /// The same Python, started by other words, which have to end in its exec.
    pub fn started_by(&self, words: &[String]) -> Python {
        Python {
            command: words.to_vec(),
            ..self.clone()
        }
    }

    /// The words that start it.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// (3, 12) of "3.12", so that versions compare as numbers.
    pub fn version(&self) -> (u32, u32) {
        let mut parts = self
            .minor
            .split('.')
            .map(|part| part.parse().expect("a minor version is two numbers"));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// What a program of tests/targets prints, run by this Python and given `input`.
    pub fn answer(&self, program: &str, input: &str) -> String {
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .args(["-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{:?} does not start: {e}", self.command));
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        let out = child.wait_with_output().expect("a child can be waited for");
        assert!(out.status.success(), "{}: {}", self.label, out.status);
        String::from_utf8(out.stdout).expect("it prints text")
    }

    pub fn loops(&self) -> Vec<&'static str> {
        if self.uvloop {
            vec!["asyncio", "uvloop"]
        } else {
            vec!["asyncio"]
        }
    }
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

/// The environment with the packages that have presets: `presets` has all of them, `presets-mcp1` an older mcp.
pub fn presets(label: &str) -> Option<Python> {
    let found = read_pythons("OTOP_PRESETS", "presets.json")
        .into_iter()
        .find(|python| python.label == label);
    if std::env::var_os("OTOP_NO_LIVE").is_some() {
        return None;
    }
    if found.is_none() {
        skip(&format!(
            "packages with presets ({label}): not on this machine (scripts/pythons --presets installs them)"
        ));
    }
    found
}
