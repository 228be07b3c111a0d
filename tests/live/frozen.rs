//! A worker whose control group is frozen, as `docker pause` does it, by either version of the freezer: nobody is blamed, and
//! it is said, also where otop comes later. In groups of the test's own.

use crate::support::{FROM, Otop, Target, any_python, run, skip};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// A control group of the test's own, with its freezer. Dropped: thawed and gone, its members back in the uppermost one.
struct Group {
    folder: PathBuf,
    uppermost: PathBuf,
    is_second: bool,
}

impl Group {
    /// None: this version of the freezer is not to be had here.
    fn of(is_second: bool) -> Option<Group> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let uppermost = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (place, kind, options) = (words.next()?, words.next()?, words.next()?);
            let fits = match is_second {
                true => kind == "cgroup2",
                false => kind == "cgroup" && options.split(',').any(|option| option == "freezer"),
            };
            fits.then(|| PathBuf::from(place))
        })?;
        let folder = uppermost.join(format!("otop-frozen-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let group = Group {
            folder,
            uppermost,
            is_second,
        };
        group.folder.join(group.file()).exists().then_some(group)
    }

    fn file(&self) -> &'static str {
        if self.is_second {
            "cgroup.freeze"
        } else {
            "freezer.state"
        }
    }

    fn take_in(&self, pid: i32) -> bool {
        std::fs::write(self.folder.join("cgroup.procs"), pid.to_string()).is_ok()
    }

    fn freeze(&self) {
        let word = if self.is_second { "1" } else { "FROZEN" };
        std::fs::write(self.folder.join(self.file()), word).expect("a group of ours");
        let (file, said) = match self.is_second {
            true => ("cgroup.events", "frozen 1"),
            false => ("freezer.state", "FROZEN"),
        };
        while !std::fs::read_to_string(self.folder.join(file)).is_ok_and(|text| text.contains(said)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn thaw(&self) {
        let word = if self.is_second { "0" } else { "THAWED" };
        std::fs::write(self.folder.join(self.file()), word).expect("a group of ours");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.thaw();
        let members = std::fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        for member in members.lines() {
            let _ = std::fs::write(self.uppermost.join("cgroup.procs"), member);
        }
        let _ = std::fs::remove_dir(&self.folder);
    }
}

#[test]
fn a_frozen_worker_blames_nobody_and_is_said_to_be_frozen() {
    let Some(python) = any_python() else { return };
    let mut judged = 0;
    for is_second in [false, true] {
        let version = if is_second { 2 } else { 1 };
        // Somebody stands in a step of 20 ms nearly always. Begun before the group, so that it is thawed before it is ended.
        let target = Target::sessions(
            &python,
            "asyncio",
            &["--sessions", "4", "--busy", "0:95", "--step-ms", "20"],
        );
        // The second time the worker is put into its group when otop watches it already.
        let is_late = judged > 0;
        let mut otop = is_late.then(|| Otop::follow(target.pid, &FROM));
        if let Some(otop) = &mut otop {
            otop.until("all four", |document, _| document.rows().len() == 4);
        }
        let Some(group) = Group::of(is_second).filter(|group| group.take_in(target.pid)) else {
            // A machine mostly has one of the two.
            let _ = writeln!(
                std::io::stderr(),
                "skipped: the freezer of control groups, version {version}"
            );
            continue;
        };
        judged += 1;
        let mut otop = otop.unwrap_or_else(|| Otop::follow(target.pid, &FROM));
        otop.until("all four", |document, _| document.rows().len() == 4);
        for freeze in 1..=3 {
            group.freeze();
            std::thread::sleep(Duration::from_millis(700));
            group.thaw();
            otop.until("the block that it was", |_, blame| {
                let is_it = |block: &&serde_json::Value| block["duration_ms"].as_f64() >= Some(600.0);
                let blocks = blame.blocks.values().flatten().chain(&blame.nobody);
                blocks.filter(is_it).count() >= freeze
            });
        }
        let long = otop.blame.of_at_least(600.0);
        assert!(long.is_empty(), "version {version}: {long:?}");
        let stopped = otop.blame.nobody.iter().filter(|block| block["cause"] == "stopped");
        assert!(stopped.count() >= 3, "version {version}: {:?}", otop.blame.nobody);

        group.freeze();
        let pid = target.pid.to_string();
        let ran = run(&[&["--once", "--window", "300ms", "--pid", &pid], &FROM[..]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            ran.stdout.contains("THE WORKER IS FROZEN"),
            "version {version}: {ran:?}"
        );
        assert!(!ran.stdout.contains("SLOW"), "version {version}: {ran:?}");
        let ran = run(&["doctor", "--pid", &pid]);
        let file = group.folder.join(group.file());
        assert!(
            ran.stdout.contains("frozen with its control group")
                && ran.stdout.contains(&format!("tee {}", file.display())),
            "version {version}: {ran:?}"
        );
    }
    if judged == 0 {
        skip("the freezer of control groups: neither version may be used here");
    }
}
