//! Whole stacks with their sessions, each of one instant: which threads are looked at, in what order, and what is said of
//! each. Knows nothing of schedules and channels; how one stack is read and proved is in `instant.rs`.
//!
//! One attempt a tick: what cannot be proved is said to be unresolved. A second try would succeed most for what stands
//! still, and so make of a sample a selection.

use super::attach::Plan;
use super::fixed::FixedWords;
use super::instant::{Instant, Reader, Start};
use super::owners::{ContextWords, Owners};
use super::still::{Followed, Rest, Seat, Words};
use super::threads::{Thread, Threads};
use crate::cpython::{CONTEXT_HEAD, GIL_EXTENT, Heap, rseq_cpu, word_at};
use crate::identity::Naming;
use crate::memory::{Fault, LiveMemory, Scatter};
use crate::model::{
    Addr, Batch, Labels, LoopKind, Nanos, Owner, SessionKey, StackBatch, StackMode, StackSample, State, ThreadIndex,
};
use crate::process::{self, Doing};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// What the look at one thread may read.
const ONE_LOOK: u64 = 8 << 20;
/// Threads that are looked at in one tick; where there are more, they take turns.
const MOST_THREADS: usize = 32;
/// A thread that was nobody's is not looked at for this many ticks, unless it enters another context.
const BELIEVED: u8 = 16;
/// What happened no longer ago than this, happens.
const LATELY: Nanos = Nanos(2_000_000);
/// `futex` of x86-64, in which a thread waits for the GIL.
const FUTEX: i32 = 202;
/// `epoll_wait`, `epoll_pwait`, `epoll_pwait2`, in which a loop waits for something to do.
const EPOLL_WAITS: [i32; 3] = [232, 281, 441];

/// Takes stacks.
pub struct StackReader {
    plan: Plan,
    heap: Heap,
    owners: Owners,
    threads: Threads,
    followed: HashMap<ThreadIndex, Followed>,
    reader: Reader,
    fixed: FixedWords,
    first: Scatter,
    others: Scatter,
    /// Of each thread, as last read.
    words: Vec<Option<Words>>,
    /// `last_holder` and `switch_number` when they were read.
    gil: Option<(Addr, u64)>,
    /// Threads to look at in this tick.
    chosen: Vec<usize>,
    turn: usize,
    rseq: Option<i64>,
}

/// What the first read of a tick shows beside the threads' own words.
#[derive(Clone, Copy)]
struct Around {
    holder: Addr,
    collecting: bool,
    generation: Option<u64>,
}

/// What the kernel says of a thread.
struct Said {
    state: State,
    /// It sleeps in its own loop's selector.
    selects: bool,
}

impl StackReader {
    pub fn open(plan: Plan, naming: Naming) -> io::Result<StackReader> {
        let open = || LiveMemory::open(plan.pid);
        let heap = Heap::new(Box::new(open()?), plan.offsets.clone(), plan.version);
        let mappings = process::maps(plan.pid).unwrap_or_default();
        let rseq = rseq_cpu(heap.memory(), &mappings);
        Ok(StackReader {
            fixed: FixedWords::new(&heap, &plan.runtime),
            reader: Reader::new(&heap, Box::new(open()?)),
            plan,
            heap,
            owners: Owners::new(naming),
            threads: Threads::new(),
            followed: HashMap::new(),
            first: Scatter::new(),
            others: Scatter::new(),
            words: Vec::new(),
            gil: None,
            chosen: Vec::new(),
            turn: 0,
            rseq,
        })
    }

    /// Sessions that were met since the last call, with their names.
    pub fn take_new_labels(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        self.owners.take_new_labels()
    }

    /// Looks which threads there are; to be called some ten times a second.
    pub fn survey(&mut self) -> Result<(), Fault> {
        self.owners.survey(&self.heap, &self.plan.runtime);
        // Whoever takes ticks says which threads there are.
        let mut unsaid = Batch::default();
        // Which words are whose may change.
        self.gil = None;
        self.threads.survey(&self.plan, &self.heap, &mut unsaid)?;
        for ended in unsaid.ended {
            self.followed.remove(&ended);
        }
        Ok(())
    }

    /// True: the next tick would miss threads.
    pub fn is_stale(&self) -> bool {
        self.threads.stale
    }

    /// From now on code objects are looked at again before they are believed, where the worker does not count those that
    /// it freed (up to 3.13); to be called about once a second.
    pub fn look_again(&mut self) {
        if !self.plan.version.at_least(3, 14) {
            self.reader.stacks.look_again();
        }
    }

