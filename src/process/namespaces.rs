//! Which namespaces a process lives in, compared with otop's own, without entering any of them.

use super::read;
use crate::model::Pid;
use std::os::linux::fs::MetadataExt;

/// The user namespace that the machine booted with has this inode in every kernel (`PROC_USER_INIT_INO`).
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    Pid,
    Mount,
    User,
    Uts,
    Time,
}

impl Namespace {
    fn file(self) -> &'static str {
        match self {
            Namespace::Pid => "pid",
            Namespace::Mount => "mnt",
            Namespace::User => "user",
            Namespace::Uts => "uts",
            Namespace::Time => "time",
        }
    }
}

/// Inode of the namespace; None where it may not be asked or the process is gone.
pub fn inode(pid: Pid, namespace: Namespace) -> Option<u64> {
    inode_of(&format!("/proc/{pid}/ns/{}", namespace.file()))
}

/// Inode of otop's own namespace.
pub fn own_inode(namespace: Namespace) -> Option<u64> {
    inode_of(&format!("/proc/self/ns/{}", namespace.file()))
}

fn inode_of(link: &str) -> Option<u64> {
    std::fs::metadata(link).ok().map(|metadata| metadata.st_ino())
}

/// The process lives in the same one as otop; None where it may not be asked.
pub fn shared(pid: Pid, namespace: Namespace) -> Option<bool> {
    Some(inode(pid, namespace)? == own_inode(namespace)?)
}

/// The same for the user namespace, answered also where the link may not be followed: everybody may read which user
/// ids a namespace maps, and two namespaces that map them differently are two.
pub fn shared_user(pid: Pid) -> Option<bool> {
    shared(pid, Namespace::User).or_else(|| {
        let own = std::fs::read("/proc/self/uid_map").ok()?;
        let theirs = std::fs::read(format!("/proc/{pid}/uid_map")).ok()?;
        (own != theirs).then_some(false)
    })
}

/// Otop is in the user namespace that all others descend from.
pub fn in_first_user_namespace() -> bool {
    own_inode(Namespace::User) == Some(FIRST_USER_NAMESPACE)
}

/// The numbers of the process, from otop's namespace to its own innermost; one number where they share it.
pub fn numbers(pid: Pid) -> Vec<i32> {
    read::status(pid)
        .ok()
        .and_then(|status| status.nspid)
        .unwrap_or_else(|| vec![pid.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_shares_every_namespace_with_itself() {
        let pid = Pid(i32::try_from(std::process::id()).expect("a pid fits"));
        for namespace in [
            Namespace::Pid,
            Namespace::Mount,
            Namespace::User,
            Namespace::Uts,
            Namespace::Time,
        ] {
            assert_eq!(shared(pid, namespace), Some(true), "{namespace:?}");
        }
        assert_eq!(shared_user(pid), Some(true));
        assert_eq!(numbers(pid).first(), Some(&pid.0));
        assert_eq!(shared(Pid(i32::MAX), Namespace::Uts), None);
    }
}
