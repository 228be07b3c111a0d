//! Files that otop writes: never over another one unasked, never through a symlink, and under sudo for the user who called
//! it. A file appears under its name when it is whole, or, if it is to grow, at once. Knows nothing of what is in it.

use nix::fcntl::{RenameFlags, renameat2};
use nix::unistd::{Gid, Uid, fchown, geteuid};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Stands for standard output.
const STDOUT: &str = "-";

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{} is there already", .path.display())]
    Exists { path: PathBuf },
    #[error("{} is a symbolic link, and otop writes through none", .path.display())]
    Link { path: PathBuf },
    #[error("{} is {what}, and no file to write to", .path.display())]
    NoFile { path: PathBuf, what: &'static str },
    #[error("standard output is a terminal, and this is nothing to look at there")]
    Terminal,
    #[error("{} cannot be written: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// A file that is being written.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    place: Place,
    may_replace: bool,
    written: u64,
}

#[derive(Debug)]
enum Place {
    Stdout,
    /// Under another name in the same folder, until it is whole.
    Hidden {
        file: File,
        name: PathBuf,
    },
    Shown {
        file: File,
    },
}

impl OutputFile {
    /// Opens it; nobody sees it yet. `may_replace`: a file that is there already.
    pub fn open(path: &Path, may_replace: bool) -> Result<OutputFile, FileError> {
        let whole = |place| OutputFile {
            path: path.to_owned(),
            place,
            may_replace,
            written: 0,
        };
        if path == Path::new(STDOUT) {
            let is_terminal = io::stdout().is_terminal();
            return if is_terminal {
                Err(FileError::Terminal)
            } else {
                let mut file = whole(Place::Stdout);
                file.path = PathBuf::from("standard output");
                Ok(file)
            };
        }
        check(path, may_replace)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let failed = |error| FileError::Io {
            path: path.to_owned(),
            error,
        };
        let (file, name) = create(folder).map_err(failed)?;
        if let Err(error) = give_to_caller(&file) {
            let _ = std::fs::remove_file(&name);
            return Err(failed(error));
        }
        Ok(whole(Place::Hidden { file, name }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that it has.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Gives it its name.
    pub fn show(&mut self) -> Result<(), FileError> {
        let Place::Hidden { name, .. } = &self.place else {
            return Ok(());
        };
        // Somebody may have put something there meanwhile.
        check(&self.path, self.may_replace)?;
        publish(name, &self.path, self.may_replace).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists {
                path: self.path.clone(),
            },
            _ => FileError::Io {
                path: self.path.clone(),
                error,
            },
        })?;
        if let Place::Hidden { file, .. } = std::mem::replace(&mut self.place, Place::Stdout) {
            self.place = Place::Shown { file };
        }
        Ok(())
    }

    /// Adds all of these bytes, or as many as there is room for: up to where `whole` says that a reader can follow, of the
    /// first so many of them. How many there are then is what `written` says.
    pub fn add_what_fits(&mut self, bytes: &[u8], whole: fn(&[u8]) -> usize) -> Result<(), FileError> {
        let before = self.written;
        let (Place::Hidden { file, .. } | Place::Shown { file }) = &mut self.place else {
            return self.add(bytes);
        };
        let Err(error) = file.write_all(bytes) else {
            self.written += bytes.len() as u64;
            return Ok(());
        };
        let there = file.metadata().map_or(before, |facts| facts.len());
        let fitted = bytes.get(..there.saturating_sub(before) as usize).unwrap_or_default();
        let kept = before + whole(fitted) as u64;
        if file.set_len(kept).is_ok() {
            self.written = kept;
        }
        Err(FileError::Io {
            path: self.path.clone(),
            error,
        })
    }

    /// Adds all of these bytes, or none.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let added = match &mut self.place {
            Place::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Place::Hidden { file, .. } | Place::Shown { file } => {
                let added = file.write_all(bytes);
                if added.is_err() {
                    // A part of them is of no use, and the place may be needed.
                    let _ = file.set_len(self.written);
                }
                added
            }
        };
        added.map_err(|error| FileError::Io {
            path: self.path.clone(),
            error,
        })?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Place::Hidden { name, .. } = &self.place {
            let _ = std::fs::remove_file(name);
        }
    }
}

