//! Workers in the boxes that deployments make: started by wrappers, from files that are gone or replaced by now, in user
//! namespaces, and read through a seccomp filter. docs/matrix.md says which boxes were met besides, by hand. Containers are
//! in `sessions`, containers' ways to the right in `doctor`.

use crate::support::{FROM, Labels, OTOP, Python, Target, once, pythons, run_command, skip};
use std::path::PathBuf;
use std::process::Command;

/// The Pythons that need no chroot: what they run from can be copied.
fn plain() -> Vec<Python> {
    let plain = pythons().iter().filter(|python| python.command().len() == 1);
    plain.cloned().collect()
}

fn two_sessions(python: &Python) -> Target {
    Target::sessions(python, "asyncio", &["--sessions", "2"])
}

fn sees_both(target: &Target) {
    let labels: Labels = once(target.pid, &FROM).labels();
    assert_eq!(labels.len(), 2, "{}: {labels:?}", target.what);
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("otop-boxes-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// As an upgrade leaves it: the file that holds the interpreter is deleted, or another stands in its place.
#[test]
fn the_interpreters_file_is_gone_or_another() {
    let mut kinds = Vec::new();
    for python in plain().into_iter().rev() {
        let program = PathBuf::from(&python.command()[0]);
        let ask = "import sys, sysconfig; print(sys.prefix, sysconfig.get_config_var('LIBDIR'), \
                   sysconfig.get_config_var('LDLIBRARY'), sysconfig.get_config_var('Py_ENABLE_SHARED'))";
        let answer = python.answer(ask, "");
        let [prefix, libraries, library, shared] = answer.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{answer}");
        };
        // The newest with a library of its own, and the newest without.
        if kinds.contains(&shared.to_owned()) {
            continue;
        }
        kinds.push(shared.to_owned());
        let folder = Folder::new(&format!("gone-{}", python.label));
        let copy = folder.0.join(program.file_name().expect("a program"));
        std::fs::copy(&program, &copy).expect("a copy of the program");
        let mut gone = copy.clone();
        let mut words = vec!["env".to_owned(), format!("PYTHONHOME={prefix}")];
        if shared == "1" {
            let real = std::fs::canonicalize(PathBuf::from(libraries).join(library)).expect("its library");
            gone = folder.0.join(real.file_name().expect("a library"));
            std::fs::copy(&real, &gone).expect("a copy of the library");
            words.push(format!("LD_LIBRARY_PATH={}", folder.0.display()));
        }
        words.push(copy.display().to_string());
        let target = two_sessions(&python.started_by(&words));
        sees_both(&target);
        std::fs::remove_file(&gone).expect("delete it");
        sees_both(&target);
        std::fs::copy("/bin/true", &gone).expect("another in its place");
        sees_both(&target);
    }
}

/// In a user namespace of its own the worker is still root's to read; from inside of one nothing outside is, and that is
/// what is said.
#[test]
fn user_namespaces() {
    if !nix::unistd::geteuid().is_root() {
        return skip("user namespaces: only root reads into one");
    }
    let Some(python) = plain().into_iter().next_back() else {
        return;
    };
    let possible = Command::new("unshare").args(["-U", "-r", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        return skip("user namespaces: this machine makes none");
    }
    let mut words: Vec<String> = ["unshare", "-U", "-r"].map(str::to_owned).into();
    words.extend(python.command().iter().cloned());
    sees_both(&two_sessions(&python.started_by(&words)));

    let target = two_sessions(&python);
    let mut inside = Command::new("unshare");
    inside.args(["-U", "-r", OTOP, "--once", "--pid", &target.pid.to_string()]);
    let ran = run_command(&mut inside);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("user namespace"), "{ran:?}");
    assert!(
        ran.stderr.contains("on the host, with the PID that it has there"),
        "{ran:?}"
    );
}

/// As older container runtimes have it: `process_vm_readv` is forbidden, and `/proc/PID/mem` is not.
#[test]
fn a_filter_forbids_the_call_and_the_file_does() {
    const FORBID: &str = r#"
import ctypes, os, struct, sys
PROCESS_VM_READV, EPERM, ALLOW = 310, 0x00050001, 0x7fff0000
step = struct.Struct("HBBI").pack
code = ctypes.create_string_buffer(
    step(0x20, 0, 0, 0) + step(0x15, 0, 1, PROCESS_VM_READV) + step(6, 0, 0, EPERM) + step(6, 0, 0, ALLOW))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
program = Program(4, ctypes.addressof(code))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;
    let Some(python) = plain().into_iter().next_back() else {
        return;
    };
    let target = two_sessions(&python);
    let filtered = |args: &[&str]| {
        let mut command = Command::new(&python.command()[0]);
        command.args(["-c", FORBID, OTOP]).args(args);
        run_command(command.args(["--pid", &target.pid.to_string()]))
    };
    let ran = filtered(&["--once", "--json", "--session-from", FROM[1]]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).expect("a document");
    assert_eq!(document["sessions"].as_array().map(Vec::len), Some(2), "{document}");
    let ran = filtered(&["doctor"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("a filter forbids process_vm_readv"), "{ran:?}");
}
