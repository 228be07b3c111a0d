//! The blocks: those that go on and the last ones that ended, with their verdicts, as `Block`s with names. Knows nothing
//! of how a stretch is found, nor of what its figures mean for a session.

use super::blocks::Stretch;
use super::culprit::{Verdict, judge};
use super::sessions::Sessions;
use super::stacks::Stacks;
use super::threads::Threads;
use super::{syscall_names, wall_clock};
use crate::model::{Block, Hello, Labels, Nanos, OUTER_FRAMES_CUT, OwnCode, SessionKey, Stack, ThreadIndex, Where};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// So many ended blocks are kept.
const KEPT: usize = 1000;

/// One block, and what a `Block` for readers does not say.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub culprit: Option<SessionKey>,
    step_session: Option<SessionKey>,
    holder_session: Option<SessionKey>,
    /// The loop's thread, or the one that held the GIL, if that is why.
    pub held_by: ThreadIndex,
    pub began: Nanos,
    pub until: Nanos,
    /// The number of the slice in which something was last told of it.
    told_in: u64,
    pub block: Block,
}

/// What a block that ended means for its culprit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    pub culprit: Option<SessionKey>,
    pub until: Nanos,
    pub duration_ms: f64,
    pub is_lower_bound: bool,
}

impl Charge {
    pub fn of(entry: &Entry) -> Charge {
        Charge {
            culprit: entry.culprit,
            until: entry.until,
            duration_ms: entry.block.duration_ms,
            is_lower_bound: entry.block.duration_is_lower_bound,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct BlockLog {
    /// Newest first.
    ended: VecDeque<Entry>,
    /// By the loop's thread, and when they began.
    ongoing: BTreeMap<(ThreadIndex, Nanos), Entry>,
    /// So many blocks have been given a number.
    numbered: u64,
}

/// What the log has to ask others.
pub(super) struct Asked<'a> {
    /// The number of the slice that what is told now will lie in.
    pub slice: u64,
    pub threshold: Nanos,
    /// What the hypervisor had taken when it was last asked.
    pub steal: Option<Nanos>,
    pub hello: &'a Hello,
    pub sessions: &'a Sessions,
    pub threads: &'a Threads,
    pub stacks: &'a Stacks,
    pub own: &'a OwnCode,
}

impl BlockLog {
    /// Takes the stretches that go on, all of them.
    pub fn go_on<'s>(&mut self, stretches: impl Iterator<Item = (ThreadIndex, &'s Stretch)>, asked: &Asked<'_>) {
        let mut known = std::mem::take(&mut self.ongoing);
        for (thread, stretch) in stretches {
            let Some(mut entry) = entry(thread, stretch, true, asked) else {
                continue;
            };
            let key = (thread, stretch.began);
            entry.block.id = self.number(known.remove(&key).as_ref());
            self.ongoing.insert(key, entry);
        }
    }

    /// Takes a stretch that ended; returns it if it was a block.
    pub fn ended(&mut self, thread: ThreadIndex, stretch: &Stretch, asked: &Asked<'_>) -> Option<&Entry> {
        let known = self.ongoing.remove(&(thread, stretch.began));
        let mut entry = entry(thread, stretch, false, asked)?;
        entry.block.id = self.number(known.as_ref());
        self.ended.push_front(entry);
        self.ended.truncate(KEPT);
        self.ended.front()
    }

    /// The number of a block: the one that it was told of with before, or the next.
    fn number(&mut self, known: Option<&Entry>) -> u64 {
        known.map_or_else(
            || {
                self.numbered += 1;
                self.numbered
            },
            |known| known.block.id,
        )
    }

    /// All, newest first: those that go on, then those that ended.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ongoing.values().chain(&self.ended)
    }

    /// Those that go on, with the loop's thread.
    pub fn ongoing(&self) -> impl Iterator<Item = (ThreadIndex, &Entry)> {
        self.ongoing.iter().map(|((thread, _), entry)| (*thread, entry))
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
    fn place(&mut self, stack: &Stack, own: &OwnCode) {
        let place = own.place(&stack.frames).and_then(|place| stack.frames.get(place));
        if let Some(frame) = place {
            self.block.function = Some(Arc::clone(&frame.function));
            self.block.file = Some(Arc::clone(&frame.file));
            self.block.line = (frame.line > 0).then_some(frame.line);
        }
        let cut = stack.is_cut.then(|| Where {
            function: Some(OUTER_FRAMES_CUT.into()),
            file: None,
            line: None,
            state: None,
        });
        let frames = stack.frames.iter().map(|frame| Where::of(frame));
        self.block.stack = Some(frames.chain(cut).collect());
    }

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
fn entry(thread: ThreadIndex, stretch: &Stretch, ongoing: bool, asked: &Asked<'_>) -> Option<Entry> {
    if stretch.duration() < asked.threshold {
        return None;
    }
    let when = (stretch.began, stretch.until);
    let parts = stretch.went.parts(ongoing, asked.steal);
    let collection = asked.stacks.collection(thread, when);
    let verdict = judge(&parts, stretch.owner(), collection, asked.threshold);
    let mut entry = Entry {
        culprit: verdict.culprit,
        step_session: stretch.owner(),
        holder_session: verdict.grounds.holder,
        held_by: verdict.holder.unwrap_or(thread),
        began: stretch.began,
        until: stretch.until,
        told_in: asked.slice,
        block: block(stretch, ongoing, &verdict, asked),
    };
    // While the loop waits for the GIL, it is the holder's line that says why.
    let what = (verdict.grounds.blamed_for, verdict.syscall);
    if let Some(stack) = asked.stacks.place(entry.held_by, when, what, asked.own).stack {
        entry.place(&stack, asked.own);
    }
    if let (Some(number), Some(syscall)) = (verdict.syscall, &mut entry.block.syscall)
        && let Some(peer) = asked.stacks.peer(thread, when, number)
    {
        syscall.push(' ');
        syscall.push_str(&peer);
    }
    entry.block.waiting = asked.stacks.waited(thread, when, verdict.culprit.or(stretch.owner()));
    for key in [verdict.culprit, stretch.owner(), verdict.grounds.holder]
        .into_iter()
        .flatten()
    {
        if let Some(labels) = asked.sessions.labels(key) {
            entry.name(key, &labels);
        }
    }
    Some(entry)
}

/// The block without the sessions' names, and without its place.
fn block(stretch: &Stretch, ongoing: bool, verdict: &Verdict, asked: &Asked<'_>) -> Block {
    Block {
        id: 0,
        culprit: verdict.culprit,
        grounds: verdict.grounds,
        session_id: None,
        agent_name: None,
        tenant: None,
        step_session_id: None,
        holder_session_id: None,
        holder_thread: verdict.holder.and_then(|holder| asked.threads.name(holder)),
        started_at: (!stretch.began_unseen).then(|| wall_clock(asked.hello, stretch.began, stretch.suspended_before)),
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
