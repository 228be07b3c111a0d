//! One tick: which context each Python thread runs in, proved, and what the kernel says of the thread. This is the path
//! that runs a thousand times a second. Knows nothing of schedules and channels, nor of what the samples mean.
//!
//! A tick is two scatter reads with the kernel's files in between. The first takes `(context, context_ver)` of every
//! thread at one instant, the GIL and the ready queues. The second proves it: the context's own words, the place where
//! its variables keep the session, the text there, and `(context, context_ver)` again. A context that is met for the
//! first time is looked up in between; then the last read decides. Nothing is ever tried twice in a tick: what cannot
//! be proved is counted as torn, because a second try would select what stands still.

use super::attach::{Plan, own_number};
use crate::asyncio::{DEQUE_HEAD, EventLoop, ReadyWords, StepTracker, StepWords, describe, running_loop_address};
use crate::cpython::{CONTEXT_HEAD, CONTEXT_WORDS, GIL_EXTENT, GIL_WORDS, GilWords, Heap, ThreadState, word_at};
use crate::identity::{Proof, Resolver, Rules};
use crate::memory::{Fault, LiveMemory, Scatter};
use crate::model::{
    Addr, Batch, Gil, Labels, LoopKind, Nanos, Owner, Sample, SessionKey, State, ThreadFacts, ThreadIndex, Tick, Tid,
};
use crate::process::{self, Doing, ThreadClock};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// What one tick may read; a sampler that runs above others must not read for long.
const ONE_TICK: u64 = 4 << 20;
/// Contexts that are remembered; beyond this the memory starts over.
const MOST_CONTEXTS: usize = 20_000;
/// `futex` of x86-64, in which a thread waits for the GIL.
const FUTEX: i32 = 202;
/// Contexts within contexts, before a chain is called damage.
const DEEPEST_CONTEXT: usize = 32;
/// A thread that has not run in a session for this many ticks is no longer asked what it does.
const QUIET_TICKS: u32 = 2_000;
/// A thread that seems to sleep in one and the same step for this many ticks is asked whether it is stopped.
const STOPPED_AFTER: u32 = 20;

struct Known {
    session: Option<SessionKey>,
    proof: Proof,
}

struct Thread {
    state: ThreadState,
    index: ThreadIndex,
    tid: Option<Tid>,
    clock: Option<ThreadClock>,
    event_loop: Option<EventLoop>,
    tracker: StepTracker,
    /// The words of the last tick, and whether they were of no step.
    last: (Addr, u64),
    last_idle: bool,
    /// The context that the thread has when it is in none that was entered.
    base: Addr,
    /// Its base context names a session.
    base_is_named: bool,
    /// Ticks since it last ran in a session.
    quiet: u32,
    /// Ticks that it has slept in one step.
    asleep: u32,
}

/// Takes ticks.
pub struct TickReader {
    plan: Plan,
    heap: Heap,
    resolver: Resolver,
    threads: Vec<Thread>,
    contexts: HashMap<Addr, Known>,
    context_type: Option<Addr>,
    first: Scatter,
    second: Scatter,
    threads_head: Addr,
    /// Set where the list of threads must be read anew before the next tick.
    stale: bool,
}

/// The second read of one thread.
struct Check {
    thread: usize,
    context: usize,
    proof: Option<crate::identity::ProofSlots>,
    words: usize,
}

impl TickReader {
    pub fn open(plan: Plan, rules: Rules) -> io::Result<TickReader> {
        let memory = LiveMemory::open(plan.pid)?;
        let heap = Heap::new(Box::new(memory), plan.offsets.clone(), plan.version);
        Ok(TickReader {
            plan,
            heap,
            resolver: Resolver::new(rules),
            threads: Vec::new(),
            contexts: HashMap::new(),
            context_type: None,
            first: Scatter::new(),
            second: Scatter::new(),
            threads_head: Addr::NULL,
            stale: true,
        })
    }

    /// Sessions that were met since the last call, with their names.
    pub fn take_new_labels(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        self.resolver.take_new_labels()
    }

    /// Looks which threads there are and which run a loop; says in `batch` what changed. To be called some ten times a
    /// second; between that, a tick that sees another newest thread asks for it.
    pub fn survey(&mut self, batch: &mut Batch) -> Result<(), Fault> {
        self.heap.grant(crate::cpython::ONE_WALK);
        let states = match self.heap.thread_states(&self.plan.runtime) {
            Ok(states) => states,
            Err(Fault::Gone) => return Err(Fault::Gone),
            // The list changed under the read; the next survey will do.
            Err(_) => return Ok(()),
        };
        self.stale = false;
        self.threads_head = states.first().map_or(Addr::NULL, |s| s.address);
        let same = |a: &ThreadState, b: &ThreadState| a.address == b.address && a.id == b.id;
        self.threads.retain(|thread| {
            let there = states.iter().any(|s| same(s, &thread.state));
            if !there {
                batch.ended.push(thread.index);
            }
            there
        });
        for state in states {
            let position = self.threads.iter().position(|t| same(&t.state, &state));
            let position = position.unwrap_or_else(|| {
                self.threads.push(Thread::new(state));
                self.threads.len() - 1
            });
            self.refresh(position, batch);
        }
        Ok(())
    }

