//! Why something about a process could not be learned. Knows nothing of exit codes or of who is told.

use crate::model::Pid;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    #[error("no process has PID {0}")]
    Gone(Pid),
    /// It has ended; its number and little else is left until its parent asks for it.
    #[error("process {0} is a zombie")]
    Zombie(Pid),
    /// The number names a thread; `/proc/TID` can be opened, though no listing shows it.
    #[error("{thread} is a thread of process {process}")]
    Thread { thread: Pid, process: Pid },
    #[error("/proc/{pid}/{file}: permission denied")]
    Denied { pid: Pid, file: &'static str },
    #[error("/proc/{pid}/{file}: {detail}")]
    Unreadable {
        pid: Pid,
        file: &'static str,
        detail: String,
    },
}

impl ProcessError {
    /// Sorts the kernel's answer to reading `/proc/PID/FILE`. ESRCH comes from a process that ended after its file
    /// was opened, ENOENT from one that ended before.
    pub(super) fn of(pid: Pid, file: &'static str, error: &std::io::Error) -> ProcessError {
        use std::io::ErrorKind;
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::NotFound, _) | (_, Some(nix::libc::ESRCH)) => ProcessError::Gone(pid),
            (ErrorKind::PermissionDenied, _) => ProcessError::Denied { pid, file },
            _ => ProcessError::Unreadable {
                pid,
                file,
                detail: error.to_string(),
            },
        }
    }
}
