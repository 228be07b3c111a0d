//! Which processes of this machine may be Python, by the names of what they run and map. Whether one is an asyncio worker
//! is for those to say who read its memory.

use super::permission::{NoAccess, Refusal};
use super::{ProcessError, facts, family, maps, permission};
use crate::model::Pid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub pid: Pid,
    /// Not fit for a terminal.
    pub command_line: Vec<String>,
    /// Why its memory may not be read; None: it may.
    pub refusal: Option<Refusal>,
}

/// Ascending by PID, without otop itself.
pub fn candidates() -> Vec<Candidate> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut pids: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter()
        .filter(|&pid| u32::try_from(pid).is_ok_and(|pid| pid != own))
        .filter_map(|pid| candidate(Pid(pid)))
        .collect()
}

fn candidate(pid: Pid) -> Option<Candidate> {
    looks_like_python(pid).then(|| {
        Some(Candidate {
            pid,
            command_line: facts::command_line(pid).ok()?,
            refusal: match permission::check(pid) {
                Err(NoAccess::Refused(refusal)) => Some(refusal),
                // One that has ended meanwhile is found out by who reads it.
                Ok(_) | Err(NoAccess::Process(_)) => None,
            },
        })
    })?
}

/// Who is meant where a wrapper, or the master of a pool, was named. A few are enough to say so.
pub fn pythons_below(pid: Pid) -> Vec<Pid> {
    const MOST: usize = 64;
    let below = family::below(pid).into_iter().take(MOST);
    below.filter(|child| looks_like_python(*child)).collect()
}

/// By the names of what it runs and maps, or of its command where the list of those may not be read.
pub fn looks_like_python(pid: Pid) -> bool {
    match maps(pid) {
        // Every mapped file, the program among them: an embedded or a renamed Python is known by its library or by its
        // extension modules (`_asyncio.cpython-312-x86_64-linux-gnu.so`).
        Ok(maps) => maps.iter().any(|mapping| named_python(mapping.file_name())),
        Err(ProcessError::Denied { .. }) => {
            let command_line = facts::command_line(pid).unwrap_or_default();
            let program = command_line.first().map(|path| path.rsplit('/').next().unwrap_or(path));
            program.is_some_and(named_python) || facts::comm(pid).is_ok_and(|name| named_python(&name))
        }
        Err(_) => false,
    }
}

fn named_python(file_name: &str) -> bool {
    file_name.to_ascii_lowercase().contains("python")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn a_python_is_found_and_a_shell_is_not() {
        let script = "import sys; print('up', flush=True); sys.stdin.read()";
        let mut python = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a python3 is on this machine");
        let mut shell = Command::new("sh")
            .args(["-c", "read line"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        python
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut [0; 2])
            .expect("it says that it is up");
        let found = candidates();
        let of = |id: u32| found.iter().find(|candidate| u32::try_from(candidate.pid.0) == Ok(id));
        let seen = of(python.id()).expect("the python is among them");
        assert_eq!(seen.command_line.get(2).map(String::as_str), Some(script));
        assert_eq!(seen.refusal, None);
        assert_eq!(of(shell.id()), None);
        assert_eq!(of(std::process::id()), None);
        drop((python.stdin.take(), shell.stdin.take()));
        python.wait().expect("waited");
        shell.wait().expect("waited");
    }
}