    /// Forgets addresses, so that memory which was freed and used again is looked at anew; to be called now and then.
    pub fn forget(&mut self) {
        self.owners.forget();
    }

    /// Takes the stacks of one tick into `batch`. `seat` is where the calling thread runs.
    pub fn tick(&mut self, seat: &mut dyn Seat, now: &dyn Fn() -> Nanos, batch: &mut StackBatch) -> Result<(), Fault> {
        let began = seat.switches();
        let around = self.read_first()?;
        batch.ticks += 1;
        self.choose(around.holder);
        let mut chosen = std::mem::take(&mut self.chosen);
        // Those on this CPU stand still already, and going on to another one costs some ten microseconds.
        let here = seat.cpu();
        chosen.sort_by_key(|&slot| self.cpu_in_first(slot) != here || here.is_none());
        let mut still_since = Some(began);
        for &slot in &chosen {
            let before = seat.cpu();
            let done = self.look(slot, around, still_since, seat, now, batch);
            if seat.cpu() != before {
                still_since = None;
            }
            // What else may have gone wrong with one thread is no loss to the others.
            if let Err(fault @ (Fault::Gone | Fault::Denied)) = done {
                self.chosen = chosen;
                return Err(fault);
            }
        }
        self.chosen = chosen;
        Ok(())
    }

    /// The words of the threads, and what stands around them.
    ///
    /// A thread runs Python code, and enters contexts, only while it holds the GIL, and `switch_number` moves whenever
    /// another thread takes it than had it last (Python/ceval_gil.c: `take_gil`). So where neither has changed since the
    /// last tick, no thread has but the holder, and the words of all others are still those that were read then.
    fn read_first(&mut self) -> Result<Around, Fault> {
        let threads = &self.threads.all;
        let at = self.reader.at;
        let first = &mut self.first;
        first.clear();
        for thread in threads.iter().filter(|thread| thread.event_loop.is_some()) {
            at.push(thread.state.address, first);
        }
        let fixed = self.fixed.push(first);
        for thread in threads.iter().filter(|thread| thread.event_loop.is_some()) {
            if let Some(followed) = self.followed.get_mut(&thread.index) {
                followed.in_first = followed.which.push(first);
            }
        }
        first.read_each(self.heap.memory())?;
        let gil = self.fixed.gil(first, fixed);
        let newest = self.fixed.newest(first, fixed);
        self.threads.stale |= newest.is_some_and(|newest| newest != self.threads.newest);
        let own = |thread: &Thread, words: Option<Words>| words.filter(|words| words.id == thread.state.id);
        self.words.resize(threads.len(), None);
        let mut slot = 0;
        for (thread, words) in threads.iter().zip(&mut self.words) {
            if thread.event_loop.is_some() {
                *words = own(thread, at.take(first, slot));
                slot += 1;
            }
        }
        let last_holder = gil.map_or(Addr::NULL, |gil| gil.last_holder);
        let all = gil.is_none() || gil.map(|gil| (gil.last_holder, gil.switch_number)) != self.gil;
        let moved = |thread: &Thread| thread.event_loop.is_none() && (all || thread.state.address == last_holder);
        self.gil = gil.map(|gil| (gil.last_holder, gil.switch_number));
        self.others.clear();
        for thread in threads.iter().filter(|thread| moved(thread)) {
            at.push(thread.state.address, &mut self.others);
        }
        if !self.others.is_empty() {
            self.others.read_each(self.heap.memory())?;
            let mut slot = 0;
            for (thread, words) in threads.iter().zip(&mut self.words) {
                if moved(thread) {
                    *words = own(thread, at.take(&self.others, slot));
                    slot += 1;
                }
            }
        }
        Ok(Around {
            holder: if gil.is_some_and(|gil| gil.locked == 1) {
                last_holder
            } else {
                Addr::NULL
            },
            collecting: self.fixed.collecting(&self.first, fixed) == Some(true),
            generation: self.fixed.generation(&self.first, fixed),
        })
    }

    /// A thread's words; None: it ended, or another one took its place.
    fn words_in_first(&self, slot: usize) -> Option<Words> {
        *self.words.get(slot)?
    }

    fn cpu_in_first(&self, slot: usize) -> Option<u32> {
        let followed = self.followed.get(&self.threads.all.get(slot)?.index)?;
        followed.in_first?;
        followed.which.take(&self.first, followed.in_first, &followed.clock)
    }

