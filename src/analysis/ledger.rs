//! What is kept of all the time since the attach, where a profile is wanted: sums that nobody folds, every stack, every
//! block, and every name. It grows with the time. Knows nothing of how a profile divides it.

use super::block_log::Entry;
use super::moment::{Moment, session_of};
use super::tally::Tally;
use crate::model::{Block, Labels, Nanos, Observation, SessionKey, StackSample, ThreadFacts, ThreadIndex};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stacks that are kept at most: an hour at 1 kHz. Those beyond count as dropped.
const MOST_STACKS: usize = 4_000_000;
/// Blocks that are kept at most: twenty a second for an hour.
const MOST_BLOCKS: usize = 72_000;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub whole: Tally,
    /// Wall-clock time of threads that run no loop, while they worked for a session, nanoseconds.
    pub spent: BTreeMap<(ThreadIndex, SessionKey), f64>,
    pub stacks: Vec<StackSample>,
    pub left_out: u64,
    pub blocks: Vec<Held>,
    pub labels: BTreeMap<SessionKey, Arc<Labels>>,
    /// Every thread that there was.
    pub threads: BTreeMap<ThreadIndex, ThreadFacts>,
}

/// A block, without its stack.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The loop that was blocked.
    pub thread: ThreadIndex,
    /// Whose stacks say why.
    pub held_by: ThreadIndex,
    pub culprit: Option<SessionKey>,
    pub began: Nanos,
    pub until: Nanos,
    pub block: Block,
}

impl Held {
    pub fn of(thread: ThreadIndex, entry: &Entry) -> Held {
        Held {
            thread,
            held_by: entry.held_by,
            culprit: entry.culprit,
            began: entry.began,
            until: entry.until,
            block: Block {
                stack: None,
                ..entry.block.clone()
            },
        }
    }
}

impl Ledger {
    pub fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Batch(batch) => {
                for facts in &batch.threads {
                    // Once a loop's thread, always one: its time was the loop's.
                    let was_loop = self.threads.get(&facts.index).is_some_and(|before| before.is_loop);
                    let facts = ThreadFacts {
                        is_loop: facts.is_loop || was_loop,
                        ..facts.clone()
                    };
                    self.threads.insert(facts.index, facts);
                }
            }
            Observation::Stacks(batch) => {
                let room = MOST_STACKS.saturating_sub(self.stacks.len()).min(batch.samples.len());
                self.stacks.extend(batch.samples.iter().take(room).cloned());
                self.left_out += (batch.samples.len() - room) as u64;
            }
            Observation::Labels(key, labels) => {
                self.labels.entry(*key).or_insert_with(|| Arc::clone(labels));
            }
            Observation::Census(census) => {
                for facts in &census.sessions {
                    self.labels.insert(facts.key, Arc::clone(&facts.labels));
                }
            }
            Observation::Waiting(_) | Observation::Dump(..) | Observation::Ended(_) => {}
        }
    }

    /// Takes one session sample.
    pub fn sample(&mut self, moment: &Moment<'_>, is_loop: bool) {
        if is_loop {
            return;
        }
        if let Some(session) = session_of(moment.sample.owner) {
            let excess = if moment.same_step_as_before() {
                moment.excess()
            } else {
                0.0
            };
            let spent = self.spent.entry((moment.sample.thread, session)).or_default();
            *spent += moment.period.0 as f64 + excess;
        }
    }

    /// Takes what a batch's samples booked.
    pub fn book(&mut self, booked: &Tally) {
        self.whole.merge(booked);
    }

    /// Takes a block that ended.
    pub fn block(&mut self, thread: ThreadIndex, entry: &Entry) {
        if self.blocks.len() < MOST_BLOCKS {
            self.blocks.push(Held::of(thread, entry));
        }
    }
}
