//! Whether a process is frozen with its control group (`docker pause`): then its threads stand still like stopped ones, but
//! no state of theirs says so. The files are found once and stay open, for they are asked from within ticks. Knows nothing
//! of what a thread did before.

use super::State;
use super::control_group::{self, Folder, Place, Version, line_of};
use crate::model::Pid;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What says it of one process. The default one knows nothing, and says no.
#[derive(Debug, Default)]
pub struct Freezer {
    groups: Vec<Group>,
    /// `/proc/PID/wchan` of the main thread: a group of the process may be out of sight, and the process may be put into another
    /// one when the files are open.
    wait: Option<File>,
}

#[derive(Debug)]
struct Group {
    folder: Folder,
    /// `freezer.state` of version 1, `cgroup.events` of version 2: both say it of the groups around this one too.
    file: File,
}

impl Freezer {
    pub fn of(pid: Pid) -> Freezer {
        let groups = control_group::groups(&pid.to_string());
        Freezer {
            groups: groups_of(&groups, &control_group::mounts()),
            wait: File::open(format!("/proc/{pid}/wchan")).ok(),
        }
    }

    /// A thread in this state is frozen. In version 1 it sleeps as if for a disk (`TASK_FROZEN`, before Linux 6.1
    /// `TASK_UNINTERRUPTIBLE`), in version 2 as if for anything (`do_freezer_trap` in kernel/signal.c): whoever runs, or
    /// is stopped, costs no look.
    pub fn holds(&self, state: State) -> bool {
        let version = match state {
            State::DiskSleep => Version::One,
            State::Sleeping => Version::Two,
            _ => return false,
        };
        let groups = self.groups.iter().filter(|group| group.folder.version == version);
        groups.into_iter().any(Group::is_frozen) || self.wait.as_ref().is_some_and(waits_frozen)
    }

    /// What lets it go on, the easiest first.
    pub fn thaw(&self) -> Vec<String> {
        let frozen = self.groups.iter().filter(|group| group.is_frozen());
        let by_hand: Vec<String> = frozen.filter_map(|group| thaw(&group.folder)).collect();
        let groups = by_hand.concat();
        let runtime = if groups.contains("libpod") { "podman" } else { "docker" };
        // Its runtime knows the container by the number that the group is called by.
        let container = groups
            .split(|letter: char| !letter.is_ascii_hexdigit())
            .find(|word| word.len() == 64);
        let unpause = match container.and_then(|number| number.get(..12)) {
            Some(number) => Some(format!("{runtime} unpause {number}")),
            None if by_hand.is_empty() => Some(format!("{runtime} unpause CONTAINER")),
            None => None,
        };
        unpause.into_iter().chain(by_hand).collect()
    }
}

/// Those that are in sight and have a freezer (the uppermost has none).
fn groups_of(groups: &str, mounts: &str) -> Vec<Group> {
    let mut found = Vec::new();
    for place in control_group::places(groups, mounts, "freezer") {
        let Place::Here(folder) = place else { continue };
        let name = match folder.version {
            Version::One => "freezer.state",
            Version::Two => "cgroup.events",
        };
        let file = File::open(folder.own.join(name)).ok();
        found.extend(file.map(|file| Group { folder, file }));
    }
    found
}

impl Group {
    fn is_frozen(&self) -> bool {
        let mut buffer = [0; 128];
        let mut lines = read(&self.file, &mut buffer).split(|byte| *byte == b'\n');
        match self.folder.version {
            // What waits on while the others are still on their way stands still too.
            Version::One => lines
                .next()
                .is_some_and(|state| matches!(state, b"FROZEN" | b"FREEZING")),
            Version::Two => lines.any(|line| line == b"frozen 1"),
        }
    }
}

/// Where the kernel has it wait: the freezer of version 1, or that of version 2, which the compiler may have put into its
/// caller.
fn waits_frozen(wait: &File) -> bool {
    let mut buffer = [0; 64];
    matches!(
        read(wait, &mut buffer).trim_ascii(),
        b"__refrigerator" | b"do_freezer_trap" | b"get_signal"
    )
}

fn read<'b>(file: &File, buffer: &'b mut [u8]) -> &'b [u8] {
    let length = file.read_at(buffer, 0).unwrap_or(0);
    buffer.get(..length).unwrap_or_default()
}

