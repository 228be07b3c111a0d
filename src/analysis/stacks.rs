//! The stacks of the last minute, by thread: where a block was held up, where a session runs, who called for the garbage
//! to be collected, and who waited. Knows nothing of how a block is found or judged.

use super::culprit::Collection;
use super::moment::session_of;
use crate::model::{
    Cause, Frame, Nanos, OwnCode, SessionKey, Stack, StackBatch, StackMode, State, ThreadIndex, Waiting,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Stacks are remembered for so long: longer than any window, and than most blocks.
const KEPT: Nanos = Nanos(60_000_000_000);
/// So many are remembered of a thread, at a rate at which that is less.
const MOST_SEEN: usize = 8_192;
/// A thread that ended is forgotten after so long: its last blocks are judged by then.
const ENDED: Nanos = Nanos(10_000_000_000);
/// So many looks at who waits.
const MOST_WAITS: usize = 1_000;
/// Threads that are remembered at most.
const MOST_THREADS: usize = 256;

/// One stack, and whose it was.
#[derive(Debug)]
struct Seen {
    at: Nanos,
    owner: Option<SessionKey>,
    state: State,
    collecting: bool,
    collects_explicitly: Option<bool>,
    /// None: not resolved.
    stack: Option<Arc<Stack>>,
}

#[derive(Debug, Default)]
pub(super) struct Stacks {
    by_thread: BTreeMap<ThreadIndex, VecDeque<Seen>>,
    waits: VecDeque<Waiting>,
    until: Nanos,
    mode: Option<StackMode>,
}

/// What the samples of one kind, taken together, show.
#[derive(Debug, Default)]
pub(super) struct Typical {
    /// Samples with a stack.
    pub resolved: usize,
    /// A stack with the line of own code that was seen most.
    pub stack: Option<Arc<Stack>>,
}

impl Stacks {
    pub fn observe(&mut self, batch: StackBatch) {
        self.until = self.until.max(batch.until);
        self.mode = Some(batch.mode);
        for sample in batch.samples {
            if !self.by_thread.contains_key(&sample.thread) && self.by_thread.len() >= MOST_THREADS {
                continue;
            }
            let seen = self.by_thread.entry(sample.thread).or_default();
            if seen.len() >= MOST_SEEN || seen.front().is_some_and(|first| sample.at - first.at > KEPT) {
                seen.pop_front();
            }
            // A clock that runs backwards stands still here, so that the order holds.
            let at = seen.back().map_or(sample.at, |last| last.at.max(sample.at));
            seen.push_back(Seen {
                at,
                owner: session_of(sample.owner),
                state: sample.state,
                collecting: sample.collecting,
                collects_explicitly: sample.collects_explicitly,
                stack: sample.stack,
            });
        }
    }

    pub fn waiting(&mut self, waiting: Waiting) {
        if self.waits.len() >= MOST_WAITS {
            self.waits.pop_front();
        }
        self.waits.push_back(waiting);
    }

    /// Forgets threads that are not known any more.
    pub fn forget(&mut self, now: Nanos, is_known: impl Fn(ThreadIndex) -> bool) {
        self.by_thread
            .retain(|thread, seen| is_known(*thread) || seen.back().is_some_and(|last| now - last.at < ENDED));
    }

    /// No stack that is older than this will follow.
    pub fn until(&self) -> Nanos {
        self.until
    }

    /// How they are read; None: none was yet.
    pub fn mode(&self) -> Option<StackMode> {
        self.mode
    }

    /// Where the thread was between two instants, while it did what it is blamed for; where it was not seen doing that,
    /// wherever it was. `syscall` is the call, if that is the cause.
    pub fn place(
        &self,
        thread: ThreadIndex,
        (from, to): (Nanos, Nanos),
        (cause, syscall): (Cause, Option<i32>),
        own: &OwnCode,
    ) -> Typical {
        let does_that = |seen: &&Seen| match cause {
            Cause::Cpu => seen.state == State::Runnable && !seen.collecting,
            Cause::Syscall => {
                matches!(seen.state, State::Syscall(number) if syscall.is_none_or(|asked| asked == number))
            }
            Cause::Gc => seen.collecting,
            _ => true,
        };
        let found = typical(self.during(thread, from, to).filter(does_that), own);
        match found.stack {
            Some(_) => found,
            None => typical(self.during(thread, from, to), own),
        }
    }

    /// Who called for the garbage that was collected between two instants.
    pub fn collection(&self, loop_thread: ThreadIndex, (from, to): (Nanos, Nanos)) -> Collection {
        let mut automatic: BTreeMap<(ThreadIndex, Option<SessionKey>), usize> = BTreeMap::new();
        let mut by_step = 0;
        let mut by_thread: BTreeMap<(ThreadIndex, Option<SessionKey>), usize> = BTreeMap::new();
        for thread in self.by_thread.keys() {
            for seen in self.during(*thread, from, to).filter(|seen| seen.collecting) {
                match seen.collects_explicitly {
                    Some(true) if *thread == loop_thread => by_step += 1,
                    Some(true) => *by_thread.entry((*thread, seen.owner)).or_default() += 1,
                    _ => *automatic.entry((*thread, seen.owner)).or_default() += 1,
                }
            }
        }
        let due = automatic.values().sum();
        let most =
            |by: BTreeMap<(ThreadIndex, Option<SessionKey>), usize>| by.into_iter().max_by_key(|(_, count)| *count);
        match most(by_thread) {
            Some(((thread, session), count)) if count > by_step.max(due) => Collection::ByThread(thread, session),
            _ if by_step > due => Collection::ByStep,
            _ => {
                let where_most = most(automatic).map(|(who, _)| who);
                Collection::Automatic(where_most.filter(|(thread, _)| *thread != loop_thread))
            }
        }
    }

    /// Where each session ran since `from`, with the number of its stacks.
    pub fn places_since(&self, from: Nanos, own: &OwnCode) -> HashMap<SessionKey, Typical> {
        let mut by_session: HashMap<SessionKey, Vec<&Seen>> = HashMap::new();
        for thread in self.by_thread.keys() {
            for seen in self.during(*thread, from, Nanos(u64::MAX)) {
                if let Some(owner) = seen.owner {
                    by_session.entry(owner).or_default().push(seen);
                }
            }
        }
        by_session
            .into_iter()
            .map(|(session, seen)| (session, typical(seen.into_iter(), own)))
            .collect()
    }

    /// How many sessions had something to do on this loop between two instants, `but` one; None: nobody looked, or
    /// nobody could tell.
    pub fn waited(&self, thread: ThreadIndex, (from, to): (Nanos, Nanos), but: Option<SessionKey>) -> Option<u64> {
        let mut all: Option<BTreeSet<SessionKey>> = None;
        for look in &self.waits {
            if look.thread == thread
                && (from..=to).contains(&look.at)
                && let Some(sessions) = &look.sessions
            {
                all.get_or_insert_default().extend(sessions);
            }
        }
        let mut all = all?;
        if let Some(but) = but {
            all.remove(&but);
        }
        Some(all.len() as u64)
    }

    /// Who was at the other end of what this thread waited for in this system call, between two instants: whom it waited
    /// for most often.
    pub fn peer(&self, thread: ThreadIndex, (from, to): (Nanos, Nanos), syscall: i32) -> Option<Arc<str>> {
        let looks = self
            .waits
            .iter()
            .filter(|look| look.thread == thread && (from..=to).contains(&look.at));
        let peers = looks
            .filter_map(|look| look.peer.as_ref())
            .filter(|peer| peer.syscall == syscall);
        let mut counts: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for peer in peers {
            *counts.entry(&peer.address).or_default() += 1;
        }
        counts
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(address, _)| Arc::clone(address))
    }

    fn during(&self, thread: ThreadIndex, from: Nanos, to: Nanos) -> impl Iterator<Item = &Seen> {
        let seen = self.by_thread.get(&thread);
        let first = seen.map_or(0, |seen| seen.partition_point(|seen| seen.at < from));
        seen.into_iter()
            .flat_map(move |seen| seen.range(first..))
            .take_while(move |seen| seen.at <= to)
    }

    /// Number of stacks that it holds.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.by_thread.values().map(VecDeque::len).sum::<usize>() + self.waits.len()
    }
}

