//! The control group that otop runs in, and how much of the CPUs it lets otop have: a quota, and in version 1 a share for
//! the real-time class. Knows nothing of the worker's group, nor of what otop needs.

use std::path::{Path, PathBuf};

/// Where the folders of otop's group are; a machine may have both versions mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuGroup {
    folders: Vec<Folder>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Folder {
    version: Version,
    /// Where the hierarchy is mounted, which is the uppermost group that can be seen.
    mount: PathBuf,
    may_move: bool,
    own: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// What a group and those around it may use, the tightest of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    pub cpus: f64,
    /// `cpu.max` or `cpu.cfs_quota_us`.
    pub file: PathBuf,
    /// As it stands there.
    pub text: String,
    /// What to write there for none.
    pub none: &'static str,
    /// What one writes a process's number to for it to be free of this; None: there is no such group to be seen.
    pub outside: Option<PathBuf>,
}

/// A group whose members get no real-time class, whatever else they may (`CONFIG_RT_GROUP_SCHED`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRealtime {
    /// `cpu.rt_runtime_us`, which is 0.
    pub file: PathBuf,
    /// As in `Quota`.
    pub outside: Option<PathBuf>,
}

impl CpuGroup {
    /// Otop's own. One that cannot be found has no folders, and nothing is known of it.
    pub fn own() -> CpuGroup {
        let text = |path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let groups = text("/proc/self/cgroup").unwrap_or_default();
        let mounts = text("/proc/self/mountinfo").unwrap_or_default();
        CpuGroup::of(&groups, &mounts)
    }

    /// From `/proc/self/cgroup` and `/proc/self/mountinfo`.
    fn of(groups: &str, mounts: &str) -> CpuGroup {
        let folders = groups.lines().filter_map(|line| {
            // `4:cpu,cpuacct:/docker/c0ffee`, and of version 2 `0::/user.slice` (cgroups(7)).
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, group) = (parts.next()?, parts.next()?);
            let version = match controllers {
                "" => Version::Two,
                names if names.split(',').any(|name| name == "cpu") => Version::One,
                _ => return None,
            };
            let (root, mount, options) = mounts.lines().rev().find_map(|line| mount_of(line, version))?;
            let below = Path::new(group).strip_prefix(root).ok()?;
            // A group that is above what is mounted (`/..`) has no folder here.
            let is_here = !below.components().any(|part| part == std::path::Component::ParentDir);
            is_here.then(|| Folder {
                version,
                mount: PathBuf::from(mount),
                may_move: options.split(',').any(|option| option == "rw"),
                own: Path::new(mount).join(below),
            })
        });
        CpuGroup {
            folders: folders.collect(),
        }
    }

    pub fn is_known(&self) -> bool {
        !self.folders.is_empty()
    }

    /// None: there is none, or it is not known.
    pub fn quota(&self) -> Option<Quota> {
        let quotas = self.folders.iter().flat_map(|folder| {
            let groups = folder.own.ancestors().filter(|group| group.starts_with(&folder.mount));
            groups.filter_map(|group| folder.quota_of(group))
        });
        quotas.min_by(|one, other| one.cpus.total_cmp(&other.cpus))
    }

    /// None: nothing is known against it.
    pub fn no_realtime(&self) -> Option<NoRealtime> {
        // The kernel asks the task's own group alone (`sched_setscheduler` in kernel/sched/syscalls.c).
        self.folders.iter().find_map(|folder| {
            let file = folder.own.join("cpu.rt_runtime_us");
            (line_of(&file)? == "0").then(|| NoRealtime {
                outside: folder.outside_of(&folder.own),
                file,
            })
        })
    }
}

impl Folder {
    /// What one writes a process's number to for it to leave `group` for the uppermost one; None: it is that, or nothing
    /// may be written here.
    fn outside_of(&self, group: &Path) -> Option<PathBuf> {
        let members = match self.version {
            Version::One => "tasks",
            Version::Two => "cgroup.procs",
        };
        (self.may_move && group != self.mount).then(|| self.mount.join(members))
    }

    fn quota_of(&self, group: &Path) -> Option<Quota> {
        let (name, none, text, period) = match self.version {
            Version::One => {
                let quota = line_of(&group.join("cpu.cfs_quota_us"))?;
                let period = line_of(&group.join("cpu.cfs_period_us"))?;
                ("cpu.cfs_quota_us", "-1", quota, period)
            }
            Version::Two => {
                let line = line_of(&group.join("cpu.max"))?;
                let (quota, period) = line.split_once(' ')?;
                ("cpu.max", "max", quota.to_owned(), period.to_owned())
            }
        };
        // Where there is none it is -1 in version 1, and `max` in version 2.
        let quota: u32 = text.parse().ok()?;
        let period: u32 = period.parse().ok().filter(|&period| period > 0)?;
        Some(Quota {
            cpus: f64::from(quota) / f64::from(period),
            file: group.join(name),
            text: format!("{quota} of {period} µs"),
            none,
            outside: self.outside_of(group),
        })
    }
}

impl Quota {
    /// How often the group was made to wait for its next period; None: it is not said.
    pub fn throttled(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.file.with_file_name("cpu.stat")).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("nr_throttled "))?;
        count.trim().parse().ok()
    }
}

/// Which group is mounted by this line of `mountinfo`, where and how; None: it is of another hierarchy.
fn mount_of(line: &str, version: Version) -> Option<(&str, &str, &str)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.nth(1)?);
    let is_it = match version {
        Version::One => name == "cgroup" && options.split(',').any(|option| option == "cpu"),
        Version::Two => name == "cgroup2",
    };
    let mut place = place.split(' ').skip(3);
    is_it.then_some((place.next()?, place.next()?, place.next()?))
}

fn line_of(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
#[path = "cpu_group_tests.rs"]
mod tests;
