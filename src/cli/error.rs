//! Every way in which otop ends without having done what it was asked: what is wrong with the fact that shows it, the one
//! command that mends it, and the exit code. This is the only place that knows exit codes.

use super::arguments::values::written;
use super::files::FileError;
use super::record::size;
use crate::demo::DemoError;
use crate::model::Pid;
use crate::process::permission::Refusal;
use crate::process::remedies::{MOUNT_PROC, way_to_own_numbers};
use crate::process::sight::Sight;
use crate::source::error::AttachError;
use crate::view::stretch;
use std::path::PathBuf;
use std::time::Duration;

/// The exit codes of the contract; usage errors (2) are clap's, but for a choice that nobody is there to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Other = 1,
    Usage = 2,
    NoWorker = 3,
    NotPermitted = 4,
    NotReadable = 5,
    EndedEarly = 6,
    FailOnMet = 7,
}

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The same of one of those below a process; `also`: how many more are like it.
    #[error("{error}{also}")]
    Below {
        root: Pid,
        error: Box<AttachError>,
        also: String,
    },
    #[error("process {0} is Python without asyncio: it has not been imported")]
    NoAsyncio(Pid),
    #[error("worker {pid} ended before there was a figure ({how})")]
    EndedEarly { pid: Pid, how: String },
    #[error("the recording ends {seconds:.1} s in, before there was a figure")]
    RecordingEndsEarly { seconds: f64 },
    #[error("worker {pid} gave no figure within {seconds} s")]
    NoFigure { pid: Pid, seconds: u64 },
    /// The rest has been printed.
    #[error(
        "worker {pid} was sampled, but the first walk over its tasks did not end within {seconds} s, so there are no rows"
    )]
    NoRows { pid: Pid, seconds: u64 },
    /// Not a fault of otop's: what was asked for with `--fail-on`.
    #[error("--fail-on {} was met by {}, the longest {}", written(*.limit), blocks_of(*.blocks), stretch(*.longest_ms))]
    FailOnMet {
        limit: Duration,
        blocks: usize,
        longest_ms: f64,
    },
    #[error("no asyncio worker was found on this machine{}", without_access(*.unreadable, *.sight))]
    NoWorker {
        unreadable: usize,
        /// Why the first of these may not be read.
        refusal: Option<Box<Refusal>>,
        sight: Sight,
    },
    /// Of each the reason has been said.
    #[error("none of the processes that were named runs an event loop")]
    NoLoops { lack_asyncio: bool },
    #[error("no asyncio worker runs below process {pid}")]
    NoWorkerBelow { pid: Pid },
    #[error("{count} asyncio workers are on this machine, and there is no terminal to choose one")]
    SeveralWorkers { count: usize, busiest: Pid },
    #[error("no worker serves {} ({reason})", .path.display())]
    NoSocket { path: PathBuf, reason: String },
    #[error("the socket {} may not be opened by this user", .path.display())]
    SocketDenied { path: PathBuf },
    #[error("the worker at {} does not answer: nothing within {seconds} s, so its loop is blocked or it is stopped", .path.display())]
    SocketSilent {
        path: PathBuf,
        seconds: u64,
        owner: Option<Pid>,
    },
    #[error("{} does not serve what an OpenRTC worker serves: {reason}", .path.display())]
    SocketStrange { path: PathBuf, reason: String },
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// What is wrong was the answer, and has been printed.
    #[error("the doctor has said it")]
    Diagnosed(Exit),
    /// Drawing fails only where there is nobody left who could look.
    #[error("the terminal is gone: {0}")]
    TerminalGone(std::io::Error),
    #[error("{what}: {error}")]
    Output { what: String, error: std::io::Error },
    #[error("{} cannot be replayed: {error}", .path.display())]
    Recording {
        path: PathBuf,
        error: crate::recording::RecordingError,
    },
    #[error("{} cannot be replayed: it is {what}", .path.display())]
    NotARecording { path: PathBuf, what: NoFile },
    #[error("{}: {}", .path.display(), nothing_in_it(*.is_whole))]
    NothingRecorded { path: PathBuf, is_whole: bool },
    #[error("{} {}", .path.display(), no_dump(*.comes_later))]
    NoDump { path: PathBuf, comes_later: bool },
    #[error("{0}")]
    NoFormat(String),
    #[error("the two cannot be compared: {0}")]
    Unlike(String),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{error}; the recording ends there, and its first {kept_s:.1} s are kept")]
    RecordingCut { error: FileError, kept_s: f64 },
    #[error("{error}; it is cut: {} of its {} are kept", size(*.kept), size(*.whole))]
    ProfileCut { error: FileError, kept: u64, whole: u64 },
}

