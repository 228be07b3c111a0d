//! The blocks: those that go on and the last ones that ended, with their verdicts, as `Block`s with names. Knows nothing
//! of how a stretch is found, nor of what its figures mean for a session.

use super::blocks::Stretch;
use super::culprit::{Verdict, judge};
use super::syscall_names;
use crate::model::{Block, Labels, Nanos, SessionKey, ThreadIndex};
use std::collections::{BTreeMap, VecDeque};

/// So many ended blocks are kept.
const KEPT: usize = 1000;

/// One block, and what a `Block` for readers does not say.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub culprit: Option<SessionKey>,
    step_session: Option<SessionKey>,
    holder_session: Option<SessionKey>,
    pub began: Nanos,
    pub until: Nanos,
    /// The number of the slice in which something was last told of it.
    told_in: u64,
    pub block: Block,
}

#[derive(Debug, Default)]
pub(super) struct BlockLog {
    /// Newest first.
    ended: VecDeque<Entry>,
    ongoing: BTreeMap<ThreadIndex, Entry>,
    /// So many blocks have been given a number.
    numbered: u64,
}

/// What the log has to ask others.
pub(super) struct Asked<'a> {
    /// The number of the slice that what is told now will lie in.
    pub slice: u64,
    pub threshold: Nanos,
    /// `CLOCK_REALTIME` seconds of an instant, given how long the machine had been suspended by then.
    pub wall_clock: &'a dyn Fn(Nanos, Nanos) -> f64,
    pub labels: &'a dyn Fn(SessionKey) -> Option<std::sync::Arc<Labels>>,
    pub thread: &'a dyn Fn(ThreadIndex) -> Option<String>,
}

impl BlockLog {
    /// Says what is known of a stretch that goes on, or that none does.
    pub fn ongoing(&mut self, thread: ThreadIndex, stretch: Option<&Stretch>, asked: &Asked<'_>) {
        let known = self.ongoing.remove(&thread);
        if let Some(mut entry) = stretch.and_then(|stretch| entry(stretch, true, asked)) {
            entry.block.id = self.number(known.as_ref(), &entry);
            self.ongoing.insert(thread, entry);
        }
    }

    /// Takes a stretch that ended; returns it if it was a block.
    pub fn ended(&mut self, thread: ThreadIndex, stretch: &Stretch, asked: &Asked<'_>) -> Option<&Entry> {
        let known = self.ongoing.remove(&thread);
        let mut entry = entry(stretch, false, asked)?;
        entry.block.id = self.number(known.as_ref(), &entry);
        self.ended.push_front(entry);
        self.ended.truncate(KEPT);
        self.ended.front()
    }

    /// The number of a block: the one that it was told of with before, or the next.
    fn number(&mut self, known: Option<&Entry>, entry: &Entry) -> u64 {
        match known.filter(|known| known.began == entry.began) {
            Some(known) => known.block.id,
            None => {
                self.numbered += 1;
                self.numbered
            }
        }
    }

    /// All, newest first: those that go on, then those that ended.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ongoing.values().chain(&self.ended)
    }

    pub fn going_on(&self) -> impl Iterator<Item = &Entry> {
        self.ongoing.values()
    }

    /// The blocks of a window that began with this slice, newest first: those that go on, and those that were told of
    /// since. An end is told a little after it was; so every end is in some tumbling window, and in no more than one.
    pub fn since(&self, slice: u64) -> Vec<Block> {
        let mut entries: Vec<&Entry> = self
            .entries()
            .filter(|entry| entry.block.ongoing || entry.told_in >= slice)
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.began));
        entries.into_iter().map(|entry| entry.block.clone()).collect()
    }

    /// The names of a session have become known: fills them in where they were missing.
    pub fn name(&mut self, key: SessionKey, labels: &Labels) {
        for entry in self.ongoing.values_mut().chain(self.ended.iter_mut()) {
            entry.name(key, labels);
        }
    }
}

impl Entry {
    fn name(&mut self, key: SessionKey, labels: &Labels) {
        let id = || Some(labels.session_id.clone());
        let block = &mut self.block;
        if self.culprit == Some(key) && block.session_id.is_none() {
            block.session_id = id();
            block.agent_name.clone_from(&labels.agent);
            block.tenant.clone_from(&labels.tenant);
        }
        if self.step_session == Some(key) && block.step_session_id.is_none() {
            block.step_session_id = id();
        }
        if self.holder_session == Some(key) && block.holder_session_id.is_none() {
            block.holder_session_id = id();
        }
    }
}

/// None: the stretch is too short to be a block.
fn entry(stretch: &Stretch, ongoing: bool, asked: &Asked<'_>) -> Option<Entry> {
    if stretch.duration() < asked.threshold {
        return None;
    }
    let parts = stretch.went.parts(ongoing);
    let verdict = judge(&parts, stretch.owner, asked.threshold);
    let mut entry = Entry {
        culprit: verdict.culprit,
        step_session: stretch.owner,
        holder_session: verdict.holder_session,
        began: stretch.began,
        until: stretch.until,
        told_in: asked.slice,
        block: block(stretch, ongoing, &verdict, asked),
    };
    for key in [verdict.culprit, stretch.owner, verdict.holder_session]
        .into_iter()
        .flatten()
    {
        if let Some(labels) = (asked.labels)(key) {
            entry.name(key, &labels);
        }
    }
    Some(entry)
}

/// The block without the sessions' names.
fn block(stretch: &Stretch, ongoing: bool, verdict: &Verdict, asked: &Asked<'_>) -> Block {
    Block {
        id: 0,
        culprit: verdict.culprit,
        session_id: None,
        agent_name: None,
        tenant: None,
        step_session_id: None,
        holder_session_id: None,
        holder_thread: verdict.holder.and_then(|holder| (asked.thread)(holder)),
        started_at: (!stretch.began_unseen).then(|| (asked.wall_clock)(stretch.began, stretch.suspended_before)),
        duration_ms: stretch.duration().as_millis_f64(),
        duration_is_lower_bound: stretch.began_unseen,
        ongoing,
        cause: verdict.cause,
        causes_ms: verdict.causes_ms,
        syscall: verdict.syscall.map(syscall_names::name),
        function: None,
        file: None,
        line: None,
        stack: None,
        waiting: None,
    }
}
