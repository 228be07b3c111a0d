//! Files that otop writes: never over another one unasked, never through a symlink, and under sudo for the user who called
//! it. A file appears under its name when it is whole, or, if it is to grow, at once. Until then it has none, where the
//! file system can do that, so that nothing is left of it whatever ends otop; else one beside. One that is whole and cannot
//! be given its name stays under the one beside. Knows nothing of what is in it.

mod names;
#[cfg(test)]
mod tests;

use crate::process::privilege;
use nix::unistd::Uid;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Stands for standard output.
const STDOUT: &str = "-";

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{} is there already", .path.display())]
    Exists { path: PathBuf },
    #[error("{} is there already and another user's, who alone may replace it in such a folder (sticky)", .path.display())]
    Others { path: PathBuf },
    #[error("{} is a symbolic link, and otop writes through none", .path.display())]
    Link { path: PathBuf },
    #[error("{} is {what}, and no file to write to", .path.display())]
    NoFile { path: PathBuf, what: &'static str },
    #[error("standard output is a terminal, and this is nothing to look at there")]
    Terminal,
    #[error("{} cannot be written: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} cannot be written: there is no folder {}", .path.display(), .folder.display())]
    NoFolder {
        path: PathBuf,
        folder: PathBuf,
        /// By otop's user.
        may_be_made: bool,
    },
    /// Root could, which otop was when it was started.
    #[error("otop writes as user {user}, who called sudo and may not write {}", .path.display())]
    Denied { path: PathBuf, user: Uid },
    #[error("{error}; what was written is kept in {}", .name.display())]
    Kept {
        error: Box<FileError>,
        name: PathBuf,
        path: PathBuf,
    },
    #[error("{} was removed or replaced while it was written, and all that was in it is gone", .path.display())]
    Removed { path: PathBuf },
    #[error("{} was moved while it was written, and is whole {}", .path.display(), whereto(.to.as_deref()))]
    Moved { path: PathBuf, to: Option<PathBuf> },
}

impl FileError {
    /// What the system said of this path. `user`: otop was root, and became this one.
    fn of(path: &Path, error: io::Error, user: Option<Uid>) -> FileError {
        let path = path.to_owned();
        match user {
            Some(user) if error.kind() == io::ErrorKind::PermissionDenied => FileError::Denied { path, user },
            _ if error.kind() == io::ErrorKind::NotFound && names::is_missing(names::folder_of(&path)) => {
                let folder = names::folder_of(&path).to_owned();
                FileError::NoFolder {
                    may_be_made: names::may_be_made(&folder),
                    folder,
                    path,
                }
            }
            _ => FileError::Io { path, error },
        }
    }