/// The command for the group that was frozen itself: this one or one around it.
fn thaw(folder: &Folder) -> Option<String> {
    let (asked, file, word) = match folder.version {
        Version::One => ("freezer.self_freezing", "freezer.state", "THAWED"),
        Version::Two => ("cgroup.freeze", "cgroup.freeze", "0"),
    };
    let around = folder
        .own
        .ancestors()
        .take_while(|group| group.starts_with(&folder.mount));
    let is_it = |group: &&Path| line_of(&group.join(asked)).as_deref() == Some("1");
    let group = around.into_iter().find(is_it)?;
    Some(format!("echo {word} | sudo tee {}", group.join(file).display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A hierarchy in a folder of the test's own, gone with it.
    struct Hierarchy(PathBuf);

    impl Hierarchy {
        fn new(name: &str, files: &[(&str, &str)]) -> Hierarchy {
            let path = std::env::temp_dir().join(format!("otop-freezer-{name}-{}", std::process::id()));
            for (file, text) in files {
                let file = path.join(file);
                std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
                std::fs::write(file, text).expect("written");
            }
            Hierarchy(path)
        }

        fn freezer(&self, groups: &str, kind: &str) -> Freezer {
            let mounts = format!("31 30 0:26 / {} rw - {kind}\n", self.0.display());
            let groups = groups_of(groups, &mounts);
            Freezer { groups, wait: None }
        }
    }

    impl Drop for Hierarchy {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const ONE: &str = "cgroup cgroup rw,freezer";
    const TWO: &str = "cgroup2 cgroup2 rw";

    #[test]
    fn version_one_says_it_and_the_group_that_was_frozen_is_named() {
        let files = [
            ("a/b/freezer.state", "FROZEN\n"),
            ("a/b/freezer.self_freezing", "0\n"),
            ("a/freezer.state", "FROZEN\n"),
            ("a/freezer.self_freezing", "1\n"),
            ("c/freezer.state", "THAWED\n"),
        ];
        let hierarchy = Hierarchy::new("one", &files);
        let frozen = hierarchy.freezer("9:cpu:/x\n6:freezer:/a/b\n", ONE);
        assert!(frozen.holds(State::DiskSleep));
        assert!(!frozen.holds(State::Running) && !frozen.holds(State::Stopped) && !frozen.holds(State::Sleeping));
        let path = hierarchy.0.display();
        assert_eq!(
            frozen.thaw(),
            [format!("echo THAWED | sudo tee {path}/a/freezer.state")]
        );
        std::fs::write(hierarchy.0.join("a/b/freezer.state"), "THAWED\n").expect("written");
        assert!(!frozen.holds(State::DiskSleep), "the file is read anew");
        assert!(!hierarchy.freezer("6:freezer:/c\n", ONE).holds(State::DiskSleep));
    }

    #[test]
    fn version_two_says_it_and_dockers_number_is_enough() {
        let scope = format!("system.slice/docker-{}.scope", "0123456789abcdef".repeat(4));
        let files = [
            (format!("{scope}/cgroup.events"), "populated 1\nfrozen 1\n"),
            (format!("{scope}/cgroup.freeze"), "1\n"),
            ("b/cgroup.events".to_owned(), "populated 1\nfrozen 0\n"),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let hierarchy = Hierarchy::new("two", &files);
        let frozen = hierarchy.freezer(&format!("0::/{scope}\n"), TWO);
        assert!(frozen.holds(State::Sleeping) && !frozen.holds(State::DiskSleep));
        let ways = frozen.thaw();
        assert_eq!(ways[0], "docker unpause 0123456789ab");
        assert!(ways[1].starts_with("echo 0 | sudo tee ") && ways[1].ends_with(".scope/cgroup.freeze"));
        assert!(!hierarchy.freezer("0::/b\n", TWO).holds(State::Sleeping));
    }

    /// A sidecar sees the worker's group above its own.
    #[test]
    fn a_group_out_of_sight_is_no_group_and_has_its_runtimes_way() {
        let hierarchy = Hierarchy::new("away", &[]);
        // The uppermost, which nobody freezes, is none.
        for groups in ["0::/../b\n", "6:freezer:/a\n", "", "0::/\n"] {
            let freezer = hierarchy.freezer(groups, TWO);
            assert!(freezer.groups.is_empty(), "{groups:?}");
            assert_eq!(freezer.thaw(), ["docker unpause CONTAINER"]);
        }
        assert!(!Freezer::of(Pid(i32::try_from(std::process::id()).expect("a pid fits"))).holds(State::Sleeping));
    }
}