    /// The threads that matter at this tick: those that run a loop, the one that holds the GIL, and those in a context that
    /// may be a session's.
    fn choose(&mut self, holder: Addr) {
        self.chosen.clear();
        for slot in 0..self.threads.all.len() {
            let Some(words) = self.words_in_first(slot) else {
                self.threads.stale = true;
                continue;
            };
            let thread = &self.threads.all[slot];
            let followed = self.followed.get_mut(&thread.index);
            let nobodys = followed.is_some_and(|followed| {
                let same = followed.nobody == Some((words.context, words.version)) && followed.believed > 0;
                followed.believed = followed.believed.saturating_sub(1);
                same
            });
            let may_be_somebodys = !words.context.is_null() && !nobodys;
            if thread.event_loop.is_some() || thread.state.address == holder || may_be_somebodys {
                self.chosen.push(slot);
            }
        }
        if self.chosen.len() > MOST_THREADS {
            self.turn = (self.turn + MOST_THREADS) % self.chosen.len();
            self.chosen.rotate_left(self.turn);
            self.chosen.truncate(MOST_THREADS);
        }
    }

    /// Looks at one thread, and says what is to be said of it.
    fn look(
        &mut self,
        slot: usize,
        around: Around,
        still_since: Option<u64>,
        seat: &mut dyn Seat,
        now: &dyn Fn() -> Nanos,
        batch: &mut StackBatch,
    ) -> Result<(), Fault> {
        self.heap.grant(ONE_LOOK);
        let Some(words) = self.words_in_first(slot) else {
            return Ok(());
        };
        let cpu = self.cpu_in_first(slot);
        let thread = &mut self.threads.all[slot];
        if !self.followed.contains_key(&thread.index) {
            let Some(new) = Followed::new(&self.plan, &self.heap, thread, self.rseq) else {
                return Ok(());
            };
            self.followed.insert(thread.index, new);
        }
        let Some(followed) = self.followed.get_mut(&thread.index) else {
            return Ok(());
        };
        let runs = match followed.rest {
            Rest::Awake => None,
            Rest::Asleep | Rest::Since { .. } => followed.clock.runs(),
        };
        if repeat(followed, runs, now, batch) {
            return Ok(());
        }
        let start = Start {
            words,
            cpu,
            still_since,
            runs,
            generation: around.generation,
        };
        let known = |context: Addr, scatter: &mut Scatter| self.owners.push_proof(context, scatter);
        let mut instant = self
            .reader
            .read(&self.heap, &self.plan.runtime, thread, followed, start, seat, known)?;
        let at = now();
        if instant.mode == StackMode::OtherCpu {
            batch.mode = StackMode::OtherCpu;
        }

        let gil = self.plan.runtime.gil_last_holder.0;
        let holds_gil = thread.state.address == around.holder;
        // One that has the GIL, and went on less than two milliseconds ago, runs: nobody has to be asked.
        let went_on = followed
            .seen
            .is_some_and(|(when, words)| at - when < LATELY && words != instant.words);
        followed.seen = Some((at, instant.words));
        let mut said = if went_on && holds_gil && instant.held && instant.mode == StackMode::OwnCpu {
            Said {
                state: State::Runnable,
                selects: false,
            }
        } else {
            ask_kernel(followed, thread, gil.saturating_sub(16)..gil + GIL_EXTENT)
        };
        let is_asleep = matches!(said.state, State::Syscall(_) | State::GilWait);
        // It slept before the look, sleeps after it, and was given no CPU in between.
        let slept = runs.is_some() && is_asleep && followed.clock.runs() == runs;
        instant.held |= slept;
        if !instant.held {
            instant.stack = None;
        }
        // A thread that was stopped seems to sleep in the call that it was in. To be stopped, or to go on, it needs a CPU.
        if slept && followed.clock.is_stopped() == Some(true) {
            said = Said {
                state: State::Stopped,
                selects: false,
            };
        }

        let place = place(&self.plan, &self.heap, &mut self.owners, thread, &instant, said.selects);
        let owner = match place {
            Place::Step | Place::Base if place == Place::Step || thread.event_loop.is_none() => {
                let context = ContextWords {
                    at: thread.state.address.offset(self.heap.offsets.tstate_context),
                    context: instant.words.context,
                    version: instant.words.version,
                };
                let left = self.heap.left();
                let scatter = self.reader.snapshot.scatter();
                let owner = self
                    .owners
                    .owner(&self.heap, context, instant.vars, scatter, instant.proof)?;
                // It was looked up just now: that is of the same instant only if that still lasts.
                let looked_up = self.heap.left() != left;
                if looked_up && instant.mode == StackMode::OwnCpu && instant.held && seat.switches() != instant.switches
                {
                    Owner::Torn
                } else {
                    owner
                }
            }
            Place::Step | Place::Base | Place::None => Owner::Nobody,
            Place::Torn => Owner::Torn,
            Place::Unreadable => Owner::Unreadable,
        };
        let idles = place != Place::Step && said.selects;
        let speaks = if thread.event_loop.is_some() {
            !idles
        } else {
            owner != Owner::Nobody || holds_gil
        };
        let is_nobodys = owner == Owner::Nobody && thread.event_loop.is_none();
        followed.nobody = is_nobodys.then_some((instant.words.context, instant.words.version));
        followed.believed = BELIEVED;
        let collecting = around.collecting && holds_gil;
        let collects_explicitly = match &instant.stack {
            Some(_) if collecting => self.reader.calls_collect(&self.heap),
            _ => None,
        };
        let sample = StackSample {
            at,
            thread: thread.index,
            owner,
            context_version: instant.words.version,
            in_step: place == Place::Step,
            state: said.state,
            collecting,
            collects_explicitly,
            stack: instant.stack,
        };
        followed.rest = match (runs, slept, is_asleep) {
            (Some(runs), true, _) => Rest::Since {
                runs,
                sample: speaks.then(|| Box::new(sample.clone())),
            },
            (_, _, true) => Rest::Asleep,
            _ => Rest::Awake,
        };
        if speaks {
            batch.samples.push(sample);
        }
        Ok(())
    }
}