    fn refresh(&mut self, position: usize, batch: &mut Batch) {
        let heap = &self.heap;
        let thread = &mut self.threads[position];
        let mut changed = false;
        if thread.tid.is_none() {
            thread.tid = find_tid(&self.plan, heap, &thread.state);
            changed |= thread.tid.is_some();
        }
        // A fault here is a thread that ends, or a loop that does: the last look stands until the next.
        if let Ok(address) = running_loop_address(heap, &thread.state)
            && address != thread.event_loop.map(|l| l.address)
        {
            thread.event_loop = address.and_then(|a| describe(heap, a, thread.state.address).ok());
            thread.tracker = StepTracker::new();
            changed = true;
        }
        if thread.event_loop.is_some() && thread.clock.is_none() {
            thread.clock = thread.tid.map(|tid| ThreadClock::open(self.plan.pid, tid));
        }
        if changed && let Some(tid) = thread.tid {
            let name = std::fs::read(format!("/proc/{}/task/{tid}/comm", self.plan.pid)).unwrap_or_default();
            let name = String::from_utf8_lossy(&name).trim_end_matches('\n').to_string();
            batch.threads.push(ThreadFacts {
                index: thread.index,
                tid,
                name,
                is_loop: thread.event_loop.is_some(),
            });
        }
    }

    /// Forgets addresses, so that memory which was freed and used again is looked at anew; to be called now and then.
    pub fn forget(&mut self) {
        self.resolver.forget_addresses();
        self.contexts.clear();
    }

    /// True: the next tick would miss threads.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Takes one tick into `batch`. `late`, `own_wait` and `suspended` are the sampler's to say.
    pub fn tick(&mut self, tick: Tick, now: impl Fn() -> Nanos, batch: &mut Batch) -> Result<(), Fault> {
        self.heap.grant(ONE_TICK);
        let looped = self.read_words()?;
        let at = now();
        let gil_words = self
            .first
            .bytes(self.threads.len() + looped.len())
            .map(GilWords::from_bytes);
        let head = self.first.pointer(self.threads.len() + looped.len() + 1, 0);
        if head.is_some_and(|head| head != self.threads_head) {
            self.stale = true;
        }
        let holder = gil_words.filter(|gil| gil.locked == 1).and_then(|gil| {
            self.threads
                .iter()
                .find(|t| t.state.address == gil.last_holder)
                .map(|t| t.index)
        });
        let gil = Gil {
            holder,
            switches: gil_words.map_or(0, |gil| gil.switch_number),
        };

        let mut words: Vec<Option<(Addr, u64)>> = Vec::with_capacity(self.threads.len());
        for slot in 0..self.threads.len() {
            let read = self
                .first
                .bytes(slot)
                .map(|b| (Addr(word_at(b, 0)), word_at(b, 8), word_at(b, 16)));
            // A thread state that was freed, or given to another thread, has another id.
            let own = read.filter(|&(_, _, id)| id == self.threads[slot].state.id);
            self.stale |= own.is_none();
            words.push(own.map(|(context, version, _)| (context, version)));
        }
        let states = self.ask_kernel(&words, holder);
        let checks = self.push_checks(&words);
        self.second.read_each(self.heap.memory())?;

        let first = batch.samples.len() as u32;
        let mut next_check = checks.iter().peekable();
        for slot in 0..self.threads.len() {
            let check = next_check.next_if(|check| check.thread == slot);
            let Some(own) = words[slot] else { continue };
            let ready = looped.iter().position(|&l| l == slot).map(|i| self.threads.len() + i);
            let (state, times) = states[slot];
            if let Some(sample) = self.sample(slot, own, check, ready, state, times)? {
                batch.samples.push(sample);
            }
        }
        let count = batch.samples.len() as u32 - first;
        batch.ticks.push(Tick {
            at,
            gil,
            first,
            count,
            ..tick
        });
        Ok(())
    }