/// What no recording can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFile {
    Folder,
    /// Standard input, where it stands for no file.
    Dash,
    Pipe,
    Other,
}

impl std::fmt::Display for NoFile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            NoFile::Folder => "a folder",
            NoFile::Dash => "standard input, which can be read only once, and a recording is gone back in",
            NoFile::Pipe => "a pipe, which can be read only once, and a recording is gone back in",
            NoFile::Other => "a device or a socket, and no file",
        })
    }
}

impl NoFile {
    fn remedy(self) -> &'static str {
        match self {
            NoFile::Folder | NoFile::Other => "otop replay FILE, with a .otop that otop record has written",
            NoFile::Dash | NoFile::Pipe => "otop replay FILE, with what comes saved in FILE first",
        }
    }
}

impl CliError {
    /// Writing failed because nobody reads any more, which is how a pipe or a terminal says that it was enough.
    pub fn is_closed_output(&self) -> bool {
        use nix::libc::{EIO, EPIPE};
        match self {
            CliError::TerminalGone(_) => true,
            CliError::Output { error, .. } => matches!(error.raw_os_error(), Some(EPIPE | EIO)),
            CliError::File(FileError::Io { error, .. })
            | CliError::RecordingCut {
                error: FileError::Io { error, .. },
                ..
            }
            | CliError::ProfileCut {
                error: FileError::Io { error, .. },
                ..
            } => error.raw_os_error() == Some(EPIPE),
            _ => false,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            CliError::Diagnosed(exit) => *exit,
            CliError::Attach(error) => attach_exit(error),
            CliError::Below { error, .. } => attach_exit(error),
            CliError::NoAsyncio(_) | CliError::NoLoops { lack_asyncio: true } => Exit::NotReadable,
            CliError::EndedEarly { .. } => Exit::EndedEarly,
            CliError::FailOnMet { .. } => Exit::FailOnMet,
            CliError::NoWorker { .. }
            | CliError::NoWorkerBelow { .. }
            | CliError::NoLoops { .. }
            | CliError::NoSocket { .. } => Exit::NoWorker,
            CliError::SeveralWorkers { .. } => Exit::Usage,
            CliError::SocketDenied { .. } => Exit::NotPermitted,
            CliError::NoFigure { .. }
            | CliError::NoRows { .. }
            | CliError::RecordingEndsEarly { .. }
            | CliError::NotARecording { .. }
            | CliError::NothingRecorded { .. }
            | CliError::SocketSilent { .. }
            | CliError::SocketStrange { .. }
            | CliError::Demo(_)
            | CliError::TerminalGone(_)
            | CliError::Output { .. }
            | CliError::Recording { .. }
            | CliError::NoDump { .. }
            | CliError::NoFormat(_)
            | CliError::Unlike(_)
            | CliError::File(_)
            | CliError::RecordingCut { .. }
            | CliError::ProfileCut { .. } => Exit::Other,
        }
    }

    /// There is nothing to add on standard error.
    pub fn is_said(&self) -> bool {
        matches!(self, CliError::Diagnosed(_))
    }

    /// All that mends it, the one to try first in front.
    pub fn remedies(&self) -> Vec<String> {
        match self {
            CliError::Attach(AttachError::NotPermitted { refusal, .. }) => refusal.remedies(),
            CliError::NoWorker {
                refusal: Some(refusal),
                sight: Sight::Whole | Sight::OwnAlone,
                ..
            } => refusal.remedies_for_any(),
            other => other.remedy().into_iter().collect(),
        }
    }

    /// The one line in the live table, where a path is typed and there are no flags.
    pub fn in_table(&self) -> String {
        match self {
            CliError::File(FileError::Kept { .. }) => match self.remedy() {
                Some(remedy) => format!("{self}; try: {remedy}"),
                None => self.to_string(),
            },
            CliError::File(error) => match error.other_path() {
                Some(path) => format!("{self}; try: {}", path.display()),
                None => self.to_string(),
            },
            _ => self.to_string(),
        }
    }

