//! One tick: which context each Python thread runs in, proved, and what the kernel says of the thread. This is the path
//! that runs a thousand times a second. Knows nothing of schedules and channels, nor of what the samples mean.
//!
//! A tick is two scatter reads with the kernel's files in between. The first takes `(context, context_ver)` of every
//! thread at one instant, the GIL and the ready queues. The second proves it: the context's own words, the place where
//! its variables keep the session, the text there, and `(context, context_ver)` again. A context that is met for the
//! first time is looked up in between; then the last read decides. Nothing is ever tried twice in a tick: what cannot
//! be proved is counted as torn, because a second try would select what stands still.

use super::attach::Plan;
use super::fixed::FixedWords;
use super::owners::{ContextWords, Owners};
use super::threads::{DEEPEST_CONTEXT, QUIET_TICKS, Thread, Threads};
use crate::asyncio::{CallbackSlots, DEQUE_HEAD, ReadyWords, StepWords};
use crate::cpython::{CONTEXT_HEAD, CONTEXT_WORDS, GIL_EXTENT, Heap, Runtime, word_at};
use crate::identity::{Naming, ProofSlots};
use crate::memory::{Fault, LiveMemory, Scatter};
use crate::model::{Addr, Batch, Gil, Labels, LoopKind, Nanos, Owner, Sample, SessionKey, State, ThreadIndex, Tick};
use crate::process::{Doing, ThreadClock};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What one tick may read; a sampler that runs above others must not read for long.
const ONE_TICK: u64 = 4 << 20;
/// `futex` of x86-64, in which a thread waits for the GIL.
pub(super) const FUTEX: i32 = 202;
/// `epoll_wait`, `epoll_pwait`, `epoll_pwait2`, in which a loop waits for something to do.
pub(super) const EPOLL_WAITS: [i32; 3] = [232, 281, 441];
/// A thread that seems to sleep in one and the same step for this many ticks is asked whether it is stopped.
const STOPPED_AFTER: u32 = 20;

/// Where the GIL's own structure lies: a futex in there is waiting for it.
pub(super) fn gil_extent(runtime: &Runtime) -> Range<u64> {
    let gil = runtime.gil_last_holder.0;
    gil.saturating_sub(16)..gil.saturating_add(GIL_EXTENT)
}

/// Takes ticks.
pub struct TickReader {
    plan: Plan,
    heap: Heap,
    owners: Owners,
    threads: Threads,
    fixed: FixedWords,
    first: Scatter,
    second: Scatter,
}

/// The slots of the first read; those of the threads' words come first, one each.
struct FirstRead {
    queues: Vec<QueueRead>,
    fixed: usize,
}

/// The slots of what a loop's thread has beside its words.
struct QueueRead {
    thread: usize,
    ready: Option<usize>,
    turns: Option<usize>,
    /// The thread's words once more, behind the queue.
    again: usize,
}

/// The second read of one thread: slots of its scatter.
struct Check {
    thread: usize,
    context: usize,
    proof: Option<ProofSlots>,
    callback: Option<CallbackSlots>,
    words: usize,
}

/// What the kernel says of a thread.
#[derive(Clone, Copy)]
struct Said {
    state: State,
    /// On-CPU time, and time that it waited for a CPU.
    times: Option<(Nanos, Nanos)>,
    /// It sleeps in its own loop's selector.
    selects: bool,
}

impl Said {
    const NOTHING: Said = Said {
        state: State::Unknown,
        times: None,
        selects: false,
    };
}

impl TickReader {
    pub fn open(plan: Plan, naming: Naming) -> io::Result<TickReader> {
        let memory = LiveMemory::open(plan.pid)?;
        let heap = Heap::new(Box::new(memory), plan.offsets.clone(), plan.version);
        Ok(TickReader {
            fixed: FixedWords::new(&heap, &plan.runtime),
            plan,
            heap,
            owners: Owners::new(naming),
            threads: Threads::new(),
            first: Scatter::new(),
            second: Scatter::new(),
        })
    }

    /// Sessions that were met since the last call, with their names.
    pub fn take_new_labels(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        self.owners.take_new_labels()
    }

