//! Hierarchies as the kernel shows them, in a folder of the test's own.

use super::*;

/// A hierarchy, gone with the test.
struct Hierarchy(PathBuf);

impl Hierarchy {
    fn new(name: &str, files: &[(&str, &str)]) -> Hierarchy {
        let path = std::env::temp_dir().join(format!("otop-group-{name}-{}", std::process::id()));
        for (file, text) in files {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, text).expect("written");
        }
        Hierarchy(path)
    }

    fn mounts(&self, root: &str, kind: &str) -> String {
        let here = self.0.display();
        format!("30 24 0:25 / /sys rw - sysfs sysfs rw\n31 30 0:26 {root} {here} rw,nosuid shared:9 - {kind}\n")
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const ONE: &str = "cgroup cgroup rw,cpu,cpuacct";
const TWO: &str = "cgroup2 cgroup2 rw";

#[test]
fn the_tightest_of_the_groups_around_it_counts() {
    let files = [
        ("a/b/cpu.cfs_quota_us", "-1\n"),
        ("a/b/cpu.cfs_period_us", "100000\n"),
        ("a/cpu.cfs_quota_us", "5000\n"),
        ("a/cpu.cfs_period_us", "100000\n"),
        ("a/cpu.stat", "nr_periods 9\nnr_throttled 7\nthrottled_time 1\n"),
        ("cpu.cfs_quota_us", "-1\n"),
        ("cpu.cfs_period_us", "100000\n"),
    ];
    let hierarchy = Hierarchy::new("tightest", &files);
    let group = CpuGroup::of(
        "9:name=systemd:/x\n4:cpu,cpuacct:/a/b\n0::/\n",
        &hierarchy.mounts("/", ONE),
    );
    let quota = group.quota().expect("there is one");
    assert_eq!((quota.cpus, quota.throttled()), (0.05, Some(7)));
    assert_eq!(quota.text, "5000 of 100000 µs");
    assert_eq!((quota.file, quota.none), (hierarchy.0.join("a/cpu.cfs_quota_us"), "-1"));
    assert_eq!(quota.outside, Some(hierarchy.0.join("tasks")));
}

#[test]
fn a_container_sees_its_own_group_as_the_uppermost() {
    let files = [("cpu.max", "50000 100000\n"), ("cpu.rt_runtime_us", "0\n")];
    let hierarchy = Hierarchy::new("container", &files);
    for (groups, root, kind) in [
        ("0::/\n", "/", TWO),
        ("0::/docker/c0ffee\n", "/docker/c0ffee", TWO),
        ("0::/docker/c0ffee\n1:cpuset:/\n", "/docker/c0ffee", TWO),
    ] {
        let group = CpuGroup::of(groups, &hierarchy.mounts(root, kind));
        let quota = group.quota().expect("there is one");
        assert_eq!(quota.cpus, 0.5, "{groups}");
        assert_eq!((quota.file, quota.none), (hierarchy.0.join("cpu.max"), "max"));
        assert_eq!(quota.outside, None, "there is no group to move to");
    }
}

#[test]
fn no_share_of_the_real_time_class_is_seen_in_the_own_group_alone() {
    let files = [("cpu.rt_runtime_us", "950000\n"), ("a/cpu.rt_runtime_us", "0\n")];
    let hierarchy = Hierarchy::new("realtime", &files);
    let of = |groups: &str| CpuGroup::of(groups, &hierarchy.mounts("/", ONE)).no_realtime();
    assert_eq!(of("1:cpu:/\n"), None);
    let refused = of("1:cpu:/a\n").expect("0 is none");
    assert_eq!(refused.file, hierarchy.0.join("a/cpu.rt_runtime_us"));
    assert_eq!(refused.outside, Some(hierarchy.0.join("tasks")));
    let closed = hierarchy.mounts("/", ONE).replace(" rw,nosuid ", " ro,nosuid ");
    let refused = CpuGroup::of("1:cpu:/a\n", &closed).no_realtime().expect("the same");
    assert_eq!(refused.outside, None, "nothing may be written there");
}

#[test]
fn what_is_not_there_or_is_not_understood_is_not_known() {
    let hierarchy = Hierarchy::new("unknown", &[("cpu.max", "many 0\n"), ("a/cpu.max", "1 0\n")]);
    let mounts = hierarchy.mounts("/", TWO);
    for groups in ["", "0", "0::", "x:y", "1:cpuset:/\n"] {
        assert_eq!(CpuGroup::of(groups, &mounts).quota(), None, "{groups:?}");
    }
    assert_eq!(CpuGroup::of("0::/a\n", &mounts).quota(), None);
    assert!(!CpuGroup::of("0::/../b\n", &mounts).is_known(), "it is above");
    assert!(!CpuGroup::of("0::/a\n", "").is_known());
    assert!(!CpuGroup::of("0::/a\n", "31 30 0:26 / - \n - cgroup2\n").is_known());
}

#[test]
fn asking_for_the_own_group_never_fails() {
    let group = CpuGroup::own();
    assert!(group.quota().is_none_or(|quota| quota.cpus >= 0.0));
}
