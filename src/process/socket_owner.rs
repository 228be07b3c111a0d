//! Which process listens at a Unix socket, from the kernel's own tables: the worker itself need not answer.

use crate::model::Pid;
use procfs::process::FDTarget;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

/// None where it is not known: of another mount namespace, or of a process whose files may not be listed.
pub fn socket_owner(path: &Path) -> Option<Pid> {
    let path = std::fs::canonicalize(path).ok()?;
    // The table names a socket as it was bound, which may have been through a link; then the file tells.
    let file = std::fs::metadata(&path).ok()?;
    let is_it = |bound: &Path| {
        bound == path
            || std::fs::metadata(bound).is_ok_and(|m| (m.st_dev(), m.st_ino()) == (file.st_dev(), file.st_ino()))
    };
    // Connections share their listener's name; the ones that nobody has accepted belong to no process and are 0.
    let named = procfs::net::unix()
        .ok()?
        .into_iter()
        .filter(|entry| entry.path.as_deref().is_some_and(is_it));
    let inodes: Vec<u64> = named.map(|entry| entry.inode).filter(|&inode| inode != 0).collect();
    let holds = |process: &procfs::process::Process| {
        process.fd().is_ok_and(|fds| {
            fds.flatten()
                .any(|fd| matches!(fd.target, FDTarget::Socket(held) if inodes.contains(&held)))
        })
    };
    procfs::process::all_processes()
        .ok()?
        .flatten()
        .find(holds)
        .map(|process| Pid(process.pid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found() {
        let path = std::env::temp_dir().join(format!("otop-owner-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        assert_eq!(socket_owner(&path), None);
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
        assert_eq!(
            socket_owner(&path),
            Some(Pid(i32::try_from(std::process::id()).expect("a pid fits")))
        );
        drop(listener);
        assert_eq!(socket_owner(&path), None);
        std::fs::remove_file(&path).expect("removed");
    }
}
