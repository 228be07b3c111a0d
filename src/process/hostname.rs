//! The host name that a worker itself would give, which is the name that OpenRTC gives its worker. Its UTS namespace is
//! never entered: where it is another one, the name is taken from where containers keep it.

use super::namespaces::{Namespace, shared};
use super::read;
use crate::model::Pid;
use std::io::Read;

/// Longest name that the kernel allows.
const LONGEST: usize = 64;

/// None where it is not known.
pub fn uts_hostname(pid: Pid) -> Option<String> {
    match shared(pid, Namespace::Uts) {
        Some(true) => valid(&nix::unistd::gethostname().ok()?.to_string_lossy()),
        Some(false) => from_file(pid).or_else(|| from_environment(pid)),
        None => None,
    }
}

/// Container runtimes write the name there. Opened without waiting, since the file is the container's and may be a pipe.
fn from_file(pid: Pid) -> Option<String> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = (nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOFOLLOW).bits();
    let path = format!("/proc/{pid}/root/etc/hostname");
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(256).read_to_end(&mut bytes).ok()?;
    valid(String::from_utf8_lossy(&bytes).lines().next()?)
}

fn from_environment(pid: Pid) -> Option<String> {
    let environment = read::text(pid, "environ").ok()?;
    valid(
        environment
            .split('\0')
            .find_map(|entry| entry.strip_prefix("HOSTNAME="))?,
    )
}

/// Only what can be a host name, for both sources belong to the worker's side.
fn valid(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = !name.is_empty()
        && name.len() <= LONGEST
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    fits.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_names_pass() {
        assert_eq!(valid("web-7.example\n"), Some("web-7.example".to_owned()));
        for refused in ["", " ", "a b", "a\u{1b}[31m", "näme", &"x".repeat(65)] {
            assert_eq!(valid(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn a_process_of_this_namespace_has_this_name() {
        let pid = Pid(i32::try_from(std::process::id()).expect("a pid fits"));
        let own = nix::unistd::gethostname()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert_eq!(uts_hostname(pid), valid(&own));
    }
}
