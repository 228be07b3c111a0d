//! The worker's Python threads, followed from survey to survey: which they are, which run a loop, and what is remembered
//! of each from tick to tick. Knows nothing of sessions.

use super::attach::{Plan, own_number};
use super::foreseen::Foreseen;
use super::said::Said;
use crate::asyncio::{EventLoop, StepTracker, describe, running_loop_address};
use crate::cpython::{Heap, ONE_WALK, ThreadState};
use crate::memory::Fault;
use crate::model::{Addr, Batch, Nanos, ThreadFacts, ThreadIndex, Tid};
use crate::process::{self, ThreadClock};
use std::collections::HashMap;

/// A thread that has not run in a session for this many ticks is no longer asked what it does.
pub(super) const QUIET_TICKS: u32 = 2_000;

/// Contexts within contexts, before a chain is called damage.
pub(super) const DEEPEST_CONTEXT: usize = 32;

/// Surveys for which a thread that does not yet say who it is keeps the list stale.
const NEW: u32 = 20;

/// One thread.
pub(super) struct Thread {
    pub state: ThreadState,
    pub index: ThreadIndex,
    pub tid: Option<Tid>,
    pub clock: Option<ThreadClock>,
    pub event_loop: Option<EventLoop>,
    pub tracker: StepTracker,
    /// The words of the last tick, and whether they were of no step.
    pub last: (Addr, u64),
    pub last_idle: bool,
    /// They were the same at the tick before.
    pub stands: bool,
    /// When it was last seen to have entered or left a context since the tick before.
    pub went_on_at: Nanos,
    /// What it was found asleep in, and how often it had been given a CPU by then.
    pub slept: Option<(u64, Said)>,
    /// What its account was just before this tick's first read, where it was asked for then.
    pub account: Option<(Nanos, Nanos, u64)>,
    /// It was asleep already before its words were read last, and had not run by the end of that tick.
    pub rests: bool,
    /// The context that the thread has when it is in none that was entered.
    pub base: Addr,
    /// Its base context names a session.
    pub base_is_named: bool,
    /// Ticks since it last ran in a session.
    pub quiet: u32,
    /// Ticks that it has slept in one step.
    pub asleep: u32,
    /// Its time on a CPU at the last tick.
    pub ran: Option<Nanos>,
    /// Its stack pointer where it waits for something to do.
    pub sleeps_at: Option<u64>,
    /// Where its next steps are likely to run.
    pub foreseen: Foreseen,
    /// Surveys that it was in.
    surveys: u32,
}

/// All of them, newest first as CPython lists them.
pub(super) struct Threads {
    pub all: Vec<Thread>,
    /// The newest thread state at the last survey.
    pub newest: Addr,
    /// The list must be read anew before the next tick.
    pub stale: bool,
}

impl Threads {
    pub fn new() -> Threads {
        Threads {
            all: Vec::new(),
            newest: Addr::NULL,
            stale: true,
        }
    }

    /// Looks which threads there are and which run a loop; says in `batch` what changed.
    pub fn survey(&mut self, plan: &Plan, heap: &Heap, batch: &mut Batch) -> Result<(), Fault> {
        heap.grant(ONE_WALK);
        let states = match heap.thread_states(&plan.runtime) {
            Ok(states) => states,
            Err(Fault::Gone) => return Err(Fault::Gone),
            // The list changed under the read; the next survey will do.
            Err(_) => return Ok(()),
        };
        self.stale = false;
        self.newest = states.first().map_or(Addr::NULL, |s| s.address);
        let same = |a: &ThreadState, b: &ThreadState| a.address == b.address && a.id == b.id;
        self.all.retain(|thread| {
            let there = states.iter().any(|s| same(s, &thread.state));
            if !there {
                batch.ended.push(thread.index);
            }
            there
        });
        for state in told_apart(states) {
            let known = self.all.iter().position(|thread| same(&thread.state, &state));
            let slot = known.unwrap_or(self.all.len());
            if known.is_none() {
                self.all.push(Thread::new(state));
            }
            let Some(thread) = self.all.get_mut(slot) else { continue };
            thread.state = state;
            thread.refresh(plan, heap, batch);
            // One that has only just been started says in a moment who it is.
            thread.surveys = thread.surveys.saturating_add(1);
            self.stale |= thread.tid.is_none() && thread.surveys < NEW;
        }
        Ok(())
    }
}

impl Thread {
    fn new(state: ThreadState) -> Thread {
        Thread {
            state,
            index: thread_index(&state),
            tid: None,
            clock: None,
            event_loop: None,
            tracker: StepTracker::new(),
            last: (Addr::NULL, 0),
            last_idle: false,
            stands: false,
            went_on_at: Nanos::ZERO,
            slept: None,
            account: None,
            rests: false,
            base: Addr::NULL,
            base_is_named: false,
            quiet: QUIET_TICKS,
            asleep: 0,
            ran: None,
            sleeps_at: None,
            foreseen: Foreseen::default(),
            surveys: 0,
        }
    }

    /// Whether the kernel is asked of it at every tick.
    pub fn matters(&self) -> bool {
        self.event_loop.is_some() || self.quiet < QUIET_TICKS
    }

