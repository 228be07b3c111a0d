//! Files that appear whole, replace nothing unasked, and say where they stayed.

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
    let (file, name) = names::create_named(names::folder_of(path), options.write(true).mode(0o600)).expect("opened");
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
        assert!(matches!(nowhere, Err(FileError::NoFolder { .. })));
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

#[test]
fn a_folder_that_is_not_there_is_named_and_made_where_that_may_be() {
    let folder = Folder::new("missing");
    let wanted = folder.0.join("a/b");
    let Err(error) = OutputFile::open(&wanted.join("x.svg"), false) else {
        panic!("there is no such folder");
    };
    assert!(
        error
            .to_string()
            .ends_with(&format!("there is no folder {}", wanted.display()))
    );
    assert!(
        matches!(error, FileError::NoFolder { may_be_made: true, .. }),
        "{error:?}"
    );
    assert_eq!(error.other_path(), Some(PathBuf::from("/tmp/x.svg")));
    std::fs::write(folder.0.join("file"), "").expect("written");
    assert!(!names::may_be_made(&folder.0.join("file/a")), "a file has no folders");
    assert!(names::may_be_made(Path::new("src/otop-none/a")), "a relative one");
}

#[test]
fn where_only_the_place_is_at_fault_there_is_another() {
    use nix::libc::{EACCES, EIO, ENOSPC, ENOTDIR, EROFS};
    let other = |path: &str, code| {
        let error = FileError::of(Path::new(path), io::Error::from_raw_os_error(code), None);
        error.other_path()
    };
    for code in [EACCES, EROFS, ENOTDIR] {
        assert_eq!(other("/etc/x.svg", code), Some(PathBuf::from("/tmp/x.svg")));
        assert_eq!(other("/tmp/x.svg", code), None, "it was asked for there");
    }
    for code in [ENOSPC, EIO] {
        assert_eq!(other("/etc/x.svg", code), None);
    }
}
