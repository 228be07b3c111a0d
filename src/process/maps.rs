//! What is mapped where in a process.

use super::{ProcessError, read};
use crate::model::Pid;
use procfs::process::{MMPermissions, MMapPath};
use std::path::{Path, PathBuf};

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    /// The first address after it.
    pub end: u64,
    pub readable: bool,
    pub writable: bool,
    pub executable: bool,
    /// Where in the file it begins.
    pub offset: u64,
    /// Device (major, minor) and inode of the file; inode 0: no file.
    pub device: (i32, i32),
    pub inode: u64,
    /// The file as the process's own mount namespace names it; None: no file, or one of the kernel's own.
    pub path: Option<PathBuf>,
    /// The file is no longer at that path.
    pub deleted: bool,
}

impl Mapping {
    /// Last part of the path; empty where there is none.
    pub fn file_name(&self) -> &str {
        self.path
            .as_deref()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str())
            .unwrap_or("")
    }

    /// A path that opens the mapped file itself: deleted, replaced, or of another mount namespace. Needs the same
    /// right as reading the memory does.
    pub fn through_kernel(&self, pid: Pid) -> PathBuf {
        PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", self.start, self.end))
    }
}

/// The mappings in the order of their addresses. Empty for a process without memory.
pub fn maps(pid: Pid) -> Result<Vec<Mapping>, ProcessError> {
    Ok(read::memory_maps(pid)?.into_iter().map(mapping).collect())
}

fn mapping(map: procfs::process::MemoryMap) -> Mapping {
    let (path, deleted) = match map.pathname {
        MMapPath::Path(path) => without_deleted(path),
        _ => (None, false),
    };
    Mapping {
        start: map.address.0,
        end: map.address.1,
        readable: map.perms.contains(MMPermissions::READ),
        writable: map.perms.contains(MMPermissions::WRITE),
        executable: map.perms.contains(MMPermissions::EXECUTE),
        offset: map.offset,
        device: map.dev,
        inode: map.inode,
        path,
        deleted,
    }
}

fn without_deleted(path: PathBuf) -> (Option<PathBuf>, bool) {
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(text) => (Some(PathBuf::from(text)), true),
        None => (Some(path), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_finds_itself_and_its_stack_variable() {
        let pid = Pid(i32::try_from(std::process::id()).expect("a pid fits"));
        let maps = maps(pid).expect("own maps");
        let here = 0u8;
        let stack = maps
            .iter()
            .find(|m| (m.start..m.end).contains(&(std::ptr::from_ref(&here) as u64)))
            .expect("the stack is mapped");
        assert!(stack.readable && stack.writable && !stack.executable);
        let program = std::env::current_exe().expect("own path");
        let code = maps
            .iter()
            .find(|m| m.path.as_deref() == Some(program.as_path()) && m.executable);
        assert_eq!(
            code.expect("own code is mapped").file_name(),
            program.file_name().expect("a name")
        );
    }

    #[test]
    fn a_deleted_file_keeps_its_name() {
        let (path, deleted) = without_deleted(PathBuf::from("/opt/python3.12 (deleted)"));
        assert_eq!((path, deleted), (Some(PathBuf::from("/opt/python3.12")), true));
        assert_eq!(
            without_deleted(PathBuf::from("/opt/a")),
            (Some(PathBuf::from("/opt/a")), false)
        );
    }
}
