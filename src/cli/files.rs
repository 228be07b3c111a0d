//! Files that otop writes: never over another one unasked, never through a symlink, and under sudo for the user who called
//! it. A file appears under its name when it is whole, or, if it is to grow, at once. Until then it has none, where the
//! file system can do that, so that nothing is left of it whatever ends otop; else one beside. One that is whole and cannot
//! be given its name stays under the one beside. Knows nothing of what is in it.

use crate::process::privilege;
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::unistd::{Gid, Uid, fchown, geteuid, linkat};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Stands for standard output.
const STDOUT: &str = "-";
/// Mode of a folder in which only its owner and a file's may remove or replace the file.
const STICKY: u32 = 0o1000;

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
            _ => FileError::Io { path, error },
        }
    }

    /// A path that can be written, where only the one that was asked for is in the way.
    pub fn other_path(&self) -> Option<PathBuf> {
        match self {
            FileError::Denied { path, .. } => Some(Path::new("/tmp").join(path.file_name()?)),
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
            let (file, name) = create(folder_of(path)).map_err(failed)?;
            let file = whole(Place::Hidden { file, name });
            if let Place::Hidden { file, .. } = &file.place {
                give_to_caller(file).map_err(failed)?;
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
            Place::Hidden { file, name } => privilege::to_write(|| beside(&self.path, &file, name)),
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
            publish(file, name.as_deref(), &self.path, self.may_replace).map_err(|error| match error.kind() {
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
        if is_there(file, &self.path) {
            return Ok(());
        }
        let path = self.path.clone();
        if file.metadata().is_ok_and(|facts| facts.nlink() == 0) {
            return Err(FileError::Removed { path });
        }
        let to = by_name
            .as_ref()
            .and_then(|file| std::fs::read_link(of_descriptor(file)).ok());
        let to = to.filter(|to| is_there(file, to));
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

fn whereto(to: Option<&Path>) -> String {
    to.map_or_else(|| "under its new name".to_owned(), |to| format!("in {}", to.display()))
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Whether this file has this name still.
fn is_there(file: &File, name: &Path) -> bool {
    let same = |one: std::fs::Metadata, other: std::fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    file.metadata()
        .and_then(|file| Ok(same(file, std::fs::symlink_metadata(name)?)))
        .unwrap_or(false)
}

/// Whether the kernel will let only another user replace this file, whoever may write to the folder.
fn is_others(path: &Path, file: &std::fs::Metadata) -> bool {
    let own = geteuid();
    let keeps = |folder: std::fs::Metadata| folder.mode() & STICKY != 0 && folder.uid() != own.as_raw();
    !own.is_root() && file.uid() != own.as_raw() && std::fs::metadata(folder_of(path)).is_ok_and(keeps)
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
    if is_others(&path(), &there) {
        return Err(FileError::Others { path: path() });
    }
    if may_replace {
        Ok(())
    } else {
        Err(FileError::Exists { path: path() })
    }
}

/// A new file in this folder, and its name, where the file system does not have any without.
fn create(folder: &Path) -> io::Result<(File, Option<PathBuf>)> {
    let mut options = OpenOptions::new();
    // What is in it is nobody's business but the caller's.
    options.write(true).mode(0o600);
    if let Ok(file) = options.custom_flags(nix::libc::O_TMPFILE).open(folder) {
        return Ok((file, None));
    }
    let (file, name) = create_named(folder, &mut options)?;
    Ok((file, Some(name)))
}

fn create_named(folder: &Path, options: &mut OpenOptions) -> io::Result<(File, PathBuf)> {
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
fn beside(path: &Path, file: &File, name: Option<PathBuf>) -> Option<PathBuf> {
    match name {
        Some(name) => Some(name).filter(|name| is_there(file, name)),
        None => Some(first_free(folder_of(path), |name| link(file, name)).ok()?.1),
    }
}

/// What leads to an open file, whatever it is called.
fn of_descriptor(file: &File) -> PathBuf {
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
fn publish(file: &File, name: Option<&Path>, to: &Path, may_replace: bool) -> io::Result<()> {
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

    /// As on a file system that has no files without a name.
    fn named(path: &Path, may_replace: bool) -> OutputFile {
        let mut options = OpenOptions::new();
        let (file, name) = create_named(folder_of(path), options.write(true).mode(0o600)).expect("opened");
        OutputFile {
            path: path.to_owned(),
            place: Place::Hidden { file, name: Some(name) },
            may_replace,
            written: 0,
        }
    }

    /// As one is opened here, and as where every file has a name.
    const WAYS: [fn(&Path, bool) -> OutputFile; 2] = [
        |path, may_replace| OutputFile::open(path, may_replace).expect("opened"),
        named,
    ];

    #[test]
    fn a_file_appears_when_it_is_whole_and_not_at_all_if_it_is_given_up() {
        let folder = Folder::new("whole");
        let path = folder.0.join("x.svg");
        for open in WAYS {
            let mut file = open(&path, false);
            file.add(b"one").expect("written");
            assert!(!path.exists());
            file.show().expect("shown");
            file.add(b"two").expect("written");
            assert_eq!(
                (std::fs::read(&path).expect("there"), file.written()),
                (b"onetwo".to_vec(), 6)
            );
            file.check_in_place().expect("it is there");
            drop(file);
            assert_eq!(folder.names(), ["x.svg"]);
            std::fs::remove_file(&path).expect("there");
        }
        for open in WAYS {
            drop(open(&folder.0.join("y.svg"), false));
        }
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }

    #[test]
    fn what_is_killed_while_it_writes_leaves_nothing_where_files_need_no_name() {
        let folder = Folder::new("killed");
        let mut file = OutputFile::open(&folder.0.join("x.svg"), false).expect("opened");
        file.add(b"one").expect("written");
        if let Place::Hidden { name: None, .. } = file.place {
            assert!(folder.names().is_empty(), "{:?}", folder.names());
        }
        // A kill runs no destructor.
        std::mem::forget(file);
    }

    #[test]
    fn what_was_there_is_replaced_by_leave_and_nothing_else_is_left() {
        let folder = Folder::new("leave");
        let path = folder.0.join("x.svg");
        std::fs::write(&path, "old").expect("written");
        for open in WAYS {
            let mut file = open(&path, true);
            file.add(b"new").expect("written");
            file.finish().expect("it may");
            drop(file);
            assert_eq!(std::fs::read(&path).expect("there"), b"new");
            assert_eq!(folder.names(), ["x.svg"]);
        }
    }

    #[test]
    fn one_that_was_taken_away_while_it_grew_is_not_said_to_be_there() {
        let folder = Folder::new("taken");
        let (path, other) = (folder.0.join("x.otop"), folder.0.join("y.otop"));
        let shown = || {
            let mut file = OutputFile::open(&path, false).expect("opened");
            file.show().expect("shown");
            file.add(b"an hour's").expect("written");
            file
        };
        let file = shown();
        std::fs::rename(&path, &other).expect("moved");
        let error = file.check_in_place().expect_err("moved");
        assert!(
            matches!(&error, FileError::Moved { to: Some(to), .. } if std::fs::canonicalize(&other).is_ok_and(|other| *to == other)),
            "{error}"
        );
        let file = shown();
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(file.check_in_place(), Err(FileError::Removed { .. })));
        // Another one in its place is not it.
        std::fs::write(&path, "another's").expect("written");
        assert!(matches!(file.check_in_place(), Err(FileError::Removed { .. })));
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

    #[test]
    fn what_is_whole_and_cannot_have_its_name_is_kept() {
        let folder = Folder::new("kept");
        let path = folder.0.join("x.svg");
        for open in WAYS {
            let mut file = open(&path, false);
            file.add(b"an hour's").expect("written");
            std::fs::write(&path, "another's").expect("written");
            let error = file.finish().expect_err("somebody's file is there");
            drop(file);
            let FileError::Kept { name, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(std::fs::read(name).expect("there"), b"an hour's");
            assert_eq!(std::fs::read(&path).expect("there"), b"another's");
            assert_eq!(error.other_path(), Some(folder.0.join("new-x.svg")));
            assert_eq!(folder.names().len(), 2);
            std::fs::remove_file(name).expect("there");
            std::fs::remove_file(&path).expect("there");
        }

        // Nothing is said to be kept that is not.
        let gone = folder.0.join("gone");
        std::fs::create_dir(&gone).expect("a new folder");
        let mut file = OutputFile::open(&gone.join("x.svg"), false).expect("opened");
        file.add(b"an hour's").expect("written");
        std::fs::remove_dir_all(&gone).expect("removed");
        assert!(matches!(file.finish(), Err(FileError::Io { .. })));
    }

    #[test]
    fn a_folder_s_name_is_refused_before_anything_is_written() {
        let folder = Folder::new("slash");
        std::fs::write(folder.0.join("there.svg"), "mine").expect("written");
        for name in ["x.svg/", "x.svg/.", "there.svg/", "x.svg//"] {
            let error = OutputFile::open(&folder.0.join(name), true).expect_err(name);
            assert!(matches!(error, FileError::NoFile { .. }), "{name}: {error}");
        }
        assert_eq!(folder.names(), ["there.svg"]);
    }

    #[test]
    fn who_gave_up_root_is_told_so_and_nobody_else() {
        let of = |code, user| FileError::of(Path::new("/root/w.svg"), io::Error::from_raw_os_error(code), user);
        let user = Some(Uid::from_raw(1000));
        for code in [nix::libc::EACCES, nix::libc::EPERM] {
            let error = of(code, user);
            assert!(matches!(error, FileError::Denied { .. }), "{error}");
            assert_eq!(error.other_path(), Some(PathBuf::from("/tmp/w.svg")));
            assert!(matches!(of(code, None), FileError::Io { .. }));
        }
        assert!(matches!(of(nix::libc::ENOSPC, user), FileError::Io { .. }));
    }
}