    /// Looks which threads there are and which run a loop; says in `batch` what changed. To be called some ten times a
    /// second; between that, a tick that sees another newest thread asks for it.
    pub fn survey(&mut self, batch: &mut Batch) -> Result<(), Fault> {
        self.owners.survey(&self.heap, &self.plan.runtime);
        self.threads.survey(&self.plan, &self.heap, batch)
    }

    /// True: the next tick would miss threads.
    pub fn is_stale(&self) -> bool {
        self.threads.stale
    }

    /// Forgets addresses, so that memory which was freed and used again is looked at anew; to be called now and then.
    pub fn forget(&mut self) {
        self.owners.forget();
    }

    /// Takes one tick into `batch`. `late`, `own_wait` and `suspended` are the sampler's to say.
    pub fn tick(&mut self, tick: Tick, now: impl Fn() -> Nanos, batch: &mut Batch) -> Result<(), Fault> {
        self.heap.grant(ONE_TICK);
        let slots = self.read_words()?;
        let at = now();
        let gil_words = self.fixed.gil(&self.first, slots.fixed);
        let newest = self.fixed.newest(&self.first, slots.fixed);
        if newest.is_some_and(|newest| newest != self.threads.newest) {
            self.threads.stale = true;
        }
        let holder = gil_words.filter(|gil| gil.locked == 1).and_then(|gil| {
            self.threads
                .all
                .iter()
                .find(|t| t.state.address == gil.last_holder)
                .map(|t| t.index)
        });
        let gil = Gil {
            holder,
            switches: gil_words.map_or(0, |gil| gil.switch_number),
        };

        let mut words: Vec<Option<(Addr, u64)>> = Vec::with_capacity(self.threads.all.len());
        for slot in 0..self.threads.all.len() {
            let read = self
                .first
                .bytes(slot)
                .map(|b| (Addr(word_at(b, 0)), word_at(b, 8), word_at(b, 16)));
            // A thread state that was freed, or given to another thread, has another id.
            let own = read.filter(|&(_, _, id)| id == self.threads.all[slot].state.id);
            self.threads.stale |= own.is_none();
            words.push(own.map(|(context, version, _)| (context, version)));
        }
        let states = self.ask_kernel(&words, holder);
        let checks = self.push_checks(&words);
        self.second.read_each(self.heap.memory())?;

        let first = batch.samples.len() as u32;
        let mut next_check = checks.iter().peekable();
        for slot in 0..self.threads.all.len() {
            let check = next_check.next_if(|check| check.thread == slot);
            let Some(own) = words[slot] else { continue };
            let queue = slots.queues.iter().find(|queue| queue.thread == slot);
            let said = states[slot];
            if let Some(sample) = self.sample(slot, own, check, queue, said)? {
                batch.samples.push(sample);
            }
        }
        let collecting = self.fixed.collecting(&self.first, slots.fixed);
        let count = batch.samples.len() as u32 - first;
        batch.ticks.push(Tick {
            at,
            gil,
            collecting,
            first,
            count,
            ..tick
        });
        Ok(())
    }

    /// The first read.
    fn read_words(&mut self) -> Result<FirstRead, Fault> {
        let o = &self.heap.offsets;
        let first = &mut self.first;
        first.clear();
        let words_of = |thread: &Thread| thread.state.address.offset(o.tstate_context);
        for thread in &self.threads.all {
            first.push(words_of(thread), CONTEXT_WORDS);
        }
        let mut queues = Vec::new();
        for (slot, thread) in self.threads.all.iter().enumerate() {
            let Some(event_loop) = thread.event_loop else { continue };
            queues.push(QueueRead {
                thread: slot,
                ready: event_loop.ready.map(|ready| first.push(ready, DEQUE_HEAD)),
                turns: event_loop.turns.map(|turns| first.push(turns, 8)),
                again: first.push(words_of(thread), CONTEXT_WORDS),
            });
        }
        let fixed = self.fixed.push(first);
        first.read_each(self.heap.memory())?;
        Ok(FirstRead { queues, fixed })
    }

    /// Handles taken from the thread's queue, and libuv's turns, where they were read in the same step as its words.
    fn queue_words(&self, queue: &QueueRead) -> (Option<u64>, Option<u64>) {
        let same = |b: &[u8]| {
            self.first
                .bytes(queue.thread)
                .is_some_and(|words| words[..16] == b[..16])
        };
        if !self.first.bytes(queue.again).is_some_and(same) {
            return (None, None);
        }
        let ready = queue.ready.and_then(|slot| self.first.bytes(slot));
        let taken = ready.and_then(|head| ReadyWords::of_deque(&self.heap, head)?.taken);
        (taken, queue.turns.and_then(|slot| self.first.u64(slot, 0)))
    }

