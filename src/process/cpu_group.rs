//! The control group that otop runs in, and how much of the CPUs it lets otop have: a quota, and in version 1 a share for
//! the real-time class. Knows nothing of the worker's group, nor of what otop needs.

use super::control_group::{Folder, Place, Version, line_of, mounts, places};
use std::path::{Path, PathBuf};

/// Where the folders of otop's group are; a machine may have both versions mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuGroup {
    folders: Vec<Folder>,
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
        CpuGroup::of(&super::control_group::groups("self"), &mounts())
    }

    /// From `/proc/self/cgroup` and `/proc/self/mountinfo`.
    fn of(groups: &str, mounts: &str) -> CpuGroup {
        let folders = places(groups, mounts, "cpu").filter_map(|place| match place {
            Place::Here(folder) => Some(folder),
            Place::Elsewhere => None,
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
            groups.filter_map(|group| quota_of(folder, group))
        });
        quotas.min_by(|one, other| one.cpus.total_cmp(&other.cpus))
    }

    /// None: nothing is known against it.
    pub fn no_realtime(&self) -> Option<NoRealtime> {
        // The kernel asks the task's own group alone (`sched_setscheduler` in kernel/sched/syscalls.c).
        self.folders.iter().find_map(|folder| {
            let file = folder.own.join("cpu.rt_runtime_us");
            (line_of(&file)? == "0").then(|| NoRealtime {
                outside: outside_of(folder, &folder.own),
                file,
            })
        })
    }
}

/// What one writes a process's number to for it to leave `group` for the uppermost one; None: it is that, or nothing
/// may be written here.
fn outside_of(folder: &Folder, group: &Path) -> Option<PathBuf> {
    let members = match folder.version {
        Version::One => "tasks",
        Version::Two => "cgroup.procs",
    };
    (folder.may_move && group != folder.mount).then(|| folder.mount.join(members))
}

fn quota_of(folder: &Folder, group: &Path) -> Option<Quota> {
    let (name, none, text, period) = match folder.version {
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
        outside: outside_of(folder, group),
    })
}
impl Quota {
    /// How often the group was made to wait for its next period; None: it is not said.
    pub fn throttled(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.file.with_file_name("cpu.stat")).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("nr_throttled "))?;
        count.trim().parse().ok()
    }
}

#[cfg(test)]
#[path = "cpu_group_tests.rs"]
mod tests;