/// The line of own code that was seen most, and of the stacks with it the one that was.
fn typical<'s>(seen: impl Iterator<Item = &'s Seen>, own: &OwnCode) -> Typical {
    let mut stacks: HashMap<*const Stack, (usize, &Arc<Stack>)> = HashMap::new();
    let mut resolved = 0;
    for stack in seen.filter_map(|seen| seen.stack.as_ref()) {
        resolved += 1;
        stacks.entry(Arc::as_ptr(stack)).or_insert((0, stack)).0 += 1;
    }
    let place = |stack: &Stack| -> Option<Arc<Frame>> {
        let place = own.place(&stack.frames)?;
        stack.frames.get(place).cloned()
    };
    let mut places: HashMap<Option<Arc<Frame>>, usize> = HashMap::new();
    for (count, stack) in stacks.values() {
        *places.entry(place(stack)).or_default() += count;
    }
    // Of equally many, the same one each time.
    let most = places
        .into_iter()
        .max_by(|(place, count), (other_place, other)| count.cmp(other).then_with(|| other_place.cmp(place)));
    let stack = most.and_then(|(most, _)| {
        stacks
            .into_values()
            .filter(|(_, stack)| place(stack) == most)
            .max_by(|(count, stack), (other, other_stack)| {
                count.cmp(other).then_with(|| other_stack.frames.cmp(&stack.frames))
            })
    });
    Typical {
        resolved,
        stack: stack.map(|(_, stack)| Arc::clone(stack)),
    }
}
