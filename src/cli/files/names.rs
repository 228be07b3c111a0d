//! How a file of otop's comes to its name: made without one, or under one of otop's own beside, and given its own when that
//! is asked for. Knows nothing of what is in it, nor when it is whole.

use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::unistd::{AccessFlags, Gid, Uid, faccessat, fchown, geteuid, linkat};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Mode of a folder in which only its owner and a file's may remove or replace the file.
const STICKY: u32 = 0o1000;

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().map_or(Path::new("."), here)
}

/// Whether nothing has this name; a link that leads nowhere has it.
pub(super) fn is_missing(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether `mkdir -p` would make this folder, which is missing.
pub(super) fn may_be_made(folder: &Path) -> bool {
    let below = folder.ancestors().skip(1).find(|ancestor| !is_missing(here(ancestor)));
    let below = here(below.unwrap_or(Path::new("")));
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    below.is_dir() && faccessat(AT_FDCWD, below, wanted, AtFlags::AT_EACCESS).is_ok()
}

/// What the start of a relative path means.
fn here(folder: &Path) -> &Path {
    match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    }
}

/// Whether this file has this name still.
pub(super) fn is_there(file: &File, name: &Path) -> bool {
    let same = |one: std::fs::Metadata, other: std::fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    file.metadata()
        .and_then(|file| Ok(same(file, std::fs::symlink_metadata(name)?)))
        .unwrap_or(false)
}

/// Whether the kernel will let only another user replace this file, whoever may write to the folder.
pub(super) fn is_others(path: &Path, file: &std::fs::Metadata) -> bool {
    let own = geteuid();
    let keeps = |folder: std::fs::Metadata| folder.mode() & STICKY != 0 && folder.uid() != own.as_raw();
    !own.is_root() && file.uid() != own.as_raw() && std::fs::metadata(folder_of(path)).is_ok_and(keeps)
}

/// A new file in this folder, and its name, where the file system does not have any without.
pub(super) fn create(folder: &Path) -> io::Result<(File, Option<PathBuf>)> {
    let mut options = OpenOptions::new();
    // What is in it is nobody's business but the caller's.
    options.write(true).mode(0o600);
    if let Ok(file) = options.custom_flags(nix::libc::O_TMPFILE).open(folder) {
        return Ok((file, None));
    }
    let (file, name) = create_named(folder, &mut options)?;
    Ok((file, Some(name)))
}

pub(super) fn create_named(folder: &Path, options: &mut OpenOptions) -> io::Result<(File, PathBuf)> {
    options.create_new(true).custom_flags(nix::libc::O_NOFOLLOW);
    first_free(folder, |name| options.open(name))
}

/// Does this with the first name of otop's that is free in this folder.
fn first_free<T>(folder: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, PathBuf)> {
    let mut number = 0;
    loop {
        let name = folder.join(format!(".otop-{}-{number}.part", std::process::id()));
        match make(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            made => return Ok((made?, name)),
        }
    }
}

/// The name under which a file stays that cannot have this one.
pub(super) fn beside(path: &Path, file: &File, name: Option<PathBuf>) -> Option<PathBuf> {
    match name {
        Some(name) => Some(name).filter(|name| is_there(file, name)),
        None => Some(first_free(folder_of(path), |name| link(file, name)).ok()?.1),
    }
}

/// What leads to an open file, whatever it is called.
pub(super) fn of_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Gives an open file a name; what has it already is left alone, a symbolic link too.
fn link(file: &File, to: &Path) -> io::Result<()> {
    Ok(linkat(
        AT_FDCWD,
        &of_descriptor(file),
        AT_FDCWD,
        to,
        AtFlags::AT_SYMLINK_FOLLOW,
    )?)
}

/// Gives it this name in the place of the one that it has: a symbolic link there is replaced and not followed, and without
/// leave nothing is.
pub(super) fn publish(file: &File, name: Option<&Path>, to: &Path, may_replace: bool) -> io::Result<()> {
    use nix::errno::Errno;
    let Some(from) = name else {
        if !may_replace {
            return link(file, to);
        }
        // Only renaming replaces.
        let ((), from) = first_free(folder_of(to), |name| link(file, name))?;
        return std::fs::rename(&from, to).inspect_err(|_| {
            let _ = std::fs::remove_file(&from);
        });
    };
    if may_replace {
        return std::fs::rename(from, to);
    }
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // Some file systems have no such rename; a second name is not given to what is there, either.
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// Under sudo the file belongs to whoever called it.
pub(super) fn give_to_caller(file: &File) -> io::Result<()> {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    match (geteuid().is_root(), id("SUDO_UID"), id("SUDO_GID")) {
        (true, Some(user), Some(group)) => {
            fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))).map_err(io::Error::from)
        }
        _ => Ok(()),
    }
}