    /// Asks the kernel of the threads that matter at this tick.
    fn ask_kernel(&mut self, words: &[Option<(Addr, u64)>], holder: Option<ThreadIndex>) -> Vec<Said> {
        let gil = gil_extent(&self.plan.runtime);
        let mut states = Vec::with_capacity(self.threads.all.len());
        for (thread, own) in self.threads.all.iter_mut().zip(words) {
            let in_context =
                own.is_some_and(|(context, _)| !context.is_null() && (context != thread.base || thread.base_is_named));
            thread.quiet = if in_context { 0 } else { thread.quiet.saturating_add(1) };
            let matters = thread.event_loop.is_some() || thread.quiet < QUIET_TICKS || holder == Some(thread.index);
            if !matters {
                states.push(Said::NOTHING);
                continue;
            }
            if thread.clock.is_none() {
                thread.clock = thread.tid.map(|tid| ThreadClock::open(self.plan.pid, tid));
            }
            let Some(clock) = &thread.clock else {
                states.push(Said::NOTHING);
                continue;
            };
            let doing = clock.doing();
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
            if let Some(Doing::Syscall { stack, .. }) = doing.filter(|_| selects) {
                thread.sleeps_at = Some(stack);
            }
            let times = clock.times();
            states.push(Said { state, times, selects });
        }
        states
    }

    /// Collects the second read: of each thread that is in a context which was entered, or may be.
    fn push_checks(&mut self, words: &[Option<(Addr, u64)>]) -> Vec<Check> {
        self.second.clear();
        let mut checks = Vec::new();
        for (slot, (thread, own)) in self.threads.all.iter().zip(words).enumerate() {
            let Some((context, version)) = *own else { continue };
            // The same words as at the last tick, when they were those of no step: nothing was entered since.
            // Only a loop's: in another thread `ContextVar.set` may name a session in the base context itself.
            let idle = thread.last_idle && thread.last == (context, version) && thread.event_loop.is_some();
            if context.is_null() || idle {
                continue;
            }
            let head = self.second.push(context, CONTEXT_HEAD);
            let proof = self.owners.push_proof(context, &mut self.second);
            // What libuv runs is asked for once in each context: as long as that is not left, it cannot change.
            let libuv = thread
                .event_loop
                .and_then(|l| l.libuv)
                .filter(|_| thread.last != (context, version));
            let callback = libuv
                .zip(thread.sleeps_at)
                .map(|(libuv, at)| libuv.push(at, &mut self.second));
            let at = thread.state.address.offset(self.heap.offsets.tstate_context);
            checks.push(Check {
                thread: slot,
                context: head,
                proof,
                callback,
                words: self.second.push(at, CONTEXT_WORDS),
            });
        }
        checks
    }

