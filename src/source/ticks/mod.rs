//! One tick: which context each Python thread runs in, proved, and what the kernel says of the thread. This is the path
//! that runs a thousand times a second. Knows nothing of schedules and channels, nor of what the samples mean.
//!
//! A tick is two scatter reads with the kernel's files in between. The first takes `(context, context_ver)` of every
//! thread at one instant, the GIL and the ready queues (`first.rs`). The second proves it: the context's own words and, at once,
//! `(context, context_ver)` again, for a short step is soon over (where steps are short, the first read has a guess of it along,
//! `foreseen.rs`); then the place where its variables keep the session, the text there, and the words a last time. A context
//! that is met for the first time is looked up in between; then the last read decides. Nothing is ever tried twice in a tick:
//! what cannot be proved is counted as torn, because a second try would select what stands still.

mod kernel;
mod reads;
mod rest;
mod sample;

use super::attach::Plan;
use super::first::FirstRead;
use super::fixed::FixedWords;
use super::foreseen::ForeseenSlots;
use super::owners::{Owners, Proofs};
use super::said::{Asker, Said};
use super::still::WordsAt;
use super::threads::Threads;
use crate::asyncio::CallbackSlots;
use crate::cpython::Heap;
use crate::identity::Naming;
use crate::memory::{Fault, LiveMemory, Scatter};
use crate::model::{Addr, Batch, Gil, Labels, Nanos, Owner, Sample, SessionKey, State, Tick};
use crate::process::{Freezer, Holds};
use std::io;
use std::sync::Arc;

/// What one tick may read; a sampler that runs above others must not read for long.
const ONE_TICK: u64 = 4 << 20;
/// A thread that seems to sleep in one and the same step for this many ticks is asked whether it is stopped.
const STOPPED_AFTER: u32 = 20;
/// One that was woken, and waits for a CPU, has run no more often than when it fell asleep: so every third tick asks whether
/// it still sleeps. A wait for a CPU is then known to within three ticks.
const ASKED_EVERY: u32 = 3;

/// Takes ticks.
pub struct TickReader {
    plan: Plan,
    heap: Heap,
    owners: Owners,
    threads: Threads,
    asker: Asker,
    freezer: Freezer,
    /// When otop itself held the worker.
    holds: Arc<Holds>,
    first: FirstRead,
    second: Scatter,
    /// Lists of one tick, kept so that the next need not allocate.
    words: Vec<Option<(Addr, u64)>>,
    queues: Vec<QueueRead>,
    states: Vec<Asked>,
    checks: Vec<Check>,
    /// When the last tick was.
    last_at: Nanos,
    /// What the last tick saw, if that holds for as long as no thread runs.
    rest: Option<Rest>,
}

/// What holds as long as no thread runs.
struct Rest {
    gil: Gil,
    collecting: Option<bool>,
    samples: Vec<Sample>,
}

/// The slots of what a loop's thread has beside its words.
struct QueueRead {
    thread: usize,
    /// The thread's words, before all of it; those that count stand behind it.
    before: usize,
    ready: Option<usize>,
    turns: Option<usize>,
    /// What proves whose the context is, where it is likely to be that of the last tick.
    early: Option<(usize, Proofs)>,
    /// Contexts in which it is likely to be, where steps are short, and what libuv runs then.
    foreseen: ForeseenSlots,
    callback: Option<CallbackSlots>,
}

/// What is read to prove whose a thread's context is: slots of the second read, or of the first.
struct Check {
    thread: usize,
    /// The context was foreseen, or all of it was.
    in_first: InFirst,
    /// The slot that has the context's head, and how far into it.
    context: (usize, usize),
    proofs: Proofs,
    /// Where the GIL was read once more, if the context is new.
    gil: Option<usize>,
    callback: Option<CallbackSlots>,
    /// The thread's words once more, as soon as what may move with the step was read, and at the very end.
    words: usize,
    end: usize,
}

/// How much of a check the first read has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InFirst {
    Nothing,
    /// The context, and the words with it.
    Context,
    All,
}

impl InFirst {
    /// The read that has the context.
    fn context<'s>(self, first: &'s Scatter, second: &'s Scatter) -> &'s Scatter {
        match self {
            InFirst::Nothing => second,
            InFirst::Context | InFirst::All => first,
        }
    }

    /// The read that has the rest.
    fn proofs<'s>(self, first: &'s Scatter, second: &'s Scatter) -> &'s Scatter {
        match self {
            InFirst::Nothing | InFirst::Context => second,
            InFirst::All => first,
        }
    }
}

/// What the kernel says of a thread, or would.
#[derive(Clone, Copy)]
struct Asked {
    said: Said,
    /// On-CPU time, and how long it waited for a CPU.
    times: Option<(Nanos, Nanos)>,
    /// It holds of the words of the first read, whatever ended since: the thread runs, or has not run for longer.
    lasts: bool,
    /// otop itself held the worker while it was asked: what the kernel said is said of that.
    held: bool,
}

const NOTHING: Asked = Asked {
    said: Said::only(State::Unknown),
    times: None,
    lasts: false,
    held: false,
};

