//! The last minutes as parts of a recording: packed, bounded in time and in bytes, and ready to be written. Knows nothing
//! of where they are written to.

use super::recorder::{Part, Recorder, begin, end};
use crate::model::{Batch, Hello, Labels, Nanos, Observation, Origin, SessionKey, ThreadFacts, ThreadIndex};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A part that is kept, and what had been said before it that is not said again.
#[derive(Debug)]
struct Kept {
    part: Part,
    /// How long the machine had been suspended before it, since the attach.
    suspended: Nanos,
}

/// Observations of the last minutes.
#[derive(Debug)]
pub struct Ring {
    longest: Nanos,
    most_bytes: usize,
    recorder: Recorder,
    parts: VecDeque<Kept>,
    bytes: usize,
    /// What the parts that were thrown away said once and for all, and what the kept ones say of it.
    said: Said,
    suspended: Nanos,
    suspended_before_open: Nanos,
}

/// What is said once: which threads there are, and what sessions are called.
#[derive(Debug, Default)]
struct Said {
    /// Threads by number, with the instant at which they ended.
    threads: BTreeMap<ThreadIndex, (ThreadFacts, Option<Nanos>)>,
    labels: BTreeMap<SessionKey, (Arc<Labels>, Nanos)>,
}

impl Ring {
    /// Keeps no more than this, whichever is reached first.
    pub fn new(longest: Nanos, most_bytes: usize) -> Ring {
        Ring {
            longest,
            most_bytes,
            recorder: Recorder::default(),
            parts: VecDeque::new(),
            bytes: 0,
            said: Said::default(),
            suspended: Nanos::ZERO,
            suspended_before_open: Nanos::ZERO,
        }
    }

    /// Takes an observation that came at this instant.
    pub fn take(&mut self, came: Nanos, observation: &Observation) {
        self.said.take(came, observation);
        if let Observation::Batch(batch) = observation {
            self.suspended += batch.ticks.iter().fold(Nanos::ZERO, |sum, tick| sum + tick.suspended);
        }
        if let Some(part) = self.recorder.take(came, observation) {
            self.keep(part);
        }
    }

    /// Bytes that it holds: packed parts, and what is being gathered.
    pub fn bytes(&self) -> usize {
        self.bytes + self.recorder.waiting()
    }

    /// How far back it reaches; None: it holds nothing yet.
    pub fn from(&self) -> Option<Nanos> {
        self.parts.front().map(|kept| kept.part.from)
    }

    /// A finished recording of what it holds, as if otop had attached where it begins.
    pub fn recording(&mut self, origin: &Origin, hello: &Hello, now: Nanos) -> Vec<u8> {
        if let Some(part) = self.recorder.close() {
            self.keep(part);
        }
        let Some(first) = self.parts.front() else {
            return [begin(origin, hello), end(now)].concat();
        };
        let from = first.part.from.max(hello.attached_at);
        let hello = Hello {
            attached_at: from,
            realtime_offset: hello.realtime_offset.saturating_add(i128::from(first.suspended.0)),
            ..hello.clone()
        };
        let mut bytes = begin(origin, &hello);
        bytes.extend(self.said.before(from));
        for kept in &self.parts {
            bytes.extend(&kept.part.bytes);
        }
        bytes.extend(end(now));
        bytes
    }

    fn keep(&mut self, part: Part) {
        self.bytes += part.bytes.len();
        let until = part.until;
        self.parts.push_back(Kept {
            part,
            suspended: self.suspended_before_open,
        });
        self.suspended_before_open = self.suspended;
        let is_too_much = |ring: &Ring| {
            ring.bytes > ring.most_bytes
                || ring
                    .parts
                    .front()
                    .is_some_and(|oldest| until - oldest.part.until > ring.longest)
        };
        while self.parts.len() > 1 && is_too_much(self) {
            if let Some(oldest) = self.parts.pop_front() {
                self.bytes -= oldest.part.bytes.len();
            }
        }
        if let Some(from) = self.from() {
            self.said.forget(from);
        }
    }
}

impl Said {
    fn take(&mut self, came: Nanos, observation: &Observation) {
        match observation {
            Observation::Batch(batch) => {
                for facts in &batch.threads {
                    self.threads.insert(facts.index, (facts.clone(), None));
                }
                for index in &batch.ended {
                    if let Some((_, ended)) = self.threads.get_mut(index) {
                        *ended = Some(came);
                    }
                }
            }
            Observation::Labels(key, labels) => {
                self.labels.insert(*key, (Arc::clone(labels), came));
            }
            Observation::Census(census) => {
                for facts in &census.sessions {
                    self.labels.insert(facts.key, (Arc::clone(&facts.labels), came));
                }
            }
            Observation::Stacks(_) | Observation::Waiting(_) | Observation::Dump(..) | Observation::Ended(_) => {}
        }
    }

    /// Forgets what ended before, and names that nobody has mentioned since: a session that lives is in every walk.
    fn forget(&mut self, from: Nanos) {
        self.threads
            .retain(|_, (_, ended)| ended.is_none_or(|ended| ended >= from));
        self.labels.retain(|_, (_, mentioned)| *mentioned >= from);
    }

    /// A part that says it all, as if it were new.
    fn before(&self, at: Nanos) -> Vec<u8> {
        let mut recorder = Recorder::default();
        let threads = self.threads.values().map(|(facts, _)| facts.clone()).collect();
        let batch = Batch {
            threads,
            ..Batch::default()
        };
        let mut bytes = Vec::new();
        let mut add = |part: Option<Part>| bytes.extend(part.map(|part| part.bytes).unwrap_or_default());
        add(recorder.take(at, &Observation::Batch(batch)));
        for (key, (labels, _)) in &self.labels {
            add(recorder.take(at, &Observation::Labels(*key, Arc::clone(labels))));
        }
        add(recorder.close());
        bytes
    }
}