    fn sample(
        &mut self,
        slot: usize,
        (context, version): (Addr, u64),
        check: Option<&Check>,
        queue: Option<&QueueRead>,
        said: Said,
    ) -> Result<Option<Sample>, Fault> {
        let mut owner = Owner::Nobody;
        let mut outermost = Addr::NULL;
        let mut is_outermost = true;
        // Whether the thread was still in the same context, of the same step, at the end of the second read.
        let mut stayed = true;
        if let Some(check) = check {
            let again = self
                .second
                .bytes(check.words)
                .map(|b| (Addr(word_at(b, 0)), word_at(b, 8)));
            stayed = again == Some((context, version));
            match self
                .second
                .bytes(check.context)
                .map(|b| (Addr(word_at(b, 8)), self.heap.context_words(b)))
            {
                Some((class, now)) if self.owners.is_context_type(&self.heap, class) => {
                    if stayed && (said.selects || !now.entered) {
                        self.threads.all[slot].base = context;
                    } else if now.entered && self.threads.all[slot].base.is_null() {
                        let thread = &self.threads.all[slot];
                        let base = thread.base_of_started(&self.plan, &self.heap, context, now.previous);
                        self.threads.all[slot].base = base;
                    }
                    if context == self.threads.all[slot].base {
                        // A thread of its own that names its session without entering a context works for it all the
                        // same; a loop between two steps works for nobody.
                        if self.threads.all[slot].event_loop.is_none() {
                            owner = self.owner(slot, context, version, now.vars, check.proof)?;
                            self.threads.all[slot].base_is_named = matches!(owner, Owner::Session(_));
                        }
                    } else {
                        (outermost, is_outermost) = self.outermost(slot, context, now.previous, stayed);
                        owner = self.owner(slot, context, version, now.vars, check.proof)?;
                    }
                }
                _ if stayed => owner = Owner::Unreadable,
                _ => {
                    owner = Owner::Torn;
                    outermost = context;
                }
            }
        }
        let (taken, turn) = queue.map_or((None, None), |queue| self.queue_words(queue));
        let thread = &mut self.threads.all[slot];
        let words = StepWords {
            context,
            version,
            outermost,
            is_outermost,
            taken,
            turn,
            callback: check
                .filter(|_| stayed)
                .and_then(|check| check.callback?.word(&self.second)),
        };
        let (kind, idle) = (
            thread.event_loop.map(|l| l.kind),
            thread.event_loop.and_then(|l| l.idle_context),
        );
        let (step, progress) = thread.tracker.look(words, kind, idle);
        if step.is_none() && kind == Some(LoopKind::Uvloop) {
            owner = if owner == Owner::Torn {
                Owner::Torn
            } else {
                Owner::Nobody
            };
        }
        // The step ended while the kernel was asked: whatever it said was said of another one, and the thread ran.
        let state = if stayed { said.state } else { State::Runnable };
        let repeated = thread.last == (context, version);
        thread.last = (context, version);
        thread.last_idle = outermost.is_null();
        let sleeps = matches!(state, State::Syscall(_) | State::GilWait);
        thread.asleep = if repeated && sleeps { thread.asleep + 1 } else { 0 };
        // A signal wakes a thread before it stops it: one that has run and still sleeps where it slept may be stopped, and
        // so may one that sleeps outside of any system call.
        let ran = said.times.map(|(cpu, _)| cpu);
        let woke = repeated && ran.is_some() && thread.ran.is_some() && ran != thread.ran;
        thread.ran = ran;
        let suspect = sleeps && (woke || state == State::Syscall(-1));
        let mut state = state;
        if suspect || (thread.asleep >= STOPPED_AFTER && thread.asleep.is_multiple_of(STOPPED_AFTER)) {
            thread.asleep = STOPPED_AFTER;
            if thread.clock.as_ref().and_then(ThreadClock::is_stopped) == Some(true) {
                state = State::Stopped;
                thread.asleep = STOPPED_AFTER - 1;
            }
        }
        let matters = thread.event_loop.is_some() || thread.quiet < QUIET_TICKS || state != State::Unknown;
        if !matters {
            return Ok(None);
        }
        Ok(Some(Sample {
            thread: thread.index,
            owner,
            step,
            progress,
            state,
            cpu: said.times.map(|(cpu, _)| cpu),
            run_delay: said.times.map(|(_, delay)| delay),
        }))
    }

    fn owner(
        &mut self,
        slot: usize,
        context: Addr,
        version: u64,
        vars: Addr,
        proof: Option<ProofSlots>,
    ) -> Result<Owner, Fault> {
        let at = self.threads.all[slot]
            .state
            .address
            .offset(self.heap.offsets.tstate_context);
        let words = ContextWords { at, context, version };
        self.owners.owner(&self.heap, words, vars, &self.second, proof)
    }

    /// The outermost entered context of the chain that ends in `context`.
    fn outermost(&self, slot: usize, context: Addr, previous: Addr, stayed: bool) -> (Addr, bool) {
        let base = self.threads.all[slot].base;
        // A context that was left already no longer says where it was entered from.
        if !stayed || previous.is_null() || previous == base {
            return (context, true);
        }
        let mut outermost = context;
        let mut at = previous;
        for _ in 0..DEEPEST_CONTEXT {
            match self.heap.context(at) {
                Ok(words) if words.entered => {
                    outermost = at;
                    at = words.previous;
                }
                _ => break,
            }
            if at.is_null() || at == base {
                break;
            }
        }
        (outermost, outermost == context)
    }
}
