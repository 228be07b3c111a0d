//! What is kept of each thread between two samples. Knows nothing of sessions as rows, or of reports.

use super::accounting::CpuMeter;
use super::blocks::BlockMachine;
use super::moment::Before;
use super::tally::ThreadTally;
use crate::model::{Nanos, ThreadFacts, ThreadIndex};
use std::collections::BTreeMap;

/// A thread that was never announced is forgotten when it has not been sampled for so long.
const FORGET: Nanos = Nanos(10_000_000_000);

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
        self.by_index.remove(&index)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ThreadIndex, &Thread)> {
        self.by_index.iter().map(|(index, thread)| (*index, thread))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ThreadIndex, &mut Thread)> {
        self.by_index.iter_mut().map(|(index, thread)| (*index, thread))
    }

    /// Name and tid, `worker_0 (1234)`; None: it was never announced.
    pub fn name(&self, index: ThreadIndex) -> Option<String> {
        let facts = self.get(index)?.facts.as_ref()?;
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
        self.by_index.values().map(|thread| 1 + thread.meter.entries()).sum()
    }
}
