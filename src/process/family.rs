//! Which processes descend from another, and what memory is a process's own share. Knows nothing of what they run.

use super::{ProcessError, read};
use crate::model::Pid;
use std::collections::{BTreeSet, VecDeque};

/// A tree with more processes than this is looked at in part.
const MOST: usize = 4096;

/// The living processes below `root`, without it, ascending. One whose parent has ended belongs to somebody else and is
/// not among them. Never fails: what cannot be asked has no children.
pub fn below(root: Pid) -> Vec<Pid> {
    let mut found = BTreeSet::new();
    let mut queue = VecDeque::from([root]);
    while let Some(pid) = queue.pop_front() {
        for child in children(pid) {
            if found.len() >= MOST {
                return found.into_iter().collect();
            }
            // A number that is given out anew under the look could close a circle.
            if child != root && found.insert(child) {
                queue.push_back(child);
            }
        }
    }
    found.into_iter().collect()
}

/// Children stand with the thread that started them (`CONFIG_PROC_CHILDREN`).
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .filter_map(Result::ok)
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let numbers = list.split_ascii_whitespace().filter_map(|word| word.parse().ok());
            numbers.map(Pid).collect::<Vec<_>>()
        })
        .collect()
}

/// Proportional set size: its own pages, and of each page that it shares with others its share (`smaps_rollup`, Linux
/// 4.14 and later). The kernel walks all of its page tables for it, so it is not to be asked for often.
pub fn pss_bytes(pid: Pid) -> Result<u64, ProcessError> {
    let text = read::text(pid, "smaps_rollup")?;
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("Pss:")?
            .split_ascii_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    kib.map(|kib| kib.saturating_mul(1024)).ok_or(ProcessError::Unreadable {
        pid,
        file: "smaps_rollup",
        detail: "it has no Pss".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn children_and_theirs_are_found_and_have_a_share_of_memory() {
        let own = Pid(i32::try_from(std::process::id()).expect("a pid fits"));
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'echo up; read line'; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let pid = Pid(i32::try_from(shell.id()).expect("a pid fits"));
        let stdout = shell.stdout.as_mut().expect("piped");
        stdout
            .read_exact(&mut [0; 2])
            .expect("the inner one says that it is up");
        let inner = below(pid);
        assert_eq!(inner.len(), 1, "{inner:?}");
        let ours = below(own);
        assert!(
            ours.contains(&pid) && ours.contains(&inner[0]) && !ours.contains(&own),
            "{ours:?}"
        );
        assert!(pss_bytes(pid).expect("its share") > 0);
        drop(shell.stdin.take());
        shell.wait().expect("waited");
        assert_eq!(below(pid), []);
        assert!(pss_bytes(pid).is_err());
    }
}
