//! Where the control groups of a process are, of either version: which folder has the files of its group. Knows nothing of
//! what stands in them.

use std::path::{Component, Path, PathBuf};

/// The folder of a group, in a hierarchy that is mounted here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    pub version: Version,
    /// Where the hierarchy is mounted, which is the uppermost group that can be seen.
    pub mount: PathBuf,
    pub may_move: bool,
    pub own: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Where one of the groups of a process is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Here(Folder),
    /// Its hierarchy is not mounted here, or no farther up than below it.
    Elsewhere,
}

/// `/proc/PID/cgroup`; nothing, where it cannot be read.
pub(super) fn groups(process: &str) -> String {
    text(&format!("/proc/{process}/cgroup"))
}

/// What is mounted for otop.
pub(super) fn mounts() -> String {
    text("/proc/self/mountinfo")
}

fn text(path: &str) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The groups that a controller may act on: of version 1 the controller's own, and that of version 2. From the texts of
/// `groups` and `mounts`.
pub(super) fn places<'a>(groups: &'a str, mounts: &'a str, controller: &'a str) -> impl Iterator<Item = Place> + 'a {
    groups.lines().filter_map(move |line| {
        // `4:cpu,cpuacct:/docker/c0ffee`, and of version 2 `0::/user.slice` (cgroups(7)).
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let version = match controllers {
            "" => Version::Two,
            names if names.split(',').any(|name| name == controller) => Version::One,
            _ => return None,
        };
        Some(place(group, version, mounts, controller).map_or(Place::Elsewhere, Place::Here))
    })
}

fn place(group: &str, version: Version, mounts: &str, controller: &str) -> Option<Folder> {
    let mount_of = |line| mount_of(line, version, controller);
    let (root, mount, options) = mounts.lines().rev().find_map(mount_of)?;
    let below = Path::new(group).strip_prefix(root).ok()?;
    // A group that is above what is mounted (`/..`) has no folder here.
    let is_here = !below.components().any(|part| part == Component::ParentDir);
    is_here.then(|| Folder {
        version,
        mount: PathBuf::from(mount),
        may_move: options.split(',').any(|option| option == "rw"),
        own: Path::new(mount).join(below),
    })
}

/// Which group is mounted by this line of `mountinfo`, where and how; None: it is of another hierarchy.
fn mount_of<'a>(line: &'a str, version: Version, controller: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.nth(1)?);
    let is_it = match version {
        Version::One => name == "cgroup" && options.split(',').any(|option| option == controller),
        Version::Two => name == "cgroup2",
    };
    let mut place = place.split(' ').skip(3);
    is_it.then_some((place.next()?, place.next()?, place.next()?))
}

pub(super) fn line_of(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