    /// The one command that mends it; None where there is none.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            CliError::Attach(error) => return attach_remedy(error, None),
            CliError::Below { root, error, .. } => return attach_remedy(error, Some(*root)),
            CliError::NoAsyncio(pid) => format!("otop --pid {pid} (in a terminal it waits for asyncio)"),
            CliError::EndedEarly { .. } => "otop (lists the workers that run now)".to_owned(),
            // The same once more would end the same.
            CliError::NoFigure { pid, .. } | CliError::NoRows { pid, .. } => {
                format!("otop --pid {pid} (the live table goes on waiting)")
            }
            CliError::NoWorker {
                sight: Sight::NotMounted,
                ..
            } => MOUNT_PROC.to_owned(),
            CliError::NoWorker {
                sight: sight @ (Sight::Outer | Sight::Foreign),
                ..
            } => way_to_own_numbers(*sight, ""),
            CliError::NoWorker {
                unreadable: 0,
                sight: Sight::Whole,
                ..
            } => "otop demo (starts a sample worker)".to_owned(),
            CliError::NoWorker {
                refusal: Some(refusal), ..
            } => return refusal.remedies_for_any().into_iter().next(),
            CliError::NoWorker { .. } => "sudo otop".to_owned(),
            CliError::NoWorkerBelow { .. } | CliError::NoLoops { .. } => {
                "otop (lists the workers that run now)".to_owned()
            }
            CliError::SeveralWorkers { busiest, .. } => format!("otop --pid {busiest}"),
            CliError::NoSocket { .. } => "sudo otop (needs no socket)".to_owned(),
            CliError::SocketDenied { path } => format!("sudo otop --socket {}", path.display()),
            CliError::SocketSilent { owner: Some(pid), .. } => format!("sudo otop --pid {pid}"),
            CliError::SocketSilent { .. } => "sudo otop --pid PID, with the worker's PID".to_owned(),
            CliError::SocketStrange { .. } => "sudo otop (needs no socket)".to_owned(),
            CliError::Demo(_) => "sudo apt install python3".to_owned(),
            CliError::NoDump {
                path,
                comes_later: true,
            } => format!("otop replay {} dump", shell_word(&path.display().to_string())),
            CliError::NoDump { path, .. } => {
                format!("otop replay {} --once", shell_word(&path.display().to_string()))
            }
            CliError::File(FileError::Exists { .. }) => "--force (replaces it)".to_owned(),
            CliError::File(FileError::NoFolder {
                folder,
                may_be_made: true,
                ..
            }) => format!("mkdir -p {}", shell_word(&folder.display().to_string())),
            CliError::File(
                error @ (FileError::Denied { .. }
                | FileError::Others { .. }
                | FileError::NoFolder { .. }
                | FileError::Io { .. }),
            ) => {
                format!("-o {}", shell_word(&error.other_path()?.display().to_string()))
            }
            CliError::File(error @ FileError::Kept { name, .. }) => {
                let paths = [name.clone(), error.other_path()?].map(|path| shell_word(&path.display().to_string()));
                // One that is there it leaves alone.
                format!("mv -n {}", paths.join(" "))
            }
            CliError::File(FileError::Moved { path, to: Some(to) }) => {
                let paths = [to, path].map(|path| shell_word(&path.display().to_string()));
                format!("mv -n {}", paths.join(" "))
            }
            CliError::File(FileError::Terminal) => "-o FILE".to_owned(),
            CliError::Diagnosed(_)
            | CliError::FailOnMet { .. }
            | CliError::TerminalGone(_)
            | CliError::Output { .. }
            | CliError::Recording { .. }
            | CliError::RecordingEndsEarly { .. }
            | CliError::NothingRecorded { .. }
            | CliError::NoFormat(_)
            | CliError::Unlike(_)
            | CliError::File(_)
            | CliError::RecordingCut { .. }
            | CliError::ProfileCut { .. } => return None,
            CliError::NotARecording { what, .. } => what.remedy().to_owned(),
        })
    }
}

