//! `otop --children --json`, followed: a document for each worker of a pool and each of its windows.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

/// `otop --json`, followed. Dropped: killed.
pub struct Followed {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Followed {
    pub fn below(pid: &str, more: &[&str]) -> Followed {
        let mut child = Command::new(super::OTOP)
            .args(["--pid", pid, "--children", "--json", "--window", "300ms"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("otop is built with its tests");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Followed { child, lines }
    }

    pub fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("UTF-8");
        Some(serde_json::from_str(&line).expect("a document"))
    }

    /// Reads until each of these has told its sessions, and nobody else has in the last rounds.
    pub fn until_it_is_about(&mut self, workers: &BTreeSet<i64>) {
        let mut rounds: BTreeMap<i64, usize> = BTreeMap::new();
        for _ in 0..400 {
            let document = self.next().expect("otop goes on");
            let pid = document["worker"]["pid"].as_i64().expect("a number");
            if !workers.contains(&pid) {
                // What it still had to say; from here on there must be nothing more of it.
                rounds.clear();
                continue;
            }
            if sessions(&document) == ["s-0", "s-1"] {
                *rounds.entry(pid).or_default() += 1;
            }
            if rounds.len() == workers.len() && rounds.values().all(|count| *count >= 3) {
                return;
            }
        }
        panic!("never about {workers:?} alone: {rounds:?}");
    }

    /// Reads until the newest documents of these processes have just these sessions, twice over, and nobody but them and
    /// `beside` has told of any meanwhile. Returns the newest of each.
    pub fn until_they_have(
        &mut self,
        expected: &BTreeMap<i64, Vec<String>>,
        beside: impl Fn(i64) -> bool,
    ) -> BTreeMap<i64, Value> {
        let mut rounds: BTreeMap<i64, usize> = BTreeMap::new();
        let mut newest = BTreeMap::new();
        let mut last = String::new();
        for _ in 0..600 {
            let document = self.next().expect("otop goes on");
            let pid = document["worker"]["pid"].as_i64().expect("a number");
            if beside(pid) {
                continue;
            }
            match expected.get(&pid).is_some_and(|sids| *sids == sessions(&document)) {
                true => *rounds.entry(pid).or_default() += 1,
                false => {
                    rounds.clear();
                    last = format!("{pid} has {:?}", sessions(&document));
                }
            }
            newest.insert(pid, document);
            if rounds.len() == expected.len() && rounds.values().all(|count| *count >= 2) {
                return newest;
            }
        }
        panic!("never {expected:?}: {last}");
    }

    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id()))
            .expect("it runs")
            .count()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn sessions(document: &Value) -> Vec<&str> {
    let rows = document["sessions"].as_array().expect("a list").iter();
    let mut ids: Vec<&str> = rows.filter_map(|row| row["session_id"].as_str()).collect();
    ids.sort_unstable();
    ids
}