    /// The first read. Returns the threads that run a loop, in the order of their queues' slots.
    fn read_words(&mut self) -> Result<Vec<usize>, Fault> {
        let o = &self.heap.offsets;
        self.first.clear();
        for thread in &self.threads {
            self.first
                .push(thread.state.address.offset(o.tstate_context), CONTEXT_WORDS);
        }
        let mut looped = Vec::new();
        for (slot, thread) in self.threads.iter().enumerate() {
            if let Some(ready) = thread.event_loop.and_then(|l| l.ready) {
                self.first.push(ready, DEQUE_HEAD);
                looped.push(slot);
            }
        }
        self.first.push(self.plan.runtime.gil_last_holder, GIL_WORDS);
        self.first
            .push(self.plan.runtime.interpreter.offset(o.interp_threads_head), 8);
        for thread in &self.threads {
            if let Some(turns) = thread.event_loop.and_then(|l| l.turns) {
                self.first.push(turns, 8);
            }
        }
        self.first.read_each(self.heap.memory())?;
        Ok(looped)
    }

    /// Asks the kernel of the threads that matter at this tick.
    fn ask_kernel(
        &mut self,
        words: &[Option<(Addr, u64)>],
        holder: Option<ThreadIndex>,
    ) -> Vec<(State, Option<(Nanos, Nanos)>)> {
        let gil = self.plan.runtime.gil_last_holder.0;
        let gil = gil.saturating_sub(16)..gil + GIL_EXTENT;
        let mut states = Vec::with_capacity(self.threads.len());
        for (thread, own) in self.threads.iter_mut().zip(words) {
            let in_context =
                own.is_some_and(|(context, _)| !context.is_null() && (context != thread.base || thread.base_is_named));
            thread.quiet = if in_context { 0 } else { thread.quiet.saturating_add(1) };
            let matters = thread.event_loop.is_some() || thread.quiet < QUIET_TICKS || holder == Some(thread.index);
            if !matters {
                states.push((State::Unknown, None));
                continue;
            }
            if thread.clock.is_none() {
                thread.clock = thread.tid.map(|tid| ThreadClock::open(self.plan.pid, tid));
            }
            let Some(clock) = &thread.clock else {
                states.push((State::Unknown, None));
                continue;
            };
            let state = match clock.doing() {
                Some(Doing::Runnable) => State::Runnable,
                Some(Doing::Syscall { number: FUTEX, first }) if gil.contains(&first) => State::GilWait,
                Some(Doing::Syscall { number, .. }) => State::Syscall(number),
                Some(Doing::Asleep) => State::Syscall(-1),
                None => State::Unknown,
            };
            states.push((state, clock.times()));
        }
        states
    }

    /// Collects the second read: of each thread that is in a context which was entered, or may be.
    fn push_checks(&mut self, words: &[Option<(Addr, u64)>]) -> Vec<Check> {
        self.second.clear();
        let mut checks = Vec::new();
        for (slot, (thread, own)) in self.threads.iter().zip(words).enumerate() {
            let Some((context, version)) = *own else { continue };
            // The same words as at the last tick, when they were those of no step: nothing was entered since.
            // Only a loop's: in another thread `ContextVar.set` may name a session in the base context itself.
            let idle = thread.last_idle && thread.last == (context, version) && thread.event_loop.is_some();
            if context.is_null() || idle {
                continue;
            }
            let head = self.second.push(context, CONTEXT_HEAD);
            let proof = self
                .contexts
                .get(&context)
                .map(|known| known.proof.push(&mut self.second));
            let at = thread.state.address.offset(self.heap.offsets.tstate_context);
            checks.push(Check {
                thread: slot,
                context: head,
                proof,
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
        ready: Option<usize>,
        state: State,
        times: Option<(Nanos, Nanos)>,
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
                Some((class, now)) if self.is_context_type(class) => {
                    let base = context == self.threads[slot].base;
                    if !now.entered && (stayed || base) {
                        self.threads[slot].base = context;
                        // A thread of its own that names its session without entering a context works for it all the
                        // same; a loop between two steps works for nobody.
                        if self.threads[slot].event_loop.is_none() {
                            owner = self.owner(slot, context, version, now.vars, check)?;
                            self.threads[slot].base_is_named = matches!(owner, Owner::Session(_));
                        }
                    } else {
                        (outermost, is_outermost) = self.outermost(slot, context, now.previous, stayed);
                        owner = self.owner(slot, context, version, now.vars, check)?;
                    }
                }
                _ if stayed => owner = Owner::Unreadable,
                _ => {
                    owner = Owner::Torn;
                    outermost = context;
                }
            }
        }
        let taken = ready.and_then(|r| ReadyWords::of_deque(&self.heap, self.first.bytes(r)?)?.taken);
        let turns = self.turn_of(slot);
        let thread = &mut self.threads[slot];
        // The queue was read a moment after the context: they belong together only where nothing moved since.
        let words = StepWords {
            context,
            version,
            outermost,
            is_outermost,
            taken: taken.filter(|_| stayed),
            turn: turns,
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
        let state = if stayed { state } else { State::Runnable };
        let repeated = thread.last == (context, version);
        thread.last = (context, version);
        thread.last_idle = outermost.is_null();
        let sleeps = matches!(state, State::Syscall(_) | State::GilWait);
        thread.asleep = if repeated && sleeps { thread.asleep + 1 } else { 0 };
        let mut state = state;
        if thread.asleep >= STOPPED_AFTER && thread.asleep.is_multiple_of(STOPPED_AFTER) {
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
            cpu: times.map(|(cpu, _)| cpu),
            run_delay: times.map(|(_, delay)| delay),
        }))
    }