fn attach_exit(error: &AttachError) -> Exit {
    match error {
        AttachError::NoSuchProcess(_) | AttachError::Zombie(_) | AttachError::Thread { .. } => Exit::NoWorker,
        AttachError::NotPermitted { .. } => Exit::NotPermitted,
        AttachError::NotPython { .. }
        | AttachError::TooOld { .. }
        | AttachError::Unknown { .. }
        | AttachError::LayoutRefused { .. }
        | AttachError::OtherArchitecture { .. }
        | AttachError::FreeThreaded { .. } => Exit::NotReadable,
        AttachError::Gone(_) => Exit::EndedEarly,
        AttachError::NoSuchVariable { .. }
        | AttachError::NoSuchStep { .. }
        | AttachError::NoSuchLocal { .. }
        | AttachError::NoText { .. }
        | AttachError::NotPaused { .. }
        | AttachError::Io { .. } => Exit::Other,
    }
}

/// `root`: it is one of those below this process.
fn attach_remedy(error: &AttachError, root: Option<Pid>) -> Option<String> {
    let whom = |pid: &Pid| root.map_or(format!("--pid {pid}"), |root| format!("--pid {root} --children"));
    Some(match error {
        AttachError::NoSuchProcess(_) | AttachError::Zombie(_) | AttachError::Gone(_) => {
            "otop (lists the workers that run now)".to_owned()
        }
        AttachError::Thread { process, .. } => format!("otop --pid {process}"),
        AttachError::NotPermitted { pid, refusal } => {
            let way = refusal.remedy()?;
            way.replace(&format!("--pid {pid}"), &whom(pid))
        }
        AttachError::NotPython { pid, pythons, .. } => match pythons.as_slice() {
            [] => "otop (lists the asyncio workers)".to_owned(),
            [one] => format!("otop --pid {one}"),
            _ => format!("otop --pid {pid} --children"),
        },
        AttachError::TooOld { pid, .. } => format!("py-spy dump --pid {pid} (reads older Pythons)"),
        AttachError::Unknown { .. } | AttachError::LayoutRefused { .. } => {
            "git pull && cargo install --path . (a newer otop may know it)".to_owned()
        }
        AttachError::OtherArchitecture { pid, .. } => format!("py-spy dump --pid {pid}"),
        AttachError::FreeThreaded { version, .. } => {
            let minor: Vec<&str> = version.split('.').take(2).collect();
            format!("python{} (the build with a GIL) for the worker", minor.join("."))
        }
        AttachError::NoSuchVariable { pid, option, meant, .. }
        | AttachError::NoSuchStep { pid, option, meant, .. }
        | AttachError::NoSuchLocal { pid, option, meant, .. }
        | AttachError::NoText { pid, option, meant, .. } => match meant {
            Some(spec) => format!("otop {} {option} {}", whom(pid), shell_word(spec)),
            None if matches!(error, AttachError::NoSuchVariable { likely, .. } if likely.is_empty()) => {
                format!("otop {} (without {option})", whom(pid))
            }
            None => format!("otop vars --pid {pid}"),
        },
        AttachError::NotPaused { .. } => "the same without --pause".to_owned(),
        AttachError::Io { .. } => return None,
    })
}

/// As a shell takes it for one word.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
    match word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn nothing_in_it(is_whole: bool) -> &'static str {
    match is_whole {
        true => "nothing was recorded in it",
        false => "it was cut off or is damaged, and nothing whole is left in it",
    }
}

fn no_dump(comes_later: bool) -> &'static str {
    match comes_later {
        true => "has no dump of that instant or before: its first was taken later",
        false => "has no dumps: otop record takes them, older ones did not, and key w does not",
    }
}

fn blocks_of(count: usize) -> String {
    match count {
        1 => "1 block".to_owned(),
        n => format!("{n} blocks"),
    }
}

fn without_access(unreadable: usize, sight: Sight) -> String {
    match unreadable {
        _ if matches!(sight, Sight::Outer | Sight::Foreign | Sight::NotMounted) => {
            format!(": {}", sight.told())
        }
        _ if sight == Sight::OwnAlone => {
            format!(", but {}", sight.told())
        }
        0 => String::new(),
        1 => ", but one Python process may not be read by this user".to_owned(),
        n => format!(", but {n} Python processes may not be read by this user"),
    }
}

/// The one line on stderr. What comes from outside (names, paths, the kernel's texts) has no control characters in it
/// afterwards.
pub fn line(error: &anyhow::Error) -> String {
    let remedy = error.downcast_ref::<CliError>().and_then(CliError::remedy);
    let text = match remedy {
        Some(remedy) => format!("otop: {error:#}; try: {remedy}"),
        None => format!("otop: {error:#}"),
    };
    crate::view::printable(&text)
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