    /// A path that can be written, where only the one that was asked for is in the way.
    pub fn other_path(&self) -> Option<PathBuf> {
        match self {
            FileError::Denied { path, .. } | FileError::NoFolder { path, .. } => in_temporary_folder(path),
            FileError::Io { path, error } if is_the_places(error) => in_temporary_folder(path),
            FileError::Kept { path, .. } | FileError::Others { path } => {
                let mut name = std::ffi::OsString::from("new-");
                name.push(path.file_name()?);
                Some(path.with_file_name(name))
            }
            _ => None,
        }
    }
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
    /// In its folder without a name, or with another one, until it is whole.
    Hidden {
        file: File,
        name: Option<PathBuf>,
    },
    Shown {
        file: File,
        /// Opened by its name: what was opened without one is never told what it is called.
        by_name: Option<File>,
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
        privilege::to_write(|| {
            check(path, may_replace)?;
            let failed = |error| FileError::of(path, error, privilege::became());
            let (file, name) = names::create(names::folder_of(path)).map_err(failed)?;
            let file = whole(Place::Hidden { file, name });
            if let Place::Hidden { file, .. } = &file.place {
                names::give_to_caller(file).map_err(failed)?;
            }
            Ok(file)
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that it has.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Gives it its name, now that it is whole. Where that cannot be, it stays beside: what is in it may have taken long,
    /// and does not come again.
    pub fn finish(&mut self) -> Result<(), FileError> {
        let Err(error) = self.show() else { return Ok(()) };
        let beside = match std::mem::replace(&mut self.place, Place::Stdout) {
            // Not where the folder has gone, with all that was in it.
            Place::Hidden { file, name } => privilege::to_write(|| names::beside(&self.path, &file, name)),
            place => {
                self.place = place;
                None
            }
        };
        match beside {
            Some(name) => Err(FileError::Kept {
                error: Box::new(error),
                name,
                path: self.path.clone(),
            }),
            None => Err(error),
        }
    }

    /// Gives it its name.
    pub fn show(&mut self) -> Result<(), FileError> {
        let Place::Hidden { file, name } = &self.place else {
            return Ok(());
        };
        privilege::to_write(|| {
            // Somebody may have put something there meanwhile.
            check(&self.path, self.may_replace)?;
            names::publish(file, name.as_deref(), &self.path, self.may_replace).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => FileError::Exists {
                    path: self.path.clone(),
                },
                _ => FileError::Io {
                    path: self.path.clone(),
                    error,
                },
            })
        })?;
        if let Place::Hidden { file, .. } = std::mem::replace(&mut self.place, Place::Stdout) {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .custom_flags(nix::libc::O_PATH | nix::libc::O_NOFOLLOW);
            let by_name = options.open(&self.path).ok();
            self.place = Place::Shown { file, by_name };
        }
        Ok(())
    }

    /// Whether what was written under its name is there still; asked of one that grew for long.
    pub fn check_in_place(&self) -> Result<(), FileError> {
        let Place::Shown { file, by_name } = &self.place else {
            return Ok(());
        };
        if names::is_there(file, &self.path) {
            return Ok(());
        }
        let path = self.path.clone();
        if file.metadata().is_ok_and(|facts| facts.nlink() == 0) {
            return Err(FileError::Removed { path });
        }
        let to = by_name
            .as_ref()
            .and_then(|file| std::fs::read_link(names::of_descriptor(file)).ok());
        let to = to.filter(|to| names::is_there(file, to));
        Err(FileError::Moved { path, to })
    }

    /// Adds all of these bytes, or as many as there is room for: up to where `whole` says that a reader can follow, of the
    /// first so many of them. How many there are then is what `written` says.
    pub fn add_what_fits(&mut self, bytes: &[u8], whole: fn(&[u8]) -> usize) -> Result<(), FileError> {
        let before = self.written;
        let (Place::Hidden { file, .. } | Place::Shown { file, .. }) = &mut self.place else {
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
            Place::Hidden { file, .. } | Place::Shown { file, .. } => {
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
        if let Place::Hidden { name: Some(name), .. } = &self.place {
            let _ = privilege::to_write(|| std::fs::remove_file(name));
        }
    }
}

/// Under its name in the folder that everybody may write to; None: it was asked for there.
fn in_temporary_folder(path: &Path) -> Option<PathBuf> {
    let folder = Path::new("/tmp");
    (names::folder_of(path) != folder).then_some(folder.join(path.file_name()?))
}

/// Whether the same might be written elsewhere.
fn is_the_places(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), NotADirectory | PermissionDenied | ReadOnlyFilesystem)
}

fn whereto(to: Option<&Path>) -> String {
    to.map_or_else(|| "under its new name".to_owned(), |to| format!("in {}", to.display()))
}

/// Whether a file may come to stand there.
fn check(path: &Path, may_replace: bool) -> Result<(), FileError> {
    // A name with a slash at its end, or a dot behind that, can only be a folder's; `file_name` does not show it.
    let bytes = path.as_os_str().as_bytes();
    let is_folders = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    let path = || path.to_owned();
    let there = match std::fs::symlink_metadata(path()) {
        Ok(there) => there,
        Err(_) if is_folders => {
            let what = "a folder's name";
            return Err(FileError::NoFile { path: path(), what });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && path().file_name().is_some() => return Ok(()),
        Err(error) => return Err(FileError::of(&path(), error, privilege::became())),
    };
    let kind = there.file_type();
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
    if names::is_others(&path(), &there) {
        return Err(FileError::Others { path: path() });
    }
    if may_replace {
        Ok(())
    } else {
        Err(FileError::Exists { path: path() })
    }
}
