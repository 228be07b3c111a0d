//! Which processes `/proc` shows to otop: whether it is mounted at all, whose numbers it has, whom it hides. Knows nothing of
//! any process but otop's own.

use super::gates::CAP_SYS_PTRACE;
use crate::model::Pid;

/// What `/proc` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    #[default]
    Whole,
    /// The processes of other users are not shown (`hidepid`).
    OwnAlone,
    /// It is of a PID namespace above otop's: what it calls 7 is not what the kernel calls 7 when otop asks.
    Outer,
    /// It is of a PID namespace in which otop is not.
    Foreign,
    NotMounted,
}

impl Sight {
    /// As a person is told it.
    pub fn told(self) -> &'static str {
        match self {
            Sight::Whole => "/proc shows all processes",
            Sight::OwnAlone => "/proc hides the processes of other users from this one (mounted with hidepid)",
            Sight::Outer => "/proc is that of a PID namespace around otop's",
            Sight::Foreign => "/proc is that of a PID namespace in which otop is not",
            Sight::NotMounted => "/proc is not mounted",
        }
    }
}

/// What decides it, as files have it.
struct Seen<'a> {
    /// `/proc/self/status`; None: there is none.
    status: Option<&'a str>,
    /// `/proc` has processes.
    has_numbers: bool,
    /// `/proc/self/mountinfo`.
    mounts: &'a str,
    /// The groups that otop is in.
    groups: &'a [u32],
}

pub fn sight() -> Sight {
    let status = std::fs::read("/proc/self/status").ok();
    let status = status.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let has_numbers = || {
        let entries = std::fs::read_dir("/proc").ok()?;
        let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Some(names.any(|name| name.parse::<u32>().is_ok()))
    };
    let mut groups: Vec<u32> = nix::unistd::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(nix::unistd::Gid::as_raw)
        .collect();
    groups.push(nix::unistd::getegid().as_raw());
    of(&Seen {
        has_numbers: status.is_some() || has_numbers().unwrap_or(false),
        status: status.as_deref(),
        mounts: &std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
        groups: &groups,
    })
}

/// Its numbers are those that the kernel has for otop, so that one number means one process.
pub fn has_own_numbers() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    status.is_some_and(|status| !is_outer(&status))
}

/// Otop's own number in `/proc`, whatever the kernel calls it.
pub fn own() -> Pid {
    let link = std::fs::read_link("/proc/self").ok();
    let number = link.and_then(|link| link.to_str()?.parse().ok());
    Pid(number.unwrap_or_else(|| i32::try_from(std::process::id()).unwrap_or(0)))
}

fn of(seen: &Seen) -> Sight {
    let Some(status) = seen.status else {
        return match seen.has_numbers {
            true => Sight::Foreign,
            false => Sight::NotMounted,
        };
    };
    if is_outer(status) {
        return Sight::Outer;
    }
    let effective = field(status, "CapEff:").and_then(|word| u64::from_str_radix(word, 16).ok());
    let may_ptrace = effective.is_some_and(|effective| effective & (1 << CAP_SYS_PTRACE) != 0);
    match hides(seen.mounts, seen.groups) && !may_ptrace {
        true => Sight::OwnAlone,
        false => Sight::Whole,
    }
}

/// `NSpid` has a number for each namespace from that of `/proc` to the process's own (Documentation/filesystems/proc.rst).
fn is_outer(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.is_some_and(|numbers| numbers.split_ascii_whitespace().count() > 1)
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()
}

/// What is mounted last at `/proc` hides others (fs/proc/root.c; in numbers before Linux 5.8), but for members of its group,
/// which is root's unless told. `ptraceable` makes no difference for a group.
fn hides(mounts: &str, groups: &[u32]) -> bool {
    let of_proc = |line: &&str| line.split(' ').nth(4) == Some("/proc") && line.contains(" - proc ");
    let Some(options) = mounts.lines().rfind(of_proc).and_then(|line| line.rsplit(' ').next()) else {
        return false;
    };
    let option = |name: &str| {
        let mut options = options.split(',').filter_map(|option| option.split_once('='));
        options.find(|(known, _)| *known == name).map(|(_, value)| value)
    };
    let group: u32 = option("gid").and_then(|gid| gid.parse().ok()).unwrap_or(0);
    match option("hidepid") {
        Some("1" | "2" | "noaccess" | "invisible") => !groups.contains(&group),
        Some("4" | "ptraceable") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight_of(status: Option<&str>, options: &str, groups: &[u32]) -> Sight {
        let mounts = format!(
            "24 1 0:5 / / rw - ext4 /dev/x rw,hidepid=2\n25 24 0:22 / /proc rw,nosuid - proc proc {options}\n\
             26 25 0:23 / /proc/sys rw - proc proc rw\n"
        );
        of(&Seen {
            status,
            has_numbers: status.is_some(),
            mounts: &mounts,
            groups,
        })
    }

    #[test]
    fn what_proc_hides_is_known_by_its_options_and_otops_rights() {
        let plain = "NSpid:\t7\nCapEff:\t0000000000000000\n";
        for (options, groups, expected) in [
            ("rw", &[65533][..], Sight::Whole),
            ("rw,hidepid=invisible", &[65533], Sight::OwnAlone),
            ("rw,hidepid=2", &[65533], Sight::OwnAlone),
            ("rw,hidepid=noaccess", &[65533], Sight::OwnAlone),
            ("rw,gid=7,hidepid=invisible", &[65533, 7], Sight::Whole),
            ("rw,hidepid=invisible", &[0], Sight::Whole),
            ("rw,gid=7,hidepid=ptraceable", &[7], Sight::OwnAlone),
            ("rw,hidepid=off", &[65533], Sight::Whole),
        ] {
            assert_eq!(sight_of(Some(plain), options, groups), expected, "{options}");
        }
        let with_the_right = "NSpid:\t7\nCapEff:\t0000000000080000\n";
        assert_eq!(sight_of(Some(with_the_right), "rw,hidepid=2", &[65533]), Sight::Whole);
    }

    #[test]
    fn whose_numbers_it_has_is_known_by_otops_own() {
        assert_eq!(sight_of(Some("NSpid:\t4711\t2\n"), "rw", &[0]), Sight::Outer);
        assert_eq!(sight_of(None, "rw", &[0]), Sight::NotMounted);
        let foreign = Seen {
            status: None,
            has_numbers: true,
            mounts: "",
            groups: &[],
        };
        assert_eq!(of(&foreign), Sight::Foreign);
    }

    #[test]
    fn here_one_number_means_one_process() {
        assert!(has_own_numbers());
        assert_eq!(u32::try_from(own().0), Ok(std::process::id()));
        assert!(matches!(sight(), Sight::Whole | Sight::OwnAlone));
    }
}