/// Says again what was seen of a thread that has slept since. False: it has not.
fn repeat(followed: &mut Followed, now_runs: Option<u64>, now: &dyn Fn() -> Nanos, batch: &mut StackBatch) -> bool {
    let Rest::Since { runs, sample } = &mut followed.rest else {
        return false;
    };
    if now_runs != Some(*runs) {
        return false;
    }
    followed.believed = BELIEVED;
    if let Some(sample) = sample {
        sample.at = now();
        batch.samples.push((**sample).clone());
    }
    true
}

fn ask_kernel(followed: &Followed, thread: &Thread, gil: std::ops::Range<u64>) -> Said {
    let doing = followed.clock.doing();
    let state = match doing {
        Some(Doing::Runnable) => State::Runnable,
        Some(Doing::Syscall {
            number: FUTEX, first, ..
        }) if gil.contains(&first) => State::GilWait,
        Some(Doing::Syscall { number, .. }) => State::Syscall(number),
        Some(Doing::Asleep) => State::Syscall(-1),
        None => State::Unknown,
    };
    let selector = thread.event_loop.and_then(|l| l.selector);
    let selects = matches!(doing, Some(Doing::Syscall { number, first, .. })
        if EPOLL_WAITS.contains(&number) && Some(first) == selector);
    Said { state, selects }
}

/// Where a thread is, as its context shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a context that was entered.
    Step,
    /// In the context that it has when it is in none that was entered.
    Base,
    /// In no context at all.
    None,
    Torn,
    Unreadable,
}

fn place(
    plan: &Plan,
    heap: &Heap,
    owners: &mut Owners,
    thread: &mut Thread,
    instant: &Instant,
    selects: bool,
) -> Place {
    let context = instant.words.context;
    if context.is_null() {
        return Place::None;
    }
    let Some(head) = &instant.context else {
        return if instant.held { Place::Unreadable } else { Place::Torn };
    };
    if !owners.is_context_type(heap, Addr(word_at(head, 8))) {
        return if instant.held { Place::Unreadable } else { Place::Torn };
    }
    let now = heap.context_words(head);
    if instant.held && (selects || !now.entered) {
        thread.base = context;
    } else if now.entered && thread.base.is_null() {
        thread.base = thread.base_of_started(plan, heap, context, now.previous);
    }
    let is_idle_handler = thread
        .event_loop
        .is_some_and(|l| l.kind == LoopKind::Uvloop && l.idle_context == Some(context));
    if context == thread.base || is_idle_handler || !now.entered {
        Place::Base
    } else {
        Place::Step
    }
}

/// Bytes of a context's head, as they were read.
pub(super) type ContextHead = [u8; CONTEXT_HEAD];
