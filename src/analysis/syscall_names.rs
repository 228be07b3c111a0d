//! Names of the x86-64 system calls. Knows nothing else.

/// Number and name, as `arch/x86/entry/syscalls/syscall_64.tbl` has them up to Linux 6.17. All of them: a thread that is
/// stopped, or kept from its CPU, can be found in any.
const NAMES: &str = include_str!("syscall_names.txt");

/// The name of a system call, or its number where it has none here.
pub(super) fn name(number: i32) -> String {
    let digits = number.to_string();
    let mut lines = NAMES.lines().filter_map(|line| line.split_once(' '));
    match lines.find(|(known, _)| *known == digits) {
        Some((_, name)) => name.to_owned(),
        None => format!("syscall {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_number() {
        let numbers: Vec<i32> = NAMES
            .lines()
            .map(|line| {
                line.split_once(' ')
                    .and_then(|(number, _)| number.parse().ok())
                    .expect(line)
            })
            .collect();
        assert!(numbers.is_sorted_by(|one, other| one < other));
        assert!(
            (0..=334).all(|number| numbers.contains(&number)),
            "no hole among the old ones"
        );
        for (number, expected) in [
            (0, "read"),
            (45, "recvfrom"),
            (228, "clock_gettime"),
            (230, "clock_nanosleep"),
            (441, "epoll_pwait2"),
            (-1, "syscall -1"),
        ] {
            assert_eq!(name(number), expected);
        }
    }
}