    /// Since 3.14 `threading.Thread` enters a context of its own before it runs anything (Lib/threading.py:
    /// `_bootstrap_inner`), so that the outermost context of such a thread, entered from none, is no step. NULL where it
    /// is not so, or not known.
    pub fn base_of_started(&self, plan: &Plan, heap: &Heap, context: Addr, previous: Addr) -> Addr {
        let is_main = self.tid.is_none_or(|tid| tid.0 == plan.pid.0);
        if is_main || !plan.version.at_least(3, 14) {
            return Addr::NULL;
        }
        let (mut outermost, mut at) = (context, previous);
        for _ in 0..DEEPEST_CONTEXT {
            if at.is_null() {
                return outermost;
            }
            match heap.context(at) {
                Ok(words) if words.entered => (outermost, at) = (at, words.previous),
                _ => return Addr::NULL,
            }
        }
        Addr::NULL
    }

    fn refresh(&mut self, plan: &Plan, heap: &Heap, batch: &mut Batch) {
        let mut changed = false;
        if self.tid.is_none() {
            self.tid = find_tid(plan, heap, &self.state);
            changed |= self.tid.is_some();
        }
        // A fault here is a thread that ends, or a loop that does: the last look stands until the next.
        if let Ok(address) = running_loop_address(heap, &self.state)
            && address != self.event_loop.map(|l| l.address)
        {
            self.event_loop = address.and_then(|a| describe(heap, a, self.state.address).ok());
            self.tracker = StepTracker::new();
            changed = true;
        }
        if self.event_loop.is_some() && self.clock.is_none() {
            self.clock = self.tid.map(|tid| ThreadClock::open(plan.pid, tid));
        }
        if changed && let Some(tid) = self.tid {
            let name = std::fs::read(format!("/proc/{}/task/{tid}/comm", plan.pid)).unwrap_or_default();
            let name = String::from_utf8_lossy(&name).trim_end_matches('\n').to_string();
            batch.threads.push(ThreadFacts {
                index: self.index,
                tid,
                name,
                is_loop: self.event_loop.is_some(),
            });
        }
    }
}

/// Takes from thread states what is not theirs yet. Whoever starts a thread makes its state, and up to 3.11 writes its own
/// numbers there (Python/pystate.c, `new_threadstate`); the thread puts its own in their place when it runs for the first
/// time, which may be late where others keep the GIL. Until then it would be asked for another thread's time.
fn told_apart(mut states: Vec<ThreadState>) -> Vec<ThreadState> {
    let mut oldest: HashMap<(Addr, u64), u64> = HashMap::new();
    for state in &states {
        let id = oldest.entry((state.pthread, state.native_id)).or_insert(state.id);
        *id = state.id.min(*id);
    }
    for state in &mut states {
        if oldest.get(&(state.pthread, state.native_id)) != Some(&state.id) {
            (state.pthread, state.native_id) = (Addr::NULL, 0);
        }
    }
    states
}

/// The number by which all observations call a thread: CPython's own, which it never gives twice in a process.
pub fn thread_index(state: &ThreadState) -> ThreadIndex {
    ThreadIndex(state.id as u32)
}

/// The kernel's number of a thread as this machine's `/proc` shows it. Up to 3.10 the thread state has only the
/// `pthread_t`; the kernel's number stands in glibc's structure behind it, where the main thread shows at which place.
pub fn find_tid(plan: &Plan, heap: &Heap, state: &ThreadState) -> Option<Tid> {
    let all = process::threads(plan.pid).ok()?;
    let own = |number: u64| match plan.own_pid_namespace {
        true => all.iter().copied().find(|&tid| own_number(tid) == number),
        false => all.iter().copied().find(|tid| tid.0 as u64 == number),
    };
    if state.native_id != 0 {
        return own(state.native_id);
    }
    if state.pthread.is_null() {
        return None;
    }
    // glibc 2.31 to 2.41 keep it at 720 (struct pthread.tid); others are searched for the only word that is a thread.
    let near = heap.bytes(state.pthread, 1024).ok()?;
    let number = |tid: Tid| {
        if plan.own_pid_namespace {
            own_number(tid)
        } else {
            tid.0 as u64
        }
    };
    let numbers: Vec<u64> = all.iter().map(|&tid| number(tid)).collect();
    let half = |at: usize| u64::from(u32::from_le_bytes([near[at], near[at + 1], near[at + 2], near[at + 3]]));
    if numbers.contains(&half(720)) {
        return own(half(720));
    }
    let places: Vec<usize> = (64..near.len() - 4)
        .step_by(4)
        .filter(|&at| numbers.contains(&half(at)))
        .collect();
    match places[..] {
        [place] => own(half(place)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: u64, pthread: u64, native_id: u64) -> ThreadState {
        ThreadState {
            address: Addr(id * 4096),
            id,
            context: Addr::NULL,
            context_version: 0,
            pthread: Addr(pthread),
            native_id,
        }
    }

    #[test]
    fn a_thread_that_was_only_just_made_has_no_number_yet() {
        // Newest first, as CPython lists them: the third was made by the first, and has not run yet.
        let numbers = |states| -> Vec<(u64, u64)> {
            let all: Vec<ThreadState> = told_apart(states);
            all.iter().map(|state| (state.pthread.0, state.native_id)).collect()
        };
        let of_3_8 = vec![state(3, 0x7000, 0), state(2, 0x8000, 0), state(1, 0x7000, 0)];
        assert_eq!(numbers(of_3_8), [(0, 0), (0x8000, 0), (0x7000, 0)]);
        let of_3_11 = vec![state(3, 0x7000, 70), state(2, 0x8000, 80), state(1, 0x7000, 70)];
        assert_eq!(numbers(of_3_11), [(0, 0), (0x8000, 80), (0x7000, 70)]);
        let of_3_12 = vec![state(3, 0, 0), state(2, 0x8000, 80), state(1, 0x7000, 70)];
        assert_eq!(numbers(of_3_12), [(0, 0), (0x8000, 80), (0x7000, 70)]);
    }
}
