//! The files of `/proc/PID` as typed values, by the `procfs` crate's parsers. The bytes are read here and made text
//! first, since a worker may give itself a name that is not UTF-8, and that must not make it unreadable.

use super::ProcessError;
use crate::model::Pid;
use procfs::process::{MemoryMap, MemoryMaps, Stat, Status};
use procfs::{FromBufRead, FromRead};

/// One file of `/proc/PID`, with what is not UTF-8 replaced.
pub(super) fn text(pid: Pid, file: &'static str) -> Result<String, ProcessError> {
    match std::fs::read(format!("/proc/{pid}/{file}")) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(ProcessError::of(pid, file, &error)),
    }
}

pub(super) fn status(pid: Pid) -> Result<Status, ProcessError> {
    let text = text(pid, "status")?;
    Status::from_buf_read(text.as_bytes()).map_err(|error| unreadable(pid, "status", &error))
}

pub(super) fn stat(pid: Pid) -> Result<Stat, ProcessError> {
    let text = text(pid, "stat")?;
    Stat::from_read(text.as_bytes()).map_err(|error| unreadable(pid, "stat", &error))
}

/// All mappings. A line that the parser refuses (a file may be named to look like a special mapping) costs that line.
pub(super) fn memory_maps(pid: Pid) -> Result<Vec<MemoryMap>, ProcessError> {
    let text = text(pid, "maps")?;
    if let Ok(maps) = MemoryMaps::from_buf_read(text.as_bytes()) {
        return Ok(maps.into_iter().collect());
    }
    let lines = text
        .lines()
        .filter_map(|line| MemoryMaps::from_buf_read(line.as_bytes()).ok());
    Ok(lines.flatten().collect())
}

fn unreadable(pid: Pid, file: &'static str, error: &procfs::ProcError) -> ProcessError {
    match error {
        procfs::ProcError::NotFound(_) => ProcessError::Gone(pid),
        other => ProcessError::Unreadable {
            pid,
            file,
            detail: other.to_string(),
        },
    }
}
