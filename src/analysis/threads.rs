//! What is kept of each thread between two samples. Knows nothing of sessions as rows, or of reports.

use super::accounting::CpuMeter;
use super::blocks::BlockMachine;
use super::moment::Before;
use super::tally::ThreadTally;
use crate::model::{Nanos, ThreadFacts, ThreadIndex};
use std::collections::{BTreeMap, VecDeque};

/// A thread that was never announced is forgotten when it has not been sampled for so long.
const FORGET: Nanos = Nanos(10_000_000_000);

/// So many threads that ended are still known by name: a block that one of them made is judged after it is gone.
const ENDED_NAMES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Thread {
    pub facts: Option<ThreadFacts>,
    pub before: Option<Before>,
    pub meter: CpuMeter,
    pub blocks: BlockMachine,
    /// What was booked of it since the last batch.
    pub tally: ThreadTally,
}

#[derive(Debug, Default)]
pub(super) struct Threads {
    by_index: BTreeMap<ThreadIndex, Thread>,
    /// The last ones that ended, the oldest first.
    ended: VecDeque<ThreadFacts>,
}

impl Thread {
    pub fn is_loop(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.is_loop)
    }
}

impl Threads {
    pub fn announce(&mut self, facts: &ThreadFacts) -> &mut Thread {
        let thread = self.by_index.entry(facts.index).or_default();
        thread.facts = Some(facts.clone());
        thread
    }

    /// The thread, known or not.
    pub fn entry(&mut self, index: ThreadIndex) -> &mut Thread {
        self.by_index.entry(index).or_default()
    }

    pub fn get(&self, index: ThreadIndex) -> Option<&Thread> {
        self.by_index.get(&index)
    }

    pub fn remove(&mut self, index: ThreadIndex) -> Option<Thread> {
        let thread = self.by_index.remove(&index)?;
        if let Some(facts) = &thread.facts {
            if self.ended.len() >= ENDED_NAMES {
                self.ended.pop_front();
            }
            self.ended.push_back(facts.clone());
        }
        Some(thread)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ThreadIndex, &Thread)> {
        self.by_index.iter().map(|(index, thread)| (*index, thread))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ThreadIndex, &mut Thread)> {
        self.by_index.iter_mut().map(|(index, thread)| (*index, thread))
    }

    /// Name and tid, `worker_0 (1234)`, of one that lives or ended lately; None: it was never announced.
    pub fn name(&self, index: ThreadIndex) -> Option<String> {
        let living = self.get(index).and_then(|thread| thread.facts.as_ref());
        let facts = living.or_else(|| self.ended.iter().rev().find(|facts| facts.index == index))?;
        Some(format!("{} ({})", facts.name, facts.tid))
    }

    /// Those that nobody will announce the end of.
    pub fn forgotten(&self, now: Nanos) -> Vec<ThreadIndex> {
        self.iter()
            .filter(|(_, thread)| thread.facts.is_none() && thread.before.is_none_or(|before| now - before.at > FORGET))
            .map(|(index, _)| index)
            .collect()
    }

    #[cfg(test)]
    pub fn entries(&self) -> usize {
        let living: usize = self.by_index.values().map(|thread| 1 + thread.meter.entries()).sum();
        living + self.ended.len()
    }
}
