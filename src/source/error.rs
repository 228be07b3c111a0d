//! Why a worker cannot be watched: each cause its own, with the fact that shows it. Says nothing of exit codes and of
//! what to do about it; `cli::error` does.

use crate::model::Pid;
use crate::process::ProcessError;
use crate::process::permission::{NoAccess, Refusal};

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AttachError {
    #[error("no process has PID {0} (/proc/{0} does not exist)")]
    NoSuchProcess(Pid),
    #[error("process {0} has ended, and waits for its parent to ask how (it is a zombie: State Z in /proc/{0}/status)")]
    Zombie(Pid),
    /// The number names a thread of a process.
    #[error("{thread} is a thread, of process {process}")]
    Thread { thread: Pid, process: Pid },
    #[error("the memory of process {pid} may not be read: {refusal}")]
    NotPermitted { pid: Pid, refusal: Refusal },
    /// Nothing of an interpreter was found in what it runs and maps.
    #[error("process {pid} is not Python: it runs {program}, which has no interpreter in it and maps none{}", started(.pythons))]
    NotPython {
        pid: Pid,
        program: String,
        /// Processes below it that are: it is a wrapper (a shell, `sudo`, `tini`, `uv run`).
        pythons: Vec<Pid>,
    },
    #[error("process {pid} runs Python {version}, and the oldest that otop reads is 3.8")]
    TooOld { pid: Pid, version: String },
    /// Newer than any layout that is known.
    #[error("process {pid} runs Python {version}, which this otop does not know (it reads 3.8 to 3.15)")]
    Unknown { pid: Pid, version: String },
    /// What was found there does not verify.
    #[error("the memory of process {pid} is not laid out as Python {version} is known to be: {field} {detail}")]
    LayoutRefused {
        pid: Pid,
        version: String,
        field: String,
        detail: String,
    },
    #[error("process {pid} is a program for {found}, and this otop reads x86-64 only")]
    OtherArchitecture { pid: Pid, found: String },
    #[error("process {pid} runs a free-threaded build of Python {version} (no GIL), which otop does not read yet")]
    FreeThreaded { pid: Pid, version: String },
    /// No live context holds a variable of this name.
    #[error("no context in process {pid} has a variable named {name:?}{}", likely_ones(.likely))]
    NoSuchVariable {
        pid: Pid,
        option: &'static str,
        name: String,
        likely: Vec<String>,
        /// A spec that gives an id.
        meant: Option<Box<str>>,
    },
    /// It was to be stopped for the look.
    #[error("process {pid} cannot be stopped for --pause: {why}")]
    NotPaused { pid: Pid, why: String },
    /// A path stops on its way: no object there has what the step asks for.
    #[error("{option} {spec} leads nowhere in process {pid}: {class:?} has no {step}{}", has(.near))]
    NoSuchStep {
        pid: Pid,
        option: &'static str,
        spec: Box<str>,
        step: Box<str>,
        class: Box<str>,
        near: Vec<String>,
        meant: Option<Box<str>>,
    },
    /// The coroutine is there, and has no such local variable.
    #[error("{option} {spec} leads nowhere in process {pid}: the coroutine {coroutine:?} has no local {local:?}{}", has(.near))]
    NoSuchLocal {
        pid: Pid,
        option: &'static str,
        spec: Box<str>,
        coroutine: Box<str>,
        local: Box<str>,
        near: Vec<String>,
        meant: Option<Box<str>>,
    },
    /// A path ends in what names nobody.
    #[error("{option} {spec} gives a {class:?} in process {pid}, which is no id: text, an int of up to 128 bits or a UUID is{}", has(.near))]
    NoText {
        pid: Pid,
        option: &'static str,
        spec: Box<str>,
        class: Box<str>,
        near: Vec<String>,
        meant: Option<Box<str>>,
    },
    /// It was there, and ended while otop looked at it.
    #[error("process {0} ended while otop attached")]
    Gone(Pid),
    #[error("{what}: {detail}")]
    Io { what: String, detail: String },
}

impl AttachError {
    /// For what fails on the machine's side, whatever it was about.
    pub fn io(what: impl Into<String>, error: &std::io::Error) -> AttachError {
        AttachError::Io {
            what: what.into(),
            detail: error.to_string(),
        }
    }
}

impl From<NoAccess> for AttachError {
    fn from(error: NoAccess) -> AttachError {
        match error {
            NoAccess::Refused(refusal) => AttachError::NotPermitted {
                pid: refusal.pid(),
                refusal,
            },
            NoAccess::Process(error) => error.into(),
        }
    }
}

impl From<ProcessError> for AttachError {
    fn from(error: ProcessError) -> AttachError {
        match error {
            ProcessError::Gone(pid) => AttachError::NoSuchProcess(pid),
            ProcessError::Zombie(pid) => AttachError::Zombie(pid),
            ProcessError::Thread { thread, process } => AttachError::Thread { thread, process },
            ProcessError::Denied { pid, file } => AttachError::Io {
                what: format!("/proc/{pid}/{file}"),
                detail: "permission denied".to_owned(),
            },
            ProcessError::Unreadable { pid, file, detail } => AttachError::Io {
                what: format!("/proc/{pid}/{file}"),
                detail,
            },
        }
    }
}

/// `; process 7 below it is Python`, or nothing.
pub fn started(pythons: &[Pid]) -> String {
    match pythons {
        [] => String::new(),
        [one] => format!("; process {one} below it is Python"),
        [first, rest @ ..] => format!("; process {first} and {} more below it are Python", rest.len()),
    }
}

/// `; the likely ones are "a", "b"`, or nothing. Debug formatting keeps control characters off the terminal.
fn likely_ones(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            format!("; the likely ones are {}", names.join(", "))
        }
    }
}

/// `; it has .a, .b`, or nothing.
fn has(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!("; it has {}", near.join(", ")),
    }
}