/// Whether a file may come to stand there.
fn check(path: &Path, may_replace: bool) -> Result<(), FileError> {
    let path = || path.to_owned();
    let kind = match std::fs::symlink_metadata(path()) {
        Ok(there) => there.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path().file_name().is_some() => return Ok(()),
        Err(error) => return Err(FileError::Io { path: path(), error }),
    };
    if kind.is_symlink() {
        return Err(FileError::Link { path: path() });
    }
    if !kind.is_file() {
        let what = if kind.is_dir() {
            "a folder"
        } else {
            "a device, a pipe or a socket"
        };
        return Err(FileError::NoFile { path: path(), what });
    }
    if may_replace {
        Ok(())
    } else {
        Err(FileError::Exists { path: path() })
    }
}

/// A new file in this folder.
fn create(folder: &Path) -> io::Result<(File, PathBuf)> {
    let mut number = 0;
    loop {
        let name = folder.join(format!(".otop-{}-{number}.part", std::process::id()));
        // What is in it is nobody's business but the caller's.
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&name);
        match opened {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            opened => return Ok((opened?, name)),
        }
    }
}

/// Renames, which replaces a symbolic link instead of following it, and without leave replaces nothing.
fn publish(from: &Path, to: &Path, may_replace: bool) -> io::Result<()> {
    use nix::errno::Errno;
    if may_replace {
        return std::fs::rename(from, to);
    }
    let here = nix::fcntl::AT_FDCWD;
    match renameat2(here, from, here, to, RenameFlags::RENAME_NOREPLACE) {
        // Some file systems have no such rename; a second name is not given to what is there, either.
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// Under sudo the file belongs to whoever called it.
fn give_to_caller(file: &File) -> io::Result<()> {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    match (geteuid().is_root(), id("SUDO_UID"), id("SUDO_GID")) {
        (true, Some(user), Some(group)) => {
            fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))).map_err(io::Error::from)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder of its own, gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("otop-files-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).expect("a new folder");
            Folder(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).expect("readable");
            let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
            names.collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_appears_when_it_is_whole_and_not_at_all_if_it_is_given_up() {
        let folder = Folder::new("whole");
        let path = folder.0.join("x.svg");
        let mut file = OutputFile::open(&path, false).expect("opened");
        file.add(b"one").expect("written");
        assert!(!path.exists() && folder.names().len() == 1);
        file.show().expect("shown");
        file.add(b"two").expect("written");
        assert_eq!(
            (std::fs::read(&path).expect("there"), file.written()),
            (b"onetwo".to_vec(), 6)
        );
        drop(file);
        assert_eq!(folder.names(), ["x.svg"]);
        drop(OutputFile::open(&folder.0.join("y.svg"), false).expect("opened"));
        assert_eq!(folder.names(), ["x.svg"]);
    }

    #[test]
    fn nothing_is_replaced_unasked_and_nothing_but_files_ever() {
        let folder = Folder::new("replace");
        let path = folder.0.join("x.svg");
        std::fs::write(&path, "old").expect("written");
        assert!(matches!(OutputFile::open(&path, false), Err(FileError::Exists { .. })));
        let mut file = OutputFile::open(&path, true).expect("asked for");
        file.add(b"new").expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), b"old");
        file.show().expect("shown");
        assert_eq!(std::fs::read(&path).expect("there"), b"new");

        let link = folder.0.join("link.svg");
        symlink(&path, &link).expect("a link");
        for may_replace in [false, true] {
            assert!(matches!(
                OutputFile::open(&link, may_replace),
                Err(FileError::Link { .. })
            ));
            assert!(matches!(
                OutputFile::open(&folder.0, may_replace),
                Err(FileError::NoFile { .. })
            ));
            let device = OutputFile::open(Path::new("/dev/null"), may_replace);
            assert!(matches!(device, Err(FileError::NoFile { .. })));
            let nowhere = OutputFile::open(&folder.0.join("none/x.svg"), may_replace);
            assert!(matches!(nowhere, Err(FileError::Io { .. })));
        }
    }

    #[test]
    fn what_comes_to_stand_there_meanwhile_stays() {
        let folder = Folder::new("meanwhile");
        let path = folder.0.join("x.svg");
        let mut file = OutputFile::open(&path, false).expect("opened");
        std::fs::write(&path, "another's").expect("written");
        assert!(matches!(file.show(), Err(FileError::Exists { .. })));
        let link = folder.0.join("y.svg");
        let mut file = OutputFile::open(&link, true).expect("opened");
        symlink(&path, &link).expect("a link");
        assert!(matches!(file.show(), Err(FileError::Link { .. })));
        assert_eq!(std::fs::read(&path).expect("there"), b"another's");
    }
}