impl TickReader {
    /// `holds`: when otop itself held the worker.
    pub fn open(plan: Plan, naming: Naming, holds: Arc<Holds>) -> io::Result<TickReader> {
        let memory = LiveMemory::open(plan.pid)?;
        let heap = Heap::new(Box::new(memory), plan.offsets.clone(), plan.version);
        Ok(TickReader {
            first: FirstRead::new(
                WordsAt::new(&heap.offsets, heap.offsets.tstate_context),
                FixedWords::new(&heap, &plan.runtime),
            ),
            asker: Asker::new(&plan),
            freezer: Freezer::of(plan.pid),
            holds,
            plan,
            heap,
            owners: Owners::new(naming),
            threads: Threads::new(),
            second: Scatter::new(),
            words: Vec::new(),
            queues: Vec::new(),
            states: Vec::new(),
            checks: Vec::new(),
            last_at: Nanos::ZERO,
            rest: None,
        })
    }

    /// Sessions that were met since the last call, with their names.
    pub fn take_new_labels(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        self.owners.take_new_labels()
    }

    /// Looks which threads there are and which run a loop; says in `batch` what changed. To be called some five times a
    /// second; between that, a tick that sees another newest thread asks for it.
    pub fn survey(&mut self, batch: &mut Batch) -> Result<(), Fault> {
        self.rest = None;
        self.owners.survey(&self.heap, &self.plan.runtime);
        self.first.forget();
        self.threads.survey(&self.plan, &self.heap, batch)
    }

    /// The CPUs that the threads with a loop are on, or were on last; without those of which it is not known.
    pub fn loop_cpus(&self) -> Vec<u32> {
        let loops = self.threads.all.iter().filter(|thread| thread.event_loop.is_some());
        loops.filter_map(|thread| thread.clock.as_ref()?.cpu()).collect()
    }

    /// True: the next tick would miss threads.
    pub fn is_stale(&self) -> bool {
        self.threads.stale
    }

    /// Forgets addresses, so that memory which was freed and used again is looked at anew; to be called now and then.
    pub fn forget(&mut self) {
        self.owners.forget();
        self.rest = None;
    }

    /// Takes one tick into `batch`. `tick.at` is when it began; `late`, `own_wait` and
    /// `suspended` are the sampler's to say.
    pub fn tick(&mut self, tick: Tick, now: impl Fn() -> Nanos, batch: &mut Batch) -> Result<(), Fault> {
        self.heap.grant(ONE_TICK);
        let began = tick.at;
        if self.still_rests()?
            && let Some(rest) = &self.rest
            && let at = now()
            && !self.holds.touch(began, at)
        {
            let held = self.holds.within(self.last_at, at);
            self.last_at = at;
            let first = batch.samples.len() as u32;
            batch.samples.extend_from_slice(&rest.samples);
            batch.ticks.push(Tick {
                at,
                held,
                gil: rest.gil,
                collecting: rest.collecting,
                first,
                count: rest.samples.len() as u32,
                ..tick
            });
            return Ok(());
        }
        // Of one that runs before the read, so that nothing stands between the two reads: a step may take as long as asking.
        for thread in &mut self.threads.all {
            let runs = thread.slept.is_none() && thread.matters();
            thread.account = runs.then(|| thread.clock.as_ref()?.account()).flatten();
        }
        let mut queues = std::mem::take(&mut self.queues);
        self.push_first(&mut queues);
        let at = self.first.take(&mut self.threads, self.heap.memory(), &now)?;
        let holder = self.first.holder();
        let holder = self.threads.all.iter().find(|t| t.state.address == holder);
        let gil = Gil {
            holder: holder.map(|thread| thread.index),
            switches: self.first.gil().map_or(0, |gil| gil.switch_number),
        };
        let words = |slot| Some((self.first.words(slot)?.context, self.first.words(slot)?.version));
        let mut all_words = std::mem::take(&mut self.words);
        all_words.clear();
        all_words.extend((0..self.threads.all.len()).map(words));
        let words = all_words;
        let mut states = std::mem::take(&mut self.states);
        self.ask_kernel(&words, gil.holder, at, &mut states);
        let mut checks = std::mem::take(&mut self.checks);
        self.push_checks(&words, &queues, &states, &mut checks);
        self.second.read_each(self.heap.memory())?;
        // Of any part of a tick it is not known whether the kernel was asked just then.
        let in_hold = self.holds.touch(began, now());
        if in_hold {
            self.are_held(&mut states);
        }

        let first = batch.samples.len() as u32;
        let mut next_check = checks.iter().peekable();
        for slot in 0..self.threads.all.len() {
            let check = next_check.next_if(|check| check.thread == slot);
            let Some(own) = words[slot] else { continue };
            let queue = queues.iter().find(|queue| queue.thread == slot);
            let said = states[slot];
            if let Some(sample) = self.sample(slot, own, check, queue, said)? {
                batch.samples.push(sample);
            }
        }
        (self.words, self.queues, self.states, self.checks) = (words, queues, states, checks);
        let collecting = self.first.collecting();
        let held = match self.last_at {
            Nanos::ZERO => Nanos::ZERO,
            last_at => self.holds.within(last_at, at),
        };
        self.last_at = at;
        let count = batch.samples.len() as u32 - first;
        self.rest = (!in_hold && self.rests()).then(|| Rest {
            gil,
            collecting,
            samples: batch.samples[first as usize..].to_vec(),
        });
        if let Some(rest) = &self.rest
            && rest
                .samples
                .iter()
                .any(|s| matches!(s.owner, Owner::Torn | Owner::Unreadable))
        {
            self.rest = None;
        }
        batch.ticks.push(Tick {
            at,
            held,
            gil,
            collecting,
            first,
            count,
            ..tick
        });
        Ok(())
    }
}