    /// Whose the context is, by what the second read shows, or by looking it up now.
    fn owner(&mut self, slot: usize, context: Addr, version: u64, vars: Addr, check: &Check) -> Result<Owner, Fault> {
        let of = |session: Option<SessionKey>| session.map_or(Owner::Nobody, Owner::Session);
        if let (Some(known), Some(slots)) = (self.contexts.get(&context), check.proof)
            && known.proof.holds(&self.heap, vars, &self.second, slots)
        {
            // Known from before this tick, and unchanged after it: so it was at the tick, whatever ran since.
            return Ok(of(known.session));
        }
        let resolved = match self.resolver.resolve(&self.heap, vars) {
            Ok(resolved) => resolved,
            Err(Fault::Gone) => return Err(Fault::Gone),
            Err(_) => return self.torn_or_unreadable(slot, context, version),
        };
        // Does the thread still run in it, and are its variables still those that were looked up?
        let heap = &self.heap;
        let at = self.threads[slot].state.address;
        let mut last = Scatter::new();
        let head = last.push(context, CONTEXT_HEAD);
        let slots = resolved.proof.push(&mut last);
        let words = last.push(at.offset(heap.offsets.tstate_context), CONTEXT_WORDS);
        last.read_each(heap.memory())?;
        let now = last.bytes(head).map(|b| heap.context_words(b).vars);
        let same_step = last
            .bytes(words)
            .is_some_and(|b| (Addr(word_at(b, 0)), word_at(b, 8)) == (context, version));
        let proved = now.is_some_and(|now| resolved.proof.holds(heap, now, &last, slots));
        if !proved {
            return Ok(Owner::Torn);
        }
        if self.contexts.len() >= MOST_CONTEXTS {
            self.contexts.clear();
        }
        self.contexts.insert(
            context,
            Known {
                session: resolved.session,
                proof: resolved.proof,
            },
        );
        Ok(if same_step { of(resolved.session) } else { Owner::Torn })
    }

    /// What could not be looked up was torn, unless the thread is still in it: then it is something unknown.
    fn torn_or_unreadable(&self, slot: usize, context: Addr, version: u64) -> Result<Owner, Fault> {
        let at = self.threads[slot]
            .state
            .address
            .offset(self.heap.offsets.tstate_context);
        let mut words = [0; CONTEXT_WORDS];
        self.heap.memory().read(at, &mut words)?;
        let same = (Addr(word_at(&words, 0)), word_at(&words, 8)) == (context, version);
        Ok(if same { Owner::Unreadable } else { Owner::Torn })
    }

    /// The outermost entered context of the chain that ends in `context`.
    fn outermost(&self, slot: usize, context: Addr, previous: Addr, stayed: bool) -> (Addr, bool) {
        let base = self.threads[slot].base;
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

    fn is_context_type(&mut self, class: Addr) -> bool {
        if self.context_type == Some(class) {
            return true;
        }
        let fits = self
            .heap
            .name_of_type(class)
            .is_ok_and(|name| name.rsplit('.').next() == Some("Context"));
        if fits {
            self.context_type = Some(class);
        }
        fits
    }

    fn turn_of(&self, slot: usize) -> Option<u64> {
        self.threads[slot].event_loop.and_then(|l| l.turns)?;
        let before = self.threads[..slot]
            .iter()
            .filter(|t| t.event_loop.is_some_and(|l| l.turns.is_some()))
            .count();
        let queues = self
            .threads
            .iter()
            .filter(|t| t.event_loop.is_some_and(|l| l.ready.is_some()))
            .count();
        self.first.u64(self.threads.len() + queues + 2 + before, 0)
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
            base: Addr::NULL,
            base_is_named: false,
            quiet: QUIET_TICKS,
            asleep: 0,
        }
    }
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
